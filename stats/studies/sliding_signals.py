"""Signals and bumps on a background from sliding windows.

`sliding_scan` fits each mass in the window of its own bin, signal and background together. `sliding_bump_hunter` looks for
any excess over the stitched background, with toys that go through the whole procedure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.errors import FitError, InputError
from resonaut.stats.engine.batched import fit_batch
from resonaut.stats.excesses.bump_result import BumpHunterResult
from resonaut.stats.excesses.bumphunter import bump_hunter
from resonaut.stats.excesses.bumpscan import most_significant
from resonaut.stats.excesses.mass_scan import signed_root
from resonaut.stats.records import brief, plain, restore
from resonaut.stats.studies.grid import Signals, signal_grid
from resonaut.stats.studies.sliding import SlidingFit
from resonaut.stats.studies.stitching import Stitching
from resonaut.stats.toy_tools import poisson_toys, random_stream, require_toys, toy_p_value

__all__ = ("SlidingScan", "sliding_bump_hunter", "sliding_scan")

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SlidingScan:
    """Signals in the windows of their masses.

    Attributes
    ----------
    mass : ndarray of shape (masses,)
        GeV.
    low, high : ndarray of shape (masses,)
        Ends of each window (GeV).
    strength, error : ndarray of shape (masses,)
        Fitted signal, positive or negative; NaN where the fit failed.
    significance, p_value : ndarray of shape (masses,)
        Square root of the gain in -2 ln L with the sign of the strength, and its one-sided p-value; NaN where a fit failed.
    maxima : ndarray of shape (toys,)
        Largest significance of each background-only toy, NaN where no mass could be fitted; empty without toys.
    global_p : float
        Fraction of toys with a larger maximum than the data, ``(k + 1) / (n + 1)``; NaN without toys, and where every fit
        of the data failed.
    failed : int
        Fits of toys that failed, out of toys times masses. A toy that misses some has the largest of the others.
    """

    mass: FloatArray
    low: FloatArray
    high: FloatArray
    strength: FloatArray
    error: FloatArray
    significance: FloatArray
    p_value: FloatArray
    maxima: FloatArray
    global_p: float
    failed: int = 0

    __repr__ = brief

    @property
    def best(self) -> int:
        """Index of the most significant mass.

        Raises
        ------
        FitError
            If every fit failed.
        """
        if np.isnan(self.significance).all():
            msg = f"sliding scan: the fits of all {len(self.mass)} masses failed; expected one that converged: widen the windows"
            raise FitError(msg)
        return int(np.nanargmax(self.significance))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return plain(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SlidingScan:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        numbers = {"global_p", "failed"}
        return restore(cls, content, arrays=dict.fromkeys(set(cls.__dataclass_fields__) - numbers, float))


def sliding_scan(
    fit: SlidingFit,
    signals: Signals,
    *,
    toys: int = 0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SlidingScan:
    """Fit a signal of each mass, and the background, in the window of the bin that holds the mass.

    Parameters
    ----------
    fit : SlidingFit
        Without a blinded window. Its windows are used as they were chosen, its expectation is the truth of the toys.
    signals : mapping of mass (GeV) to signal
        Templates over the bins of `fit`.
    toys : int
        Background-only toys for a global p-value, each fitted at every mass.
    seed : int
    progress : callable, optional
        Called as ``progress(done, masses)``.

    Raises
    ------
    InputError
        If a mass or a template lies outside the spectrum, or the fit has a blinded window.
    FitError
        If the fit has failed.

    Notes
    -----
    Windows were chosen by fits without signal: a strong resonance makes them narrower. Choose them on a spectrum
    without it, or give one size, if that matters. The toys are drawn from the stitched background, which is not exactly
    a member of the function in any window.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.stats import gaussian_template, log_edges, sliding_fit, sliding_scan
    >>> edges = log_edges(1000.0, 6000.0, 60)
    >>> signals = {m: gaussian_template(m, 0.04 * m, edges) for m in (1500.0, 2500.0, 3500.0)}
    >>> counts = (1e6 * np.exp(-0.15 * np.arange(60)) + 1500.0 * signals[2500.0]).round()
    >>> scan = sliding_scan(sliding_fit((counts, edges), function="dijet3", half_widths=[15]), signals)
    >>> float(scan.mass[scan.best]), bool(abs(scan.strength[scan.best] - 1500) < scan.error[scan.best])
    (2500.0, True)
    """
    _require(fit, toys)
    masses, shapes = signal_grid(signals, fit.edges)
    if masses[0] < fit.edges[0] or masses[-1] > fit.edges[-1]:
        msg = f"sliding scan got masses {masses[0]:.6g}..{masses[-1]:.6g} GeV, expected {fit.edges[0]:.6g}..{fit.edges[-1]:.6g} GeV"
        raise InputError(msg)
    data = fit.counts[None]
    if toys:
        data = np.concatenate([data, poisson_toys(fit.expected, toys, seed)])
    plan, bounds = fit.stitching(), np.empty((len(masses), 2), dtype=np.int64)
    found = np.full((3, len(masses)), np.nan)
    maxima, failed = np.full(toys, np.nan), 0
    for k, mass in enumerate(masses):
        index = min(int(np.searchsorted(fit.edges, mass, side="right")) - 1, len(fit.counts) - 1)
        bounds[k] = plan.bounds(index, int(fit.half_width[index]))
        strength, error, z = _fit(plan, data, shapes[k], *bounds[k])
        found[:, k] = strength[0], error[0], z[0]
        maxima = np.fmax(maxima, z[1:])
        failed += int(np.isnan(z[1:]).sum())
        if progress is not None:
            progress(k + 1, len(masses))
    peak = float(np.nanmax(found[2])) if np.isfinite(found[2]).any() else float("nan")
    ends = fit.edges[bounds]
    return SlidingScan(
        mass=masses,
        low=ends[:, 0],
        high=ends[:, 1],
        strength=found[0],
        error=found[1],
        significance=found[2],
        p_value=special.ndtr(-found[2]),
        maxima=maxima,
        global_p=toy_p_value(maxima, peak).p,
        failed=failed,
    )


def _require(fit: SlidingFit, toys: int) -> None:
    if not fit.ok or not fit.mask.all():
        msg = f"sliding fit {fit.status}, with {int((~fit.mask).sum())} blinded bins; expected a converged one of all bins"
        raise FitError(msg) if not fit.ok else InputError(msg)
    require_toys(toys, 0)


def _fit(
    plan: Stitching, data: FloatArray, shape: FloatArray, low: int, high: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Strength, error and signed significance of every spectrum in one window; NaN where a fit failed."""
    part, template = data[:, low:high], shape[low:high]
    fit = fit_batch(part, plan.design(part, low, high), signal=template)
    z = signed_root(fit)
    found = np.where(np.isnan(z), np.nan, np.stack([fit.strength, fit.strength_error, z]))
    return found[0], found[1], found[2]


