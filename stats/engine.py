r"""Compiled Fisher scoring: one Poisson fit of a log-linear function in a few microseconds.

Everything of one spectrum stays in the processor's cache. Steps are checked against the likelihood (and halved) only where
they could fail, which is where they promise a gain of more than one unit or where gains stop shrinking; near the minimum
Fisher scoring converges so fast that the last gain predicts the next.

Arrays are passed one by one, not as a structure: handing a structure of arrays to a compiled function costs as much as
a whole step of the fit, and a class of ours in a signature would make numba's cache unreadable once the class changes. `resonaut.stats.batched` is the door to this module and says what is computed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from resonaut.compiled import kernel, summing_kernel
from resonaut.stats.vectors import exponentials, logarithms

__all__ = (
    "AT_LIMIT",
    "CONVERGED",
    "FAILED",
    "FIXED",
    "FLAT_INFORMATION",
    "FREE",
    "NO_SIGNAL",
    "POSITIVE",
    "Tables",
    "fit_rows",
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
StatusArray = npt.NDArray[np.int8]

CONVERGED, AT_LIMIT, FAILED = 0, 1, 2
NO_SIGNAL, FIXED, FREE, POSITIVE = 0, 1, 2, 3
MAX_ITERATIONS = 60
MAX_HALVINGS = 20
MAX_LOG_STEP = 4.0  # largest rise of ln f in one step: keeps exp() and the first steps tame
TOLERANCE = 1e-10  # gain in 2 ln L of the last step
FINEST = 1e-12  # the same where that step is not taken
TRUSTED = 0.5  # steps that change ln f by less are taken without looking, for as long as gains fall
FALLING = 1e-4  # of the gain before: the information of an earlier point is still good
SLOW = 0.02  # a fit that still gains this little in 2 ln L per step, at the last one, runs towards infinity
FLAT_INFORMATION = 1e-4  # per event: below it, some shape is unconstrained by the data
ROUNDING = 2e-15  # of a deviance, per event
TINY = 1e-300
MU, RATIO, RESIDUAL, WEIGHT = 0, 1, 2, 3  # rows of the scratch over cells
X, STEP, SCORE, PREVIOUS = 0, 1, 2, 3  # rows of the scratch over parameters


class Tables(NamedTuple):
    """What all spectra of a batch share.

    Attributes
    ----------
    basis : ndarray of shape (parameters + 1, nodes * bins)
        Basis functions at the first nodes of all bins, the second nodes, ... (four); the last row is the logarithm of the
        weights.
    cell : int64 ndarray of shape (bins,)
        Cell of each bin.
    centre : ndarray of shape (parameters + 1, cells)
        Mean basis functions of a cell; the last row is the logarithm of its width.
    """

    basis: FloatArray
    cell: IntArray
    centre: FloatArray


@summing_kernel
def _expect(
    x: FloatArray,
    signal: FloatArray,
    offset: FloatArray,
    basis: FloatArray,
    cell: IntArray,
    value: FloatArray,
    shifted: FloatArray,
    shifted_bits: IntArray,
    cells: FloatArray,
) -> None:
    """Events at the nodes (value) and in the cells (row MU) for parameters x, the last of which is the strength."""
    parameters, bins = len(basis) - 1, cell.size
    for j in range(value.size):
        value[j] = basis[parameters, j]
    for k in range(parameters):
        coefficient = x[k]
        for j in range(value.size):
            value[j] += coefficient * basis[k, j]
    exponentials(value, shifted, shifted_bits)
    strength, two, three = x[parameters], 2 * bins, 3 * bins
    for c in range(signal.size):
        cells[MU, c] = offset[c] + strength * signal[c]
    if signal.size == bins:
        for b in range(bins):
            cells[MU, b] += (value[b] + value[b + bins]) + (value[b + two] + value[b + three])
    else:
        for b in range(bins):
            cells[MU, cell[b]] += (value[b] + value[b + bins]) + (value[b + two] + value[b + three])


@summing_kernel
def _differentiate(
    signal: FloatArray, basis: FloatArray, cell: IntArray, value: FloatArray, product: FloatArray, jacobian: FloatArray
) -> None:
    """Derivatives of the expected events at the point of the last `_expect`; the strength's is the signal."""
    parameters, bins = len(basis) - 1, cell.size
    two, three = 2 * bins, 3 * bins
    for k in range(parameters):
        for b in range(bins):
            product[b] = (value[b] * basis[k, b] + value[b + bins] * basis[k, b + bins]) + (
                value[b + two] * basis[k, b + two] + value[b + three] * basis[k, b + three]
            )
        if signal.size == bins:
            for b in range(bins):
                jacobian[k, b] = product[b]
        else:
            for c in range(signal.size):
                jacobian[k, c] = 0.0
            for b in range(bins):
                jacobian[k, cell[b]] += product[b]
    for c in range(signal.size):
        jacobian[parameters, c] = signal[c]


