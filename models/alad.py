"""Adversarially learned anomaly detection: a generator and its inverse, and discriminators that see what they cannot reproduce."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch.nn.utils import parametrize

from resonaut.errors import InputError, ModelError
from resonaut.models.alad_networks import AladNetworks, Collapse, discriminator_loss, generator_loss
from resonaut.models.base import BaseScorer, feature_names, require_positive
from resonaut.models.draws import draw_rows, standardisation
from resonaut.models.inputs import AE_FEATURES
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, Sample
from resonaut.models.stack import choose_device
from resonaut.models.storage import Tensors
from resonaut.stats import Window

__all__ = ("Alad",)

logger = logging.getLogger(__name__)
_ROWS = 16_384  # events scored at once
_CHECKED = 4096  # events that the collapse is judged by


@register("alad")
class Alad(BaseScorer):
    """Bidirectional GAN whose third discriminator compares an event with its reconstruction.

    A generator G makes events from noise z, an encoder E makes z from events. Three discriminators teach them: D_xz tells (x, E(x))
    from (G(z), z), D_xx tells (x, x) from (x, G(E(x))), and D_zz tells (z, z) from (z, E(G(z))). The score is the L1 distance of
    (x, x) and (x, G(E(x))) in the last hidden layer of D_xx: not how far the reconstruction is, but how easily it is told.

    Adversarial trainings fail in ways that a loss does not show. A generator that makes the same event over and over, an encoder
    that sends all events to one point, a D_xz that is never wrong (its gradients have vanished), and reconstructions that are no nearer
    than the mean of all events are looked for after the training, kept in the card and told in a warning.

    Parameters
    ----------
    features
        Columns to read.
    latent
        Dimensions of the noise.
    hidden
        Width of all hidden layers.
    epochs, batch_size, learning_rate
        The training: Adam, betas (0.5, 0.999), one step of the discriminators, then one of G and E; the learning rate falls
        to zero in a straight line over the second half.
    events
        Training events at most, drawn at random.
    device
        "cpu", "cuda", ...; None takes a GPU where there is one.
    seed
        Equal seeds give equal scores on one device with the same number of threads.

    Attributes
    ----------
    collapse_
        What was found after the training.

    Notes
    -----
    Layers and losses are the paper's for tabular data, with two differences: the learning rate is annealed where the paper averages
    weights, and its default fits the thousands of steps of a search (the paper: 1e-5 and more of them). Weights are constrained by
    spectral normalisation in E and the discriminators. Events with weights are drawn in proportion to them.

    References
    ----------
    Zenati, Romain, Foo, Lecouat, Chandrasekhar, "Adversarially learned anomaly detection", arXiv:1812.02288.

    Examples
    --------
    >>> from resonaut.models import make_scorer
    >>> make_scorer("alad", epochs=5).options["latent"]
    4
    """

    uses_window: ClassVar[bool] = False

    def __init__(
        self,
        features: Sequence[str] = AE_FEATURES,
        *,
        latent: int = 4,
        hidden: int = 64,
        epochs: int = 20,
        batch_size: int = 256,
        learning_rate: float = 5e-4,
        events: int = 50_000,
        device: str | None = None,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        self.latent = latent
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.events = events
        self.device = device
        self.seed = seed
        options = {"latent": latent, "hidden": hidden, "epochs": epochs, "events": events}
        require_positive(self.name, **options, batch_size=batch_size, learning_rate=learning_rate)
        self.networks_: AladNetworks | None = None
        self.shift_: FloatArray = np.zeros(0)
        self.scale_: FloatArray = np.zeros(0)
        self.collapse_: Collapse | None = None

    @property
    def fitted(self) -> bool:
        """Whether there are networks to score with."""
        return self.networks_ is not None

    def fit(self, sample: Sample, window: Window | None = None) -> Self:
        """Train on random events; the window is only kept for the record.

        Raises
        ------
        InputError
            If there are fewer events than two batches, or none with a weight.
        ModelError
            If the networks diverge.
        """
        if min(len(sample), self.events) < 2 * self.batch_size:
            msg = f"'alad' needs at least two batches of {self.batch_size} events, got {min(len(sample), self.events)}"
            raise InputError(msg)
        device = choose_device(self.device)
        draw, start = np.random.SeedSequence(self.seed).spawn(2)
        rows = draw_rows(sample.weight, self.events, np.random.default_rng(draw))
        matrix = sample.require(self.features)
        self.shift_, self.scale_ = standardisation(matrix, sample.weight)
        points = torch.as_tensor((matrix[rows] - self.shift_) / self.scale_, dtype=torch.float32).to(device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(start.generate_state(1, np.uint64)[0] % 2**63))
            networks = AladNetworks(len(self.features), self.latent, self.hidden).normalised().to(device)
            self._train(networks, points)
            self.collapse_ = Collapse.of(networks.eval(), points[torch.randperm(len(points), device=device)[:_CHECKED]])
        if not np.isfinite(self.collapse_.generated_spread):
            msg = f"'alad' diverged at learning_rate {self.learning_rate:g}: lower it"
            raise ModelError(msg)
        for reason in self.collapse_.reasons:
            logger.warning("alad: %s; try another seed or a lower learning_rate", reason)
        self.networks_ = networks.plain()
        self.window_ = window
        return self

    def _train(self, networks: AladNetworks, points: torch.Tensor) -> None:
        networks.train()
        judges = torch.optim.Adam(networks.discriminators(), self.learning_rate, betas=(0.5, 0.999))
        makers = torch.optim.Adam(networks.makers(), self.learning_rate, betas=(0.5, 0.999))
        batches = len(points) // self.batch_size
        steps = self.epochs * batches
        for step in range(steps):
            if step % batches == 0:
                order = torch.randperm(len(points), device=points.device)[: batches * self.batch_size]
                order = order.view(batches, self.batch_size)
            for optimizer in (judges, makers):
                optimizer.param_groups[0]["lr"] = self.learning_rate * min(1.0, 2.0 * (1.0 - step / steps))
            x = points[order[step % batches]]
            for optimizer, loss in ((judges, discriminator_loss), (makers, generator_loss)):
                optimizer.zero_grad(set_to_none=True)
                z = torch.randn(len(x), self.latent, device=x.device)
                with parametrize.cached():  # one spectral normalisation for all uses in a step
                    loss(networks, x, z).backward()  # type: ignore[no-untyped-call]
                optimizer.step()

    @torch.inference_mode()
    def score(self, sample: Sample) -> FloatArray:
        """L1 distance (n,) of the event with itself and with its reconstruction, in the last hidden layer of D_xx."""
        self.require_fitted()
        assert self.networks_ is not None
        points = (sample.require(self.features) - self.shift_) / self.scale_
        device = next(self.networks_.parameters()).device
        parts = []
        for start in range(0, len(points), _ROWS):
            x = torch.as_tensor(points[start : start + _ROWS], dtype=torch.float32).to(device)
            parts.append(self.networks_.distance(x).double().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros(0)

    def learnt_tensors(self) -> Tensors:
        """All networks, and the standardisation."""
        assert self.networks_ is not None
        networks = {name: value.detach().cpu().numpy() for name, value in self.networks_.state_dict().items()}
        return {**networks, "shift": self.shift_, "scale": self.scale_}

    def learnt_facts(self) -> dict[str, Any]:
        """Whether, and how, the training has collapsed."""
        assert self.collapse_ is not None
        return self.collapse_.to_dict()

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the networks."""
        self.shift_, self.scale_ = tensors.pop("shift"), tensors.pop("scale")
        networks = AladNetworks(len(self.features), self.latent, self.hidden)
        networks.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
        self.networks_ = networks.eval().to(choose_device(self.device))
        self.collapse_ = Collapse.from_dict(facts)
