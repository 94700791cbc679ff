"""The dijet processor: from events of any source to an event table, a cutflow and histograms."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import awkward as ak
import hist
import numpy as np
import numpy.typing as npt
from coffea.processor import ProcessorABC, column_accumulator

from resonaut.errors import ConfigError
from resonaut.processors.features.dijet import DijetFeatures

__all__ = ("DijetCuts", "DijetProcessor", "EventFlow", "event_weights")

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

EVENT_IDS = ("run", "luminosityBlock", "event")
HISTOGRAMS: dict[str, tuple[int, float, float, str]] = {
    "mjj": (100, 0, 10000, "$m_{JJ}$ [GeV]"),
    "pt_j1": (100, 0, 5000, "leading jet $p_T$ [GeV]"),
    "deta_jj": (60, 0, 6, r"$|\Delta\eta_{JJ}|$"),
    "m_h": (100, 0, 1500, "heavier jet mass [GeV]"),
    "m_l": (100, 0, 1500, "lighter jet mass [GeV]"),
    "tau21_h": (50, 0, 1, r"heavier jet $\tau_{21}$"),
    "tau21_l": (50, 0, 1, r"lighter jet $\tau_{21}$"),
}


@dataclass(frozen=True)
class DijetCuts:
    """Cuts on the two leading jets, GeV; `None` is no cut.

    Parameters
    ----------
    pt_j1, pt_j2 : smallest pT of the leading and the second jet.
    abs_eta : largest pseudorapidity of the leading jet, either sign; `abs_eta_j2` of the second.
    mjj : lowest and highest dijet mass, [low, high).
    deta_jj : largest difference of the pseudorapidities.
    """

    pt_j1: float | None = None
    pt_j2: float | None = None
    abs_eta: float | None = None
    abs_eta_j2: float | None = None
    mjj: tuple[float, float] | None = None
    deta_jj: float | None = None

    def __post_init__(self) -> None:
        if self.mjj is not None and not self.mjj[0] < self.mjj[1]:
            msg = f"mjj range is {self.mjj}, expected (low, high) with low < high"
            raise ConfigError(msg)

    def masks(self, columns: dict[str, Floats]) -> dict[str, Mask]:
        """Each cut's mask (events,) by its name, in the order in which they are applied."""
        out: dict[str, Mask] = {}
        for name in ("pt_j1", "pt_j2"):
            if (low := getattr(self, name)) is not None:
                out[f"{name} > {low:g}"] = columns[name] > low
        for name, jet in (("abs_eta", "j1"), ("abs_eta_j2", "j2")):
            if (high := getattr(self, name)) is not None:
                out[f"|eta_{jet}| < {high:g}"] = np.abs(columns[f"eta_{jet}"]) < high
        if self.deta_jj is not None:
            out[f"deta_jj < {self.deta_jj:g}"] = columns["deta_jj"] < self.deta_jj
        if self.mjj is not None:
            low, high = self.mjj
            out[f"mjj in [{low:g}, {high:g})"] = (columns["mjj"] >= low) & (columns["mjj"] < high)
        return out


@dataclass
class EventFlow:
    """Which events are still in, how many are left after each step, and which were skipped for what."""

    weight: Floats
    alive: Mask
    counts: dict[str, int] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)

    def note(self, name: str) -> None:
        self.counts[name] = int(self.alive.sum())
        self.sums[name] = float(self.weight[self.alive].sum())

    def cut(self, name: str, mask: Mask) -> None:
        self.alive &= mask
        self.note(name)

    def skip(self, reason: str, bad: Mask) -> None:
        count = int((self.alive & bad).sum())
        if count:
            self.skipped[reason] = self.skipped.get(reason, 0) + count
        self.alive &= ~bad


