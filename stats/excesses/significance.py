r"""Significance of an excess in a signal region, with the background uncertainty profiled.

The signal region is one counting cell; the background parameters are fitted to the sidebands and the cell together (no
signal) and to the sidebands alone (free signal, which absorbs the cell exactly):

.. math:: q_0 = D(\text{no signal}) - D(\text{free signal}), \qquad Z = \mathrm{sign}(n - b) \sqrt{q_0},

with D the deviance and b the prediction of the sidebands (Cowan, Cranmer, Gross, Vitells, arXiv:1007.1727, extended to
deficits: a deficit has p > 0.5). Both fits are those of `resonaut.stats.engine.batched`, so many spectra are done at once;
functions that are not log-linear are fitted one spectrum after another.

Where b is below `ON_OFF_BELOW` events the asymptotic distribution of q0 no longer holds, and the count is a small
integer. There the fit is reduced to the on/off problem that is equivalent to it, a sideband count and a ratio tau of
sideband to signal-region exposure, for which the exact conditional p-value is known (Z_Bi of Cousins, Linnemann,
Tucker, arXiv:physics/0702156; Gehrels 1986):

.. math:: \tau = b_0 / \sigma_0^2, \quad n_\mathrm{off} = \tau b, \quad
          P(\ge n) = I_{1/(1+\tau)}(n, n_\mathrm{off} + 1),

with b0 the signal-region expectation of the no-signal fit and sigma0 its uncertainty from the sidebands, evaluated there.
For a background that is only a normalisation this is the on/off problem itself. It equals the Poisson tail marginalised
over a gamma distribution of the background. Of the two definitions the less significant one is taken. A count whose two tails, P(>= n) and P(> n), enclose one half carries no
evidence and gets p = 0.5: no events where none are expected is no excess and no deficit. As every test of a small count,
it is conservative: background alone falls below a small p at most as often as it should.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.errors import InputError
from resonaut.stats.engine.batched import AT_LIMIT, FAILED, BatchFit, covariance_from, fit_batch
from resonaut.stats.engine.design import Design, pooled_importance
from resonaut.stats.excesses.single import fit_both
from resonaut.stats.fits.choice import choose_functions
from resonaut.stats.fits.fit import FitResult, fit_counts, status_text
from resonaut.stats.functions import DEFAULT_SQRTS, background_function
from resonaut.stats.records import brief
from resonaut.stats.regions import Region, fit_region
from resonaut.stats.spectrum import Spectrum, as_counts, poisson_counts
from resonaut.stats.windows import Window

__all__ = ("ExcessResult", "LocalPValues", "local_p_value", "local_p_values", "local_significances", "on_off_p_value")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

ON_OFF_BELOW = 25.0  # events: above, the half-count step of the conservative p-value is below 0.1 standard deviations


@dataclass(frozen=True, eq=False)
class LocalPValues:
    """Excess of one window in N spectra; every field has shape (N,).

    Attributes
    ----------
    observed, expected, expected_error : ndarray
        Events in the signal region, the sideband prediction and its standard deviation.
    local_p : ndarray
        One-sided p-value of an excess; above 0.5 for a deficit; NaN where a fit failed.
    local_significance : ndarray
        Signed significance, ``norm.isf(local_p)`` without its rounding.
    status : tuple of str
        Status of the sideband fits.
    function : tuple of str
        Background function of each spectrum.
    """

    observed: FloatArray
    expected: FloatArray
    expected_error: FloatArray
    local_p: FloatArray
    local_significance: FloatArray
    status: tuple[str, ...]
    function: tuple[str, ...]

    __repr__ = brief

    def __len__(self) -> int:
        return len(self.observed)

    @property
    def n_failed(self) -> int:
        """Spectra without a p-value."""
        return int(np.isnan(self.local_p).sum())


@dataclass(frozen=True, eq=False)
class ExcessResult:
    """Excess of one window in one spectrum.

    Attributes
    ----------
    window : Window
    observed, expected, expected_error : float
        Events in the signal region, the sideband prediction and its standard deviation.
    local_p : float
        One-sided p-value of an excess; above 0.5 for a deficit; NaN if a fit failed.
    local_significance : float
        Signed significance.
    fit : FitResult
        The sideband fit.
    """

    window: Window
    observed: float
    expected: float
    expected_error: float
    local_p: float
    local_significance: float
    fit: FitResult

    __repr__ = brief

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        content = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**content, "window": self.window.to_dict(), "fit": self.fit.to_dict()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ExcessResult:
        """Inverse of `to_dict`."""
        parts = {"window": Window.from_dict(content["window"]), "fit": FitResult.from_dict(content["fit"])}
        return cls(**{**content, **parts})


def on_off_p_value(n_on: npt.ArrayLike, n_off: npt.ArrayLike, tau: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """One-sided p-value and signed significance of a count with an auxiliary count of background.

    Parameters
    ----------
    n_on, n_off : array_like
        Counts in the signal region and in the background region; `n_off` may be fractional.
    tau : array_like
        Ratio of background-region to signal-region exposure.

    Returns
    -------
    p, significance : ndarray
        p is P(>= n_on) for an excess, P(> n_on) for a deficit, and 0.5 between.

    Raises
    ------
    InputError
        If a count is negative or not finite, or a ratio is not positive.

    Notes
    -----
    Conditional on the sum, `n_on` is binomial with probability 1 / (1 + tau); arXiv:physics/0702156, section 3.

    Examples
    --------
    >>> p, z = on_off_p_value(140, 100, 1.2)  # Table 1 of the paper: Z_Bi = 3.93
    >>> round(float(z), 2)
    3.93
    """
    on, off, ratio = (np.asarray(x, dtype=np.float64) for x in (n_on, n_off, tau))
    if not ((np.isfinite(on) & (on >= 0)).all() and (np.isfinite(off) & (off >= 0)).all()):
        msg = f"on_off_p_value got n_on = {on}, n_off = {off}, expected finite counts >= 0"
        raise InputError(msg)
    if not (np.isfinite(ratio) & (ratio > 0)).all():
        msg = f"on_off_p_value got tau = {ratio}, expected a finite ratio of exposures > 0"
        raise InputError(msg)
    return _on_off(on, off, ratio)


def _on_off(on: FloatArray, off: FloatArray, ratio: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The same for numbers of fits, where a ratio may be 0 (errors that no data constrain)."""
    rho = 1.0 / (1.0 + ratio)
    safe_on = np.maximum(on, 1e-300)
    at_least = np.where(on > 0, special.betainc(safe_on, off + 1.0, rho), 1.0)
    # the two-sided bracket of a deficit: P(<= n_on) with the background count taken as it is
    safe_off = np.maximum(off, 1e-12)
    more = np.where(off > 0, special.betainc(on + 1.0, safe_off, rho), 0.0)
    at_most = np.where(off > 0, special.betaincc(on + 1.0, safe_off, rho), 1.0)
    p = np.maximum(np.minimum(at_least, 0.5), np.where(at_least > 0.5, more, 0.0))
    excess = -special.ndtri(np.minimum(at_least, 0.5))
    deficit = special.ndtri(np.minimum(at_most, 0.5))
    return np.asarray(p), np.asarray(np.where(at_least < 0.5, excess, deficit) + 0.0)


