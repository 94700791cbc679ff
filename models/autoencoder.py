"""An ensemble of autoencoders: events that are badly compressed are anomalous, wherever they lie in mass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch

from resonaut.errors import InputError
from resonaut.models.base import BaseScorer, feature_names, require_positive
from resonaut.models.counter import keys, permutations
from resonaut.models.inputs import AE_FEATURES
from resonaut.models.networks import join_stacks, stack_sizes
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, IndexArray, Sample
from resonaut.models.stack import Layer, StackedAdam, StackedMLP, choose_device
from resonaut.models.storage import Tensors
from resonaut.stats import Window

__all__ = ("Autoencoder", "autoencoder_layers")

Float32Array = npt.NDArray[np.float32]
_ORDER_STREAM = 1 << 20  # apart from the streams of the layers
_HELD_OUT = 10_000  # events for the FVU, seen by no member


def autoencoder_layers(inputs: int, hidden: int, latent: int) -> tuple[Layer, ...]:
    """hidden-hidden-latent-hidden-hidden-inputs: ReLU, batch norm after the first, bottleneck and output linear."""
    return (
        Layer(hidden, "relu", batch_norm=True),
        Layer(hidden, "relu"),
        Layer(latent),
        Layer(hidden, "relu"),
        Layer(hidden, "relu"),
        Layer(inputs),
    )


@register("autoencoder")
class Autoencoder(BaseScorer):
    """Mean reconstruction error of many briefly trained autoencoders.

    It learns what most events look like, at all masses: `fit` does not look at the window, and one fit serves all windows
    of a search. Keeping the members ignorant (a random part of the events, one epoch, two latent dimensions) is what
    leaves rare events badly reconstructed.

    Parameters
    ----------
    features
        Columns to read.
    members
        Autoencoders, each with its own events and initial weights.
    events
        Size of each member's random subsample (all events, where there are fewer).
    epochs, batch_size, learning_rate
        The training: Adam, betas (0.9, 0.999).
    latent, hidden
        Width of the bottleneck and of the other layers.
    stack_size
        Members trained at once; None takes what fits the device well.
    device
        "cpu", "cuda", ...; None takes a GPU where there is one.
    seed
        Equal seeds give equal scores, bit for bit on one device with the same number of threads.

    Attributes
    ----------
    fvu_
        (members,) fraction of variance unexplained (eq. C.3) on events that no member saw. A latent dimension is worth adding
        if it lowers this by clearly more than 1 / (number of features) (appendix C).

    Notes
    -----
    Inputs are standardised by the events given to `fit`. Defaults are the paper's. Jet pT among the features rises with
    mJJ, so a tight cut prefers high masses: the selected spectrum is bent smoothly, not bumped, and must be fitted after
    the cut.

    References
    ----------
    "Comparing Weak- and Unsupervised Methods for Resonant Anomaly Detection", arXiv:2104.02092, section 3.2, appendix C.

    Examples
    --------
    >>> Autoencoder.fast().members
    10
    """

    uses_window: ClassVar[bool] = False

    def __init__(
        self,
        features: Sequence[str] = AE_FEATURES,
        *,
        members: int = 50,
        events: int = 50_000,
        epochs: int = 1,
        batch_size: int = 128,
        learning_rate: float = 1e-4,
        latent: int = 2,
        hidden: int = 512,
        stack_size: int | None = None,
        device: str | None = None,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        self.members = members
        self.events = events
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.latent = latent
        self.hidden = hidden
        self.stack_size = stack_size
        self.device = device
        self.seed = seed
        require_positive(
            self.name,
            members=members,
            events=events,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            latent=latent,
            hidden=hidden,
            stack_size=1 if stack_size is None else stack_size,
        )
        self.network_: StackedMLP | None = None
        self.fvu_: FloatArray = np.zeros(0)

    @classmethod
    def fast(cls, **changes: Any) -> Self:
        """Ten members: with 5 folds as many as the paper's in all, at a fifth of the time; any option can be changed."""
        return cls(**{"members": 10, **changes})

    @property
    def fitted(self) -> bool:
        """Whether there are networks to score with."""
        return self.network_ is not None

    @property
    def _layers(self) -> tuple[Layer, ...]:
        return autoencoder_layers(len(self.features), self.hidden, self.latent)

    def fit(self, sample: Sample, window: Window | None = None) -> Autoencoder:
        """Train on random events of `sample`; the window is only kept for the record.

        Raises
        ------
        InputError
            If there are fewer than 10 events.
        """
        if len(sample) < 10:
            msg = f"an autoencoder needs at least 10 events, got {len(sample)}"
            raise InputError(msg)
        matrix = sample.require(self.features)
        centre = np.average(matrix, axis=0, weights=sample.weight)
        spread = np.sqrt(np.average((matrix - centre) ** 2, axis=0, weights=sample.weight))
        inputs = ((matrix - centre) / np.where(spread > 0, spread, 1.0)).astype(np.float32)
        weight = (sample.weight / sample.weight.mean()).astype(np.float32)
        draw, start = np.random.SeedSequence(self.seed).spawn(2)
        order = np.random.default_rng(draw).permutation(len(sample))
        held_out = min(_HELD_OUT, len(sample) // 5)
        pool = order[held_out:]
        seeds = start.generate_state(self.members, np.uint64).tolist()
        self.network_ = self._train(inputs, weight, pool, seeds)
        self.window_ = window
        self.fvu_ = self._unexplained(inputs[order[:held_out]], weight[order[:held_out]])
        scale = np.where(spread > 0, spread, 1.0)
        self.network_.get_buffer("shift").copy_(torch.as_tensor(centre))
        self.network_.get_buffer("scale").copy_(torch.as_tensor(scale))
        return self

    def _train(self, inputs: Float32Array, weight: Float32Array, pool: IndexArray, seeds: Sequence[int]) -> StackedMLP:
        device = choose_device(self.device)
        features, weights = torch.from_numpy(inputs).to(device), torch.from_numpy(weight).to(device)
        parts = []
        for start, stop in stack_sizes(len(seeds), self.stack_size, self.batch_size, self._layers, device):
            network = StackedMLP(len(self.features), self._layers, seeds[start:stop], init="torch", device=device)
            self._train_part(network, features, weights, torch.from_numpy(pool).to(device))
            parts.append(network)
        return join_stacks(parts)

    def _train_part(
        self, network: StackedMLP, features: torch.Tensor, weights: torch.Tensor, pool: torch.Tensor
    ) -> None:
        """`epochs` passes over the first `events` of each member's own random order of the pool."""
        adam = StackedAdam(network, self.learning_rate)
        size = min(self.events, len(pool))
        seeds = network.get_buffer("seeds")
        sizes = torch.full((len(network),), len(pool), device=network.device)
        own = pool[permutations(keys(seeds, _ORDER_STREAM, 0), sizes)[:, :size]]
        network.train()
        for epoch in range(self.epochs):
            order = permutations(keys(seeds, _ORDER_STREAM, epoch + 1), sizes.new_full((len(network),), size))
            rows = torch.gather(own, 1, order)
            for batch in torch.split(rows, self.batch_size, dim=1):
                x = features[batch]
                error = (network(x) - x).square().mean(dim=2) * weights[batch]
                error.mean(dim=1).sum().backward()
                adam.step()
        network.eval()

    @torch.inference_mode()
    def _unexplained(self, inputs: Float32Array, weight: Float32Array) -> FloatArray:
        """Fraction of variance unexplained (members,), before the standardisation is put inside the network."""
        assert self.network_ is not None
        errors = [error.mean(dim=2) for error in _errors(self.network_, inputs)]
        return np.average(torch.cat(errors, dim=1).double().cpu().numpy(), axis=1, weights=weight)

    @torch.inference_mode()
    def score(self, sample: Sample) -> FloatArray:
        """Mean squared error (n,) of the standardised features, over features and members."""
        self.require_fitted()
        assert self.network_ is not None
        matrix = sample.require(self.features)
        parts = [error.mean(dim=(0, 2)).double().cpu().numpy() for error in _errors(self.network_, matrix)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def learnt_tensors(self) -> Tensors:
        """Parameters and standardisation of the members, and their FVU."""
        assert self.network_ is not None
        return {**self.network_.tensors(), "fvu": self.fvu_}

    def learnt_facts(self) -> dict[str, Any]:
        """Fraction of variance unexplained: mean and spread over members."""
        return {"fvu_mean": float(self.fvu_.mean()), "fvu_std": float(self.fvu_.std())}

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the members."""
        del facts
        self.fvu_ = tensors.pop("fvu")
        device = choose_device(self.device)
        self.network_ = StackedMLP(len(self.features), self._layers, [0], init="torch", device=device)
        self.network_.load_tensors(tensors)
        self.network_.eval()


def _errors(network: StackedMLP, matrix: FloatArray | Float32Array, rows: int = 2048) -> Iterator[torch.Tensor]:
    """Squared errors (members, rows, d), a few thousand rows at a time."""
    for start in range(0, len(matrix), rows):
        part = torch.as_tensor(matrix[start : start + rows], dtype=torch.float32).to(network.device)
        yield (network(part) - network.standardise(part)).square()