@summing_kernel
def _gradient(
    counts: FloatArray,
    used: FloatArray,
    signal: FloatArray,
    p: int,
    basis: FloatArray,
    cell: IntArray,
    value: FloatArray,
    product: FloatArray,
    cells: FloatArray,
    vectors: FloatArray,
) -> None:
    """Gradient of ln L (row SCORE) without the derivatives of every cell."""
    parameters, bins = len(basis) - 1, cell.size
    for c in range(counts.size):
        cells[RESIDUAL, c] = (counts[c] / max(cells[MU, c], TINY) - 1.0) * used[c]
    two, three = 2 * bins, 3 * bins
    for b in range(bins):
        weight = cells[RESIDUAL, b if counts.size == bins else cell[b]]
        product[b] = value[b] * weight
        product[b + bins] = value[b + bins] * weight
        product[b + two] = value[b + two] * weight
        product[b + three] = value[b + three] * weight
    for k in range(parameters):
        total = 0.0
        for j in range(value.size):
            total += product[j] * basis[k, j]
        vectors[SCORE, k] = total
    if p > parameters:
        total = 0.0
        for c in range(counts.size):
            total += cells[RESIDUAL, c] * signal[c]
        vectors[SCORE, parameters] = total


@kernel
def _possible(counts: FloatArray, used: FloatArray, cells: FloatArray) -> bool:
    """Whether no used cell expects a negative number of events, or none where there are some."""
    wrong = 0
    for c in range(counts.size):
        mu = cells[MU, c]
        wrong += int((used[c] > 0.0) & ((mu < 0.0) | ((mu == 0.0) & (counts[c] > 0.0))))
    return wrong == 0


@summing_kernel
def _deviance(counts: FloatArray, used: FloatArray, cells: FloatArray, bits: IntArray) -> float:
    """Baker-Cousins deviance of the used cells; infinite where a cell with events expects none."""
    if not _possible(counts, used, cells):
        return np.inf
    for c in range(counts.size):
        cells[RATIO, c] = counts[c] / max(cells[MU, c], TINY) if used[c] * counts[c] > 0.0 else 1.0
    logarithms(cells[RATIO], bits[RATIO], cells[RESIDUAL], bits[RESIDUAL])
    total = 0.0
    for c in range(counts.size):
        total += used[c] * (cells[MU, c] - counts[c] + counts[c] * cells[RATIO, c])
    return 2.0 * total


@summing_kernel
def _score(
    counts: FloatArray,
    used: FloatArray,
    p: int,
    cells: FloatArray,
    jacobian: FloatArray,
    vectors: FloatArray,
    information: FloatArray,
) -> None:
    """Gradient of ln L (row SCORE) and expected information for the first p parameters."""
    for c in range(counts.size):
        cells[WEIGHT, c] = used[c] / max(cells[MU, c], TINY)
        cells[RESIDUAL, c] = (counts[c] - cells[MU, c]) * cells[WEIGHT, c]
    for k in range(p):
        total = 0.0
        for c in range(counts.size):
            total += cells[RESIDUAL, c] * jacobian[k, c]
            cells[RATIO, c] = cells[WEIGHT, c] * jacobian[k, c]
        vectors[SCORE, k] = total
        for m in range(k + 1):
            total = 0.0
            for c in range(counts.size):
                total += cells[RATIO, c] * jacobian[m, c]
            information[k, m] = total
            information[m, k] = total


@summing_kernel
def _factorise(matrix: FloatArray, shift: float, p: int, factor: FloatArray) -> bool:
    """Cholesky factor of matrix + shift, with the inverse of its diagonal; False if it is not positive definite."""
    for i in range(p):
        for j in range(i):
            total = matrix[i, j]
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            factor[i, j] = total * factor[j, j]
        total = matrix[i, i] + shift
        for k in range(i):
            total -= factor[i, k] * factor[i, k]
        if not total > 0.0:
            return False
        factor[i, i] = 1.0 / np.sqrt(total)
    return True


