r"""Compiled Fisher scoring: one Poisson fit of a log-linear function in a few microseconds.

Steps are checked against the likelihood (and halved) only where they could fail, which is where they change the expectation
much or where gains stop shrinking; near the minimum Fisher scoring converges so fast that the last gain predicts the next.
`resonaut.stats.engine.batched` is the door to this module and says what is computed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from resonaut.compiled import kernel
from resonaut.stats.engine.kernels import (
    BEST,
    MU,
    PREVIOUS,
    STEP,
    X,
    deviance_of,
    differentiate,
    expect,
    factorise,
    factorise_safely,
    gradient,
    largest_change,
    possible,
    score,
    shorten,
    solve,
    start,
)
from resonaut.stats.engine.settings import (
    AT_LIMIT,
    CONVERGED,
    FAILED,
    FALLING,
    FEW,
    FINEST,
    FIXED,
    FLAT_INFORMATION,
    FREE,
    MAX_HALVINGS,
    MAX_ITERATIONS,
    MAX_LOG_STEP,
    POSITIVE,
    ROUNDING,
    SLOW,
    TINY,
    TOLERANCE,
    TRUSTED,
)

__all__ = ("fit_rows",)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
StatusArray = npt.NDArray[np.int8]


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
        expect(vectors[X], signal, offset, basis, cell, value, shifted, shifted_bits, cells)
        halvings = 0
        while True:
            if check:
                tried = deviance_of(counts, used, cells, bits)
            else:
                tried = -np.inf if p == last or possible(counts, used, cells) else np.inf
            if (tried <= deviance + 10.0 * rounding and tried < np.inf) or halvings == MAX_HALVINGS:
                break
            halvings += 1
            for k in range(p):
                vectors[STEP, k] *= 0.5
                vectors[X, k] -= vectors[STEP, k]
            expect(vectors[X], signal, offset, basis, cell, value, shifted, shifted_bits, cells)
        stuck, known = halvings == MAX_HALVINGS, check
        deviance = tried if check else np.inf
        if stuck:
            for k in range(p):
                vectors[X, k] = vectors[PREVIOUS, k]
            expect(vectors[X], signal, offset, basis, cell, value, shifted, shifted_bits, cells)
            fresh, known = True, False
        while True:
            if fresh:
                differentiate(signal, basis, cell, value, shifted, jacobian)
                score(counts, used, p, cells, jacobian, vectors, information)
                if not factorise_safely(information, p, factor):
                    return FAILED, iteration, np.nan
            else:
                gradient(counts, used, signal, p, basis, cell, value, shifted, cells, vectors)
            gain = solve(p, factor, vectors)
            change = largest_change(centre, vectors, cells) if gain > 1e-3 else 0.0
            if fresh or (gain <= FALLING * before and change <= TRUSTED):
                break
            fresh = True
        if not np.isfinite(gain):
            return FAILED, iteration, np.nan
        if fresh and gain < TOLERANCE and p == last and not stuck:
            if not known:
                deviance = deviance_of(counts, used, cells, bits)
            for k in range(p):  # so small a step is exact, and changes nothing else by as much as rounding does
                vectors[X, k] += vectors[STEP, k]
            return CONVERGED, iteration, deviance - gain
        if stuck or (fresh and gain < FINEST):
            done = not stuck or gain < 1e-6 + 100.0 * rounding
            # a signal that would make the expectation negative stops at that limit
            state = CONVERGED if done else AT_LIMIT if p > last else FAILED
            return state, iteration, deviance if known else deviance_of(counts, used, cells, bits)
        if iteration == MAX_ITERATIONS - 1:
            return AT_LIMIT if gain < SLOW else FAILED, MAX_ITERATIONS, deviance_of(counts, used, cells, bits)
        growing |= gain >= before
        check = growing or change > TRUSTED
        if check and not known:
            deviance = deviance_of(counts, used, cells, bits)
        if change > MAX_LOG_STEP:
            largest_change(centre, vectors, cells)
            shorten(total, p, cells, vectors)
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
def _cancels(used: FloatArray, signal: FloatArray, strength: float, cells: FloatArray) -> bool:
    """Whether a negative signal takes all but a thousandth of the background of some cell."""
    worst = 1.0
    for c in range(signal.size):
        if used[c] > 0.0 and strength * signal[c] < 0.0:
            worst = min(worst, cells[MU, c] / max(cells[MU, c] - strength * signal[c], TINY))
    return worst < 1e-3


@kernel
def _strength_without_background(counts: FloatArray, used: FloatArray, signal: FloatArray) -> float:
    """Strength of a signal that takes all events under it, where it has more than a twentieth of its peak."""
    peak, events, inside = 0.0, 0.0, 0.0
    for c in range(counts.size):
        peak = max(peak, used[c] * signal[c])
    for c in range(counts.size):
        if used[c] * signal[c] > 0.05 * peak:
            events += counts[c]
            inside += signal[c]
    return events / inside if inside > 0.0 else 0.0


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
        See `resonaut.stats.engine.problem.Tables`.
    theta, information, numbers, status, iterations
        Results: (N, parameters), (N, p, p), (N, 3: deviance, deviance without signal, strength), (N,), (N,).
    """
    parameters, n_cells, size = len(basis) - 1, counts.shape[1], information.shape[1]
    value, shifted = np.empty(basis.shape[1]), np.empty(basis.shape[1])
    cells, jacobian = np.empty((4, n_cells)), np.empty((parameters + 1, n_cells))
    vectors, factor = np.zeros((5, parameters + 1)), np.empty((parameters + 1, parameters + 1))
    matrix = np.zeros((parameters + 1, parameters + 1))
    shifted_bits, bits = shifted.view(np.int64), cells.view(np.int64)
    offset, scaled, strength = np.zeros(n_cells), np.zeros(n_cells), 0.0
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
        fresh = given or not start(scaled, weight, centre, cells, bits, vectors, matrix, factor)
        state, steps, deviance, unit = FAILED, 0, np.nan, 1.0
        # background alone, then with signal; where few events leave two maxima, again from a signal that takes the events
        # near it: first held, then free
        for stage in range(1 if mode < FREE else 2 if total >= FEW else 4):
            if stage == 1:
                unit = _signal_unit(signal, weight, cells)
                for c in range(n_cells):
                    scaled[c] = unit * signal[c]
                    jacobian[parameters, c] = scaled[c]
                score(data, weight, size, cells, jacobian, vectors, matrix)
                if unit == 0.0:
                    break
                if mode == POSITIVE and not _rises(data, weight, signal, cells):
                    continue
            elif stage == 2:
                strength = _strength_without_background(data, weight, signal)
                if not strength > 0.0:
                    break
                for k in range(parameters + 1):
                    vectors[BEST, k] = vectors[X, k]
                vectors[X, parameters] = 0.0
                for c in range(n_cells):
                    offset[c] = strength * signal[c]
            elif stage == 3:
                vectors[X, parameters] = strength / unit
                for c in range(n_cells):
                    offset[c] = 0.0
            free = stage in (1, 3)
            found, more, reached = _maximise(
                data, weight, scaled, offset, parameters + int(free), mode == POSITIVE and free, fresh or stage > 0,
                basis, cell, centre, value, shifted, shifted_bits, cells, bits, jacobian, vectors, matrix, factor,
            )  # fmt: skip
            steps += more
            if stage == 3 and not (found != FAILED and reached < deviance - ROUNDING * (total + 1.0) - FINEST):
                for k in range(parameters + 1):
                    vectors[X, k] = vectors[BEST, k]
                expect(vectors[X], scaled, offset, basis, cell, value, shifted, shifted_bits, cells)
                differentiate(scaled, basis, cell, value, shifted, jacobian)
                score(data, weight, size, cells, jacobian, vectors, matrix)
            elif stage != 2:
                state, deviance = found, reached
            if stage == 0:
                numbers[n, 1] = deviance
                if state == FAILED:
                    break
        if mode >= FREE and state != FAILED and _cancels(weight, scaled, vectors[X, parameters], cells):
            # no error can be had where the signal cancels the background: that of the background alone is given
            state, strength = AT_LIMIT, vectors[X, parameters]
            vectors[X, parameters] = 0.0
            expect(vectors[X], scaled, offset, basis, cell, value, shifted, shifted_bits, cells)
            differentiate(scaled, basis, cell, value, shifted, jacobian)
            score(data, weight, size, cells, jacobian, vectors, matrix)
            vectors[X, parameters] = strength
        flat = not factorise(matrix, -FLAT_INFORMATION * max(total, 1e-12), parameters, factor)
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
