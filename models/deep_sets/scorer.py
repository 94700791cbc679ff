"""The Deep Set VAE as a scorer, and the fit of several at once."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch

from resonaut.errors import ConfigError
from resonaut.models.base import BaseScorer, feature_names, require_events, require_fraction, require_positive
from resonaut.models.deep_sets.network import DeepSetNetwork, SetDesign
from resonaut.models.deep_sets.sets import ObjectColumns, ObjectEvents, SetArrays, group_objects
from resonaut.models.deep_sets.task import SetTask
from resonaut.models.gaussian import kl_to_normal
from resonaut.models.group_training import GroupTraining, train_group
from resonaut.models.inputs import AE_FEATURES
from resonaut.models.networks import join_stacks, stack_sizes
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, Sample
from resonaut.models.stack import choose_device
from resonaut.models.storage import Tensors
from resonaut.stats import Window

__all__ = ("DeepSetVAE", "fit_together")

logger = logging.getLogger(__name__)
_LEAST_EVENTS = 50
_VALIDATION_ROWS = 1024
_ACTIVE = 1e-2  # variance over events of a latent mean: Burda, Grosse, Salakhutdinov, arXiv:1509.00519, section 5.2
_CONSTANT = 1e-6  # standard deviation over events of the latent numbers, below which rounding ranks the events


@register("deep-sets")
class DeepSetVAE(BaseScorer):
    """Loss of a variational autoencoder that reads an event as a set of objects, in any order and of any number.

    One function Phi maps each object to means and log-variances; featurewise sort pooling makes them those of the event. With
    beta = 1, the published choice and the default, there is no decoder: the encoder learns to map all known events to a unit
    Gaussian, and the score is the divergence from it.

    Parameters
    ----------
    features
        All columns, object by object. Without `objects` their names say which belong together (``obj1_...``, ``obj2_...``, or
        endings such as ``_h``, ``_l``). The default is the two jets of a dijet.
    objects
        Columns of each object: its kind first (whole numbers, 0 = no such object), then continuous ones.
    kinds
        False: objects have no kind, all columns are continuous and all objects are always there. None: True where the first
        column of the first object is named ``..._kind`` or ``kind``, or where `objects` is given.
    n_kinds
        Number of kinds.
    beta
        Weight of the divergence in the loss, above 0, at most 1; 1 - beta is that of the reconstruction.
    w
        Weight of the kinds in the reconstruction.
    members
        Networks with their own initial weights, whose scores are averaged. The paper has one.
    latent, hidden, pieces
        Latent dimensions, widths inside Phi (ReLU), and straight pieces of the pooling weights.
    decoder_hidden, outputs
        Widths inside the decoder (ReLU), and objects that it gives: by default 20 with kinds, else as many as go in.
    one_hot
        Give Phi each kind as an input of its own; False gives the kind as a number, as the paper does.
    raw_distance
        Measure reconstruction in the columns' own units, as the paper does, and not in standard deviations.
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
        Of each member: ``loss`` (best, validation), ``epochs``, ``kl_mean`` and ``kl_std`` over validation events, ``active``
        (latent dimensions whose mean varies by more than 0.01 in variance), ``collapsed`` (none does) and ``constant`` (the
        latent numbers of all events agree to 1e-6: nothing but rounding is left).

    Notes
    -----
    Continuous columns are standardised by the objects that are there in training events. The score takes z = mu, without noise.

    With beta = 1 a collapsed encoder is what the loss asks for: its optimum is a constant, and the score is what is left of the
    events in an encoder that has nearly reached it. Such a member is reported, and warned of where it is constant.

    References
    ----------
    Ostdiek, "Deep Set Auto Encoders for Anomaly Detection in Particle Physics", arXiv:2109.01695, section 3.

    Examples
    --------
    >>> DeepSetVAE().objects[1][:2]
    ('m_l', 'tau21_l')
    >>> DeepSetVAE(objects=[["obj1_kind", "obj1_log_pt"], ["obj2_kind", "obj2_log_pt"]]).features
    ('obj1_kind', 'obj1_log_pt', 'obj2_kind', 'obj2_log_pt')
    """

    uses_window: ClassVar[bool] = False

    def __init__(
        self,
        features: Sequence[str] | None = None,
        *,
        objects: Sequence[Sequence[str]] | None = None,
        kinds: bool | None = None,
        n_kinds: int = 8,
        beta: float = 1.0,
        w: float = 1.0,
        members: int = 5,
        latent: int = 8,
        hidden: Sequence[int] = (264, 264, 264),
        pieces: int = 20,
        decoder_hidden: Sequence[int] = (256, 256),
        outputs: int | None = None,
        one_hot: bool = True,
        raw_distance: bool = False,
        epochs: int = 40,
        patience: int = 4,
        reduce_after: int = 2,
        batch_size: int = 500,
        learning_rate: float = 1e-3,
        validation: float = 0.1,
        stack_size: int | None = None,
        device: str | None = None,
        seed: int = 0,
    ) -> None:
        self.objects, self.kinds = _objects(features, objects, kinds)
        self.columns = ObjectColumns(self.objects, n_kinds if self.kinds else 0)
        self.features = self.columns.features
        self.n_kinds, self.beta, self.w, self.members = n_kinds, beta, w, members
        self.latent, self.hidden, self.pieces = latent, tuple(hidden), pieces
        self.decoder_hidden, self.one_hot, self.raw_distance = tuple(decoder_hidden), one_hot, raw_distance
        self.outputs = (20 if self.kinds else len(self.objects)) if outputs is None else outputs
        self.epochs, self.patience, self.reduce_after = epochs, patience, reduce_after
        self.batch_size, self.learning_rate, self.validation = batch_size, learning_rate, validation
        self.stack_size, self.device, self.seed = stack_size, device, seed
        self._check()
        self.network_: DeepSetNetwork | None = None
        self.training_: dict[str, list[Any]] = {}

    def _check(self) -> None:
        if tuple(self.features) != self.columns.features:
            msg = f"features of {self.name!r} must be the columns of its objects in their order: leave one of them out"
            raise ConfigError(msg)
        widths = {f"hidden[{place}]": each for place, each in enumerate((*self.hidden, *self.decoder_hidden))}
        names = ("n_kinds", "beta", "members", "latent", "pieces", "outputs", "epochs", "patience", "reduce_after")
        numbers = {name: getattr(self, name) for name in (*names, "batch_size", "learning_rate")}
        stack_size = 1 if self.stack_size is None else self.stack_size
        require_positive(self.name, **numbers, **widths, stack_size=stack_size)
        require_fraction(self.name, validation=self.validation)
        for name, top in (("beta", self.beta <= 1), ("w", self.w >= 0)):
            if not top:
                limit = {"beta": "at most 1", "w": "at least 0"}[name]
                msg = f"option {name!r} of {self.name!r} must be {limit}, got {getattr(self, name)!r}"
                raise ConfigError(msg)

    @property
    def options(self) -> dict[str, Any]:
        """Constructor arguments, JSON-able."""
        return {**super().options, "objects": [list(each) for each in self.objects]}

    @property
    def design(self) -> SetDesign:
        """Shape of the networks."""
        return SetDesign(
            self.columns.continuous, self.columns.kinds, self.hidden, self.latent, self.pieces,
            self.decoder_hidden, self.outputs, self.one_hot, self.raw_distance,
        )  # fmt: skip

    @property
    def fitted(self) -> bool:
        """Whether there are networks to score with."""
        return self.network_ is not None

    def fit(self, sample: Sample, window: Window | None = None) -> Self:
        """Train on `sample`; the window is only kept for the record.

        Raises
        ------
        InputError
            If there are fewer than 50 events, a kind is not one, or an event has no object.
        ModelError
            If a loss is not finite.
        """
        fit_together([self], sample)
        self.window_ = window
        return self

    def score(self, sample: Sample) -> FloatArray:
        """Loss (n,) of each event, mean over members.

        Raises
        ------
        InputError
            If a kind is not one, or an event has no object.
        """
        return np.asarray(self.member_scores(sample).mean(axis=0))

    @torch.inference_mode()
    def member_scores(self, sample: Sample) -> FloatArray:
        """Loss (members, n) of each event."""
        self.require_fitted()
        assert self.network_ is not None
        result = np.empty((self.members, len(sample)))
        if not len(sample):
            return result
        arrays = self.columns.split(sample.require(self.features))
        events = ObjectEvents.of(arrays, self.network_.device)
        for start, stop in _parts(arrays, self.network_):
            rows = torch.arange(start, stop, device=self.network_.device)
            result[:, start:stop] = self.network_.losses(events.take(rows), None).cpu().numpy()
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
        network = DeepSetNetwork(self.design, [0], [self.beta], [self.w], device=choose_device(self.device))
        network.load_tensors(tensors)
        network.eval()
        self.network_ = network


def _objects(
    features: Sequence[str] | None, objects: Sequence[Sequence[str]] | None, kinds: bool | None
) -> tuple[tuple[tuple[str, ...], ...], bool]:
    """Columns of each object, and whether the first of them is a kind."""
    if objects is None:
        chosen = group_objects(AE_FEATURES if features is None else features)
        named = chosen[0][0].endswith("_kind") or chosen[0][0].startswith("kind")
        return chosen, named if kinds is None else bool(kinds)
    given = tuple((each,) if isinstance(each, str) else tuple(each) for each in objects)
    flat = tuple(name for each in given for name in each)
    if features is not None and feature_names(features) != flat:
        msg = f"features of 'deep-sets' must be the columns of its objects in their order, got {list(features)} for {list(flat)}"
        raise ConfigError(msg)
    return given, True if kinds is None else bool(kinds)


def _parts(arrays: SetArrays, network: DeepSetNetwork) -> Iterator[tuple[int, int]]:
    """Ranges of events to evaluate at once: as many as Phi takes objects well."""
    size = max(16, int(network.phi.rows_at_once / max(1.0, arrays.counts.mean())))
    edges = [*range(0, len(arrays.counts), size), len(arrays.counts)]
    yield from itertools.pairwise(edges)


def fit_together(scorers: Sequence[DeepSetVAE], sample: Sample) -> None:
    """Fit scorers that differ in beta and w alone, all with a decoder or all without, as one stack.

    Each learns what it would learn on its own.

    Raises
    ------
    ConfigError
        If they differ in more than that.
    InputError
        If there are too few events, a kind is not one, or an event has no object.
    ModelError
        If a loss is not finite.
    """
    first = scorers[0]
    alike = [{**each.options, "beta": each.beta < 1, "w": 0} for each in scorers]
    if any(each != alike[0] for each in alike):
        msg = "scorers that are fitted together may differ in beta (below 1, or all 1) and w alone"
        raise ConfigError(msg)
    require_events(first.name, sample, _LEAST_EVENTS)
    divide, start, order = np.random.SeedSequence(first.seed).spawn(3)
    task = SetTask.make(first.columns, first.design, sample, first.validation, divide, choose_device(first.device))
    own = start.generate_state(first.members, np.uint64).tolist()
    seeds = own * len(scorers)
    beta = [each.beta for each in scorers for _ in own]
    kind_weight = [each.w for each in scorers for _ in own]
    network, facts = _train(first, task, seeds, (beta, kind_weight), int(order.generate_state(1)[0]))
    tensors = network.stacked()
    for place, scorer in enumerate(scorers):
        part = slice(place * len(own), (place + 1) * len(own))
        scorer.network_ = DeepSetNetwork(scorer.design, [0], [scorer.beta], [scorer.w], device=network.device)
        scorer.network_.adopt({name: tensor[part] for name, tensor in tensors.items()})
        scorer.network_.eval()
        scorer.training_ = {name: values[part] for name, values in facts.items()}
        _warn(scorer)


def _train(
    scorer: DeepSetVAE, task: SetTask, seeds: Sequence[int], points: tuple[Sequence[float], Sequence[float]], seed: int
) -> tuple[DeepSetNetwork, dict[str, list[Any]]]:
    """Train one network for each seed, a stack at a time."""
    options = GroupTraining(
        scorer.epochs, scorer.patience, scorer.reduce_after, scorer.batch_size, scorer.learning_rate, seed
    )
    objects = int(scorer.batch_size * task.objects)
    layers = scorer.design.phi_layers
    parts: list[DeepSetNetwork] = []
    facts: dict[str, list[Any]] = {}
    for start, stop in stack_sizes(len(seeds), scorer.stack_size, objects, layers, task.weight.device):
        beta, kind_weight = (each[start:stop] for each in points)
        network = DeepSetNetwork(scorer.design, seeds[start:stop], beta, kind_weight, device=task.weight.device)
        network.standardise_by(task.mean, task.spread)

        def loss(rows: torch.Tensor, step: int, network: DeepSetNetwork = network) -> torch.Tensor:
            return network.losses(task.events.take(rows), step)

        rows = (task.training, task.validation)
        found = train_group(network, loss, task.weight, rows, options, rows_at_once=_VALIDATION_ROWS)
        told = {"loss": found.loss.tolist(), "epochs": found.epochs.tolist(), **_latent_facts(network, task)}
        for name, values in told.items():
            facts.setdefault(name, []).extend(values)
        parts.append(network)
        logger.debug("%d of %d networks trained", stop, len(seeds))
    return join_stacks(parts), facts


@torch.inference_mode()
def _latent_facts(network: DeepSetNetwork, task: SetTask) -> dict[str, list[Any]]:
    """What the latent space of each network tells of the validation events."""
    parts = [network.encode(task.events.take(rows)) for rows in torch.split(task.validation, _VALIDATION_ROWS)]
    mu, log_variance = (torch.cat(each, dim=1) for each in zip(*parts, strict=True))
    kl = kl_to_normal(mu, log_variance)
    active = (mu.var(dim=1, correction=0) > _ACTIVE).sum(dim=1)
    spread = torch.cat([mu, log_variance], dim=2).std(dim=1, correction=0).amax(dim=1)
    return {
        "kl_mean": kl.mean(dim=1).tolist(),
        "kl_std": kl.std(dim=1, correction=0).tolist(),
        "active": active.tolist(),
        "collapsed": (active == 0).tolist(),
        "latent_spread": spread.tolist(),
        "constant": (spread < _CONSTANT).tolist(),
    }


def _warn(scorer: DeepSetVAE) -> None:
    """Tell of members that say nothing, or whose decoder has to do without the latent space."""
    constant, collapsed = sum(scorer.training_["constant"]), sum(scorer.training_["collapsed"])
    if constant:
        logger.warning(
            "%d of %d members of %r give all events the same latent numbers: their scores are rounding; train for fewer epochs",
            constant, scorer.members, scorer.name,
        )  # fmt: skip
    elif collapsed and scorer.beta < 1:
        logger.warning(
            "%d of %d members of %r do not use their latent space (posterior collapse): the decoder gives every event the same "
            "objects; lower beta (%g)",
            collapsed, scorer.members, scorer.name, scorer.beta,
        )  # fmt: skip
