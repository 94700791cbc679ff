"""What bump_hunter takes as a known background."""

from __future__ import annotations

import hist
import numpy as np
import pytest

from resonaut.errors import InputError
from resonaut.stats import bump_hunter, fit_background


def test_every_form_of_a_background_gives_the_same(cms_137):
    fit = fit_background(cms_137)
    histogram = hist.Hist(hist.axis.Variable(fit.edges), storage=hist.storage.Double())
    histogram[:] = fit.expected
    forms = (fit.expected, fit.expected.tolist(), (fit.expected, fit.edges), histogram, fit)
    found = [bump_hunter(cms_137, form, toys=0) for form in forms]
    assert len({(f.low, f.high, round(f.statistic, 9)) for f in found}) == 1
    assert {f.function for f in found} == {"given"}


def test_a_background_that_cannot_be_used_is_named(cms_137):
    fit = fit_background(cms_137, errors="fisher")
    expected, edges = fit.expected, fit.edges
    bins = np.arange(len(expected))
    wrong = {
        "1 negative or non-finite .*first: -1 in bin 3": np.where(bins == 3, -1.0, expected),
        "1 negative or non-finite .*first: nan in bin 2": np.where(bins == 2, np.nan, expected),
        "shape": expected[:-1],
        "other edges than the spectrum": (expected, edges * 1.01),
        "bins with other edges": (expected[1:], edges[1:]),
        "type str": "dijet4",
    }
    for words, background in wrong.items():
        with pytest.raises(InputError, match=words):
            bump_hunter(cms_137, background, toys=0)
