"""What a benchmark of resonant methods does: events, signal strengths, seeds, classifier, and the three sizes of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from resonaut.errors import ConfigError, unknown_name
from resonaut.models.inputs import INTERPLAY_FEATURES
from resonaut.stats import Window

__all__ = ("COMBINATIONS", "METHODS", "REFERENCES", "SIZES", "Protocol", "make_protocol")

REFERENCES = ("supervised", "idealised", "idealised-half")
"""Upper ends of the scale: labelled signal against true background, and data against true background (all, half of it)."""

COMBINATIONS = ("combined-events", "combined-scores")
"""Equal numbers of events of all members' templates; mean of the members' scores."""

METHODS = ("cathode", "lacathode", "curtains", "feta", "salad", "anode", "cwola", "sa-cwola", "tag-n-train")
"""Methods of the default run, by their names in the registry of scorers; those not installed are left out."""

_NEAR_SIDEBANDS = (3100.0, 3900.0)  # features drift: arXiv:2109.00546, section 3.3, takes 200 GeV on each side


@dataclass(frozen=True)
class Protocol:
    """Everything that the results depend on, beside the event files.

    Parameters
    ----------
    features
        Columns that all methods read.
    window
        Signal region and the masses from which densities are learnt, GeV.
    s_over_b
        Injected signal over background in the signal region of the data.
    data_fraction
        Part of the signal region's background that plays the data; the rest is the template of the idealised detector.
    seeds, generator_seeds
        Repetitions; number s takes the template with generator seed s modulo `generator_seeds`.
    fixed_events
        True: all seeds share one division of the events and one injected signal, as published, and bands show the training
        alone. False: each draws its data from the signal region's background and its signal anew; sidebands, simulation and, with
        one generator seed, the templates stay the same, so that bands are narrower than between independent experiments.
    everywhere
        True: signal is injected at all masses, as in a search, and templates are made for each strength and seed. False:
        in the signal region alone, as published.
    shift
        Both mass features are raised by this fraction of mJJ in all samples: features that depend on the mass.
    max_background
        Background events read, at most; None for all.
    classifier, classifier_options
        The one classifier of all methods that need one.
    options
        Method -> options of its scorer, beyond classifier and seed; `features`, where it needs others than all the rest.
    reduced
        Method -> (S/B values, repetitions) of methods that cost too much to be run as often as the others. The middle one of
        `s_over_b` where none of the values is among them.
    sidebands
        Method -> (low, high) of its own sidebands, GeV, where they are not the window's.
    combined
        Members of the combinations.
    template_events
        Template events that a classifier sees, at most: more cost time in proportion.
    posterior_events, posterior_seeds
        Events of each template and repetitions of the log posterior.
    folds
        Of the cross-fit.
    device
        "cpu", "cuda", or None for a GPU where there is one; results of one device are not made again on another.
    seed
        All seeds are made of this one.
    """

    features: tuple[str, ...] = INTERPLAY_FEATURES
    window: Window = Window(3300.0, 3700.0, 2500.0, 5500.0)  # noqa: RUF009  # frozen
    s_over_b: tuple[float, ...] = (0.0, 0.003, 0.0047, 0.0062, 0.0093, 0.013)
    data_fraction: float = 0.6
    seeds: int = 3
    generator_seeds: int = 1
    fixed_events: bool = False
    everywhere: bool = False
    shift: float = 0.0
    max_background: int | None = None
    classifier: str = "trees"
    classifier_options: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reduced: Mapping[str, tuple[tuple[float, ...], int]] = field(default_factory=dict)
    sidebands: Mapping[str, tuple[float, float]] = field(default_factory=lambda: {"cwola": _NEAR_SIDEBANDS})
    combined: tuple[str, ...] = ("salad", "cathode", "curtains", "feta")
    template_events: int = 120_000
    posterior_events: int = 40_000
    posterior_seeds: int = 3
    folds: int = 5
    device: str | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        positive = ("seeds", "generator_seeds", "template_events", "posterior_events")
        for name in positive:
            if not getattr(self, name) > 0:
                msg = f"{name} of a benchmark must be above 0, got {getattr(self, name)!r}"
                raise ConfigError(msg)
        if not 0 <= self.shift <= 1:
            msg = f"shift must be a fraction of mJJ in [0, 1], got {self.shift!r}"
            raise ConfigError(msg)
        if not 0 < self.data_fraction < 1:
            msg = f"data_fraction must be in (0, 1), got {self.data_fraction!r}"
            raise ConfigError(msg)
        if not self.s_over_b or any(not 0 <= s < 1 for s in self.s_over_b):
            msg = f"s_over_b must be numbers in [0, 1), got {list(self.s_over_b)}"
            raise ConfigError(msg)

    def facts(self) -> dict[str, Any]:
        """JSON-able content."""
        return asdict(self)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that any method reads, the common features first."""
        own = [name for options in self.options.values() for name in options.get("features", ())]
        return tuple(dict.fromkeys([*self.features, *own]))

    def strengths(self, method: str) -> tuple[float, ...]:
        """S/B at which a method is trained; the supervised reference does not see the data."""
        if method == "supervised":
            return self.s_over_b[:1]
        chosen = self.reduced.get(method, (self.s_over_b, 0))[0]
        found = tuple(s for s in self.s_over_b if any(math.isclose(s, other) for other in chosen))
        return found or self.s_over_b[len(self.s_over_b) // 2 :][:1]

    def repetitions(self, method: str) -> int:
        """How often a method is trained at each S/B."""
        return min(self.seeds, self.reduced.get(method, ((), self.seeds))[1])

    def window_of(self, method: str) -> Window:
        """Window whose sidebands the method learns from."""
        low, high = self.sidebands.get(method, (self.window.sb_low, self.window.sb_high))
        return Window(self.window.low, self.window.high, low, high)

    def generator(self, seed: int) -> int:
        """Generator seed of a repetition."""
        return seed % self.generator_seeds


_FIT = {"mass_range": [2800.0, 5500.0]}
_CARRIED = ("curtains", "feta")  # methods with a map beside the flow
_PER_JET = {"features": ["m_h", "tau21_h", "m_l", "tau21_l"]}  # Tag N' Train takes the same features of both jets


def _options(flow: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Options of all methods: one fit of the mass spectrum, one size of flow."""
    found: dict[str, dict[str, Any]] = {name: {"template": dict(_FIT)} for name in ("cwola", "sa-cwola", "salad")}
    for name in ("cathode", "lacathode", "anode", *_CARRIED):
        found[name] = {"template": {**_FIT, "flow": dict(flow)}}
    found["lacathode"]["template"]["flow"] = {k: v for k, v in flow.items() if k not in {"layers", "hidden"}}
    found["anode"]["per_fold"] = False  # figures of merit of the signal region alone
    for name in _CARRIED:
        found[name]["template"]["transport"] = dict(flow)
    found["curtains"]["template"]["sidebands"] = [2700.0, 4500.0]
    return {**found, "tag-n-train": dict(_PER_JET)}


_TINY_FLOW = {"layers": 2, "hidden": 32, "epochs": 4, "batch_size": 1024}
_PAPER_FLOW = {"layers": 8, "hidden": 128, "epochs": 100, "patience": 20, "batch_size": 1024, "average_epochs": 10}
_TREES = {"members": 8, "max_features": 1.0}
_CLASSIFIERS: dict[str, dict[str, Any]] = {
    "trees": _TREES, "network": {"members": 4, "batch_size": 1024, "learning_rate": 5e-3}
}  # fmt: skip
"""Options of a classifier that is not the size's own."""

SIZES: dict[str, Protocol] = {
    "quick": Protocol(
        s_over_b=(0.0, 0.03), seeds=1, max_background=30_000, template_events=12_000, posterior_events=3_000,
        posterior_seeds=1, classifier_options={"members": 2, "max_iter": 60}, options=_options(_TINY_FLOW),
        reduced={"anode": ((0.03,), 1)},
    ),
    "cpu": Protocol(
        s_over_b=(0.0, 0.003, 0.0047, 0.0062, 0.0093, 0.013), seeds=3, classifier_options=_TREES, template_events=60_000,
        options=_options({}), reduced={"anode": ((0.0062,), 1), "tag-n-train": ((0.0, 0.0062), 1)},
    ),
    "gpu": Protocol(
        seeds=100, generator_seeds=3, classifier="network", classifier_options={"members": 10}, template_events=400_000,
        options=_options(_PAPER_FLOW), posterior_events=400_000, posterior_seeds=100,
        reduced={"anode": ((0.0, 0.0047, 0.0062, 0.0093), 3)},
    ),
}  # fmt: skip
"""Sizes of a run: `quick` shows that all parts work, `cpu` takes a few hours of one core, `gpu` has the published numbers of seeds."""


def make_protocol(size: str, **changes: Any) -> Protocol:
    """Protocol of a size, with changes; None leaves a setting as it is.

    Raises
    ------
    ConfigError
        For an unknown size or setting.

    Examples
    --------
    >>> make_protocol("cpu", seeds=5).seeds
    5
    """
    if size not in SIZES:
        raise ConfigError(unknown_name("size", size, SIZES))
    given = {name: value for name, value in changes.items() if value is not None}
    classifier = given.get("classifier", SIZES[size].classifier)
    if classifier != SIZES[size].classifier:  # options are those of another class
        given.setdefault("classifier_options", _CLASSIFIERS.get(classifier, {}))
    for name in given:
        if name not in Protocol.__dataclass_fields__:
            raise ConfigError(unknown_name("setting of a benchmark", name, Protocol.__dataclass_fields__))
    return replace(SIZES[size], **given)
