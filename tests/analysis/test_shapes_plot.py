from __future__ import annotations

import json

import numpy as np

from resonaut.analysis.plots.canvas import save_figure
from resonaut.analysis.plots.shapes import draw_shape_fit, draw_shapes
from resonaut.stats import CrystalBallShape, GaussianShape, Shape, fit_background, fit_shape, log_edges


def test_signals_on_a_spectrum(tmp_path):
    edges = log_edges(1500.0, 6000.0, 30)
    fit = fit_background((np.round(1e5 * np.exp(-0.25 * np.arange(30.0))), edges))
    shapes = {"narrow": GaussianShape(3000.0, 90.0), "tails": CrystalBallShape(4000.0, 150.0, 1.0, 2.0, 1.5, 4.0)}
    drawn = draw_shapes(fit, shapes, {"narrow": 300.0, "tails": 90.0}, title="Toy", dashed=["tails"])
    figure, numbers = drawn
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "dijet4 fit",
        "narrow",
        "tails",
        "Data",
    ]
    assert [line.get_linestyle() for line in figure.axes[0].get_lines()[-2:]] == ["-", "--"]
    assert Shape.from_dict(numbers["shapes"]["tails"]) == shapes["tails"]
    assert sum(numbers["events"]["narrow"]) > 299.9
    save_figure(drawn, tmp_path / "signals")
    assert json.loads((tmp_path / "signals.json").read_text())["yields"] == {"narrow": 300.0, "tails": 90.0}


def test_fit_of_a_shape(tmp_path):
    edges = np.linspace(2000.0, 4000.0, 41)
    fit = fit_shape(GaussianShape(3000.0, 150.0).template(edges, 5000.0), edges, kind="gaussian")
    figure, numbers = draw_shape_fit(fit, title="Simulation")
    assert "width = 150" in figure.axes[0].texts[0].get_text()
    assert numbers["status"] == "converged"
    save_figure((figure, numbers), tmp_path / "fit")
