r"""CLs with the profile likelihood ratio q-tilde, by the asymptotic formulae.

Cowan, Cranmer, Gross, Vitells, arXiv:1007.1727, section 3.6, and CLs of Read, J. Phys. G28 (2002) 2693; the same as
``pyhf.infer.hypotest(..., test_stat="qtilde")``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.errors import FitError
from resonaut.stats.limits.profiling import SignalModel

__all__ = ("BAND", "Hypotests", "asymptotic_cls", "background_under", "tail_fraction", "toy_band")

FloatArray = npt.NDArray[np.float64]

BAND = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
GRID = 33
BRACKETS = 6
TIES = 1e-4  # difference in q-tilde below which two spectra are equally far from the hypothesis


def asymptotic_cls(q: npt.ArrayLike, q_asimov: npt.ArrayLike) -> FloatArray:
    """CLs for an observed q-tilde and that of the background-only Asimov spectrum (arXiv:1007.1727, section 3.6).

    Examples
    --------
    >>> round(float(asymptotic_cls(3.84, 3.84)), 3)  # observation at the median: CLs = CLs+b / 0.5
    0.05
    """
    root, root_a = np.sqrt(np.asarray(q, dtype=np.float64)), np.sqrt(np.asarray(q_asimov, dtype=np.float64))
    safe = np.maximum(root_a, 1e-12)
    shift = np.where(root <= root_a, root - root_a, (root**2 - root_a**2) / (2.0 * safe))
    # in logarithms: far from the hypothesis both tails underflow
    return np.asarray(np.exp(special.log_ndtr(-(shift + root_a)) - special.log_ndtr(-shift)))


def background_under(background: npt.ArrayLike, signal: npt.ArrayLike) -> float:
    r"""Background events that a test for a signal rests on.

    The test is close to a sum over events with weights :math:`w = \ln(1 + s/b)`. A sum of that kind has the skewness
    of a Poisson count of :math:`(\sum w^2 b)^3 / (\sum w^3 b)^2` events, which is what this returns: for one bin its
    background, for a Gaussian that of some two standard deviations around the peak. A long tail of the signal over a
    large background does not count, as it does not help to see the signal.

    Parameters
    ----------
    background : array_like of shape (bins,)
        Expected events.
    signal : array_like of shape (bins,)
        Signal events at the strength of interest, such as the expected limit.

    Examples
    --------
    >>> round(background_under([5.0], [3.0]), 6)
    5.0
    >>> round(background_under([1e6, 5.0, 4.0], [2.0, 3.0, 3.0]), 1)
    8.8
    """
    b, s = np.maximum(np.asarray(background, dtype=np.float64), 1e-12), np.asarray(signal, dtype=np.float64)
    weight = np.log1p(np.maximum(s, 0.0) / b)
    return float((weight**2 * b).sum() ** 3 / (weight**3 * b).sum() ** 2)


def tail_fraction(sample: FloatArray, value: float) -> float:
    """Fraction of toys at or above a value, never 0; rounding does not split ties.

    Examples
    --------
    >>> tail_fraction(np.array([0.0, 0.0, 1.0, 2.0]), 1.0)
    0.5
    """
    return float(max(_tail_fractions(sample, np.array([value]))[0], 1.0 / (len(sample) + 1)))


def _tail_fractions(sample: FloatArray, values: FloatArray) -> FloatArray:
    lowest = values - TIES * (1.0 + np.abs(values))
    return np.asarray(1.0 - np.searchsorted(np.sort(sample), lowest) / len(sample))


def toy_band(with_signal: FloatArray, without: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Expected CLs from toys of both hypotheses: quantiles of the CLs of the background toys, as in pyhf.

    They are not CLs at quantiles of the test statistic: with nuisances profiled to data CLs does not always fall with
    it, and in spectra of few events many toys share a value.

    Parameters
    ----------
    with_signal, without : ndarray of shape (toys,)
        Test statistic, large for what looks like background.

    Returns
    -------
    p, q, cls : ndarray of shape (5,)
        Quantiles (-2, -1, 0, 1, 2 standard deviations) of the p-values with signal and without, and of their ratio.

    Examples
    --------
    >>> toy_band(np.array([0.0, 0.0, 0.0, 2.0]), np.array([0.0, 2.0, 2.0, 2.0]))[2].round(2)
    array([0.33, 0.33, 0.33, 0.68, 0.95])
    """
    p, q = _tail_fractions(with_signal, without), _tail_fractions(without, without)
    # CLb is not 0: each background toy is one of its own sample
    rows = np.quantile([p, q, p / q], special.ndtr(BAND), axis=1).T
    return rows[0], rows[1], rows[2]


