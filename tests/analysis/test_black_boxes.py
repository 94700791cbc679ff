"""What a search says about its largest excess, against samples whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from click.testing import CliRunner

from resonaut.analysis.black_boxes import excess_text
from resonaut.analysis.black_boxes.measure import events_after, fit_peak
from resonaut.analysis.black_boxes.properties import feature_property, properties_of
from resonaut.analysis.black_boxes.pull import mass_pull
from resonaut.analysis.black_boxes.toys import correlated_poisson, global_excess
from resonaut.analysis.cli import main
from resonaut.analysis.config import parse_config
from resonaut.analysis.interpretation import FoldEvents
from resonaut.analysis.search import run_search
from resonaut.analysis.spectra import FitOptions
from resonaut.files import read_json
from resonaut.models import Sample
from resonaut.models.base import BaseScorer
from resonaut.models.registry import register
from resonaut.models.storage import Tensors
from resonaut.processors import write_table
from resonaut.stats import (
    ScanInput,
    gaussian_template,
    local_p_value,
    local_p_values,
    log_edges,
    sliding_windows,
)

EDGES = log_edges(2800.0, 5200.0, 30)
WINDOWS = sliding_windows(EDGES, step=4)
Array = np.ndarray[Any, Any]


@register("test-black-box-column")
class Column(BaseScorer):
    """The first feature is the score: nothing is learnt, so that all numbers are known."""

    uses_window: ClassVar[bool] = False

    def __init__(self, features: tuple[str, ...] = ("x", "m_h"), *, seed: int = 0) -> None:
        self.features = tuple(features)
        self.seed = seed

    fitted = True

    def fit(self, sample: Sample, window: Any) -> Self:
        del sample, window
        return self

    def score(self, sample: Sample) -> Array:
        return np.asarray(sample.features[:, 0], dtype=np.float64)

    def learnt_tensors(self) -> Tensors:
        return {"nothing": np.zeros(1)}

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Nothing."""


def falling(rng: np.random.Generator, events: int) -> Array:
    """Masses (events,) of a power law that the background functions describe."""
    ends = (2800.0**-5, 5200.0**-5)
    return np.asarray((ends[0] + rng.random(events) * (ends[1] - ends[0])) ** -0.2)


def shape() -> Array:
    counts = np.diff(EDGES**-5.0)
    return np.asarray(counts / counts.sum())


# --- pseudo-experiments of all spectra together --------------------------------------------------------------------


def test_correlated_counts_are_poisson_and_correlated_like_events_that_are_shared() -> None:
    """Against samples of events: 40 in all, a cut keeps 10 of them, another 10 of which 5 are the same."""
    rng = np.random.default_rng(2)
    shared = np.array([[40.0, 10.0, 10.0], [10.0, 10.0, 5.0], [10.0, 5.0, 10.0]])
    counts = correlated_poisson(np.array([40.0, 10.0, 10.0]), shared, 40_000, rng)
    parts = np.random.default_rng(3).poisson([25.0, 5.0, 5.0, 5.0], size=(40_000, 4))  # neither, first, second, both
    events = np.stack([parts.sum(axis=1), parts[:, 1] + parts[:, 3], parts[:, 2] + parts[:, 3]], axis=1)
    np.testing.assert_allclose(counts.mean(axis=0), events.mean(axis=0), rtol=0.01)
    np.testing.assert_allclose(counts.var(axis=0), events.var(axis=0), rtol=0.03)
    np.testing.assert_allclose(np.corrcoef(counts.T), np.corrcoef(events.T), atol=0.03)
    assert (counts[:, 1] <= counts[:, 0]).mean() > 0.99  # nested in the events, nearly so in the copula


def test_no_expected_events_are_none_and_large_means_do_not_overflow() -> None:
    counts = correlated_poisson(np.array([0.0, 1e7]), np.diag([0.0, 1e7]), 500, np.random.default_rng(1))
    assert counts[:, 0].max() == 0
    assert counts[:, 1].mean() == pytest.approx(1e7, rel=1e-4)
    assert counts[:, 1].std() == pytest.approx(np.sqrt(1e7), rel=0.1)


