"""What the templates made with normalising flows share: which events the flows see, ensembles, draws in the signal region."""

from __future__ import annotations

import dataclasses
import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import logsumexp

from resonaut.errors import ConfigError, unknown_name
from resonaut.models.base import feature_names, require_positive
from resonaut.models.flows import ConditionalFlow, FlowOptions, TransportFlow
from resonaut.models.inputs import RESONANT_FEATURES
from resonaut.models.sample import FloatArray, Sample
from resonaut.models.storage import Tensors
from resonaut.models.templates.base import BackgroundTemplate
from resonaut.models.templates.mass import MassModel
from resonaut.models.templates.regions import Sidebands, checked_sidebands, outside_signal_region
from resonaut.stats import Window

__all__ = (
    "FlowTemplate",
    "MapTemplate",
    "context",
    "draw_shared",
    "fit_flows",
    "flow_options",
    "mixture_log_prob",
    "pack_flows",
    "spawn_seeds",
    "training_facts",
    "under",
    "unpack_flows",
)

logger = logging.getLogger(__name__)
_BLOCK = 10  # epochs between two messages


class FlowTemplate(BackgroundTemplate):
    """Template whose events are drawn from flows learnt outside the signal region; a subclass learns and draws.

    A subclass writes `_learn`, which fits one member of the ensemble, and `_draw`, which makes events of given masses
    from one member.
    """

    default_sidebands: ClassVar[Sidebands] = "all"
    default_oversampling: ClassVar[float] = 4.0
    members_: Sequence[Any]

    def __init__(
        self,
        features: Sequence[str] = RESONANT_FEATURES,
        *,
        sidebands: str | Sequence[float] | None = None,
        mass_range: Sequence[float] | None = None,
        oversampling: float | None = None,
        ensemble: int = 1,
        flow: Mapping[str, Any] | None = None,
        device: str | None = None,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        self.sidebands = checked_sidebands(self.default_sidebands if sidebands is None else sidebands)
        self.mass_range = None if mass_range is None else (float(mass_range[0]), float(mass_range[1]))
        self.oversampling = self.default_oversampling if oversampling is None else float(oversampling)
        self.ensemble = ensemble
        self.flow = dict(flow or {})
        self.device = device
        self.seed = seed
        require_positive(self.name, oversampling=self.oversampling, ensemble=ensemble)
        flow_options(self.flow)
        self.members_ = ()
        self.facts_: dict[str, Any] = {}

    def fit(self, sample: Sample, window: Window) -> Self:
        """Fit the mass spectrum and the flows to the events outside the signal region.

        Raises
        ------
        InputError
            If there are too few events on one side of the signal region.
        """
        self.window_, self.mass_ = window, MassModel.fit(sample, window, self.mass_range)
        outside = outside_signal_region(sample, window, self.sidebands)
        self.members_ = self._learn(outside, spawn_seeds(self.seed, self.ensemble))
        self.facts_ = {**self.mass_.facts(), "sideband_events": len(outside), **self._training_facts()}
        return self

    @abstractmethod
    def _learn(self, outside: Sample, seeds: Sequence[int]) -> Sequence[Any]:
        """Fit one member per seed to the events outside the signal region."""

    @abstractmethod
    def _draw(self, member: Any, mass: FloatArray, seed: int) -> FloatArray:
        """Features (m, d) of background at these masses from one member of the ensemble."""

    def _training_facts(self) -> dict[str, Any]:
        return {}

    def background(self, seed: int) -> Sample:
        """Draws at masses of the sideband fit, `oversampling` times the expected yield, shared by the ensemble."""
        model = self.mass_model
        mass_seed, *seeds = spawn_seeds(seed, 1 + len(self.members_))
        events = max(1, round(self.oversampling * model.total))
        mass = model.draw(events, mass_seed)
        features = draw_shared(self.members_, mass, seeds, self._draw)
        return Sample(features, self._names(), mass, np.full(events, model.total / events))

    def _names(self) -> tuple[str, ...]:
        return self.features

    def facts(self) -> dict[str, Any]:
        """Facts about the mass fit and the training."""
        return self.facts_

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the facts; a template that hands features on as they are needs no arrays."""
        del tensors
        self.facts_ = dict(facts)


class MapTemplate(FlowTemplate):
    """Template with a map from one density to another beside the flow of the first: pairs (base flow, map)."""

    def __init__(
        self,
        features: Sequence[str] = RESONANT_FEATURES,
        *,
        sidebands: str | Sequence[float] | None = None,
        mass_range: Sequence[float] | None = None,
        oversampling: float | None = None,
        ensemble: int = 1,
        flow: Mapping[str, Any] | None = None,
        transport: Mapping[str, Any] | None = None,
        device: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            features,
            sidebands=sidebands,
            mass_range=mass_range,
            oversampling=oversampling,
            ensemble=ensemble,
            flow=flow,
            device=device,
            seed=seed,
        )
        self.transport = dict(transport or {})
        flow_options(self.transport)

    def _fit_pair(
        self, base_events: Sample, moved: Sample, target: FloatArray, seeds: tuple[int, int]
    ) -> tuple[ConditionalFlow, TransportFlow]:
        """Base flow of some events, and the map that takes `moved` to the base density at the masses `target`."""
        what = f"{self.name}, base density"
        (base,) = fit_flows(base_events, self.features, flow_options(self.flow), seeds[:1], self.device, what)
        flow = TransportFlow(base, flow_options(self.transport), seed=seeds[1], device=self.device)
        logger.info("%s, map: %d events", self.name, len(moved))
        flow.fit(
            moved.require(self.features),
            context(moved.mass),
            context(target),
            event_weights(moved),
            progress=report(f"{self.name}, map"),
        )
        return base, flow

    def _training_facts(self) -> dict[str, Any]:
        base, maps = zip(*self.members_, strict=True)
        return {"flows": training_facts(base), "maps": training_facts(maps)}


def flow_options(options: Mapping[str, Any]) -> FlowOptions:
    """Flow options from a mapping, as a config has them.

    Raises
    ------
    ConfigError
        For an unknown option, with the nearest names.
    """
    known = [field.name for field in dataclasses.fields(FlowOptions)]
    for name in options:
        if name not in known:
            raise ConfigError(unknown_name("flow option", name, known))
    return FlowOptions(**options)


def context(mass: FloatArray) -> FloatArray:
    """Context (n, 1) of a flow: the mass, GeV, which the flow standardises."""
    return np.ascontiguousarray(mass[:, None])


def spawn_seeds(seed: int | np.random.SeedSequence, count: int) -> list[int]:
    """Independent seeds made of one."""
    parent = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    return [int(child.generate_state(1)[0]) for child in parent.spawn(count)]


def event_weights(sample: Sample) -> FloatArray | None:
    """Weights (n,) of the events, None where all are one: the unweighted likelihood is the faster one."""
    return None if np.all(sample.weight == 1) else sample.weight


def fit_flows(
    sample: Sample, features: Sequence[str], options: FlowOptions, seeds: Sequence[int], device: str | None, what: str
) -> list[ConditionalFlow]:
    """One flow of the features given the mass for each seed, fitted to all of `sample`.

    Parameters
    ----------
    what
        Name of the density, for messages.
    """
    matrix, flows = sample.require(features), []
    for number, seed in enumerate(seeds):
        logger.info("%s: flow %d of %d on %d events", what, number + 1, len(seeds), len(sample))
        flow = ConditionalFlow(options, seed=seed, device=device)
        flow.fit(matrix, context(sample.mass), event_weights(sample), progress=report(what))
        flows.append(flow)
    return flows


def report(what: str) -> Callable[..., None]:
    """Progress of a training as messages, one every ten epochs."""

    def progress(epoch: int, epochs: int, *losses: float) -> None:
        if epoch % _BLOCK == 0:
            logger.info("%s: epoch %d of %d, losses %s", what, epoch, epochs, ", ".join(f"{x:.4f}" for x in losses))

    return progress


def training_facts(flows: Sequence[ConditionalFlow] | Sequence[TransportFlow]) -> list[dict[str, Any]]:
    """JSON-able facts about each flow: epochs, best validation loss in nats, training events moved into its domain."""
    return [
        {
            "epochs": len(flow.history_),
            "best_validation_loss": float(min(losses[1] for losses in flow.history_)),
            "clipped": int(flow.clipped_),
        }
        for flow in flows
    ]


def mixture_log_prob(flows: Sequence[ConditionalFlow], features: FloatArray, mass: FloatArray) -> FloatArray:
    """Log density (n,) of the mixture of flows with equal parts, nats; -inf outside the support of all of them."""
    each = np.stack([flow.log_prob(features, context(mass)) for flow in flows])
    with np.errstate(divide="ignore"):
        return np.asarray(logsumexp(each, axis=0) - np.log(len(flows)), dtype=np.float64)


def draw_shared(
    members: Sequence[Any], mass: FloatArray, seeds: Sequence[int], draw: Callable[[Any, FloatArray, int], FloatArray]
) -> FloatArray:
    """Features (m, d) at these masses, an equal share from each member: draws from the mixture."""
    shares = np.array_split(np.arange(len(mass)), len(members))
    return np.concatenate(
        [draw(member, mass[rows], seed) for member, rows, seed in zip(members, shares, seeds, strict=True)]
    )


def pack_flows(flows: Sequence[ConditionalFlow]) -> tuple[Tensors, list[dict[str, Any]]]:
    """Arrays, with names ``<number>.<name>``, and facts of an ensemble."""
    tensors = {f"{number}.{name}": array for number, flow in enumerate(flows) for name, array in flow.tensors().items()}
    return tensors, [flow.facts() for flow in flows]


def unpack_flows(tensors: Tensors, facts: Sequence[dict[str, Any]], device: str | None) -> list[ConditionalFlow]:
    """Inverse of `pack_flows`."""
    flows = []
    for number, own in enumerate(facts):
        flows.append(ConditionalFlow.restore(under(tensors, f"{number}."), own, device))
    return flows


def under(tensors: Tensors, prefix: str) -> Tensors:
    """Arrays whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
