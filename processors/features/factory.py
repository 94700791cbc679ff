"""From plain data, as in a config, to builders and processors of event tables; presets of resonances by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, unknown_name
from resonaut.processors.corrections.chain import Corrections
from resonaut.processors.features.builder import EventFeatures, FeatureBuilder
from resonaut.processors.features.cuts import make_cuts
from resonaut.processors.features.dijet import DijetFeatures
from resonaut.processors.features.event_variables import EventVariables
from resonaut.processors.features.processor import DijetProcessor, TableProcessor
from resonaut.processors.features.resonance import ResonanceFeatures
from resonaut.processors.identity import code_digest

__all__ = ("RESONANCES", "WithEventFeatures", "make_features", "make_processor")

Floats = npt.NDArray[np.float64]

_CLEAN: dict[str, Any] = {"separation": 0.4}  # a jet at a lepton or photon is the lepton or photon
RESONANCES: dict[str, dict[str, Any]] = {
    "dijet": {},
    "dijet-small": {"objects": ["Jet", "Jet"]},
    "trijet": {"objects": ["Jet", "Jet", "Jet"]},
    "dimuon": {"objects": ["Muon", "Muon"], "charge": "opposite", "exactly": True},
    "dielectron": {"objects": ["Electron", "Electron"], "charge": "opposite", "exactly": True},
    "dilepton": {"objects": ["Lepton", "Lepton"], "charge": "opposite", "flavour": "same"},
    "electron-muon": {"objects": ["Electron", "Muon"], "charge": "opposite"},
    "diphoton": {"objects": ["Photon", "Photon"]},
    "jet-lepton": {"objects": ["Jet", "Lepton"], **_CLEAN},
    "jet-muon": {"objects": ["Jet", "Muon"], **_CLEAN},
    "jet-electron": {"objects": ["Jet", "Electron"], **_CLEAN},
    "jet-photon": {"objects": ["Jet", "Photon"], **_CLEAN},
    "muon-met": {"objects": ["Muon", "MET"]},
    "electron-met": {"objects": ["Electron", "MET"]},
    "lepton-met": {"objects": ["Lepton", "MET"]},
}
"""Resonances by name: options of `ResonanceFeatures`; `dijet` is two large-R jets (`DijetFeatures`)."""


@dataclass(frozen=True)
class WithEventFeatures:
    """A builder with features of whole events beside its own.

    Parameters
    ----------
    base : builder of the resonant variable and its features.
    event : features of whole events.
    """

    base: FeatureBuilder
    event: EventVariables

    @property
    def variable(self) -> str:
        """Name of the column with the resonant variable, GeV."""
        return self.base.variable

    @property
    def config(self) -> dict[str, Any]:
        """Options as plain data."""
        kind = type(self.base)
        base = {"base": f"{kind.__module__}.{kind.__qualname__}", "code": code_digest(self.base, self.event)}
        return {**base, **self.base.config, "event": self.event.config}

    def build(self, events: Any) -> EventFeatures:
        """Features of every event; what the base requires is required.

        Raises
        ------
        InputError
            If the events lack a collection or a field.
        ConfigError
            If both make a column of one name, which may mean different objects: the second large-R jet, or jet.
        """
        found = self.base.build(events)
        if twice := [name for name in self.event.names if name in found.columns]:
            msg = f"event features {twice} are columns of the resonance already: leave them out"
            raise ConfigError(msg)
        columns = {**found.columns, **self.event(events)}
        return EventFeatures(columns, found.required, found.broken, found.undefined)

    def __call__(self, events: Any) -> Mapping[str, Floats]:
        """Features of every event, (events,) each; NaN where they are not defined."""
        return self.build(events).columns


def make_features(
    *,
    jets: Mapping[str, Any] | None = None,
    resonance: str | Mapping[str, Any] | None = None,
    event_features: Sequence[str] | Mapping[str, Any] = (),
) -> FeatureBuilder:
    """Builder of the features of an event table.

    Parameters
    ----------
    jets : options of `DijetFeatures`, for the resonance "dijet".
    resonance : a name of `RESONANCES`, or options of `ResonanceFeatures`, which with a key `preset` begin with those of that
        name. Two large-R jets by default.
    event_features : names of features of whole events; or options of `EventVariables`, {names: [...], where: {...}}.

    Raises
    ------
    ConfigError
        If a name is not known or an option cannot be used; the message holds the nearest name.

    Examples
    --------
    >>> make_features(resonance="dimuon").variable, make_features().variable
    ('m_mumu', 'mjj')
    >>> make_features(resonance={"preset": "dimuon", "where": {"Muon.pt": 8}}, event_features=["ht"]).variable
    'm_mumu'
    """
    options = _resonance_options(resonance)
    base: FeatureBuilder
    if options:
        if jets:
            msg = f"jets are options of the resonance 'dijet', and the resonance is {resonance!r}: leave them out"
            raise ConfigError(msg)
        base = _made(ResonanceFeatures, options, "resonance")
    else:
        base = _made(DijetFeatures, jets or {}, "jets")
    if not event_features:
        return base
    chosen = event_features if isinstance(event_features, Mapping) else {"names": event_features}
    event = _made(EventVariables, chosen, "event_features")
    if base.variable in event.names:
        msg = f"event feature {base.variable!r} is the resonant variable: leave it out, or name it (resonance: name)"
        raise ConfigError(msg)
    return WithEventFeatures(base, event)


def make_processor(
    *, cuts: Mapping[str, Any] | None = None, corrections: Corrections | None = None, **features: Any
) -> TableProcessor:
    """Processor of event tables from plain data.

    Parameters
    ----------
    cuts : see `make_cuts`.
    corrections : of simulated events, see `TableProcessor`.
    features : see `make_features`.

    Raises
    ------
    ConfigError
        If a name is not known or an option cannot be used.
    """
    builder, chosen = make_features(**features), make_cuts(cuts or {})
    kind: Any = DijetProcessor if isinstance(builder, DijetFeatures) else TableProcessor
    made: TableProcessor = kind(builder, chosen, corrections=corrections)
    return made


def _resonance_options(given: str | Mapping[str, Any] | None) -> dict[str, Any]:
    options = {"preset": given} if isinstance(given, str) else dict(given or {})
    preset = options.pop("preset", None)
    if preset is None:
        return options
    if preset not in RESONANCES:
        raise ConfigError(unknown_name("resonance", str(preset), RESONANCES))
    if preset == "dijet" and options:
        msg = f"the resonance 'dijet' takes its options from jets, got {', '.join(options)}; for jets with cuts use 'dijet-small'"
        raise ConfigError(msg)
    return {**RESONANCES[preset], **options}


def _made(kind: type[Any], options: Mapping[str, Any], what: str) -> Any:
    names = [each.name for each in fields(kind)]
    for name in options:
        if name not in names:
            extra = ("preset",) if what == "resonance" else ()
            raise ConfigError(unknown_name(f"key in {what}", str(name), (*names, *extra)))
    try:
        return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in options.items()})
    except TypeError as error:
        msg = f"{what} has a value that cannot be used: {error}"
        raise ConfigError(msg) from None