class Hypotests:
    """CLs of many signal strengths on one spectrum and on its background-only Asimov spectrum.

    Parameters
    ----------
    model : SignalModel
    counts : ndarray of shape (bins,)

    Raises
    ------
    FitError
        If the likelihood has no maximum.
    """

    def __init__(self, model: SignalModel, counts: FloatArray):
        self.model, self.counts = model, counts
        null = model.profile(counts, 0.0)
        best = model.maximum(counts)
        if not (null.converged[0] and best.converged[0]):
            msg = (
                "profile likelihood did not converge at the best fit: expected a spectrum that the background describes"
            )
            raise FitError(msg)
        self.strength, self.minimum = float(best.strength[0]), float(best.twice_nll[0])
        self.centre = null.nuisance[0]
        self.asimov = model.expected(np.zeros(1), null.nuisance)[0][0]

    def background(self, strength: float) -> float:
        """Events that a test for this signal strength rests on, see `background_under`."""
        return background_under(self.asimov, strength * self.model.signal)

    def __call__(self, strength: FloatArray) -> FloatArray:
        """CLs of shape (6, strengths): five expected, then observed."""
        observed = self.model.profile(self.counts, strength)
        asimov = self.model.profile(self.asimov, strength, self.centre)
        q = np.where(strength > self.strength, np.maximum(observed.twice_nll - self.minimum, 0.0), 0.0)
        root_a = np.sqrt(np.maximum(asimov.twice_nll, 0.0))
        band = special.ndtr(BAND[:, None] - root_a) / special.ndtr(BAND)[:, None]
        cls = np.concatenate([band, asymptotic_cls(q, root_a**2)[None]])
        cls[:5, ~asimov.converged] = np.nan
        cls[5, ~(observed.converged & asimov.converged)] = np.nan
        return np.asarray(cls)

    def scale(self) -> float:
        """A signal strength of the size of the limit: statistical error, but at least the strength of one event."""
        information = (self.model.signal**2 / np.maximum(self.asimov, 1e-9)).sum()
        return float(max(1.0 / np.sqrt(information), 1.0 / self.model.signal.sum(), 1e-300))

    def solve(self, alpha: float) -> FloatArray:
        """Strengths at which each of the six CLs is alpha, shape (6,); NaN where none was found."""
        low, high = 0.05 * self.scale(), 40.0 * (self.scale() + self.strength)
        brackets = np.full((6, 2), np.nan)
        for _ in range(BRACKETS):
            grid = np.geomspace(low, high, GRID)
            cls = self(grid)
            for row in range(6):
                brackets[row] = _bracket(grid, cls[row], alpha)
            if np.isfinite(brackets).all():
                break
            low, high = low / 20.0, high * 20.0
        return np.array(
            [self._refine(row, float(brackets[row, 0]), float(brackets[row, 1]), alpha) for row in range(6)]
        )

    def _refine(self, row: int, low: float, high: float, alpha: float) -> float:
        for _ in range(2):
            if not np.isfinite(low):
                return float("nan")
            grid = np.linspace(low, high, 7)
            cls = self(grid)[row]
            low, high = _bracket(grid, cls, alpha)
        log_cls = np.log(np.interp([low, high], grid, cls))
        return float(np.interp(-np.log(alpha), -log_cls, [low, high]))


def _bracket(grid: FloatArray, cls: FloatArray, alpha: float) -> tuple[float, float]:
    """Neighbours on the grid around the last crossing of alpha; bad points are skipped."""
    good = np.isfinite(cls)
    x, y = grid[good], cls[good]
    above = np.flatnonzero(y > alpha)
    if not len(above) or above[-1] + 1 >= len(x):
        return float("nan"), float("nan")
    return float(x[above[-1]]), float(x[above[-1] + 1])
