"""Pieces of the validation suite, each against scipy, an analytic law, or toys whose truth is set here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from resonaut.analysis.spectra import FitOptions
from resonaut.analysis.validation.background import _refuse_known, _require_usable, drawn_rows
from resonaut.analysis.validation.checks import Alarm, bonferroni
from resonaut.analysis.validation.contamination import purity_ratio
from resonaut.analysis.validation.correlation import feature_check, score_check, separation
from resonaut.analysis.validation.masses import drawn_masses, permuted_masses, resampled_masses, twin_groups
from resonaut.analysis.validation.pseudo_checks import _judged, _Test, statistics_of
from resonaut.analysis.validation.spectra_checks import _flatness, efficiency_check, shifted_pulls
from resonaut.analysis.validation_config import ValidationConfig
from resonaut.errors import InputError
from resonaut.processors import write_table
from resonaut.stats import Window, log_edges

LOW, HIGH = 2800.0, 5200.0
EDGES = log_edges(LOW, HIGH, 30)
Array = np.ndarray[Any, Any]


def falling(rng: np.random.Generator, events: int) -> Array:
    ends, u = (LOW**-5, HIGH**-5), rng.random(events)
    return (ends[0] + u * (ends[1] - ends[0])) ** -0.2


def cumulative(mass: Array) -> Array:
    return (LOW**-5 - mass**-5) / (LOW**-5 - HIGH**-5)


def test_drawn_masses_follow_the_density_that_the_bins_stand_for() -> None:
    expected = np.diff(cumulative(EDGES))
    found = drawn_masses(expected, EDGES, 50_000, np.random.default_rng(1))
    assert stats.kstest(found, cumulative).pvalue > 0.01


def test_resampled_masses_follow_the_background_and_lose_a_resonance() -> None:
    rng = np.random.default_rng(2)
    mass = np.concatenate([falling(rng, 20_000), rng.normal(3500, 30, 1000)])
    feature = np.repeat([0.0, 1.0], [20_000, 1000])
    reach = 5 * np.log(HIGH / LOW) / 30
    new = resampled_masses(mass, EDGES, reach, FitOptions("dijet3", 13000.0, None), rng)
    assert len(np.unique(new)) == len(new)
    moved = np.abs(np.log(new / mass))
    assert moved.max() < 2 * reach
    # the events of the resonance are spread evenly over the reach
    assert np.std(new[feature == 1]) == pytest.approx(3500 * reach / 3**0.5, rel=0.1)
    before, after = (np.histogram(m, [3440, 3560])[0][0] for m in (mass, new))
    assert after < 0.75 * before


def test_resampled_masses_keep_slow_correlations() -> None:
    rng = np.random.default_rng(3)
    mass = falling(rng, 20_000)
    feature = np.log(mass) + rng.normal(0, 0.1, len(mass))
    new = resampled_masses(mass, EDGES, 0.05, FitOptions("dijet3", 13000.0, None), rng)
    was, is_now = (stats.spearmanr(feature, m).statistic for m in (mass, new))
    assert 0.8 * was < is_now < was


def test_permuted_masses_leave_copies_together_and_nothing_else() -> None:
    rng = np.random.default_rng(4)
    mass = falling(rng, 5000)
    columns = np.stack([mass, rng.normal(size=5000)], axis=1).astype(np.float32).astype(np.float64)
    mass, columns = np.append(mass, mass[:500]), np.concatenate([columns, columns[:500]])
    new = permuted_masses(mass, columns, rng)
    assert np.array_equal(new[5000:], new[:500])
    assert abs(stats.spearmanr(columns[:, 0], new).statistic) < 0.06
    assert set(new) == set(mass)


def test_twins_are_told_through_single_precision() -> None:
    values = np.array([[1.2345678, 1e-7], [1.2345678, 1e-7], [1.2346, 1e-7], [np.nan, 0.0], [np.nan, 0.0]])
    values[1] = values[1].astype(np.float32)
    groups = twin_groups(values)
    assert groups[0] == groups[1] != groups[2]
    assert groups[3] == groups[4]


def test_separation_is_that_of_mann_and_whitney() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.integers(0, 6, 300).astype(float), rng.integers(1, 7, 200).astype(float)
    truth = stats.mannwhitneyu(second, first, use_continuity=False, method="asymptotic")
    found = separation(first, second)
    assert found.auc == pytest.approx(truth.statistic / (300 * 200))
    assert found.p == pytest.approx(truth.pvalue)


def test_statistics_are_those_of_scipy() -> None:
    z = np.random.default_rng(6).normal(0.3, 1.2, 80)
    found = statistics_of(np.append(z, np.nan))
    assert found.ks == pytest.approx(stats.kstest(stats.norm.sf(z), "uniform").statistic)
    assert (found.mean, found.width) == (pytest.approx(z.mean()), pytest.approx(z.std()))


@pytest.mark.parametrize("degree", [0, 2])
def test_p_values_of_efficiencies_are_uniform(degree: int) -> None:
    """Binomial counts from a flat efficiency."""
    rng = np.random.default_rng(7)
    n = np.geomspace(3000, 200, 20)
    p = [
        _flatness(rng.binomial(n.astype(int), 0.1).astype(float), n // 1, np.arange(20.0), degree).p for _ in range(300)
    ]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_a_smooth_change_of_the_efficiency_is_no_structure() -> None:
    n, x = np.full(20, 2000.0), np.arange(20.0)
    smooth = n / (1 + np.exp(2 - 0.05 * x))
    step = n * np.where((x > 8) & (x < 12), 0.2, 0.1)
    assert _flatness(smooth, n, x, 2).spread == 0.0
    assert _flatness(smooth, n, x, 0).spread > 0.2
    assert _flatness(step, n, x, 2).spread > 0.2
    assert _flatness(step, n, x, 2).p < 1e-6


def test_pulls_of_shifted_regions_are_standard_normal() -> None:
    """With a signal region blind beside them; toys of a power law, which the function holds."""
    rng = np.random.default_rng(8)
    expected = 20_000 * np.diff(cumulative(EDGES))
    window = Window(EDGES[13], EDGES[17], EDGES[10], EDGES[20])
    pulls = [
        shifted_pulls(rng.poisson(expected).astype(float), EDGES, window, FitOptions("dijet3", 13000.0, None))
        for _ in range(200)
    ]
    assert {len(each) for each in pulls} == {6}
    for each in pulls[0]:
        assert each.high <= window.low * 1.0001 or each.low >= window.high * 0.9999
    for place in range(6):
        assert stats.kstest([each[place].z for each in pulls], "norm").pvalue > 1e-3


def test_a_bump_beside_the_signal_region_is_pulled_and_one_inside_is_not_seen() -> None:
    expected = 20_000 * np.diff(cumulative(EDGES))
    window = Window(EDGES[13], EDGES[17], EDGES[10], EDGES[20])
    inside, beside = expected.copy(), expected.copy()
    inside[14:16] *= 2
    beside[18:20] *= 1.5
    options = FitOptions("dijet3", 13000.0, None)
    assert max(abs(pull.z) for pull in shifted_pulls(inside, EDGES, window, options)) < 0.5
    best = max(shifted_pulls(beside, EDGES, window, options), key=lambda pull: abs(pull.z))
    assert best.z > 5
    assert best.low < EDGES[19] < best.high


def test_purity_of_a_signal_in_the_sidebands() -> None:
    """A Gaussian over flat background: the ratio of the signal's parts, by the error function, over that of the widths."""
    rng = np.random.default_rng(9)
    window = Window(3400.0, 3600.0, 3300.0, 3700.0)
    signal, flat = rng.normal(3500, 80, 200_000), rng.uniform(3000, 4000, 500_000)
    inside = 2 * stats.norm.cdf(100 / 80) - 1
    beside = 2 * stats.norm.cdf(200 / 80) - 1 - inside
    ratio, error, _ = purity_ratio(signal, np.ones(len(signal)), flat, window)
    assert ratio == pytest.approx(beside / inside, rel=0.02)
    assert error < 0.01


