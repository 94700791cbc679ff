"""HDF5 sources: frames of particles and of jet features in the layout of the LHC Olympics 2020.

Both are pandas frames of PyTables' fixed layout. They are read in slices of rows by h5py, without loading the file
and without PyTables; blosc-compressed files decode through hdf5plugin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import hdf5plugin  # noqa: F401 (registers the filters)
import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.processors.events.schema import events_from_columns

__all__ = ("FrameFile", "LHCOFeatures", "LHCOParticles", "is_hdf5", "open_frame", "opened_hdf5")

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
JET_COLUMNS = {
    "tau1": "tau1",
    "tau2": "tau2",
    "tau3": "tau3",
    "tau4": "tau4",
    "tau1b2": "tau1b2",
    "ntrk": "n",
    "msd": "msd",
}
EVENT_COLUMNS = ("nj", "weight", "label")


@dataclass(frozen=True)
class FrameFile:
    """An open pandas frame: its column names, in order, and slices of its rows."""

    group: Any
    path: str

    @cached_property
    def columns(self) -> list[str]:
        """Names of all columns, in the order of the frame."""
        return [item.decode() if isinstance(item, bytes) else str(item) for item in self.group["axis0"][:]]

    @property
    def blocks(self) -> list[tuple[list[str], Any]]:
        """Columns and values of each block of numbers; texts are pickled in such files, and are not read."""
        count = int(self.group.attrs.get("nblocks", 1))
        out = []
        for b in range(count):
            values = self.group[f"block{b}_values"]
            items = self.group[f"block{b}_items"][:]
            if values.ndim == 2 and values.dtype.kind in "biuf":
                out.append(([item.decode() if isinstance(item, bytes) else str(item) for item in items], values))
        return out

    def __len__(self) -> int:
        return int(self.group["axis1"].shape[0])

    def read(self, start: int, stop: int) -> dict[str, npt.NDArray[Any]]:
        """Columns of rows start..stop by name."""
        out: dict[str, npt.NDArray[Any]] = {}
        for names, values in self.blocks:
            rows = values[start:stop]
            out.update(zip(names, rows.T, strict=True))
        return out

    def matrix(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows start..stop of a frame that is one block, as they are on disk."""
        blocks = self.blocks
        if len(blocks) != 1:
            msg = f"{self.path}: got a frame of {len(blocks)} blocks, expected one block of numbers"
            raise InputError(msg)
        rows: npt.NDArray[Any] = blocks[0][1][start:stop]
        return rows


