"""p-values from toys: exact where the answer can be counted, and none where a fit failed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from resonaut.errors import ConfigError
from resonaut.stats.toy_tools import poisson_toys, require_toys, toy_p_value


def test_the_data_without_a_value_have_no_p_value() -> None:
    """NaN compares as not above anything: it came out as 1 / (n + 1)."""
    found = toy_p_value(np.arange(49.0), float("nan"))
    assert np.isnan([found.p, found.error]).all()
    assert (found.used, found.lost) == (49, 0)


def test_failed_toys_do_not_count_as_toys_below() -> None:
    sample = [3.0, 1.0, float("nan"), float("nan"), float("nan")]
    found = toy_p_value(sample, 2.0)
    assert (found.p, found.used, found.lost) == (2 / 3, 2, 3)
    assert np.isnan(toy_p_value([float("nan")] * 4, 2.0).p)
    assert np.isnan(toy_p_value([], 2.0).p)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 5), st.floats(1e-3, 1e6))
def test_ties_count_whatever_the_size_of_the_numbers(sample: list[int], observed: int, unit: float) -> None:
    values = unit * np.array(sample) * (1 + 1e-14)
    expected = (1 + sum(k >= observed for k in sample)) / (len(sample) + 1)
    assert toy_p_value(values, unit * observed * (1 + 3e-14)).p == expected


def test_the_largest_and_the_smallest_value() -> None:
    assert toy_p_value([1.0, 2.0], float("inf")).p == pytest.approx(1 / 3)
    assert toy_p_value([1.0, float("inf")], float("inf")).p == pytest.approx(2 / 3)
    assert toy_p_value([1.0, 2.0], float("-inf")).p == 1.0


def test_the_p_value_is_uniform() -> None:
    rng = np.random.default_rng(1)
    p = [toy_p_value(rng.normal(size=99), rng.normal()).p for _ in range(800)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_toy_spectra_are_those_of_their_stream() -> None:
    mean = np.array([3.0, 50.0, 0.0])
    drawn = poisson_toys(mean, 2000, [5, 1])
    assert drawn.tolist() == poisson_toys(mean, 2000, np.random.default_rng([5, 1])).tolist()
    assert drawn.mean(axis=0) == pytest.approx(mean, abs=5 * np.sqrt(50 / 2000))
    with pytest.raises(ConfigError, match="got 0 toys"):
        require_toys(0)
