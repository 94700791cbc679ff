"""Files of generated events: frames in the layout of the LHC Olympics, and trees of particles.

The frames are what pandas writes through PyTables (`DataFrame.to_hdf(path, key="df", format="fixed")`), made with h5py
alone. What a frame has no room for lies beside it, where pandas does not look: the truth of each event in the group
`truth`, and where all comes from in the attribute `resonaut` of the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.files import atomic_path
from resonaut.processors.generation.blocks import Block
from resonaut.processors.sources.root_files import TREE, is_root, open_root

__all__ = ("FORMATS", "WIDTH", "Blocks", "read_generation")

Floats = npt.NDArray[np.float64]
Blocks = Callable[[], Iterable[Block]]
"""Gives the blocks of a sample, in order, as often as it is called."""

WIDTH = 700
"""Particles of an event that a particle frame has room for."""

BASKET = 40
"""Blocks in one basket of a tree: ten thousand events, 20 MB of particles."""

ATTRIBUTE = "resonaut"
KINEMATICS = ("px", "py", "pz", "m", "tau1", "tau2", "tau3")
FURTHER = ("tau4", "tau1b2", "ntrk")
OWN_NAMES = {"ntrk": "n"}
Value = str | bytes | bool | int
GROUP: dict[str, Value] = {"CLASS": "GROUP", "VERSION": "1.0", "TITLE": ""}
ARRAY: dict[str, Value] = {"CLASS": b"CARRAY", "VERSION": b"1.1", "TITLE": b"", "transposed": True}
FRAME: dict[str, Value] = {
    "pandas_type": "frame",
    "pandas_version": "0.15.2",
    "encoding": "UTF-8",
    "errors": "strict",
    "ndim": 2,
    "nblocks": 1,
    "axis0_variety": "regular",
    "axis1_variety": "regular",
    "block0_items_variety": "regular",
}
NO_NAME = b"N."  # how PyTables stores that an axis has no name


def _set(target: Any, attributes: Mapping[str, Value]) -> None:
    """Attributes in the very types that PyTables writes and wants back: text in UTF-8, bytes in ASCII, flags as bit fields."""
    for name, value in attributes.items():
        if isinstance(value, bool):
            kind, data = h5py.h5t.STD_B8LE, np.array(value, np.uint8)
        elif isinstance(value, int):
            kind, data = h5py.h5t.STD_I64LE, np.array(value, np.int64)
        else:
            content = value.encode() if isinstance(value, str) else value
            kind = h5py.h5t.C_S1.copy()
            kind.set_size(max(1, len(content)))
            kind.set_cset(h5py.h5t.CSET_UTF8 if isinstance(value, str) else h5py.h5t.CSET_ASCII)
            data = np.array(content, f"S{max(1, len(content))}")
        empty = not isinstance(value, (bool, int)) and not value
        space = h5py.h5s.create(h5py.h5s.NULL if empty else h5py.h5s.SCALAR)
        attribute = h5py.h5a.create(target.id, name.encode(), kind, space)
        if not empty:
            attribute.write(data, mtype=kind)


def _axis(group: Any, name: str, values: npt.NDArray[Any]) -> None:
    made = group.create_dataset(name, data=values)
    integers = values.dtype.kind == "i"
    _set(made, ARRAY | {"kind": "integer" if integers else "string", "name": NO_NAME})
    if not integers:
        _set(made, {"nan_rep": ""})


def _write_frame(
    path: Path, columns: npt.NDArray[Any], rows: Iterable[Floats], events: int, truth: dict[str, Any], origin: Any
) -> None:
    """A pandas frame `df` of one block of float32, from pieces of its rows."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        _set(file, GROUP | {"PYTABLES_FORMAT_VERSION": "2.1"})
        group = file.create_group("df")
        _set(group, GROUP | FRAME)
        for name in ("axis0", "block0_items"):
            _axis(group, name, columns)
        _axis(group, "axis1", np.arange(events))
        chunk = (min(events, max(1, 65536 // len(columns))), len(columns))
        values = group.create_dataset(
            "block0_values", (events, len(columns)), "f4", chunks=chunk, compression="gzip", shuffle=True
        )
        _set(values, ARRAY)
        at = 0
        for piece in rows:
            values[at : at + len(piece)] = piece
            at += len(piece)
        for name, column in truth.items():
            file.create_dataset(f"truth/{name}", data=column, compression="gzip")
        _set(file, {ATTRIBUTE: json.dumps(origin)})


def padded(block: Block, label: int) -> Floats:
    """(events, 3 WIDTH + 1): pT, eta, phi of the hardest particles, zeros, and the label."""
    if block.candidates is None:
        msg = "got blocks without particles, expected some made for a particle frame"
        raise InputError(msg)
    found = block.candidates
    rows = np.zeros((len(found), WIDTH, 3))
    counts = np.diff(found.offsets)
    event = np.repeat(np.arange(len(found)), counts)
    place = np.arange(len(event)) - np.repeat(found.offsets[:-1], counts)
    kept = place < WIDTH
    for i, x in enumerate((found.pt, found.eta, found.phi)):
        rows[event[kept], place[kept], i] = x[kept]
    return np.concatenate([rows.reshape(len(found), -1), np.full((len(found), 1), float(label))], axis=1)


def feature_columns(block: Block, label: int) -> dict[str, Floats]:
    """Columns of a feature frame in the order of the LHC Olympics, then the further ones that its reader knows."""
    jets = dict(block.jets)
    for j in ("j1", "j2"):
        pt, eta, phi = (jets[f"{x}{j}"] for x in ("pt", "eta", "phi"))
        jets |= {f"px{j}": pt * np.cos(phi), f"py{j}": pt * np.sin(phi), f"pz{j}": pt * np.sinh(eta)}
    out = {f"{x}{j}": jets[f"{x}{j}"] for j in ("j1", "j2") for x in KINEMATICS}
    out["label"] = np.full(len(jets["nj"]), float(label))
    out |= {f"{x}{j}": jets[f"{OWN_NAMES.get(x, x)}{j}"] for j in ("j1", "j2") for x in FURTHER}
    out["nj"] = jets["nj"]
    out |= {f"msd{j}": jets[f"msd{j}"] for j in ("j1", "j2")}
    return out | {"weight": block.truth["weight"]}


def _write_particles(path: Path, blocks: Blocks, truth: dict[str, Any], label: int, origin: Any) -> None:
    rows = (padded(block, label) for block in blocks())
    _write_frame(path, np.arange(3 * WIDTH + 1), rows, len(truth["event"]), truth, origin)


def _write_features(path: Path, blocks: Blocks, truth: dict[str, Any], label: int, origin: Any) -> None:
    names = np.array([name.encode() for name in feature_columns(next(iter(blocks())), label)])
    at = 0

    def rows() -> Iterable[Floats]:
        nonlocal at
        for block in blocks():
            columns = feature_columns(block, label)
            columns["weight"] = truth["weight"][at : at + len(columns["nj"])]  # the blocks' own are not normalised
            at += len(columns["nj"])
            yield np.stack(list(columns.values()), axis=1)

    _write_frame(path, names, rows(), len(truth["event"]), truth, origin)


def _write_root(path: Path, blocks: Blocks, truth: dict[str, Any], label: int, origin: Any) -> None:
    import uproot

    n = len(truth["event"])
    columns: dict[str, npt.NDArray[Any]] = {"label": np.full(n, label, np.int8), "run": np.ones(n, np.uint32)}
    columns["luminosityBlock"] = (truth["block"] + 1).astype(np.uint32)
    columns |= {"event": truth["event"].astype(np.uint64)}
    columns |= {name: column for name, column in truth.items() if name not in ("block", "event")}
    with atomic_path(path) as temporary, uproot.recreate(temporary) as file:
        at = 0
        for particles in _particles(blocks()):
            if at == 0:
                kinds = {name: column.dtype for name, column in columns.items()}
                file.mktree(TREE, {"PFCand": particles.type.content, **kinds})
            rows = slice(at, at + len(particles))
            file[TREE].extend({"PFCand": particles, **{name: column[rows] for name, column in columns.items()}})
            at += len(particles)
        file[ATTRIBUTE] = json.dumps(origin)


def _particles(blocks: Iterable[Block]) -> Iterator[ak.Array]:
    """Particles of some blocks at a time: as much as is worth a basket, and never all of a long sample."""
    left = iter(blocks)
    while some := list(islice(left, BASKET)):
        found = [block.candidates for block in some if block.candidates is not None]
        counts = np.concatenate([np.diff(part.offsets) for part in found])
        columns = {x: np.concatenate([getattr(part, x) for part in found]) for x in ("pt", "eta", "phi")}
        columns["mass"] = np.zeros_like(columns["pt"])
        yield ak.zip({x: ak.unflatten(column.astype(np.float32), counts) for x, column in columns.items()})


FORMATS: dict[str, Callable[[Path, Blocks, dict[str, Any], int, Any], None]] = {
    "particles": _write_particles,
    "features": _write_features,
    "root": _write_root,
}
"""Writers by the name of the format."""


def read_generation(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Where a generated file comes from: process, settings, seed, ledger, cross-section; empty for a file of other making.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    name = os.fspath(path)
    try:
        if is_root(name):
            with open_root(name) as file:
                text = str(file[ATTRIBUTE]) if ATTRIBUTE in file else "{}"
        else:
            with h5py.File(name, "r") as file:
                text = file.attrs.get(ATTRIBUTE, b"{}").decode()
    except OSError as error:
        msg = f"{name}: cannot be read, the file is missing, truncated or of another format ({error})"
        raise InputError(msg) from error
    content: dict[str, Any] = json.loads(text)
    return content
