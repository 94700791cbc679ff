"""What takes part in the challenge, and how it is trained in each size."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from resonaut.analysis.darkmachines.data import Division
from resonaut.errors import ConfigError, unknown_name

__all__ = ("EFFICIENCIES", "ENTRIES", "PAIRS", "Entry", "Protocol", "make_protocol")

EFFICIENCIES = (1e-2, 1e-3, 1e-4)
"""Background efficiencies of the challenge (arXiv:2105.14027, section 5)."""

PAIRS = (("deep-svdd", "flow"), ("deep-sets", "flow"))
"""Entries whose uniform scores are combined in four ways each."""


@dataclass(frozen=True)
class Entry:
    """One scorer of the challenge.

    Parameters
    ----------
    scorer
        Name in the registry.
    encoding
        "type-slots", "leading-objects" or "object-sets".
    options
        Of the scorer.
    """

    scorer: str
    encoding: str
    options: dict[str, Any] = field(default_factory=dict)


def _deep_sets(beta: float, w: float) -> Entry:
    return Entry("deep-sets", "object-sets", {"beta": beta, "w": w})


ENTRIES: dict[str, Entry] = {
    "deep-svdd": Entry("deep-svdd", "type-slots"),
    "flow": Entry("flow", "leading-objects"),
    "deep-sets": _deep_sets(1.0, 1.0),
    **{
        f"deep-sets-b{beta:g}-w{w:g}": _deep_sets(beta, w)
        for beta in (1e-6, 1e-3, 0.1, 0.5, 0.8, 0.999)
        for w in (1.0, 10.0, 100.0)
    },
    "vae": Entry("vae", "type-slots"),
    "autoencoder": Entry("autoencoder", "type-slots"),
    "alad": Entry("alad", "type-slots"),
    "clusters": Entry("clusters", "type-slots"),
    "knn": Entry("knn", "type-slots"),
    "isolation-forest": Entry("isolation-forest", "type-slots"),
}
"""Every entry; those of the Deep Set VAE with a decoder scan its two weights (arXiv:2109.01695, equation 7)."""

_SCAN = ("deep-sets-b0.001-w1", "deep-sets-b0.001-w10", "deep-sets-b0.5-w10")
_MAIN = ("deep-svdd", "flow", "deep-sets", "vae", "autoencoder", "alad", "clusters", "knn", "isolation-forest")
_DEFAULT = {"quick": ("deep-svdd", "flow", "deep-sets", "knn", "isolation-forest"), "cpu": (*_MAIN, *_SCAN)}
_DEFAULT["gpu"] = tuple(ENTRIES)

_TRAINING: dict[str, dict[str, dict[str, Any]]] = {
    "quick": {
        "deep-svdd": {"dimensions": (5, 21), "targets": (0, 1, 10), "epochs": 3, "patience": 3, "batch_size": 256},
        "flow": {"layers": 1, "hidden": 32, "bins": 8, "epochs": 3, "draws": 1},
        "deep-sets": {"members": 1, "epochs": 3, "hidden": (64, 64)},
        "vae": {"members": 1, "epochs": 3},
        "autoencoder": {"members": 2, "hidden": 128},
        "alad": {"epochs": 3},
    },
    "cpu": {
        "deep-svdd": {"epochs": 10, "patience": 5, "halve_after": 2, "batch_size": 512},
        "flow": {"epochs": 20},
        "deep-sets": {"members": 3, "epochs": 10},
        "vae": {"members": 3, "epochs": 20},
        "autoencoder": {"members": 10, "epochs": 5, "hidden": 256},
        "alad": {"epochs": 20},
    },
    "gpu": {
        "deep-svdd": {"epochs": 300},
        "flow": {
            "layers": 11,
            "hidden": 200,
            "blocks": 3,
            "bins": 35,
            "epochs": 50,
            "patience": 20,
            "learning_rate": 1e-3,
        },
        "deep-sets": {"members": 5, "epochs": 100},
        "autoencoder": {"members": 50, "epochs": 10},
    },
}
"""Options by size and scorer; "gpu" is near the published trainings: networks of those sizes; the flow has 50 epochs and a falling learning rate, Deep SVDDs
at most 300 epochs, Deep Set VAEs five members."""


@dataclass(frozen=True)
class Protocol:
    """One run of the challenge.

    Parameters
    ----------
    size
        "quick" (do all parts work), "cpu" (all scorers, less training), "gpu" (as published).
    entries
        Names of `ENTRIES`.
    division
        Of the background.
    seed
        All seeds are made of this one.
    device
        Of the networks.
    """

    size: str
    entries: tuple[str, ...]
    division: Division
    seed: int = 1
    device: str | None = None

    def entry(self, name: str) -> Entry:
        """An entry with the options of this size."""
        entry = ENTRIES[name]
        return replace(entry, options={**_TRAINING[self.size].get(entry.scorer, {}), **entry.options})

    def facts(self) -> dict[str, Any]:
        """JSON-able."""
        options = {name: {"scorer": e.scorer, "encoding": e.encoding, **e.options} for name, e in self._all().items()}
        return {"size": self.size, "entries": options, "division": asdict(self.division), "seed": self.seed}

    def _all(self) -> dict[str, Entry]:
        return {name: self.entry(name) for name in self.entries}


def make_protocol(
    size: str, entries: tuple[str, ...] | None, division: Division, *, seed: int = 1, device: str | None = None
) -> Protocol:
    """Protocol of a size, with the entries asked for or those of the size.

    Raises
    ------
    ConfigError
        For an unknown size or entry.
    """
    if size not in _TRAINING:
        raise ConfigError(unknown_name("size", size, _TRAINING))
    chosen = entries or _DEFAULT[size]
    for name in chosen:
        if name not in ENTRIES:
            raise ConfigError(unknown_name("entry", name, ENTRIES))
    if size == "quick" and division.max_training is None:
        division = replace(division, max_training=2000)
    return Protocol(size, tuple(dict.fromkeys(chosen)), division, seed, device)
