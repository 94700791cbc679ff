"""Windows that slide over a spectrum, and the background stitched from their fits, for many spectra at once.

Each bin takes its expectation from the fit of its own window. All spectra of a batch go through a window together, so that
pseudo-experiments of the whole procedure, with the choice of the windows, cost little more than one spectrum does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.errors import ConfigError, InputError
from resonaut.stats.engine.batched import BatchFit, fit_batch
from resonaut.stats.engine.design import Design, pooled_importance
from resonaut.stats.functions import background_function
from resonaut.stats.goodness import MIN_EXPECTED

__all__ = ("StitchedBatch", "Stitching", "default_half_widths", "merged_chi2")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

EDGES = ("shift", "clip")
CHOICES = ("widest", "best")
CHUNK = 2000  # spectra at a time: bounds the memory of a window's derivatives
BINS_PER_PARAMETER = 2  # a window with fewer bins follows fluctuations


def default_half_widths(bins: int, parameters: int) -> tuple[int, ...]:
    """Windows of a half, 40, 30 and 20 % of the bins, in bins on either side, as far as they hold enough bins.

    Examples
    --------
    >>> default_half_widths(91, 4)
    (22, 18, 13, 9)
    """
    least = BINS_PER_PARAMETER * parameters
    wanted = {max(int(fraction * bins) // 2, least // 2) for fraction in (0.5, 0.4, 0.3, 0.2)}
    return tuple(sorted((min(half, bins) for half in wanted), reverse=True))


def merged_chi2(
    counts: FloatArray, expected: FloatArray, parameters: int, reference: FloatArray | None = None
) -> tuple[FloatArray, int]:
    """Pearson's chi2 of N spectra with one grouping of bins, of at least 5 events expected on average.

    Parameters
    ----------
    counts, expected : ndarray of shape (N, bins)
    parameters : int
    reference : ndarray of shape (bins,), optional
        Expectation by which bins are grouped; by default the mean of `expected`, which ties the spectra to each other.

    Returns
    -------
    p_value : ndarray of shape (N,)
        NaN where no degree of freedom is left.
    groups : int
        Number of groups.
    """
    mean = np.nanmean(expected, axis=0) if reference is None else reference
    starts, total = [0], 0.0
    for index, value in enumerate(mean):
        if total >= MIN_EXPECTED:
            starts.append(index)
            total = 0.0
        total += value
    if total < MIN_EXPECTED and len(starts) > 1:
        starts.pop()
    n, mu = np.add.reduceat(counts, starts, axis=1), np.maximum(np.add.reduceat(expected, starts, axis=1), 1e-300)
    ndf = len(starts) - parameters
    chi2 = ((n - mu) ** 2 / mu).sum(axis=1)
    p = special.chdtrc(ndf, chi2) if ndf > 0 else np.full(len(chi2), np.nan)
    return np.asarray(p), len(starts)


@dataclass(frozen=True, eq=False)
class StitchedBatch:
    """Stitched backgrounds of N spectra.

    Attributes
    ----------
    expected : ndarray of shape (N, bins)
        NaN where no window's fit converged.
    half_width : int ndarray of shape (N, bins)
        Bins on either side of the chosen window; -1 where none converged.
    p_value : ndarray of shape (N, bins)
        Of chi2 in the chosen window.
    deviance : ndarray of shape (N,)
        Over the used bins; NaN for a spectrum with a failed bin.
    influence : ndarray of shape (N, bins, bins) or None
        Change of ``expected[n, i]`` for one event more in bin j, where asked for.
    """

    expected: FloatArray
    half_width: IntArray
    p_value: FloatArray
    deviance: FloatArray
    influence: FloatArray | None = None

    @property
    def ok(self) -> BoolArray:
        """Spectra with an expectation in every bin."""
        return np.asarray(np.isfinite(self.expected).all(axis=1))

    @property
    def n_failed(self) -> int:
        """Spectra without."""
        return int((~self.ok).sum())


@dataclass(frozen=True, eq=False)
class Stitching:
    """How the windows are laid and chosen.

    Attributes
    ----------
    edges : ndarray of shape (bins + 1,)
        GeV.
    used : bool ndarray of shape (bins,)
        Bins that are fitted; the others are blinded.
    function : str
    sqrts : float
        GeV.
    half_widths : tuple of int
        Sizes to choose from, in bins on either side, widest first.
    choose : str
        "widest": the widest window with a p-value of at least `min_p_value`; "best": the largest p-value.
    min_p_value : float
        For "widest"; where no window reaches it, the largest p-value is taken.
    edge : str
        "shift": windows keep their size at the ends of the spectrum, and the bin leaves their centre; "clip": they are
        cut at the end.
    """

    edges: FloatArray
    used: BoolArray
    function: str
    sqrts: float
    half_widths: tuple[int, ...]
    choose: str
    min_p_value: float
    edge: str

    def __post_init__(self) -> None:
        _check(self)

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return len(self.used)

    def bounds(self, index: int, half: int) -> tuple[int, int]:
        """First bin of a bin's window, and the one after its last."""
        low, high = index - half, index + half + 1
        if self.edge == "shift":
            low = max(0, min(low, self.n_bins - (2 * half + 1)))
            high = low + 2 * half + 1
        return max(low, 0), min(high, self.n_bins)

    def windows(self, half: int) -> dict[tuple[int, int], list[int]]:
        """The different windows of one size, with the bins that each of them serves."""
        found: dict[tuple[int, int], list[int]] = {}
        for index in range(self.n_bins):
            found.setdefault(self.bounds(index, half), []).append(index)
        return found

    def design(self, counts: FloatArray, low: int, high: int) -> Design:
        """Basis of a window, orthonormal for the counts in it, shape (N, high - low)."""
        importance = pooled_importance(counts, self.used[low:high])
        return Design.build(self.function, self.edges[low : high + 1], sqrts=self.sqrts, importance=importance)

    def apply(
        self, counts: npt.ArrayLike, *, influence: bool = False, reference: FloatArray | None = None
    ) -> StitchedBatch:
        """Stitched background of every spectrum.

        Parameters
        ----------
        counts : array_like of shape (N, bins)
        influence : bool
            Also the derivatives, (N, bins, bins) numbers: for few spectra.
        reference : ndarray of shape (bins,), optional
            Expectation that groups the bins for chi2: that of the data's fit, for toys. Without it the mean of the batch
            does, and the windows chosen for a toy depend, a little, on the others.
        """
        data = np.atleast_2d(np.asarray(counts, dtype=np.float64))
        if data.shape[1] != self.n_bins:
            msg = f"sliding windows got spectra of {data.shape[1]} bins, expected {self.n_bins}"
            raise InputError(msg)
        parts = [_Work(self, data[i : i + CHUNK], influence, reference).run() for i in range(0, len(data), CHUNK)]
        return StitchedBatch(
            np.concatenate([part.expected for part in parts]),
            np.concatenate([part.half_width for part in parts]),
            np.concatenate([part.p_value for part in parts]),
            np.concatenate([part.deviance for part in parts]),
            np.concatenate([part.influence for part in parts if part.influence is not None]) if influence else None,
        )


