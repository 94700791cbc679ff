"""CATHODE: events drawn from a density of the sidebands; LaCATHODE: the same flow's latent space, where nothing drifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from resonaut.errors import ModelError
from resonaut.models.flows import ConditionalFlow
from resonaut.models.inputs import RESONANT_FEATURES
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, Sample
from resonaut.models.storage import Tensors
from resonaut.models.templates.base import register_template
from resonaut.models.templates.flow_template import (
    FlowTemplate,
    context,
    fit_flows,
    flow_options,
    mixture_log_prob,
    pack_flows,
    training_facts,
    unpack_flows,
)
from resonaut.models.templates.scorer import TemplateScorer

__all__ = ("Cathode", "CathodeTemplate", "LaCathode", "LaCathodeTemplate")

_ONE_LAYER = {"layers": 1, "hidden": 96, "blocks": 2}


@register_template("cathode")
class CathodeTemplate(FlowTemplate):
    """Draws from p(x | m), learnt by a flow outside the signal region and interpolated into it.

    Right where the features change smoothly with the mass, however strongly; needs no simulation.

    Parameters
    ----------
    features
        Columns to read.
    sidebands
        Events that the flow learns from: "all" outside the signal region (default), "near" (0.82 of its lower edge to 1.22 of its
        upper one), or (low, high), GeV.
    mass_range
        (low, high) of the fit that gives yield and masses, GeV: above the turn-on. The span of the sample where not given.
    oversampling
        Drawn events over expected yield; 4 where not given.
    ensemble
        Number of flows of different seeds; draws are shared out equally.
    flow
        Options of the flow: fields of `FlowOptions`.
    device
        "cpu", "cuda", or None for a GPU where there is one.
    seed
        Equal seeds give equal events, bit for bit on one device.

    Notes
    -----
    The paper's flow is a masked affine one (15 blocks of 128 units); spline flows of fewer layers reach a better
    likelihood. Its masses come from a kernel density estimate of the signal region; a fit of the sidebands follows no
    excess there.

    Examples
    --------
    >>> template = CathodeTemplate(["m_l", "tau21_l"], mass_range=(2800.0, 5500.0), ensemble=2)
    >>> template.oversampling
    4.0

    References
    ----------
    Hallin et al., arXiv:2109.00546; Golling et al., arXiv:2307.11157, section 2.1.
    """

    def _learn(self, outside: Sample, seeds: Sequence[int]) -> Sequence[ConditionalFlow]:
        return fit_flows(outside, self.features, flow_options(self.flow), seeds, self.device, self.name)

    def _draw(self, member: ConditionalFlow, mass: FloatArray, seed: int) -> FloatArray:
        return member.sample(context(mass), seed)

    def _training_facts(self) -> dict[str, Any]:
        return {"flows": training_facts(self.members_)}

    def log_prob(self, sample: Sample) -> FloatArray:
        """Log density (n,) of background features given each event's mass, nats; -inf outside the support."""
        if not self.members_:
            msg = f"template {self.name!r} is not fitted: call fit(sample, window); a saved scorer does not keep the density"
            raise ModelError(msg)
        return mixture_log_prob(self.members_, sample.require(self.features), sample.mass)


@register_template("lacathode")
class LaCathodeTemplate(CathodeTemplate):
    """Unit Gaussian in the latent space of CATHODE's flow: what background of any mass is mapped to.

    Events of all masses are mapped by the flow at their own mass. Background then has the same distribution at every
    mass, so a cut on a function of the latent coordinates keeps the shape of the mass spectrum.

    Parameters
    ----------
    features, sidebands, mass_range, oversampling, device, seed
        As in `CathodeTemplate`. One flow: the latent spaces of two have nothing in common.
    flow
        Changes to the flow, which has one layer (96 units, 2 blocks) where not said otherwise.

    Notes
    -----
    In one autoregressive layer each latent coordinate is a monotone function of one feature, given the mass and the features before
    it: what is a narrow peak of one feature stays one. More layers reach the same likelihood but mix the features, and a
    signal of S/B = 0.6 % that trees find at once in the former is lost in the latter.

    References
    ----------
    Hallin et al., arXiv:2210.14924.
    """

    def __init__(
        self,
        features: Sequence[str] = RESONANT_FEATURES,
        *,
        sidebands: str | Sequence[float] | None = None,
        mass_range: Sequence[float] | None = None,
        oversampling: float | None = None,
        flow: Mapping[str, Any] | None = None,
        device: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            features,
            sidebands=sidebands,
            mass_range=mass_range,
            oversampling=oversampling,
            flow={**_ONE_LAYER, **(flow or {})},
            device=device,
            seed=seed,
        )

    def _draw(self, member: ConditionalFlow, mass: FloatArray, seed: int) -> FloatArray:
        del member  # a Gaussian is a Gaussian in any flow's latent space
        return np.random.default_rng(seed).standard_normal((len(mass), len(self.features)))

    def _names(self) -> tuple[str, ...]:
        return tuple(f"z{number}" for number in range(len(self.features)))

    def represent(self, sample: Sample) -> Sample:
        """Latent coordinates z0, z1, ... of each event at its own mass."""
        if not self.members_:
            msg = f"template {self.name!r} is not fitted: call fit(sample, window)"
            raise ModelError(msg)
        latent = self.members_[0].latent(sample.require(self.features), context(sample.mass))
        return Sample(latent, self._names(), sample.mass, sample.weight)

    def tensors(self) -> Tensors:
        """Arrays of the flow."""
        return pack_flows(self.members_)[0]

    def facts(self) -> dict[str, Any]:
        """Facts about the mass fit and the training, and what the flow needs to be restored."""
        return {**super().facts(), "restore": pack_flows(self.members_)[1]}

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the flow."""
        self.facts_ = {name: fact for name, fact in facts.items() if name != "restore"}
        self.members_ = unpack_flows(tensors, facts["restore"], self.device)


@register("cathode")
class Cathode(TemplateScorer):
    """CATHODE: signal-region data against draws from the sidebands' density at the same masses.

    Options of `template`: see `CathodeTemplate`.

    Examples
    --------
    >>> Cathode(["m_l", "tau21_l"], template={"ensemble": 2}).uses_simulation
    False
    """

    template_class = CathodeTemplate


@register("lacathode")
class LaCathode(TemplateScorer):
    """LaCATHODE: signal-region data against a unit Gaussian in the latent space of the sidebands' density.

    Options of `template`: see `LaCathodeTemplate`.
    """

    template_class = LaCathodeTemplate
