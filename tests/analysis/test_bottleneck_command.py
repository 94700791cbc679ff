"""`resonaut bottleneck`, and the figures of a study."""

from __future__ import annotations

import json
from pathlib import Path

import awkward as ak
import matplotlib.pyplot as plt
import numpy as np
from click.testing import CliRunner

from resonaut.analysis.cli import main
from resonaut.analysis.plots.bottleneck import draw_fvu, draw_fvu_drop
from resonaut.models import BottleneckStudy


def test_figures_show_the_numbers_and_the_nominal_lines() -> None:
    study = BottleneckStudy(
        tuple("abcd"), (1, 2, 3), (16, 64), 4, ((0.7, 0.6, 0.3), (0.5, 0.2, 0.2)), ((0.04,) * 3, (0.02,) * 3), 2.0
    )
    for draw, label, values, nominal in (
        (draw_fvu, "Fraction of variance unexplained", study.fvu_mean, [0.75, 0.25]),
        (draw_fvu_drop, "Decrease of the FVU", study.drop, [0.25, 0.25]),
    ):
        figure, numbers = draw(study, title="study")
        axes = figure.axes[0]
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("Latent dimensions", label)
        dashed = next(line for line in axes.lines if line.get_linestyle() == "--")
        np.testing.assert_allclose(np.asarray(dashed.get_ydata(), dtype=float), nominal)
        for row, bars in zip(values, axes.containers, strict=True):
            np.testing.assert_allclose(np.asarray(bars.lines[0].get_ydata(), dtype=float), row)
        assert BottleneckStudy.from_dict(json.loads(json.dumps(numbers))) == study
        plt.close(figure)


def test_command_on_a_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=3000)
    columns = {
        name: hidden * factor + 0.1 * rng.normal(size=3000) for name, factor in zip("abc", (1, -2, 3), strict=True)
    }
    columns["a"][:7] = np.nan
    ak.to_parquet(ak.zip(columns), tmp_path / "events.parquet")
    options = [
        "--features",
        "a,b,c",
        "--latents",
        "1,2",
        "--hidden",
        "16",
        "--trainings",
        "2",
        "--epochs",
        "20",
        "--device",
        "cpu",
    ]
    arguments = ["bottleneck", str(tmp_path / "events.parquet"), "--out", str(tmp_path / "out"), *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "7 of 3000 events lack a feature" in result.output
    study = BottleneckStudy.from_dict(json.loads((tmp_path / "out" / "bottleneck.json").read_text()))
    assert (study.features, study.latents, study.trainings) == (("a", "b", "c"), (1, 2), 2)
    assert study.drop[0, 0] > 1 / 3  # one hidden number explains all three
    for name in ("fvu", "fvu_drop"):
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 1000
    bad = CliRunner().invoke(main, [*arguments[:4], "--features", "a,nothing"])
    assert bad.exit_code != 0
    assert "nothing" in bad.output
