"""CLs from pseudo-experiments, for counts too low for the asymptotic formulae.

The test statistic is q-tilde. Toys are drawn at the nuisances profiled to the data, with and without signal, and the
auxiliary measurement of every constrained nuisance is drawn around its profiled value, as in pyhf's toy calculator. The
compiled solver profiles each toy in some 20 microseconds; background toys are drawn and fitted once for all strengths.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import NamedTuple, Unpack

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, FitError, InputError
from resonaut.stats.fits.fit import FitResult
from resonaut.stats.limits.channels import Channel, signal_model
from resonaut.stats.limits.hypotests import tail_fraction, toy_band
from resonaut.stats.limits.limit_options import LimitOptions
from resonaut.stats.limits.limit_result import LimitResult
from resonaut.stats.limits.profiling import WEAK_CONSTRAINT, Profile, SignalModel
from resonaut.stats.shapes.signals import SignalLike
from resonaut.stats.spectrum import Spectrum

__all__ = ("Tails", "ToyLimit", "ToyTests", "toy_cls", "toy_limits", "toy_upper_limit")

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

TOLERANCE = 1e-7  # in 2 ln L, for a toy: a third of the steps of a fit to the last digit
POINTS = 10  # strengths at which toys are thrown
NEAR = 8.0  # factor of CLs around alpha within which points say where it is crossed
EXTENSIONS = 4
NEGLIGIBLE = 1e-3  # fraction of toys without a fit: far less than the statistical error of a band


@dataclass(frozen=True, eq=False)
class _Sample:
    """Toys of one hypothesis with their best fits."""

    counts: FloatArray
    auxiliary: FloatArray
    best: Profile

    def q_tilde(self, model: SignalModel, strength: float) -> FloatArray:
        """q-tilde of the toys whose fits converged."""
        q, good = np.zeros(len(self.counts)), self.best.converged.copy()
        below = np.flatnonzero(self.best.strength <= strength)  # above it, q-tilde is 0 by definition
        if len(below):
            fixed = model.profile(self.counts[below], strength, self.auxiliary[below], start=self.best.nuisance[below])
            q[below] = np.maximum(fixed.twice_nll - self.best.twice_nll[below], 0.0)
            good[below] &= fixed.converged
        return q[good]


class Tails(NamedTuple):
    """p-values with signal and without, and CLs, each of shape (6,): five expected, then observed."""

    with_signal: FloatArray
    without: FloatArray
    cls: FloatArray


class ToyTests:
    """CLs of one spectrum at any signal strength, from toys.

    Parameters
    ----------
    model : SignalModel
    counts : ndarray of shape (bins,)
    toys : int
        Of each hypothesis at each strength.
    seed : int

    Attributes
    ----------
    failed, thrown : int
        Toys left out because a fit did not converge, of all that were tested so far.

    Raises
    ------
    ConfigError
        If there are no toys.
    """

    def __init__(self, model: SignalModel, counts: FloatArray, *, toys: int, seed: int):
        if toys < 1:
            msg = f"got {toys} toys, expected at least 1"
            raise ConfigError(msg)
        self.model, self.counts, self.toys, self.seed = replace(model, tolerance=TOLERANCE), counts, toys, seed
        model = self.model
        self.failed = self.thrown = 0
        self.data = _Sample(counts[None], np.zeros((1, model.nuisances)), model.maximum(counts))
        self.without = self._draw(0.0)

    def _draw(self, strength: float) -> _Sample:
        # a stream for each strength: what is drawn at one does not depend on which others were tried
        rng = np.random.default_rng([self.seed, *np.array([strength], dtype=np.float64).view(np.uint32).tolist()])
        nuisance = self.model.profile(self.counts, strength, start=self.data.best.nuisance).nuisance
        background, events = self.model.expected(strength, nuisance)
        total = np.maximum((background + events)[0], 0.0)
        counts = rng.poisson(total, size=(self.toys, len(total))).astype(np.float64)
        width = np.sqrt(1.0 / np.maximum(self.model.precision, 1e-300))
        constrained = width < 0.5 * WEAK_CONSTRAINT
        auxiliary = np.zeros((self.toys, self.model.nuisances))
        auxiliary[:, constrained] = rng.normal(
            nuisance[0, constrained], width[constrained], size=(self.toys, int(constrained.sum()))
        )
        return _Sample(counts, auxiliary, self.model.maximum(counts, auxiliary, start=nuisance, guess=strength))

    def tails(self, strength: float) -> Tails:
        """p-values and CLs of one strength.

        Raises
        ------
        FitError
            If no toy of a hypothesis, or no fit of the data, converged.
        """
        with_signal = self._draw(strength).q_tilde(self.model, strength)
        without = self.without.q_tilde(self.model, strength)
        seen = self.data.q_tilde(self.model, strength)
        self.thrown += 2 * self.toys
        self.failed += 2 * self.toys - len(with_signal) - len(without)
        if not (len(with_signal) and len(without) and len(seen)):
            msg = f"no toy or no fit of the data converged at strength {strength:.6g}"
            raise FitError(msg)
        p, q = tail_fraction(with_signal, seen[0]), tail_fraction(without, seen[0])
        band = toy_band(with_signal, without)
        return Tails(*(np.append(five, one) for five, one in zip(band, (p, q, p / q), strict=True)))

    def warn(self) -> None:
        """Tell how many toys were left out; a warning where they are enough to move a limit."""
        if self.failed:
            level = logging.WARNING if self.failed > NEGLIGIBLE * self.thrown else logging.INFO
            logger.log(level, "%d of %d toys were left out: their fits did not converge", self.failed, self.thrown)


@dataclass(frozen=True)
class ToyLimit:
    """Limits from toys in units of the model's signal: five expected, then observed, each with its statistical error.

    `failed` toys of the `thrown` ones were left out, their fits did not converge.
    """

    limits: FloatArray
    errors: FloatArray
    failed: int
    thrown: int


def toy_limits(
    model: SignalModel, counts: FloatArray, guess: FloatArray, *, alpha: float, toys: int, seed: int
) -> ToyLimit:
    """Strengths at which CLs from toys is alpha.

    Toys are thrown at `POINTS` strengths around the guess, and at more of them on a side where CLs does not cross alpha.
    A parabola through ln CLs near the crossing takes the noise of the toys out.

    Parameters
    ----------
    model : SignalModel
    counts : ndarray of shape (bins,)
    guess : ndarray of shape (6,)
        Asymptotic limits.
    alpha : float
    toys, seed : int
    """
    tests = ToyTests(model, counts, toys=toys, seed=seed)
    three = 3.0 / model.signal.sum()  # no limit is below three events, -ln(0.05), whatever the asymptotic formula says
    low, high = 0.8 * max(guess.min(), three), 1.3 * max(guess.max(), 1.2 * three)
    grid = list(np.geomspace(low, high, POINTS))
    tails = [tests.tails(strength) for strength in grid]
    for _ in range(EXTENSIONS):
        cls = np.array([tail.cls for tail in tails])
        if (cls[0] > alpha).all() and (cls[-1] < alpha).all():
            break
        side = -1 if (cls[0] > alpha).all() else 0
        more = grid[-1] * np.array([1.25, 1.6]) if side else grid[0] / np.array([1.6, 1.25])
        found = [tests.tails(strength) for strength in more]
        grid, tails = ([*grid, *more], tails + found) if side else ([*more, *grid], found + tails)
    tests.warn()
    curves = [Tails(*(np.array(part) for part in zip(*row, strict=True))) for row in _rows(tails)]
    pairs = np.array([_crossing(np.array(grid), curve, alpha, toys) for curve in curves])
    # CLs at one strength is in order; what the parabolas leave of the noise of the toys may not be
    pairs[:5] = pairs[np.argsort(pairs[:5, 0], kind="stable")]
    return ToyLimit(pairs[:, 0], pairs[:, 1], tests.failed, tests.thrown)


def _rows(tails: list[Tails]) -> list[list[tuple[float, float, float]]]:
    """For each of the six CLs, its numbers at all strengths."""
    return [[(float(t.with_signal[k]), float(t.without[k]), float(t.cls[k])) for t in tails] for k in range(6)]


def _crossing(x: FloatArray, curve: Tails, alpha: float, toys: int) -> tuple[float, float]:
    """Where a weighted parabola (or line) through ln CLs falls to ln(alpha), and the error of that."""
    p, q = np.maximum(curve.with_signal, 1.0 / (toys + 1)), curve.without
    cls = np.maximum(curve.cls, 0.5 * alpha / NEAR)  # where no toy is left to count: no logarithm, but surely below
    above = np.flatnonzero(cls > alpha)
    if not len(above) or above[-1] + 1 >= len(x):
        return float("nan"), float("nan")
    k = int(above[-1])
    # CLs falls: what lies behind the bracket is used as far as it is near, and where toys are left to count
    near = (np.abs(np.log(cls / alpha)) < np.log(NEAR)) & (p * toys > 3.0)
    near[k : k + 2] = True
    u = (x[near] - x[k]) / (x[k + 1] - x[k])  # ln CLs is close to a parabola in the strength
    variance = (1.0 - p[near]) / (toys * p[near]) + 1e-4
    design = np.stack([u**power for power in range(min(3, int(near.sum())))], axis=1) / np.sqrt(variance)[:, None]
    target = np.log(cls[near] / alpha)
    coefficients = np.linalg.lstsq(design, target / np.sqrt(variance), rcond=None)[0]
    at, slope = _falls_to_zero(coefficients, np.log(cls[k : k + 2] / alpha))
    powers = at ** np.arange(len(coefficients))
    shared = (1.0 - q[k]) / (toys * q[k])  # background toys are the same at all strengths
    error = np.sqrt(float(powers @ np.linalg.pinv(design.T @ design) @ powers) + shared) / max(abs(slope), 1e-3)
    step = float(x[k + 1] - x[k])
    return float(x[k]) + at * step, float(error) * step


def _falls_to_zero(coefficients: FloatArray, bracket: FloatArray) -> tuple[float, float]:
    """Where a polynomial falls through zero within one step of the bracket from 0 to 1, and its slope there."""
    derivative = np.polynomial.polynomial.polyder(coefficients)
    roots = np.roots(coefficients[::-1])
    slopes = np.polynomial.polynomial.polyval(roots.real, derivative)
    good = (np.abs(roots.imag) < 1e-9) & (roots.real > -1.0) & (roots.real < 2.0) & (slopes < 0)
    if good.any():
        best = int(np.flatnonzero(good)[np.abs(roots.real[good] - 0.5).argmin()])
        return float(roots.real[best]), float(slopes[best])
    slope = float(bracket[1] - bracket[0])
    return float(-bracket[0] / slope), slope


def toy_cls(
    fit: FitResult,
    signal: SignalLike,
    strength: float,
    *,
    signal_uncertainty: float = 0.0,
    toys: int = 2000,
    seed: int = 0,
) -> tuple[float, FloatArray]:
    """CLs of one signal strength from toys.

    Parameters
    ----------
    fit : FitResult
        Background-only fit of the whole spectrum.
    signal : Signal, shape, Spectrum or array_like of shape (bins,)
        Events in each bin for a strength of 1.
    strength : float
        Signal strength to test, above 0.
    signal_uncertainty : float
        Relative uncertainty of the signal yield.
    toys : int
        Of each hypothesis.
    seed : int

    Returns
    -------
    observed : float
        CLs of the data.
    expected : ndarray of shape (5,)
        Quantiles (-2, -1, 0, 1, 2 standard deviations) of the CLs of background toys.
    """
    if not strength > 0:
        msg = f"toy_cls got strength {strength}, expected a positive one"
        raise InputError(msg)
    channel = Channel.build("", fit, signal, signal_uncertainty=signal_uncertainty)
    tests = ToyTests(signal_model([channel]), channel.counts, toys=toys, seed=seed)
    cls = tests.tails(float(strength)).cls
    tests.warn()
    return float(cls[5]), cls[:5]


def toy_upper_limit(spectrum: Spectrum, signal: SignalLike, **options: Unpack[LimitOptions]) -> LimitResult:
    """`upper_limit` from toys, whatever the number of events; see there."""
    from resonaut.stats.limits.upper_limits import upper_limit  # which itself takes toys where they are needed

    options["method"] = "toys"
    return upper_limit(spectrum, signal, **options)
