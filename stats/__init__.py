"""Background fits, p-values, scans and limits, on histograms alone.

Windows
    `Window`, `sliding_windows`, `log_edges`
Spectra
    `make_spectrum`, `as_counts`, `read_spectrum`, `write_root`, `write_csv`
Background functions
    `background_function`, `available_functions`, `register_function`, `BackgroundFunction`, `NonLinearFunction`, `DIJET_FAMILY`,
    `choose_function`, `f_test`, `f_test_toys`
Fits
    `fit_background` -> `FitResult`; many spectra at once: `Design`, `fit_batch` -> `BatchFit`
    Windows that slide over the spectrum: `sliding_fit` -> `SlidingFit`, `sliding_toys` -> `SlidingToys`
Goodness of fit
    `pearson_chi2`, `cms_chi2`, `neyman_chi2`, `deviance`, `deviance_chi2` -> `ChiSquare`; `kolmogorov_smirnov`,
    `poisson_significance`, `poisson_interval`, `toy_goodness`
Excesses
    `local_p_value` -> `ExcessResult`; many spectra: `local_p_values`; `on_off_p_value`;
    `scan`, `scan_windows` -> `ScanResult`; `global_p_value`
    `bump_hunter` -> `BumpHunterResult`
Limits
    `gaussian_template`, `upper_limit`, `limit_scan` -> `LimitResult`, `toy_upper_limit`, `toy_cls`, `build_workspace`, `write_workspace`,
    `pyhf_cls`
"""

from __future__ import annotations

from resonaut.stats.batched import BatchFit, fit_batch
from resonaut.stats.bump_result import BumpHunterResult
from resonaut.stats.bumphunter import bump_hunter
from resonaut.stats.choice import FTestToys, FunctionChoice, choose_function, f_test, f_test_toys
from resonaut.stats.design import Design
from resonaut.stats.files import read_spectrum, write_csv, write_root
from resonaut.stats.fit import FitResult, fit_background
from resonaut.stats.functions import (
    DEFAULT_SQRTS,
    DIJET_FAMILY,
    BackgroundFunction,
    NonLinearFunction,
    available_functions,
    background_function,
    register_function,
)
from resonaut.stats.goodness import (
    ChiSquare,
    cms_chi2,
    deviance,
    deviance_chi2,
    kolmogorov_smirnov,
    neyman_chi2,
    pearson_chi2,
    poisson_interval,
    poisson_significance,
)
from resonaut.stats.limits import LimitResult, asymptotic_cls, limit_scan, pyhf_cls, upper_limit
from resonaut.stats.scan import ScanEntry, ScanInput, ScanResult, scan, scan_windows
from resonaut.stats.significance import ExcessResult, LocalPValues, local_p_value, local_p_values, on_off_p_value
from resonaut.stats.sliding import SlidingFit, SlidingToys, sliding_fit, sliding_toys
from resonaut.stats.spectrum import as_counts, make_spectrum
from resonaut.stats.toys import GlobalPValue, ToyGoodness, global_p_value, toy_cls, toy_goodness, toy_upper_limit
from resonaut.stats.windows import Window, log_edges, sliding_windows
from resonaut.stats.workspace import MODIFIER_SETTINGS, build_workspace, gaussian_template, write_workspace

__all__ = (
    "DEFAULT_SQRTS",
    "DIJET_FAMILY",
    "MODIFIER_SETTINGS",
    "BackgroundFunction",
    "BatchFit",
    "BumpHunterResult",
    "ChiSquare",
    "Design",
    "ExcessResult",
    "FTestToys",
    "FitResult",
    "FunctionChoice",
    "GlobalPValue",
    "LimitResult",
    "LocalPValues",
    "NonLinearFunction",
    "ScanEntry",
    "ScanInput",
    "ScanResult",
    "SlidingFit",
    "SlidingToys",
    "ToyGoodness",
    "Window",
    "as_counts",
    "asymptotic_cls",
    "available_functions",
    "background_function",
    "build_workspace",
    "bump_hunter",
    "choose_function",
    "cms_chi2",
    "deviance",
    "deviance_chi2",
    "f_test",
    "f_test_toys",
    "fit_background",
    "fit_batch",
    "gaussian_template",
    "global_p_value",
    "kolmogorov_smirnov",
    "limit_scan",
    "local_p_value",
    "local_p_values",
    "log_edges",
    "make_spectrum",
    "neyman_chi2",
    "on_off_p_value",
    "pearson_chi2",
    "poisson_interval",
    "poisson_significance",
    "pyhf_cls",
    "read_spectrum",
    "register_function",
    "scan",
    "scan_windows",
    "sliding_fit",
    "sliding_toys",
    "sliding_windows",
    "toy_cls",
    "toy_goodness",
    "toy_upper_limit",
    "upper_limit",
    "write_csv",
    "write_root",
    "write_workspace",
)
