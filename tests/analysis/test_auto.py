"""The mass range of a hunt, on pseudo-data whose turn-on is known."""

from __future__ import annotations

import numpy as np
import pytest

from resonaut.analysis.auto import find_mass_range
from resonaut.errors import InputError


def masses(events: int, *, turn_on: float | None, seed: int = 1) -> np.ndarray:
    """Power law in the mass from 1.5 TeV on, with a logistic turn-on."""
    rng = np.random.default_rng(seed)
    mass = 1500.0 * (1 - rng.random(events)) ** (-1 / 5.5)
    if turn_on is None:
        return mass
    return mass[rng.random(events) < 1 / (1 + np.exp(-(mass - turn_on) / 100))]


def test_the_range_starts_where_the_turn_on_is_over() -> None:
    scan = find_mass_range(masses(400_000, turn_on=2300))
    assert 2450 < scan.low < 3200  # at 2450 GeV the turn-on is at 82 %, at 2600 at 95 %
    # a hundred of 400,000 events lie above: (m / 1500 GeV)^-5.5 = 100 / 400,000
    assert scan.high == pytest.approx(1500 * 4000 ** (1 / 5.5), rel=0.04)


def test_without_a_turn_on_the_range_starts_at_the_peak() -> None:
    assert find_mass_range(masses(100_000, turn_on=None)).low < 1650


def test_a_strong_resonance_is_not_taken_for_a_turn_on() -> None:
    background = masses(100_000, turn_on=None)
    bump = np.random.default_rng(3).normal(3000, 40, 600)  # about 19 standard deviations
    assert find_mass_range(np.concatenate([background, bump])).low < 1700


@pytest.mark.parametrize("wrong", [np.full(3000, 3500.0), 1000 * masses(20_000, turn_on=None)])
def test_masses_without_a_spectrum_are_told(wrong: np.ndarray) -> None:
    with pytest.raises(InputError, match="is the column in MeV, or the same for all events"):
        find_mass_range(wrong)


def test_a_spectrum_that_does_not_fall_smoothly_is_refused() -> None:
    rng = np.random.default_rng(2)
    comb = np.repeat(np.linspace(2000, 6000, 45), 3000) + rng.normal(0, 3, 135_000)
    with pytest.raises(InputError, match=r"write a config"):
        find_mass_range(comb)
