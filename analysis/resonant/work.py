"""The work of single units: a template, the out-of-fold scores of one method on one set of events, a log posterior."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from resonaut.analysis.resonant.events import Division, Events, joined
from resonaut.analysis.resonant.protocol import Protocol
from resonaut.analysis.seeds import seed_for
from resonaut.models import CrossFit, Sample, make_scorer, scorer_class
from resonaut.models.classifiers import make_classifier
from resonaut.models.posterior import WeightedRows, log_posteriors
from resonaut.models.protocol import Scorer
from resonaut.models.sample import FloatArray, IndexArray
from resonaut.models.storage import read_card, read_tensors
from resonaut.models.templates import BackgroundTemplate, MassModel, TemplateScorer, make_template
from resonaut.models.templates.given import GivenTemplate, store_template
from resonaut.stats import Window

__all__ = (
    "Scores",
    "classifier_of",
    "cross_fitted",
    "data_sample",
    "in_features",
    "is_shared",
    "make_combination",
    "make_method_template",
    "make_truth",
    "mean_scores",
    "posterior",
    "read_template",
    "supervised",
    "with_template",
)


@dataclass(frozen=True)
class Scores:
    """Out-of-fold scores of one method.

    Parameters
    ----------
    background, background_fold
        (b,) of all background events of the signal region, in the order of `Events.background`, and by which fold's scorer.
    signal, signal_fold
        (s,) of all signal events of the signal region, in the order of `Events.signal`, and by which fold's scorer.
    template, template_weight
        (t,) of the template's events, by classifiers that did not see them; empty for methods without a template.
    outside, outside_fold
        (o,) of the background outside the signal region, where it was asked for; else empty.
    """

    background: FloatArray
    background_fold: IndexArray
    signal: FloatArray
    signal_fold: IndexArray
    template: FloatArray
    template_weight: FloatArray
    outside: FloatArray
    outside_fold: IndexArray

    def ranked(self) -> tuple[FloatArray, FloatArray]:
        """Scores (b,), (s,) of background and signal that are comparable between folds.

        Minus the fraction of the fold's background with a higher score: a cut then keeps the same fraction of each fold, as
        `resonaut.models.select` does. Scorers of different folds have scales of their own; one raw threshold would take
        most of its events from the fold with the longest tail.
        """
        ranks = np.empty(len(self.background)), np.empty(len(self.signal))
        for number in np.unique(self.background_fold):
            own = self.background_fold == number
            ladder = np.sort(self.background[own])
            mine = self.signal_fold == number
            for place, values, rows in ((0, self.background, own), (1, self.signal, mine)):
                above = len(ladder) - np.searchsorted(ladder, values[rows], side="right")
                ranks[place][rows] = -above / len(ladder)
        return ranks

    def ordered(self, kind: str, seed: int) -> IndexArray:
        """Place (n,) of each event of "background" or "signal" in the order of `ranked`, 0 for the most anomalous.

        All signal above the highest background of its fold ties in `ranked`: the standardised score decides, then chance.
        """
        values = self.ranked()[kind == "signal"]
        chance = np.random.default_rng(seed).random(len(values))
        places = np.empty(len(values), dtype=np.int64)
        places[np.lexsort((chance, self.standardised(kind), values))[::-1]] = np.arange(len(values))
        return places

    def standardised(self, kind: str) -> FloatArray:
        """Scores of "background" or "signal" in units of the spread of their fold's background around its mean."""
        values, fold = getattr(self, kind), getattr(self, f"{kind}_fold")
        found = np.zeros(len(values))
        for number in np.unique(self.background_fold):
            basis, rows = self.background[self.background_fold == number], fold == number
            if basis.std() > 0:
                found[rows] = (values[rows] - basis.mean()) / basis.std()
        return found

    def save(self, path: Path) -> None:
        """Write as safetensors, in single precision."""
        save_file({n: a.astype(np.int8 if n.endswith("fold") else np.float32) for n, a in vars(self).items()}, path)

    @classmethod
    def load(cls, path: Path) -> Scores:
        """Read what `save` wrote."""
        arrays = load_file(path)
        return cls(**{n: a.astype(np.int64 if n.endswith("fold") else np.float64) for n, a in arrays.items()})


def in_features(method: str) -> bool:
    """Whether a shared template's events have the features as they are, and not coordinates of its own."""
    cls = scorer_class(method)
    assert issubclass(cls, TemplateScorer)
    return cls.template_class.represent is BackgroundTemplate.represent


