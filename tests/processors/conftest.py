"""Toy events and the truth that other software gives for them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pytest

Array = np.ndarray[Any, Any]


def make_particles(seed: int, events: int = 20, soft: int = 40) -> Any:
    """Dijet-like events: two collimated sprays back to back in phi and soft particles everywhere (pt, eta, phi, mass)."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(events):
        phi = rng.uniform(-np.pi, np.pi)
        parts = []
        for centre, energy in ((phi, 1500.0), (phi + np.pi, 1400.0)):
            n = int(rng.integers(5, 50))
            share = rng.dirichlet(np.full(n, 0.4))
            keep = share > 1e-6
            eta0 = rng.normal(0, 0.8)
            width = rng.uniform(0.05, 0.4)
            parts.append(
                np.stack(
                    [
                        energy * share[keep],
                        eta0 + rng.normal(0, width, keep.sum()),
                        centre + rng.normal(0, width, keep.sum()),
                    ]
                )
            )
        parts.append(
            np.stack([rng.exponential(1.0, soft) + 0.1, rng.uniform(-4, 4, soft), rng.uniform(-np.pi, np.pi, soft)])
        )
        rows.append(np.concatenate(parts, axis=1))
    counts = [row.shape[1] for row in rows]
    pt, eta, phi = np.concatenate(rows, axis=1)
    phi = (phi + np.pi) % (2 * np.pi) - np.pi
    mass = rng.choice([0.0, 0.1396, 0.938], pt.size)
    return ak.unflatten(ak.zip({"pt": pt, "eta": eta, "phi": phi, "mass": mass}), counts)


def write_frame(path: Path, columns: list[str], values: Array, *, integer_names: bool = False, **options: Any) -> None:
    """A pandas frame of PyTables' fixed layout, as `DataFrame.to_hdf(path, key="df", format="fixed")` writes it."""
    with h5py.File(path, "w") as file:
        group = file.create_group("df")
        group.attrs["pandas_type"] = np.bytes_(b"frame")
        group.attrs["nblocks"] = 1
        names = np.arange(len(columns)) if integer_names else np.array([c.encode() for c in columns])
        for key in ("axis0", "block0_items"):
            group.create_dataset(key, data=names)
        group.create_dataset("axis1", data=np.arange(len(values)))
        group.create_dataset("block0_values", data=values, **options)


def write_particle_frame(
    path: Path, particles: Any, label: Array | None = None, width: int = 150, **options: Any
) -> None:
    """A particle frame of the LHC Olympics with room for `width` particles."""
    values = np.zeros((len(particles), 3 * width + (label is not None)), np.float32)
    for i, event in enumerate(particles):
        for j, x in enumerate(("pt", "eta", "phi")):
            values[i, j : 3 * len(event) : 3] = ak.to_numpy(event[x])
    if label is not None:
        values[:, -1] = label
    write_frame(path, [str(i) for i in range(values.shape[1])], values, integer_names=True, **options)


@pytest.fixture(scope="session")
def toys() -> SimpleNamespace:
    """Makers of toy events and frames."""
    return SimpleNamespace(
        make_particles=make_particles, write_frame=write_frame, write_particle_frame=write_particle_frame
    )


@pytest.fixture(scope="session")
def toy_particles() -> Any:
    return make_particles(seed=7)
