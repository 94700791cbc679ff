"""ANODE: the ratio of two densities, learnt in the signal region and outside it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from resonaut.errors import ConfigError, RegionError
from resonaut.models.base import BaseScorer, feature_names, require_positive
from resonaut.models.flows import ConditionalFlow
from resonaut.models.folds import assign_folds
from resonaut.models.inputs import RESONANT_FEATURES
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, IndexArray, Sample
from resonaut.models.storage import Tensors
from resonaut.models.templates.cathode import CathodeTemplate
from resonaut.models.templates.flow_template import (
    fit_flows,
    flow_options,
    mixture_log_prob,
    pack_flows,
    spawn_seeds,
    training_facts,
    under,
    unpack_flows,
)
from resonaut.models.templates.scorer import HeldOut
from resonaut.stats import Window

__all__ = ("Anode",)

logger = logging.getLogger(__name__)
_LIMIT = 30.0  # nats: beyond it a ratio says where a flow ends, not how signal-like an event is
_PARTS = 5  # draws are shared out among the folds, so that these are independent
_SIDEBAND, _SIGNAL, _HELD_OUT = "sideband.", "signal.", "held_out."


@register("anode")
class Anode(BaseScorer):
    """ANODE: log p_SR(x | m) - log p_SB(x | m), without a classifier.

    Parameters
    ----------
    features
        Columns to read.
    template
        Options of the density outside the signal region, which is CATHODE's: see `CathodeTemplate`.
    flow
        Options of the flow in the signal region (fields of `FlowOptions`); those of the other density where not given.
    ensemble
        Number of flows in the signal region.
    per_fold
        As in `TemplateScorer`, of the density outside the signal region; that in it is learnt for each fold anyway.
    seed
        Equal seeds give equal scores, bit for bit on one device.

    Notes
    -----
    Both densities are taken at the mass of the event or, outside the signal region, at its nearest edge: no flow of the
    signal region is asked about masses that it never saw.

    Scores stay between -30 and 30; an event that neither density knows gets 0 and is counted in a warning.
    `held_out_` are draws of the density outside the signal region with their scores, for the direct background estimate.

    Examples
    --------
    >>> Anode(["m_l", "tau21_l"], template={"mass_range": [2800.0, 5500.0]}, ensemble=2).ensemble
    2

    References
    ----------
    Nachman and Shih, arXiv:2001.04990.
    """

    def __init__(
        self,
        features: Sequence[str] = RESONANT_FEATURES,
        *,
        template: Mapping[str, Any] | None = None,
        flow: Mapping[str, Any] | None = None,
        ensemble: int = 1,
        per_fold: bool = True,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        self.template = dict(template or {})
        self.flow = None if flow is None else dict(flow)
        self.ensemble = ensemble
        self.per_fold = per_fold
        self.seed = seed
        require_positive(self.name, ensemble=ensemble)
        if reserved := {"features", "seed"}.intersection(self.template):
            msg = f"options of the template of {self.name!r} cannot set {', '.join(sorted(reserved))}: the scorer does"
            raise ConfigError(msg)
        self._signal_options = flow_options(self._template(0).flow if flow is None else flow)
        self.sideband_: Sequence[ConditionalFlow] = ()
        self.signal_: Sequence[ConditionalFlow] = ()
        self.held_out_: HeldOut | None = None
        self.facts_: dict[str, Any] = {}

    def _template(self, seed: int) -> CathodeTemplate:
        return CathodeTemplate(self.features, seed=seed, **self.template)

    @property
    def fitted(self) -> bool:
        """Whether there are densities to score with."""
        return bool(self.signal_)

    def fit(self, sample: Sample, window: Window | None) -> Self:
        """Learn both densities, from all events."""
        nobody = np.full(len(sample), -1, dtype=np.int64)
        (fitted,) = self.fit_folds(sample, window, nobody, [self.seed])
        vars(self).update(vars(fitted))
        return self

    def fit_folds(self, sample: Sample, window: Window | None, fold: IndexArray, seeds: Sequence[int]) -> list[Self]:
        """One fitted scorer per fold, number k without the signal-region events whose `fold` is k."""
        window = self.require_window(window)
        inside = window.in_signal_region(sample.mass)
        if not inside.any():
            msg = f"the signal region {window} has no events: move the window"
            raise RegionError(msg)
        template_seed, draw_seed, share_seed = spawn_seeds(seeds[0], 3)
        apart = self.per_fold and bool(np.any(fold >= 0))
        template = None if apart else self._template(template_seed).fit(sample, window)
        fitted = []
        for number, seed in enumerate(seeds):
            scorer = self.clone(seed=seed)
            if apart:
                template = self._template(template_seed).fit(sample.take(fold != number), window)
            assert template is not None
            scorer._learn(sample.take(inside & (fold != number)), template, window)
            background = template.background(draw_seed)
            own = background.take(assign_folds(background.mass, max(_PARTS, len(seeds)), share_seed) == number)
            whole = sample.weight.sum() / sample.weight[fold != number].sum() if apart else 1.0
            total, error = (whole * each for each in template.yield_())
            scaled = own.weight * (total / own.weight.sum())
            scorer.held_out_ = HeldOut(scorer.score(own), scaled, own.mass, error)
            fitted.append(scorer)
        return fitted

    def _learn(self, data: Sample, template: CathodeTemplate, window: Window) -> None:
        self.window_, self.sideband_ = window, template.members_
        seeds = spawn_seeds(self.seed, self.ensemble)
        what = f"{self.name}, signal region"
        self.signal_ = fit_flows(data, self.features, self._signal_options, seeds, self._device(), what)
        self.facts_ = {"template": template.facts(), "signal": training_facts(self.signal_)}

    def _device(self) -> str | None:
        return self._template(0).device

    def score(self, sample: Sample) -> FloatArray:
        """Log-likelihood ratio (n,), nats, at any mass."""
        self.require_fitted()
        assert self.window_ is not None
        matrix = sample.require(self.features)
        mass = np.clip(sample.mass, self.window_.low, np.nextafter(self.window_.high, 0))
        signal, sideband = (mixture_log_prob(flows, matrix, mass) for flows in (self.signal_, self.sideband_))
        unknown = np.isneginf(signal) & np.isneginf(sideband)
        if unknown.any():
            logger.warning(
                "%s: %d of %d events are outside both densities: score 0", self.name, unknown.sum(), len(sample)
            )
        with np.errstate(invalid="ignore"):
            return np.clip(np.where(unknown, 0.0, signal - sideband), -_LIMIT, _LIMIT)

    def learnt_tensors(self) -> Tensors:
        """Arrays of both densities and of the held-out draws."""
        assert self.held_out_ is not None
        held = {name: getattr(self.held_out_, name) for name in ("scores", "weight", "mass")}
        parts = ((_SIDEBAND, pack_flows(self.sideband_)[0]), (_SIGNAL, pack_flows(self.signal_)[0]), (_HELD_OUT, held))
        return {prefix + name: array for prefix, tensors in parts for name, array in tensors.items()}

    def learnt_facts(self) -> dict[str, Any]:
        """Facts of both densities."""
        assert self.held_out_ is not None
        flows = {"sideband": pack_flows(self.sideband_)[1], "signal": pack_flows(self.signal_)[1]}
        return {"training": self.facts_, "flows": flows, "yield_error": self.held_out_.error}

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back both densities."""
        flows = facts["flows"]
        self.sideband_ = unpack_flows(under(tensors, _SIDEBAND), flows["sideband"], self._device())
        self.signal_ = unpack_flows(under(tensors, _SIGNAL), flows["signal"], self._device())
        self.held_out_ = HeldOut(**under(tensors, _HELD_OUT), error=float(facts["yield_error"]))
        self.facts_ = facts["training"]
