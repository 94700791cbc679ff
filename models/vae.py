"""A variational autoencoder of flat features, with the reconstruction, the divergence or both as the score."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
import torch

from resonaut.errors import ConfigError, unknown_name
from resonaut.models.base import BaseScorer, feature_names, require_events, require_fraction, require_positive
from resonaut.models.counter import keys
from resonaut.models.gaussian import draw, kl_to_normal, standard_normal
from resonaut.models.group_training import GroupTraining, train_group
from resonaut.models.inputs import AE_FEATURES
from resonaut.models.networks import join_stacks, stack_sizes
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, Sample
from resonaut.models.stack import Layer, StackedMLP, StackGroup, choose_device
from resonaut.models.storage import Tensors
from resonaut.stats import Window

__all__ = ("VAE", "VAENetwork")

logger = logging.getLogger(__name__)
Score = Literal["reconstruction", "kl", "loss"]
_NOISE_STREAM = 1 << 19
_VALIDATION_STEP = -1
_LEAST_EVENTS = 50
_VALIDATION_ROWS = 2048
_ACTIVE = 1e-2  # variance over events of a latent mean: Burda, Grosse, Salakhutdinov, arXiv:1509.00519, section 5.2


class VAENetwork(StackGroup):
    """K encoders and decoders of one shape, with Gaussian latent space.

    Parameters
    ----------
    inputs, hidden, latent
        Number of features, widths of the hidden layers (ReLU; the decoder has them in the opposite order), latent dimensions.
    beta
        Weight of the divergence.
    seeds
        One per network.
    device
        Where they live.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        latent: int,
        beta: float,
        seeds: Sequence[int],
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.latent, self.beta = latent, beta
        parts = [np.random.SeedSequence(int(seed) % 2**64).generate_state(2, np.uint64) for seed in seeds]
        first, second = (column.tolist() for column in np.stack(parts, axis=1))
        inside = [Layer(width, "relu") for width in hidden]
        self.encoder = StackedMLP(inputs, [*inside, Layer(2 * latent)], first, init="torch")
        self.decoder = StackedMLP(latent, [*inside[::-1], Layer(inputs)], second, init="torch")
        self.register_buffer("seeds", self.encoder.get_buffer("seeds").clone())
        self.to(device)

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log-variance (K, n, latent) of features (n, d)."""
        out = self.encoder(x)
        return out[..., : self.latent], out[..., self.latent :]

    def terms(self, x: torch.Tensor, step: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Half the sum of squared errors of the standardised features, and the divergence, (K, n) each.

        Parameters
        ----------
        x
            (n, d).
        step
            Number of the noise of z; None takes z = mu.
        """
        mu, log_variance = self.encode(x)
        noise = None
        if step is not None:
            key = keys(self.get_buffer("seeds"), _NOISE_STREAM, _VALIDATION_STEP if step < 0 else step)
            noise = standard_normal(key, mu.shape[1], self.latent)
        decoded = self.decoder(draw(mu, log_variance, noise))
        error = (decoded - self.encoder.standardise(x)).square().sum(dim=-1) / 2
        return error, kl_to_normal(mu, log_variance)

    def losses(self, x: torch.Tensor, step: int | None) -> torch.Tensor:
        """Reconstruction + beta * divergence (K, n)."""
        error, kl = self.terms(x, step)
        return error + self.beta * kl


