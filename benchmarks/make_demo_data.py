"""Cut the demo's event files from larger simulated samples: `python benchmarks/make_demo_data.py FOLDER`.

FOLDER holds `qcd_data.features.h5`, `sig_Zp3500_X500_X500_3prong.features.h5` and `particles_sample.h5` in the layout of the
LHC Olympics (PyTables frames under the key `df`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import awkward as ak
import h5py
import hdf5plugin  # noqa: F401
import numpy as np
import uproot

OUT = Path(__file__).parents[1] / "analysis" / "demo"
RANGE = (2800.0, 5200.0)
EVENTS = {"qcd_features": 140_000, "signal_features": 340, "qcd_particles": 3_000}
SEED = 20
MANTISSA_BITS = 14


def shorten(values: np.ndarray) -> np.ndarray:
    """Float32 with the mantissa rounded to 14 bits, so that it compresses."""
    bits = np.asarray(values, dtype=np.float32).view(np.uint32)
    drop = 23 - MANTISSA_BITS
    rounded = (bits + np.uint32(1 << (drop - 1))) & np.uint32(~((1 << drop) - 1) & 0xFFFFFFFF)
    return np.where(bits == 0, bits, rounded).view(np.float32)


def read_frame(path: Path) -> tuple[list[str], np.ndarray]:
    with h5py.File(path) as file:
        return [str(c.decode()) for c in file["df/axis0"][:]], file["df/block0_values"][:]


def dijet_mass(columns: list[str], values: np.ndarray) -> np.ndarray:
    get = {c: values[:, i].astype(float) for i, c in enumerate(columns)}
    total = np.zeros((4, len(values)))
    for jet in ("j1", "j2"):
        p = np.stack([get[f"p{k}{jet}"] for k in "xyz"])
        total += np.stack([*p, np.sqrt((p**2).sum(0) + get[f"m{jet}"] ** 2)])
    return np.sqrt(np.maximum(total[3] ** 2 - (total[:3] ** 2).sum(0), 0))


def momentum(columns: list[str], values: np.ndarray) -> np.ndarray:
    """The leading jet's transverse momentum as one complex number: a key that no two events share."""
    return values[:, columns.index("pxj1")] + 1j * values[:, columns.index("pyj1")].astype(float)


def write_frame(path: Path, values: np.ndarray, like: Path) -> None:
    """A frame with the names and the PyTables attributes of `like`, so that pandas reads it too."""
    options = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
    with h5py.File(path, "w") as file, h5py.File(like) as original:
        group = file.create_group("df")
        for name in ("axis0", "block0_items"):
            group.create_dataset(name, data=original["df"][name][:])
        group.create_dataset("axis1", data=np.arange(len(values)), **options)
        group.create_dataset("block0_values", data=shorten(values), chunks=(min(4096, len(values)), 1), **options)
        for place in ("/", "df", "df/axis0", "df/axis1", "df/block0_items", "df/block0_values"):
            for name, value in original[place].attrs.items():
                file[place].attrs[name] = value


def write_particles(path: Path, values: np.ndarray) -> None:
    label = values[:, -1]
    rows = values[:, :-1].reshape(len(values), -1, 3)
    jagged = ak.from_regular(ak.Array(rows))
    jagged = jagged[jagged[:, :, 0] > 0]
    counts = ak.num(jagged)
    flat = ak.to_numpy(ak.flatten(jagged))
    particle = {k: shorten(flat[:, i]) for i, k in enumerate(("pt", "eta", "phi"))}
    particle["mass"] = np.zeros(len(flat), np.float32)
    with uproot.recreate(path, compression=uproot.LZMA(9)) as file:
        content = {"PFCand": ak.unflatten(ak.zip(particle), counts), "label": label.astype(np.int8)}
        tree = file.mktree("Events", {"PFCand": content["PFCand"].type.content, "label": "int8"})
        tree.extend(content)


def main(folder: Path) -> None:
    rng = np.random.default_rng(SEED)
    columns, qcd = read_frame(folder / "qcd_data.features.h5")
    _, signal = read_frame(folder / "sig_Zp3500_X500_X500_3prong.features.h5")
    _, sample = read_frame(folder / "particles_sample.features.h5")
    frames = {"qcd_features": ("qcd_data", qcd), "signal_features": ("sig_Zp3500_X500_X500_3prong", signal)}
    for name, (stem, values) in frames.items():
        mass = dijet_mass(columns, values)
        keep = (mass > RANGE[0]) & (mass < RANGE[1])
        # An event must not enter twice: the particle sample is left out of the feature frames.
        keep &= ~np.isin(momentum(columns, values), momentum(columns, sample))
        rows = rng.permutation(np.flatnonzero(keep))[: EVENTS[name]]
        write_frame(OUT / f"{name}.h5", values[rows], folder / f"{stem}.features.h5")
    with h5py.File(folder / "particles_sample.h5") as file:
        frame = file["df/block0_values"]
        rows = np.flatnonzero(frame[:, -1] == 0)[: EVENTS["qcd_particles"]]
        write_particles(OUT / "qcd_particles.root", frame[: rows[-1] + 1][rows])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
