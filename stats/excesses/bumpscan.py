r"""The scan of BumpHunter as a compiled kernel: the interval with the smallest Poisson tail, for many spectra.

An exact tail costs a microsecond, an interval that need not be looked at a nanosecond. Once some interval of significance z
is known, another one can only win if :math:`2H > z^2` (H is half of its deviance, see `resonaut.stats.excesses.tails`), and
with :math:`d = n - b`

.. math:: 2H \le d^2 / b \;\; (d > 0), \qquad 2H \le (d^2 / b) (1 + |d| / b) \;\; (d < 0),

which takes no logarithm. These are inequalities, not approximations: the result is that of the exact tail of every interval.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from resonaut.compiled import kernel, summing_kernel
from resonaut.stats.excesses.tails import half_deviance, minus_log_tail, squared_significance

__all__ = ("all_intervals", "intervals", "most_significant")

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MARGIN = 1.0 - 1e-9  # far above the rounding of the significance


def intervals(first: int, stop: int, min_bins: int, max_bins: int, step: int = 1) -> IntArray:
    """First bin and end (one past the last bin) of all intervals inside [first, stop), narrow ones first.

    Returns
    -------
    ndarray of shape (intervals, 2)

    Examples
    --------
    >>> intervals(0, 4, 2, 3).tolist()
    [[0, 2], [1, 3], [2, 4], [0, 3], [1, 4]]
    """
    parts = []
    for width in range(min_bins, max_bins + 1):
        begin = np.arange(first, stop - width + 1, step, dtype=np.int64)
        parts.append(np.stack([begin, begin + width], axis=1))
    return np.concatenate(parts) if parts else np.zeros((0, 2), dtype=np.int64)


@kernel
def _sums_from_above(values: FloatArray) -> FloatArray:
    """Sum of each bin and all above it: for falling spectra, differences then keep their relative precision."""
    sums = np.zeros(len(values) + 1)
    for i in range(len(values) - 1, -1, -1):
        sums[i] = sums[i + 1] + values[i]
    return sums


@kernel
def _window(counts: FloatArray, expected: FloatArray, begin: int, end: int, sidebands: bool) -> tuple[float, float]:
    """Count and expectation of one interval from sums; with `sidebands` the expectation is scaled to the rest."""
    n, b = counts[begin] - counts[end], expected[begin] - expected[end]
    if sidebands:
        rest = expected[0] - b
        b = b * (counts[0] - n) / rest if rest > 0.0 else 0.0
    return n, b


@summing_kernel
def _bound(
    counts: FloatArray,
    expected: FloatArray,
    windows: IntArray,
    runs: IntArray,
    deficits: bool,
    sidebands: bool,
    bound: FloatArray,
) -> None:
    """Upper bound of 2H of every interval, negative on the other side; no branch, so that all lanes are used."""
    sign, skew = (-1.0, 1.0) if deficits else (1.0, 0.0)
    for r in range(len(runs) - 1):
        at = runs[r]
        begin, end, size = windows[at, 0], windows[at, 1], runs[r + 1] - at
        n_low, n_high = counts[begin : begin + size], counts[end : end + size]
        b_low, b_high = expected[begin : begin + size], expected[end : end + size]
        row = bound[at : at + size]
        for k in range(size):
            n, b = n_low[k] - n_high[k], b_low[k] - b_high[k]
            if sidebands:
                b *= (counts[0] - n) / (expected[0] - b)
            d = sign * (n - b)
            value = d * abs(d) / b
            row[k] = value * (1.0 + skew * d / b)


@kernel
def _best(
    counts: FloatArray,
    expected: FloatArray,
    windows: IntArray,
    runs: IntArray,
    deficits: bool,
    sidebands: bool,
    bound: FloatArray,
) -> tuple[float, int]:
    """-ln p and index of the most significant interval (the first one of equals); 0 and -1 where there is none."""
    _bound(counts, expected, windows, runs, deficits, sidebands, bound)
    start, found, best, threshold = 0, -1, 0.0, 0.0
    for k in range(len(windows)):  # the largest bound makes a good first candidate
        if bound[k] > bound[start] or not bound[start] < np.inf:
            start = k
    for j in range(-1, len(windows)):
        k = start if j < 0 else j
        if not bound[k] > threshold:
            continue
        n, b = _window(counts, expected, windows[k, 0], windows[k, 1], sidebands)
        if not b > 0.0 or 2.0 * half_deviance(n, b) <= threshold:
            continue
        value = minus_log_tail(n, b, deficits)
        if value > best or (value == best and k < found):
            best, found = value, k
            threshold = squared_significance(best) * MARGIN
    return best, found


@kernel
def _many(
    counts: FloatArray, expected: FloatArray, windows: IntArray, runs: IntArray, deficits: bool, sidebands: bool
) -> tuple[FloatArray, IntArray]:
    size, bound = len(counts), np.empty(len(windows))
    statistic, index = np.zeros(size), np.zeros(size, dtype=np.int64)
    for i in range(size):
        n_sum, b_sum = _sums_from_above(counts[i]), _sums_from_above(expected[i if len(expected) > 1 else 0])
        statistic[i], index[i] = _best(n_sum, b_sum, windows, runs, deficits, sidebands, bound)
    return statistic, index


@kernel
def _every(counts: FloatArray, expected: FloatArray, windows: IntArray, deficits: bool, sidebands: bool) -> FloatArray:
    n_sum, b_sum = _sums_from_above(counts), _sums_from_above(expected)
    values = np.zeros(len(windows))
    for k in range(len(windows)):
        n, b = _window(n_sum, b_sum, windows[k, 0], windows[k, 1], sidebands)
        values[k] = minus_log_tail(n, b, deficits)
    return values


def most_significant(
    counts: FloatArray, expected: FloatArray, windows: IntArray, *, deficits: bool = False, sidebands: bool = False
) -> tuple[FloatArray, IntArray]:
    """Statistic and index of the most significant interval of each spectrum.

    Parameters
    ----------
    counts : ndarray of shape (N, bins)
    expected : ndarray of shape (N, bins) or (1, bins)
    windows : ndarray of shape (intervals, 2)
        See `intervals`.
    deficits : bool
        Look for deficits in place of excesses.
    sidebands : bool
        Scale the expectation of each interval to the count outside of it.

    Returns
    -------
    statistic : ndarray of shape (N,)
        -ln of the smallest p-value; 0 where no interval has an excess.
    index : ndarray of shape (N,)
        Row of `windows`, or -1.
    """
    n, b = (np.ascontiguousarray(values, dtype=np.float64) for values in (counts, expected))
    follows = (np.diff(windows, axis=0) == 1).all(axis=1)
    runs = np.concatenate([[0], np.flatnonzero(~follows) + 1, [len(windows)]]).astype(np.int64)
    return _many(n, b, windows, runs, deficits, sidebands)


def all_intervals(
    counts: FloatArray, expected: FloatArray, windows: IntArray, *, deficits: bool = False, sidebands: bool = False
) -> FloatArray:
    """-ln p of every interval of one spectrum, shape (intervals,); the exact tail of each, without any short cut."""
    n, b = (np.ascontiguousarray(values, dtype=np.float64) for values in (counts, expected))
    return _every(n, b, windows, deficits, sidebands)