@register("vae")
class VAE(BaseScorer):
    """Events that a variational autoencoder reconstructs badly, or maps far from a unit Gaussian, are anomalous.

    The loss of an event is half the squared error of its standardised features + beta * divergence of q(z given x) from N(0, 1):
    up to a constant and the factor beta, minus the evidence lower bound of a decoder with variance beta.

    Parameters
    ----------
    features
        Columns to read.
    beta
        Weight of the divergence, above 0. Below 1 for a reconstruction that is finer than the spread of the features.
    score_as
        "reconstruction" (mean squared error of the standardised features), "kl" (divergence, nats) or "loss".
    members
        Networks with their own initial weights, whose scores are averaged.
    hidden, latent
        Widths of the encoder's hidden layers (the decoder has them in the opposite order), and latent dimensions.
    epochs, patience, reduce_after
        Most epochs; epochs without a better validation loss after which a network stops, and after which its learning rate falls
        to a tenth.
    batch_size, learning_rate
        Adam.
    validation
        Fraction of the events that only measure when to stop.
    stack_size
        Networks trained at once; None takes what fits the device well.
    device
        "cpu", "cuda", ...; None takes a GPU where there is one.
    seed
        Equal seeds give equal scores on one device.

    Attributes
    ----------
    training_
        Of each member: ``loss`` (best, validation), ``epochs``, ``active`` (latent dimensions whose mean varies by more than
        0.01 in variance) and ``collapsed`` (none does).

    Notes
    -----
    Features are standardised by training events alone. Scores take z = mu, without noise.

    References
    ----------
    Kingma, Welling, arXiv:1312.6114; Higgins et al. (beta-VAE), ICLR 2017; Cerri et al., arXiv:1811.10276, and Cheng et al.,
    arXiv:2007.01850, for the scores in searches.

    Examples
    --------
    >>> VAE(score_as="kl").clone(beta=0.5).options["score_as"]
    'kl'
    """

    uses_window: ClassVar[bool] = False

    def __init__(
        self,
        features: Sequence[str] = AE_FEATURES,
        *,
        beta: float = 1.0,
        score_as: Score = "reconstruction",
        members: int = 5,
        hidden: Sequence[int] = (128, 128),
        latent: int = 4,
        epochs: int = 100,
        patience: int = 6,
        reduce_after: int = 3,
        batch_size: int = 512,
        learning_rate: float = 1e-3,
        validation: float = 0.1,
        stack_size: int | None = None,
        device: str | None = None,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        self.beta, self.score_as, self.members = beta, score_as, members
        self.hidden, self.latent = tuple(hidden), latent
        self.epochs, self.patience, self.reduce_after = epochs, patience, reduce_after
        self.batch_size, self.learning_rate, self.validation = batch_size, learning_rate, validation
        self.stack_size, self.device, self.seed = stack_size, device, seed
        if score_as not in get_args(Score):
            raise ConfigError(unknown_name(f"score of {self.name!r}", str(score_as), get_args(Score)))
        names = ("beta", "members", "latent", "epochs", "patience", "reduce_after", "batch_size", "learning_rate")
        widths = {f"hidden[{place}]": each for place, each in enumerate(self.hidden)}
        numbers = {name: getattr(self, name) for name in names}
        require_positive(self.name, **numbers, **widths, stack_size=1 if stack_size is None else stack_size)
        require_fraction(self.name, validation=validation)
        self.network_: VAENetwork | None = None
        self.training_: dict[str, list[Any]] = {}

    @property
    def fitted(self) -> bool:
        """Whether there are networks to score with."""
        return self.network_ is not None

    def _networks(self, seeds: Sequence[int]) -> VAENetwork:
        device = choose_device(self.device)
        return VAENetwork(len(self.features), self.hidden, self.latent, self.beta, seeds, device=device)

    def fit(self, sample: Sample, window: Window | None = None) -> Self:
        """Train on `sample`; the window is only kept for the record.

        Raises
        ------
        InputError
            If there are fewer than 50 events.
        ModelError
            If a loss is not finite.
        """
        require_events(self.name, sample, _LEAST_EVENTS)
        matrix = sample.require(self.features)
        divide, start, order = np.random.SeedSequence(self.seed).spawn(3)
        rows = np.random.default_rng(divide).permutation(len(sample))
        held_out = max(1, round(self.validation * len(sample)))
        measured, learnt = rows[:held_out], rows[held_out:]
        seeds = start.generate_state(self.members, np.uint64).tolist()
        options = GroupTraining(
            self.epochs, self.patience, self.reduce_after, self.batch_size, self.learning_rate,
            int(order.generate_state(1)[0]),
        )  # fmt: skip
        device = choose_device(self.device)
        x = torch.as_tensor(matrix, dtype=torch.float32).to(device)
        weight = torch.as_tensor(sample.weight / sample.weight.mean(), dtype=torch.float32).to(device)
        division = (torch.from_numpy(learnt).to(device), torch.from_numpy(measured).to(device))
        centre = np.average(matrix[learnt], axis=0, weights=sample.weight[learnt])
        spread = np.sqrt(np.average((matrix[learnt] - centre) ** 2, axis=0, weights=sample.weight[learnt]))
        standard = (torch.as_tensor(centre), torch.as_tensor(np.where(spread > 0, spread, 1.0)))
        self._train(x, weight, division, standard, seeds, options)
        self.window_ = window
        return self

    def _train(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        rows: tuple[torch.Tensor, torch.Tensor],
        standard: tuple[torch.Tensor, torch.Tensor],
        seeds: Sequence[int],
        options: GroupTraining,
    ) -> None:
        layers = [Layer(width) for width in (*self.hidden, 2 * self.latent, *self.hidden, len(self.features))]
        parts: list[VAENetwork] = []
        self.training_ = {"loss": [], "epochs": [], "active": [], "collapsed": []}
        for start, stop in stack_sizes(len(seeds), self.stack_size, self.batch_size, layers, x.device):
            network = self._networks(seeds[start:stop])
            network.encoder.get_buffer("shift").copy_(standard[0])
            network.encoder.get_buffer("scale").copy_(standard[1])

            def loss(rows: torch.Tensor, step: int, network: VAENetwork = network) -> torch.Tensor:
                return network.losses(x[rows], step)

            found = train_group(network, loss, weight, rows, options, rows_at_once=_VALIDATION_ROWS)
            with torch.inference_mode():
                mu, _ = network.encode(x[rows[1]])
            active = (mu.var(dim=1, correction=0) > _ACTIVE).sum(dim=1)
            told = (found.loss.tolist(), found.epochs.tolist(), active.tolist(), (active == 0).tolist())
            for name, values in zip(self.training_, told, strict=True):
                self.training_[name].extend(values)
            parts.append(network)
        self.network_ = join_stacks(parts)
        if collapsed := sum(self.training_["collapsed"]):
            logger.warning(
                "%d of %d members of %r do not use their latent space (posterior collapse): lower beta (%g)",
                collapsed, self.members, self.name, self.beta,
            )  # fmt: skip

    def score(self, sample: Sample) -> FloatArray:
        """Score (n,) of each event as `score_as` says, mean over members."""
        return np.asarray(self.member_scores(sample).mean(axis=0))

    @torch.inference_mode()
    def member_scores(self, sample: Sample) -> FloatArray:
        """Score (members, n) of each event as `score_as` says."""
        self.require_fitted()
        assert self.network_ is not None
        matrix, network = sample.require(self.features), self.network_
        result = np.empty((len(network), len(matrix)))
        size = network.encoder.rows_at_once
        for start in range(0, len(matrix), size):
            x = torch.as_tensor(matrix[start : start + size], dtype=torch.float32).to(network.device)
            error, kl = (term.double() for term in network.terms(x, None))
            kinds = {"reconstruction": 2 * error / matrix.shape[1], "kl": kl, "loss": error + self.beta * kl}
            result[:, start : start + size] = kinds[self.score_as].cpu().numpy()
        return result

    def learnt_tensors(self) -> Tensors:
        """Parameters and standardisation of the members."""
        assert self.network_ is not None
        return self.network_.tensors()

    def learnt_facts(self) -> dict[str, Any]:
        """How the training of each member went, and which collapsed."""
        return dict(self.training_)

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the members."""
        self.training_ = dict(facts)
        network = self._networks([0])
        network.load_tensors(tensors)
        network.eval()
        self.network_ = network
