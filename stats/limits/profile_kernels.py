"""Compiled loops of the profile likelihood: Fisher scoring with step-halving, one spectrum after another.

They are called by `resonaut.stats.limits.profiling`, which says what the model is. All arrays are C-contiguous float64; arrays
of the model have their bins last, so that the inner loops run over neighbouring numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from resonaut.compiled import summing_kernel

__all__ = ("Parts", "expectations", "maximise")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MAX_ITERATIONS = 100
MAX_HALVINGS = 16
PATIENCE = 5  # halvings, once a step has gained anything
TINY = 1e-300


class Parts(NamedTuple):
    """The model as the kernels see it: K background directions, Q nuisances of the signal."""

    background: FloatArray  # (bins,)
    modes: FloatArray  # (K, bins), change of ln(background) per unit of beta
    signal: FloatArray  # (bins,)
    yields: FloatArray  # (Q, bins), change of ln(signal) per unit of nu
    up: FloatArray  # (Q, bins), template at nu = +1 less the nominal one
    down: FloatArray  # (Q, bins), nominal template less the one at nu = -1
    precision: FloatArray  # (K + Q,), of the Gaussian constraints


@summing_kernel
def _background(parts: Parts, x: FloatArray, out: FloatArray) -> None:
    for i in range(len(out)):
        out[i] = 0.0
    for k in range(len(parts.modes)):
        for i in range(len(out)):
            out[i] += x[k] * parts.modes[k, i]
    for i in range(len(out)):
        out[i] = parts.background[i] * np.exp(min(max(out[i], -600.0), 600.0))


@summing_kernel
def _signal(parts: Parts, x: FloatArray, signal: FloatArray, factor: FloatArray) -> None:
    """Events per unit of strength, and the factor of the yield nuisances in them."""
    first = len(parts.modes)
    for i in range(len(signal)):
        signal[i], factor[i] = parts.signal[i], 0.0
    for q in range(len(parts.yields)):
        nu = min(max(x[first + q], -30.0), 30.0)
        even = 0.0625 * nu * nu * (15.0 + nu * nu * (3.0 * nu * nu - 10.0))
        for i in range(len(signal)):
            up, down = parts.up[q, i], parts.down[q, i]
            factor[i] += nu * parts.yields[q, i]
            if nu > 1.0:
                signal[i] += nu * up
            elif nu < -1.0:
                signal[i] += nu * down
            else:  # a polynomial whose value and slope meet the straight lines at +-1
                signal[i] += 0.5 * nu * (up + down) + even * (up - down)
    for i in range(len(signal)):
        factor[i] = np.exp(factor[i])
        signal[i] *= factor[i]


@summing_kernel
def _twice_nll(
    parts: Parts, counts: FloatArray, mu: float, x: FloatArray, middle: FloatArray, work: FloatArray
) -> float:
    """-2 ln L against the saturated model; background, signal and its factor are left in the rows of `work`."""
    _background(parts, x, work[0])
    _signal(parts, x, work[1], work[2])
    value = 0.0
    for i in range(len(counts)):
        total = max(work[0, i] + mu * work[1, i], TINY)
        value += total - counts[i]
        if counts[i] > 0:
            value += counts[i] * np.log(counts[i] / total)
    value *= 2.0
    for j in range(len(x)):
        value += (x[j] - middle[j]) ** 2 * parts.precision[j]
    return value


@summing_kernel
def _jacobian(parts: Parts, mu: float, x: FloatArray, work: FloatArray, out: FloatArray) -> None:
    """Derivative of each expectation: background directions, nuisances of the signal, strength."""
    first, bins = len(parts.modes), len(parts.background)
    for k in range(first):
        for i in range(bins):
            out[k, i] = work[0, i] * parts.modes[k, i]
    for q in range(len(parts.yields)):
        nu = min(max(x[first + q], -30.0), 30.0)
        slope = 0.0625 * nu * (30.0 + nu * nu * (18.0 * nu * nu - 40.0))
        for i in range(bins):
            up, down = parts.up[q, i], parts.down[q, i]
            shape = 0.5 * (up + down) + slope * (up - down)
            if nu > 1.0:
                shape = up
            elif nu < -1.0:
                shape = down
            out[first + q, i] = mu * (work[1, i] * parts.yields[q, i] + work[2, i] * shape)
    if len(out) > first + len(parts.yields):
        for i in range(bins):
            out[-1, i] = work[1, i]


@summing_kernel
def _score_and_information(
    parts: Parts,
    counts: FloatArray,
    mu: float,
    x: FloatArray,
    middle: FloatArray,
    work: FloatArray,
    jacobian: FloatArray,
    score: FloatArray,
    information: FloatArray,
) -> None:
    for i in range(len(counts)):
        total = work[0, i] + mu * work[1, i]
        # a template that its nuisances take below 0 is held at TINY: no parameter changes the likelihood of that bin, and
        # the information of 1 / TINY would stop the fit where it stands
        work[3, i] = 1.0 / total if total > TINY else 0.0
    for j in range(len(score)):
        total = 0.0
        for i in range(len(counts)):
            if work[3, i] > 0.0:
                total += jacobian[j, i] * (counts[i] * work[3, i] - 1.0)
        score[j] = total
        for k in range(j + 1):
            total = 0.0
            for i in range(len(counts)):
                total += jacobian[j, i] * jacobian[k, i] * work[3, i]
            information[j, k] = total
    for j in range(len(x)):
        score[j] -= (x[j] - middle[j]) * parts.precision[j]
        information[j, j] += parts.precision[j]


@summing_kernel
def _solve(matrix: FloatArray, vector: FloatArray, step: FloatArray) -> float:
    """Cholesky solution in place, scaled by the diagonal; the return value is the gain ``step . vector``."""
    n = len(vector)
    scale = np.empty(n)
    for j in range(n):
        scale[j] = 1.0 / np.sqrt(matrix[j, j] + TINY)
    for j in range(n):
        for k in range(j + 1):
            total = matrix[j, k] * scale[j] * scale[k] + (1e-12 if j == k else 0.0)
            for m in range(k):
                total -= matrix[j, m] * matrix[k, m]
            matrix[j, k] = np.sqrt(max(total, 1e-14)) if j == k else total / matrix[k, k]
    for j in range(n):
        total = vector[j] * scale[j]
        for m in range(j):
            total -= matrix[j, m] * step[m]
        step[j] = total / matrix[j, j]
    for j in range(n - 1, -1, -1):
        total = step[j]
        for m in range(j + 1, n):
            total -= matrix[m, j] * step[m]
        step[j] = total / matrix[j, j]
    gain = 0.0
    for j in range(n):
        step[j] *= scale[j]
        gain += step[j] * vector[j]
    return gain


@summing_kernel
def _shorten(parts: Parts, step: FloatArray, background: FloatArray) -> float:
    """Factor that keeps a step from changing a bin with events in it by more than e^4."""
    largest = 4.0
    for i in range(len(background)):
        if background[i] > 1e-3:
            change = 0.0
            for k in range(len(parts.modes)):
                change += step[k] * parts.modes[k, i]
            largest = max(largest, abs(change))
    return 4.0 / largest


@summing_kernel
def _trial(x: FloatArray, mu: float, step: FloatArray, length: float, free: bool, out: FloatArray) -> float:
    """Nuisances after a part of a step, and the strength, which stays above 0."""
    for j in range(len(x)):
        out[j] = x[j] + length * step[j]
    return max(mu + length * step[-1], 0.1 * mu) if free else mu


@summing_kernel
def maximise(
    parts: Parts,
    counts: FloatArray,
    mu: FloatArray,
    x: FloatArray,
    middle: FloatArray,
    free: bool,
    tolerance: float,
    value: FloatArray,
    converged: BoolArray,
) -> None:
    """Maximise the likelihood of each row of `counts` from (mu, x), in place; the strength is free (above 0) or fixed.

    A row is done when the next step promises to gain less than `tolerance` in 2 ln L.
    """
    bins, nuisances = counts.shape[1], x.shape[1]
    size = nuisances + 1 if free else nuisances
    work, jacobian = np.empty((4, bins)), np.empty((size, bins))
    score, step, information = np.empty(size), np.empty(size), np.empty((size, size))
    trial_x = np.empty(nuisances)
    for row in range(len(counts)):
        data, events = counts[row], 0.0
        for i in range(bins):
            events += data[i]
        value[row] = _twice_nll(parts, data, mu[row], x[row], middle[row], work)
        converged[row] = False
        for _ in range(MAX_ITERATIONS):
            _jacobian(parts, mu[row], x[row], work, jacobian)
            _score_and_information(parts, data, mu[row], x[row], middle[row], work, jacobian, score, information)
            gain = _solve(information, score, step)
            if not np.isfinite(gain):
                break
            noise = 1e-12 * (abs(value[row]) + 0.01 * events + 1.0)
            wanted = 0.1 * gain if gain > 1e-8 + 10.0 * noise else 0.0
            length, best_length, best = _shorten(parts, step, work[0]), 0.0, value[row]
            for halving in range(MAX_HALVINGS):
                trial_mu = _trial(x[row], mu[row], step, length, free, trial_x)
                trial = _twice_nll(parts, data, trial_mu, trial_x, middle[row], work)
                if trial < best or (best_length == 0.0 and trial <= value[row] + 1e-13 * (abs(value[row]) + 1.0)):
                    best, best_length = trial, length
                # the information may be too small and the step too long: look on until it gains a tenth of its promise
                if best_length > 0.0 and (value[row] - trial >= wanted * length or halving > PATIENCE):
                    break
                length *= 0.5
            if best_length > 0.0:
                mu[row] = _trial(x[row], mu[row], step, best_length, free, trial_x)
                value[row] = _twice_nll(parts, data, mu[row], trial_x, middle[row], work)
                for j in range(nuisances):
                    x[row, j] = trial_x[j]
            converged[row] = gain < 1e-4 and np.isfinite(value[row])
            if gain < max(tolerance, noise) or best_length == 0.0:
                break


@summing_kernel
def expectations(parts: Parts, mu: FloatArray, x: FloatArray, background: FloatArray, signal: FloatArray) -> None:
    """Background and signal events of each row."""
    factor = np.empty(background.shape[1])
    for row in range(len(x)):
        _background(parts, x[row], background[row])
        _signal(parts, x[row], signal[row], factor)
        signal[row] *= mu[row]