def local_p_values(
    counts: npt.ArrayLike,
    edges: npt.ArrayLike,
    window: Window,
    *,
    function: str = "dijet4",
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
) -> LocalPValues:
    """Excess of one window in many spectra at once.

    Parameters
    ----------
    counts : array_like of shape (N, bins)
    edges : array_like of shape (bins + 1,)
        GeV.
    window : Window
        Bins that its signal region covers, even in part, are the counting cell.
    function : str
        Name of a background function, or "auto" (chosen for each spectrum on its sidebands). One that is not log-linear takes
        milliseconds for each spectrum.
    sqrts : float
        GeV.
    fit_range : (low, high), optional
        GeV.

    Returns
    -------
    LocalPValues
        Failed fits have NaN and a status, and do not disturb the others.

    Raises
    ------
    InputError
        If spectra, edges and window do not fit together.
    """
    data = np.atleast_2d(np.asarray(counts, dtype=np.float64))
    if data.ndim != 2 or not len(data):
        msg = f"local_p_values got counts of shape {data.shape}, expected (spectra, bins) with at least one spectrum"
        raise InputError(msg)
    bounds = as_counts((data[0], edges))[1]
    if not (np.isfinite(data) & (data >= 0)).all():
        msg = f"local_p_values got {int((~(data >= 0)).sum())} negative or non-finite counts, expected counts >= 0"
        raise InputError(msg)
    region = fit_region(bounds, window, fit_range)
    names = _functions(data, bounds, region, function, sqrts)
    observed = data[:, region.blinded].sum(axis=1)
    columns = np.full((4, len(data)), np.nan)
    status: list[str] = [""] * len(data)
    for name in dict.fromkeys(names):
        rows = np.flatnonzero(np.array(names) == name)
        if background_function(name).log_linear:
            importance = pooled_importance(data[rows], region.in_range)
            design = Design.build(name, bounds, sqrts=sqrts, importance=importance)
            columns[:, rows], texts = _excess(data[rows], design, region)
        else:
            columns[:, rows], texts = _excess_one_by_one(data[rows], bounds, region, name, sqrts)
        for row, text in zip(rows, texts, strict=True):
            status[row] = text
    expected, error, p, z = columns
    return LocalPValues(observed, expected, error, p, z, tuple(status), tuple(names))