def _truth_samples(samples: int) -> tuple[list[tuple[Any, float]], Array]:
    """Entries (window, cut) and counts (samples, entries, bins) of independent samples of events with nested cuts by lot."""
    rng = np.random.default_rng(11)
    cuts = (1.0, 0.2, 0.04)
    counts = np.zeros((samples, len(WINDOWS), len(cuts), 30))
    for i in range(samples):
        mass = falling(rng, rng.poisson(12_000))
        for w in range(len(WINDOWS)):
            u = rng.random(len(mass))
            for c, cut in enumerate(cuts):
                use = mass if cut == 1 else mass[u < cut]
                counts[i, w, c] = np.histogram(use, EDGES)[0]
    entries = [(window, cut) for window in WINDOWS for cut in cuts]
    return entries, counts.reshape(samples, len(entries), 30)


@pytest.mark.slow
def test_global_p_value_is_the_fraction_of_whole_scans_of_new_events() -> None:
    """The truth: many samples of events, each with the whole scan; the toys know one of them."""
    entries, counts = _truth_samples(600)
    z = np.stack([local_p_values(counts[:, k], EDGES, w).local_significance for k, (w, _) in enumerate(entries)])
    maxima = np.nanmax(z, axis=0)
    excesses = [local_p_value((counts[0, k], EDGES), w) for k, (w, _) in enumerate(entries)]
    shared = np.zeros((30, len(entries), len(entries)))
    for i, (one, a) in enumerate(entries):  # as the samples were made: same window nested, other windows by lot
        for j, (two, b) in enumerate(entries):
            part = min(a, b) if one == two else a * b
            shared[:, i, j] = 12_000 * shape() * part
    best = excesses[int(np.argmax(z[:, 0]))]
    found = global_excess(excesses, shared, best, seed=5)
    assert found.kind == "toys"
    expected = (maxima >= best.local_significance).mean()
    error = np.sqrt(expected * (1 - expected) * (1 / 600 + 1 / found.toys))
    assert found.p == pytest.approx(expected, abs=4 * error)
    assert 1 < found.trials < 1.5 * len(entries)


def test_an_excess_beyond_the_toys_is_corrected_for_trials() -> None:
    counts = np.round(12_000 * shape())
    counts[11:15] *= 1.4  # the third signal region
    excesses = [local_p_value((counts, EDGES), window) for window in WINDOWS]
    best = max(excesses, key=lambda e: e.local_significance)
    found = global_excess(excesses, np.broadcast_to((12_000 * shape())[:, None, None], (30, 6, 6)), best, seed=1)
    assert found.kind == "trials"
    assert found.above == 0
    assert 1 <= found.trials < 12  # six windows side by side
    assert found.p == pytest.approx(found.trials * best.local_p, rel=0.01)


def test_an_excess_beyond_double_precision_has_a_significance() -> None:
    """p = 0 as a double; the significance is that of n p: z^2 falls by 2 ln n, to first order."""
    counts = np.round(200_000 * shape())
    counts[11:15] *= 1.6
    excesses = [local_p_value((counts, EDGES), window) for window in WINDOWS]
    best = max(excesses, key=lambda e: e.local_significance)
    assert best.local_p == 0
    found = global_excess(excesses, np.broadcast_to((200_000 * shape())[:, None, None], (30, 6, 6)), best, seed=1)
    z = best.local_significance
    assert (found.p, found.kind) == (0.0, "trials")
    assert found.significance == pytest.approx(z - np.log(found.trials) / z, abs=0.01)


# --- mass, events ----------------------------------------------------------------------------------------------------


def test_mass_and_events_of_an_injected_resonance_cover_the_truth() -> None:
    rng = np.random.default_rng(4)
    window = next(w for w in WINDOWS if w.low < 3560 < w.high)
    options = FitOptions("dijet4", 13_000.0, None)
    inside, pulls, seen = 0, [], 80
    for _ in range(seen):
        counts = rng.poisson(3000 * shape() + gaussian_template(3560.0, 107.0, EDGES, 200.0)).astype(float)
        excess = local_p_value((counts, EDGES), window)
        peak = fit_peak(ScanInput(window, "toy", 0.1, (counts, EDGES)), excess, options)
        assert peak.kind == "fit"
        inside += peak.mass_low <= 3560.0 <= peak.mass_high
        pulls.append((peak.events - 200.0) / peak.events_error)
    assert 0.68 - 3 * np.sqrt(0.22 / seen) < inside / seen < 0.68 + 3 * np.sqrt(0.22 / seen)
    assert np.mean(pulls) == pytest.approx(0.2, abs=0.45)  # the largest of some fits is a little too large
    assert np.std(pulls) == pytest.approx(1.0, abs=0.3)


