"""What the documentation shows of a run of `resonaut benchmark resonant`: figures with few colours, and its numbers without the bulk.

    python benchmarks/publish_resonant.py RUN --name resonant [--cards]

Writes `results/NAME.json` (no scatter plots, no marginals, six digits), `docs/models/figures/<method>.png` with `--cards`, and the
figures of the whole benchmark to `docs/figures/NAME_<figure>.png`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from PIL import Image

from resonaut.files import read_json, write_json

ROOT = Path(__file__).parents[1]
FIGURES = ("ks", "strength_scan", "ratio_to_idealised", "sic_0.62", "sculpting_0", "log_posterior")
WIDEST = 1500  # pixels


def rounded(content: Any) -> Any:
    """The same with six digits."""
    if isinstance(content, dict):
        return {key: rounded(value) for key, value in content.items()}
    if isinstance(content, list):
        return [rounded(value) for value in content]
    return float(f"{content:.6g}") if isinstance(content, float) else content


def shrink(source: Path, target: Path) -> None:
    """Save a figure with 64 colours, which line drawings do not miss."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        plain = image.convert("RGB")
        plain.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
        plain.quantize(64, dither=Image.Dither.NONE).save(target, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", default="resonant")
    parser.add_argument("--cards", action="store_true", help="write the methods' own figures too")
    arguments = parser.parse_args()
    results = read_json(arguments.run / "results.json")
    results["templates"].pop("marginals")
    for found in results["agreement"].values():
        for kind in ("background", "signal"):
            found[kind].pop("scatter")
    write_json(ROOT / "benchmarks" / "results" / f"{arguments.name}.json", rounded(results))
    plots = arguments.run / "plots"
    for name in FIGURES:
        if (plots / f"{name}.png").exists():
            shrink(plots / f"{name}.png", ROOT / "docs" / "figures" / f"{arguments.name}_{name}.png")
    if arguments.cards:
        for method in results["methods"]:
            shrink(plots / f"card_{method}.png", ROOT / "docs" / "models" / "figures" / f"{method}.png")


if __name__ == "__main__":
    main()
