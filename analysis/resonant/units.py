"""The units of a benchmark: what each needs, where it lies, and the hash of everything that it depends on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resonaut import __version__
from resonaut.analysis.resonant import measures, work
from resonaut.analysis.resonant.costs import measured
from resonaut.analysis.resonant.events import Division, Events, divide, load_events, only
from resonaut.analysis.resonant.protocol import COMBINATIONS, REFERENCES, Protocol
from resonaut.analysis.resonant.work import Scores
from resonaut.analysis.rundir import Unit
from resonaut.analysis.seeds import seed_for
from resonaut.files import digest, finite_or_none, read_json, write_json
from resonaut.models import make_scorer

__all__ = ("Plan", "PosteriorUnit", "ScoreUnit", "TemplateUnit")

RESULT = "result.json"
_EVENTS = ("features", "window", "shift", "max_background", "seed")
_DIVISION = ("data_fraction", "fixed_events", "everywhere")
_CLASSIFIER = ("classifier", "classifier_options", "folds", "template_events")


@dataclass(frozen=True)
class Plan:
    """A benchmark: its events, its protocol, the methods asked for, and where everything lies.

    Parameters
    ----------
    folder
        Run directory.
    tables
        (role, event table) of data, simulation and signal.
    content
        Digests of the tables.
    protocol
        What is done.
    methods
        References, methods and combinations, in the order of the tables and figures.
    """

    folder: Path
    tables: tuple[tuple[str, Path], ...]
    content: tuple[str, ...]
    protocol: Protocol
    methods: tuple[str, ...]

    @property
    def events(self) -> Events:
        return load_events(dict(self.tables), self.protocol)

    @property
    def mixed(self) -> tuple[str, ...]:
        """Members of the combinations."""
        return tuple(name for name in self.protocol.combined if name in self.methods)

    @property
    def templated(self) -> tuple[str, ...]:
        """Methods with a template that is made once and shared."""
        return tuple(m for m in self.methods if m not in (*REFERENCES, *COMBINATIONS) and work.is_shared(m))

    def template(self, method: str, s_over_b: float, seed: int) -> TemplateUnit:
        """The template that a method uses in a repetition."""
        if method in REFERENCES:
            half = "truth-half" if method == "idealised-half" else "truth"
            return TemplateUnit(self, half, 0 if self.protocol.fixed_events else seed, None)
        strength = (s_over_b, seed) if self.protocol.everywhere else None
        return TemplateUnit(self, method, self.protocol.generator(seed), strength)

    def scores(self, method: str, s_over_b: float, seed: int) -> ScoreUnit:
        """The scores of a method in a repetition."""
        return ScoreUnit(self, method, self.protocol.s_over_b[0] if method == "supervised" else s_over_b, seed)

    def trainings(self, method: str) -> list[tuple[str, float, int]]:
        """(method, S/B, repetition) of all trainings of a method."""
        repetitions = range(self.protocol.repetitions(method))
        return [(method, s, seed) for s in self.protocol.strengths(method) for seed in repetitions]

    def stages(self) -> list[tuple[str, list[AnyUnit]]]:
        """Units in an order in which each finds what it needs; those of one stage do not need each other."""
        wanted = [x for m in self.methods for x in self.trainings(m)]
        direct = [x for x in wanted if x[0] not in COMBINATIONS]
        needed = [x for x in direct if x[0] in (*REFERENCES, *self.templated)]
        mixed = [x for x in wanted if x[0] == "combined-events"]
        means = [x for x in wanted if x[0] == "combined-scores"]
        stages: list[tuple[str, list[AnyUnit]]] = [
            ("templates", _unique(self.template(*x) for x in needed)),
            ("mixtures of templates", _unique(self.template(*x) for x in mixed)),
            ("scores", [self.scores(*x) for x in sorted(direct + mixed, key=lambda x: (x[2], x[1]))]),
            ("means of scores", [self.scores(*x) for x in means]),
        ]
        if len(self.judged) > 1:
            count = self.protocol.posterior_seeds
            stages.append(("log posteriors", [PosteriorUnit(self, number) for number in range(count)]))
        return stages

    @property
    def judged(self) -> tuple[str, ...]:
        """Templates that the log posterior tells apart: those in the coordinates of the features."""
        return tuple(m for m in self.templated if work.in_features(m))

    def facts(self, *names: str) -> list[Any]:
        """The named settings and the digests of the events."""
        settings = self.protocol.facts()
        return [__version__, *self.content, *(settings[name] for name in names)]


@dataclass(frozen=True)
class TemplateUnit:
    """One template: of a method, a mixture of methods, or true background.

    Parameters
    ----------
    plan
        The benchmark.
    method
        Name of the method, or "truth", "truth-half".
    generator
        Its generator seed; of the truth, the repetition whose division it follows.
    strength
        (S/B, repetition) where signal is injected outside the signal region too.
    """

    plan: Plan
    method: str
    generator: int
    strength: tuple[float, int] | None

    @property
    def unit(self) -> Unit:
        suffix = "" if self.strength is None else "_sb{:g}_r{}".format(*self.strength)
        return Unit(self.plan.folder / "templates" / self.method / f"g{self.generator}{suffix}", self.key)

    @property
    def folder(self) -> Path:
        """Where the stored template lies."""
        return self.unit.folder / "template"

    @property
    def members(self) -> list[TemplateUnit]:
        """Templates that go into a mixture."""
        return [TemplateUnit(self.plan, name, self.generator, self.strength) for name in self.plan.mixed]

    @property
    def key(self) -> str:
        protocol = self.plan.protocol
        if self.method == "combined-events":
            return digest("mixture", self.generator, self.strength, [member.key for member in self.members])
        facts = self.plan.facts(*_EVENTS, *_DIVISION)
        own = [protocol.window_of(self.method).to_dict(), protocol.options.get(self.method, {}).get("template", {})]
        return digest("template", self.method, self.generator, self.strength, facts, own)

    def make(self) -> bool:
        """Make the template unless it is there."""
        return self.unit.make(self._work)

    def _work(self, folder: Path) -> None:
        with measured() as costs:
            facts = self._make(folder / "template")
        write_json(folder / RESULT, finite_or_none({**facts, **costs}))

    def _make(self, folder: Path) -> dict[str, Any]:
        plan, protocol = self.plan, self.plan.protocol
        seed = seed_for(protocol.seed, self.method, "generator", self.generator)
        if self.method == "combined-events":
            return work.make_combination(folder, [member.folder for member in self.members], protocol, seed)
        if self.method.startswith("truth"):
            rows = divide(plan.events, protocol, 0.0, self.generator).truth
            rows = rows[::2] if self.method == "truth-half" else rows
            truth = only(plan.events.background.take(rows), protocol.features)
            return work.make_truth(folder, truth, protocol.window)
        division = divide(plan.events, protocol, *(self.strength or (0.0, 0)))
        sample = work.data_sample(plan.events, division, sidebands=True)
        return work.make_method_template(folder, self.method, sample, protocol, seed)

    def result(self) -> dict[str, Any]:
        """What was found, with the seconds."""
        return {**read_json(self.unit.folder / RESULT), "seconds": self.unit.seconds}


@dataclass(frozen=True)
class ScoreUnit:
    """Out-of-fold scores of one method at one S/B in one repetition, and their figures of merit."""

    plan: Plan
    method: str
    s_over_b: float
    seed: int

    @property
    def unit(self) -> Unit:
        name = f"sb{self.s_over_b:g}_s{self.seed}"
        return Unit(self.plan.folder / "scores" / self.method / name, self.key)

    @property
    def members(self) -> list[ScoreUnit]:
        """Scores that go into a mean."""
        return [ScoreUnit(self.plan, name, self.s_over_b, self.seed) for name in self.plan.mixed]

    @property
    def template(self) -> TemplateUnit | None:
        """The shared template, where the method has one."""
        if self.method in (*REFERENCES, *self.plan.templated, "combined-events"):
            return self.plan.template(self.method, self.s_over_b, self.seed)
        return None

    @property
    def key(self) -> str:
        if self.method == "combined-scores":
            return digest("mean", self._bends, [member.key for member in self.members])
        protocol = self.plan.protocol
        facts = self.plan.facts(*_EVENTS, *_DIVISION, *_CLASSIFIER)
        below = None if self.template is None else self.template.key
        own = [below, protocol.options.get(self.method, {}) if below is None else None]
        window = protocol.window_of(self.method).to_dict()
        return digest("scores", self.method, self.s_over_b, self.seed, facts, own, window, self._bends)

    @property
    def _bends(self) -> bool:
        """Whether the efficiency against the mass is measured: once, without and with the strongest signal."""
        ends = (min(self.plan.protocol.s_over_b), max(self.plan.protocol.s_over_b))
        return self.seed == 0 and self.s_over_b in ends and self.method != "supervised"

    def make(self) -> bool:
        """Compute the scores unless they are there."""
        return self.unit.make(self._work)

    def _work(self, folder: Path) -> None:
        plan = self.plan
        division = divide(plan.events, plan.protocol, self.s_over_b, self.seed)
        with measured() as costs:
            scores = self._scores(division)
        scores.save(folder / "scores.safetensors")
        found: dict[str, Any] = measures.performance(scores) | costs
        found |= {"data": len(division.data), "injected": len(division.injected)}
        if self.method != "supervised":
            found["template_auc"] = measures.template_auc(scores, self._data_scores(scores, division))
        if self._bends:
            found["sculpting"] = measures.sculpting(scores, plan.events, plan.protocol)
        write_json(folder / RESULT, finite_or_none(found))

    def _data_scores(self, scores: Scores, division: Division) -> Any:
        plan = self.plan
        inside = plan.protocol.window.in_signal_region(plan.events.background.mass)
        return scores.background[(inside.cumsum() - 1)[division.data]]

    def _scores(self, division: Division) -> Scores:
        plan, protocol = self.plan, self.plan.protocol
        seed = seed_for(protocol.seed, "classifier", self.seed)  # the same for all methods, as in the paper
        if self.method == "combined-scores":
            return work.mean_scores([member.load() for member in self.members])
        if self.method == "supervised":
            assert self.template is not None
            return work.supervised(self.template.folder, plan.events, division, protocol, seed)
        truth = self.method in REFERENCES
        if self.template is not None:
            scorer = work.with_template(self.template.folder, protocol, limited=not truth)
        else:
            own = {"features": protocol.features, **protocol.options.get(self.method, {})}
            scorer = make_scorer(self.method, **work.classifier_of(self.method, protocol), **own)
        sample = work.data_sample(plan.events, division, sidebands=self.template is None)
        return work.cross_fitted(
            scorer, sample, plan.events, division, protocol, seed, method=self.method, outside=self._bends, truth=truth
        )

    def load(self) -> Scores:
        """The scores."""
        return Scores.load(self.unit.folder / "scores.safetensors")

    def result(self) -> dict[str, Any]:
        """Figures of merit, with the seconds."""
        return {**read_json(self.unit.folder / RESULT), "seconds": self.unit.seconds}


@dataclass(frozen=True)
class PosteriorUnit:
    """Log posteriors of all templates, once."""

    plan: Plan
    number: int

    @property
    def unit(self) -> Unit:
        return Unit(self.plan.folder / "posteriors" / f"p{self.number}", self.key)

    @property
    def templates(self) -> dict[str, TemplateUnit]:
        """Method -> template."""
        return {name: self.plan.template(name, self.plan.protocol.s_over_b[0], 0) for name in self.plan.judged}

    @property
    def key(self) -> str:
        below = [template.key for template in self.templates.values()]
        return digest("posterior", self.number, below, self.plan.facts("posterior_events", "seed"))

    def make(self) -> bool:
        """Train and judge unless it is done."""
        return self.unit.make(self._work)

    def _work(self, folder: Path) -> None:
        events, protocol = self.plan.events, self.plan.protocol
        truth = events.background.take(protocol.window.in_signal_region(events.background.mass))
        folders = {name: template.folder for name, template in self.templates.items()}
        seed = seed_for(protocol.seed, "posterior", self.number)
        write_json(folder / RESULT, work.posterior(folders, truth, protocol, seed))

    def result(self) -> dict[str, dict[str, float]]:
        """Sample j -> model i -> log posterior."""
        found: dict[str, dict[str, float]] = read_json(self.unit.folder / RESULT)
        return found


AnyUnit = TemplateUnit | ScoreUnit | PosteriorUnit


def _unique(units: Iterable[AnyUnit]) -> list[AnyUnit]:
    """One of those that share a folder."""
    return list({unit.unit.folder: unit for unit in units}.values())


def undone(units: Sequence[AnyUnit]) -> list[AnyUnit]:
    """Those that are still to be made."""
    return [unit for unit in units if not unit.unit.done]
