"""Penalties that keep the output of networks from following another variable, for stacks of any size.

A cut on an output that follows the resonant mass bends the spectrum that is fitted afterwards. Two measures of that are
added to the loss of each network: the distance correlation (no dependence at all) and the moment decomposition (no
dependence beyond a polynomial). Both are functions of one output and one variable for each event; neither needs a second network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import numpy as np
import torch

from resonaut.errors import ConfigError, unknown_name
from resonaut.models.distances import distance_correlation
from resonaut.models.sample import FloatArray

__all__ = ("Decorrelation", "Penalty", "distance_correlation", "moment_decomposition", "quantile_edges")


_SMALLEST = 1e-300  # a sum of weights that divides: a network without events in a step has no dependence


@dataclass(frozen=True)
class Decorrelation:
    """Loss = cross-entropy + strength * dependence of the output on the protected variable.

    Parameters
    ----------
    kind
        "disco": squared distance correlation, 0 for independence alone, 1 for proportionality. "mode": moment decomposition, the
        mean square of what a polynomial in the (flattened) variable leaves of the output's distribution function.
    strength
        Weight of the penalty; 1 to 100 is usual for "disco", 10 to 1000 for "mode", whose values are smaller.
    order
        For "mode": 0 forbids any dependence, 1 lets the distribution function change linearly, 2 quadratically.
    bins
        For "mode": bins of equal weight in the protected variable.
    events
        Most events of a step that enter the penalty (of a GPU's step: it makes matrices (networks, events, events)).
    background_only
        Take the events that are not the target alone: the output shall follow the signal where there is one.

    Raises
    ------
    ConfigError
        For an unknown kind or an option out of range.

    Notes
    -----
    A step needs enough events for a dependence to show: batches of 512 and more. A few dozen events are a noisy measure, which
    costs power and protects little.

    References
    ----------
    Kasieczka, Shih, "DisCo Fever", arXiv:2001.05310; Kitouni, Nachman, Weisser, Williams, "Enhancing searches for resonances with
    machine learning and moment decomposition", arXiv:2010.09745.

    Examples
    --------
    >>> from resonaut.models.decorrelation import Decorrelation
    >>> Decorrelation("mode", strength=30.0, order=1).bins
    16
    """

    kind: Literal["disco", "mode"]
    strength: float
    order: int = 0
    bins: int = 16
    events: int = 4096
    background_only: bool = True

    def __post_init__(self) -> None:
        if self.kind not in ("disco", "mode"):
            raise ConfigError(unknown_name("decorrelation", str(self.kind), ("disco", "mode")))
        if not self.strength > 0 or not self.events > 1:
            msg = f"decorrelation needs strength > 0 and events > 1, got {self.strength!r} and {self.events!r}"
            raise ConfigError(msg)
        if not 0 <= self.order < self.bins - 1:
            msg = f"moment decomposition needs 0 <= order < bins - 1, got order {self.order!r} and {self.bins!r} bins"
            raise ConfigError(msg)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """From options by name, as a config file has them.

        Raises
        ------
        ConfigError
            For an option that does not exist, or a missing kind or strength.
        """
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                raise ConfigError(unknown_name("option of a decorrelation", name, known))
        if not {"kind", "strength"} <= set(options):
            msg = f"a decorrelation needs 'kind' and 'strength', got {sorted(options)}"
            raise ConfigError(msg)
        return cls(**options)


class Penalty:
    """Decorrelation of K networks in training, each with its own bins of the protected variable.

    Parameters
    ----------
    options
        What is punished.
    protected
        (n,) protected variable of all events.
    edges
        (K, bins - 1) inner edges of each network's bins, by its own training events (`quantile_edges`).
    """

    def __init__(self, options: Decorrelation, protected: torch.Tensor, edges: torch.Tensor) -> None:
        self.options, self.protected, self.edges = options, protected, edges

    def __call__(
        self, output: torch.Tensor, rows: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """Penalty (K,), strength included, of the outputs (K, n) of events `rows` with `target` and `weight`, all (K, n)."""
        options = self.options
        amount = weight * (1 - target) if options.background_only else weight
        used = amount > 0
        count = min(options.events, int(used.sum(dim=1).max()))
        if count < 2:
            return output.new_zeros(len(output))
        first = torch.argsort(~used, dim=1, stable=True)[:, :count]  # those that count, in the order of the batch
        output, amount = torch.gather(output, 1, first), torch.gather(amount, 1, first)
        protected = self.protected[torch.gather(rows, 1, first)]
        if options.kind == "disco":
            return options.strength * distance_correlation(output, protected, amount)
        place = torch.searchsorted(self.edges, protected.contiguous(), right=True)
        return options.strength * moment_decomposition(output, place, amount, options.bins, options.order)

    def of_many(
        self, output: torch.Tensor, rows: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """Mean penalty (K,) of more events than a step has, in parts of `events`; they must come in random order."""
        total = output.new_zeros(len(output), dtype=torch.float64)
        norm = total + _SMALLEST
        arrays = (torch.split(each, self.options.events, dim=1) for each in (output, rows, target, weight))
        for part in zip(*arrays, strict=True):
            amount = part[3].double().sum(dim=1)  # a part may be padding for some networks
            total += amount * self(*part)
            norm += amount
        return total / norm

    def keep(self, chosen: torch.Tensor) -> None:
        """Drop all networks but the chosen."""
        self.edges = self.edges[chosen]


def quantile_edges(values: FloatArray, weight: FloatArray, bins: int) -> FloatArray:
    """Inner edges (bins - 1,) of bins that hold equal weight.

    Examples
    --------
    >>> quantile_edges(np.arange(100.0), np.ones(100), 4).tolist()
    [25.0, 50.0, 75.0]
    """
    order = np.argsort(values, kind="stable")
    passed = np.cumsum(weight[order])
    wanted = np.arange(1, bins) / bins * passed[-1]
    place = np.searchsorted(passed, wanted * (1 + 1e-12), side="right")
    return np.asarray(values[order[np.minimum(place, len(values) - 1)]], dtype=np.float64)


def moment_decomposition(
    output: torch.Tensor, place: torch.Tensor, weight: torch.Tensor, bins: int, order: int
) -> torch.Tensor:
    """How far the distribution of K outputs depends on a binned variable beyond a polynomial; differentiable in the output.

    Parameters
    ----------
    output
        (K, n).
    place
        (K, n) bin of the protected variable, 0 .. bins - 1, in bins of equal weight.
    weight
        (K, n) event weights >= 0.
    bins, order
        Number of bins and degree of the polynomial that is allowed.

    Returns
    -------
    torch.Tensor
        (K,) integral over s of the mean over bins of (F_m(s) - polynomial in m)^2, F_m being the distribution function of
        the output in bin m, less what the finite number of events adds to it on average. About 0 for independence,
        sometimes a little below.

    Notes
    -----
    The polynomial is the orthogonal projection on Legendre polynomials at the bins' centres. F_m are steps at the
    outputs, so that the integral is a sum over sorted outputs, exactly, and so is its derivative. Events are not independent of
    their own F_m: uncorrected, a step of a few events a bin would ask above all for outputs that are all alike. Bins
    with fewer than two events in a step are left out.

    References
    ----------
    arXiv:2010.09745, eqs. 3.1 to 3.6.
    """
    sorted_output, place_order = torch.sort(output, dim=1)
    with torch.no_grad():
        sorted_place, sorted_weight = torch.gather(place, 1, place_order), torch.gather(weight, 1, place_order)
        residual = _residuals(sorted_place, sorted_weight, bins, order)
    return (residual[:, :-1] * torch.diff(sorted_output, dim=1)).sum(dim=1)


def _residuals(place: torch.Tensor, weight: torch.Tensor, bins: int, order: int) -> torch.Tensor:
    """Mean square over bins (K, n), noise taken off, of what the polynomial leaves just above each sorted output."""
    weight = weight.double()
    member = torch.zeros(*weight.shape, bins, dtype=weight.dtype, device=weight.device)
    member.scatter_(2, place[..., None], weight[..., None])
    total = member.sum(dim=1, keepdim=True)
    share = member / torch.where(total > 0, total, 1.0)
    squares = share.square()
    noise = squares.sum(dim=1, keepdim=True)
    usable = (total > 0) & (noise < 1 - 1e-9)
    keep = _complement(usable[:, 0].double(), order)
    function = torch.cumsum(share, dim=1)
    variance = (torch.cumsum(squares, dim=1) - noise * function.square()) / torch.where(usable, 1 - noise, 1.0)
    expected = (variance @ torch.diagonal(keep, dim1=1, dim2=2)[..., None]).squeeze(2)
    return ((function @ keep).square().sum(dim=2) - expected) / usable.sum(dim=2).clamp(min=1)


def _complement(usable: torch.Tensor, order: int) -> torch.Tensor:
    """Projection (K, bins, bins) on what polynomials of this degree at the centres of the usable bins do not reach."""
    bins = usable.shape[1]
    centres = (2 * np.arange(bins) + 1) / bins - 1
    legendre = torch.from_numpy(np.polynomial.legendre.legvander(centres, order)).to(usable.device)
    basis = torch.linalg.qr(usable[:, :, None] * legendre).Q
    reached = usable[:, :, None] * (basis @ basis.mT) * usable[:, None, :]
    return torch.diag_embed(usable).sub_(reached)
