"""The figure of a bump hunt, from its result alone."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from resonaut.analysis.plots.bumps import draw_bumps
from resonaut.analysis.plots.canvas import save_figure
from resonaut.stats import BumpHunterResult, bump_hunter

EDGES = np.geomspace(1000.0, 6000.0, 31)


def hunt(counts: np.ndarray, toys: int, **options: object) -> BumpHunterResult:
    return bump_hunter((counts, EDGES), 1e4 * np.exp(-0.3 * np.arange(30)), toys=toys, **options)  # type: ignore[arg-type]


def test_figure_shows_the_interval_and_the_toys(tmp_path: Path) -> None:
    counts = np.round(1e4 * np.exp(-0.3 * np.arange(30)))
    counts[12:14] += 120
    result = hunt(counts, 50)
    figure, numbers = draw_bumps(BumpHunterResult.from_dict(json.loads(json.dumps(result.to_dict()))), title="A search")
    assert numbers["low"] == pytest.approx(EDGES[12])
    spectrum, pulls, tomography, toys, words = figure.axes
    for axes in (spectrum, pulls, tomography):
        marks = sorted(
            {
                float(line.get_xdata()[0])
                for line in axes.lines
                if line.get_linestyle() == "--" and len(line.get_xdata())
            }
        )
        assert marks == pytest.approx([EDGES[12], EDGES[14]])
    assert toys.lines[0].get_xdata()[0] == pytest.approx(result.statistic)
    assert sum(patch.get_height() for patch in toys.patches) == 50
    assert "global p" in words.texts[0].get_text()
    assert len(tomography.collections[0].get_segments()) == (result.interval_statistics > 0).sum()
    save_figure((figure, numbers), tmp_path / "bumps")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bumps.json", "bumps.pdf", "bumps.png"]


@pytest.mark.parametrize("options", [{}, {"deficits": True}])
def test_figure_without_toys_or_events(options: dict[str, bool]) -> None:
    figure, numbers = draw_bumps(hunt(np.zeros(30), 0, **options), title="Nothing")
    assert numbers["toys"] == 0
    assert "Toys" not in [axes.get_ylabel() for axes in figure.axes]
    plt.close(figure)
