r"""BumpHunter: the most significant interval of a spectrum, and how often background alone has one like it.

Every interval of neighbouring bins between a smallest and a largest width is a counting experiment. The test statistic
is that of the interval with the smallest Poisson tail,

.. math:: t = -\ln \min_{[i, j)} P(X \ge n_{ij} \,|\, b_{ij}),

and the global p-value is the fraction of background-only pseudo-experiments with at least the t of the data
(G. Choudalakis, arXiv:1101.0390). The background is either given or fitted; a fitted one is fitted again in
every pseudo-experiment, so that what the fit absorbs in the data it also absorbs there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from resonaut.compiled import in_threads
from resonaut.errors import ConfigError, FitError, InputError
from resonaut.stats.engine.batched import fit_batch
from resonaut.stats.engine.design import Design, pooled_importance
from resonaut.stats.excesses.bump_result import BumpHunterResult
from resonaut.stats.excesses.bumpscan import all_intervals, intervals, most_significant
from resonaut.stats.excesses.known_background import given_background
from resonaut.stats.fits.fit import FitResult, fit_background, require_fit
from resonaut.stats.functions import DEFAULT_SQRTS
from resonaut.stats.regions import fit_region
from resonaut.stats.spectrum import Spectrum, poisson_counts
from resonaut.stats.toy_tools import fraction, poisson_toys, random_stream, require_toys, tie_bound

__all__ = ("Model", "Scan", "bump_hunter", "draw", "prepare", "sizes", "toy_statistics")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

CHUNK = 250  # toys of one random stream: results do not depend on the number of threads
BLOCK = 4  # chunks between two looks at progress and precision


class Model(NamedTuple):
    """The background and how a toy gets its own."""

    expected: FloatArray
    function: str
    design: Design | None
    theta: FloatArray | None

    def refit(self, counts: FloatArray, mask: BoolArray | None = None) -> tuple[FloatArray, BoolArray]:
        """Expectation of each spectrum, and which fits can be used."""
        if self.design is None:
            return self.expected[None], np.ones(len(counts), dtype=bool)
        start = None if self.theta is None else np.repeat(self.theta, len(counts), axis=0)
        fit = fit_batch(counts, self.design, mask, theta=start, threads=1)
        return fit.expected, fit.ok


class Scan(NamedTuple):
    """One configuration of the scan."""

    windows: IntArray
    deficits: bool
    sidebands: bool

    def best(self, counts: FloatArray, expected: FloatArray) -> tuple[FloatArray, IntArray]:
        return most_significant(counts, expected, self.windows, deficits=self.deficits, sidebands=self.sidebands)


def bump_hunter(
    spectrum: Spectrum,
    background: npt.ArrayLike | Spectrum | FitResult | None = None,
    *,
    function: str = "dijet4",
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
    min_bins: int = 2,
    max_bins: int | None = None,
    step: int = 1,
    toys: int = 1000,
    refit: bool = True,
    precision: float = 0.0,
    exclude_below: float = 0.0,
    sidebands: bool = False,
    deficits: bool = False,
    seed: int = 0,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BumpHunterResult:
    """Find the most significant excess over a smooth background, and its global p-value.

    Parameters
    ----------
    spectrum : Spectrum
        Unweighted counts.
    background : array_like of shape (bins,), Spectrum or FitResult, optional
        Expected counts, taken as known; those of a histogram, of (counts, edges) or of a fit are over the same edges.
        By default `function` is fitted to the spectrum (whole, without blinding).
    function : str
        Background function, or "auto": chosen on the data, then kept for the toys.
    sqrts : float
        GeV.
    fit_range : (low, high), optional
        GeV; whole bins inside it are fitted and scanned. The whole spectrum by default.
    min_bins, max_bins : int
        Narrowest and widest interval. By default 2 and half of the bins from the first to the last with events.
    step : int
        Bins between neighbouring intervals of one width.
    toys : int
        Pseudo-experiments for the global p-value; 0 for the scan alone.
    refit : bool
        Fit the background again in every toy; without it, global p-values come out too small or too large as the fit
        of the data has absorbed a part of what is looked for. No effect on a background that is given.
    precision : float
        Stop as soon as the relative error of the global p-value is this small; 0: run all toys.
    exclude_below : float
        If the global p-value is below, leave the interval out of the background fit, fit and scan again (ATLAS does with
        0.01): a strong signal then does not pull its own background up. The toys go through the same.
    sidebands : bool
        Scale the background of each interval to the count outside of it, for one whose normalisation is not known.
    deficits : bool
        Look for deficits in place of excesses.
    seed : int
    threads : int, optional
        By default `OMP_NUM_THREADS`, else all cores. No influence on the result.
    progress : callable, optional
        Called with (done, total) toys.

    Returns
    -------
    BumpHunterResult

    Raises
    ------
    InputError
        If spectrum, background or range cannot be used.
    ConfigError
        If an option is out of its range.
    FitError
        If the background fit of the data fails, or the one without the interval that `exclude_below` leaves out. Failed
        fits of toys are counted.

    Examples
    --------
    >>> import numpy as np
    >>> counts, background = np.array([20, 9, 17, 6, 2, 1]), [21.0, 13.0, 8.0, 5.0, 3.0, 2.0]
    >>> found = bump_hunter((counts, np.arange(7.0)), background, min_bins=1, toys=500)
    >>> found.low, found.high, round(found.local_p, 4), found.global_p < 0.1
    (2.0, 3.0, 0.0037, True)
    """
    _check_options(min_bins, step, toys, precision, exclude_below)
    require_toys(toys, 0)
    random_stream(seed)
    if exclude_below > 0 and (background is not None or not refit):
        msg = f"bump_hunter got exclude_below={exclude_below}, expected a background that is fitted in data and toys (refit=True)"
        raise ConfigError(msg)
    counts, edges, model, windows = prepare(
        spectrum,
        background,
        function=function,
        sqrts=sqrts,
        fit_range=fit_range,
        min_bins=min_bins,
        max_bins=max_bins,
        step=step,
    )
    scan = Scan(windows, deficits, sidebands)
    statistic, index = scan.best(counts[None], model.expected[None])
    source = model if refit else Model(model.expected, model.function, None, None)
    sample, failed = toy_statistics(source, scan, float(statistic[0]), toys, precision, seed, threads, progress)
    exceeding = int((sample >= tie_bound(statistic[0])).sum())
    excluded, known = None, model.expected
    if fraction(exceeding, len(sample))[0] < exclude_below and index[0] >= 0:
        begin, end = scan.windows[index[0]]
        excluded = (float(edges[begin]), float(edges[end]))
        known, statistic, index = _second(model, scan, counts, index, excluded)
        drawn = len(sample) + failed
        exceeding = _exceeding(source, scan, sample, float(statistic[0]), exclude_below, drawn, seed, threads)
    return _result(
        edges, counts, known, scan, int(index[0]), sample, failed, exceeding, model.function, refit, excluded
    )


def prepare(
    spectrum: Spectrum,
    background: npt.ArrayLike | Spectrum | FitResult | None,
    *,
    function: str,
    sqrts: float,
    fit_range: tuple[float, float] | None,
    min_bins: int,
    max_bins: int | None,
    step: int,
) -> tuple[FloatArray, FloatArray, Model, IntArray]:
    """Counts and edges of the scanned range, its background and its intervals."""
    counts, edges = poisson_counts(spectrum)
    inside = np.flatnonzero(fit_region(edges, None, fit_range).in_range)
    given = None if background is None else given_background(background, edges)[inside]
    counts, edges = counts[inside], edges[inside[0] : inside[-1] + 2]
    model = _fitted(counts, edges, function, sqrts) if given is None else Model(given, "given", None, None)
    return counts, edges, model, _windows(counts, model.expected, min_bins, max_bins, step)


def _check_options(min_bins: int, step: int, toys: int, precision: float, exclude_below: float) -> None:
    wrong = []
    if min_bins < 1:
        wrong.append(f"min_bins={min_bins}, expected at least 1")
    if step < 1:
        wrong.append(f"step={step}, expected at least 1")
    if toys < 0:
        wrong.append(f"toys={toys}, expected at least 0")
    if not 0 <= precision < 1:
        wrong.append(f"precision={precision}, expected a relative error, 0 <= precision < 1")
    if not 0 <= exclude_below < 1:
        wrong.append(f"exclude_below={exclude_below}, expected a p-value, 0 <= exclude_below < 1")
    if wrong:
        msg = f"bump_hunter got {'; '.join(wrong)}"
        raise ConfigError(msg)


def _fitted(counts: FloatArray, edges: FloatArray, function: str, sqrts: float) -> Model:
    fit = require_fit(fit_background((counts, edges), function=function, sqrts=sqrts))
    everywhere = np.ones(len(counts), dtype=bool)
    importance = pooled_importance(fit.expected[None], everywhere)
    design = Design.build(fit.function, edges, sqrts=sqrts, importance=importance)
    theta = fit_batch(fit.expected, design).theta
    return Model(fit.expected, fit.function, design, theta if np.isfinite(theta).all() else None)


def _windows(counts: FloatArray, expected: FloatArray, min_bins: int, max_bins: int | None, step: int) -> IntArray:
    tested = np.flatnonzero(expected > 0)
    seen = np.flatnonzero(counts > 0)
    if not len(tested):
        msg = "bump_hunter got a spectrum in which nothing is expected, expected events to fit or a background above 0"
        raise InputError(msg)
    span = int(seen[-1] - seen[0]) + 1 if len(seen) else len(tested)
    widest = max(span // 2, min_bins) if max_bins is None else max_bins
    first, stop = int(tested[0]), int(tested[-1]) + 1
    if widest < min_bins or min_bins > stop - first:
        msg = f"bump_hunter got intervals of {min_bins} to {widest} bins, expected min_bins <= max_bins and at most {stop - first} bins"
        raise ConfigError(msg)
    return intervals(first, stop, min_bins, widest, step)


def draw(expected: FloatArray, seed: int, chunk: int, size: int) -> FloatArray:
    """Toys of one random stream, shape (size, bins)."""
    return poisson_toys(expected, size, [seed, chunk])


def sizes(toys: int) -> list[int]:
    """Toys of each random stream."""
    return [min(CHUNK, toys - done) for done in range(0, toys, CHUNK)]


def toy_statistics(
    model: Model,
    scan: Scan,
    observed: float,
    toys: int,
    precision: float,
    seed: int,
    threads: int | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[FloatArray, int]:
    """Statistic of each toy (NaN where its fit failed is left out) and the number of failures."""

    def one(item: tuple[int, int]) -> FloatArray:
        counts = draw(model.expected, seed, *item)
        expected, ok = model.refit(counts)
        return np.where(ok, scan.best(counts, expected)[0], np.nan)

    chunks = list(enumerate(sizes(toys)))
    parts: list[FloatArray] = []
    for block in range(0, len(chunks), BLOCK):
        parts += in_threads(one, chunks[block : block + BLOCK], threads)
        done = np.concatenate(parts)
        if progress is not None:
            progress(len(done), toys)
        above, usable = int((done >= tie_bound(observed)).sum()), int(np.isfinite(done).sum())
        if precision > 0 and above and np.sqrt((1.0 - above / usable) / above) <= precision:
            break
    sample = np.concatenate(parts) if parts else np.zeros(0)
    return sample[~np.isnan(sample)], int(np.isnan(sample).sum())


def _without(scan: Scan, index: IntArray, bins: int) -> BoolArray:
    """Bins outside of the interval of each spectrum, shape (N, bins)."""
    begin, end = scan.windows[index].T
    place = np.arange(bins)
    return np.asarray((place < begin[:, None]) | (place >= end[:, None]))


def _second(
    model: Model, scan: Scan, counts: FloatArray, index: IntArray, excluded: tuple[float, float]
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Background, statistic and interval of the data with the first interval left out of the fit."""
    expected, ok = model.refit(counts[None], _without(scan, index, len(counts)))
    if not ok[0]:
        msg = (
            f"background fit with {model.function} without {excluded[0]:g} to {excluded[1]:g} GeV failed; expected a "
            "converged fit: try fewer parameters, a narrower max_bins, or exclude_below=0"
        )
        raise FitError(msg)
    return expected[0], *scan.best(counts[None], expected)


