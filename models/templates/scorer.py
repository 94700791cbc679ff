"""Any background template as an anomaly scorer: a classifier tells the data of the signal region from the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from resonaut.errors import ConfigError, RegionError
from resonaut.models.base import BaseScorer, feature_names
from resonaut.models.classifiers import Classifier, TrainedClassifier, make_classifier, restore_classifier
from resonaut.models.folds import assign_folds
from resonaut.models.inputs import RESONANT_FEATURES
from resonaut.models.references import class_weights
from resonaut.models.sample import FloatArray, IndexArray, Sample
from resonaut.models.storage import Tensors
from resonaut.models.templates.base import BackgroundTemplate, make_template
from resonaut.stats import Window

__all__ = ("HeldOut", "TemplateScorer")

_CLASSIFIER, _TEMPLATE, _HELD_OUT = "classifier.", "template.", "held_out."
_PARTS = 5  # template events are shared out like the data: a part is scored by classifiers that did not see it


@dataclass(frozen=True)
class HeldOut:
    """Template events that a scorer's classifier did not see, scored by it: the direct background estimate.

    Parameters
    ----------
    scores
        (n,) scores.
    weight
        (n,) weights, summing to the expected background of the whole signal region.
    mass
        (n,) GeV.
    error
        Standard deviation of the expected background, from the sideband fit.
    rows
        (n,) which of the template's events these are; None where it is a density without a list of events.
    """

    scores: FloatArray
    weight: FloatArray
    mass: FloatArray
    error: float
    rows: IndexArray | None = None

    def fraction_above(self, threshold: float) -> tuple[float, float]:
        """Background efficiency of a cut and its statistical standard deviation."""
        passing = self.scores >= threshold
        total = self.weight.sum()
        efficiency = self.weight[passing].sum() / total
        variance = (self.weight**2 * (passing - efficiency) ** 2).sum() / total**2
        return float(efficiency), float(np.sqrt(variance))


@dataclass(frozen=True)
class _Parts:
    """Equal parts of a template's events: training k does not see part k, counted from `first` on.

    `whole` is the weight of all data over that of those that the template was made with.
    """

    count: int
    seed: int
    first: int = 0
    whole: float = 1.0

    def of(self, events: Sample) -> IndexArray:
        return (assign_folds(events.mass, self.count, self.seed) - self.first) % self.count


class TemplateScorer(BaseScorer):
    """Classifier of signal-region data against a background template; a method is a subclass that names its template.

    Parameters
    ----------
    features
        Columns to read.
    template
        Options of the template, beyond the features and the seed.
    classifier
        "trees" (ensembles of boosted trees) or "network" (an ensemble of small networks, trained as one stack).
    classifier_options
        Its options.
    per_fold
        True: inside `CrossFit` each fold has a template of its own, made without the fold's events. False: one template
        serves all folds, which takes a fifth of the time, where it is no set of data events. Then the selected spectrum
        outside the signal region is made of events that the template was learnt from, and the fit expects too little:
        for studies of the signal region alone.
    seed
        Equal seeds give equal scores, bit for bit on one device with the same number of threads.

    Notes
    -----
    Score: the classifier's mean probability, in (0, 1), that an event of equal classes is data. Template events are
    cross-fitted like the data: `held_out_` keeps those that the classifier did not see, with their scores.

    Why folds need their own templates: where the sidebands fluctuate down, a template learnt from them is low as well, so that
    the classifier takes the data of the signal region there for an excess. A cut prefers such regions, and the fit of the
    selected sidebands, the same events, is low again.
    """

    template_class: ClassVar[type[BackgroundTemplate]]

    def __init__(
        self,
        features: Sequence[str] = RESONANT_FEATURES,
        *,
        template: Mapping[str, Any] | None = None,
        classifier: str = "trees",
        classifier_options: Mapping[str, Any] | None = None,
        per_fold: bool = True,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        self.template = dict(template or {})
        self.classifier = classifier
        self.classifier_options = dict(classifier_options or {})
        self.per_fold = per_fold
        self.seed = seed
        self._check_template()
        self._classifier()  # wrong options are told now, not after the template was trained
        self.template_: BackgroundTemplate | None = None
        self.trained_: TrainedClassifier | None = None
        self.held_out_: HeldOut | None = None

    def _check_template(self) -> None:
        if reserved := {"features", "seed"}.intersection(self.template):
            msg = f"options of the template of {self.name!r} cannot set {', '.join(sorted(reserved))}: the scorer does"
            raise ConfigError(msg)
        self._make_template(0)

    def _make_template(self, seed: int) -> BackgroundTemplate:
        return make_template(self.template_class.name, features=self.features, seed=seed, **self.template)

    def _classifier(self) -> Classifier:
        return make_classifier(self.classifier, **self.classifier_options)

    @property
    def uses_simulation(self) -> bool:
        """Whether `fit` needs simulated background beside the data."""
        return self._make_template(0).uses_simulation

    @property
    def fitted(self) -> bool:
        """Whether there is a classifier to score with."""
        return self.trained_ is not None

    def fit(self, sample: Sample, window: Window | None) -> Self:
        """Make the template and train on all events of the signal region."""
        nobody = np.full(len(sample), -1, dtype=np.int64)
        (fitted,) = self.fit_folds(sample, window, nobody, [self.seed])
        vars(self).update(vars(fitted))
        return self

    def fit_folds(self, sample: Sample, window: Window | None, fold: IndexArray, seeds: Sequence[int]) -> list[Self]:
        """One fitted scorer per fold, number k trained without the events whose `fold` is k."""
        window = self.require_window(window)
        inside = window.in_signal_region(sample.mass)
        if not inside.any():
            msg = f"the signal region {window} has no events: move the window"
            raise RegionError(msg)
        template_seed, draw_seed, share_seed = _spawn(seeds[0], 3)
        unfitted = self._make_template(0)  # of a mixture, its members decide
        if unfitted.made_of_events or (self.per_fold and unfitted.learns_from_data and np.any(fold >= 0)):
            fitted: list[Self] = []
            for number, seed in enumerate(seeds):
                rest = sample.take(fold != number)
                template = self._make_template(template_seed).fit(rest, window)
                data = rest.take(window.in_signal_region(rest.mass))
                nobody = np.full(len(data), -1, dtype=np.int64)
                parts = _Parts(max(_PARTS, len(seeds)), share_seed, number, sample.weight.sum() / rest.weight.sum())
                fitted += self._train(template, data, window, nobody, [seed], draw_seed, parts)
            return fitted
        template = self._make_template(template_seed).fit(sample, window)
        parts = _Parts(max(_PARTS, len(seeds)), share_seed)
        return self._train(template, sample.take(inside), window, fold[inside], seeds, draw_seed, parts)

    def _train(
        self,
        template: BackgroundTemplate,
        data: Sample,
        window: Window,
        fold: IndexArray,
        seeds: Sequence[int],
        draw_seed: int,
        parts: _Parts,
    ) -> list[Self]:
        background, companions = template.background(draw_seed), template.companions(draw_seed)
        shares = parts.of(background)
        events, folds = [template.represent(data)], [fold]
        if companions is not None:
            events.append(_scaled(companions, data.weight.sum()))
            whole = np.all(fold < 0)  # each training sees as large a part of the companions as of the data
            folds.append(
                np.full(len(companions), -1) if whole else assign_folds(companions.mass, len(seeds), parts.seed)
            )
        events.append(background)
        folds.append(shares)
        matrix = np.concatenate([part.features for part in events])
        weight = np.concatenate([part.weight for part in events])
        target = np.arange(len(matrix)) < len(matrix) - len(background)
        trained = self._classifier().train(
            matrix,
            target,
            class_weights(target, weight, ("template", "data")),
            np.concatenate(folds).astype(np.int64),
            seeds,
            protected=np.concatenate([part.mass for part in events]),
        )
        fitted = []
        for number, (seed, classifier) in enumerate(zip(seeds, trained, strict=True)):
            scorer = self.clone(seed=seed)
            scorer.template_, scorer.trained_, scorer.window_ = template, classifier, window
            rows = np.flatnonzero(shares == number)
            own = background.take(rows)
            total, error = (parts.whole * each for each in template.yield_())
            scaled = own.weight * (total / own.weight.sum())
            scorer.held_out_ = HeldOut(classifier.probability(own.features), scaled, own.mass, error, rows)
            fitted.append(scorer)
        return fitted

    def score(self, sample: Sample) -> FloatArray:
        """Mean probability (n,), at any mass, that an event is data rather than template."""
        self.require_fitted()
        assert self.trained_ is not None
        assert self.template_ is not None
        return self.trained_.probability(self.template_.represent(sample).features)

    def learnt_tensors(self) -> Tensors:
        """Arrays of the classifier, of the template as far as scores need it, and of the held-out template events."""
        assert self.trained_ is not None
        assert self.template_ is not None
        assert self.held_out_ is not None
        held = {name: getattr(self.held_out_, name) for name in ("scores", "weight", "mass", "rows")}
        parts = ((_CLASSIFIER, self.trained_.tensors()), (_TEMPLATE, self.template_.tensors()), (_HELD_OUT, held))
        return {prefix + name: array for prefix, tensors in parts for name, array in tensors.items()}

    def learnt_facts(self) -> dict[str, Any]:
        """Facts of classifier and template."""
        assert self.trained_ is not None
        assert self.template_ is not None
        assert self.held_out_ is not None
        return {
            "classifier": self.trained_.facts(),
            "template": self.template_.facts(),
            "yield_error": self.held_out_.error,
        }

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back classifier and template."""
        self.trained_ = restore_classifier(_under(tensors, _CLASSIFIER), facts["classifier"])
        self.template_ = self._make_template(_spawn(self.seed, 3)[0])
        self.template_.restore(_under(tensors, _TEMPLATE), facts["template"])
        self.held_out_ = HeldOut(**_under(tensors, _HELD_OUT), error=float(facts["yield_error"]))


def _scaled(sample: Sample, factor: float) -> Sample:
    return Sample(sample.features, sample.names, sample.mass, sample.weight * factor)


def _spawn(seed: int, count: int) -> list[int]:
    return [int(child.generate_state(1)[0]) for child in np.random.SeedSequence(seed).spawn(count)]


def _under(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
