"""What a signal may be made of."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from resonaut.errors import InputError
from resonaut.stats import GaussianShape, Signal, upper_limit
from resonaut.stats.shapes.signals import as_signal

EDGES = np.linspace(2000.0, 4000.0, 21)
SHAPE = GaussianShape(3000.0, 90.0)


def test_a_shape_is_integrated_over_the_bins_of_the_spectrum():
    moved = {"scale": (GaussianShape(2970.0, 90.0), GaussianShape(3030.0, 90.0))}
    found = as_signal(Signal(SHAPE, {"luminosity": 0.025}, moved), EDGES)
    np.testing.assert_array_equal(found.template, SHAPE.template(EDGES))
    np.testing.assert_array_equal(found.shapes["scale"][1], moved["scale"][1].template(EDGES))
    assert found.yields == {"luminosity": 0.025}


def test_limit_of_a_signal_with_a_shape_is_that_of_its_template(cms_137):
    limits = [
        upper_limit(cms_137, Signal(template, {"luminosity": 0.025}), fit_range=(2438.0, 8152.0), check=False).observed
        for template in (SHAPE, SHAPE.template(cms_137.axes[0].edges))
    ]
    assert limits[0] == limits[1]


def test_bins_are_needed_where_there_is_no_spectrum():
    for use in (lambda s: s.scaled(2.0), lambda s: s.to_dict(), lambda s: s.inside(np.ones(20, dtype=bool))):
        with pytest.raises(InputError, match="expected events in bins"):
            use(Signal(SHAPE))


@pytest.mark.parametrize("value", [(0.9, 1.1), [0.1], "0.1", None, -0.1, float("nan"), float("inf"), 1j])
def test_yield_uncertainty_is_one_number(value):
    with pytest.raises(InputError, match=r"'lumi' got .*expected one relative uncertainty"):
        as_signal(Signal(SHAPE, {"lumi": value}), EDGES)


def test_a_factor_in_place_of_an_uncertainty_is_told_once(caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            as_signal(Signal(SHAPE, {"lumi_of_a_datacard": 1.025, "efficiency": 0.3}), EDGES)
    assert len(caplog.records) == 1
    assert "'lumi_of_a_datacard' is 102 %" in caplog.text
    assert "Combine" in caplog.text
