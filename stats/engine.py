r"""Compiled Fisher scoring: one Poisson fit of a log-linear function in a few microseconds.

Everything of one spectrum stays in the processor's cache. Steps are checked against the likelihood (and halved) only where
they could fail, which is where they promise a gain of more than one unit or where gains stop shrinking; near the minimum
Fisher scoring converges so fast that the last gain predicts the next.

`resonaut.stats.batched` is the door to this module and says what is computed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from resonaut.compiled import kernel, summing_kernel
from resonaut.stats.vectors import exponentials, logarithms

__all__ = ("AT_LIMIT", "CONVERGED", "FAILED", "Tables", "Work", "fit_rows")

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
StatusArray = npt.NDArray[np.int8]

CONVERGED, AT_LIMIT, FAILED = 0, 1, 2
NO_SIGNAL, FIXED, FREE, POSITIVE = 0, 1, 2, 3
MAX_ITERATIONS = 60
MAX_HALVINGS = 14
MAX_LOG_STEP = 4.0  # largest rise of ln f in one step: keeps exp() and the first steps tame
TOLERANCE = 1e-10  # expected further gain in 2 ln L
TRUSTED = 1.0  # steps that promise less are taken without looking
SLOW = 0.02  # a fit that still gains this little in 2 ln L per step, at the last one, runs towards infinity
FLAT_INFORMATION = 1e-4  # per event: below it, some shape is unconstrained by the data
ROUNDING = 2e-15  # of a deviance, per event
TINY = 1e-300


class Tables(NamedTuple):
    """What all spectra of a batch share.

    Attributes
    ----------
    basis : ndarray of shape (nodes, parameters, bins)
    weights : ndarray of shape (nodes, bins)
    cell : int64 ndarray of shape (bins,)
        Cell of each bin.
    centre : ndarray of shape (parameters, cells)
        Mean basis functions of a cell.
    log_width : ndarray of shape (cells,)
    """

    basis: FloatArray
    weights: FloatArray
    cell: IntArray
    centre: FloatArray
    log_width: FloatArray


class Work(NamedTuple):
    """Scratch arrays of one thread."""

    value: FloatArray  # (nodes, bins)
    flat: FloatArray  # the same memory, one-dimensional
    shifted: FloatArray
    shifted_bits: IntArray
    mu: FloatArray  # (cells,)
    ratio: FloatArray
    ratio_bits: IntArray
    residual: FloatArray
    gain_weight: FloatArray
    jacobian: FloatArray  # (parameters + 1, cells)
    binned: FloatArray  # (parameters + 1, bins)
    information: FloatArray  # (parameters + 1, parameters + 1)
    factor: FloatArray
    score: FloatArray
    step: FloatArray
    x: FloatArray
    trial: FloatArray

    @classmethod
    def make(cls, nodes: int, parameters: int, bins: int, cells: int) -> Work:
        """Arrays for these sizes."""
        value, shifted, ratio = np.empty((nodes, bins)), np.empty(nodes * bins), np.empty(cells)
        p = parameters + 1
        return cls(
            value=value,
            flat=value.reshape(-1),
            shifted=shifted,
            shifted_bits=shifted.view(np.int64),
            mu=np.empty(cells),
            ratio=ratio,
            ratio_bits=ratio.view(np.int64),
            residual=np.empty(cells),
            gain_weight=np.empty(cells),
            jacobian=np.empty((p, cells)),
            binned=np.empty((p, bins)),
            information=np.zeros((p, p)),
            factor=np.empty((p, p)),
            score=np.empty(p),
            step=np.empty(p),
            x=np.zeros(p),
            trial=np.zeros(p),
        )


@summing_kernel
def _expect(x: FloatArray, signal: FloatArray, offset: FloatArray, tables: Tables, work: Work) -> None:
    """Densities at the nodes and expected events in the cells for parameters x, the last of which is the strength."""
    nodes, parameters, bins = tables.basis.shape
    for q in range(nodes):
        row = work.value[q]
        for b in range(bins):
            row[b] = 0.0
        for k in range(parameters):
            coefficient, basis = x[k], tables.basis[q, k]
            for b in range(bins):
                row[b] += coefficient * basis[b]
    exponentials(work.flat, work.shifted, work.shifted_bits)
    total = work.binned[0]
    for b in range(bins):
        total[b] = 0.0
    for q in range(nodes):
        row, weight = work.value[q], tables.weights[q]
        for b in range(bins):
            row[b] *= weight[b]
            total[b] += row[b]
    _collect(total, tables.cell, work.mu)
    strength = x[parameters]
    for c in range(work.mu.size):
        work.mu[c] += offset[c] + strength * signal[c]


@kernel
def _collect(binned: FloatArray, cell: IntArray, cells: FloatArray) -> None:
    """Sum bins into cells."""
    if cells.size == binned.size:
        for b in range(binned.size):
            cells[b] = binned[b]
        return
    for c in range(cells.size):
        cells[c] = 0.0
    for b in range(binned.size):
        cells[cell[b]] += binned[b]


@summing_kernel
def _differentiate(signal: FloatArray, tables: Tables, work: Work) -> None:
    """Derivatives of the expected events at the point of the last `_expect`; the strength's is the signal."""
    nodes, parameters, bins = tables.basis.shape
    for k in range(parameters):
        row = work.binned[k]
        for b in range(bins):
            row[b] = 0.0
        for q in range(nodes):
            value, basis = work.value[q], tables.basis[q, k]
            for b in range(bins):
                row[b] += value[b] * basis[b]
        _collect(row, tables.cell, work.jacobian[k])
    for c in range(signal.size):
        work.jacobian[parameters, c] = signal[c]


