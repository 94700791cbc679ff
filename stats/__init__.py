"""Background fits, p-values, scans and limits, on histograms alone.

- windows: `Window`, `sliding_windows`, `log_edges`;
- spectra: `make_spectrum`, `as_counts`, `read_spectrum`, `write_root`, `write_csv`;
- exchange of results: `write_result`, `read_result` (JSON); `write_hepdata`, `read_hepdata` -> `HepDataTable`,
  `HepDataColumn`, `hepdata_tables`, `covariance_table`;
- background functions: `background_function`, `available_functions`, `register_function`, `BackgroundFunction`,
  `NonLinearFunction`, `Polynomial`, `DIJET_FAMILY`; F-test: `choose_function` -> `FunctionChoice`, `f_test`, `f_test_toys`
  -> `FTestToys`; spurious signal: `choose_by_spurious_signal` -> `SpuriousRanking`, `spurious_signal` -> `SpuriousSignal`;
  injected signals: `signal_injection` -> `SignalInjection`; the function as a nuisance: `profile_envelope` -> `Envelope`,
  `envelope_toys` -> `EnvelopeToys`;
- fits: `fit_background` -> `FitResult`; many spectra at once: `Design`, `fit_batch` -> `BatchFit`;
- windows that slide over the spectrum: `sliding_fit` -> `SlidingFit`, `sliding_toys` -> `SlidingToys`,
  `compare_with_one_fit` -> `SlidingComparison`, `sliding_scan` -> `SlidingScan`, `sliding_bump_hunter`;
- goodness of fit: `toy_study` -> `ToyStudy`, `draw_toys`; `pearson_chi2`, `cms_chi2`, `neyman_chi2`, `deviance`,
  `deviance_chi2` -> `ChiSquare`; `kolmogorov_smirnov`, `poisson_significance`, `poisson_interval`, `toy_goodness`;
- excesses: `local_p_value` -> `ExcessResult`; many spectra: `local_p_values`; `on_off_p_value`; `scan`, `scan_windows` ->
  `ScanResult`; `global_p_value`, `global_p_of_toys`;
  `bump_hunter` -> `BumpHunterResult`, `bump_power` -> `BumpPower`;
- masses and widths: `significance_scan` -> `SignificanceScan`; trials: `toy_significances`, `gross_vitells`, `asimov_trials`
  -> `TrialsResult`, `upcrossings`, `euler_characteristic`; several spectra: `combine_folds` -> `CombinedExcess`,
  `combine_p_values`;
- signal shapes: `GaussianShape`, `CrystalBallShape`, `BreitWignerShape`, `TemplateShape`, all of them a `Shape`; `fit_shape`
  -> `ShapeFit`; other masses: `MorphedShapes`, `InterpolatedShapes`, `leave_one_out` -> `LeaveOneOut`;
- limits: `upper_limit`, `limit_scan`, `combined_limit` -> `LimitResult`; `mass_limit` -> `MassLimit`; `self_consistent_limit` ->
  `SelfConsistentLimit`; `toy_upper_limit`, `toy_cls`, `asymptotic_cls`, `background_under`; signals: `Signal`, `shape_variations`, `gaussian_template`; `Channel`;
- four regions: `abcd_estimate` -> `AbcdEstimate`, `abcd_limit`, `abcd_workspace`;
- pyhf: `build_workspace`, `combined_workspace`, `write_workspace`, `MODIFIER_SETTINGS`; any workspace: `read_workspace`,
  `pyhf_cls`, `pyhf_p0`, `pyhf_limit`, `pyhf_toy_cls`.
"""

from __future__ import annotations