class DijetProcessor(ProcessorABC):  # type: ignore[misc] # coffea is untyped
    """Clusters or takes large-R jets, and gives the event table of the two leading ones.

    Runs under `run_processor`, which also reads HDF5, and under coffea's own `Runner` on ROOT files.

    `process` returns, under the dataset's name:

    - `cutflow`: events left after each step, and `cutflow_weighted`: their summed weights;
    - `skipped`: events that cannot be judged, counted by reason (a particle or a feature that is not finite, a
      ratio whose denominator is zero). Every other event is either selected or lost to a cut;
    - `hist`: weighted `hist.Hist` of the selected events;
    - `table`: the features of the selected events as `column_accumulator`s, all finite.

    Parameters
    ----------
    features : builder of the features; its options choose clustering or an existing collection.
    cuts : cuts on the two leading jets.
    histograms : {feature: (bins, low, high, label)}; features that the input lacks are left out.
    """

    def __init__(
        self,
        features: DijetFeatures | None = None,
        cuts: DijetCuts | None = None,
        *,
        histograms: dict[str, tuple[int, float, float, str]] | None = None,
    ) -> None:
        self.features = features or DijetFeatures()
        self.cuts = cuts or DijetCuts()
        self.histograms = HISTOGRAMS if histograms is None else histograms

    @property
    def config(self) -> dict[str, Any]:
        """Everything that the result depends on, as plain data."""
        return {"features": self.features.config, "cuts": asdict(self.cuts), "histograms": self.histograms}

    def process(self, events: Any) -> dict[str, Any]:
        """Table, cutflow and histograms of a chunk of events."""
        metadata = events.metadata or {}
        pair, columns = self.features.pair_and_columns(events)
        weight = event_weights(events, metadata)
        flow = EventFlow(weight, np.ones(len(events), bool))
        flow.note("all")
        flow.skip("weight not finite", ~np.isfinite(weight))
        if pair.broken is not None:
            flow.skip("particle not finite", pair.broken)
        flow.cut("two jets", pair.count >= 2)
        flow.skip("jet not finite", ~np.all([np.isfinite(columns[x]) for x in ("mjj", "deta_jj")], axis=0))
        for name, mask in self.cuts.masks(columns).items():
            flow.cut(name, mask)
        for name, values in columns.items():
            flow.skip(f"{name.rsplit('_', 1)[0]} undefined", ~np.isfinite(values))
        flow.note("selected")
        table = {name: values[flow.alive] for name, values in columns.items()}
        table |= _event_columns(events, metadata, flow.alive)
        table["weight"] = weight[flow.alive]
        return {str(metadata.get("dataset", "events")): self._output(flow, table)}

    def _output(self, flow: EventFlow, table: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
        histograms = {}
        for name, (bins, low, high, label) in self.histograms.items():
            if name in table:
                axis = hist.axis.Regular(bins, low, high, name=name, label=label)
                histograms[name] = hist.Hist(axis, storage=hist.storage.Weight())
                histograms[name].fill(table[name], weight=table["weight"])
        return {
            "cutflow": flow.counts,
            "cutflow_weighted": flow.sums,
            "skipped": flow.skipped,
            "hist": histograms,
            "table": {name: column_accumulator(np.ascontiguousarray(values)) for name, values in table.items()},
        }

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        """Nothing is left to do."""
        return accumulator


def event_weights(events: Any, metadata: Any) -> Floats:
    """Event weights: the file's `weight` or generator weight, times the dataset's `weight`."""
    weight = np.full(len(events), float(metadata.get("weight", 1.0)))
    for name in ("weight", "genWeight"):
        if name in events.fields:
            return np.asarray(weight * ak.to_numpy(events[name]))
    return weight


def _event_columns(events: Any, metadata: Any, chosen: Mask) -> dict[str, npt.NDArray[Any]]:
    """Label, where the file or the dataset has one, and event numbers; without any, the entry in the file."""
    out = {name: ak.to_numpy(events[name])[chosen].astype(np.int64) for name in EVENT_IDS if name in events.fields}
    if "event" not in out and "entrystart" in metadata:
        out["event"] = metadata["entrystart"] + np.flatnonzero(chosen)
    if "label" in events.fields:
        out["label"] = ak.to_numpy(events["label"])[chosen].astype(np.int8)
    elif "label" in metadata:
        out["label"] = np.full(int(chosen.sum()), metadata["label"], np.int8)
    return out
