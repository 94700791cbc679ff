r"""Compiled pieces of a Poisson fit: expected events, their derivatives, likelihood, steps.

Everything of one spectrum stays in the processor's cache. Arrays are passed one by one, not as a structure: handing a
structure of arrays to a compiled function costs as much as a whole step of the fit, and a class of ours in a signature
would make numba's cache unreadable once the class changes. No views are made inside: counting references to them costs more
than the loops.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from resonaut.compiled import kernel, summing_kernel
from resonaut.stats.engine.settings import MAX_LOG_STEP, TINY
from resonaut.stats.engine.vectors import exponentials, logarithms

__all__ = (
    "BEST",
    "MU",
    "PREVIOUS",
    "STEP",
    "X",
    "deviance_of",
    "differentiate",
    "expect",
    "factorise",
    "factorise_safely",
    "gradient",
    "largest_change",
    "possible",
    "score",
    "shorten",
    "solve",
    "start",
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MU, RATIO, RESIDUAL, WEIGHT = 0, 1, 2, 3  # rows of the scratch over cells
X, STEP, SCORE, PREVIOUS, BEST = 0, 1, 2, 3, 4  # rows of the scratch over parameters


@summing_kernel
def expect(
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
def differentiate(
    signal: FloatArray, basis: FloatArray, cell: IntArray, value: FloatArray, product: FloatArray, jacobian: FloatArray
) -> None:
    """Derivatives of the expected events at the point of the last `expect`; the strength's is the signal."""
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
def gradient(
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
def possible(counts: FloatArray, used: FloatArray, cells: FloatArray) -> bool:
    """Whether no used cell expects a negative number of events, or none where there are some."""
    wrong = 0
    for c in range(counts.size):
        mu = cells[MU, c]
        wrong += int((used[c] > 0.0) & ((mu < 0.0) | ((mu == 0.0) & (counts[c] > 0.0))))
    return wrong == 0


@summing_kernel
def deviance_of(counts: FloatArray, used: FloatArray, cells: FloatArray, bits: IntArray) -> float:
    """Baker-Cousins deviance of the used cells; infinite where a cell with events expects none."""
    if not possible(counts, used, cells):
        return np.inf
    for c in range(counts.size):
        cells[RATIO, c] = counts[c] / max(cells[MU, c], TINY) if used[c] * counts[c] > 0.0 else 1.0
    logarithms(cells[RATIO], bits[RATIO], cells[RESIDUAL], bits[RESIDUAL])
    total = 0.0
    for c in range(counts.size):
        total += used[c] * (cells[MU, c] - counts[c] + counts[c] * cells[RATIO, c])
    return 2.0 * total


@summing_kernel
def score(
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
def factorise(matrix: FloatArray, shift: float, p: int, factor: FloatArray) -> bool:
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
def factorise_safely(information: FloatArray, p: int, factor: FloatArray) -> bool:
    """Factor with a ridge far below the information of one event, which keeps singular systems finite."""
    trace = 1e-30
    for k in range(p):
        trace += information[k, k]
    ridge = 1e-11 * trace
    while not factorise(information, ridge, p, factor):
        ridge *= 100.0
        if not ridge < trace:
            return False
    return True


@summing_kernel
def solve(p: int, factor: FloatArray, vectors: FloatArray) -> float:
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
def largest_change(centre: FloatArray, vectors: FloatArray, cells: FloatArray) -> float:
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
def shorten(total: float, p: int, cells: FloatArray, vectors: FloatArray) -> None:
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
def start(
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
    if not factorise_safely(information, parameters, factor):
        return False
    solve(parameters, factor, vectors)
    for k in range(parameters):
        vectors[X, k] = vectors[STEP, k]
    return True
