r"""Discrete profiling: the choice of the background function as a nuisance parameter.

For each function f the background is profiled at a given signal strength, and functions with more parameters pay for them:

.. math:: \Lambda_f(s) = -2 \ln L_f(s, \hat\theta_f(s)) + c\, n_f .

The envelope, the smallest of these curves at each s, is treated like one likelihood: its minimum is the best fit, and it
rises by 1 and 3.84 at the ends of the 68 % and 95 % intervals. Where two functions describe the data equally well but want
different signals, the interval covers both (Dauncey, Kenzie, Wardle and Davies, arXiv:1408.6865; c = 1 follows from the
expected chi2 and is what they recommend).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.errors import ConfigError, FitError
from resonaut.stats.engine.batched import FAILED, BatchFit, fit_batch
from resonaut.stats.engine.design import Design, pooled_importance
from resonaut.stats.functions import DEFAULT_SQRTS
from resonaut.stats.records import brief, plain, restore
from resonaut.stats.regions import fit_region
from resonaut.stats.shapes.signals import SignalLike, as_signal
from resonaut.stats.spectrum import Spectrum, as_counts, poisson_counts
from resonaut.stats.toy_tools import poisson_toys, require_toys

__all__ = ("Envelope", "EnvelopeToys", "envelope_toys", "profile_envelope")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

LEVELS = (1.0, float(special.chdtri(1, 0.05)))  # rise of the envelope at the ends of 68 % and 95 % intervals
SMALLEST_STEP = 1e-3  # events: where none are expected, the error of a strength vanishes or is infinite
POINTS = 61  # of the scan
REACH = 4.0  # standard deviations that the scan goes beyond the best fits
HOPELESS = 9.0  # above the minimum: best fits there do not widen the scan
DOUBLINGS, HALVINGS = 40, 60  # of the search for the ends of an interval


@dataclass(frozen=True, eq=False)
class Envelope:
    """Profile likelihoods of several functions and their envelope.

    Attributes
    ----------
    functions : tuple of str
    parameters : tuple of int
    penalty : float
        In -2 ln L for each parameter.
    strength : ndarray of shape (points,)
        Scanned signal strengths.
    curves : ndarray of shape (functions, points)
        Deviance with its penalty; NaN where a fit failed.
    best_strengths, best_errors, minima : ndarray of shape (functions,)
        Each function's own best fit, with its penalty in `minima`.
    best_function : str
    best_strength : float
    interval68, interval95 : (float, float)
        Outermost crossings of the envelope with its minimum + 1 and + 3.84; infinite where it does not rise so far.
    significance : float
        Square root of the rise of the envelope from its minimum to strength 0, with the sign of the best strength.
    p_value : float
        One-sided, of `significance`.
    failed : dict of str to str
        Functions that were left out, and why.
    """

    functions: tuple[str, ...]
    parameters: tuple[int, ...]
    penalty: float
    strength: FloatArray
    curves: FloatArray
    best_strengths: FloatArray
    best_errors: FloatArray
    minima: FloatArray
    best_function: str
    best_strength: float
    interval68: tuple[float, float]
    interval95: tuple[float, float]
    significance: float
    p_value: float
    failed: dict[str, str]

    __repr__ = brief

    @property
    def envelope(self) -> FloatArray:
        """Smallest of the curves at each strength, shape (points,)."""
        return np.asarray(np.nanmin(self.curves, axis=0))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return plain(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Envelope:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        arrays = dict.fromkeys(("strength", "curves", "best_strengths", "best_errors", "minima"), float)
        return restore(cls, content, arrays=arrays, tuples=("functions", "parameters", "interval68", "interval95"))


class _Profiles:
    """Fits of one spectrum and template with every function."""

    def __init__(
        self, designs: Mapping[str, Design], counts: FloatArray, mask: BoolArray, shape: FloatArray, penalty: float
    ) -> None:
        self.designs, self.counts, self.mask, self.shape = designs, counts, mask, shape
        self.cost = {name: penalty * design.n_parameters for name, design in designs.items()}

    def free(self, name: str) -> BatchFit:
        return fit_batch(self.counts, self.designs[name], self.mask, signal=self.shape)

    def at(self, name: str, strength: FloatArray) -> FloatArray:
        """Curve of one function at some strengths; NaN where the fit failed."""
        rows = np.broadcast_to(self.counts, (len(strength), len(self.counts)))
        fit = fit_batch(rows, self.designs[name], self.mask, signal=self.shape, strength=strength)
        return np.where(fit.status == FAILED, np.nan, _held(fit, self.shape[self.mask].sum()) + self.cost[name])

    def crossing(self, name: str, start: float, step: float, level: float) -> float:
        """Strength at which the curve reaches a level, from a point below it in the direction of `step`."""
        low, high = start, start + step
        for _ in range(DOUBLINGS):
            value = self.at(name, np.array([high]))[0]
            if not value <= level:  # failed fits end the search too
                break
            low, high = high, high + 2.0 * (high - low)
        else:
            return float(np.copysign(np.inf, step))
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            if self.at(name, np.array([middle]))[0] <= level:
                low = middle
            else:
                high = middle
            if abs(high - low) < 1e-6 * abs(middle - start):
                break
        return 0.5 * (low + high)


def _held(fit: BatchFit, signal: float) -> FloatArray:
    """Deviance at a given strength. Without any event no background is left, and each signal event costs 2."""
    alone = np.where(fit.strength >= 0, 2.0 * fit.strength * signal, np.inf)
    return np.where(fit.events > 0, fit.deviance, alone)


def _designs(functions: Sequence[str], edges: FloatArray, sqrts: float, importance: FloatArray) -> dict[str, Design]:
    if not functions or len(set(functions)) != len(functions):
        msg = f"envelope got functions {list(functions)}, expected different names, at least one"
        raise ConfigError(msg)
    return {name: Design.build(name, edges, sqrts=sqrts, importance=importance) for name in functions}


def profile_envelope(
    spectrum: Spectrum,
    signal: SignalLike,
    functions: Sequence[str],
    *,
    penalty: float = 1.0,
    strengths: npt.ArrayLike | None = None,
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
) -> Envelope:
    """Best signal strength, its intervals and its significance, with the background function profiled.

    Parameters
    ----------
    spectrum : Spectrum
        Unweighted counts.
    signal : signal, shape, histogram or array_like of shape (bins,)
        With a template of unit area strengths are numbers of events.
    functions : sequence of str
        Log-linear background functions, nested or not.
    penalty : float
        For each parameter, in -2 ln L: 1 corrects for the better fit of larger functions, 2 is Akaike's criterion.
    strengths : array_like of shape (points,), optional
        Where to scan; 4 standard deviations around the best fits by default.
    sqrts : float
        GeV.
    fit_range : (low, high), optional
        GeV.

    Raises
    ------
    InputError, ConfigError
        If the spectrum, the signal or a function cannot be used.
    FitError
        If no function could be fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.stats import gaussian_template, log_edges, profile_envelope
    >>> edges = log_edges(2000.0, 6000.0, 40)
    >>> signal = gaussian_template(3000.0, 90.0, edges)
    >>> counts = (1e4 * np.exp(-0.2 * np.arange(40)) + 300 * signal).round()
    >>> result = profile_envelope((counts, edges), signal, ("dijet3", "dijet4", "ua2"))
    >>> result.best_function, 250 < result.best_strength < 350, result.significance > 3
    ('dijet3', True, True)
    """
    if not 0 <= penalty < np.inf:
        msg = f"profile_envelope got penalty {penalty}, expected a finite number >= 0"
        raise ConfigError(msg)
    counts, edges = poisson_counts(spectrum)
    mask = fit_region(edges, None, fit_range).fitted
    shape = as_signal(signal, edges).template
    designs = _designs(functions, edges, sqrts, pooled_importance(counts[None], mask))
    work = _Profiles(designs, counts, mask, shape, penalty)
    found = {name: work.free(name) for name in designs}
    failed = {name: "the likelihood fit did not converge" for name, fit in found.items() if fit.n_failed}
    names = tuple(name for name in designs if name not in failed)
    if not names:
        msg = f"envelope: none of {list(functions)} could be fitted; expected a converged fit: try a narrower range"
        raise FitError(msg)
    best = np.array([found[name].strength[0] for name in names])
    error = np.array([found[name].strength_error[0] for name in names])
    minima = np.array([found[name].deviance[0] + work.cost[name] for name in names])
    if strengths is None:
        near = minima <= minima.min() + HOPELESS
        scan = np.linspace((best - REACH * error)[near].min(), (best + REACH * error)[near].max(), POINTS)
    else:
        scan = _strengths(strengths)
    k = int(minima.argmin())
    intervals = [_interval(work, names, best, error, minima, minima[k] + level) for level in LEVELS]
    at_zero = np.nanmin([work.at(name, np.zeros(1))[0] for name in names])
    significance = float(np.copysign(np.sqrt(max(at_zero - minima[k], 0.0)), best[k]))
    return Envelope(
        functions=names,
        parameters=tuple(designs[name].n_parameters for name in names),
        penalty=float(penalty),
        strength=scan,
        curves=np.stack([work.at(name, scan) for name in names]),
        best_strengths=best,
        best_errors=error,
        minima=minima,
        best_function=names[k],
        best_strength=float(best[k]),
        interval68=intervals[0],
        interval95=intervals[1],
        significance=significance,
        p_value=float(special.ndtr(-significance)),
        failed=failed,
    )


def _strengths(strengths: npt.ArrayLike) -> FloatArray:
    scan = np.atleast_1d(np.asarray(strengths, dtype=np.float64))
    if scan.ndim != 1 or not scan.size or not np.isfinite(scan).all():
        msg = f"profile_envelope got strengths {scan.tolist()}, expected a list of finite numbers"
        raise ConfigError(msg)
    return scan


def _interval(
    work: _Profiles, names: Sequence[str], best: FloatArray, error: FloatArray, minima: FloatArray, level: float
) -> tuple[float, float]:
    """Outermost crossings of all curves whose minimum lies below the level."""
    below = [k for k in range(len(names)) if minima[k] <= level]
    least = SMALLEST_STEP / work.shape.sum()
    steps = np.where(np.isfinite(error), np.maximum(error, least), least)
    low = [work.crossing(names[k], best[k], -steps[k], level) for k in below]
    high = [work.crossing(names[k], best[k], steps[k], level) for k in below]
    return float(min(low)), float(max(high))


@dataclass(frozen=True, eq=False)
class EnvelopeToys:
    """Toys of known signal, fitted with an envelope of functions.

    Attributes
    ----------
    functions : tuple of str
    injected : float
        Strength of the signal in the toys.
    strength, error : ndarray of shape (toys,)
        Best fit of each toy, with the error of the chosen function.
    rise : ndarray of shape (toys,)
        Envelope at the injected strength above its minimum.
    chosen : int ndarray of shape (toys,)
        Index of the function at the minimum.
    failed : int
        Toys that are left out because no function, or none at the injected strength, could be fitted.
    """

    functions: tuple[str, ...]
    injected: float
    strength: FloatArray
    error: FloatArray
    rise: FloatArray
    chosen: IntArray
    failed: int

    __repr__ = brief

    def coverage(self, level: float = 0.6827) -> tuple[float, float]:
        """Fraction of toys whose interval of this level holds the injected strength, and its binomial error."""
        inside = float((self.rise <= special.chdtri(1, 1.0 - level)).mean())
        return inside, float(np.sqrt(max(inside * (1.0 - inside), 1e-12) / len(self.rise)))

    def pull(self) -> tuple[float, float]:
        """Mean and standard deviation of (fitted - injected) / error."""
        pulls = (self.strength - self.injected) / self.error
        return float(pulls.mean()), float(pulls.std(ddof=1))

    def shares(self) -> dict[str, float]:
        """Fraction of toys in which each function was the best one."""
        return {name: float((self.chosen == k).mean()) for k, name in enumerate(self.functions)}

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return plain(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> EnvelopeToys:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        arrays = {**dict.fromkeys(("strength", "error", "rise"), float), "chosen": int}
        return restore(cls, content, arrays=arrays, tuples=("functions",))


def envelope_toys(
    background: Spectrum,
    signal: SignalLike,
    functions: Sequence[str],
    *,
    strength: float = 0.0,
    penalty: float = 1.0,
    toys: int = 500,
    seed: int = 0,
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
) -> EnvelopeToys:
    """Coverage and bias of the envelope (or, given one function, of that function) on toys of a background.

    Parameters
    ----------
    background : Spectrum
        Expected counts, the truth of the toys.
    signal : signal, shape, histogram or array_like of shape (bins,)
    functions : sequence of str
    strength : float
        Of the injected signal.
    penalty : float
    toys : int
    seed : int
    sqrts : float
        GeV.
    fit_range : (low, high), optional
        GeV.

    Raises
    ------
    InputError, ConfigError
        If the background, the signal or a function cannot be used.
    FitError
        If every toy failed.
    """
    require_toys(toys)
    if toys < 2 or not 0 <= strength < np.inf or not 0 <= penalty < np.inf:
        msg = f"envelope_toys got toys={toys}, strength={strength}, penalty={penalty}, expected 2 toys or more, others finite and >= 0"
        raise ConfigError(msg)
    counts, edges, _ = as_counts(background)
    mask = fit_region(edges, None, fit_range).fitted
    shape = as_signal(signal, edges).template
    truth = counts + strength * shape
    data = poisson_toys(truth, toys, seed)
    designs = _designs(functions, edges, sqrts, pooled_importance(truth[None], mask))
    free = [fit_batch(data, design, mask, signal=shape) for design in designs.values()]
    held = [fit_batch(data, design, mask, signal=shape, strength=strength) for design in designs.values()]
    cost = penalty * np.array([design.n_parameters for design in designs.values()])[:, None]
    minima = np.stack([np.where(fit.ok, fit.deviance, np.inf) for fit in free]) + cost
    fixed = np.stack([np.where(fit.ok, _held(fit, shape[mask].sum()), np.inf) for fit in held]) + cost
    chosen = minima.argmin(axis=0)
    row = np.arange(toys)
    rise = fixed.min(axis=0) - minima[chosen, row]
    good = np.isfinite(rise)
    if not good.any():
        msg = f"envelope_toys: all {toys} toys failed with {list(functions)}; expected converged fits: try fewer parameters"
        raise FitError(msg)
    best = np.stack([fit.strength for fit in free])[chosen, row]
    error = np.stack([fit.strength_error for fit in free])[chosen, row]
    return EnvelopeToys(
        tuple(designs),
        float(strength),
        best[good],
        error[good],
        np.maximum(rise[good], 0.0),
        chosen[good],
        int((~good).sum()),
    )