@summing_kernel
def _deviance(counts: FloatArray, used: FloatArray, work: Work) -> float:
    """Baker-Cousins deviance of the used cells; infinite where a cell with events expects none."""
    cells = counts.size
    possible = True
    for c in range(cells):
        possible &= (used[c] == 0.0) | (work.mu[c] > 0.0) | ((counts[c] == 0.0) & (work.mu[c] == 0.0))
        work.ratio[c] = max(counts[c], TINY) / max(work.mu[c], TINY) if used[c] * counts[c] > 0.0 else 1.0
    if not possible:
        return np.inf
    logarithms(work.ratio, work.ratio_bits, work.residual)
    total = 0.0
    for c in range(cells):
        total += used[c] * (work.mu[c] - counts[c] + counts[c] * work.ratio[c])
    return 2.0 * total


@summing_kernel
def _score(counts: FloatArray, used: FloatArray, p: int, work: Work) -> None:
    """Gradient of ln L and expected information for the first p parameters."""
    cells = counts.size
    for c in range(cells):
        weight = used[c] / max(work.mu[c], TINY)
        work.residual[c] = (counts[c] - work.mu[c]) * weight
        work.gain_weight[c] = weight
    for k in range(p):
        row = work.jacobian[k]
        total = 0.0
        for c in range(cells):
            total += work.residual[c] * row[c]
        work.score[k] = total
    for k in range(p):
        for c in range(cells):
            work.ratio[c] = work.gain_weight[c] * work.jacobian[k, c]
        for m in range(k + 1):
            row, total = work.jacobian[m], 0.0
            for c in range(cells):
                total += work.ratio[c] * row[c]
            work.information[k, m] = total
            work.information[m, k] = total


@kernel
def _factorise(matrix: FloatArray, shift: float, p: int, factor: FloatArray) -> bool:
    """Cholesky factor of matrix + shift; False if that is not positive definite."""
    for i in range(p):
        for j in range(i + 1):
            total = matrix[i, j] + (shift if i == j else 0.0)
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            if i > j:
                factor[i, j] = total / factor[j, j]
            elif total > 0.0:
                factor[i, i] = np.sqrt(total)
            else:
                return False
    return True


@kernel
def _substitute(factor: FloatArray, vector: FloatArray, p: int, solution: FloatArray) -> None:
    """Solve with a Cholesky factor."""
    for i in range(p):
        total = vector[i]
        for k in range(i):
            total -= factor[i, k] * solution[k]
        solution[i] = total / factor[i, i]
    for i in range(p - 1, -1, -1):
        total = solution[i]
        for k in range(i + 1, p):
            total -= factor[k, i] * solution[k]
        solution[i] = total / factor[i, i]


@kernel
def _solve(work: Work, p: int) -> bool:
    """Step of Fisher scoring; a ridge far below the information of one event keeps singular systems finite."""
    trace = 1e-30
    for k in range(p):
        trace += work.information[k, k]
    ridge = 1e-11 * trace
    for _ in range(8):
        if _factorise(work.information, ridge, p, work.factor):
            _substitute(work.factor, work.score, p, work.step)
            return True
        ridge *= 100.0
    return False


@summing_kernel
def _largest_change(tables: Tables, work: Work) -> float:
    """Largest change of ln f in any cell by the step, up or down; the changes stay in work.ratio."""
    parameters, cells = tables.centre.shape
    for c in range(cells):
        work.ratio[c] = 0.0
    for k in range(parameters):
        row, step = tables.centre[k], work.step[k]
        for c in range(cells):
            work.ratio[c] += step * row[c]
    largest = 0.0
    for c in range(cells):
        largest = max(largest, abs(work.ratio[c]))
    return largest


