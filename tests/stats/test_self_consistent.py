"""Self-consistent limits against functions whose crossing is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import lambertw

from resonaut.errors import InputError
from resonaut.stats import self_consistent_limit

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def test_a_limit_that_does_not_depend_on_the_strength_is_itself() -> None:
    assert self_consistent_limit([0, 7, 1000], [123.4] * 3).value == pytest.approx(123.4, rel=1e-12)


@pytest.mark.parametrize("strengths", [np.linspace(0, 400, 401), [0, 100, 200, 400], [0, 400]])
def test_a_limit_that_falls_exponentially_meets_the_strength_at_the_root(strengths: list[float]) -> None:
    """limit(s) = a exp(-s/b) crosses s at b W(a/b), by the definition of Lambert's W; also with few strengths."""
    a, b = 2400.0, 64.0
    found = self_consistent_limit(strengths, a * np.exp(-np.asarray(strengths) / b))
    assert found.value == pytest.approx(b * lambertw(a / b).real, rel=1e-9)


def test_few_strengths_are_conservative_for_a_limit_that_flattens() -> None:
    """limit(s) = n / efficiency(s), where the efficiency rises from 0.2 % and saturates at 50 %."""

    def limit(s: float) -> float:
        return 30 / (0.002 + 0.498 * (1 - np.exp(-((s / 150) ** 2))))

    root = brentq(lambda s: limit(s) - s, 1, 700)
    for strengths, most in (([0, 50, 100, 150, 200, 300], 1.05), ([0, 100, 300, 700], 1.2), ([0, 300, 700], 2.0)):
        found = self_consistent_limit(strengths, [limit(s) for s in strengths])
        assert root < found.value < most * root


@pytest.mark.parametrize("left", [[0, 100, 300, 700], [0, 200, 450], [0, 300, 700], [0, 200, 700]])
def test_strengths_left_out_of_a_measured_curve_matter_less_than_with_a_straight_line(left: list[float]) -> None:
    """The curves of the example; limits of all strengths are those of a straight line, which is in its favour."""
    path = Path(__file__).parents[2] / "benchmarks" / "results" / "zprime_limits.json"
    ours, straight = [], []
    for signal in json.loads(path.read_text())["signals"]:
        for selection in (each for each in signal["selections"] if each["method"] in ("cwola-trees", "combination")):
            if selection["cut"] > 0.01:
                continue
            for column in (selection["observed"], *zip(*selection["expected"], strict=True)):
                strengths, limits = np.array(selection["events"]), np.array(column)
                grid = np.isin(strengths, left)
                truth = _straight(strengths, limits)
                ours.append(self_consistent_limit(strengths[grid], limits[grid]).value / truth - 1)
                straight.append(_straight(strengths[grid], limits[grid]) / truth - 1)
    assert len(ours) == 48
    assert -0.03 < np.mean(ours) < 0.25
    assert np.mean(np.abs(ours)) < 0.8 * np.mean(np.abs(straight))


def _straight(strengths: Array, limits: Array) -> float:
    above = limits - strengths
    k = int(np.flatnonzero(above > 0)[-1])
    return float(strengths[k] + above[k] / (above[k] - above[k + 1]) * (strengths[k + 1] - strengths[k]))


def test_the_last_crossing_counts() -> None:
    """Excluded at 200, but not at 300: what is larger than the limit must be excluded throughout."""
    found = self_consistent_limit([0, 100, 200, 300, 400], [500, 300, 150, 350, 100])
    assert 300 < found.value < 400


def test_a_limit_that_collapses_between_two_strengths_is_known_to_their_distance() -> None:
    """limit = 900 below 390, 50 from there on: the search excludes from 390 on, the grid says between 300 and 400."""
    found = self_consistent_limit([0, 100, 200, 300, 400], [900, 900, 900, 900, 50])
    assert 300 < found.value < 390


def test_the_lines_of_a_band_stay_in_order() -> None:
    """Limits that are lower at each strength have the lower crossing, however much they wander."""
    rng = np.random.default_rng(1)
    strengths = np.array([0.0, 100, 200, 300, 450, 700])
    for _ in range(200):
        middle = rng.uniform(50, 700, 6)
        found = [self_consistent_limit(strengths, factor * middle) for factor in (0.5, 0.7, 1.0, 1.4, 2.0)]
        values = [each.value if each.ok else np.inf for each in found]
        assert values == sorted(values)


def test_no_crossing_is_no_number() -> None:
    assert self_consistent_limit([0, 10], [100, 50]).status == "not excluded up to 10"
    assert self_consistent_limit([50, 100], [10, 10]).status == "excluded from 50 on"
    assert np.isnan(self_consistent_limit([0, 10], [100, 50]).value)


def test_nothing_selected_means_the_next_strength() -> None:
    assert self_consistent_limit([0, 100, 200], [np.inf, np.inf, 50]).value == 200


@pytest.mark.parametrize(
    ("strengths", "limits"),
    [([], []), ([0, 1], [1]), ([1, 1], [1, 1]), ([-1, 1], [1, 1]), ([0, 1], [np.nan, 1]), ([0, 1], [0, 1])],
)
def test_senseless_input_is_refused(strengths: list[float], limits: list[float]) -> None:
    with pytest.raises(InputError):
        self_consistent_limit(strengths, limits)