def test_fourteen_checks_give_a_false_alarm_as_often_as_asked() -> None:
    """Independent uniform p-values, the worst case of Bonferroni."""
    alarm, rng = Alarm(0.05), np.random.default_rng(10)
    red = [any(alarm.verdict(p) == "red" for p in rng.random(14)) for _ in range(4000)]
    assert np.mean(red) == pytest.approx(0.05, abs=0.012)
    assert bonferroni(0.4, 5) == 1.0


def test_a_quick_validation_is_smaller() -> None:
    checks = ValidationConfig()
    quick = checks.quick()
    assert quick.pseudo_experiments < checks.pseudo_experiments
    assert (quick.windows, quick.leave_out, quick.folds) == (2, False, ())


def setting_with(**given: Any) -> Any:
    return SimpleNamespace(alarm=Alarm(0.01), config=SimpleNamespace(name="toy", mass_label="m [GeV]"), **given)


@pytest.mark.parametrize(("first", "verdict"), [(11, "amber"), (4, "red")])
def test_a_signal_beside_its_region_is_not_called_sculpting(first: int, verdict: str) -> None:
    """1 % of 200,000 events and 120 more in two bins: next to the signal region they may be its tails, far away not."""
    rng = np.random.default_rng(12)
    window = Window(EDGES[13], EDGES[17], EDGES[10], EDGES[20])
    total = np.round(200_000 * np.diff(cumulative(EDGES)))
    counts = rng.binomial(total.astype(int), 0.01).astype(float)
    counts[first : first + 2] += 60
    selected = SimpleNamespace(
        method="toy", window=window, edges=EDGES, all_counts=total, counts={0.01: counts}, cuts=(0.01,)
    )
    check, _ = efficiency_check(setting_with(selected=[selected]))
    assert check.verdict == verdict
    assert ("tails of a signal" in check.diagnosis) == (verdict == "amber")


