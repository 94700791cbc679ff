"""Mistakes that are easily made, each answered by a sentence that says what to do."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from resonaut.errors import InputError
from resonaut.stats import Window, fit_background, gaussian_template, limit_scan, upper_limit


def test_a_signal_by_name_is_refused(cms_137):
    with pytest.raises(InputError, match="got str, expected a shape, a histogram or events"):
        upper_limit(cms_137, "gauss")


@pytest.mark.parametrize("template", [lambda mass: gaussian_template(mass, 100.0, [1.0, 2.0]), "gauss"])
def test_a_template_of_one_argument_is_refused(cms_137, template):
    with pytest.raises(InputError, match=r"expected a function of \(mass, edges\)"):
        limit_scan(cms_137, [3000.0], template)


def test_a_window_at_the_edge_lacks_a_sideband():
    with pytest.raises(InputError, match="a sideband is needed on both sides"):
        Window(2000.0, 3000.0, 2000.0, 4000.0)


def test_masses_in_tev_are_asked_about(cms_137, caplog):
    counts, edges = cms_137.values(), cms_137.axes[0].edges
    with caplog.at_level(logging.WARNING):
        fit_background((counts, edges), errors="fisher")
        assert not caplog.records
        fit_background((counts, edges / 1000.0), errors="fisher")
    assert "edges 1.53..8.752 GeV with sqrts = 13000 GeV: are the masses in TeV?" in caplog.text


def test_sqrts_in_tev_is_asked_about(cms_137):
    with pytest.raises(InputError, match=r"did you mean sqrts = 13000\?"):
        fit_background(cms_137, sqrts=13.0)
    with pytest.raises(InputError) as error:
        fit_background((np.ones(3), np.array([0.0, 1.0, 2.0, 3.0])))
    assert "did you mean" not in str(error.value)
