"""Pseudo-experiments of a fitted background, each through the fit and the whole scan.

They show what the textbook distributions do not: how often the fit fails, how the goodness-of-fit statistics are
distributed for this spectrum, whether the fit is biased, and how large the largest excess of a scan is without a signal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.stats.engine.batched import fit_batch
from resonaut.stats.excesses.toys import PreparedScan
from resonaut.stats.fits.fit import FitResult, fit_background, require_counts, require_fit
from resonaut.stats.functions import DEFAULT_SQRTS
from resonaut.stats.goodness import kolmogorov_smirnov, pearson_chi2
from resonaut.stats.records import brief, plain, restore
from resonaut.stats.spectrum import Spectrum
from resonaut.stats.toy_tools import poisson_toys, require_toys, toy_p_value
from resonaut.stats.windows import Window

__all__ = ("ToyStudy", "draw_toys", "toy_study")

FloatArray = npt.NDArray[np.float64]

CHUNK = 1000  # toys fitted and scanned at a time; each has a random stream of its own
SMALLEST_PULL = 0.1  # events: below, the error of an expectation is not Gaussian
_ARRAYS = (
    "toy_deviance", "toy_chi2", "toy_ks", "edges", "expected", "pull_mean", "pull_width", "toy_significance",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ToyStudy:
    """What pseudo-experiments of the background show; failed fits are counted and left out of the arrays.

    Attributes
    ----------
    function : str
        Background function of the fit and of the toys.
    sqrts : float
        GeV.
    toys, failed : int
        Toys whose fit converged, and toys whose fit failed.
    seed : int
    deviance, chi2, ks : float
        Of the data.
    deviance_p, chi2_p, ks_p : float
        Fraction of toys at least as far from their fit as the data, ``(k + 1) / (n + 1)``.
    toy_deviance, toy_chi2, toy_ks : ndarray of shape (toys,)
    edges : ndarray of shape (bins + 1,)
        GeV.
    expected : ndarray of shape (bins,)
        The fit that the toys are drawn from.
    pull_mean, pull_width : ndarray of shape (bins,)
        Of (fitted - true expectation) / error in every bin; NaN where hardly any events are expected.
    low, high : float
        Signal region with the largest excess in the data (GeV); NaN without a scan.
    significance, local_p : float
        Largest local significance of the data, and its p-value; NaN without a scan or where its fits failed.
    global_p, global_p_error : float
        Fraction of toys with a larger one, ``(k + 1) / (n + 1)``, and its binomial error; NaN without a scan, and where
        data or toys have no significance.
    toy_significance : ndarray of shape (toys,)
        Largest local significance of each toy, NaN where no window could be fitted; empty without a scan.
    failed_windows : int
        Windows of toys without a p-value, out of toys times windows. A toy that misses some has the largest of the others,
        so that many of them make the global p-value too small.
    """

    function: str
    sqrts: float
    toys: int
    failed: int
    seed: int
    deviance: float
    chi2: float
    ks: float
    deviance_p: float
    chi2_p: float
    ks_p: float
    toy_deviance: FloatArray
    toy_chi2: FloatArray
    toy_ks: FloatArray
    edges: FloatArray
    expected: FloatArray
    pull_mean: FloatArray
    pull_width: FloatArray
    low: float
    high: float
    significance: float
    local_p: float
    global_p: float
    global_p_error: float
    toy_significance: FloatArray
    failed_windows: int = 0

    __repr__ = brief

    @property
    def global_significance(self) -> float:
        """Standard deviations of `global_p`, negative above one half."""
        return float(-special.ndtri(self.global_p))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return plain(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ToyStudy:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        return restore(cls, content, arrays=dict.fromkeys(_ARRAYS, np.float64))


def draw_toys(fit: FitResult, toys: int, *, seed: int = 0) -> Iterator[FloatArray]:
    """Poisson toys of a fitted expectation, in chunks of shape (up to 1000, bins).

    Parameters
    ----------
    fit : FitResult
        Of counts, not of weights.
    toys : int
        At least 1.
    seed : int
        The same seed gives the same toys, whatever their number: fewer are the first of more.

    Raises
    ------
    ConfigError
        If no toy is asked for.
    InputError
        If the fit is one of weights: its expectation is no number of events.
    FitError
        If the fit has failed.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.stats import draw_toys, fit_background, log_edges
    >>> fit = fit_background((np.arange(60.0, 0.0, -5.0), log_edges(2000.0, 4000.0, 12)), function="dijet3")
    >>> [len(chunk) for chunk in draw_toys(fit, 2500)]
    [1000, 1000, 500]
    """
    require_toys(toys)
    require_counts(require_fit(fit))
    for number, first in enumerate(range(0, toys, CHUNK)):
        size = min(CHUNK, toys - first)
        yield poisson_toys(fit.expected, CHUNK, [seed, number])[:size]


def toy_study(
    spectrum: Spectrum,
    windows: Sequence[Window] = (),
    *,
    function: str = "dijet4",
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
    toys: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ToyStudy:
    """Fit a spectrum, draw toys from the fit, and take each through the fit and the scan that the data go through.

    Parameters
    ----------
    spectrum : Spectrum
        Unweighted counts.
    windows : sequence of Window
        Signal regions of the scan; none for no scan.
    function : str
        Name of a background function, or "auto": chosen on the data, then kept for the toys.
    sqrts : float
        GeV.
    fit_range : (low, high), optional
        GeV.
    toys : int
    seed : int
    progress : callable, optional
        Called with (done, total) toys.

    Raises
    ------
    InputError, ConfigError
        If the input cannot be used.
    FitError
        If the fit of the data fails. Failed fits of toys are counted.

    Examples
    --------
    >>> from resonaut.stats import read_spectrum, toy_study
    >>> study = toy_study(read_spectrum("tests/stats/data/cms_137ifb_wide_dijet_mjj.csv"), toys=200)
    >>> study.toys, 0.3 < study.deviance_p < 1.0
    (200, True)
    """
    fit = require_fit(fit_background(spectrum, function=function, sqrts=sqrts, fit_range=fit_range))
    chi2 = pearson_chi2(fit.counts[fit.mask], fit.expected[fit.mask], len(fit.parameters)).chi2
    scan = PreparedScan.of(fit, windows)
    parts = []
    done = 0
    for data in draw_toys(fit, toys, seed=seed):
        parts.append(_Chunk.of(data, fit, scan))
        done += len(data)
        if progress is not None:
            progress(done, toys)
    many = _Chunk.joined(parts)
    best, low, high = scan.best(fit.counts)
    n = len(many.deviance)
    p = toy_p_value(many.significance, best)
    mean, width = many.pulls()
    return ToyStudy(
        function=fit.function,
        sqrts=fit.sqrts,
        toys=n,
        failed=toys - n,
        seed=seed,
        deviance=fit.deviance,
        chi2=chi2,
        ks=fit.ks,
        deviance_p=toy_p_value(many.deviance, fit.deviance).p,
        chi2_p=toy_p_value(many.chi2, chi2).p,
        ks_p=toy_p_value(many.ks, fit.ks).p,
        toy_deviance=many.deviance,
        toy_chi2=many.chi2,
        toy_ks=many.ks,
        edges=fit.edges,
        expected=fit.expected,
        pull_mean=mean,
        pull_width=width,
        low=low,
        high=high,
        significance=best,
        local_p=float(special.ndtr(-best)),
        global_p=p.p,
        global_p_error=p.error,
        toy_significance=many.significance,
        failed_windows=many.failed_windows,
    )


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Statistics of the toys whose fit converged; sums for the pulls."""

    deviance: FloatArray
    chi2: FloatArray
    ks: FloatArray
    significance: FloatArray
    failed_windows: int
    pull_sums: FloatArray

    @classmethod
    def of(cls, data: FloatArray, fit: FitResult, scan: PreparedScan) -> _Chunk:
        refit = fit_batch(data, scan.design, fit.mask)
        good = np.flatnonzero(refit.ok)
        seen, wanted = data[good][:, fit.mask], refit.expected[good][:, fit.mask]
        pairs = list(zip(seen, wanted, strict=True))
        error = refit.expected_error()[good]
        usable = (error > 0) & (fit.expected > SMALLEST_PULL)
        pulls = np.where(usable, (refit.expected[good] - fit.expected) / np.where(usable, error, 1.0), 0.0)
        largest, failed = scan.largest(data[good])
        return cls(
            deviance=np.asarray(refit.deviance[good]),
            chi2=np.array([pearson_chi2(n, mu, len(fit.parameters)).chi2 for n, mu in pairs]),
            ks=np.array([kolmogorov_smirnov(n, mu).distance for n, mu in pairs]),
            significance=largest if scan.windows else np.empty(0),
            failed_windows=int(failed.sum()),
            pull_sums=np.stack([usable.sum(axis=0), pulls.sum(axis=0), (pulls**2).sum(axis=0)]),
        )

    @classmethod
    def joined(cls, parts: Sequence[_Chunk]) -> _Chunk:
        """All chunks as one."""

        def column(name: str) -> FloatArray:
            return np.concatenate([getattr(part, name) for part in parts])

        sums = np.sum([part.pull_sums for part in parts], axis=0)
        failed = sum(part.failed_windows for part in parts)
        return cls(column("deviance"), column("chi2"), column("ks"), column("significance"), failed, sums)

    def pulls(self) -> tuple[FloatArray, FloatArray]:
        """Mean and width of the pulls of every bin."""
        n, first, second = self.pull_sums
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = first / n
            width = np.sqrt(np.maximum(second / n - mean**2, 0.0))
        return mean, width
