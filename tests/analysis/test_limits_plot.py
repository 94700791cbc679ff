from __future__ import annotations

import math

import matplotlib.pyplot as plt
import pytest

from resonaut.analysis.plots.limits import draw_limits
from resonaut.errors import InputError
from resonaut.stats import LimitResult


def limit(mass, value, **changes):
    expected = tuple(k * value for k in (0.5, 0.7, 1.0, 1.4, 2.0))
    return LimitResult("Z'", mass, 1.2 * value, expected, "pb", 0.0, 0.95, 0.05, "converged", "dijet4", **changes)


@pytest.fixture
def limits():
    failed = LimitResult.failed("no fit", signal="Z'", mass=2500.0, unit="pb", cl=0.95, function="dijet4")
    return [limit(3000.0, 0.01, method="toys"), failed, limit(2000.0, 0.1), limit(1000.0, 1.0)]


def test_band_theory_and_numbers(limits):
    """Sorted by mass, a failed point is a gap, the theory's mass limit is in legend and numbers."""
    figure, numbers = draw_limits(limits, title="T", subtitle="S", theories={"Z'": lambda m: 10.0 ** (3.0 - m / 500.0)})
    (axes,) = figure.axes
    observed = axes.lines[0]
    assert list(observed.get_xdata()) == [1000.0, 2000.0, 2500.0, 3000.0]
    assert math.isnan(observed.get_ydata()[2])
    assert axes.get_yscale() == "log"
    assert "[pb]" in axes.get_ylabel()
    assert numbers["theories"]["Z'"]["observed"] == pytest.approx(2000.0 - 1000.0 * math.log10(1.2), abs=1.0)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert any("excluded up to 1.92 TeV" in label for label in labels)
    assert "Observed, from toys" in labels
    assert [row["mass"] for row in numbers["limits"]] == [1000.0, 2000.0, 2500.0, 3000.0]
    plt.close(figure)


def test_another_unit_and_refusals(limits):
    figure, numbers = draw_limits(limits, title="T", subtitle="S", scale=1000.0, unit="fb")
    assert figure.axes[0].lines[0].get_ydata()[0] == pytest.approx(1200.0)
    assert numbers["scale"] == 1000.0
    plt.close(figure)
    with pytest.raises(InputError, match="in one unit"):
        draw_limits([], title="T", subtitle="S")
    with pytest.raises(InputError, match="in one unit"):
        draw_limits([limits[0], limits[2].scaled(1.0, "fb")], title="T", subtitle="S")


def test_one_mass_has_bars_for_its_band(limits):
    """A single limit shows its median and both bands; whole markers are inside of the frame."""
    figure, _ = draw_limits(limits[2:3], title="T")
    (axes,) = figure.axes
    bars = [c.get_segments()[0] for c in axes.collections if hasattr(c, "get_segments")]
    assert sorted((bar[0][1], bar[1][1]) for bar in bars) == [pytest.approx((0.05, 0.2)), pytest.approx((0.07, 0.14))]
    assert any(list(line.get_ydata()) == [0.1] and line.get_marker() == "_" for line in axes.lines)
    plt.close(figure)
    figure, _ = draw_limits(limits, title="T")
    low, high = figure.axes[0].get_xlim()
    assert low < 1000.0
    assert high > 3000.0
    plt.close(figure)