def test_features_are_tested_as_the_method_reads_them(tmp_path: Path) -> None:
    """A jet mass that does not know mJJ does as soon as it is divided by it; the other way round for one that grows with it."""
    rng = np.random.default_rng(13)
    window = Window(EDGES[13], EDGES[17], EDGES[8], EDGES[22])
    mass = falling(rng, 40_000)
    edge = 40.0 + rng.exponential(5.0, len(mass))
    write_table(
        tmp_path / "events.parquet", {"mjj": mass, "m_h": edge, "m_l": 0.05 * mass + rng.normal(0, 20, len(mass))}, {}
    )

    def check(options: dict[str, Any]) -> Any:
        method = SimpleNamespace(name="cwola-trees", title="trees", options=options)
        job = SimpleNamespace(
            table=tmp_path / "events.parquet", variable="mjj", window=window, features=("m_h", "m_l"), method=method
        )
        return feature_check(setting_with(jobs=[job], windows=[window]))[0]

    relative, absolute = check({}), check({"scaled_by_mass": []})
    low, high = window.in_lower_sideband(mass), window.in_upper_sideband(mass)
    x = edge / mass
    auc = stats.mannwhitneyu(x[high], x[low]).statistic / (high.sum() * low.sum())
    assert relative.details["features"]["m_h / mjj"] == pytest.approx(max(auc, 1 - auc), rel=1e-9)
    assert relative.verdict == absolute.verdict == "red"
    assert "m_h / mjj depends on the mass" in relative.diagnosis
    assert "scaled_by_mass: []" in relative.diagnosis
    assert "m_l depends on the mass" in absolute.diagnosis
    assert "divide it by the mass" in absolute.diagnosis


def test_a_large_effect_of_few_events_hides_no_sure_one() -> None:
    """Two windows: an AUC of 0.67 among thousands of events, and a larger one among 20, which chance gives too."""
    rng = np.random.default_rng(13)
    found = []
    for low, events, gap in ((13, 4000, 0.62), (4, 10, 1.0)):
        window = Window(EDGES[low], EDGES[low + 4], EDGES[low - 3], EDGES[low + 7])
        mass = np.repeat([EDGES[low - 1], EDGES[low + 5]], events)
        scores = np.linspace(-2, 2, events) if events < 100 else rng.normal(size=events)
        scores = np.concatenate([scores, (scores if events < 100 else rng.normal(size=events)) + gap])
        fold = np.zeros(len(mass), dtype=int)
        found.append(SimpleNamespace(method="toy", window=window, mass=mass, scores=scores, fold=fold))
    few = separation(found[1].scores[:10], found[1].scores[10:])
    assert few.auc > stats.norm.cdf(0.62 / 2**0.5) > 0.65  # the truth of the other
    assert few.p > 0.05
    check, _ = score_check(setting_with(selected=found))
    assert check.verdict == "red"
    assert str(found[0].window) in check.diagnosis


def test_a_sure_departure_of_one_method_hides_no_larger_one_of_another() -> None:
    small = _Test("small", 0.2, 0.2, 1e-12, 1.0)
    large = _Test("large", 0.7, 0.7, 1e-9, 1e-6)
    worst, p, verdict = _judged(setting_with(), [small, large], 0.25, 0.5)
    assert (worst, p, verdict) == (large, 2e-9, "red")


def test_pseudo_experiments_share_no_event_and_have_as_many_as_the_data() -> None:
    inside = np.arange(100_000) % 2 == 0
    found = drawn_rows(inside, 1000.0, 60, np.random.default_rng(14))
    rows = np.concatenate(found)
    assert len(np.unique(rows)) == len(rows)
    assert inside[rows].all()
    numbers = [len(each) for each in found]
    assert len(numbers) in range(47, 52)  # 50,000 events are in the range
    assert np.mean(numbers) == pytest.approx(1000, abs=4 * (1000 / 50) ** 0.5)
    assert np.var(numbers) == pytest.approx(1000, rel=4 * (2 / 50) ** 0.5)  # of a Poisson count
    again = drawn_rows(inside, 1000.0, 5, np.random.default_rng(14))
    assert all(np.array_equal(one, two) for one, two in zip(again, found, strict=False))


def test_background_that_is_too_small_is_told() -> None:
    with pytest.raises(InputError, match="500 events in the mass range and the data 400"):
        drawn_rows(np.ones(500, dtype=bool), 400.0, 20, np.random.default_rng(15))


def test_background_that_is_known_weighted_or_lacks_a_feature_is_told(tmp_path: Path) -> None:
    table, copy = tmp_path / "background.parquet", tmp_path / "data.parquet"
    for path in (table, copy):
        write_table(path, {"mjj": np.ones(3), "a": np.ones(3), "weight": np.array([1.0, 1.0, 0.5])})
    with pytest.raises(InputError, match=r"background\.parquet holds events of the data"):
        _refuse_known([table], [copy], "data (input.files)")
    job = SimpleNamespace(features=("a", "b"), method=SimpleNamespace(title="trees"))
    with pytest.raises(InputError, match="has no b, which trees learns from"):
        _require_usable(table, [job])  # type: ignore[list-item]
    with pytest.raises(InputError, match="1 events have a weight other than 1"):
        _require_usable(table, [])
