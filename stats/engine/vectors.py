"""exp and log of arrays for compiled kernels, written so that the compiler uses the vector units of any processor.

numba calls the C library once for each number; for the few hundred nodes of a spectrum that is most of a fit. Both
functions are good to two units in the last place.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from resonaut.compiled import fused_kernel

__all__ = ("exponentials", "logarithms")

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LOG2E = 1.4426950408889634
LN2_HIGH, LN2_LOW = (
    6.93147180369123816490e-01,
    1.90821492927058770002e-10,
)  # ln 2 in two parts; the first has spare bits
ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it leaves the nearest integer in the low bits
LARGEST = 700.0
ONE_BITS = 0x3FF0000000000000
ROOT_HALF_BITS = 0x3FE6A09E667F3BCD
MANTISSA = 0x000FFFFFFFFFFFFF
TWO_52, TWO_52_BITS = 4503599627370496.0, 0x4330000000000000


@fused_kernel
def exponentials(x: FloatArray, shifted: FloatArray, shifted_bits: IntArray) -> None:
    """Replace x by exp(x), x limited to +-700; `shifted_bits` is a view of the scratch array `shifted`."""
    n = x.size
    for i in range(n):
        value = min(max(x[i], -LARGEST), LARGEST)
        near = value * LOG2E + ROUND
        shifted[i] = near
        whole = near - ROUND
        r = (value - whole * LN2_HIGH) - whole * LN2_LOW
        w = r * r
        even = 1.0 / 479001600.0 * w + 1.0 / 3628800.0
        odd = 1.0 / 39916800.0 * w + 1.0 / 362880.0
        even = even * w + 1.0 / 40320.0
        odd = odd * w + 1.0 / 5040.0
        even = even * w + 1.0 / 720.0
        odd = odd * w + 1.0 / 120.0
        even = even * w + 1.0 / 24.0
        odd = odd * w + 1.0 / 6.0
        even = even * w + 0.5
        x[i] = (even + odd * r) * w + r + 1.0
    for i in range(n):
        shifted_bits[i] = (shifted_bits[i] << 52) + ONE_BITS
    for i in range(n):
        x[i] *= shifted[i]


@fused_kernel
def logarithms(x: FloatArray, bits: IntArray, exponent: FloatArray, exponent_bits: IntArray) -> None:
    """Replace x by ln(x) for normal numbers x > 0; `bits` is a view of x, `exponent` is scratch with a view of its own."""
    n = x.size
    for i in range(n):
        raised = bits[i] + (ONE_BITS - ROOT_HALF_BITS)
        exponent_bits[i] = (raised >> 52) | TWO_52_BITS
        bits[i] = (raised & MANTISSA) + ROOT_HALF_BITS
    for i in range(n):
        power = exponent[i] - (TWO_52 + 1023.0)
        s = (x[i] - 1.0) / (x[i] + 1.0)
        z = s * s
        w = z * z
        even = 1.0 / 19.0 * w + 1.0 / 15.0
        odd = (1.0 / 21.0 * w + 1.0 / 17.0) * w + 1.0 / 13.0
        even = even * w + 1.0 / 11.0
        odd = odd * w + 1.0 / 9.0
        even = even * w + 1.0 / 7.0
        odd = odd * w + 1.0 / 5.0
        even = even * w + 1.0 / 3.0
        p = even + odd * z
        x[i] = power * LN2_HIGH + (2.0 * s + (2.0 * s * z * p + power * LN2_LOW))