@contextmanager
def opened_hdf5(path: str) -> Iterator[h5py.File]:
    """An open HDF5 file; InputError for one that cannot be opened, or not be read while it is open."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError) as error:
        msg = f"{path}: cannot be read as HDF5, the file is missing, truncated or corrupt ({error})"
        raise InputError(msg) from error


def _frame_of(file: Any) -> str | None:
    frames = [key for key in file if file[key].attrs.get("pandas_type") == b"frame"]
    return "df" if "df" in frames else frames[0] if len(frames) == 1 else None


def frame_key(path: str) -> str | None:
    """Key of the frame `df` of an HDF5 file, or of its only frame; None if it has none.

    Raises
    ------
    InputError
        If the file is truncated or corrupt.
    """
    with opened_hdf5(path) as file:
        return _frame_of(file)


@contextmanager
def open_frame(path: str) -> Iterator[FrameFile]:
    """Open the frame `df` of a file, or its only frame.

    Raises
    ------
    InputError
        If the file is missing, truncated or corrupt, now or while it is read, or holds no such frame.
    """
    with opened_hdf5(path) as file:
        key = _frame_of(file)
        if key is None:
            msg = (
                f"{path}: got keys {sorted(file)}, expected a pandas frame `df` of fixed format "
                '(write it by DataFrame.to_hdf(path, key="df", format="fixed"))'
            )
            raise InputError(msg)
        yield FrameFile(file[key], path)


def is_hdf5(path: str) -> bool:
    """True if a file begins as HDF5 files do; False for one on a server, where they cannot be read."""
    if "://" in path:
        return False
    try:
        with Path(path).open("rb") as file:
            return file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE
    except OSError as error:
        msg = f"{path}: cannot be opened ({error.strerror})"
        raise InputError(msg) from error


class _Frames:
    """What both kinds of frame share."""

    name = ""

    def _takes(self, columns: list[str]) -> bool:
        raise NotImplementedError

    def recognises(self, path: str) -> bool:
        """True if the file is HDF5 and its frame has this layout."""
        if not is_hdf5(path) or frame_key(path) is None:
            return False
        with open_frame(path) as frame:
            return self._takes(frame.columns)

    def n_events(self, path: str, tree: str | None = None) -> int:  # noqa: ARG002 (frames have no trees)
        """Number of rows."""
        with open_frame(path) as frame:
            return len(frame)


class LHCOParticles(_Frames):
    """Particle frames: a row holds (pT, eta, phi) of up to N particles, zero-padded, then an optional label.

    The published files have N = 700 (Kasieczka, Nachman, Shih et al., arXiv:2101.08320). Particles are massless.
    """

    name = "lhco-particles"

    def _takes(self, columns: list[str]) -> bool:
        return len(columns) >= 3 and columns == [str(i) for i in range(len(columns))] and len(columns) % 3 < 2

    def read(
        self,
        path: str,
        start: int,
        stop: int,
        *,
        tree: str | None = None,  # noqa: ARG002 (frames have no trees)
        metadata: Mapping[str, Any] | None = None,
    ) -> Any:
        """Events with `PFCand` and, if the rows end on one, `label`."""
        with open_frame(path) as frame:
            rows = frame.matrix(start, stop)
        width = rows.shape[1] // 3
        particles = rows[:, : 3 * width].reshape(len(rows), width, 3)
        real = particles[:, :, 0] != 0
        flat = particles[real].astype(np.float64)
        counts = real.sum(axis=1)
        columns = {
            f"PFCand_{name}": ak.unflatten(np.ascontiguousarray(flat[:, i]), counts)
            for i, name in enumerate(("pt", "eta", "phi"))
        }
        columns["PFCand_mass"] = ak.unflatten(np.zeros(len(flat)), counts)
        columns["nPFCand"] = ak.Array(counts)
        if rows.shape[1] % 3:
            columns["label"] = ak.Array(rows[:, -1].astype(np.float64))
        return events_from_columns(columns, len(rows), path, start, metadata)


class LHCOFeatures(_Frames):
    """Feature frames: `pxj1 pyj1 pzj1 mj1 tau1j1 tau2j1 tau3j1 pxj2 ... tau3j2 label`, and extended columns.

    Known further columns are `tau4j*`, `tau1b2j*` (beta = 2), `ntrkj*` (number of constituents), `msdj*`, `nj`, `weight`.
    The jets come as a `FatJet` collection of two.
    """

    name = "lhco-features"

    def _takes(self, columns: list[str]) -> bool:
        return {f"{x}{j}" for x in ("px", "py", "pz", "m") for j in ("j1", "j2")} <= set(columns)

    def read(
        self,
        path: str,
        start: int,
        stop: int,
        *,
        tree: str | None = None,  # noqa: ARG002 (frames have no trees)
        metadata: Mapping[str, Any] | None = None,
    ) -> Any:
        """Events with two `FatJet`s and what else the frame holds."""
        with open_frame(path) as frame:
            if not self._takes(frame.columns):
                msg = f"{path}: got columns {frame.columns[:12]}, expected pxj1 pyj1 pzj1 mj1 and the same for j2"
                raise InputError(msg)
            rows = frame.read(start, stop)
        n = len(rows["mj1"])
        counts = np.full(n, 2)

        def pair(one: npt.NDArray[Any], two: npt.NDArray[Any]) -> ak.Array:
            return ak.unflatten(np.stack([one, two], axis=1).ravel().astype(np.float64), counts)

        px, py, pz, m = (np.stack([rows[f"{x}j1"], rows[f"{x}j2"]]).astype(np.float64) for x in ("px", "py", "pz", "m"))
        pt = np.hypot(px, py)
        with np.errstate(divide="ignore", invalid="ignore"):
            eta = np.arcsinh(pz / pt)
        columns = {
            "nFatJet": ak.Array(counts),
            "FatJet_pt": pair(*pt),
            "FatJet_eta": pair(*eta),
            "FatJet_phi": pair(*np.arctan2(py, px)),
            "FatJet_mass": pair(*m),
        }
        for stored, field in JET_COLUMNS.items():
            if f"{stored}j1" in rows and f"{stored}j2" in rows:
                columns[f"FatJet_{field}"] = pair(rows[f"{stored}j1"], rows[f"{stored}j2"])
        for name in EVENT_COLUMNS:
            if name in rows:
                columns[name] = ak.Array(rows[name].astype(np.float64))
        return events_from_columns(
            columns, n, path, start, {**(metadata or {"filename": path}), "leading_jets_only": True}
        )