from resonaut.stats.engine.batched import BatchFit, fit_batch
from resonaut.stats.engine.design import Design
from resonaut.stats.excesses.bump_power import BumpPower, bump_power
from resonaut.stats.excesses.bump_result import BumpHunterResult
from resonaut.stats.excesses.bumphunter import bump_hunter
from resonaut.stats.excesses.combination import CombinedExcess, combine_folds, combine_p_values
from resonaut.stats.excesses.mass_scan import SignificanceScan, significance_scan, toy_significances
from resonaut.stats.excesses.scan import ScanEntry, ScanInput, ScanResult, scan, scan_windows
from resonaut.stats.excesses.significance import (
    ExcessResult,
    LocalPValues,
    local_p_value,
    local_p_values,
    on_off_p_value,
)
from resonaut.stats.excesses.toys import GlobalPValue, ToyGoodness, global_p_of_toys, global_p_value, toy_goodness
from resonaut.stats.excesses.trials import TrialsResult, asimov_trials, euler_characteristic, gross_vitells, upcrossings
from resonaut.stats.exchange.files import read_spectrum, write_csv, write_root
from resonaut.stats.exchange.hepdata import HepDataColumn, HepDataTable, covariance_table, read_hepdata
from resonaut.stats.exchange.results import read_result, write_result
from resonaut.stats.exchange.submission import hepdata_tables, write_hepdata
from resonaut.stats.fits.choice import FTestToys, FunctionChoice, choose_function, f_test, f_test_toys
from resonaut.stats.fits.fit import FitResult, fit_background
from resonaut.stats.functions import (
    DEFAULT_SQRTS,
    DIJET_FAMILY,
    BackgroundFunction,
    NonLinearFunction,
    Polynomial,
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
from resonaut.stats.limits.abcd import AbcdEstimate, abcd_estimate, abcd_limit, abcd_workspace
from resonaut.stats.limits.channels import Channel
from resonaut.stats.limits.hypotests import asymptotic_cls, background_under
from resonaut.stats.limits.limit_result import LimitResult, MassLimit, mass_limit
from resonaut.stats.limits.limit_scan import limit_scan
from resonaut.stats.limits.pyhf_models import pyhf_cls, pyhf_limit, pyhf_p0, pyhf_toy_cls, read_workspace
from resonaut.stats.limits.self_consistent import SelfConsistentLimit, self_consistent_limit
from resonaut.stats.limits.toy_limits import toy_cls, toy_upper_limit
from resonaut.stats.limits.upper_limits import TOYS_BELOW, combined_limit, upper_limit
from resonaut.stats.limits.workspace import MODIFIER_SETTINGS, build_workspace, combined_workspace, write_workspace
from resonaut.stats.shapes import (
    BreitWignerShape,
    CrystalBallShape,
    FittableShape,
    GaussianShape,
    InterpolatedShapes,
    LeaveOneOut,
    MorphedShapes,
    Shape,
    ShapeFit,
    TemplateShape,
    fit_shape,
    leave_one_out,
)
from resonaut.stats.shapes.signals import Signal, gaussian_template, shape_variations
from resonaut.stats.spectrum import as_counts, make_spectrum
from resonaut.stats.studies.envelope import Envelope, EnvelopeToys, envelope_toys, profile_envelope
from resonaut.stats.studies.linearity import SignalInjection, signal_injection
from resonaut.stats.studies.sliding import SlidingFit, sliding_fit
from resonaut.stats.studies.sliding_signals import SlidingScan, sliding_bump_hunter, sliding_scan
from resonaut.stats.studies.sliding_studies import SlidingComparison, SlidingToys, compare_with_one_fit, sliding_toys
from resonaut.stats.studies.spurious import SpuriousRanking, SpuriousSignal, choose_by_spurious_signal, spurious_signal
from resonaut.stats.studies.toy_study import ToyStudy, draw_toys, toy_study
from resonaut.stats.windows import Window, log_edges, sliding_windows

__all__ = (
    "DEFAULT_SQRTS",
    "DIJET_FAMILY",
    "MODIFIER_SETTINGS",
    "TOYS_BELOW",
    "AbcdEstimate",
    "BackgroundFunction",
    "BatchFit",
    "BreitWignerShape",
    "BumpHunterResult",
    "BumpPower",
    "Channel",
    "ChiSquare",
    "CombinedExcess",
    "CrystalBallShape",
    "Design",
    "Envelope",
    "EnvelopeToys",
    "ExcessResult",
    "FTestToys",
    "FitResult",
    "FittableShape",
    "FunctionChoice",
    "GaussianShape",
    "GlobalPValue",
    "HepDataColumn",
    "HepDataTable",
    "InterpolatedShapes",
    "LeaveOneOut",
    "LimitResult",
    "LocalPValues",
    "MassLimit",
    "MorphedShapes",
    "NonLinearFunction",
    "Polynomial",
    "ScanEntry",
    "ScanInput",
    "ScanResult",
    "SelfConsistentLimit",
    "Shape",
    "ShapeFit",
    "Signal",
    "SignalInjection",
    "SignificanceScan",
    "SlidingComparison",
    "SlidingFit",
    "SlidingScan",
    "SlidingToys",
    "SpuriousRanking",
    "SpuriousSignal",
    "TemplateShape",
    "ToyGoodness",
    "ToyStudy",
    "TrialsResult",
    "Window",
    "abcd_estimate",
    "abcd_limit",
    "abcd_workspace",
    "as_counts",
    "asimov_trials",
    "asymptotic_cls",
    "available_functions",
    "background_function",
    "background_under",
    "build_workspace",
    "bump_hunter",
    "bump_power",
    "choose_by_spurious_signal",
    "choose_function",
    "cms_chi2",
    "combine_folds",
    "combine_p_values",
    "combined_limit",
    "combined_workspace",
    "compare_with_one_fit",
    "covariance_table",
    "deviance",
    "deviance_chi2",
    "draw_toys",
    "envelope_toys",
    "euler_characteristic",
    "f_test",
    "f_test_toys",
    "fit_background",
    "fit_batch",
    "fit_shape",
    "gaussian_template",
    "global_p_of_toys",
    "global_p_value",
    "gross_vitells",
    "hepdata_tables",
    "kolmogorov_smirnov",
    "leave_one_out",
    "limit_scan",
    "local_p_value",
    "local_p_values",
    "log_edges",
    "make_spectrum",
    "mass_limit",
    "neyman_chi2",
    "on_off_p_value",
    "pearson_chi2",
    "poisson_interval",
    "poisson_significance",
    "profile_envelope",
    "pyhf_cls",
    "pyhf_limit",
    "pyhf_p0",
    "pyhf_toy_cls",
    "read_hepdata",
    "read_result",
    "read_spectrum",
    "read_workspace",
    "register_function",
    "scan",
    "scan_windows",
    "self_consistent_limit",
    "shape_variations",
    "signal_injection",
    "significance_scan",
    "sliding_bump_hunter",
    "sliding_fit",
    "sliding_scan",
    "sliding_toys",
    "sliding_windows",
    "spurious_signal",
    "toy_cls",
    "toy_goodness",
    "toy_significances",
    "toy_study",
    "toy_upper_limit",
    "upcrossings",
    "upper_limit",
    "write_csv",
    "write_hepdata",
    "write_result",
    "write_root",
    "write_workspace",
)