def classifier_of(method: str, protocol: Protocol) -> dict[str, Any]:
    """Options that give a method without a shared template the classifier of the benchmark, if it takes one."""
    return classifier(protocol) if "classifier_options" in inspect.signature(scorer_class(method)).parameters else {}


def is_shared(method: str) -> bool:
    """Whether the method's template can be made once: it learns from the sidebands alone and is no set of data events.

    One template for all folds would bend a fit of the selected sidebands; figures of merit of the signal region do not see them.
    """
    cls = scorer_class(method)
    if not issubclass(cls, TemplateScorer):
        return False
    template = cls.template_class
    return template.made_of_events is False and template.companions is BackgroundTemplate.companions


def make_method_template(folder: Path, method: str, sample: Sample, protocol: Protocol, seed: int) -> dict[str, Any]:
    """Fit a method's template outside the signal region and store its events.

    Events of the signal region are taken out first, so that no method can look at them.
    """
    cls = scorer_class(method)
    assert issubclass(cls, TemplateScorer)
    options = {**_device(cls.template_class, protocol), **protocol.options.get(method, {}).get("template", {})}
    template = make_template(
        cls.template_class.name, features=protocol.features, seed=seed_for(seed, method, "fit"), **options
    )
    outside = sample.take(~protocol.window.in_signal_region(sample.mass))
    template.fit(outside, protocol.window_of(method))
    events = template.background(seed_for(seed, method, "draw"))
    store_template(folder, events, template.mass_model, template)
    return {"events": len(events), "facts": template.facts()}


def make_truth(folder: Path, sample: Sample, window: Window) -> dict[str, Any]:
    """Store true background as a template."""
    total = float(sample.weight.sum())
    ends = np.array([window.low, window.high])
    store_template(folder, sample, MassModel(ends, np.array([total]), total, total**0.5, 1.0))
    return {"events": len(sample)}


def read_template(folder: Path) -> Sample:
    """Events of a stored template."""
    card = read_card(folder)
    tensors = read_tensors(folder, card)
    return Sample(tensors["events.features"], card["names"], tensors["events.mass"], tensors["events.weight"])


def make_combination(folder: Path, members: Sequence[Path], protocol: Protocol, seed: int) -> dict[str, Any]:
    """Store equal numbers of events of each member's template, each member with the same total weight."""
    samples = [read_template(member) for member in members]
    each = min(len(sample) for sample in samples)
    parts, weights = [], []
    for sample, child in zip(samples, np.random.SeedSequence(seed).spawn(len(samples)), strict=True):
        chosen = sample.take(np.random.default_rng(child).permutation(len(sample))[:each])
        parts.append(chosen)
        weights.append(chosen.weight * (sample.weight.sum() / len(samples) / chosen.weight.sum()))
    features, mass = (np.concatenate([getattr(part, name) for part in parts]) for name in ("features", "mass"))
    joint = Sample(features, samples[0].names, mass, np.concatenate(weights))
    model = GivenTemplate(samples[0].names, folder=str(members[0])).fit(joint, protocol.window).mass_model
    store_template(folder, joint, model)
    return {"events": len(joint), "each": each}


def with_template(template: Path, protocol: Protocol, *, limited: bool) -> Scorer:
    """Scorer of data against a stored template, with the one classifier of the benchmark."""
    options: dict[str, Any] = {"folder": str(template)}
    if limited:
        options["events"] = protocol.template_events
    return make_scorer("given", features=protocol.features, template=options, **classifier(protocol))


def classifier(protocol: Protocol) -> dict[str, Any]:
    """Options of a `TemplateScorer` that choose the classifier."""
    options = {**_device(type(make_classifier(protocol.classifier)), protocol), **protocol.classifier_options}
    return {"classifier": protocol.classifier, "classifier_options": options}


def _device(cls: type, protocol: Protocol) -> dict[str, Any]:
    """The device as an option, for classes that have one."""
    takes = "device" in inspect.signature(cls).parameters
    return {"device": protocol.device} if takes and protocol.device is not None else {}


