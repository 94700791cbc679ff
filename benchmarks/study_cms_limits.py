"""Our limits on a narrow qq resonance over those that CMS has published for 137/fb (arXiv:1911.03947): docs/stats/limits.md.

    OMP_NUM_THREADS=1 python benchmarks/study_cms_limits.py --reference FOLDER [--toys 3000]

FOLDER holds the resonance shapes of CMS, which do not ship (`reference/stats/cms_signal_shapes/`). Every variant changes one
thing of the first one, so that the table says what each assumption is worth. Takes about two minutes on one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import uproot

from resonaut.files import write_json
from resonaut.stats import CrystalBallShape, Shape, Signal, TemplateShape, limit_scan, read_spectrum, shape_variations

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests/stats/data"
SHAPES = "reference/stats/cms_signal_shapes/ResonanceShapes_qq_13TeV_CaloScouting_RunIIFall17.root"
LUMINOSITY = 137.0
SIMULATED = 3000.0  # GeV, the largest mass of the file
MASSES = [
    1800,
    2100,
    2400,
    2700,
    2900,
    3000,
    3300,
    3600,
    4200,
    4800,
    5400,
    6000,
    6600,
    7200,
    7600,
    7800,
    8100,
    8400,
    8700,
]
# the bins of CMS go on where the published table ends, presumably with its last event; a resonance at 8.7 TeV does too
BEYOND = [9067.0, 9391.0, 9726.0, 10072.0]
Maker = Callable[[float], Shape]


def cms_shape(folder: Path, mass: float = SIMULATED) -> TemplateShape:
    with uproot.open(folder / SHAPES) as file:
        name = next(key for key in file.keys(cycle=False) if key.endswith(f"_{mass:.0f}"))
        counts, edges = file[name].to_numpy()
    return TemplateShape.from_spectrum(mass, (counts, edges))


def stretched(shape: TemplateShape, factor: float) -> TemplateShape:
    """The same shape with another width around its mass."""
    return TemplateShape(
        SIMULATED, SIMULATED + factor * (shape.edges - SIMULATED), shape.counts, shape.below, shape.above
    )


def crystal_ball(mass: float) -> Shape:
    """The stand-in of the guide, for those who have no shapes of CMS."""
    return CrystalBallShape(1.006 * mass, 0.05 * mass, alpha_low=0.69, n_low=2.4, alpha_high=1.34, n_high=6.1)


def ratios(
    maker: Maker, masses: list[float], *, systematics: bool = True, beyond: bool = False, **options: Any
) -> dict:
    """Expected and observed limits in pb, and both over the published ones."""
    spectrum = read_spectrum(DATA / "cms_137ifb_wide_dijet_mjj.csv")
    counts, edges = spectrum.values(), spectrum.axes[0].edges
    if beyond:
        counts, edges = np.append(counts, np.zeros(len(BEYOND))), np.append(edges, BEYOND)
    table = np.genfromtxt(DATA / "cms_137ifb_limits_narrow_qq.csv", delimiter=",", comments="#", skip_header=3)
    published = {row[0]: row for row in table}

    def signal(mass: float, bins: np.ndarray) -> Signal:
        shape = maker(mass)
        if not systematics:
            return Signal(shape.template(bins))
        shapes = shape_variations(shape, bins, mass, scale=0.02, resolution=0.1)
        return Signal(shape.template(bins), {"luminosity": 0.025}, shapes)

    start = time.perf_counter()
    limits = limit_scan((counts, edges), masses, signal, luminosity=LUMINOSITY, unit="pb", check=False, **options)
    rows = [
        {
            "mass": limit.mass,
            "method": limit.method,
            "background": limit.background,
            "inside": maker(limit.mass).inside(edges),
            "expected": limit.expected[2],
            "observed": limit.observed,
            "error": limit.error,
            "expected_ratio": limit.expected[2] / published[limit.mass][4],
            "low_ratio": limit.expected[1] / published[limit.mass][3],
            "high_ratio": limit.expected[3] / published[limit.mass][5],
            "observed_ratio": limit.observed / published[limit.mass][1],
            "status": limit.status,
        }
        for limit in limits
    ]
    return {"seconds": time.perf_counter() - start, "rows": rows}


def variants(folder: Path, toys: int) -> dict[str, dict]:
    shape = cms_shape(folder)
    masses = [float(mass) for mass in MASSES]
    formula = {"method": "asymptotic"}
    high = [mass for mass in masses if mass >= 6600.0]
    calls: dict[str, tuple[Maker, list[float], dict[str, Any]]] = {
        "formula": (shape.scaled_to, masses, formula),
        "toys": (shape.scaled_to, high, {"method": "toys", "toys": toys}),
        "formula, empty bins beyond the table": (shape.scaled_to, masses, formula | {"beyond": True}),
        "toys, empty bins beyond the table": (shape.scaled_to, high, {"method": "toys", "toys": toys, "beyond": True}),
        "statistical errors alone": (shape.scaled_to, masses, formula | {"systematics": False}),
        "shape 10 % narrower": (stretched(shape, 0.9).scaled_to, masses, formula | {"beyond": True}),
        "shape 10 % wider": (stretched(shape, 1.1).scaled_to, masses, formula | {"beyond": True}),
        "shape of each mass": (lambda mass: cms_shape(folder, mass), [m for m in masses if m <= SIMULATED], formula),
        "Crystal Ball": (crystal_ball, masses, formula | {"beyond": True}),
        "dijet3": (shape.scaled_to, masses, formula | {"function": "dijet3"}),
        "dijet5": (shape.scaled_to, masses, formula | {"function": "dijet5"}),
        "fit from 2438 GeV": (
            shape.scaled_to,
            [m for m in masses if m >= 2900.0],
            formula | {"fit_range": (2438.0, 8752.0)},
        ),
    }
    found = {}
    for name, (maker, at, options) in calls.items():
        found[name] = ratios(maker, at, **options)
        print(f"{name} ({found[name]['seconds']:.0f} s)")
        for key in ("expected_ratio", "observed_ratio"):
            print(
                "  ", key, " ".join(f"{row['mass'] / 1000:g}:{row[key]:.2f}" for row in found[name]["rows"]), flush=True
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--toys", type=int, default=3000)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/cms_limits.json")
    options = parser.parse_args()
    write_json(options.output, {"toys": options.toys, "variants": variants(options.reference, options.toys)})


if __name__ == "__main__":
    main()
