"""The units of a campaign: one method, one signal, one strength, one seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from resonaut.analysis.config import MethodConfig, SearchConfig
from resonaut.analysis.events import EventStage
from resonaut.analysis.rundir import RunDirectory, Unit
from resonaut.analysis.scoring import choose_features, search_windows, uses_labels, window_name
from resonaut.analysis.seeds import seed_for
from resonaut.analysis.signals import SignalSample, signal_window
from resonaut.errors import ConfigError, InputError, unknown_name
from resonaut.files import digest
from resonaut.processors import read_table, table_columns
from resonaut.stats import Window

__all__ = ("MOST", "InjectionJob", "check_weights", "injected_signals", "injection_jobs", "require_events")

MOST = 0.5
"""Part of a simulated signal that may be looked at for events to inject; the rest tells the efficiency."""


@dataclass(frozen=True)
class InjectionJob:
    """The search with so many events of a signal in the data: everything that its result depends on.

    Parameters
    ----------
    config : of the search, with this method alone and the seed of this unit.
    data, simulation : the finished first stages.
    sample : the signal.
    window : whose signal region holds the signal's mass.
    events : signal events that are produced; None for a reference that is trained on truth labels, with half of the signal.
    repeat : number of the run among those with the same strength.
    """

    config: SearchConfig
    data: EventStage
    simulation: EventStage | None
    sample: SignalSample
    window: Window
    events: float | None
    repeat: int
    folder: Path
    key: str

    @property
    def method(self) -> MethodConfig:
        """The only one of its search."""
        return self.config.methods[0]

    @property
    def unit(self) -> Unit:
        return Unit(self.folder, self.key)


def injected_signals(config: SearchConfig, samples: Sequence[SignalSample]) -> list[tuple[SignalSample, Window]]:
    """Signals of the campaign with their windows.

    Raises
    ------
    ConfigError
        If there is none, one is unknown, or one lies in no signal region.
    """
    assert config.injections is not None
    known = {sample.config.name: sample for sample in samples}
    for name in config.injections.signals:
        if name not in known:
            raise ConfigError(unknown_name("signal in injections.signals", name, list(known)))
    chosen = [known[name] for name in config.injections.signals or known]
    if not chosen:
        msg = "a campaign needs signals to inject: signals: [{name: ..., files: [...], mass: ...}]"
        raise ConfigError(msg)
    found = []
    for sample in chosen:
        window = signal_window(sample.config.mass, search_windows(config))
        if window is None or not window.low <= sample.config.mass < window.high:
            msg = f"injections: {sample.config.name} has a mass of {sample.config.mass:g} GeV, which lies in no signal region"
            raise ConfigError(msg)
        found.append((sample, window))
    return found


def check_weights(config: SearchConfig, samples: Sequence[SignalSample]) -> list[str]:
    """What a reader has to know about weights of the signals.

    Raises
    ------
    InputError
        If a signal has too few simulated events for the largest strength.
    ConfigError
        If more of it is there than was generated.
    """
    assert config.injections is not None
    largest, warnings = config.injections.events[-1], []
    for sample in samples:
        name = sample.config.name
        weight = np.asarray(read_table(sample.table, columns=["weight"])["weight"], dtype=np.float64)
        positive, total = weight[weight > 0], float(weight.sum())
        if total > sample.generated * (1 + 1e-9):
            msg = (
                f"signal {name}: the weights of its events sum to {total:g} and `generated` is {sample.generated:g}: it is the "
                "sum of weights of all generated events, before any cut"
            )
            raise ConfigError(msg)
        require_events(name, largest, weight, sample.generated)
        if negative := -float(weight[weight < 0].sum()):
            warnings.append(
                f"signal {name}: {negative / positive.sum():.1%} of its weight is negative; such events are not injected, while "
                "efficiencies have them: compare with a sample without negative weights"
            )
    return warnings


def require_events(name: str, largest: float, weight: npt.NDArray[np.float64], generated: float) -> None:
    """InputError if a signal has too few simulated events for the largest strength.

    Parameters
    ----------
    name : of the signal.
    largest : produced events that are asked for.
    weight : (n,) of the selected events.
    generated : sum of weights of all generated events.
    """
    positive, total = weight[weight > 0], float(weight.sum())
    # events are taken in proportion to their weights, each once: the largest weight sets how many there are
    drawn = MOST * float(positive.sum() / positive.max()) if positive.size and total > 0 else 0.0
    most = drawn * generated / total if total > 0 else 0.0
    if largest > most:
        msg = (
            f"injections.events asks for {largest:g} events of {name}; half of its files, whose other half tells the "
            f"efficiency, gives {drawn:.0f} unweighted events: ask for at most {most:.0f} that are produced, or give more files"
        )
        raise InputError(msg)


def _require_features(sample: SignalSample, features: Mapping[str, Sequence[str]]) -> None:
    there = table_columns(sample.table)
    for method, names in features.items():
        if missing := [name for name in names if name not in there]:
            msg = (
                f"signal {sample.config.name} has no {', '.join(missing)}, which the data have and {method} learns from: make it as "
                "the data were made, or name features that both have"
            )
            raise InputError(msg)


def injection_jobs(
    config: SearchConfig,
    run: RunDirectory,
    data: EventStage,
    simulation: EventStage | None,
    signals: Sequence[tuple[SignalSample, Window]],
) -> list[InjectionJob]:
    """All units of a campaign; methods that know the truth have one for each signal and seed, as their limit has no strength.

    Raises
    ------
    InputError
        If the data or a signal lack a feature of a method.
    """
    assert config.injections is not None
    features = {method.title: choose_features(method, table_columns(data.table)) for method in config.methods}
    jobs = []
    for sample, window in signals:
        name = sample.config.name
        _require_features(sample, features)
        for method in config.methods:
            strengths = (None,) if uses_labels(method) else config.injections.events
            for events in strengths:
                for repeat in range(config.injections.seeds):
                    seed = seed_for(config.seed, "injection", name, events, repeat)
                    own = config.model_copy(
                        update={"methods": (method,), "seed": seed, "workers": 1, "signals": (), "injections": None}
                    )
                    described = own.model_dump(
                        mode="json", include={"methods", "seed", "scan", "selection", "fit", "limits"}
                    )
                    simulated = simulation.key if simulation and method.uses_simulation else ""
                    signal = (sample.key, sample.generated, sample.config.mass, sample.config.uncertainties)
                    made_of = (features[method.title], simulated, *signal, window.to_dict(), events)
                    key = digest(described, data.key, *made_of)
                    point = "reference" if events is None else f"{events:.15g}"
                    folder = run.path / "injections" / name / method.title / window_name(window) / point / str(repeat)
                    made = (own, data, simulation, sample, window, events, repeat, folder, key)
                    jobs.append(InjectionJob(*made))
    return jobs
