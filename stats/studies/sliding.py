r"""Background of a whole spectrum from fits in sliding windows (SWiFt).

One function with few parameters does not follow a spectrum of millions of events over its whole range, but over a part
of it. Each bin gets a window of its own, and its expectation is the value there of the fit of that window (ATLAS,
arXiv:1703.09127 and arXiv:1910.08447). The stitched background is smooth because neighbouring windows share nearly all
of their bins.

To first order each expectation is a linear function of the counts, ``d expected_i = sum_j influence_ij d counts_j``,
which gives the errors with all correlations between windows, :math:`A\,\mathrm{diag}(\mu)\,A^T`, and the number of
parameters that the procedure is worth, the trace of A.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.stats.functions import DEFAULT_SQRTS, background_function
from resonaut.stats.goodness import pearson_chi2, poisson_significance
from resonaut.stats.records import brief, plain, restore
from resonaut.stats.regions import fit_region
from resonaut.stats.spectrum import Spectrum, poisson_counts
from resonaut.stats.studies.stitching import Stitching, default_half_widths
from resonaut.stats.windows import Window

__all__ = ("SlidingFit", "sliding_fit")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SlidingFit:
    """A spectrum with its stitched background.

    Attributes
    ----------
    function : str
        Fitted in every window.
    sqrts : float
        GeV.
    edges : ndarray of shape (bins + 1,)
        GeV; of the fit range only.
    counts : ndarray of shape (bins,)
    mask : bool ndarray of shape (bins,)
        Fitted bins, the others are blinded.
    expected : ndarray of shape (bins,)
    influence : ndarray of shape (bins, bins)
        Change of the expectation in a bin for one event more in another.
    half_width : int ndarray of shape (bins,)
        Bins on either side of each bin's window.
    p_value : ndarray of shape (bins,)
        Of chi2 in each bin's window.
    half_widths, choose, min_p_value, edge
        Options, see `sliding_fit`.
    deviance : float
        Baker-Cousins likelihood chi2 over the fitted bins.
    chi2, groups : float, int
        Pearson's statistic after merging bins until 5 events are expected, and the number of merged bins.
    status : str
        "converged" or "failed: reason".
    """

    function: str
    sqrts: float
    edges: FloatArray
    counts: FloatArray
    mask: BoolArray
    expected: FloatArray
    influence: FloatArray
    half_width: IntArray
    p_value: FloatArray
    half_widths: tuple[int, ...]
    choose: str
    min_p_value: float
    edge: str
    deviance: float
    chi2: float
    groups: int
    status: str

    __repr__ = brief

    @property
    def ok(self) -> bool:
        """Whether every bin has an expectation."""
        return not self.status.startswith("failed")

    @property
    def covariance(self) -> FloatArray:
        """Of the expected counts, shape (bins, bins): statistical, windows taken as they are."""
        return np.asarray((self.influence * np.where(self.mask, self.expected, 0.0)) @ self.influence.T)

    @property
    def expected_error(self) -> FloatArray:
        """One standard deviation of each expected count, shape (bins,)."""
        return np.asarray(np.sqrt(np.maximum(np.diag(self.covariance), 0.0)))

    @property
    def effective_parameters(self) -> float:
        """Trace of the influence: the number of parameters for a global fit, more for narrower windows."""
        return float(np.trace(self.influence))

    @property
    def ndf(self) -> float:
        """Merged bins less effective parameters; not a whole number."""
        return self.groups - self.effective_parameters

    @property
    def chi2_p_value(self) -> float:
        """P-value of `chi2` for `ndf`; `sliding_toys` needs no such approximation."""
        return float(special.chdtrc(self.ndf, self.chi2)) if self.ndf > 0 else float("nan")

    def pulls(self) -> FloatArray:
        """Signed Poisson significance of each bin for the expectation, shape (bins,)."""
        return poisson_significance(self.counts, self.expected)

    def total(self, bins: npt.ArrayLike) -> tuple[float, float]:
        """Events expected in some bins together and the error of the sum, correlations included.

        Parameters
        ----------
        bins : bool array_like of shape (bins,)
        """
        chosen = np.asarray(bins, dtype=bool)
        return float(self.expected[chosen].sum()), float(np.sqrt(self.covariance[np.ix_(chosen, chosen)].sum()))

    def stitching(self) -> Stitching:
        """The procedure, to be applied to other spectra of the same binning."""
        return Stitching(
            self.edges,
            self.mask,
            self.function,
            self.sqrts,
            self.half_widths,
            self.choose,
            self.min_p_value,
            self.edge,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return plain(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SlidingFit:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        arrays = dict.fromkeys(("edges", "counts", "expected", "influence", "p_value"), float)
        return restore(cls, content, arrays={**arrays, "mask": bool, "half_width": int}, tuples=("half_widths",))


def sliding_fit(
    spectrum: Spectrum,
    window: Window | None = None,
    *,
    function: str = "dijet4",
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
    half_widths: Sequence[int] | None = None,
    choose: str = "widest",
    min_p_value: float = 0.05,
    edge: str = "shift",
) -> SlidingFit:
    """Background stitched from fits in windows that slide over the spectrum.

    Parameters
    ----------
    spectrum : Spectrum
        Unweighted counts.
    window : Window, optional
        Its signal region is left out of every fit.
    function : str
        Log-linear background function, fitted in every window.
    sqrts : float
        GeV.
    fit_range : (low, high), optional
        GeV; bins outside are dropped. The whole spectrum by default.
    half_widths : sequence of int, optional
        Sizes to choose from, in bins on either side of the central one. By default windows of 50, 40, 30 and 20 % of the
        bins.
    choose : {"widest", "best"}
        Of the sizes, the widest with a chi2 p-value of at least `min_p_value` (and if there is none the one with the
        largest), or the one with the largest p-value.
    min_p_value : float
    edge : {"shift", "clip"}
        At the ends of the spectrum, windows of the same size that are not central to the bin, or windows cut at the end.

    Returns
    -------
    SlidingFit

    Raises
    ------
    InputError, ConfigError
        If the spectrum or the options cannot be used, or a window holds no more bins than parameters.

    Notes
    -----
    Choosing by p-value looks at the data: `sliding_toys` repeats the choice in every toy. The goodness of fit then
    depends weakly on the data of one bin, but a resonance broader than the narrowest window could be absorbed.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.stats import fit_background, log_edges, sliding_fit
    >>> edges = log_edges(1100.0, 8000.0, 60)
    >>> counts = 1e6 * np.exp(-0.2 * np.arange(60)).round(6)
    >>> fit = sliding_fit((counts, edges), half_widths=[12])
    >>> fit.status, 6 < fit.effective_parameters < 8
    ('converged', True)
    """
    counts, edges = poisson_counts(spectrum)
    region = fit_region(edges, window, fit_range)
    inside = np.flatnonzero(region.in_range)
    first, last = int(inside[0]), int(inside[-1]) + 1
    counts, edges, used = counts[first:last], edges[first : last + 1], region.fitted[first:last]
    parameters = len(background_function(function).names)
    sizes = default_half_widths(len(counts), parameters) if half_widths is None else tuple(map(int, half_widths))
    plan = Stitching(edges, used, function, float(sqrts), sizes, choose, float(min_p_value), edge)
    batch = plan.apply(counts, influence=True)
    expected = batch.expected[0]
    missing = int(np.isnan(expected).sum())
    chi2 = pearson_chi2(counts[used], np.nan_to_num(expected[used]))
    return SlidingFit(
        function,
        float(sqrts),
        edges,
        counts,
        used,
        expected,
        np.zeros((len(counts), len(counts))) if batch.influence is None else batch.influence[0],
        batch.half_width[0],
        batch.p_value[0],
        sizes,
        choose,
        float(min_p_value),
        edge,
        float(batch.deviance[0]),
        chi2.chi2,
        chi2.bins,
        f"failed: no window of {missing} bins converged" if missing else "converged",
    )