CHUNK = 500  # toys at a time


def sliding_bump_hunter(
    fit: SlidingFit,
    *,
    min_bins: int = 2,
    max_bins: int | None = None,
    toys: int = 500,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> BumpHunterResult:
    """BumpHunter on a stitched background, which is fitted again in every toy with its windows chosen again.

    Parameters
    ----------
    fit : SlidingFit
        Without a blinded window; the truth of the toys.
    min_bins, max_bins : int
        Narrowest and widest interval, see `resonaut.stats.bump_hunter`.
    toys : int
        For the global p-value.
    seed : int
    progress : callable, optional
        Called as ``progress(done, toys)``.

    Raises
    ------
    InputError
        If the fit has a blinded window.
    FitError
        If the fit has failed. Failed toys are counted.
    """
    _require(fit, toys)
    found = bump_hunter((fit.counts, fit.edges), fit.expected, min_bins=min_bins, max_bins=max_bins, toys=0)
    rng, plan = random_stream(seed), fit.stitching()
    parts: list[FloatArray] = [np.zeros(0)]
    for done in range(0, toys, CHUNK):
        data = poisson_toys(fit.expected, min(CHUNK, toys - done), rng)
        batch = plan.apply(data, reference=fit.expected)
        good = batch.ok
        parts.append(most_significant(data[good], batch.expected[good], found.intervals)[0])
        if progress is not None:
            progress(done + len(data), toys)
    sample = np.concatenate(parts)
    p = toy_p_value(sample, found.statistic)
    return replace(
        found,
        global_p=p.p,
        global_p_error=p.error,
        toys=len(sample),
        failed=toys - len(sample),
        function=f"{fit.function}, sliding windows",
        refit=True,
        toy_statistics=sample,
    )
