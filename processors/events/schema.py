"""The NanoEvents schema of resonaut's own sources, and events built from columns in memory or read when they are used."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import awkward as ak
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory
from coffea.nanoevents.mapping import PreloadedSourceMapping, SimplePreloadedColumnSource
from coffea.nanoevents.mapping.preloaded import PreloadedOpener
from coffea.nanoevents.util import tuple_to_key

__all__ = ("Column", "ParticleSchema", "events_from_columns", "plain")


class ParticleSchema(NanoAODSchema):  # type: ignore[misc] # coffea is untyped
    """NanoAOD naming, with particles as plain four-vectors and without demands on event numbers or cross-references."""

    error_missing_event_ids = False
    warn_missing_crossrefs = False
    event_ids = ()  # nothing to warn about either
    mixins = {  # noqa: RUF012 (coffea's own convention)
        **NanoAODSchema.mixins,
        "PFCand": "PtEtaPhiMCollection",
        "PFCands": "PtEtaPhiMCollection",
        "ScoutingFatJet": "PtEtaPhiMCollection",
        "ScoutingPFJet": "PtEtaPhiMCollection",
    }


class Column(Protocol):
    """One branch of events, whose values may be read later: what coffea asks of an array that it takes apart."""

    @property
    def layout(self) -> Any:
        """An awkward layout of the same form, which need not have any rows."""

    def __getitem__(self, rows: slice) -> Any:
        """The values of some rows."""


def plain(array: Any) -> Any:
    """The same values as lists with 64-bit offsets that begin at 0, contents without gaps, and without options.

    coffea takes offsets and contents of a column apart, and joins them with those of other columns of the collection.
    Values that are missing become NaN.

    Raises
    ------
    ValueError
        If the array holds anything but numbers and lists of numbers.
    """
    return ak.Array(_plain(ak.to_packed(ak.to_layout(array), highlevel=False)))


def _plain(layout: Any) -> Any:
    if layout.is_option:
        return _plain(ak.to_packed(ak.fill_none(layout, float("nan"), axis=0, highlevel=False), highlevel=False))
    if layout.is_indexed:
        return _plain(layout.project())
    if layout.is_regular:
        return ak.contents.RegularArray(_plain(layout.content), layout.size, layout.length)
    if layout.is_list:
        lists = layout.to_ListOffsetArray64(True)
        content = lists.content[: lists.offsets[-1]]
        return ak.contents.ListOffsetArray(lists.offsets, _plain(content))
    if not layout.is_numpy:
        msg = f"got values of type {layout.form.type}, expected numbers or lists of numbers"
        raise ValueError(msg)
    return layout.to_RegularArray()


class _Columns(PreloadedSourceMapping):  # type: ignore[misc] # coffea is untyped
    """Columns that are asked for their values when an array is used, not before."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._virtual = True

    def form(self, columns: SimplePreloadedColumnSource, metadata: Mapping[str, Any]) -> Any:
        form = self._extract_base_form(columns)
        form["parameters"]["metadata"] = dict(metadata)
        return form


def events_from_columns(
    columns: Mapping[str, Any], n: int, path: str, start: int, metadata: Mapping[str, Any] | None
) -> Any:
    """NanoEvents of `n` events from columns named as branches (`nPFCand`, `PFCand_pt`, `label`, ...).

    Parameters
    ----------
    columns : awkward or numpy arrays of `n` rows, or `Column`s, whose values are read when they are first used.
    n : number of events.
    path, start : which rows of which file these are; events of the same rows share what was read.
    metadata : for `events.metadata`.
    """
    arrays = {
        name: values if not isinstance(values, ak.Array) and hasattr(values, "layout") else plain(values)
        for name, values in columns.items()
    }
    identity, place, rows = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{path}:{start}")), "/columns", f"0-{n}"
    source = SimplePreloadedColumnSource(arrays, uuid=identity, num_rows=n, object_path=place)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        mapping = _Columns(PreloadedOpener({identity: source}), 0, n)
        mapping.preload_column_source(identity, place, source)
        schema = ParticleSchema(mapping.form(source, metadata or {"filename": path}))
        return NanoEventsFactory(schema, mapping, tuple_to_key((identity, place, rows)), mode="virtual").events()
