"""Thrust of many events, compiled."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from resonaut.compiled import kernel

__all__ = ("best_sum",)

Floats = npt.NDArray[np.float64]

FLAT = 1e-9  # sine of the angle to a plane below which a momentum lies in it


@kernel
def cross(a: Floats, b: Floats, out: Floats) -> None:
    """Vector product."""
    out[0] = a[1] * b[2] - a[2] * b[1]
    out[1] = a[2] * b[0] - a[0] * b[2]
    out[2] = a[0] * b[1] - a[1] * b[0]


@kernel
def sign_along(p: Floats, axis: Floats) -> int:
    """Sign of the component along an axis; 0 where there is none."""
    component = p[0] * axis[0] + p[1] * axis[1] + p[2] * axis[2]
    scale = math.sqrt((p[0] ** 2 + p[1] ** 2 + p[2] ** 2) * (axis[0] ** 2 + axis[1] ** 2 + axis[2] ** 2))
    if not abs(component) > FLAT * scale:
        return 0
    return 1 if component > 0 else -1


@kernel
def signed_sum(p: Floats, count: int, axes: Floats, turn: float, own: float) -> float:
    """Size of the sum of momenta, each with the sign of its component along the first of three axes that it has one of."""
    x, y, z = 0.0, 0.0, 0.0
    for k in range(count):
        sign = float(sign_along(p[k], axes[0]))
        if sign == 0:
            sign = turn * sign_along(p[k], axes[1])
        if sign == 0:
            sign = own * sign_along(p[k], axes[2])
        x += sign * p[k, 0]
        y += sign * p[k, 1]
        z += sign * p[k, 2]
    return math.sqrt(x * x + y * y + z * z)


@kernel
def best_sum(p: Floats, counts: npt.NDArray[np.int64]) -> Floats:
    """Largest sum of |p . n| over all directions n, in each event.

    The best direction is that of a sum of the momenta with signs, and the signs are those of a half-space: planes through each
    pair of momenta are tried. Momenta within such a plane are divided by a line through the first of the two, and those along
    that line by their direction.

    Parameters
    ----------
    p : (events, objects, 3).
    counts : (events,) number of objects; the others are not looked at.
    """
    out = np.zeros(len(p))
    axes = np.zeros((3, 3))
    for event in range(len(p)):
        n = counts[event]
        for a in range(n):
            axes[2] = p[event, a]
            for b in range(n):
                if a == b and n > 1:
                    continue
                cross(p[event, a], p[event, b], axes[0])
                cross(axes[0], p[event, a], axes[1])
                for turn in (1.0, -1.0):
                    for own in (1.0, -1.0):
                        out[event] = max(out[event], signed_sum(p[event], n, axes, turn, own))
    return out
