"""What a benchmark of resonant methods does: events, signal strengths, seeds, classifier, and the three sizes of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from resonaut.errors import ConfigError, unknown_name
from resonaut.models.inputs import RESONANT_FEATURES
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
    fit_range
        (low, high) of the fits of the mass spectrum, GeV: above the turn-on.
    s_over_b
        Injected signal over background in the signal region of the data.
    data_fraction
        Part of the signal region's background that plays the data; the rest is the template of the idealised detector.
    seeds, generator_seeds
        Repetitions; number s takes the template with generator seed s modulo `generator_seeds`.
    fixed_events
        True: all seeds share one division of the events and one injected signal, as published, and bands show the training
        alone. False: events are drawn anew, and bands show what another experiment would have seen.
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
        Method -> options of its scorer, beyond features, classifier and seed.
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

    features: tuple[str, ...] = RESONANT_FEATURES
    window: Window = Window(3300.0, 3700.0, 2500.0, 5500.0)  # noqa: RUF009  # frozen
    fit_range: tuple[float, float] = (2800.0, 5500.0)
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
        if not 0 < self.data_fraction < 1:
            msg = f"data_fraction must be in (0, 1), got {self.data_fraction!r}"
            raise ConfigError(msg)
        if not self.s_over_b or any(not 0 <= s < 1 for s in self.s_over_b):
            msg = f"s_over_b must be numbers in [0, 1), got {list(self.s_over_b)}"
            raise ConfigError(msg)

    def facts(self) -> dict[str, Any]:
        """JSON-able content."""
        return asdict(self)

    def window_of(self, method: str) -> Window:
        """Window whose sidebands the method learns from."""
        low, high = self.sidebands.get(method, (self.window.sb_low, self.window.sb_high))
        return Window(self.window.low, self.window.high, low, high)

    def generator(self, seed: int) -> int:
        """Generator seed of a repetition."""
        return seed % self.generator_seeds


def _flows(flow: Mapping[str, Any], **more: Any) -> dict[str, dict[str, Any]]:
    """Options of the methods with flows; maps have a flow of their own."""
    template = {"mass_range": [2800.0, 5500.0], "flow": dict(flow), **more}
    carried = {**template, "transport": dict(flow)}
    return {
        "cathode": {"template": template},
        "lacathode": {"template": template},
        "curtains": {"template": {**carried, "sidebands": [2700.0, 4500.0]}},
        "feta": {"template": carried},
        "anode": {"template": template},
    }


_MASS_FIT: dict[str, dict[str, Any]] = {
    name: {"template": {"mass_range": [2800.0, 5500.0]}} for name in ("cwola", "salad")
}

SIZES: dict[str, Protocol] = {
    "quick": Protocol(
        s_over_b=(0.0, 0.03), seeds=1, max_background=60_000, template_events=12_000, posterior_events=3_000,
        posterior_seeds=1, classifier_options={"members": 2, "max_iter": 60}, options=_MASS_FIT,
    ),
    "cpu": Protocol(options=_MASS_FIT),
    "gpu": Protocol(
        seeds=100, generator_seeds=3, classifier="network", classifier_options={"members": 10}, options=_MASS_FIT,
        template_events=400_000, posterior_events=400_000, posterior_seeds=100,
    ),
}  # fmt: skip
"""Sizes of a run: `quick` shows that all parts work, `cpu` takes about an hour on two cores, `gpu` is the published one."""


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
    for name in given:
        if name not in Protocol.__dataclass_fields__:
            raise ConfigError(unknown_name("setting of a benchmark", name, Protocol.__dataclass_fields__))
    return replace(SIZES[size], **given)
