"""Self-consistent limits against functions whose crossing is known."""

from __future__ import annotations

import numpy as np
import pytest

from resonaut.errors import InputError
from resonaut.stats import self_consistent_limit


def test_a_limit_that_does_not_depend_on_the_strength_is_itself() -> None:
    assert self_consistent_limit([0, 7, 1000], [123.4] * 3).value == pytest.approx(123.4, rel=1e-12)


def test_a_learnt_limit_meets_the_strength_at_the_root() -> None:
    """limit(s) = a exp(-s/b) crosses s at b W(a/b), by the definition of Lambert's W."""
    from scipy.special import lambertw

    a, b = 2400.0, 64.0
    strengths = np.linspace(0, 400, 401)
    found = self_consistent_limit(strengths, a * np.exp(-strengths / b))
    assert found.value == pytest.approx(b * lambertw(a / b).real, rel=1e-4)
    coarse = self_consistent_limit([0, 100, 200, 400], a * np.exp(-np.array([0, 100, 200, 400]) / b))
    assert coarse.value > found.value  # a limit that falls and flattens: few strengths are conservative


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
