"""Conditional densities by normalising flows."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from nflows.transforms.base import Transform
from numpy.typing import ArrayLike

from resonaut.models.flows.fitted import FittedFlow, integer_seed, rebuilding, under
from resonaut.models.flows.options import FlowOptions
from resonaut.models.flows.preprocessing import Preprocessing, Standardised, as_matrix, whole_columns
from resonaut.models.flows.training import FlowData, Progress, checked_weight, split, train_flow
from resonaut.models.flows.transforms import standard_normal
from resonaut.models.sample import FloatArray
from resonaut.models.storage import Tensors

__all__ = ("ConditionalFlow",)

_DEFAULT = FlowOptions()


class ConditionalFlow(FittedFlow):
    """Density p(x given c) of features x for context c, learnt by maximum likelihood.

    Features of whole numbers (multiplicities) are learnt with noise in (-0.5, 0.5) and drawn as whole numbers; their density at a
    whole number is then its probability.

    Parameters
    ----------
    options
        Architecture and training.
    seed
        Of everything random in `fit`.
    device
        "cpu", "cuda", ...; a GPU where there is one and none is named.

    Attributes
    ----------
    history_
        (training loss, validation loss) of each epoch, nats per event, in the flow's own coordinates.
    best_epochs_
        Epochs (from 0) that are kept, best first.
    clipped_
        Events that `latent` moved into the range of the training features so far.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> mass = rng.uniform(2.5, 5.5, size=(4000, 1))  # TeV
    >>> x = np.hstack([rng.beta(2, 3, size=(4000, 1)), rng.normal(0.2 * mass)])
    >>> flow = ConditionalFlow(FlowOptions.small(epochs=3), seed=1, device="cpu").fit(x, mass)
    >>> flow.log_prob(x[:5], mass[:5]).shape
    (5,)
    >>> drawn = flow.sample(np.full((100, 1), 3.5), seed=2)
    >>> bool(drawn[:, 0].min() > 0), drawn.shape
    (True, (100, 2))
    >>> again = ConditionalFlow.restore(flow.tensors(), flow.facts(), device="cpu")
    >>> bool((again.log_prob(x, mass) == flow.log_prob(x, mass)).all())
    True

    References
    ----------
    Durkan et al., Neural Spline Flows, arXiv:1906.04032; Hallin et al., CATHODE, arXiv:2109.00546, section III.
    """

    def __init__(self, options: FlowOptions = _DEFAULT, *, seed: int = 0, device: str | None = None) -> None:
        super().__init__(options, seed, device)

    def fit(
        self,
        features: ArrayLike,
        context: ArrayLike,
        weight: ArrayLike | None = None,
        *,
        progress: Progress | None = None,
    ) -> Self:
        """Learn from events; a part of them, chosen by the seed, only measures when to stop.

        Parameters
        ----------
        features
            (n, d), finite, no column constant.
        context
            (n, c), finite, no column constant.
        weight
            (n,) event weights >= 0.
        progress
            Called after each epoch with the epochs done and the most epochs.

        Raises
        ------
        InputError
            If shapes do not fit, a value is not finite, a column constant, a weight negative, or the events are too few.
        ModelError
            If the training diverges.
        """
        x = as_matrix("features", features)
        c = as_matrix("context", context, rows=len(x))
        w = checked_weight(weight, len(x))
        seeds = np.random.SeedSequence(self.seed).spawn(4)
        rows, held_out = split(len(x), self.options, seeds[0])
        # the range is that of all events: one of the validation set beyond it would have no likelihood
        discrete = whole_columns(x)
        if discrete.any():  # noise of the seed, not of the event: equal events must not have equal noise here
            noise = np.random.default_rng(seeds[3]).uniform(-0.5, 0.5, x.shape)
            x = np.where(discrete, x + noise, x)
        self.preprocessing_ = Preprocessing.learn(x, self.options, discrete)
        self.context_ = Standardised.learn("context", c)
        columns = self.tensor(self.preprocessing_.to(x)[0]), self.tensor(self.context_.to(c))
        data = FlowData(columns, self.tensor(w))
        training, validation = (data.take(torch.as_tensor(each, device=self.device)) for each in (rows, held_out))
        module = self.new_module(x.shape[1], c.shape[1], seeds[1])

        def loss(z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
            return -_log_density(module, z, c)

        found = train_flow(module, loss, training, validation, self.options, integer_seed(seeds[2]), progress)
        self.take_members(found)
        return self

    def log_prob(self, features: ArrayLike, context: ArrayLike) -> FloatArray:
        """Logarithm (n,) of the density in the features' own units, nats; -inf beyond the range of training.

        Parameters
        ----------
        features, context
            (n, d) and (n, c).
        """
        x, c = self._checked(features, context)
        inside = ~self.preprocessing_.outside(x)
        result = np.full(len(x), -np.inf)
        z, slope = self.preprocessing_.to(x[inside])
        blocks = self.parts(z, self.context_.to(c[inside]))
        found = [self.coordinate_log_prob(a, b).double().cpu().numpy() for a, b in blocks]
        result[inside] = np.concatenate([*found, np.empty(0)]) + slope
        return result

    def sample(self, context: ArrayLike, seed: int) -> FloatArray:
        """Draw one event for each row of the context.

        Parameters
        ----------
        context
            (m, c).
        seed
            The same seed gives the same events.

        Returns
        -------
        features
            (m, d), finite, inside the range of training.
        """
        self.require_fitted()
        c = self.context_.to(as_matrix("context", context, columns=len(self.context_.scale)))
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal((len(c), len(self.preprocessing_.low)))
        # shuffled shares: neither order nor value of the context decides which of the kept epochs draws an event
        share = rng.permutation(len(c)) % len(self.members_)
        result = np.empty_like(noise)
        for number, module in enumerate(self.members_):
            rows = share == number
            result[rows] = self.apply(module, noise[rows], c[rows], inverse=True)
        return self.preprocessing_.back(result)

    def latent(self, features: ArrayLike, context: ArrayLike) -> FloatArray:
        """Coordinates (n, d) in which the events of the density are standard normal, independent of each other and the context.

        Those of the best epoch, whatever the number of epochs kept. Events beyond the range of training are moved to its edge
        and counted in `clipped_`.
        """
        x, c = self._checked(features, context)
        z, _ = self.preprocessing_.to(self.clip(self.preprocessing_.spread(x)))
        return self.apply(self.members_[0], z, self.context_.to(c), inverse=False)

    def coordinate_log_prob(self, z: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Logarithm (n,) of the density in the flow's own coordinates, differentiable in `z`: mean density of the kept epochs.

        Parameters
        ----------
        z, context
            (n, d) and (n, c): what `preprocessing_.to` and `context_.to` give, as tensors on the flow's device.
        """
        each = [_log_density(module, z, context) for module in self.members_]
        return each[0] if len(each) == 1 else torch.logsumexp(torch.stack(each), dim=0) - float(np.log(len(each)))

    def tensors(self) -> Tensors:
        """Arrays that were learnt, for safetensors."""
        found = self.member_tensors()
        found |= {f"preprocessing.{name}": array for name, array in self.preprocessing_.tensors().items()}
        return found | {"context.shift": self.context_.shift, "context.scale": self.context_.scale}

    def facts(self) -> dict[str, Any]:
        """How it was made, JSON-able."""
        self.require_fitted()
        return self.member_facts()

    @classmethod
    def restore(cls, tensors: Tensors, facts: dict[str, Any], device: str | None = None) -> Self:
        """The flow that `tensors` and `facts` came from.

        Raises
        ------
        ModelError
            If they do not belong together.
        """
        with rebuilding("flow"):
            flow = cls(FlowOptions(**facts["options"]), seed=facts["seed"], device=device)
            flow.preprocessing_ = Preprocessing.restore(under("preprocessing.", tensors))
            flow.context_ = Standardised(tensors["context.shift"], tensors["context.scale"])
            flow.restore_members(tensors, facts)
        return flow

    def _checked(self, features: ArrayLike, context: ArrayLike) -> tuple[FloatArray, FloatArray]:
        self.require_fitted()
        x = as_matrix("features", features, columns=len(self.preprocessing_.low))
        return x, as_matrix("context", context, columns=len(self.context_.scale), rows=len(x))


def _log_density(module: Transform, z: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    values, slope = module(z, context)
    return standard_normal(values) + torch.as_tensor(slope)
