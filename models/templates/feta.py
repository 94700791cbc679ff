"""FETA: a flow that carries simulation to data, learnt in the sidebands and applied in the signal region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from resonaut.errors import RegionError
from resonaut.models.flows import ConditionalFlow, TransportFlow
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, Sample
from resonaut.models.templates.base import register_template
from resonaut.models.templates.flow_template import MapTemplate, context, spawn_seeds
from resonaut.models.templates.scorer import TemplateScorer

__all__ = ("Feta", "FetaTemplate")

Pair = tuple[ConditionalFlow, TransportFlow]
_FEWEST = 200  # simulated events


@register_template("feta")
class FetaTemplate(MapTemplate):
    """Simulation of the signal region, corrected by a map that turns simulation into data in the sidebands.

    A base flow learns p_sim(x | m) from the simulation at all masses, the signal region's too. A second flow, the map
    f(x; m) from data to simulation, is trained on sideband data by the likelihood of the data, p_sim(f(x) | m) |df/dx|.
    In the signal region draws of the base flow go through the inverse of the map. Only the difference of data and
    simulation is interpolated, not the distribution itself.

    Parameters
    ----------
    features
        Columns to read.
    sidebands
        Range of masses, of data and simulation alike, as in `CathodeTemplate`.
    mass_range, ensemble, device, seed
        As in `CathodeTemplate`; each member of the ensemble is a pair of flows. Masses come from the data's sidebands.
    oversampling
        Drawn events over expected yield; 6 as in the paper.
    flow, transport
        Options of the base flow and of the map: fields of `FlowOptions`.

    References
    ----------
    Golling, Klein, Mastandrea, Nachman, arXiv:2212.11285; Golling et al., arXiv:2307.11157, section 2.1.
    """

    uses_simulation: ClassVar[bool] = True
    default_oversampling: ClassVar[float] = 6.0

    def _learn(self, outside: Sample, seeds: Sequence[int]) -> Sequence[Pair]:
        simulation = self._simulation(outside)
        pairs = []
        for seed in seeds:
            base_seed, map_seed = spawn_seeds(seed, 2)
            pairs.append(self._fit_pair(simulation, outside, outside.mass, (base_seed, map_seed)))
        return pairs

    def _simulation(self, outside: Sample) -> Sample:
        """Simulated events between the lowest and the highest mass of the data that the map is trained on."""
        simulation = outside.require_simulation(self.name)
        low, high = outside.mass.min(), outside.mass.max()
        used = (simulation.mass >= low) & (simulation.mass <= high)
        assert self.window_ is not None
        inside = used & self.window_.in_signal_region(simulation.mass)
        if np.count_nonzero(used) < _FEWEST or not inside.any():
            msg = (
                f"{np.count_nonzero(used)} simulated events in {low:.0f}-{high:.0f} GeV, {np.count_nonzero(inside)} of them "
                f"in the signal region {self.window_}: {self.name!r} needs at least {_FEWEST}, at all masses of the data"
            )
            raise RegionError(msg)
        return simulation.take(used)

    def _draw(self, member: Pair, mass: FloatArray, seed: int) -> FloatArray:
        base, flow = member
        at = context(mass)
        return flow.inverse(base.sample(at, seed), at, at)


@register("feta")
class Feta(TemplateScorer):
    """FETA: signal-region data against simulation that was carried to data by a map learnt in the sidebands.

    The sample needs simulated background beside it: ``sample.with_simulation(...)``. Options of `template`: see
    `FetaTemplate`.

    Examples
    --------
    >>> Feta(["m_l", "tau21_l"]).uses_simulation
    True
    """

    template_class = FetaTemplate