@kernel
def _factorise_safely(information: FloatArray, p: int, factor: FloatArray) -> bool:
    """Factor with a ridge far below the information of one event, which keeps singular systems finite."""
    trace = 1e-30
    for k in range(p):
        trace += information[k, k]
    ridge = 1e-11 * trace
    while not _factorise(information, ridge, p, factor):
        ridge *= 100.0
        if not ridge < trace:
            return False
    return True


@summing_kernel
def _solve(p: int, factor: FloatArray, vectors: FloatArray) -> float:
    """Row STEP for row SCORE, and the gain in 2 ln L that it promises."""
    for i in range(p):
        total = vectors[SCORE, i]
        for k in range(i):
            total -= factor[i, k] * vectors[STEP, k]
        vectors[STEP, i] = total * factor[i, i]
    gain = 0.0
    for i in range(p):
        gain += vectors[STEP, i] * vectors[STEP, i]
    for i in range(p - 1, -1, -1):
        total = vectors[STEP, i]
        for k in range(i + 1, p):
            total -= factor[k, i] * vectors[STEP, k]
        vectors[STEP, i] = total * factor[i, i]
    return gain


@summing_kernel
def _largest_change(centre: FloatArray, vectors: FloatArray, cells: FloatArray) -> float:
    """Largest change of ln f in any cell by the step, up or down; the changes stay in row RATIO."""
    count = centre.shape[1]
    step = vectors[STEP, 0]
    for c in range(count):
        cells[RATIO, c] = step * centre[0, c]
    for k in range(1, len(centre) - 1):
        step = vectors[STEP, k]
        for c in range(count):
            cells[RATIO, c] += step * centre[k, c]
    largest = 0.0
    for c in range(count):
        largest = max(largest, abs(cells[RATIO, c]))
    return largest


@kernel
def _shorten(total: float, p: int, cells: FloatArray, vectors: FloatArray) -> None:
    """Keep a step from raising a cell by more than e^4, unless it stays below ten times all events.

    Cells far below one event may move freely: they hold no information and would only slow the fit.
    """
    worst, ceiling = 1.0, np.log(10.0 * (total + 1.0))
    for c in range(cells.shape[1]):
        if cells[RATIO, c] > MAX_LOG_STEP:
            allowed = max(MAX_LOG_STEP, ceiling - np.log(max(cells[MU, c], TINY)))
            worst = max(worst, cells[RATIO, c] / allowed)
    for k in range(p):
        vectors[STEP, k] /= worst


@summing_kernel
def _start(
    counts: FloatArray,
    used: FloatArray,
    centre: FloatArray,
    cells: FloatArray,
    bits: IntArray,
    vectors: FloatArray,
    information: FloatArray,
    factor: FloatArray,
) -> bool:
    """Weighted least squares of the logarithm of the counts (+ 1/2), the usual first step of a Poisson GLM.

    Its normal matrix, left in `factor`, is close to the information at the maximum.
    """
    parameters = len(centre) - 1
    for c in range(counts.size):
        cells[RATIO, c] = counts[c] + 0.5
        cells[WEIGHT, c] = used[c] * cells[RATIO, c]
    logarithms(cells[RATIO], bits[RATIO], cells[RESIDUAL], bits[RESIDUAL])
    for c in range(counts.size):
        cells[RESIDUAL, c] = (cells[RATIO, c] - centre[parameters, c]) * cells[WEIGHT, c]
    for k in range(parameters):
        total = 0.0
        for c in range(counts.size):
            total += cells[RESIDUAL, c] * centre[k, c]
            cells[RATIO, c] = cells[WEIGHT, c] * centre[k, c]
        vectors[SCORE, k] = total
        for m in range(k + 1):
            total = 0.0
            for c in range(counts.size):
                total += cells[RATIO, c] * centre[m, c]
            information[k, m] = total
            information[m, k] = total
    if not _factorise_safely(information, parameters, factor):
        return False
    _solve(parameters, factor, vectors)
    for k in range(parameters):
        vectors[X, k] = vectors[STEP, k]
    return True


