"""Random numbers that depend on (seed, stream, step, position) alone.

A stack of K networks must give each network the numbers that it would draw on its own, whichever networks stand beside it
and whichever have stopped. A generator with a state cannot do that in one call; a hash of the position can, alike on CPU
and GPU. The hash is the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), which passes BigCrush on counters.
"""

from __future__ import annotations

import numpy as np
import torch

from resonaut.models.sample import FloatArray

__all__ = ("bernoulli", "hashed", "keys", "permutations", "row_uniform")

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # int64 holds the same bits as SplitMix64's unsigned constants
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def _wrapped(value: int) -> int:
    """Python integer as int64 holds it."""
    return (value + 2**63) % 2**64 - 2**63


def _finalise(state: torch.Tensor) -> torch.Tensor:
    """Mix int64 values in place, bit for bit as unsigned SplitMix64 (shifts made logical by a mask)."""
    for shift, factor in ((30, _MIX_1), (27, _MIX_2)):
        state ^= (state >> shift) & ((1 << (64 - shift)) - 1)
        state *= factor
    state ^= (state >> 31) & ((1 << 33) - 1)
    return state


def keys(seeds: torch.Tensor, stream: int, step: int) -> torch.Tensor:
    """One key (K,) per network for one use of random numbers.

    Parameters
    ----------
    seeds
        (K,) int64.
    stream
        What for: a layer's dropout, the order of the events.
    step
        When.
    """
    mixed = _finalise(seeds + _wrapped((stream + 1) * _GOLDEN))
    return _finalise(mixed + _wrapped((step + 1) * _GOLDEN))


def hashed(key: torch.Tensor, count: int) -> torch.Tensor:
    """Hashes (K, count), uniform over int64."""
    position = torch.arange(1, count + 1, device=key.device, dtype=torch.int64) * _GOLDEN
    return _finalise(key[:, None] + position)


def bernoulli(key: torch.Tensor, rows: int, columns: int, probability: float) -> torch.Tensor:
    """Mask (K, rows, columns), True with the given probability, to 1/65536 (four draws of 16 bits from each hash).

    Row i holds the same values however many rows there are.
    """
    size = rows * columns
    draws = hashed(key, -(-size // 4)).view(torch.int16)[:, :size]
    return (draws < round(probability * 65536) - 32768).view(len(key), rows, columns)


def row_uniform(values: FloatArray) -> FloatArray:
    """Numbers (n, d) in (0, 1) that depend on the content of each row alone: noise that an event always gets again."""
    bits = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64)).view(torch.int64)
    key = torch.zeros(len(bits), dtype=torch.int64)
    for column in bits.unbind(dim=1):
        key = _finalise(key + column + _GOLDEN)
    drawn = hashed(key, bits.shape[1]).numpy().view(np.uint64) >> np.uint64(11)
    return np.asarray((drawn + 0.5) / 2.0**53)


def permutations(key: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """Random orders (K, max size): row k starts with the numbers 0 .. sizes[k]-1 in random order; the rest is padding."""
    longest = int(sizes.max())
    drawn = hashed(key, longest)
    padding = torch.arange(longest, device=key.device)[None, :] >= sizes[:, None]
    return torch.argsort(drawn.masked_fill_(padding, torch.iinfo(torch.int64).max), dim=1)
