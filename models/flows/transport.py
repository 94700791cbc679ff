"""Maps of events from one context to another by normalising flows."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike

from resonaut.errors import ConfigError
from resonaut.models.flows.density import ConditionalFlow
from resonaut.models.flows.fitted import FittedFlow, integer_seed, rebuilding, under
from resonaut.models.flows.options import FlowOptions
from resonaut.models.flows.preprocessing import as_matrix
from resonaut.models.flows.training import FlowData, Progress, checked_weight, split, train_flow
from resonaut.models.sample import FloatArray
from resonaut.models.storage import Tensors

__all__ = ("TransportFlow",)

_DEFAULT = FlowOptions()


class TransportFlow(FittedFlow):
    """Map of events x at a source context to events x' that follow a base density at a target context.

    The map begins as the identity and is trained by maximum likelihood: ln p_base(f(x)) + ln |det f'(x)|. It acts in the
    coordinates of the base flow, so that nothing leaves its range.

    Parameters
    ----------
    base
        Fitted density at the target; it is not changed.
    options
        Architecture and training. `preprocessing` and `margin` are the base's own; one epoch, the best, is kept.
    seed
        Of everything random in `fit`.
    device
        Where the map lives; None: where the base does. The base must be there too.

    Attributes
    ----------
    history_, best_epochs_, clipped_
        As in `ConditionalFlow`; clipped are events beyond the range of the base.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> mass = rng.uniform(3.0, 5.0, size=(3000, 1))
    >>> x, target = rng.normal(mass), rng.permutation(mass)
    >>> base = ConditionalFlow(FlowOptions.small(epochs=3), seed=1, device="cpu").fit(x, mass)
    >>> flow = TransportFlow(base, FlowOptions.small(epochs=2), seed=2).fit(x, mass, target)
    >>> there = flow.transport(x, mass, target)
    >>> bool(np.abs(flow.inverse(there, mass, target) - x).max() < 1e-2)
    True

    References
    ----------
    Golling, Klein, Mastandrea, Nachman, FETA, arXiv:2212.11285; Sengupta, Klein, Raine, Golling, CURTAINs Flows For Flows,
    arXiv:2305.04646, section 3.
    """

    def __init__(
        self, base: ConditionalFlow, options: FlowOptions = _DEFAULT, *, seed: int = 0, device: str | None = None
    ) -> None:
        base.require_fitted()
        super().__init__(options, seed, str(base.device) if device is None else device)
        if self.device != base.device:
            msg = f"the map would live on {self.device}, its base flow is on {base.device}: restore one on the other's device"
            raise ConfigError(msg)
        self.base = base
        self.preprocessing_ = base.preprocessing_

    def fit(
        self,
        features: ArrayLike,
        source: ArrayLike,
        target: ArrayLike,
        weight: ArrayLike | None = None,
        *,
        progress: Progress | None = None,
    ) -> Self:
        """Learn the map; a part of the events, chosen by the seed, only measures when to stop.

        Parameters
        ----------
        features
            (n, d) events that follow their own density at `source`.
        source, target
            (n, c) contexts: where each event is, and where it shall go.
        weight
            (n,) event weights >= 0.
        progress
            Called after each epoch with the epochs done and the most epochs.

        Raises
        ------
        InputError
            If shapes do not fit, a value is not finite, a weight is negative, or the events are too few.
        ModelError
            If the training diverges.
        """
        x, between = self._checked(features, source, target)
        w = checked_weight(weight, len(x))
        seeds = np.random.SeedSequence(self.seed).spawn(3)
        rows, held_out = split(len(x), self.options, seeds[0])
        z, _ = self.preprocessing_.to(self.clip(self.preprocessing_.spread(x)))
        data = FlowData((self.tensor(z), self.tensor(between)), self.tensor(w))
        training, validation = (data.take(torch.as_tensor(each, device=self.device)) for each in (rows, held_out))
        module = self.new_module(x.shape[1], between.shape[1], seeds[1])
        target_columns = slice(between.shape[1] // 2, None)

        def loss(z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
            moved, slope = module(z, c)
            return -(self.base.coordinate_log_prob(moved, c[:, target_columns]) + torch.as_tensor(slope))

        found = train_flow(module, loss, training, validation, self.options, integer_seed(seeds[2]), progress)
        del found.kept[1:]  # a map has one value
        self.take_members(found)
        return self

    def transport(self, features: ArrayLike, source: ArrayLike, target: ArrayLike) -> FloatArray:
        """Events (n, d) as they would be at `target`, inside the base's range.

        Events beyond the base's range are moved to its edge first and counted in `clipped_`.
        """
        return self._moved(features, source, target, inverse=False)

    def inverse(self, features: ArrayLike, source: ArrayLike, target: ArrayLike) -> FloatArray:
        """Events (n, d) at `source` that `transport` takes to these at `target`."""
        return self._moved(features, source, target, inverse=True)

    def tensors(self) -> Tensors:
        """Arrays that were learnt, for safetensors, with those of the base."""
        return self.member_tensors() | {f"base.{name}": array for name, array in self.base.tensors().items()}

    def facts(self) -> dict[str, Any]:
        """How it was made, JSON-able."""
        self.require_fitted()
        return self.member_facts() | {"base": self.base.facts()}

    @classmethod
    def restore(cls, tensors: Tensors, facts: dict[str, Any], device: str | None = None) -> Self:
        """The map that `tensors` and `facts` came from, with its base.

        Raises
        ------
        ModelError
            If they do not belong together.
        """
        with rebuilding("map"):
            base = ConditionalFlow.restore(under("base.", tensors), facts["base"], device)
            flow = cls(base, FlowOptions(**facts["options"]), seed=facts["seed"])
            flow.restore_members(tensors, facts)
        return flow

    def _moved(self, features: ArrayLike, source: ArrayLike, target: ArrayLike, *, inverse: bool) -> FloatArray:
        self.require_fitted()
        x, between = self._checked(features, source, target)
        z, _ = self.preprocessing_.to(self.clip(self.preprocessing_.spread(x)))
        return self.preprocessing_.back(self.apply(self.members_[0], z, between, inverse=inverse))

    def _checked(self, features: ArrayLike, source: ArrayLike, target: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Features (n, d), and both contexts standardised side by side (n, 2 c)."""
        x = as_matrix("features", features, columns=len(self.preprocessing_.low))
        contexts = [
            as_matrix(what, values, columns=len(self.base.context_.scale), rows=len(x))
            for what, values in (("source", source), ("target", target))
        ]
        return x, np.hstack([self.base.context_.to(each) for each in contexts])