@kernel
def _maximise(
    counts: FloatArray,
    used: FloatArray,
    signal: FloatArray,
    offset: FloatArray,
    p: int,
    positive: bool,
    fresh: bool,
    basis: FloatArray,
    cell: IntArray,
    centre: FloatArray,
    value: FloatArray,
    shifted: FloatArray,
    shifted_bits: IntArray,
    cells: FloatArray,
    bits: IntArray,
    jacobian: FloatArray,
    vectors: FloatArray,
    information: FloatArray,
    factor: FloatArray,
) -> tuple[int, int, float]:
    """Fisher scoring from row X on; status, iterations and deviance.

    Steps use the information in `factor` for as long as gains fall fast, else (`fresh`) that of the present point. At
    the end the expectation, its derivatives and the information are those of the result.
    """
    last = len(basis) - 1
    total = 0.0
    for c in range(counts.size):
        total += counts[c] * used[c]
    rounding = ROUNDING * (total + 1.0)
    gain, before, deviance, check, growing = np.inf, np.inf, np.inf, False, False
    for iteration in range(MAX_ITERATIONS):
        _expect(vectors[X], signal, offset, basis, cell, value, shifted, shifted_bits, cells)
        halvings = 0
        while True:
            if check:
                tried = _deviance(counts, used, cells, bits)
            else:
                tried = -np.inf if p == last or _possible(counts, used, cells) else np.inf
            if (tried <= deviance + 10.0 * rounding and tried < np.inf) or halvings == MAX_HALVINGS:
                break
            halvings += 1
            for k in range(p):
                vectors[STEP, k] *= 0.5
                vectors[X, k] -= vectors[STEP, k]
            _expect(vectors[X], signal, offset, basis, cell, value, shifted, shifted_bits, cells)
        stuck, known = halvings == MAX_HALVINGS, check
        deviance = tried if check else np.inf
        if stuck:
            for k in range(p):
                vectors[X, k] = vectors[PREVIOUS, k]
            _expect(vectors[X], signal, offset, basis, cell, value, shifted, shifted_bits, cells)
            fresh, known = True, False
        while True:
            if fresh:
                _differentiate(signal, basis, cell, value, shifted, jacobian)
                _score(counts, used, p, cells, jacobian, vectors, information)
                if not _factorise_safely(information, p, factor):
                    return FAILED, iteration, np.nan
            else:
                _gradient(counts, used, signal, p, basis, cell, value, shifted, cells, vectors)
            gain = _solve(p, factor, vectors)
            change = _largest_change(centre, vectors, cells) if gain > 1e-3 else 0.0
            if fresh or (gain <= FALLING * before and change <= TRUSTED):
                break
            fresh = True
        if not np.isfinite(gain):
            return FAILED, iteration, np.nan
        if fresh and gain < TOLERANCE and p == last and not stuck:
            if not known:
                deviance = _deviance(counts, used, cells, bits)
            for k in range(p):  # so small a step is exact, and changes nothing else by as much as rounding does
                vectors[X, k] += vectors[STEP, k]
            return CONVERGED, iteration, deviance - gain
        if stuck or (fresh and gain < FINEST):
            done = not stuck or gain < 1e-6 + 100.0 * rounding
            # a signal that would make the expectation negative stops at that limit
            state = CONVERGED if done else AT_LIMIT if p > last else FAILED
            return state, iteration, deviance if known else _deviance(counts, used, cells, bits)
        if iteration == MAX_ITERATIONS - 1:
            return AT_LIMIT if gain < SLOW else FAILED, MAX_ITERATIONS, _deviance(counts, used, cells, bits)
        growing |= gain >= before
        check = growing or change > TRUSTED
        if check and not known:
            deviance = _deviance(counts, used, cells, bits)
        if change > MAX_LOG_STEP:
            _largest_change(centre, vectors, cells)
            _shorten(total, p, cells, vectors)
        if positive:
            vectors[STEP, last] = max(vectors[STEP, last], -0.9 * vectors[X, last])
        for k in range(p):
            vectors[PREVIOUS, k] = vectors[X, k]
            vectors[X, k] += vectors[STEP, k]
        fresh = (
            check
            or iteration == MAX_ITERATIONS - 2
            or (gain if before == np.inf else gain * min(gain / before, 1.0)) < (TOLERANCE if p == last else FINEST)
        )
        before = gain
    return FAILED, MAX_ITERATIONS, np.nan