def _pulled(seed: int, peak_at: float) -> tuple[float, float]:
    """Pull that is found and that of the labels, where a score wants jets of 400 GeV at 3650 GeV, give or take 4 %."""
    rng = np.random.default_rng(seed)
    mass = np.concatenate([falling(rng, 60_000), rng.normal(peak_at, 100.0, 1000)])
    jet = np.concatenate([rng.exponential(150.0, 60_000), rng.normal(400.0, 15.0, 1000)])
    window = next(w for w in WINDOWS if w.low < 3600 < w.high)

    def score(features: Array, at: Array) -> Array:
        return np.asarray(-np.abs(features[:, 0] / at - 400.0 / 3650.0))

    selected = score(jet[:, None], mass) >= -0.005
    counts = np.histogram(mass[selected], EDGES)[0].astype(float)
    selection, options = ScanInput(window, "toy", 0.1, (counts, EDGES)), FitOptions("dijet4", 13_000.0, None)
    peak = fit_peak(selection, local_p_value((counts, EDGES), window), options)
    chosen = selected & window.in_signal_region(mass)
    fold = FoldEvents(score, jet[:, None], mass, chosen, jet[chosen, None], mass[chosen], -0.005)
    signal = np.arange(len(mass)) >= 60_000
    return mass_pull(selection, peak, options, [fold]), float(mass[signal & selected].mean() - mass[signal].mean())


@pytest.mark.parametrize(("peak_at", "sign"), [(3540.0, 1), (3750.0, -1)])
def test_the_pull_of_a_cut_that_knows_the_mass_is_found(peak_at: float, sign: int) -> None:
    found, truth = np.mean([_pulled(seed, peak_at) for seed in range(2, 7)], axis=0)
    assert sign * truth > 15
    assert found == pytest.approx(truth, abs=0.4 * abs(truth))


def test_a_cut_that_does_not_know_the_mass_pulls_nothing() -> None:
    window, rng = WINDOWS[2], np.random.default_rng(3)
    counts = np.round(3000 * shape())
    counts[8:12] += (30, 80, 80, 30)
    selection, options = ScanInput(window, "toy", 0.1, (counts, EDGES)), FitOptions("dijet4", 13_000.0, None)
    peak = fit_peak(selection, local_p_value((counts, EDGES), window), options)
    x = rng.random((200, 1))
    fold = FoldEvents(lambda f, _: np.asarray(f[:, 0]), x, x[:, 0], x[:, 0] > 0, x, x[:, 0], 0.0)
    assert mass_pull(selection, peak, options, [fold]) == pytest.approx(0.0, abs=0.5)
    assert mass_pull(selection, peak, options, []) == pytest.approx(0.0, abs=0.5)  # no cut
    assert np.isnan(mass_pull(selection, replace(peak, kind="centre"), options, [fold]))


def test_a_spectrum_that_cannot_be_fitted_has_no_row() -> None:
    window = WINDOWS[2]
    good, nothing = np.round(3000 * shape()), np.zeros(30)
    good[11:15] *= 1.4
    excess, options = local_p_value((good, EDGES), window), FitOptions("dijet4", 13_000.0, None)
    pairs = [(ScanInput(window, "toy", cut, (n, EDGES)), excess, options) for cut, n in ((0.1, good), (0.01, nothing))]
    peak = fit_peak(pairs[0][0], excess, options)
    assert [row["cut"] for row in events_after(peak, pairs[0][0], pairs)] == [0.1]


