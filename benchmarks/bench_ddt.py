"""What DDT does to a search: efficiency against the mass, power, and what is sculpted, with and without it.

    python benchmarks/bench_ddt.py FOLDER [--runs 1] [--out benchmarks/results/ddt.json]

FOLDER holds `qcd_data.features.h5` and `sig_Zp3500_X500_X500_3prong.features.h5`. For each variant and S/B in the signal region 3371-3661
GeV: as `bench_cwola_options.py`, and how much the background's efficiency varies with the mass after each cut: standard deviation over
mass bins of equal population, relative to the mean, statistics taken off; and its ratio inside the signal region to that outside.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from bench_cwola_options import CUTS, injected
from bench_injections import EDGES, WINDOW, load

from resonaut.files import write_json
from resonaut.models import CWOLA_FEATURES, CrossFit, Sample
from resonaut.stats import local_p_value, make_spectrum

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "trees": ("cwola-trees", {}),
    "trees, DDT": ("ddt", {"wrapped": "cwola-trees"}),
    "trees, absolute masses": ("cwola-trees", {"scaled_by_mass": ()}),
    "trees, absolute masses, DDT": ("ddt", {"wrapped": "cwola-trees", "wrapped_options": {"scaled_by_mass": []}}),
}


def variation(selected: npt.NDArray[np.bool_], mass: npt.NDArray[np.float64], bins: int = 20) -> float:
    """Relative standard deviation of the efficiency over mass bins, statistical part taken off (0 where that is all)."""
    edges = np.quantile(mass, np.linspace(0, 1, bins + 1))
    edges[-1] += 1.0
    passed, total = np.histogram(mass[selected], edges)[0], np.histogram(mass, edges)[0]
    share = passed / total
    excess = share.var(ddof=1) - (share.mean() * (1 - share.mean()) / total).mean()
    return float(np.sqrt(max(0.0, excess)) / share.mean())


def measure(variant: str, sample: Sample, seed: int) -> dict[str, Any]:
    name, options = VARIANTS[variant]
    start = time.process_time()
    result = CrossFit(name, seed=seed, **options).fit_score(sample, WINDOW)
    row: dict[str, Any] = {"variant": variant, "seed": seed, "cpu_s": time.process_time() - start, "cuts": {}}
    inside, truth = WINDOW.contains(sample.mass), sample.truth() == 1
    for cut, mask in result.select(CUTS).items():
        signal, background = (int(np.count_nonzero(mask & inside & (truth == kind))) for kind in (True, False))
        sculpted = local_p_value(make_spectrum(sample.mass[mask & ~truth], EDGES), WINDOW)
        row["cuts"][str(cut)] = {
            "signal": signal,
            "background": background,
            "s_over_sqrt_b": signal / max(1.0, background) ** 0.5,
            "background_alone_sigma": float(sculpted.local_significance),
            "chi2_per_ndf": float(sculpted.fit.chi2 / sculpted.fit.ndf),
            "variation_with_mass": variation(mask[~truth], sample.mass[~truth]),
            "inside_over_outside": float(mask[~truth & inside].mean() / mask[~truth & ~inside].mean()),
        }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("build/bench"))
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--signal", type=float, nargs="+", default=[0.004, 0.0])
    parser.add_argument("--out", default="benchmarks/results/ddt.json")
    args = parser.parse_args()
    names = ("qcd_data", "sig_Zp3500_X500_X500_3prong")
    background, signal = (load(args.folder, name, args.cache, CWOLA_FEATURES) for name in names)
    rows: list[dict[str, Any]] = []
    for seed in range(args.runs):
        for fraction in args.signal:
            sample = injected(background, signal, fraction, seed)
            for variant in VARIANTS:
                rows.append({"s_over_b": fraction, **measure(variant, sample, seed)})
                print(rows[-1], flush=True)
                write_json(args.out, {"benchmark": "ddt", "signal": names[1], "rows": rows})


if __name__ == "__main__":
    main()