def cross_fitted(
    scorer: Scorer, sample: Sample, events: Events, division: Division, protocol: Protocol, seed: int,
    *, method: str, outside: bool, truth: bool,
) -> Scores:  # fmt: skip
    """Scores of one method trained on `sample`, the data: none by a scorer that saw the event.

    Parameters
    ----------
    scorer
        Unfitted.
    sample
        Data: background of `division.data` first, then the injected signal, then events outside the signal region.
    outside
        Whether to score the background outside the signal region too.
    truth
        Whether the template is `division.truth`, whose events are then scored out of fold.
    """
    window = protocol.window_of(method)
    fit = CrossFit(scorer, folds=protocol.folds, seed=seed).fit(sample, window)
    fold = fit.fold_of(sample.mass)
    rng = np.random.default_rng(seed_for(seed, "folds of events that took no part"))
    background_fold = _free_folds(rng, events.background, protocol)
    signal_fold = _free_folds(rng, events.signal, protocol)
    count = len(division.data)
    background_fold[division.data] = fold[:count]
    signal_fold[division.injected] = fold[count : count + len(division.injected)]
    if len(sample) > count + len(division.injected):  # events outside the signal region took part
        rest = ~window.in_signal_region(events.background.mass)
        background_fold[rest] = fold[len(sample) - np.count_nonzero(rest) :]
    held = _held_out(fit)
    inside = window.in_signal_region(events.background.mass)
    background = _by_fold(fit, events.background, background_fold, inside | outside)
    if truth:
        for number, part in enumerate(held):
            own = division.truth[part.rows]
            background[own], background_fold[own] = part.scores, number
    signal_inside = window.in_signal_region(events.signal.mass)
    beyond = ~inside & outside
    return Scores(
        background[inside], background_fold[inside], _by_fold(fit, events.signal, signal_fold, signal_inside)[signal_inside],
        signal_fold[signal_inside],
        np.concatenate([part.scores for part in held]) if held else np.zeros(0),
        np.concatenate([part.weight for part in held]) if held else np.zeros(0),
        background[beyond], background_fold[beyond],
    )  # fmt: skip


def supervised(template: Path, events: Events, division: Division, protocol: Protocol, seed: int) -> Scores:
    """Scores of the supervised reference: labelled signal against the true background that plays no data."""
    window = protocol.window
    rows = np.flatnonzero(window.in_signal_region(events.signal.mass))
    scorer = with_template(template, protocol, limited=False)
    alone = Division(np.zeros(0, dtype=np.int64), division.truth, rows, np.zeros(0, dtype=np.int64))
    return cross_fitted(
        scorer, events.signal.take(rows), events, alone, protocol, seed, method="supervised", outside=False, truth=True
    )


def data_sample(events: Events, division: Division, *, sidebands: bool) -> Sample:
    """What a search would have: background and injected signal, with the events outside the signal region or without.

    Outside the signal region stand those rows of the background that are neither data nor truth.
    """
    parts = [events.background.take(division.data), events.signal.take(division.injected)]
    if sidebands:
        used = np.ones(len(events.background), dtype=bool)
        used[division.data] = used[division.truth] = False
        parts.append(events.background.take(used))
    return joined(*parts).with_simulation(events.simulation)


def mean_scores(members: Sequence[Scores]) -> Scores:
    """Mean of the members' scores, event by event: the score-level combination."""

    def mean(name: str) -> FloatArray:
        return np.asarray(np.mean([getattr(member, name) for member in members], axis=0), dtype=np.float64)

    first, empty = members[0], np.zeros(0)
    return Scores(
        mean("background"), first.background_fold, mean("signal"), first.signal_fold, empty, empty,
        mean("outside"), first.outside_fold,
    )  # fmt: skip


def posterior(templates: dict[str, Path], truth: Sample, protocol: Protocol, seed: int) -> dict[str, dict[str, float]]:
    """Log posteriors of the templates, for their own events and for true background."""
    models = {}
    for name, folder in templates.items():
        sample = read_template(folder)
        models[name] = WeightedRows(sample.features, sample.weight)
    probes = {"truth": WeightedRows(truth.require(protocol.features), truth.weight)}
    return log_posteriors(models, probes, seed=seed, events=protocol.posterior_events)


def _free_folds(rng: np.random.Generator, sample: Sample, protocol: Protocol) -> IndexArray:
    """Fold for each event, at random: any scorer may score an event that none has seen."""
    return rng.integers(0, protocol.folds, len(sample))


def _held_out(fit: CrossFit) -> list[Any]:
    held = [getattr(scorer, "held_out_", None) for scorer in fit.scorers]
    return [part for part in held if part is not None]


def _by_fold(fit: CrossFit, sample: Sample, fold: IndexArray, wanted: Any) -> FloatArray:
    """Score of each wanted event by its fold's scorer; NaN elsewhere."""
    scores = np.full(len(sample), np.nan)
    for number, scorer in enumerate(fit.scorers):
        own = wanted & (fold == number)
        if own.any():
            scores[own] = scorer.score(sample.take(own))
    return scores