@kernel
def _signal_unit(signal: FloatArray, used: FloatArray, cells: FloatArray) -> float:
    """Strength of about one standard deviation: the unit in which the fit counts signal; 0 without any signal."""
    information = 0.0
    for c in range(signal.size):
        information += used[c] * signal[c] ** 2 / max(cells[MU, c], 1e-6)
    return 1.0 / np.sqrt(information) if information > 0.0 else 0.0


@kernel
def _rises(counts: FloatArray, used: FloatArray, signal: FloatArray, cells: FloatArray) -> bool:
    """Whether a little signal raises the likelihood at the last expectation."""
    slope = 0.0
    for c in range(counts.size):
        slope += used[c] * (counts[c] / max(cells[MU, c], TINY) - 1.0) * signal[c]
    return slope > 0.0


@kernel
def fit_rows(
    counts: FloatArray,
    used: FloatArray,
    signals: FloatArray,
    strengths: FloatArray,
    mode: int,
    starts: FloatArray,
    basis: FloatArray,
    cell: IntArray,
    centre: FloatArray,
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
        Starting values; NaN or no row where there are none.
    basis, cell, centre
        See `Tables`.
    theta, information, numbers, status, iterations
        Results: (N, parameters), (N, p, p), (N, 3: deviance, deviance without signal, strength), (N,), (N,).
    """
    parameters, n_cells, size = len(basis) - 1, counts.shape[1], information.shape[1]
    value, shifted = np.empty(basis.shape[1]), np.empty(basis.shape[1])
    cells, jacobian = np.empty((4, n_cells)), np.empty((parameters + 1, n_cells))
    vectors, factor = np.zeros((4, parameters + 1)), np.empty((parameters + 1, parameters + 1))
    matrix = np.zeros((parameters + 1, parameters + 1))
    shifted_bits, bits = shifted.view(np.int64), cells.view(np.int64)
    offset, scaled = np.zeros(n_cells), np.zeros(n_cells)
    for n in range(len(counts)):
        data, signal, weight = counts[n], signals[min(n, len(signals) - 1)], used[min(n, len(used) - 1)]
        given = len(starts) > 0 and not np.isnan(starts[n, 0])
        for k in range(parameters + 1):
            vectors[X, k] = starts[n, k] if given and k < parameters else 0.0
        total = 0.0
        for c in range(n_cells):
            total += data[c] * weight[c]
            offset[c] = strengths[n] * signal[c] if mode == FIXED else 0.0
            scaled[c] = max(data[c] - offset[c], 0.0)
        fresh = given or not _start(scaled, weight, centre, cells, bits, vectors, matrix, factor)
        state, steps, deviance, unit = FAILED, 0, np.nan, 1.0
        for stage in range(2 if mode >= FREE else 1):  # background alone, then with signal
            if stage == 1:
                unit = _signal_unit(signal, weight, cells)
                for c in range(n_cells):
                    scaled[c] = unit * signal[c]
                if unit == 0.0 or (mode == POSITIVE and not _rises(data, weight, signal, cells)):
                    for c in range(n_cells):
                        jacobian[parameters, c] = scaled[c]
                    _score(data, weight, size, cells, jacobian, vectors, matrix)
                    break
            state, more, deviance = _maximise(
                data, weight, scaled, offset, parameters + stage, mode == POSITIVE and stage == 1, fresh or stage == 1,
                basis, cell, centre, value, shifted, shifted_bits, cells, bits, jacobian, vectors, matrix, factor,
            )  # fmt: skip
            steps += more
            if stage == 0:
                numbers[n, 1] = deviance
                if state == FAILED:
                    break
        flat = not _factorise(matrix, -FLAT_INFORMATION * max(total, 1e-12), parameters, factor)
        status[n] = AT_LIMIT if flat and state == CONVERGED else state
        for k in range(size):
            for m in range(size):
                rescale = (unit if k == parameters else 1.0) * (unit if m == parameters else 1.0)
                information[n, k, m] = matrix[k, m] / rescale if unit > 0.0 and state != FAILED else 0.0
        for k in range(parameters):
            theta[n, k] = vectors[X, k]
        numbers[n, 0] = deviance
        numbers[n, 2] = unit * vectors[X, parameters] if mode >= FREE else strengths[n]
        iterations[n] = steps