def _exceeding(
    model: Model,
    scan: Scan,
    sample: FloatArray,
    observed: float,
    exclude_below: float,
    toys: int,
    seed: int,
    threads: int | None,
) -> int:
    """Toys that are below the threshold too and have the statistic of the data after their own second fit."""
    ordered = np.sort(sample)[::-1]
    passing = int(np.ceil(exclude_below * (len(sample) + 1))) - 1
    threshold = ordered[max(passing - 1, 0)]

    def one(item: tuple[int, int]) -> int:
        counts = draw(model.expected, seed, *item)
        expected, ok = model.refit(counts)
        statistic, index = scan.best(counts, expected)
        rows = np.flatnonzero(ok & (statistic >= threshold) & (index >= 0))
        if not len(rows):
            return 0
        again, good = model.refit(counts[rows], _without(scan, index[rows], counts.shape[1]))
        # a second fit that fails tells nothing against the toy: it counts
        return int(((scan.best(counts[rows], again)[0] >= tie_bound(observed)) | ~good).sum())

    return sum(in_threads(one, enumerate(sizes(toys)), threads))


def _result(
    edges: FloatArray,
    counts: FloatArray,
    expected: FloatArray,
    scan: Scan,
    index: int,
    sample: FloatArray,
    failed: int,
    exceeding: int,
    function: str,
    refit: bool,
    excluded: tuple[float, float] | None,
) -> BumpHunterResult:
    every = all_intervals(counts, expected, scan.windows, deficits=scan.deficits, sidebands=scan.sidebands)
    statistic = float(every[index]) if index >= 0 else 0.0
    begin, end = scan.windows[index] if index >= 0 else (0, 0)
    p, error = fraction(exceeding, len(sample))
    n, b = counts[begin:end].sum(), expected[begin:end].sum()
    if scan.sidebands and index >= 0:
        b *= (counts.sum() - n) / max(expected.sum() - b, 1e-300)
    return BumpHunterResult(
        low=float(edges[begin]) if index >= 0 else float("nan"),
        high=float(edges[end]) if index >= 0 else float("nan"),
        observed=float(n),
        expected=float(b),
        local_p=float(np.exp(-statistic)),
        statistic=statistic,
        global_p=p,
        global_p_error=error,
        toys=len(sample),
        failed=failed,
        function=function,
        refit=refit and function != "given",
        deficits=scan.deficits,
        excluded=excluded,
        edges=edges,
        counts=counts,
        background=expected,
        intervals=scan.windows,
        interval_statistics=every,
        toy_statistics=sample,
    )
