"""Distance correlation of many outputs with one variable, with weights and derivatives, without matrices on the CPU."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch

from resonaut.compiled import kernel
from resonaut.models.sample import FloatArray, IndexArray

__all__ = ("distance_correlation",)

_DENSE_BYTES = {"cpu": 64e6, "cuda": 2e9}  # of (K, n, n) matrices at once
_DEGENERATE = 1e-12  # variance of distances, in units of the mean square, below which a variable is constant
_SMALLEST = 1e-300  # a sum of weights that divides: a network without events in a step has no dependence


def distance_correlation(
    output: torch.Tensor, protected: torch.Tensor, weight: torch.Tensor | None = None, *, dense: bool | None = None
) -> torch.Tensor:
    """Squared weighted distance correlation (K,) of K outputs with a variable, differentiable in the output.

    Parameters
    ----------
    output
        (K, n).
    protected
        (K, n), or (n,) for all.
    weight
        (K, n) or (n,) event weights >= 0; equal where not given.
    dense
        Whether to make the matrices of distances, which a GPU does well; the CPU sums over sorted values instead, in
        n log n steps and without matrices. None chooses by the device. The result is the same.

    Returns
    -------
    torch.Tensor
        In [0, 1]; 0 where one of the two is constant.

    Notes
    -----
    With p the weights divided by their sum, a_ij = abs(x_i - x_j), b_ij = abs(y_i - y_j), and A, B the matrices less their weighted
    row and column means, plus the mean of all: dCov^2 = sum p_i p_j A_ij B_ij, dCor^2 = dCov^2(x, y) / sqrt(dCov^2(x, x)
    dCov^2(y, y)). All of it follows from S_i = sum_j p_j sign(x_i - x_j) B_ij and T_i, the same with A: dCov^2(x, y) = 2
    sum p_i x_i S_i with derivative 2 p_i S_i, dCov^2(x, x) = 2 sum p_i x_i T_i with derivative 4 p_i T_i.

    References
    ----------
    Szekely, Rizzo, Bakirov, "Measuring and testing dependence by correlation of distances", arXiv:0803.4101; weights as in
    arXiv:2001.05310, section 3; sums over sorted values: Huo, Szekely, "Fast computing for distance covariance", arXiv:1410.1503.

    Examples
    --------
    >>> x = torch.tensor([[1.0, 2.0, 4.0, 8.0]])
    >>> round(float(distance_correlation(x, 3 - 2 * x)), 6)
    1.0
    """
    protected, weight = (_for_each(output, values) for values in (protected, weight))
    use_dense = output.device.type != "cpu" if dense is None else dense
    value = _DistanceCorrelation.apply(output, protected, weight, use_dense)  # type: ignore[no-untyped-call]
    return cast("torch.Tensor", value)


def _for_each(output: torch.Tensor, values: torch.Tensor | None) -> torch.Tensor:
    """Values (n,) or (K, n), or ones, in the shape of the outputs."""
    return torch.ones_like(output) if values is None else values.to(output.device).expand(output.shape)


class _DistanceCorrelation(torch.autograd.Function):
    """Value and gradient in one pass: no graph of (K, n, n) matrices is kept."""

    @staticmethod
    def forward(
        ctx: Any, output: torch.Tensor, protected: torch.Tensor, weight: torch.Tensor, dense: bool
    ) -> torch.Tensor:
        x, y, p = (each.detach().double() for each in (output, protected, weight))
        p = p / p.sum(dim=1, keepdim=True).clamp(min=_SMALLEST)
        x, y = (_standardised(each, p) for each in (x, y))
        with_y, with_x, spread_y = _dense_sums(x, y, p) if dense else _sorted_sums(x, y, p)
        covariance, spread_x = (2 * (p * x * sums).sum(dim=1) for sums in (with_y, with_x))
        usable = (spread_x > _DEGENERATE) & (spread_y > _DEGENERATE)
        scale = torch.where(usable, spread_x * spread_y, 1.0).sqrt()
        value = torch.where(usable, covariance / scale, 0.0)
        slope = 2 * p * (with_y / scale[:, None] - (value / torch.where(usable, spread_x, 1.0))[:, None] * with_x)
        spread = _deviation(output.detach().double(), p)
        ctx.save_for_backward(torch.where(usable[:, None], slope / spread, 0.0))
        return value.clamp(min=0.0).to(output.dtype)

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (slope,) = ctx.saved_tensors
        return (outer[0][:, None] * slope).to(outer[0].dtype), None, None, None


def _deviation(values: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Standard deviation (K, 1), 1 for constants."""
    mean = (p * values).sum(dim=1, keepdim=True)
    spread = (p * (values - mean).square()).sum(dim=1, keepdim=True).sqrt()
    return torch.where(spread > 1e-12 * mean.abs(), spread, 1.0)


