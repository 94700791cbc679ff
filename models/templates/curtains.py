"""CURTAINs by maximum likelihood: a flow that carries events from one mass to another, learnt between the sidebands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from resonaut.models.flows import ConditionalFlow, TransportFlow
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, Sample
from resonaut.models.templates.base import register_template
from resonaut.models.templates.flow_template import MapTemplate, context, spawn_seeds
from resonaut.models.templates.regions import Sidebands
from resonaut.models.templates.scorer import TemplateScorer

__all__ = ("Curtains", "CurtainsTemplate")

Pair = tuple[ConditionalFlow, TransportFlow]


@register_template("curtains")
class CurtainsTemplate(MapTemplate):
    """Events of sideband masses, carried into the signal region by a flow conditional on both masses.

    A base flow learns p(x | m) in the sidebands. A second flow, the map x' = f(x; m, m'), is trained on sideband events
    with targets m' drawn from all sideband masses, upwards and downwards, so that x' follows the base density at m'. In
    the signal region the map is asked for targets between those that it was trained for.

    Parameters
    ----------
    features
        Columns to read.
    sidebands
        As in `CathodeTemplate`; the default "near" (2.7-4.5 TeV around 3.3-3.7 TeV) is the paper's.
    mass_range, oversampling, ensemble, device, seed
        As in `CathodeTemplate`; each member of the ensemble is a pair of flows.
    flow, transport
        Options of the base flow and of the map: fields of `FlowOptions`.

    Notes
    -----
    What is carried are draws of the base flow at sideband masses, not sideband events themselves: as many as wanted, and no
    event's own image is in the template. An event of the sidebands is thus scored by a classifier that has not seen
    its copy, and one template serves all folds.

    The paper trains one direction and uses the inverse for the other; here the map learns both, because the context holds
    both masses.

    References
    ----------
    Sengupta, Klein, Raine, Golling, arXiv:2305.04646; Golling et al., arXiv:2307.11157, section 2.1.
    """

    default_sidebands: ClassVar[Sidebands] = "near"

    def _learn(self, outside: Sample, seeds: Sequence[int]) -> Sequence[Pair]:
        self.source_ = outside.mass, outside.weight / outside.weight.sum()
        pairs = []
        for seed in seeds:
            target_seed, base_seed, map_seed = spawn_seeds(seed, 3)
            target = self._masses(len(outside), target_seed)
            pairs.append(self._fit_pair(outside, outside, target, (base_seed, map_seed)))
        return pairs

    def _masses(self, events: int, seed: int) -> FloatArray:
        mass, probability = self.source_
        return np.random.default_rng(seed).choice(mass, events, p=probability)

    def _draw(self, member: Pair, mass: FloatArray, seed: int) -> FloatArray:
        base, flow = member
        mass_seed, draw_seed = spawn_seeds(seed, 2)
        source = context(self._masses(len(mass), mass_seed))
        return flow.transport(base.sample(source, draw_seed), source, context(mass))


@register("curtains")
class Curtains(TemplateScorer):
    """CURTAINs: signal-region data against events carried there from the sidebands.

    Options of `template`: see `CurtainsTemplate`.

    Examples
    --------
    >>> Curtains(["m_l", "tau21_l"], template={"sidebands": [2700.0, 4500.0]}).uses_simulation
    False
    """

    template_class = CurtainsTemplate
