"""What the documentation shows of a run of `resonaut benchmark darkmachines`: its numbers without histograms, and some figures.

    python benchmarks/publish_darkmachines.py RUN --name darkmachines_gpu [--figures]

Writes `results/NAME.json`, and with `--figures` figures to `docs/figures/darkmachines_<figure>.png`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from publish_resonant import ROOT, rounded, shrink

from resonaut.files import read_json, write_json

FIGURES = (
    "total_improvements",
    "significance_improvements",
    "scores_channel2b",
    "correlations_channel2b",
    "hackathon_secret",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--figures", action="store_true")
    arguments = parser.parse_args()
    results = read_json(arguments.run / "results.json")
    results.pop("histograms")
    write_json(ROOT / "benchmarks" / "results" / f"{arguments.name}.json", rounded(results))
    if arguments.figures:
        for name in FIGURES:
            shrink(arguments.run / "plots" / f"{name}.png", ROOT / "docs" / "figures" / f"darkmachines_{name}.png")


if __name__ == "__main__":
    main()