def _standardised(values: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Mean 0 and spread 1: the correlation stays as it is, and sums of products keep their digits."""
    return (values - (p * values).sum(dim=1, keepdim=True)) / _deviation(values, p)


def _dense_sums(x: torch.Tensor, y: torch.Tensor, p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """S and T (K, n) and dCov^2(y, y) (K,) from the matrices of distances, a few networks at a time."""
    budget = _DENSE_BYTES.get(x.device.type, _DENSE_BYTES["cpu"])
    together = max(1, int(budget / (6 * 8 * x.shape[1] ** 2)))
    parts = []
    for each_x, each_y, each_p in zip(*(torch.split(each, together) for each in (x, y, p)), strict=True):
        across = each_p[:, None, :]
        signed = each_x[:, :, None] - each_x[:, None, :]
        centred_y = _centred((each_y[:, :, None] - each_y[:, None, :]).abs(), each_p)
        centred_x = _centred(signed.abs(), each_p)
        signed = signed.sign_() * across
        spread = (centred_y.square() * across).sum(dim=2)
        parts.append(((signed * centred_y).sum(dim=2), (signed * centred_x).sum(dim=2), (spread * each_p).sum(dim=1)))
    first, second, third = (torch.cat(part) for part in zip(*parts, strict=True))
    return first, second, third


def _centred(distance: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    mean = (distance * p[:, None, :]).sum(dim=2)
    return distance - mean[:, :, None] - mean[:, None, :] + (mean * p).sum(dim=1)[:, None, None]


def _sorted_sums(x: torch.Tensor, y: torch.Tensor, p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As `_dense_sums`, without matrices."""
    with_y, with_x, spread = np.empty(x.shape), np.empty(x.shape), np.empty(len(x))
    _sums(x.contiguous().numpy(), y.contiguous().numpy(), p.contiguous().numpy(), with_y, with_x, spread)
    return torch.from_numpy(with_y), torch.from_numpy(with_x), torch.from_numpy(spread)


@kernel
def _sums(
    x: FloatArray, y: FloatArray, p: FloatArray, with_y: FloatArray, with_x: FloatArray, spread: FloatArray
) -> None:
    count = x.shape[1]
    mean_x, mean_y, rank = np.empty(count), np.empty(count), np.empty(count, np.int64)
    for k in range(len(x)):
        by_x, by_y = np.argsort(x[k]), np.argsort(y[k])
        all_x = _mean_distances(x[k], p[k], by_x, mean_x)
        all_y = _mean_distances(y[k], p[k], by_y, mean_y)
        square, sum_py = 0.0, 0.0
        for place in range(count):
            i = by_y[place]
            rank[i] = place
            sum_py += p[k, i] * y[k, i]
            square += p[k, i] * (2.0 * y[k, i] * y[k, i] - 2.0 * mean_y[i] * mean_y[i])
        spread[k] = square - 2.0 * sum_py * sum_py + all_y * all_y
        _signed_y(x[k], y[k], p[k], by_x, rank, mean_y, with_y[k])
        _take_means(x[k], p[k], by_x, mean_y, all_y, with_y[k])
        with_x[k] = x[k]  # sum of p_j (x_i - x_j), the mean being 0
        _take_means(x[k], p[k], by_x, mean_x, all_x, with_x[k])


@kernel
def _signed_y(
    x: FloatArray,
    y: FloatArray,
    p: FloatArray,
    by_x: IndexArray,
    rank: IndexArray,
    mean_y: FloatArray,
    out: FloatArray,
) -> None:
    """Sum over j of p_j sign(x_i - x_j) abs(y_i - y_j): distances in y to smaller x less those to larger x."""
    count = len(x)
    tree_p, tree_py = np.zeros(count + 1), np.zeros(count + 1)
    passed_p, passed_py, start = 0.0, 0.0, 0
    for i in range(count):
        out[i] = -mean_y[i]  # all of them once with a minus; smaller x come twice, equal x once with a plus
    while start < count:
        stop = start
        while stop < count and x[by_x[stop]] == x[by_x[start]]:
            i = by_x[stop]
            out[i] += _distance(tree_p, tree_py, rank[i], y[i], passed_p, passed_py)
            stop += 1
        for place in range(start, stop):
            i = by_x[place]
            _add(tree_p, tree_py, rank[i], p[i], p[i] * y[i])
            passed_p += p[i]
            passed_py += p[i] * y[i]
        for place in range(start, stop):
            i = by_x[place]
            out[i] += _distance(tree_p, tree_py, rank[i], y[i], passed_p, passed_py)
        start = stop


@kernel
def _take_means(
    x: FloatArray, p: FloatArray, by_x: IndexArray, mean: FloatArray, overall: float, out: FloatArray
) -> None:
    """Add sum over j of p_j sign(x_i - x_j) (overall - mean_i - mean_j)."""
    total = 0.0
    for i in range(len(x)):
        total += p[i] * mean[i]
    passed_p, passed, start = 0.0, 0.0, 0
    while start < len(x):
        stop, group_p, group = start, 0.0, 0.0
        while stop < len(x) and x[by_x[stop]] == x[by_x[start]]:
            group_p += p[by_x[stop]]
            group += p[by_x[stop]] * mean[by_x[stop]]
            stop += 1
        sign = 2.0 * passed_p + group_p - 1.0  # weight of smaller x less that of larger x
        for place in range(start, stop):
            i = by_x[place]
            out[i] += sign * (overall - mean[i]) - (2.0 * passed + group - total)
        passed_p += group_p
        passed += group
        start = stop


@kernel
def _mean_distances(values: FloatArray, p: FloatArray, order: IndexArray, mean: FloatArray) -> float:
    """Weighted mean distance of each value to all, and the mean of those; p sums to 1 and p * values to 0."""
    below, moment, total = 0.0, 0.0, 0.0
    for i in order:
        below += p[i]
        moment += p[i] * values[i]
        mean[i] = values[i] * (2.0 * below - 1.0) - 2.0 * moment
        total += p[i] * mean[i]
    return total


@kernel
def _add(tree_p: FloatArray, tree_py: FloatArray, place: int, p: float, py: float) -> None:
    """Add an event to the sums by rank (a Fenwick tree)."""
    node = place + 1
    while node < len(tree_p):
        tree_p[node] += p
        tree_py[node] += py
        node += node & -node


@kernel
def _distance(tree_p: FloatArray, tree_py: FloatArray, place: int, y: float, total_p: float, total_py: float) -> float:
    """Sum of p_j abs(y - y_j) over the events added so far, whose p sum to `total_p` and p y to `total_py`."""
    below_p, below_py = 0.0, 0.0
    node = place + 1
    while node > 0:
        below_p += tree_p[node]
        below_py += tree_py[node]
        node -= node & -node
    return y * (2.0 * below_p - total_p) - (2.0 * below_py - total_py)
