"""Processors of event tables: from events of any source to a table, a cutflow and histograms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import awkward as ak
import hist
import numpy as np
import numpy.typing as npt
from coffea.processor import ProcessorABC, column_accumulator

from resonaut.processors.corrections.chain import Corrections
from resonaut.processors.features.builder import EventFeatures, FeatureBuilder
from resonaut.processors.features.cuts import AllCuts, Cuts, DijetCuts
from resonaut.processors.features.dijet import DijetFeatures
from resonaut.processors.features.flow import EventFlow, event_columns, event_weights
from resonaut.processors.features.varied import VariedEvents
from resonaut.processors.identity import code_digest

__all__ = ("DijetProcessor", "TableProcessor")

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

DATA = "data"  # metadata of datasets that are no simulation: nothing is corrected

HISTOGRAMS: dict[str, tuple[int, float, float, str]] = {
    "mjj": (100, 0, 10000, "$m_{JJ}$ [GeV]"),
    "pt_j1": (100, 0, 5000, "leading jet $p_T$ [GeV]"),
    "deta_jj": (60, 0, 6, r"$|\Delta\eta_{JJ}|$"),
    "m_h": (100, 0, 1500, "heavier jet mass [GeV]"),
    "m_l": (100, 0, 1500, "lighter jet mass [GeV]"),
    "tau21_h": (50, 0, 1, r"heavier jet $\tau_{21}$"),
    "tau21_l": (50, 0, 1, r"lighter jet $\tau_{21}$"),
}
_OBJECT = re.compile(r"_[a-z]\d*$")  # of which object a column is: one reason for all of them


class TableProcessor(ProcessorABC):  # type: ignore[misc] # coffea is untyped
    """Writes the event table of any feature builder.

    Runs under `run_processor`, which also reads HDF5, and under coffea's own `Runner` on ROOT files.

    `process` returns, under the dataset's name:

    - `cutflow`: events left after each step, and `cutflow_weighted`: their summed weights;
    - `skipped`: events that cannot be judged, counted by reason (a particle or a feature that is not finite, a
      ratio whose denominator is zero). Every other event is either selected or lost to a requirement or a cut;
    - `hist`: weighted `hist.Hist` of the selected events;
    - `table`: the features of the selected events as `column_accumulator`s, all finite.

    Parameters
    ----------
    features : builder of the features.
    cuts : cuts on them (see `make_cuts`); none by default.
    histograms : {feature: (bins, low, high, label)}; features that the input lacks are left out.
    corrections : of objects and weights (`make_corrections`). Their variations become parallel columns of the table (see
        `resonaut.processors.variations`), with a cutflow of each under `variations`. Datasets with "data": True among their
        metadata are left as they are.

    Notes
    -----
    The builder is called on a chunk of events as they are given: whoever corrects or shifts events does so before
    `judge`, which says for these events and these weights which are selected. `process` calls it on the corrected
    events, and once more for each variation of events; one of weights alone builds no features.
    """

    def __init__(
        self,
        features: FeatureBuilder,
        cuts: Cuts | None = None,
        *,
        histograms: dict[str, tuple[int, float, float, str]] | None = None,
        corrections: Corrections | None = None,
    ) -> None:
        self.features = features
        self.cuts = cuts or AllCuts()
        self.histograms = histograms or {}
        self.corrections = corrections or Corrections()

    @property
    def config(self) -> dict[str, Any]:
        """Everything that the result depends on, as plain data; the code of the builder and of the cuts as a hash."""
        builder = type(self.features)
        return {
            "builder": f"{builder.__module__}.{builder.__qualname__}",
            "code": code_digest(self.features, self.cuts, *getattr(self.cuts, "parts", ())),
            "features": self.features.config,
            "cuts": self.cuts.config,
            "histograms": self.histograms,
            **({"corrections": self.corrections.config} if self.corrections else {}),
        }

    def process(self, events: Any) -> dict[str, Any]:
        """Table, cutflow and histograms of a chunk of events."""
        metadata = events.metadata or {}
        corrections = Corrections() if metadata.get(DATA) else self.corrections
        varied = VariedEvents(corrections, events, event_weights(events, metadata), self.judge)
        output = self._output(varied.nominal.flow, varied.nominal_columns)
        table = {**varied.columns(), **event_columns(events, metadata, varied.rows)}
        table |= {"weight": varied.weight()} | varied.parallel_columns()
        output["table"] = {name: column_accumulator(np.ascontiguousarray(values)) for name, values in table.items()}
        return {str(metadata.get("dataset", "events")): {**output, **varied.books()}}

    def judge(
        self, events: Any, weight: Floats, undefined: Mapping[str, Mask] | None = None
    ) -> tuple[EventFeatures, EventFlow]:
        """Features of all events and which of them are selected, with the books.

        Parameters
        ----------
        events : a chunk of events, as read, corrected or shifted.
        weight : (events,) their weights.
        undefined : {reason: (events,) mask} of events that cannot be judged for what was done to them before.
        """
        features = self.features.build(events)
        flow = EventFlow(weight, np.ones(len(events), bool))
        flow.note("all")
        for reason, bad in (undefined or {}).items():
            flow.skip(reason, bad)
        if "bad" in events.fields:  # files of lines say so of each
            flow.skip("line cannot be read", ak.to_numpy(events["bad"]) != 0)
        flow.skip("weight not finite", ~np.isfinite(weight))
        for reason, bad in features.broken.items():
            flow.skip(reason, bad)
        for name, mask in features.required.items():
            flow.cut(name, mask)
        for reason, bad in features.undefined.items():
            flow.skip(reason, bad)
        for name, mask in self.cuts.masks(features.columns).items():
            flow.cut(name, mask)
        for name, values in features.columns.items():
            flow.skip(f"{_OBJECT.sub('', name)} undefined", ~np.isfinite(values))
        flow.note("selected")
        return features, flow

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
        }

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        """Nothing is left to do."""
        return accumulator


class DijetProcessor(TableProcessor):
    """Clusters or takes large-R jets, and gives the event table of the two leading ones.

    Parameters
    ----------
    features : builder of the features; its options choose clustering or an existing collection.
    cuts : `DijetCuts`, or any others.
    histograms : {feature: (bins, low, high, label)}; features that the input lacks are left out.
    corrections : of objects and weights.
    """

    def __init__(
        self,
        features: DijetFeatures | None = None,
        cuts: Cuts | None = None,
        *,
        histograms: dict[str, tuple[int, float, float, str]] | None = None,
        corrections: Corrections | None = None,
    ) -> None:
        chosen = HISTOGRAMS if histograms is None else histograms
        super().__init__(features or DijetFeatures(), cuts or DijetCuts(), histograms=chosen, corrections=corrections)
