"""What CWoLa gains and what it sculpts: jet masses relative to mJJ or absolute, trees or the short network training.

    python benchmarks/bench_cwola_options.py FOLDER [--runs 2] [--out benchmarks/results/cwola_options.json]

FOLDER holds `qcd_data.features.h5` and `sig_Zp3500_X500_X500_3prong.features.h5`. For each variant and S/B in the signal region 3371-3661
GeV: cross-fitted scores, S/sqrt(B) in the signal region after each cut (truth counts), and the local significance of the *background alone* after
the cut by the blinded fit: what is sculpted. Rows are written as they finish.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_injections import EDGES, WINDOW, load

from resonaut.files import write_json
from resonaut.models import CWOLA_FEATURES, CrossFit, CWoLaNetwork, CWoLaTrees, Sample, Scorer
from resonaut.stats import local_p_value, make_spectrum

CUTS = (0.1, 0.01, 0.003, 0.001)
VARIANTS: dict[str, Scorer] = {
    "trees": CWoLaTrees(),
    "trees, absolute masses": CWoLaTrees(scaled_by_mass=()),
    "network, fast": CWoLaNetwork.fast(),
    "network, fast, relative masses": CWoLaNetwork.fast(scaled_by_mass=("m_h", "m_l")),
}


def injected(background: dict[str, Any], signal: dict[str, Any], fraction: float, seed: int) -> Sample:
    wanted = fraction * np.count_nonzero(WINDOW.contains(background["mjj"]))
    count = round(wanted / WINDOW.contains(signal["mjj"]).mean())
    rows = np.random.default_rng(seed).permutation(len(signal["mjj"]))[:count]
    table = {name: np.concatenate([background[name], signal[name][rows]]) for name in background}
    return Sample.from_table({**table, "label": np.arange(len(table["mjj"])) >= len(background["mjj"])}, CWOLA_FEATURES)


def measure(variant: str, sample: Sample, seed: int) -> dict[str, Any]:
    start = time.perf_counter()
    result = CrossFit(VARIANTS[variant], seed=seed).fit_score(sample, WINDOW)
    row: dict[str, Any] = {"variant": variant, "seed": seed, "seconds": time.perf_counter() - start, "cuts": {}}
    inside, truth = WINDOW.contains(sample.mass), sample.truth() == 1
    for cut, mask in result.select((1.0, *CUTS)).items():
        signal, background = (int(np.count_nonzero(mask & inside & (truth == kind))) for kind in (True, False))
        sculpted = local_p_value(make_spectrum(sample.mass[mask & ~truth], EDGES), WINDOW)
        row["cuts"][str(cut)] = {
            "signal": signal,
            "background": background,
            "s_over_sqrt_b": signal / max(1.0, background) ** 0.5,
            "background_alone_sigma": float(sculpted.local_significance),
            "chi2_per_ndf": float(sculpted.fit.chi2 / sculpted.fit.ndf),
        }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("build/bench"))
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--signal", type=float, nargs="+", default=[0.004, 0.007, 0.0])
    parser.add_argument("--out", default="benchmarks/results/cwola_options.json")
    args = parser.parse_args()
    names = ("qcd_data", "sig_Zp3500_X500_X500_3prong")
    background, signal = (load(args.folder, name, args.cache, CWOLA_FEATURES) for name in names)
    options = {name: VARIANTS[name].options for name in args.variants}
    rows: list[dict[str, Any]] = []
    for seed in range(args.runs):
        for fraction in args.signal:
            sample = injected(background, signal, fraction, seed)
            for variant in args.variants:
                rows.append({"s_over_b": fraction, **measure(variant, sample, seed)})
                print(rows[-1], flush=True)
                write_json(
                    args.out, {"benchmark": "cwola options", "signal": names[1], "options": options, "rows": rows}
                )


if __name__ == "__main__":
    main()