def _functions(data: FloatArray, edges: FloatArray, region: Region, function: str, sqrts: float) -> list[str]:
    if function != "auto":
        return [function] * len(data)
    return [choice.function for choice in choose_functions(data, edges, region.fitted, sqrts=sqrts)]


def local_significances(counts: FloatArray, design: Design, region: Region) -> FloatArray:
    """Signed significance alone, for the toys of a scan: one design serves them all, errors of the fits are not made.

    Parameters
    ----------
    counts : ndarray of shape (N, bins)
    design : Design
        Of the region's range, the signal region included.
    region : Region
        Its blinded bins are the counting cell.

    Returns
    -------
    ndarray of shape (N,)
        NaN where a fit failed.
    """
    tests = _Tests.make(counts, design, region)
    return np.where(tests.usable, tests.z, np.nan)


class _Tests(NamedTuple):
    """Both fits of one window and what they say."""

    free: BatchFit
    expected: FloatArray
    p: FloatArray
    z: FloatArray
    usable: BoolArray

    @classmethod
    def make(cls, data: FloatArray, design: Design, region: Region) -> _Tests:
        observed = data[:, region.blinded].sum(axis=1)
        free = fit_batch(data, design, region.fitted)
        null = fit_batch(data, design, region.in_range, starts=region.starts())
        expected = free.expected_in(region.blinded)
        q0 = np.maximum(null.deviance - free.deviance, 0.0)
        p, z = _significance(observed, expected, q0, lambda rows: _exposure_ratio(null.take(rows), region))
        runaway = (free.status == AT_LIMIT) & (expected > 10.0 * (data[:, region.in_range].sum(axis=1) + 1.0))
        return cls(free, expected, p, z, free.ok & null.ok & ~runaway)