@kernel
def _shorten(total: float, p: int, work: Work) -> None:
    """Keep a step from raising a cell by more than e^4, unless it stays below ten times all events.

    Cells far below one event may move freely: they hold no information and would only slow the fit.
    """
    worst, ceiling = 1.0, np.log(10.0 * (total + 1.0))
    for c in range(work.ratio.size):
        if work.ratio[c] > MAX_LOG_STEP:
            worst = max(worst, work.ratio[c] / max(MAX_LOG_STEP, ceiling - np.log(max(work.mu[c], TINY))))
    for k in range(p):
        work.step[k] /= worst


@summing_kernel
def _start(counts: FloatArray, used: FloatArray, tables: Tables, work: Work) -> None:
    """Weighted least squares of the logarithm of the counts (+ 1/2), the usual first step of a Poisson GLM."""
    parameters, cells = tables.centre.shape
    for c in range(cells):
        work.ratio[c] = counts[c] + 0.5
        work.gain_weight[c] = used[c] * work.ratio[c]
    logarithms(work.ratio, work.ratio_bits, work.residual)
    for c in range(cells):
        work.residual[c] = (work.ratio[c] - tables.log_width[c]) * work.gain_weight[c]
    for k in range(parameters):
        row, total = tables.centre[k], 0.0
        for c in range(cells):
            total += work.residual[c] * row[c]
        work.score[k] = total
        for m in range(k + 1):
            other, total = tables.centre[m], 0.0
            for c in range(cells):
                total += work.gain_weight[c] * row[c] * other[c]
            work.information[k, m] = total
            work.information[m, k] = total
    _solve(work, parameters)
    for k in range(parameters):
        work.x[k] = work.step[k]


@kernel
def _search(
    counts: FloatArray,
    used: FloatArray,
    signal: FloatArray,
    offset: FloatArray,
    p: int,
    deviance: float,
    slack: float,
    positive: bool,
    tables: Tables,
    work: Work,
) -> float:
    """Take the largest of step, step/2, ... that does not lower the likelihood; NaN if there is none."""
    size = 1.0
    last = tables.basis.shape[1]
    for _ in range(MAX_HALVINGS):
        for k in range(p):
            work.trial[k] = work.x[k] + size * work.step[k]
        if positive and p > last:
            work.trial[last] = max(work.trial[last], 0.1 * work.x[last])
        _expect(work.trial, signal, offset, tables, work)
        value = _deviance(counts, used, work)
        if value <= deviance + slack:
            for k in range(p):
                work.x[k] = work.trial[k]
            return value
        size *= 0.5
    return np.nan


@kernel
def _maximise(
    counts: FloatArray,
    used: FloatArray,
    signal: FloatArray,
    offset: FloatArray,
    p: int,
    positive: bool,
    tables: Tables,
    work: Work,
) -> tuple[int, int, float]:
    """Fisher scoring from work.x on; status, iterations and deviance. The last expectation is that of the result."""
    total = (counts * used).sum()
    work.trial[:] = work.x
    rounding = ROUNDING * (total + 1.0)
    tolerance = max(TOLERANCE, rounding)
    before, careful, status, known = np.inf, False, FAILED, False
    deviance = np.inf
    for iteration in range(MAX_ITERATIONS):
        if not known:
            _expect(work.x, signal, offset, tables, work)
        _differentiate(signal, tables, work)
        _score(counts, used, p, work)
        if not _solve(work, p):
            return FAILED, iteration, np.nan
        gain = 0.0
        for k in range(p):
            gain += work.step[k] * work.score[k]
        if not np.isfinite(gain):
            return FAILED, iteration, np.nan
        careful |= gain >= before
        change = _largest_change(tables, work)
        if gain < TRUSTED and change < TRUSTED and not careful and p == tables.basis.shape[1]:
            for k in range(p):
                work.x[k] += work.step[k]
            known = False
        else:
            if not known:
                deviance = _deviance(counts, used, work)
                _largest_change(tables, work)
            _shorten(total, p, work)
            moved = _search(counts, used, signal, offset, p, deviance, 10.0 * rounding, positive, tables, work)
            known = True
            if np.isnan(moved):
                _expect(work.x, signal, offset, tables, work)
                done = gain < 1e-6 + 100.0 * rounding
                return CONVERGED if done else FAILED, iteration + 1, deviance
            deviance = moved
        status = AT_LIMIT if gain < SLOW else FAILED
        if gain < tolerance or (gain < 1e-4 and gain * gain < tolerance * min(before, 1.0) and not careful):
            status = CONVERGED
        if status == CONVERGED:
            if not known:
                _expect(work.x, signal, offset, tables, work)
                deviance = _deviance(counts, used, work)
            return status, iteration + 1, deviance
        before = gain
    _expect(work.x, signal, offset, tables, work)
    return status, MAX_ITERATIONS, _deviance(counts, used, work)


