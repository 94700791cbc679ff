"""Generated samples: reproducible, resumable, in the published layouts, and like other simulations of the same physics."""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from resonaut.errors import ConfigError, InputError, MissingDependencyError
from resonaut.processors import (
    PROCESSES,
    QCD,
    WZ,
    Detector,
    DijetFeatures,
    Generator,
    JetTrigger,
    TTbar,
    ZPrimeXY,
    cluster,
    generate,
    read_generation,
    recognise,
    source,
)
from resonaut.processors.generation import blocks, sample
from resonaut.processors.generation.detector import simulate
from resonaut.processors.generation.pythia import batches, open_pythia
from resonaut.processors.jets.pair import Particles

pytest.importorskip("pythia8mc", reason="needs Pythia 8: pip install 'resonaut[generate]'")

FAST = QCD(1400.0)


def columns_of(path: Path) -> dict[str, Any]:
    name = recognise(path)
    reader = source(name)
    return DijetFeatures()(reader.read(str(path), 0, reader.n_events(str(path))))


def rows(path: Path) -> Any:
    with h5py.File(path, "r") as file:
        return file["df/block0_values"][:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("generated")


@pytest.fixture(scope="module")
def qcd(folder: Path) -> Any:
    return generate(QCD(1075.0), folder / "qcd.h5", 400, seed=3)


@pytest.fixture(scope="module")
def signal(folder: Path) -> Any:
    return generate(ZPrimeXY(), folder / "signal.h5", 300, seed=3)


# --- physics


def test_signal_peaks_where_it_was_put(signal: Any) -> None:
    found = columns_of(signal.path)
    for name, peak, width in (("m_h", 500.0, 50.0), ("m_l", 100.0, 15.0), ("mjj", 3500.0, 350.0)):
        inside = np.abs(found[name] - peak) < width
        assert inside.mean() > 0.5, name
        assert np.median(found[name][inside]) == pytest.approx(peak, rel=0.03), name
    with h5py.File(signal.path, "r") as file:
        truth = {name: column[:] for name, column in file["truth"].items()}
    assert np.abs(truth["m_zprime"] - 3500).max() <= 351.0  # ten widths
    assert np.median(truth["m_zprime"]) == pytest.approx(3500.0, abs=10.0)
    assert truth["m_x"] == pytest.approx(500.0, abs=5.1)
    assert truth["m_y"] == pytest.approx(100.0, abs=1.1)


def test_qcd_is_like_a_sample_of_another_simulation(qcd: Any, reference_data: Path) -> None:
    """Pythia with another shower option and another fast detector: the margins are statistics and that option (7 %)."""
    from scipy.stats import ks_2samp

    reader = source("lhco-features")
    path = reference_data / "sim" / "qcd_data.features.h5"
    known = DijetFeatures()(reader.read(str(path), 0, 20_000))
    ours = columns_of(qcd.path)
    for name in ("m_h", "m_l", "n_h", "n_l", "mjj"):
        assert np.nanmean(ours[name]) == pytest.approx(np.nanmean(known[name]), rel=0.15), name
    for name in ("tau21_h", "tau21_l", "tau32_h", "m_h", "mjj"):
        distance = ks_2samp(ours[name][np.isfinite(ours[name])], known[name][np.isfinite(known[name])]).statistic
        assert distance < 0.15, name
    # 3.825 pb for the same threshold; the shower option moves the efficiency
    assert abs(qcd.cross_section - 3.825) < 4 * qcd.cross_section_error + 0.1 * 3.825


def test_three_prongs_have_more_axes_than_two(folder: Path, signal: Any) -> None:
    three = generate(ZPrimeXY(prongs_x=3, prongs_y=3, m_y=500.0), folder / "three.h5", 150, seed=3, format="features")
    assert three.ledger.failed == 0
    three_prongs, two_prongs = columns_of(three.path), columns_of(signal.path)
    heavy = np.abs(three_prongs["m_h"] - 500) < 60
    two_heavy = np.abs(two_prongs["m_h"] - 500) < 60
    assert np.nanmedian(three_prongs["tau21_h"][heavy]) > 1.3 * np.nanmedian(two_prongs["tau21_h"][two_heavy])
    assert np.nanmedian(three_prongs["tau32_h"][heavy]) < np.nanmedian(two_prongs["tau32_h"][two_heavy])


def test_jets_keep_their_energy() -> None:
    """Response of the leading jets against the same jets of the true particles."""
    pythia = open_pythia(QCD(1000.0), Generator(), 17)
    rng, ratios = np.random.default_rng(1), []
    for batch in islice(batches(pythia, {}), 4):
        seen = simulate(batch.momenta, batch.ids, batch.charged, batch.offsets, Detector(), rng)
        true, found = cluster(Particles(batch.momenta, batch.offsets)), cluster(seen.particles)
        near = (np.abs(true.columns["phi"][:, 0] - found.columns["phi"][:, 0]) < 0.1) & (
            np.abs(true.columns["eta"][:, 0]) < 1.8
        )
        ratios.append((found.columns["pt"][:, 0] / true.columns["pt"][:, 0])[near])
    response = np.concatenate(ratios)
    assert len(response) > 100
    assert np.median(response) == pytest.approx(1.0, abs=0.02)
    assert response.std() < 0.08


def test_biased_events_have_the_same_cross_section(folder: Path, qcd: Any) -> None:
    plain = generate(QCD(1000.0), folder / "plain.h5", 250, seed=4, format="features")
    biased = generate(QCD(1000.0, bias=6.0), folder / "biased.h5", 250, seed=4, format="features")
    with h5py.File(biased.path, "r") as file:
        weight, pthat = file["truth/weight"][:], file["truth/pthat"][:]
    assert weight.mean() == pytest.approx(1.0)
    assert np.log(weight).std() > 0.2
    assert np.corrcoef(np.log(weight), np.log(pthat))[0, 1] < -0.999  # w ~ pTHat^-6
    assert columns_of(biased.path)["mjj"].shape == weight.shape
    error = np.hypot(plain.cross_section_error, biased.cross_section_error)
    assert abs(plain.cross_section - biased.cross_section) < 4 * error
    assert biased.provenance["ledger"]["tried"] < 0.8 * plain.provenance["ledger"]["tried"]  # it pays


# --- files


def test_the_frame_is_laid_out_as_the_published_files(qcd: Any, reference_data: Path) -> None:
    """Names, shapes, and types of everything, down to the character set of attributes, which PyTables minds."""

    def described(path: Path) -> dict[str, Any]:
        out: dict[str, Any] = {}

        def visit(name: str, item: Any) -> None:
            for key in item.attrs:
                attribute = h5py.h5a.open(item.id, key.encode())
                kind = attribute.get_type()
                text = isinstance(kind, h5py.h5t.TypeStringID)
                out[name, key] = (
                    kind.get_class(),
                    kind.get_size(),
                    (kind.get_cset(), kind.get_strpad()) if text else None,
                    attribute.get_space().get_simple_extent_type(),
                    str(item.attrs[key]),
                )
            if isinstance(item, h5py.Dataset):
                out[name, "shape"] = item.shape[1:], item.ndim

        with h5py.File(path, "r") as file:
            visit("/", file)
            visit("df", file["df"])
            file["df"].visititems(lambda name, item: visit(f"df/{name}", item))
        return out

    ours, theirs = described(qcd.path), described(reference_data / "lhco" / "events_anomalydetection_tiny.h5")
    assert ours.pop(("/", "resonaut"))
    for key in (("df/axis0", "shape"), ("df/block0_values", "shape")):
        assert ours[key] == theirs[key]
    assert ours == theirs


def test_pandas_reads_the_frames(qcd: Any, folder: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("tables", reason="PyTables is not installed: pip install tables")
    frame = pandas.read_hdf(qcd.path)
    assert frame.shape == (400, 2101)
    assert frame.columns.tolist() == list(range(2101))
    assert np.array_equal(frame.to_numpy(), rows(qcd.path))


def test_all_formats_hold_the_same_events(folder: Path) -> None:
    made = {
        name: generate(ZPrimeXY(), folder / f"same.{ending}", 60, seed=5, format=name)
        for name, ending in (("particles", "h5"), ("features", "features.h5"), ("root", "root"))
    }
    kinds = {name: recognise(each.path) for name, each in made.items()}
    assert kinds == {"particles": "lhco-particles", "features": "lhco-features", "root": "particles-root"}
    found = {name: columns_of(each.path) for name, each in made.items()}
    for name in ("mjj", "m_h", "m_l", "tau21_h", "tau32_l", "n_h", "msd_j1", "nj"):
        for other in ("features", "root"):
            assert found[other][name] == pytest.approx(found["particles"][name], rel=2e-4, abs=2e-3), name
    events = source("particles-root").read(str(made["root"].path), 0, 60)
    assert events.label.tolist() == [1] * 60
    assert events.event.tolist() == list(range(60))
    assert events.weight.tolist() == pytest.approx([1.0] * 60)
    assert read_generation(made["root"].path)["process"] == read_generation(made["features"].path)["process"]


def test_frames_are_padded_and_labelled(signal: Any) -> None:
    values = rows(signal.path)
    assert values.shape == (300, 2101)
    assert (values[:, -1] == 1).all()
    pt = values[:, :-1:3]
    assert (np.diff(pt, axis=1) <= 0).all()
    empty = pt == 0
    assert (values[:, 1:-1:3][empty] == 0).all()
    assert (values[:, 2:-1:3][empty] == 0).all()
    assert (~empty).sum(axis=1).min() > 0


def test_provenance_and_books_are_in_the_file(qcd: Any) -> None:
    origin = read_generation(qcd.path)
    assert origin["process"] == {"name": "qcd", "pthat_min": 1075.0, "pthat_max": None, "bias": 0.0}
    assert origin["generator"]["sqrts"] == 13000.0
    assert origin["detector"]["hcal_cell"] == 0.1
    assert origin["seed"] == 3
    assert origin["pythia"].startswith("8.")
    ledger = qcd.ledger
    assert ledger.balanced
    assert ledger.accepted == 400 < ledger.tried
    assert origin["ledger"]["tried"] == ledger.tried
    assert "400 of" in str(ledger)
    assert qcd.cross_section_error / qcd.cross_section == pytest.approx(1 / np.sqrt(400), rel=0.5)
    assert np.isnan(generate(ZPrimeXY(), qcd.path.with_name("few.h5"), 5).cross_section)


def test_events_with_more_particles_than_fit_are_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resonaut.processors.generation import frames

    monkeypatch.setattr(frames, "WIDTH", 50)
    monkeypatch.setattr(sample, "WIDTH", 50)
    made = generate(FAST, folder / "narrow.h5", 10, seed=1)
    assert made.ledger.truncated == 10
    assert rows(made.path).shape == (10, 151)


# --- reproducible, resumable


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> int:
    for module in (blocks, sample):
        monkeypatch.setattr(module, "BLOCK", 20)
    return 20


def test_an_event_depends_on_the_seed_alone(short_blocks: int, tmp_path: Path) -> None:
    long = rows(generate(FAST, tmp_path / "long.h5", 50, seed=7).path)
    short = rows(generate(FAST, tmp_path / "short.h5", 33, seed=7).path)
    other = rows(generate(FAST, tmp_path / "other.h5", 33, seed=8).path)
    assert np.array_equal(long[:33], short)
    assert not np.isin(other[:, 0], long[:, 0]).any()
    assert len(np.unique(long[:, 0])) == 50  # no block repeats another


def test_workers_change_nothing(tmp_path: Path) -> None:
    count = blocks.BLOCK + 10
    one = generate(QCD(1500.0), tmp_path / "one.h5", count, seed=2, format="features")
    two = generate(QCD(1500.0), tmp_path / "two.h5", count, seed=2, format="features", workers=2)
    assert np.array_equal(rows(one.path), rows(two.path))
    assert one.ledger == two.ledger
    assert one.cross_section == two.cross_section


def test_an_interrupted_sample_goes_on_where_it_was(short_blocks: int, tmp_path: Path) -> None:
    def stop(done: int, _total: int) -> None:
        if done >= 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(FAST, tmp_path / "a.h5", 70, seed=7, progress=stop)
    assert not (tmp_path / "a.h5").exists()
    kept = sorted((tmp_path / ".a.h5.blocks").iterdir())
    assert len(kept) == 2
    kept[1].write_bytes(kept[1].read_bytes()[:1000])  # one that was damaged is made again
    told: list[int] = []
    again = generate(FAST, tmp_path / "a.h5", 70, seed=7, progress=lambda done, _: told.append(done))
    assert told == [20, 40, 60, 70]
    assert again.ledger.blocks_found == 1
    whole = generate(FAST, tmp_path / "b.h5", 70, seed=7)
    assert np.array_equal(rows(again.path), rows(whole.path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5"]
    # the same call again finds its file; another setting does not
    before = again.path.stat().st_mtime_ns
    assert generate(FAST, tmp_path / "a.h5", 70, seed=7).ledger == again.ledger
    assert again.path.stat().st_mtime_ns == before
    generate(FAST, tmp_path / "a.h5", 70, seed=8)
    assert again.path.stat().st_mtime_ns != before


def test_a_tree_is_written_block_by_block(short_blocks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks of twenty in a basket: the same events as in the frame of particles, and never more than two read at a time."""
    import uproot

    from resonaut.processors.generation import frames

    frame = rows(generate(FAST, tmp_path / "a.h5", 90, seed=7).path)
    monkeypatch.setattr(frames, "BASKET", 2)
    made = generate(FAST, tmp_path / "a.root", 90, seed=7, format="root")
    with uproot.open(made.path) as file:
        tree = file["Events"]
        assert tree["PFCand_pt"].num_baskets == 3
        events = tree.arrays(["PFCand_pt", "PFCand_phi", "event", "luminosityBlock", "weight"])
    assert events.event.tolist() == list(range(90))
    assert events.luminosityBlock.tolist() == [1 + i // 20 for i in range(90)]
    assert events.weight.tolist() == [1.0] * 90
    for row, pt, phi in zip(frame, events.PFCand_pt, events.PFCand_phi, strict=True):
        n = min(len(pt), 700)
        assert np.array_equal(row[: 3 * n : 3], pt[:n].to_numpy())
        assert np.array_equal(row[2 : 3 * n : 3], phi[:n].to_numpy())
    assert read_generation(made.path)["ledger"]["accepted"] == 90


@pytest.mark.parametrize("name", ["data.h5", "broken.h5", "notes.txt", "broken.root"])
def test_a_file_of_other_making_is_not_overwritten(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "data.h5":
        with h5py.File(path, "w") as file:
            file["events"] = np.arange(3)
    else:
        path.write_bytes(b"root" + bytes(300) if name == "broken.root" else b"precious")
    before = path.read_bytes()
    with pytest.raises(InputError, match="is there already, and not a generated sample"):
        generate(FAST, path, 5)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_books_close_at_the_last_wanted_event() -> None:
    """A hand-made batch: tries after the last accepted event are not counted, failures before it are."""
    from resonaut.processors.generation.pythia import Batch

    good = np.array([True, False, True, True, False, True, True])
    weights = {"weight": np.arange(1.0, 6.0)}
    none = np.zeros((0, 4))
    batch = Batch(none, np.zeros(0, int), np.zeros(0, bool), np.zeros(6, int), weights, good)
    reasons = np.array([0, 2, 0, 1, 0])  # of the five events that were made
    books = blocks._Books()
    assert books.add(batch, reasons, 2).tolist() == [0, 2]
    tally = books.tally(1.0, 0.1)
    assert (tally.tried, tally.failed, tally.accepted, tally.rejected) == (4, 1, 2, {"no jet above the cut": 1})
    assert (tally.weight_tried, tally.weight_accepted, tally.weight2_accepted) == (6.0, 4.0, 10.0)
    books = blocks._Books()
    assert books.add(batch, reasons, 9).tolist() == [0, 2, 4]
    assert (books.tried, books.failed, books.accepted) == (7, 2, 3)


def test_the_efficiency_and_its_error_are_those_of_counting() -> None:
    """Blocks that end with their fourth accepted event, at an efficiency of 0.3."""
    rng = np.random.default_rng(0)
    tries = rng.negative_binomial(4, 0.3, (200, 50)) + 4
    shares, errors = zip(
        *(
            sample._efficiency([blocks.Tally(int(n), 0, 4, {}, float(n), 4.0, 4.0) for n in blocks_of_sample])
            for blocks_of_sample in tries
        ),
        strict=True,
    )
    assert np.mean(shares) == pytest.approx(0.3, rel=0.015)
    assert np.std(shares) / 0.3 == pytest.approx(np.sqrt(0.7 / 200), rel=0.15)
    assert np.mean(errors) == pytest.approx(np.sqrt(0.7 / 200), rel=0.05)


# --- settings and mistakes


def test_showers_tunes_cards_and_lines(folder: Path) -> None:
    card = folder / "card.cmnd"
    card.write_text("! a comment\nTimeShower:alphaSvalue = 0.07\n\n")
    plain, quiet, vincia = (
        np.nanmean(columns_of(generate(FAST, folder / f"{i}.h5", 60, generator=g, format="features").path)["n_h"])
        for i, g in enumerate((Generator(), Generator(card=str(card), tune=21), Generator(shower="vincia")))
    )
    assert quiet < 0.8 * plain  # little radiation
    assert 0.7 * plain < vincia < 1.4 * plain
    lines = Generator(card=str(card), lines=("TimeShower:alphaSvalue = 0.2",)).settings(FAST)
    assert lines.index("TimeShower:alphaSvalue = 0.2") > lines.index("TimeShower:alphaSvalue = 0.07")  # the user's wins
    assert read_generation(folder / "1.h5")["generator"]["lines"] == ["TimeShower:alphaSvalue = 0.07"]


@pytest.mark.parametrize("process", [TTbar(1200.0), WZ(1200.0)], ids=lambda process: process.name)
def test_other_backgrounds(process: Any, folder: Path) -> None:
    made = generate(process, folder / f"{process.name}.h5", 60, format="features")
    found = columns_of(made.path)
    expected = {"ttbar": 172.5, "wz": 86.0}[process.name]
    assert made.cross_section > 0
    assert np.median(found["m_l"]) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(
    ("process", "options", "message"),
    [
        (FAST, {"format": "feature"}, "unknown format 'feature': did you mean 'features'"),
        (FAST, {"events": 0}, "expected at least 1"),
        (FAST, {"generator": Generator(lines=("TimeShower:alphaSvlue = 0.1",))}, "did you mean timeshower:alphasvalue"),
        (FAST, {"generator": Generator(lines=("TimeShower:alphaSvalue = 7",))}, "Pythia does not take .*out of range"),
        (QCD(7000.0), {}, "Pythia can make no events of qcd"),
        (ZPrimeXY(prongs_x=3), {"generator": Generator(shower="vincia")}, "vincia shower cannot simulate this zprime"),
    ],
)
def test_settings_that_make_no_sense(process: Any, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        generate(process, tmp_path / "a.h5", **{"events": 5, **options})
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QCD(-1.0), "pthat_min is -1.0, expected a positive number"),
        (lambda: QCD(1000.0, 900.0), "pthat_max is 900.0, expected more than pthat_min"),
        (lambda: QCD(bias=11), "bias is 11, expected a power of 0 to 10"),
        (lambda: ZPrimeXY(m_x=3450.0), "expected more than m_x"),
        (lambda: ZPrimeXY(m_y=1.0), "m_y is 1.0, expected at least 10"),
        (lambda: ZPrimeXY(prongs_x=4), "prongs_x is 4, expected 2 or 3"),
        (lambda: ZPrimeXY(width_zprime=0.0), "width_zprime is 0.0"),
        (lambda: Generator(shower="dire"), "unknown parton shower 'dire'"),
        (lambda: Generator(sqrts=0.0), "sqrts is 0.0"),
        (lambda: Generator(lines=("Random:seed = 3",)), "seeds and numbers of events are options of their own"),
        (lambda: JetTrigger(pt=0.0), "pt is 0.0, expected a positive number"),
    ],
)
def test_options_that_make_no_sense(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_no_event_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "HOPELESS", 200)
    with pytest.raises(InputError, match=r"0 of 200 events of qcd have a jet with pT > 6000.* lower the cut, or raise"):
        generate(FAST, tmp_path / "a.h5", 5, trigger=JetTrigger(pt=6000.0))
    with pytest.raises(InputError, match="it is a folder"):
        generate(FAST, tmp_path, 5)


def test_without_pythia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'resonaut\[generate\]'"):
        generate(FAST, tmp_path / "a.h5", 5)


def test_a_file_of_other_making_has_no_provenance(reference_data: Path, tmp_path: Path) -> None:
    assert read_generation(reference_data / "lhco" / "events_anomalydetection_tiny.h5") == {}
    (tmp_path / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_generation(tmp_path / "broken.h5")


def test_every_process_is_what_the_protocol_says() -> None:
    for name, kind in PROCESSES.items():
        process = kind()
        assert process.name == name
        assert process.settings
        assert json.dumps(dict(process.truth_masses)) is not None
        assert set(process.showers) <= {"simple", "vincia"}