def _significance(
    observed: FloatArray, expected: FloatArray, q0: FloatArray, exposure: Callable[[IntArray], FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """p-value and signed significance; `exposure` gives tau of the rows that hold few events."""
    z = np.where(observed >= expected, 1.0, -1.0) * np.sqrt(q0)
    p = special.ndtr(-z)
    small = np.flatnonzero(expected < ON_OFF_BELOW)
    if len(small):
        tau = exposure(small)
        p_small, z_small = _on_off(observed[small], tau * expected[small], tau)
        # where propagation of errors to tau breaks down (a shape that hardly any event constrains), q0 is the safer one
        safer = np.abs(z_small) <= np.abs(z[small])
        p[small[safer]], z[small[safer]] = p_small[safer], z_small[safer]
    return np.asarray(p), np.asarray(z)


def _excess(data: FloatArray, design: Design, region: Region) -> tuple[FloatArray, list[str]]:
    """Rows: expected, its error, p-value, significance; and the status of the sideband fits."""
    tests = _Tests.make(data, design, region)
    rows = np.stack([tests.expected, tests.free.sum_in(region.blinded)[1], tests.p, tests.z])
    rows[:, ~tests.usable] = np.nan
    codes = np.where(tests.usable, tests.free.status, FAILED)
    return rows, [status_text(int(code)) for code in codes]


def _excess_one_by_one(
    data: FloatArray, edges: FloatArray, region: Region, function: str, sqrts: float
) -> tuple[FloatArray, list[str]]:
    """The same for a function that is not log-linear."""
    fits = [fit_both(row, edges, region, function=function, sqrts=sqrts) for row in data]
    expected, error, q0, exposure = (np.array(column) for column in zip(*(fit[:4] for fit in fits), strict=True))
    p, z = _significance(data[:, region.blinded].sum(axis=1), expected, q0, lambda rows: exposure[rows])
    return np.stack([expected, error, p, z]), [fit.status for fit in fits]


def _exposure_ratio(null: BatchFit, region: Region) -> FloatArray:
    """tau = b0 / sigma0^2: the sideband exposure, in units of the signal region's, that would know b0 as well."""
    jacobian, mu = null.jacobian[:, region.fitted], np.maximum(null.expected[:, region.fitted], 1e-300)
    information = np.matmul((jacobian / mu[..., None]).transpose(0, 2, 1), jacobian)
    covariance = covariance_from(information, mu.sum(axis=1), information.shape[1])
    gradient = null.jacobian[:, region.blinded].sum(axis=1)
    variance = np.einsum("np,npq,nq->n", gradient, covariance, gradient)
    b0 = null.expected[:, region.blinded].sum(axis=1)
    # without any event there is nothing to compare, and any ratio gives p = 0.5
    return np.where(variance > 0, b0 / np.maximum(variance, 1e-300), 1.0)


def local_p_value(
    spectrum: Spectrum,
    window: Window,
    *,
    function: str = "dijet4",
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
) -> ExcessResult:
    """Excess of one window in one spectrum, with the sideband fit.

    Parameters
    ----------
    spectrum : Spectrum
        Unweighted counts.
    window : Window
        Bins that its signal region covers, even in part, are the counting cell.
    function : str
        Name of a background function, or "auto" (chosen on the sidebands, see `choose_function`).
    sqrts : float
        GeV.
    fit_range : (low, high), optional
        GeV.

    Returns
    -------
    ExcessResult

    Raises
    ------
    InputError
        If the spectrum and the window do not fit together.
    ConfigError
        If the function is not known.
    """
    counts, edges = poisson_counts(spectrum)
    region = fit_region(edges, window, fit_range)
    fit = fit_counts(counts, edges, region, function=function, sqrts=sqrts)
    many = local_p_values(counts, edges, window, function=fit.function, sqrts=sqrts, fit_range=fit_range)
    return ExcessResult(
        window=window,
        observed=float(many.observed[0]),
        expected=float(many.expected[0]),
        expected_error=float(many.expected_error[0]),
        local_p=float(many.local_p[0]),
        local_significance=float(many.local_significance[0]),
        fit=fit,
    )