@kernel
def _is_flat(work: Work, total: float, p: int) -> bool:
    """Whether some direction has less information than `FLAT_INFORMATION` for each event."""
    return not _factorise(work.information, -FLAT_INFORMATION * max(total, 1e-12), p, work.factor)


@kernel
def _rises(counts: FloatArray, used: FloatArray, signal: FloatArray, work: Work) -> bool:
    """Whether a little signal raises the likelihood at the last expectation."""
    slope = 0.0
    for c in range(counts.size):
        slope += used[c] * (counts[c] / max(work.mu[c], TINY) - 1.0) * signal[c]
    return slope > 0.0


@kernel
def _signal_unit(signal: FloatArray, used: FloatArray, work: Work) -> float:
    """Strength of about one standard deviation: the unit in which the fit counts signal."""
    information = 0.0
    for c in range(signal.size):
        information += used[c] * signal[c] ** 2 / max(work.mu[c], 1e-6)
    return 1.0 / np.sqrt(information) if information > 0.0 else 0.0


@kernel
def fit_rows(
    counts: FloatArray,
    used: FloatArray,
    signals: FloatArray,
    strengths: FloatArray,
    mode: int,
    starts: FloatArray,
    tables: Tables,
    work: Work,
    theta: FloatArray,
    information: FloatArray,
    numbers: FloatArray,
    status: StatusArray,
    iterations: IntArray,
) -> None:
    """Fit row after row.

    Parameters
    ----------
    counts : ndarray of shape (N, cells)
    used : ndarray of shape (N or 1, cells)
        Weight of each cell in the likelihood, 0 for masked ones.
    signals : ndarray of shape (N or 1, cells)
    strengths : ndarray of shape (N,)
        Given strengths in mode `FIXED`.
    mode : int
        `NO_SIGNAL`, `FIXED`, `FREE` or `POSITIVE`.
    starts : ndarray of shape (N, parameters) or (0, parameters)
        Starting values, if given.
    tables, work
    theta, information, numbers, status, iterations
        Results: (N, parameters), (N, p, p), (N, 3: deviance, deviance without signal, strength), (N,), (N,).
    """
    parameters, size = tables.basis.shape[1], information.shape[1]
    nothing = np.zeros(counts.shape[1])
    offset, scaled = np.zeros(counts.shape[1]), np.zeros(counts.shape[1])
    for n in range(len(counts)):
        signal, weight = signals[min(n, len(signals) - 1)], used[min(n, len(used) - 1)]
        work.x[parameters] = 0.0
        work.trial[parameters] = 0.0
        if mode == FIXED:
            for c in range(signal.size):
                offset[c] = strengths[n] * signal[c]
        if len(starts) > 0:
            for k in range(parameters):
                work.x[k] = starts[n, k]
        elif mode == FIXED:
            for c in range(signal.size):
                scaled[c] = max(counts[n, c] - offset[c], 0.0)
            _start(scaled, weight, tables, work)
        else:
            _start(counts[n], weight, tables, work)
        state, steps, deviance = _maximise(counts[n], weight, nothing, offset, parameters, False, tables, work)
        numbers[n, 1] = deviance
        unit = 1.0
        total = (counts[n] * weight).sum()
        if mode >= FREE and state != FAILED:
            unit = _signal_unit(signal, weight, work)
            for c in range(signal.size):
                scaled[c] = unit * signal[c]
            if unit > 0.0 and (mode == FREE or _rises(counts[n], weight, signal, work)):
                state, more, deviance = _maximise(
                    counts[n], weight, scaled, nothing, parameters + 1, mode == POSITIVE, tables, work
                )
                steps += more
        _differentiate(scaled, tables, work)
        _score(counts[n], weight, size, work)
        if state == CONVERGED and _is_flat(work, total, parameters):
            state = AT_LIMIT
        for k in range(parameters):
            theta[n, k] = work.x[k]
        for k in range(size):
            for m in range(size):
                information[n, k, m] = work.information[k, m]
        if size > parameters and unit > 0.0:
            for k in range(size):
                information[n, k, parameters] /= unit
                information[n, parameters, k] /= unit
        numbers[n, 0] = deviance
        numbers[n, 2] = unit * work.x[parameters] if mode >= FREE else strengths[n]
        status[n] = state
        iterations[n] = steps
