"""Compiled monotonic rational-quadratic splines: one pass per number, with the gradients written out.

A spline maps [-B, B] onto itself through K + 1 knots (X_k, Y_k) with derivatives d_k, and is the identity outside. In bin k, with
t = (x - X_k) / W_k, u = 1 - t, s = H_k / W_k, D = s + (d_k + d_k+1 - 2 s) t u and M = d_k+1 t^2 + 2 s t u + d_k u^2:

    y = Y_k + H_k (s t^2 + d_k t u) / D,        ln dy/dx = 2 ln s + ln M - 2 ln D.

As tensor operations that is some forty passes over memory, and all K + 1 derivatives are computed where the two at the edges of the
bin are needed. Here one number after another stays in registers, on the unit square.

References
----------
Durkan, Bekasov, Murray, Papamakarios, Neural Spline Flows, arXiv:1906.04032, equations 4 to 8 and appendix A.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.compiled import fused_kernel

__all__ = ("MIN_DERIVATIVE", "MIN_SIZE", "STATE", "spline_backward", "spline_forward")

MIN_SIZE = 1e-3
"""Smallest width and height of a bin, as a fraction of the interval."""
MIN_DERIVATIVE = 1e-3
STATE = 10
"""Numbers that the forward pass leaves for the backward pass, for each point."""

Reals = npt.NDArray[np.floating[Any]]


@fused_kernel
def _find(powers: Reals, i: int, start: int, bins: int, where: float) -> tuple[int, float, float]:
    """Bin that holds `where` in [0, 1], sum of the softmax over the bins before it, and 1 / the sum of powers."""
    total = 0.0
    for j in range(start, start + bins):
        total += powers[i, j]
    norm = 1 / total
    step = (1.0 - bins * MIN_SIZE) * norm
    edge, running, before, k = 0.0, 0.0, 0.0, 0
    for j in range(bins - 1):  # without a jump out of the loop, which a processor cannot foresee
        running += powers[i, start + j]
        edge += MIN_SIZE + step * powers[i, start + j]
        if where >= edge:
            k = j + 1
            before = running
    return k, before * norm, norm


@fused_kernel
def _up_to(powers: Reals, i: int, start: int, bins: int, k: int) -> tuple[float, float]:
    """Sum of the softmax over the bins before k, and 1 / the sum of powers."""
    total, before = 0.0, 0.0
    for j in range(bins):
        before = total if j == k else before
        total += powers[i, start + j]
    norm = 1 / total
    return before * norm, norm


@fused_kernel
def _derivative(powers: Reals, i: int, bins: int, knot: int) -> float:
    """Derivative at a knot: 1 at both ends, where the identity begins."""
    if knot in (0, bins):
        return 1.0
    return MIN_DERIVATIVE + math.log1p(powers[i, 2 * bins + knot - 1])


@fused_kernel
def spline_forward(
    values: Reals, powers: Reals, bound: float, inverse: bool, out: Reals, slope: Reals, state: Reals
) -> None:
    """Values and logarithms of slopes of N splines, each at one point.

    Parameters
    ----------
    values
        (N,) where.
    powers
        (N, 3 K - 1) exponentials of the raw parameters: K widths, K heights, K - 1 inner derivatives.
    bound
        B.
    inverse
        Whether x is wanted at given y.
    out, slope, state
        (N,), (N,) and (N, STATE), written: the values, ln |d out / d values|, and what the backward pass needs.
    """
    bins = (powers.shape[1] + 1) // 3
    room = 1.0 - bins * MIN_SIZE
    for i in range(len(values)):
        at = values[i]
        if not (-bound < at < bound):
            out[i], slope[i] = at, 0.0
            state[i, 0] = -1.0
            continue
        where = (at + bound) / (2 * bound)
        if inverse:
            k, before_y, norm_y = _find(powers, i, bins, bins, where)
            before_x, norm_x = _up_to(powers, i, 0, bins, k)
        else:
            k, before_x, norm_x = _find(powers, i, 0, bins, where)
            before_y, norm_y = _up_to(powers, i, bins, bins, k)
        x, y = k * MIN_SIZE + room * before_x, k * MIN_SIZE + room * before_y
        width = MIN_SIZE + room * norm_x * powers[i, k]
        height = MIN_SIZE + room * norm_y * powers[i, bins + k]
        s = height / width
        left, right = _derivative(powers, i, bins, k), _derivative(powers, i, bins, k + 1)
        bend = left + right - 2 * s
        if inverse:
            rise = min(max(where - y, 0.0), height)
            b = height * left - rise * bend
            square = b * b + 4 * s * rise * (rise * bend + height * (s - left))
            # this form does not cancel, and rounding must not make the square negative at an edge of a bin
            t = 2 * s * rise / (b + math.sqrt(max(square, 0.0)))
        else:
            t = (where - x) / width
        t = min(max(t, 0.0), 1.0)
        u = 1 - t
        low = s + bend * t * u
        logarithm = math.log(s * s * (right * t * t + 2 * s * t * u + left * u * u) / (low * low))
        if inverse:
            out[i] = (2 * (x + t * width) - 1) * bound
            slope[i] = -logarithm
        else:
            out[i] = (2 * (y + height * t * (s * t + left * u) / low) - 1) * bound
            slope[i] = logarithm
        state[i, 0], state[i, 1], state[i, 2], state[i, 3] = k, t, width, height
        state[i, 4], state[i, 5] = left, right
        state[i, 6], state[i, 7] = before_x, norm_x
        state[i, 8], state[i, 9] = before_y, norm_y


@fused_kernel
def _pull(powers: Reals, i: int, start: int, bins: int, k: int, by: tuple[float, float, float], to: Reals) -> None:
    """Gradient by the raw sizes of K bins from those by the softmax: `by` holds the one before bin k, in it, and the mean."""
    before, inside, mean = by
    for j in range(bins):
        each = before if j < k else 0.0
        each = inside if j == k else each
        to[i, start + j] = powers[i, start + j] * (each - mean)


@fused_kernel
def spline_backward(
    powers: Reals,
    bound: float,
    inverse: bool,
    state: Reals,
    by_out: Reals,
    by_slope: Reals,
    to_values: Reals,
    to_raw: Reals,
) -> None:
    """Gradients of a sum over values and slopes.

    Parameters
    ----------
    powers, bound, inverse, state
        As `spline_forward` had and left them.
    by_out, by_slope
        (N,) gradients by its `out` and `slope`.
    to_values, to_raw
        (N,) and (N, 3 K - 1), written: gradients by the points and by the logarithms of `powers`.
    """
    bins = (powers.shape[1] + 1) // 3
    room = 1.0 - bins * MIN_SIZE
    for i in range(len(state)):
        k = int(state[i, 0])
        if k < 0:
            to_values[i] = by_out[i]
            for j in range(to_raw.shape[1]):
                to_raw[i, j] = 0.0
            continue
        t, width, height = 1.0 * state[i, 1], 1.0 * state[i, 2], 1.0 * state[i, 3]
        left, right = 1.0 * state[i, 4], 1.0 * state[i, 5]
        u, s = 1 - t, height / width
        q, tilt = t * u, 1 - 2 * t
        bend = left + right - 2 * s
        over_low = 1 / (s + bend * q)
        over_width = 1 / width
        bulk = right * t * t + 2 * s * q + left * u * u
        over_bulk = 1 / bulk
        part = (s * t * t + left * q) * over_low  # of the height, below the point
        # by t at fixed s and derivatives, in the unit square
        value_t = height * s * bulk * over_low * over_low
        slope_t = 2 * (right * t + s * tilt - left * u) * over_bulk - 2 * bend * tilt * over_low
        g, h = 2 * bound * by_out[i], 1.0 * by_slope[i]
        if inverse:
            # x moves so that y(x, parameters) stays: dx = (dy - dy at fixed x) / y', and the slope is that of y, negated
            g, h = -(g - h * slope_t * over_width) * width / value_t, -h
            to_values[i] = -g / (2 * bound)
        else:
            to_values[i] = (g * value_t + h * slope_t) * over_width / (2 * bound)
        by_x = -(g * value_t + h * slope_t) * over_width
        by_s = g * height * (t * t - part * (1 - 2 * q)) * over_low
        by_s += h * (2 / s + 2 * q * over_bulk - 2 * (1 - 2 * q) * over_low)
        norm_x, norm_y = 1.0 * state[i, 7], 1.0 * state[i, 9]
        by_width, by_height = by_x * t - by_s * s * over_width, g * part + by_s * over_width
        mean_x = by_x * state[i, 6] + by_width * norm_x * powers[i, k]
        mean_y = g * state[i, 8] + by_height * norm_y * powers[i, bins + k]
        f = room * norm_x
        _pull(powers, i, 0, bins, k, (f * by_x, f * by_width, f * mean_x), to_raw)
        f = room * norm_y
        _pull(powers, i, bins, bins, k, (f * g, f * by_height, f * mean_y), to_raw)
        for j in range(2 * bins, 3 * bins - 1):
            to_raw[i, j] = 0.0
        if k > 0:
            power = powers[i, 2 * bins + k - 1]
            by_left = g * height * q * (1 - part) * over_low + h * (u * u * over_bulk - 2 * q * over_low)
            to_raw[i, 2 * bins + k - 1] = by_left * power / (1 + power)
        if k < bins - 1:
            power = powers[i, 2 * bins + k]
            by_right = -g * height * part * q * over_low + h * (t * t * over_bulk - 2 * q * over_low)
            to_raw[i, 2 * bins + k] = by_right * power / (1 + power)
