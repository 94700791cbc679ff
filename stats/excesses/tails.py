r"""Poisson tails as compiled functions: exact, without underflow, and with bounds that need no tail at all.

With H the half of the Poisson deviance, :math:`H = n \ln(n/b) - n + b`, both tails obey

.. math:: P(X \ge n) > Q(\sqrt{2H}) \;\; (n > b), \qquad P(X \le n) > Q(\sqrt{2H}) \;\; (n < b)

with Q the normal tail (Zubkov and Serov, Theory Probab. Appl. 57 (2013) 539; Short, ISRN Probab. Stat. 2013, 412958): the
root of the deviance never understates a significance. A scan for the smallest tail uses that to leave out most of its windows.
"""

from __future__ import annotations

import math

import numpy as np

from resonaut.compiled import kernel

__all__ = ("half_deviance", "minus_log_tail", "squared_significance")

_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(40)
SERIES_BELOW = 100.0  # events: the series needs about 9 sqrt(n) terms, the integral always 40 points
DROP = 40.0  # e^-40 of an integrand is below its rounding
LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


@kernel
def half_deviance(n: float, b: float) -> float:
    """n ln(n / b) - n + b without cancellation where n is close to b; b > 0, n >= 0."""
    if n <= 0.0:
        return b
    v = (n - b) / (n + b)
    if abs(v) > 0.1:
        return n * math.log(n / b) - n + b
    # ln(n / b) = 2 artanh(v); the first term of its series is taken together with b - n
    total, power, k = v * (n - b), 2.0 * n * v, 1.0
    while True:
        power *= v * v
        k += 2.0
        term = power / k
        total += term
        if abs(term) <= 1e-17 * abs(total) or k > 60.0:
            return total


@kernel
def _minus_log_density(n: float, b: float) -> float:
    """-ln of the Poisson density b^n e^-b / n!, by its deviance and Stirling's series (accurate for large n)."""
    if n < 16.0:
        return b - n * math.log(b) + math.lgamma(n + 1.0)
    r = 1.0 / (n * n)
    stirling = (1.0 / 12.0 - r * (1.0 / 360.0 - r * (1.0 / 1260.0 - r * (1.0 / 1680.0 - r / 1188.0)))) / n
    return half_deviance(n, b) + LOG_SQRT_2PI + 0.5 * math.log(n) + stirling


@kernel
def _excess_ratio(n: float, b: float) -> float:
    """P(X >= n) / P(X = n) for n > b > 0."""
    if n < SERIES_BELOW:
        total, term, k = 1.0, 1.0, n
        while term > 1e-17 * total:
            k += 1.0
            term *= b / k
            total += term
        return total
    # n int_0^1 (1-u)^(n-1) e^(bu) du, cut where the integrand is negligible
    slope, curvature = max(n - 1.0 - b, 0.0), n - 1.0
    end = 2.0 * DROP / (slope + math.sqrt(slope * slope + 2.0 * curvature * DROP))
    half, total = 0.5 * end, 0.0
    for k in range(len(_POINTS)):
        u = half * (1.0 + _POINTS[k])
        total += _WEIGHTS[k] * math.exp((n - 1.0) * math.log1p(-u) + b * u)
    return n * half * total


@kernel
def _deficit_ratio(n: float, b: float) -> float:
    """P(X <= n) / P(X = n) for 0 <= n < b: b int_0^inf (1+u)^n e^(-bu) du."""
    end = DROP / b
    for _ in range(60):  # the exponent is convex: Newton's steps from the left overshoot once, then come from the right
        excess = b * end - n * math.log1p(end) - DROP
        end -= excess / (b - n / (1.0 + end))
        if abs(excess) < 1e-3 * DROP:
            break
    half, total = 0.5 * end, 0.0
    for k in range(len(_POINTS)):
        u = half * (1.0 + _POINTS[k])
        total += _WEIGHTS[k] * math.exp(n * math.log1p(u) - b * u)
    return b * half * total


@kernel
def minus_log_tail(n: float, b: float, deficit: bool) -> float:
    """-ln P(X >= n) for n > b, or -ln P(X <= n) for n < b if `deficit`; 0 on the other side and where b is not positive.

    Relative precision 1e-12 for any count; there is no smallest p-value.
    """
    if not b > 0.0 or (n >= b if deficit else n <= b):
        return 0.0
    ratio = _deficit_ratio(n, b) if deficit else _excess_ratio(n, b)
    return _minus_log_density(n, b) - math.log(ratio)


@kernel
def squared_significance(minus_log_p: float) -> float:
    """z^2 with Q(z) = p for p < 1/2, else 0; to 1e-11."""
    if minus_log_p <= math.log(2.0):
        return 0.0
    z = math.sqrt(2.0 * (minus_log_p - math.log(2.0)))
    for _ in range(30):
        if z < 25.0:
            log_tail = math.log(0.5 * math.erfc(z / math.sqrt(2.0)))
        else:
            r = 1.0 / (z * z)
            log_tail = -0.5 * z * z - LOG_SQRT_2PI - math.log(z) + math.log1p(-r * (1.0 - r * (3.0 - 15.0 * r)))
        hazard = math.exp(-0.5 * z * z - LOG_SQRT_2PI - log_tail)
        step = (log_tail + minus_log_p) / hazard
        z = max(z + step, 0.0)
        if abs(step) <= 1e-13 * z:
            break
    return z * z
