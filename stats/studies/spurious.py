r"""Spurious signal: what a background function fits as signal where there is none.

A background-only template (simulation of high statistics, or the expectation of another function) at the luminosity of
the data is fitted with signal and background. The fitted strength is a bias of the background function, and must be
small beside the statistical error of the strength. This is how ATLAS chooses and assesses its background functions
(H to gamma gamma: arXiv:1207.7214, section 4.2, and ATL-PHYS-PUB-2020-028).

A template from simulation fluctuates too. The error of the spurious signal from that is propagated through the fit,

.. math:: \sigma_T^2 = \sum_j \left(\frac{\partial S}{\partial n_j}\right)^2 V_j ,

with V the variances of the template, and `tolerance` of these are granted: a bias that the simulation cannot tell from
zero does not disqualify a function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError
from resonaut.stats.engine.batched import FAILED, BatchFit, fit_batch
from resonaut.stats.engine.design import Design, pooled_importance
from resonaut.stats.functions import DEFAULT_SQRTS, available_functions, background_function
from resonaut.stats.records import brief, plain, restore
from resonaut.stats.regions import fit_region
from resonaut.stats.spectrum import Spectrum, as_counts
from resonaut.stats.studies.grid import Signals, signal_grid

__all__ = ("SpuriousRanking", "SpuriousSignal", "choose_by_spurious_signal", "spurious_signal")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MAX_RATIO = 0.5  # of the statistical error; ATLAS asks for 0.5 to 0.2


@dataclass(frozen=True, eq=False)
class SpuriousSignal:
    """Spurious signal of one function on a grid of masses.

    Attributes
    ----------
    function : str
    parameters : int
    mass : ndarray of shape (masses,)
        GeV.
    strength : ndarray of shape (masses,)
        Fitted signal; NaN where the fit failed.
    error : ndarray of shape (masses,)
        Statistical error that the data will have.
    template_error : ndarray of shape (masses,)
        Error of `strength` from the statistics of the template; 0 for an exact one.
    expected : ndarray of shape (masses,)
        Strength of the signal that is looked for; NaN where not given.
    tolerance : float
        Standard deviations of the template that are granted.
    deviance : float
        Of the background-only fit of the template, in units of the data's errors.
    """

    function: str
    parameters: int
    mass: FloatArray
    strength: FloatArray
    error: FloatArray
    template_error: FloatArray
    expected: FloatArray
    tolerance: float
    deviance: float

    __repr__ = brief

    @property
    def ratio(self) -> FloatArray:
        """Spurious signal over statistical error, shape (masses,)."""
        return np.asarray(self.strength / self.error)

    @property
    def relaxed(self) -> FloatArray:
        """The same, brought towards zero by `tolerance` standard deviations of the template, but not beyond."""
        left = np.maximum(np.abs(self.strength) - self.tolerance * self.template_error, 0.0)
        return np.asarray(np.sign(self.strength) * left / self.error)

    @property
    def relative(self) -> FloatArray:
        """Spurious signal (relaxed) over expected signal, shape (masses,)."""
        return np.asarray(self.relaxed * self.error / self.expected)

    @property
    def worst(self) -> float:
        """Largest absolute value of `relaxed`; infinite where a fit failed."""
        return float(np.nan_to_num(np.abs(self.relaxed), nan=np.inf).max())

    def passes(self, max_ratio: float = MAX_RATIO, max_relative: float | None = None) -> bool:
        """Whether every mass has ``|relaxed| <= max_ratio``, or ``|relative| <= max_relative`` where that is given."""
        good = np.abs(self.relaxed) <= max_ratio
        if max_relative is not None:
            good |= np.abs(self.relative) <= max_relative
        return bool(good.all())

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return plain(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SpuriousSignal:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        return restore(cls, content, arrays=dict.fromkeys(_ARRAYS, float))


_ARRAYS = ("mass", "strength", "error", "template_error", "expected")


@dataclass(frozen=True, eq=False)
class SpuriousRanking:
    """Functions in the order in which they are to be preferred.

    Attributes
    ----------
    results : tuple of SpuriousSignal
        Those that pass first, by number of parameters and then by `SpuriousSignal.worst`; then the others, by the latter.
    max_ratio : float
    max_relative : float or None
    chosen : str or None
        The first one that passes.
    failed : dict of str to str
        Functions that could not be fitted at all, and why.
    """

    results: tuple[SpuriousSignal, ...]
    max_ratio: float
    max_relative: float | None
    chosen: str | None
    failed: dict[str, str]

    __repr__ = brief

    def table(self) -> str:
        """The ranking as text."""
        rows = [f"{'function':22} parameters  max |S|/sigma  passes"]
        for result in self.results:
            verdict = "yes" if result.passes(self.max_ratio, self.max_relative) else "no"
            rows.append(f"{result.function:22} {result.parameters:10d} {result.worst:14.3g}  {verdict}")
        return "\n".join(rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return plain(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SpuriousRanking:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        found = restore(cls, content)
        results = tuple(SpuriousSignal.from_dict(item) for item in content["results"])
        return cls(results, found.max_ratio, found.max_relative, found.chosen, dict(found.failed))


def spurious_signal(
    template: Spectrum,
    signals: Signals,
    *,
    function: str = "dijet4",
    variances: npt.ArrayLike | None = None,
    expected: Mapping[float, float] | None = None,
    tolerance: float = 0.0,
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
) -> SpuriousSignal:
    """Signal that a function finds in a background-only template.

    Parameters
    ----------
    template : Spectrum
        Background scaled to the luminosity of the data: a weighted histogram, or (expected counts, edges).
    signals : mapping of mass (GeV) to signal
        With templates of unit area strengths are numbers of events.
    function : str
        Log-linear background function.
    variances : array_like of shape (bins,), optional
        Of the template. Those of the histogram by default; an exact template where there are none.
    expected : mapping of mass to float, optional
        Strength of the signal that is looked for, at each mass.
    tolerance : float
        Standard deviations of the template that are granted.
    sqrts : float
        GeV.
    fit_range : (low, high), optional
        GeV.

    Raises
    ------
    InputError, ConfigError
        If the template, the signals or the function cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.stats import gaussian_template, log_edges, spurious_signal
    >>> edges = log_edges(2000.0, 6000.0, 40)
    >>> smooth = 1e5 * np.exp(-0.2 * np.arange(40) - 0.002 * np.arange(40) ** 2)
    >>> signals = {m: gaussian_template(m, 0.03 * m, edges) for m in (2500.0, 3000.0, 4000.0)}
    >>> for function in ("dijet3", "dijet4"):
    ...     print(function, abs(spurious_signal((smooth, edges), signals, function=function).ratio).round(1))
    dijet3 [1.  2.3 1. ]
    dijet4 [0. 0. 0.]
    """
    _check(tolerance, expected)
    counts, edges, own = as_counts(template)
    mask = fit_region(edges, None, fit_range).fitted
    masses, shapes = signal_grid(signals, edges)
    spread = _variances(own if variances is None else variances, counts)
    design = Design.build(function, edges, sqrts=sqrts, importance=pooled_importance(counts[None], mask))
    fit = fit_batch(np.tile(counts, (len(masses), 1)), design, mask, signal=shapes)
    failed = fit.status == FAILED
    wanted = {float(mass): value for mass, value in (expected or {}).items()}
    return SpuriousSignal(
        function=function,
        parameters=design.n_parameters,
        mass=masses,
        strength=np.where(failed, np.nan, fit.strength),
        error=fit.strength_error,
        template_error=np.sqrt((strength_influence(fit, shapes, mask) ** 2 * spread).sum(axis=1)),
        expected=np.array([wanted.get(mass, np.nan) for mass in masses]),
        tolerance=float(tolerance),
        deviance=float(fit_batch(counts, design, mask).deviance[0]),
    )


def strength_influence(fit: BatchFit, shapes: FloatArray, mask: BoolArray) -> FloatArray:
    """Change of each fitted strength for one event more in a bin, shape (N, bins)."""
    p = fit.theta.shape[1]
    row = fit.covariance[:, p]
    slope = np.einsum("nbp,np->nb", fit.jacobian, row[:, :p]) + shapes * row[:, p, None]
    total = fit.expected + fit.strength[:, None] * shapes
    return np.asarray(np.where(mask & (total > 0), slope / np.maximum(total, 1e-300), 0.0))


def _variances(variances: npt.ArrayLike | None, counts: FloatArray) -> FloatArray:
    found = np.zeros_like(counts) if variances is None else np.asarray(variances, dtype=np.float64)
    if found.shape != counts.shape or not (np.isfinite(found) & (found >= 0)).all():
        msg = f"spurious_signal got variances of shape {found.shape}, expected {counts.shape}, finite and >= 0"
        raise InputError(msg)
    return found


def _check(tolerance: float, expected: Mapping[float, float] | None) -> None:
    if not 0 <= tolerance < np.inf:
        msg = f"spurious_signal got tolerance {tolerance}, expected a finite number of standard deviations >= 0"
        raise ConfigError(msg)
    wrong = {mass: value for mass, value in (expected or {}).items() if not 0 <= value < np.inf}
    if wrong:
        msg = f"spurious_signal got expected strengths {wrong}, expected finite ones >= 0 (events for a strength of 1)"
        raise ConfigError(msg)


def choose_by_spurious_signal(
    template: Spectrum,
    signals: Signals,
    *,
    functions: Sequence[str] | None = None,
    max_ratio: float = MAX_RATIO,
    max_relative: float | None = None,
    variances: npt.ArrayLike | None = None,
    expected: Mapping[float, float] | None = None,
    tolerance: float = 0.0,
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
) -> SpuriousRanking:
    """Function with the fewest parameters whose spurious signal is small at every mass.

    Parameters
    ----------
    template, signals, variances, expected, tolerance, sqrts, fit_range
        As in `spurious_signal`.
    functions : sequence of str, optional
        All log-linear ones by default.
    max_ratio : float
        Largest spurious signal over its statistical error.
    max_relative : float, optional
        A mass also passes with no more than this fraction of the expected signal.

    Raises
    ------
    InputError, ConfigError
        If the template, the signals or the limits cannot be used. A function that cannot be fitted is in `failed`.
    """
    if not max_ratio > 0 or (max_relative is not None and not (max_relative > 0 and expected)):
        msg = (
            f"choose_by_spurious_signal got max_ratio={max_ratio}, max_relative={max_relative}, expected positive numbers, "
            "and expected={mass: strength} with max_relative"
        )
        raise ConfigError(msg)
    _check(tolerance, expected)
    names = available_functions(log_linear=True) if functions is None else tuple(functions)
    for name in names:
        background_function(name)
    signal_grid(signals, as_counts(template)[1])
    results, failed = [], {}
    for name in names:
        try:
            result = spurious_signal(
                template,
                signals,
                function=name,
                variances=variances,
                expected=expected,
                tolerance=tolerance,
                sqrts=sqrts,
                fit_range=fit_range,
            )
        except (InputError, ConfigError) as error:
            failed[name] = str(error)
            continue
        results.append(result)
    results.sort(key=lambda r: (0, r.parameters, r.worst) if r.passes(max_ratio, max_relative) else (1, 0, r.worst))
    passing = [r.function for r in results if r.passes(max_ratio, max_relative)]
    return SpuriousRanking(tuple(results), max_ratio, max_relative, passing[0] if passing else None, failed)
