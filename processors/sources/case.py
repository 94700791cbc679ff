"""HDF5 files of dijet anomaly searches at CMS: those of CASE, and those of its variational autoencoders.

Both layouts hold the two leading jets of dijet events with up to 100 constituents of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import awkward as ak
import h5py
import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.processors.events.schema import events_from_columns
from resonaut.processors.sources.hdf5 import is_hdf5, opened_hdf5

__all__ = ("CaseDijets", "CaseFeatures")

Floats = npt.NDArray[np.float64]

EXTRA = ("tau1", "tau2", "tau3", "tau4", "lsf3", "btagDeepB", "nConstituents")
EVENT = ("event", "MET_pt", "MET_phi", "genWeight", "leptonic", "run", "year", "nj")
FEATURES = ("mJJ", "j1Pt", "j1Eta", "j1Phi", "j1M", "j2Pt", "j2M", "DeltaEtaJJ", "DeltaPhiJJ")
WIDEST = 1.6  # distance from a jet's axis beyond which a constituent's position cannot be relative to it


class _DijetFile:
    """What both layouts share."""

    name = ""
    needed: tuple[str, ...] = ()

    def recognises(self, path: str) -> bool:
        """True if the file is HDF5 and has the data sets of this layout."""
        if not is_hdf5(path):
            return False
        with opened_hdf5(path) as file:
            return all(isinstance(file.get(key), h5py.Dataset) for key in self.needed)

    def n_events(self, path: str, tree: str | None = None) -> int:  # noqa: ARG002 (these files have no trees)
        """Number of rows."""
        with opened_hdf5(path) as file:
            lengths = {key: int(file[key].shape[0]) for key in self.needed if not key.endswith("Names")}
        if len(set(lengths.values())) > 1:
            msg = f"{path}: the data sets have {lengths} rows, expected equal numbers; the file is not whole"
            raise InputError(msg)
        return next(iter(lengths.values()))

    def read(
        self,
        path: str,
        start: int,
        stop: int,
        *,
        tree: str | None = None,  # noqa: ARG002 (these files have no trees)
        metadata: Mapping[str, Any] | None = None,
    ) -> Any:
        """Rows start..stop: `FatJet`, `PFCand` and what else the file has of each event."""
        with opened_hdf5(path) as file:
            columns, n = self._columns(file, path, start, stop)
        about = dict(metadata or {"filename": path})
        if "nj" not in columns:
            about["leading_jets_only"] = True
        return events_from_columns(columns, n, path, start, about)

    def _columns(self, file: h5py.File, path: str, start: int, stop: int) -> tuple[dict[str, Any], int]:
        raise NotImplementedError


class CaseDijets(_DijetFile):
    """Files of the H5 maker of CASE (github.com/case-team/CASEUtils, H5_maker/README.md).

    | data set | columns |
    | --- | --- |
    | `jet_kinematics` | Mjj, delta eta; pt, eta, phi, soft-drop mass of j1, j2 and j3 (zeros without a third jet) |
    | `jet1_extraInfo`, `jet2_extraInfo` | tau1 ... tau4, LSF3, largest DeepB of the subjets, number of constituents |
    | `jet1_PFCands`, `jet2_PFCands` | up to 100 constituents as px, py, pz, E, zero-padded |
    | `event_info` | event number, MET, its phi, genWeight, leptonic decay, run, year, number of jets; the last ones optional |
    | `truth_label` | 0 QCD, from 1 on signals, below 0 other backgrounds |

    j1 is the heavier jet. The file has no other mass than the soft-drop mass, and its Mjj is made of it: so are
    `FatJet.mass` and `FatJet.msoftdrop` here. The third jet has no substructure. `label` is 1 for signals and 0 for
    backgrounds. `event` is rounded, as single precision leaves it in the file. `PFCand` holds the constituents of both jets,
    `PFCand.jet` says whose (0 or 1); the file keeps at most 100, in half precision, so that the stored `tau1` ... are the
    better ones.
    """

    name = "case"
    needed = ("jet_kinematics", "jet1_extraInfo", "jet2_extraInfo", "event_info")

    def _columns(self, file: h5py.File, path: str, start: int, stop: int) -> tuple[dict[str, Any], int]:
        jets = np.asarray(file["jet_kinematics"][start:stop], np.float64)
        if jets.ndim != 2 or jets.shape[1] not in (10, 14):
            msg = f"{path}: jet_kinematics has rows of shape {jets.shape[1:]}, expected 14 numbers (10 without a third jet)"
            raise InputError(msg)
        four = jets[:, 2:].reshape(len(jets), -1, 4)
        there = ~(four[:, :, 0] <= 0)  # a jet that is NaN is there: its event is skipped and counted
        counts = there.sum(axis=1)
        columns: dict[str, Any] = {"nFatJet": counts}
        for i, key in enumerate(("pt", "eta", "phi", "mass")):
            columns[f"FatJet_{key}"] = ak.unflatten(four[:, :, i][there], counts)
        columns["FatJet_msoftdrop"] = columns["FatJet_mass"]
        extra = [np.asarray(file[f"jet{j}_extraInfo"][start:stop], np.float64) for j in (1, 2)]
        for i, key in enumerate(EXTRA):
            if all(i < each.shape[1] for each in extra):
                values = np.full(there.shape, np.nan)
                values[:, 0], values[:, 1] = extra[0][:, i], extra[1][:, i]
                columns[f"FatJet_{key}"] = ak.unflatten(values[there], counts)
        if "jet1_PFCands" in file and "jet2_PFCands" in file:
            columns |= _cartesian([np.asarray(file[f"jet{j}_PFCands"][start:stop], np.float64) for j in (1, 2)])
        return columns | _case_event(file, start, stop), len(jets)


def _case_event(file: h5py.File, start: int, stop: int) -> dict[str, Any]:
    info = np.asarray(file["event_info"][start:stop], np.float64)
    columns: dict[str, Any] = {name: info[:, i] for i, name in enumerate(EVENT) if i < info.shape[1]}
    for name in ("event", "run"):
        if name in columns:
            columns[name] = columns[name].astype(np.int64)
    if "truth_label" in file:
        label = np.asarray(file["truth_label"][start:stop]).reshape(len(info), -1)[:, 0]
        columns["label"] = (label > 0).astype(np.int8)
        columns["process"] = label.astype(np.int64)
    return columns


def _cartesian(jets: list[Floats]) -> dict[str, Any]:
    """`PFCand` from the constituents (events, 100, 4) = (px, py, pz, E) of both jets."""
    momenta = np.concatenate(jets, axis=1)
    whose = np.repeat(np.arange(len(jets), dtype=np.int8), [each.shape[1] for each in jets])
    real = ~(momenta[:, :, 3] <= 0)
    counts = real.sum(axis=1)
    px, py, pz, energy = momenta[real].T
    pt = np.hypot(px, py)
    with np.errstate(divide="ignore", invalid="ignore"):
        eta = np.arcsinh(pz / pt)
    squared = energy**2 - px**2 - py**2 - pz**2
    # half precision leaves nothing of the mass of a fast particle: below its rounding there is none
    mass = np.sqrt(np.where(squared > 4e-3 * energy**2, squared, 0.0))
    fields = {"pt": pt, "eta": eta, "phi": np.arctan2(py, px), "mass": mass}
    fields["jet"] = np.broadcast_to(whose, real.shape)[real]
    return {"nPFCand": counts, **{f"PFCand_{key}": ak.unflatten(values, counts) for key, values in fields.items()}}


class CaseFeatures(_DijetFile):
    """Files with named features, of the autoencoder searches for dijet anomalies (arXiv:2301.04631 and others).

    | data set | columns |
    | --- | --- |
    | `eventFeatures`, `eventFeatureNames` | one row per event; among the names mJJ, j1Pt, j1Eta, j1Phi, j1M, j2Pt, j2M, DeltaEtaJJ, DeltaPhiJJ |
    | `jetConstituentsList`, `particleFeatureNames` | (events, 2, 100, 3): eta and phi relative to the jet's axis, pT; zero-padded |

    The second jet's direction is the first's less `DeltaEtaJJ`, `DeltaPhiJJ`. All other named features are fields of the
    events. Constituents are massless; `PFCand.jet` says whose they are.
    """

    name = "case-features"
    needed = ("eventFeatures", "eventFeatureNames")

    def recognises(self, path: str) -> bool:
        """True if the file is HDF5 and has named features of two jets."""
        if not super().recognises(path):
            return False
        with opened_hdf5(path) as file:
            return set(FEATURES) <= set(_names(file["eventFeatureNames"]))

    def _columns(self, file: h5py.File, path: str, start: int, stop: int) -> tuple[dict[str, Any], int]:
        names = _names(file["eventFeatureNames"])
        rows = np.asarray(file["eventFeatures"][start:stop], np.float64)
        named = dict(zip(names, rows.T, strict=True))
        _require_names_that_fit(path, named)
        named["j2Eta"] = named["j1Eta"] - named["DeltaEtaJJ"]
        named["j2Phi"] = _wrapped(named["j1Phi"] - named["DeltaPhiJJ"])
        counts = np.full(len(rows), 2)
        columns: dict[str, Any] = {"nFatJet": counts}
        jets = {}
        for key, stored in (("pt", "Pt"), ("eta", "Eta"), ("phi", "Phi"), ("mass", "M")):
            jets[key] = np.stack([named[f"j1{stored}"], named[f"j2{stored}"]], axis=1)
            columns[f"FatJet_{key}"] = ak.unflatten(jets[key].ravel(), counts)
        columns |= {name: named[name] for name in names if name not in FEATURES and name.isidentifier()}
        if "jetConstituentsList" in file:
            parts = np.asarray(file["jetConstituentsList"][start:stop], np.float64)
            columns |= _relative(path, parts, jets["eta"], jets["phi"])
        return columns, len(rows)


def _names(stored: h5py.Dataset) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in np.ravel(stored[()])]


def _wrapped(angle: Floats) -> Floats:
    return np.mod(angle + np.pi, 2 * np.pi) - np.pi


def _require_names_that_fit(path: str, named: Mapping[str, Floats]) -> None:
    """InputError where energy, pT, eta and mass of the leading jet contradict each other: files with swapped names exist."""
    if "j1E" not in named or not len(named["j1E"]):
        return
    energy = np.hypot(named["j1Pt"] * np.cosh(np.clip(named["j1Eta"], -10, 10)), named["j1M"])
    if not np.median(np.abs(energy / named["j1E"] - 1)) < 0.05:
        msg = f"{path}: j1E is not the energy of j1Pt, j1Eta and j1M: eventFeatureNames are not in the order of eventFeatures"
        raise InputError(msg)


def _relative(path: str, parts: Floats, eta: Floats, phi: Floats) -> dict[str, Any]:
    """`PFCand` from constituents (events, 2, n, 3) around the axes (events, 2)."""
    real = ~(parts[..., 2] <= 0)
    farthest = np.hypot(parts[..., 0], parts[..., 1])[real].max(initial=0.0)
    if farthest > WIDEST:
        msg = (
            f"{path}: constituents are up to {farthest:.2f} from their jet's axis, expected eta and phi relative to it"
        )
        raise InputError(msg)
    counts = real.sum(axis=(1, 2))
    jet = np.broadcast_to(np.arange(2, dtype=np.int8)[None, :, None], real.shape)
    fields: dict[str, Any] = {
        "pt": parts[..., 2],
        "eta": parts[..., 0] + eta[:, :, None],
        "phi": _wrapped(parts[..., 1] + phi[:, :, None]),
        "mass": np.zeros(real.shape),
        "jet": jet,
    }
    return {
        "nPFCand": counts,
        **{f"PFCand_{key}": ak.unflatten(values[real], counts) for key, values in fields.items()},
    }
