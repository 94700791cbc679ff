"""How strong a signal must be for BumpHunter to see it: pseudo-experiments with a signal of growing strength."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.compiled import in_threads
from resonaut.errors import ConfigError, InputError
from resonaut.stats.excesses.bumphunter import Model, Scan, prepare, sizes, toy_statistics
from resonaut.stats.functions import DEFAULT_SQRTS
from resonaut.stats.records import brief, plain, restore
from resonaut.stats.regions import fit_region
from resonaut.stats.shapes.signals import signal_counts
from resonaut.stats.spectrum import Spectrum, poisson_counts
from resonaut.stats.toy_tools import poisson_toys, random_stream, require_toys, tie_bound

__all__ = ("BumpPower", "bump_power")

FloatArray = npt.NDArray[np.float64]

QUANTILES = (0.16, 0.5, 0.84)


@dataclass(frozen=True, eq=False)
class BumpPower:
    """Global significance that BumpHunter finds, against the strength of a signal.

    Attributes
    ----------
    strengths : ndarray of shape (K,)
        Those that were tried, in units of the template; the last one is the first that reached the target.
    significance : ndarray of shape (K, 3)
        Quantiles 16 %, 50 % and 84 % of the global significance over the experiments.
    found : ndarray of shape (K,)
        Fraction of experiments whose interval holds the largest bin of the signal.
    needed : float
        Strength at which the median reaches the target, interpolated; NaN if it was not reached.
    target : float
    resolved : float
        Largest significance that this number of toys can tell.
    toys, experiments, failed : int
        Background toys; experiments for each strength; fits that failed in either.
    """

    strengths: FloatArray
    significance: FloatArray
    found: FloatArray
    needed: float
    target: float
    resolved: float
    toys: int
    experiments: int
    failed: int

    __repr__ = brief

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return plain(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> BumpPower:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        return restore(cls, content, arrays=dict.fromkeys(("strengths", "significance", "found"), np.float64))


def bump_power(
    spectrum: Spectrum,
    signal: Spectrum | npt.ArrayLike,
    strengths: npt.ArrayLike,
    background: npt.ArrayLike | None = None,
    *,
    target: float = 3.0,
    experiments: int = 200,
    toys: int = 2000,
    function: str = "dijet4",
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
    min_bins: int = 2,
    max_bins: int | None = None,
    step: int = 1,
    refit: bool = True,
    seed: int = 0,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BumpPower:
    """Inject a signal of growing strength until the median global significance reaches the target.

    Parameters
    ----------
    spectrum : Spectrum
        Gives the background where none is given, and the binning.
    signal : array_like of shape (bins,) or Spectrum
        Events for a strength of 1.
    strengths : array_like of shape (K,)
        Increasing.
    background : array_like of shape (bins,), optional
    target : float
        Median global significance at which to stop.
    experiments : int
        Pseudo-experiments with signal for each strength.
    toys : int
        Background-only pseudo-experiments; they limit the significance that can be told (2000: 3.3).
    function, sqrts, fit_range, min_bins, max_bins, step, refit, seed, threads
        As for `bump_hunter`. With `refit` the background is fitted to the experiments with signal too, so that what the fit
        absorbs of the signal is lost here as it is in data.
    progress : callable, optional
        Called with (done, total) strengths.

    Returns
    -------
    BumpPower

    Raises
    ------
    InputError
        If spectrum, signal or strengths cannot be used.
    ConfigError
        If there are too few toys for the target.

    Examples
    --------
    >>> import numpy as np
    >>> edges, background = np.linspace(1000.0, 2000.0, 21), 400.0 * np.exp(-0.2 * np.arange(20))
    >>> signal = np.zeros(20)
    >>> signal[9:11] = 0.5
    >>> power = bump_power((background, edges), signal, [0, 20, 40, 60, 80], background, target=2.0, toys=500)
    >>> bool(20 < power.needed < 50)
    True
    """
    require_toys(toys)
    require_toys(experiments)
    random_stream(seed)
    ramp = np.atleast_1d(np.asarray(strengths, dtype=np.float64))
    if ramp.ndim != 1 or not ramp.size or not (np.isfinite(ramp) & (ramp >= 0)).all() or (np.diff(ramp) <= 0).any():
        msg = f"bump_power got strengths {ramp.tolist()}, expected increasing ones >= 0"
        raise InputError(msg)
    resolved = float(-special.ndtri(1.0 / (toys + 1))) if toys > 1 and experiments > 0 else -np.inf
    if resolved < target:
        msg = (
            f"bump_power got {toys} toys and {experiments} experiments, expected at least 1 experiment and "
            f"{1.0 / special.ndtr(-target):.0f} toys for a target of {target:g} standard deviations"
        )
        raise ConfigError(msg)
    _, _, model, windows = prepare(
        spectrum,
        background,
        function=function,
        sqrts=sqrts,
        fit_range=fit_range,
        min_bins=min_bins,
        max_bins=max_bins,
        step=step,
    )
    scan = Scan(windows, deficits=False, sidebands=False)
    source = model if refit else Model(model.expected, model.function, None, None)
    template = _inside(signal, spectrum, fit_range)
    sample, failed = toy_statistics(source, scan, np.inf, toys, 0.0, seed, threads, None)
    sample = np.sort(sample)
    rows: list[FloatArray] = []
    found: list[float] = []
    for number, strength in enumerate(ramp):
        expected = model.expected + strength * template
        z, hit, bad = _experiments(
            source, scan, expected, int(template.argmax()), sample, experiments, [seed, number], threads
        )
        rows.append(z)
        found.append(hit)
        failed += bad
        if progress is not None:
            progress(number + 1, len(ramp))
        if z[1] >= target:
            break
    table = np.array(rows)
    return BumpPower(
        strengths=ramp[: len(table)],
        significance=table,
        found=np.array(found),
        needed=_needed(ramp[: len(table)], table[:, 1], target),
        target=float(target),
        resolved=resolved,
        toys=len(sample),
        experiments=experiments,
        failed=failed,
    )


def _inside(signal: Spectrum | npt.ArrayLike, spectrum: Spectrum, fit_range: tuple[float, float] | None) -> FloatArray:
    edges = poisson_counts(spectrum)[1]
    return np.asarray(signal_counts(signal, edges)[fit_region(edges, None, fit_range).in_range])


def _experiments(
    model: Model,
    scan: Scan,
    expected: FloatArray,
    peak: int,
    sample: FloatArray,
    experiments: int,
    seed: list[int],
    threads: int | None,
) -> tuple[FloatArray, float, int]:
    """Quantiles of the global significance, fraction of intervals that hold the peak, failed fits."""

    def one(item: tuple[int, int]) -> FloatArray:
        counts = poisson_toys(expected, item[1], [*seed, item[0], 1])
        background, ok = model.refit(counts)
        statistic, index = scan.best(counts, background)
        begin, end = scan.windows[np.maximum(index, 0)].T
        hit = (index >= 0) & (begin <= peak) & (peak < end)
        return np.stack([np.where(ok, statistic, np.nan), hit])

    statistic, hit = np.concatenate(in_threads(one, enumerate(sizes(experiments)), threads), axis=1)
    usable = ~np.isnan(statistic)
    if not usable.any():
        return np.full(3, np.nan), float("nan"), len(statistic)
    above = len(sample) - np.searchsorted(sample, tie_bound(statistic[usable]))
    z = -special.ndtri((above + 1.0) / (len(sample) + 1.0))
    return np.quantile(z, QUANTILES), float(hit[usable].mean()), int((~usable).sum())


def _needed(strengths: FloatArray, median: FloatArray, target: float) -> float:
    if not median[-1] >= target:
        return float("nan")
    if len(median) < 2 or not median[-2] < target:
        return float(strengths[-1])
    return float(np.interp(target, median[-2:], strengths[-2:]))
