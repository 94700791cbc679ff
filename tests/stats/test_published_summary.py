"""Rows of docs/stats/published.md that no other test holds, and that every test which the page names exists."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from resonaut.stats import (
    CrystalBallShape,
    Signal,
    TemplateShape,
    bump_hunter,
    fit_background,
    limit_scan,
    read_spectrum,
    shape_variations,
    sliding_fit,
    sliding_toys,
    toy_goodness,
)

TESTS = Path(__file__).parent
PAGE = TESTS.parents[1] / "docs/stats/published.md"


def binomial(p, toys, deviations=3.5):
    """Largest distance of a p-value from toys that is still chance."""
    return deviations * np.sqrt(p * (1.0 - p) / toys) + 1.0 / toys


def test_every_row_of_the_page_has_its_test():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][2:]
    tests = "".join(path.read_text() for path in TESTS.glob("test_*.py"))
    named = [re.findall(r"`(test_\w+)`", row) for row in rows]
    assert len(rows) > 20
    assert [row for row, names in zip(rows, named, strict=True) if not names] == []
    assert [name for names in named for name in names if f"def {name}(" not in tests] == []


def test_one_fit_of_atlas_139_fails_and_sliding_windows_do_not(published_data):
    """p-values of the deviance by toys with all fits made again: 0.006 and 0.032."""
    spectrum = read_spectrum(published_data / "atlas_139ifb_inclusive_mjj.csv")
    one = toy_goodness(fit_background(spectrum), toys=1500)
    assert one.deviance_p_value == pytest.approx(0.0062, abs=binomial(0.0062, 1500))
    windows = sliding_toys(sliding_fit(spectrum, half_widths=[22], edge="clip"), toys=500)
    assert windows.failed == 0
    assert windows.p_value == pytest.approx(0.032, abs=binomial(0.032, 500))


def test_global_p_of_pybumphunter(published_data):
    """177 of 10,000 toys there, 0.0189 +- 0.0004 from 100,000 here."""
    table = np.genfromtxt(published_data / "pybumphunter_example.csv", delimiter=",", comments="#", skip_header=3)
    edges = np.append(table[:, 0], table[-1, 1])
    found = bump_hunter((table[:, 2], edges), table[:, 3], min_bins=2, max_bins=6, toys=20_000)
    assert found.global_p == pytest.approx(0.0189, abs=binomial(0.0189, 20_000))
    assert found.global_p == pytest.approx(0.0177, abs=np.hypot(binomial(0.0177, 10_000), binomial(0.0189, 20_000)))


@pytest.fixture(scope="module")
def cms_limits(published_data):
    return np.genfromtxt(published_data / "cms_137ifb_limits_narrow_qq.csv", delimiter=",", comments="#", skip_header=3)


def crystal_ball(mass):
    """A resonance like CMS's of two quarks."""
    return CrystalBallShape(1.006 * mass, 0.05 * mass, alpha_low=0.69, n_low=2.4, alpha_high=1.34, n_high=6.1)


def cms_ratios(spectrum, table, masses, maker=crystal_ball, **options):
    """Expected limits over those of CMS, with its systematic uncertainties."""

    def signal(mass, edges):
        shape = maker(mass)
        shapes = shape_variations(shape, edges, mass, scale=0.02, resolution=0.1)
        return Signal(shape.template(edges), {"luminosity": 0.025}, shapes)

    limits = limit_scan(spectrum, masses, signal, luminosity=137.0, unit="pb", check=False, **options)
    return [limit.expected[2] / table[table[:, 0] == limit.mass, 4][0] for limit in limits]


def test_limits_beyond_the_table(cms_137, cms_limits):
    """A resonance at 8.7 TeV is half outside of the published bins: with the empty bins behind them, ours is half."""
    edges = np.append(cms_137.axes[0].edges, [9067.0, 9391.0, 9726.0, 10072.0])
    longer = (np.append(cms_137.values(), np.zeros(4)), edges)
    masses = (7800.0, 8700.0)
    inside = cms_ratios(cms_137, cms_limits, masses, method="asymptotic")
    assert inside == pytest.approx([0.93, 1.47], abs=0.06)
    assert cms_ratios(longer, cms_limits, masses, method="asymptotic") == pytest.approx([0.91, 0.68], abs=0.06)
    toys = cms_ratios(cms_137, cms_limits, [7800.0], method="toys", toys=1000)
    assert toys == pytest.approx([0.98], abs=0.1)


def test_expected_limits_with_the_shape_of_each_mass(reference_data, cms_137, cms_limits):
    """Below 3 TeV, where CMS fits the same function: 0.96 to 1.02 of its limits; with the shape of 3 TeV 0.85 at 1.8 TeV."""
    import uproot

    def shape_of(file, mass):
        name = next(key for key in file.keys(cycle=False) if key.endswith(f"_{mass:.0f}"))
        return TemplateShape.from_spectrum(mass, file[name].to_numpy())

    path = "reference/stats/cms_signal_shapes/ResonanceShapes_qq_13TeV_CaloScouting_RunIIFall17.root"
    masses = (1800.0, 2100.0, 2400.0, 2700.0, 2900.0)
    with uproot.open(reference_data / path) as file:
        found = cms_ratios(cms_137, cms_limits, masses, maker=lambda mass: shape_of(file, mass), method="asymptotic")
        heavy = shape_of(file, 3000.0)
    assert found == pytest.approx([1.01, 0.96, 1.00, 1.02, 1.02], abs=0.02)
    masses = (1800.0, 3000.0, 4200.0, 5400.0, 6600.0, 7200.0, 7600.0)
    scaled = cms_ratios(cms_137, cms_limits, masses, maker=heavy.scaled_to, method="asymptotic")
    assert scaled == pytest.approx([0.85, 0.93, 0.88, 0.95, 0.82, 0.79, 0.85], abs=0.02)


def test_published_limits_are_rounded_at_high_mass(cms_limits):
    """Odd multiples of 4.58e-6 pb between 6.3 and 8.2 TeV: a bisection that stopped, so 2 % at 7 TeV, 7 % at 8.2 TeV."""
    rows = cms_limits[(cms_limits[:, 0] >= 6300.0) & (cms_limits[:, 0] <= 8200.0)]
    units = rows[:, 4] / (0.3 / 2**16)
    np.testing.assert_allclose(units, np.round(units), atol=0.002)
    assert (np.round(units) % 2 == 1).all()
    # and they step by a tenth at 3 TeV, where the ratio method begins
    falls = dict(zip(cms_limits[1:, 0], cms_limits[1:, 4] / cms_limits[:-1, 4], strict=True))
    assert falls[3000.0] == pytest.approx(0.96, abs=0.01)
    assert [falls[mass] for mass in (2700.0, 2800.0, 2900.0, 3100.0, 3200.0)] == pytest.approx([0.88] * 5, abs=0.01)