def test_without_an_excess_the_mass_is_the_signal_region() -> None:
    counts = np.round(3000 * shape())
    counts[9:21] *= 0.2
    window = next(w for w in WINDOWS if w.low < 3560 < w.high)
    peak = fit_peak(
        ScanInput(window, "toy", 0.1, (counts, EDGES)),
        local_p_value((counts, EDGES), window),
        FitOptions("dijet4", 13_000.0, None),
    )
    assert peak.kind == "centre"
    assert (peak.mass_low, peak.mass_high) == (window.low, window.high)


# --- properties ------------------------------------------------------------------------------------------------------


def test_properties_of_a_known_mixture() -> None:
    """Signal at 300 +- 20 on a broad background, 40 times: mean and peak are those of the signal, and errors cover."""
    rng = np.random.default_rng(7)
    means, peaks = [], []
    for k in range(40):
        inside = np.concatenate([rng.normal(300, 20, 150), rng.exponential(150.0, rng.poisson(200))])
        found = feature_property("m", inside, rng.exponential(150.0, 400), (200.0, 8.0), np.random.default_rng(k))
        assert found is not None
        means.append((found.mean - 300.0) / found.mean_error)
        peaks.append((found.peak - 300.0) / found.peak_error)
        assert found.background_mean == pytest.approx(150.0, abs=30)
    assert np.mean(means) == pytest.approx(0.0, abs=0.5)
    assert np.std(means) == pytest.approx(1.0, abs=0.35)
    assert np.mean(np.abs(peaks) < 2) > 0.8


def test_too_few_events_have_no_properties() -> None:
    window = WINDOWS[2]
    mass = np.full(30, window.centre)
    rng = np.random.default_rng(0)
    assert properties_of({"m": rng.random(30)}, mass, window, (25.0, 3.0), 0) == []  # no sidebands, and five events
    assert feature_property("m", np.ones(60), np.ones(50), (20.0, 3.0), rng) is None  # the same for all


# --- a whole search --------------------------------------------------------------------------------------------------

BACKGROUND, SIGNAL, KEPT = 20_000, 260, 0.75


def box(path: Path, *, signal: int, seed: int) -> None:
    """Events without labels; three quarters of the signal pass a cut at 2 %, where nearly no background is."""
    rng = np.random.default_rng(seed)
    mass = np.concatenate([falling(rng, BACKGROUND), rng.normal(3600.0, 100.0, signal)])
    x = np.concatenate([rng.random(BACKGROUND), np.where(rng.random(signal) < KEPT, 0.995, 0.5)])
    m_h = np.concatenate([rng.exponential(150.0, BACKGROUND), rng.normal(400.0, 15.0, signal)])
    order = rng.permutation(len(mass))
    columns = {"mjj": mass, "x": x, "m_h": m_h, "weight": np.ones(len(mass))}
    write_table(path, {name: values[order] for name, values in columns.items()})


