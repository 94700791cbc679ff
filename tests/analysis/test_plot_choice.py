"""Figures of the choice of the background function are drawn from results alone, with the numbers behind them."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from resonaut.analysis.plots.choice import draw_envelope, draw_f_test, draw_linearity, draw_spurious
from resonaut.analysis.plots.sliding import draw_sliding, draw_sliding_scan
from resonaut.files import finite_or_none
from resonaut.stats import (
    choose_by_spurious_signal,
    f_test_toys,
    fit_background,
    gaussian_template,
    profile_envelope,
    read_spectrum,
    signal_injection,
    sliding_fit,
    sliding_scan,
    sliding_toys,
)

MASSES = (2500.0, 4000.0)
TABLE = Path(__file__).parents[1] / "stats/data/cms_137ifb_wide_dijet_mjj.csv"


@pytest.fixture(scope="module")
def cms_137():
    return read_spectrum(TABLE)


@pytest.fixture(scope="module")
def fit(cms_137):
    return fit_background(cms_137, function="dijet3")


@pytest.fixture(scope="module")
def signals(fit):
    return {m: gaussian_template(m, 0.05 * m, fit.edges) for m in MASSES}


def checked(drawn, labels):
    figure, numbers = drawn
    try:
        figure.canvas.draw()
        assert {axes.get_xlabel() for axes in figure.axes} | {axes.get_ylabel() for axes in figure.axes} >= set(labels)
        json.dumps(finite_or_none(numbers), allow_nan=False)
        return figure
    finally:
        plt.close(figure)


def test_sliding(cms_137, fit):
    sliding = sliding_fit(cms_137, half_widths=[10], function="dijet3")
    toys = sliding_toys(sliding, toys=5)
    figure = checked(draw_sliding(sliding, whole=fit, toys=toys, title="CMS"), ["Events / bin", "Pull", "Window"])
    pulls = figure.axes[1].patches[0].get_data().values
    assert pulls == pytest.approx(sliding.pulls())
    checked(draw_sliding(sliding), ["Events / bin", "Pull"])


def test_sliding_scan(cms_137, signals):
    scan = sliding_scan(sliding_fit(cms_137, half_widths=[10], function="dijet3"), signals, toys=5)
    figure = checked(draw_sliding_scan(scan), ["Local p", "Mass [GeV]"])
    assert figure.axes[1].lines[0].get_ydata() == pytest.approx(scan.p_value)


def test_f_test(cms_137):
    checked(draw_f_test(f_test_toys(cms_137, "dijet3", "dijet4", toys=50)), ["Density"])


def test_spurious(fit, signals):
    ranking = choose_by_spurious_signal((fit.expected, fit.edges), signals, functions=("dijet3", "dijet4", "powlog3"))
    figure = checked(draw_spurious(ranking, title="CMS"), ["Mass [GeV]"])
    assert [t.get_text()[:6] for t in figure.axes[0].get_legend().get_texts()] == ["dijet3", "dijet4", "powlog"]
    checked(draw_spurious(ranking.results[:1]), ["Mass [GeV]"])


def test_linearity(fit, signals):
    test = signal_injection((fit.expected, fit.edges), signals, strengths=(0, 1), toys=10)
    figure = checked(draw_linearity(test), ["Pull"])
    assert figure.axes[0].get_legend().get_texts()[0].get_text().startswith("2500 GeV")


def test_envelope(cms_137, signals):
    result = profile_envelope(cms_137, signals[4000.0], ("dijet3", "dijet4"))
    figure = checked(draw_envelope(result), ["Signal strength"])
    curve = figure.axes[0].lines[2].get_ydata()
    assert curve == pytest.approx(result.envelope - result.minima.min())
    assert np.min(curve) < 0.2
