"""Values that corrections are functions of, taken from events by name."""

from __future__ import annotations

import re
from typing import Any

import awkward as ak

from resonaut.errors import InputError, unknown_name

__all__ = ("event_values", "field_of")

_INDEXED = re.compile(r"(?P<name>[^\[\]]+)\[(?P<index>\d+)\]")


def field_of(array: Any, name: str, owner: str) -> Any:
    """A field by its dotted name, such as "Pileup.nTrueInt", with one entry of a list as "LHEScaleWeight[8]".

    Parameters
    ----------
    array : events, or objects of a collection.
    name : dotted name.
    owner : who asks, for errors.

    Raises
    ------
    InputError
        If there is no such field, or an event has no such entry.
    """
    found = _INDEXED.fullmatch(name)
    value = array
    for part in (found["name"] if found else name).split("."):
        if part not in ak.fields(value):
            asked = "" if part == name else f" asks for {name}"
            known = unknown_name("field", part, ak.fields(value))
            msg = f"{owner}{asked}: {known} (of flat ntuples: those that their column map names)"
            raise InputError(msg)
        value = value[part]
    if found is None:
        return value
    index = int(found["index"])
    if len(value) and int(ak.min(ak.num(value, axis=1))) <= index:
        msg = f"{owner} asks for {name}, but an event has only {int(ak.min(ak.num(value, axis=1)))} entries"
        raise InputError(msg)
    return value[:, index]


def event_values(events: Any, name: str, owner: str) -> Any:
    """Like `field_of`, with one number per event.

    Raises
    ------
    InputError
        If it has more, or none.
    """
    value = field_of(events, name, owner)
    if value.ndim != 1:
        msg = f"{owner} asks for {name}, which has a list for each event; name an entry, such as {name}[0]"
        raise InputError(msg)
    return value