def config_of(**changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": "box", "seed": 3, "workers": 1, "input": {"files": ["box.parquet"]}, "luminosity": 50.0,
        "scan": {"low": 2800, "high": 5200, "bins": 30, "step": 8},
        "methods": [{"name": "test-black-box-column"}],
        "selection": {"cuts": [0.02], "folds": 2}, "limits": {"cuts": [1.0]},
    }  # fmt: skip
    return {**content, **changes}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("box")
    box(made / "box.parquet", signal=SIGNAL, seed=1)
    box(made / "empty.parquet", signal=0, seed=2)
    rng = np.random.default_rng(5)
    x = np.where(rng.random(4000) < KEPT, 0.995, 0.5)
    columns = {"mjj": rng.normal(3600.0, 100.0, 4000), "x": x, "m_h": rng.normal(400.0, 15.0, 4000)}
    write_table(made / "signal.parquet", {**columns, "weight": np.ones(4000)})
    signals = [
        {
            "name": "model",
            "files": ["signal.parquet"],
            "mass": 3600,
            "generated": 8000,
            "uncertainties": {"luminosity": 0.3},
        }
    ]
    run_search(parse_config(config_of(signals=signals)), made, made / "run")
    return made


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures and the report are most of the time of a small search."""
    for name in ("draw_all", "interpretation_stage", "write_report"):
        monkeypatch.setattr(f"resonaut.analysis.search.{name}", lambda *_, **__: None)


def test_a_box_without_labels_is_described(folder: Path) -> None:
    excess = read_json(folder / "run" / "summary.json")["excess"]
    peak, size = excess["peak"], excess["cross_section"]
    assert (excess["method"], excess["cut"]) == ("test-black-box-column", 0.02)
    assert peak["mass"] == pytest.approx(3600.0, abs=4 * (peak["mass_high"] - peak["mass_low"]) / 2)
    assert 3 < excess["global_significance"] < excess["local_significance"]
    assert peak["events"] == pytest.approx(KEPT * SIGNAL, abs=4 * peak["events_error"])
    rows = {row["cut"]: row for row in excess["events"]}
    assert rows[1.0]["events"] == pytest.approx(SIGNAL, abs=4 * rows[1.0]["events_error"])
    assert size["at_least"]["fb"] == pytest.approx(peak["events"] / 50.0)
    (model,) = size["models"]
    assert model["efficiency"] == pytest.approx(KEPT / 2, rel=0.1)  # half of the generated events are in the table
    assert model["events"] == pytest.approx(2 * SIGNAL, abs=4 * model["events_error"] + 0.1 * SIGNAL)
    # 30 % from the luminosity, 2 % from the 3000 selected simulated events, and those of the fit
    expected = np.hypot(peak["events_error"] / model["efficiency"], model["events"] * np.hypot(0.3, 1 / np.sqrt(3000)))
    assert model["events_error"] == pytest.approx(expected, rel=0.01)
    assert model["fb_error"] == pytest.approx(model["events_error"] / 50.0)
    assert abs(peak["mass_pull"]) < 0.5  # this score does not know the mass
    assert excess["fit"]["function"] == "dijet4"
    found = {row["feature"]: row for row in excess["properties"]}["m_h"]
    assert found["mean"] == pytest.approx(400.0, abs=4 * found["mean_error"])
    assert found["peak"] == pytest.approx(400.0, abs=10.0)


def test_the_report_and_the_command_line_tell_it(folder: Path) -> None:
    page = (folder / "run" / "report.html").read_text()
    assert "The largest excess" in page
    assert "if it is model" in page
    text = excess_text(read_json(folder / "run" / "summary.json")["excess"])
    assert "global significance" in text
    assert "background: dijet4, chi2/ndf" in text
    excess = read_json(folder / "run" / "summary.json")["excess"]
    poor = excess_text({**excess, "fit": {**excess["fit"], "p_value": 1e-4}, "global_significance": None})
    assert "A POOR FIT" in poor.splitlines()[0]
    assert "global significance unknown" in poor
    assert "the training is not repeated" in text
    assert "fb if it is model" in text
    assert "at least" in text
    assert "at least" not in excess_text({**excess, "cut": 1.0})  # all of it is seen: one number for its size, not two


@pytest.mark.usefixtures("no_figures")
def test_a_second_run_takes_the_unit_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = folder / "run" / "excess" / "unit.json"
    before = card.stat().st_mtime_ns
    report = folder / "run" / "report.html"
    monkeypatch.setattr("resonaut.analysis.search.write_report", lambda _: report)
    result = CliRunner().invoke(main, ["run", str(folder / "run" / "config.yaml"), "--out", str(folder / "run")])
    assert result.exit_code == 0, result.output
    assert "in the whole scan: global significance" in result.output
    assert card.stat().st_mtime_ns == before


@pytest.mark.usefixtures("no_figures")
def test_an_empty_box_has_no_global_excess(folder: Path) -> None:
    config = config_of(input={"files": ["empty.parquet"]}, luminosity=None)
    run_search(parse_config(config), folder, folder / "empty")
    excess = read_json(folder / "empty" / "summary.json")["excess"]
    assert excess["global_kind"] == "toys"
    assert excess["global_significance"] < 2.5
    assert excess["cross_section"]["at_least"]["fb"] is None
    assert excess["cross_section"]["models"] == []
    assert " events by the spectrum without a cut" in excess_text(excess)


@pytest.mark.usefixtures("no_figures")
def test_a_blinded_search_is_silent(folder: Path) -> None:
    run_search(parse_config(config_of(blind=True)), folder, folder / "run")
    assert read_json(folder / "run" / "summary.json")["excess"] is None
    assert not (folder / "run" / "excess").exists()