def _check(plan: Stitching) -> None:
    """Errors of the options, before any fit."""
    parameters = len(background_function(plan.function).names)
    if plan.edge not in EDGES or plan.choose not in CHOICES:
        msg = (
            f"sliding windows got edge={plan.edge!r}, choose={plan.choose!r}, expected one of {EDGES} and of {CHOICES}"
        )
        raise ConfigError(msg)
    if not 0 <= plan.min_p_value < 1:
        msg = f"sliding windows got min_p_value {plan.min_p_value}, expected 0 <= min_p_value < 1"
        raise ConfigError(msg)
    sizes = plan.half_widths
    if not sizes or list(sizes) != sorted(set(sizes), reverse=True) or sizes[-1] < 1:
        msg = f"sliding windows got half_widths {sizes}, expected numbers of bins >= 1, widest first"
        raise ConfigError(msg)
    for (low, high), bins in plan.windows(sizes[-1]).items():
        held = int(plan.used[low:high].sum())
        if held <= parameters:
            msg = (
                f"the narrowest window of bin {bins[0]} got {held} bins to fit, expected more than the {parameters} "
                f"parameters of {plan.function}: widen half_widths, or use edge='shift'"
            )
            raise InputError(msg)


class _Work:
    """One chunk of spectra on its way through all windows."""

    def __init__(self, plan: Stitching, counts: FloatArray, influence: bool, reference: FloatArray | None) -> None:
        shape = (len(counts), plan.n_bins)
        self.plan, self.counts, self.reference = plan, counts, reference
        self.expected = np.full(shape, np.nan)
        self.half_width = np.full(shape, -1, dtype=np.int64)
        self.p_value = np.full(shape, -1.0)
        self.settled = np.zeros(shape, dtype=bool)
        self.influence = np.zeros((*shape, plan.n_bins)) if influence else None

    def run(self) -> StitchedBatch:
        for half in self.plan.half_widths:
            for (low, high), bins in self.plan.windows(half).items():
                rows = np.flatnonzero(~self.settled[:, bins].all(axis=1))
                if len(rows):
                    self._fit(low, high, half, bins, rows)
            if self.settled.all():
                break
        used = self.plan.used
        deviance = 2.0 * special.kl_div(self.counts[:, used], self.expected[:, used]).sum(axis=1)
        p = np.where(self.half_width >= 0, self.p_value, np.nan)
        return StitchedBatch(self.expected, self.half_width, p, deviance, self.influence)

    def _fit(self, low: int, high: int, half: int, bins: Sequence[int], rows: IntArray) -> None:
        """Fit one window to some of the spectra and keep it where it is the best one so far."""
        plan, part = self.plan, self.counts[rows, low:high]
        used = plan.used[low:high]
        fit = fit_batch(part, plan.design(part, low, high), used)
        shared = None if self.reference is None else self.reference[low:high][used]
        p, _ = merged_chi2(part[:, used], fit.expected[:, used], fit.design.n_parameters, shared)
        p = np.where(fit.ok, np.nan_to_num(p, nan=0.0), -1.0)  # without degrees of freedom: the last resort
        for index in bins:
            better = ~self.settled[rows, index] & (p > self.p_value[rows, index])
            chosen = rows[better]
            self.expected[chosen, index] = fit.expected[better, index - low]
            self.half_width[chosen, index], self.p_value[chosen, index] = half, p[better]
            if plan.choose == "widest":
                self.settled[chosen[p[better] >= plan.min_p_value], index] = True
            if self.influence is not None and len(chosen):
                self.influence[chosen, index] = 0.0
                self.influence[chosen, index, low:high] = _influence(fit, index - low, used)[better]


def _influence(fit: BatchFit, index: int, used: BoolArray) -> FloatArray:
    """Derivative of one bin's expectation by each count of its window, shape (N, window bins).

    At the maximum the parameters move by the covariance times the score: d theta = C sum_i J_i (n_i - mu_i) / mu_i.
    """
    weight = np.where(used, fit.jacobian.transpose(2, 0, 1) / np.maximum(fit.expected, 1e-300), 0.0)
    row = np.einsum("np,npq->nq", fit.jacobian[:, index], fit.covariance)
    return np.asarray(np.einsum("nq,qnb->nb", row, weight))
