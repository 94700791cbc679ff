from __future__ import annotations

import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from resonaut.analysis.plots import save_figure
from resonaut.analysis.plots.fit import PULL_RANGE, draw_fit
from resonaut.errors import InputError
from resonaut.stats import FitResult, Window, fit_background, log_edges, make_spectrum

EDGES = log_edges(2800.0, 5200.0, 30)
SHAPE = np.exp(-0.2 * np.arange(30))


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def markers(axes, kind):
    return [x for line in axes.lines if line.get_marker() == kind for x in line.get_xdata()]


def test_figure_says_what_the_fit_found():
    fit = fit_background((np.random.default_rng(1).poisson(1e4 * SHAPE), EDGES))
    figure, numbers = draw_fit(fit, title="Search")
    main, pulls = figure.axes
    labels = [text.get_text() for text in main.get_legend().get_texts()]
    assert any(f"{fit.chi2:.1f}/{fit.ndf}" in label and f"{fit.p_value:.2g}" in label for label in labels)
    assert main.get_yscale() == "log"
    assert pulls.get_xlabel() == "Mass [GeV]"
    assert numbers["pulls"] == [fit.pulls().tolist()]
    assert not markers(pulls, "^") + markers(pulls, "v")


def test_arrows_for_pulls_outside_the_frame():
    counts = np.round(1e4 * SHAPE)
    counts[5] += 2000
    counts[20] = 0
    fit = fit_background((counts, EDGES), function="dijet3")
    pulls = fit.pulls()
    axes = draw_fit(fit)[0].axes[1]
    centres = 0.5 * (EDGES[1:] + EDGES[:-1])
    assert markers(axes, "^") == pytest.approx(centres[pulls > PULL_RANGE])
    assert markers(axes, "v") == pytest.approx(centres[pulls < -PULL_RANGE])
    assert centres[5] in markers(axes, "^")
    assert centres[20] in markers(axes, "v")


def test_blinded_bins_several_functions_and_files(tmp_path):
    counts = np.round(1e4 * SHAPE)
    window = Window(EDGES[9], EDGES[13], EDGES[6], EDGES[16])
    fits = [fit_background((counts, EDGES), window, function=name) for name in ("dijet3", "ua2", "modexp3")]
    fits.append(replace(fits[0], status="failed: no reason"))
    drawn = draw_fit(fits)
    assert len(drawn[0].axes) == 5
    labels = [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()]
    assert "Data, not fitted" in labels
    assert "dijet3: failed: no reason" in labels
    save_figure(drawn, tmp_path / "fits")
    content = json.loads((tmp_path / "fits.json").read_text())
    again = [FitResult.from_dict(fit) for fit in content["fits"]]
    draw_fit(again)  # from the file alone
    assert (tmp_path / "fits.png").stat().st_size > 10_000


def test_weighted_and_empty_spectra_can_be_drawn():
    mass = np.random.default_rng(2).exponential(400.0, 3000) + 2800.0
    weighted = fit_background(make_spectrum(mass, EDGES, np.full(3000, 0.1)), function="exponential", weighted=True)
    for fit in (weighted, fit_background((np.zeros(30), EDGES))):
        assert len(draw_fit(fit)[0].axes) >= 2


def test_one_spectrum_only():
    one, other = (fit_background((np.round(n * SHAPE), EDGES)) for n in (1e3, 2e3))
    with pytest.raises(InputError, match="all of the same spectrum"):
        draw_fit([one, other])
    with pytest.raises(InputError, match="got 0 fits"):
        draw_fit([])
