"""Closures on simulated dijets and on the real LHC Olympics events: what the room is for."""

from __future__ import annotations

from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  # registers the filters that HDF5 files may use
import numpy as np
import pytest

from resonaut.models import CWOLA_FEATURES, CrossFit, CWoLaTrees, Sample, Supervised, auc, sic_curve
from resonaut.stats import ExcessResult, Window, local_p_value, log_edges, make_spectrum

EDGES = log_edges(2800.0, 5200.0, 30)
WINDOW = Window(EDGES[9], EDGES[13], EDGES[6], EDGES[16])
pytestmark = pytest.mark.slow


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)


def feature_frame(path: Path) -> dict[str, np.ndarray]:
    """Columns of a feature frame under the names of the event table, 2.8 < mJJ < 5.2 TeV."""
    with h5py.File(path) as file:
        names = [name.decode() for name in file["df/block0_items"][:]]
        column = dict(zip(names, file["df/block0_values"][:].T, strict=True))
    jets: list[dict[str, np.ndarray]] = []
    for jet in ("j1", "j2"):
        get = {name[: -len(jet)]: values for name, values in column.items() if name.endswith(jet)}
        energy = np.sqrt(get["px"] ** 2 + get["py"] ** 2 + get["pz"] ** 2 + get["m"] ** 2)
        jets.append(
            {
                **{axis: get[axis] for axis in ("px", "py", "pz")},
                "e": energy,
                "m": get["m"],
                "n": get["ntrk"],
                "tau1b2_ratio": ratio(np.sqrt(np.maximum(get["tau1b2"], 0.0)), get["tau1"]),
                "tau21": ratio(get["tau2"], get["tau1"]),
                "tau32": ratio(get["tau3"], get["tau2"]),
                "tau43": ratio(get["tau4"], get["tau3"]),
            }
        )
    total = {axis: jets[0][axis] + jets[1][axis] for axis in ("px", "py", "pz", "e")}
    mjj = np.sqrt(total["e"] ** 2 - total["px"] ** 2 - total["py"] ** 2 - total["pz"] ** 2)
    first_heavier = jets[0]["m"] >= jets[1]["m"]
    table = {"mjj": mjj, "label": column["label"]}
    for name in ("m", "n", "tau1b2_ratio", "tau21", "tau32", "tau43"):
        table[f"{name}_h"] = np.where(first_heavier, jets[0][name], jets[1][name])
        table[f"{name}_l"] = np.where(first_heavier, jets[1][name], jets[0][name])
    inside = (mjj >= EDGES[0]) & (mjj < EDGES[-1])
    return {name: values[inside] for name, values in table.items()}


@pytest.fixture(scope="module")
def frames(reference_data: Path) -> dict[str, dict[str, np.ndarray]]:
    names = {"qcd": "qcd_data", "signal": "sig_Zp3500_X500_X500_3prong"}
    return {key: feature_frame(reference_data / "sim" / f"{name}.features.h5") for key, name in names.items()}


def injected(frames: dict[str, dict[str, np.ndarray]], fraction: float) -> Sample:
    """All QCD and as much signal as makes S/B = fraction in the signal region."""
    background, signal = frames["qcd"], frames["signal"]
    wanted = fraction * np.count_nonzero(WINDOW.contains(background["mjj"]))
    count = round(wanted / WINDOW.contains(signal["mjj"]).mean())
    rows = np.random.default_rng(11).permutation(len(signal["mjj"]))[:count]
    table = {name: np.concatenate([background[name], signal[name][rows]]) for name in background}
    return Sample.from_table(table, CWOLA_FEATURES)


def search(sample: Sample, fractions: tuple[float, ...]) -> dict[float, tuple[np.ndarray, ExcessResult]]:
    result = CrossFit(CWoLaTrees(members=3), folds=5, seed=1).fit_score(sample, WINDOW)
    selections = result.select(fractions)
    return {
        fraction: (mask, local_p_value(make_spectrum(sample.mass[mask], EDGES), WINDOW))
        for fraction, mask in selections.items()
    }


def test_cwola_trees_find_an_injected_resonance_in_simulated_dijets(frames: dict[str, dict[str, np.ndarray]]) -> None:
    sample = injected(frames, 0.007)
    selected, excess = search(sample, (0.003,))[0.003]
    inside = WINDOW.contains(sample.mass)
    signal, background = (np.count_nonzero(inside & (sample.truth() == kind)) for kind in (1, 0))
    assert signal / np.sqrt(background) < 2  # nothing to see before the cut
    kept, left = (np.count_nonzero(selected & inside & (sample.truth() == kind)) for kind in (1, 0))
    assert kept / np.sqrt(left) > 12
    assert excess.local_significance > 6


def test_cwola_trees_sculpt_no_bump_without_signal(frames: dict[str, dict[str, np.ndarray]]) -> None:
    for _, excess in search(injected(frames, 0.0), (0.1, 0.01, 0.003)).values():
        assert abs(excess.local_significance) < 3
        assert excess.fit.chi2 / excess.fit.ndf < 2


def test_supervised_reference_on_lhc_olympics_events(reference_data: Path) -> None:
    """Published with more background: maximum SIC 17.65, AUC about 0.976 (five features)."""
    names = ("mj_min", "dm_jj", "tau21_l", "tau21_h")

    def read(name: str) -> Sample:
        rows = np.load(reference_data / "lhco" / f"{name}.npy")
        return Sample(rows[:, 1:5], names, rows[:, 0] * 1000.0, label=rows[:, 5])

    train, test, signal = (read(f"innerdata_{name}") for name in ("train", "val", "extrasig_train"))
    even = np.arange(len(signal)) % 2 == 0

    def mixed(sample: Sample, extra: Sample) -> Sample:
        background = sample.take(sample.truth() == 0)
        label = np.repeat([0, 1], [len(background), len(extra)])
        return Sample(
            np.concatenate([background.features, extra.features]),
            names,
            np.concatenate([background.mass, extra.mass]),
            label=label,
        )

    scorer = Supervised(names, members=6, max_features=0.5).fit(mixed(train, signal.take(even)), None)
    held_out = mixed(test, signal.take(~even))
    scores = scorer.score(held_out)
    value, error = sic_curve(held_out.truth(), scores, min_background=30).best
    assert auc(held_out.truth(), scores) > 0.96
    assert value > 10
    assert abs(value - 17.65) < 3 * error + 0.25 * 17.65  # a quarter less training background costs some
