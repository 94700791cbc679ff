"""Events of a benchmark: tables of the three roles, and who plays the data, the truth and the injected signal."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resonaut.analysis.config import ExecutorConfig
from resonaut.analysis.events import make_table
from resonaut.analysis.resonant.protocol import Protocol
from resonaut.analysis.rundir import Unit
from resonaut.analysis.seeds import seed_for
from resonaut.errors import InputError, unknown_name
from resonaut.files import digest, file_digest, write_json
from resonaut.models import Sample
from resonaut.models.sample import FloatArray, IndexArray
from resonaut.processors import DijetProcessor, is_table, read_table, table_columns

__all__ = ("Division", "Events", "divide", "event_tables", "find_files", "joined", "load_events", "only")

ROLES = ("data", "simulation", "signal")
_SHIFTED = {"m_l": 1.0, "dm_jj": 1.0, "m_h": 2.0}  # m_h = m_l + dm_jj


@dataclass(frozen=True)
class Events:
    """The three samples, within the masses of the window and with the same features.

    Parameters
    ----------
    background
        Events that play the data, without signal.
    signal
        Signal at all masses of the window.
    simulation
        Simulated background, or None.
    """

    background: Sample
    signal: Sample
    simulation: Sample | None


@dataclass(frozen=True)
class Division:
    """Rows of one repetition. Background rows count in `Events.background`, signal rows in `Events.signal`.

    Parameters
    ----------
    data, truth
        Background of the signal region that plays the data, and the rest of it.
    injected
        Signal that is added to the data.
    spare
        Signal of the signal region that is not.
    """

    data: IndexArray
    truth: IndexArray
    injected: IndexArray
    spare: IndexArray


def find_files(folder: Path, names: dict[str, str | None]) -> dict[str, Path]:
    """File of each role: the one in `folder` with this name, with or without its endings.

    Raises
    ------
    InputError
        If there is none, or more than one.
    """
    if not folder.is_dir():
        msg = f"{folder} is not a folder: give the folder with the event files"
        raise InputError(msg)
    present = {path.name: path for path in folder.iterdir() if path.is_file()}
    found = {}
    for role, name in names.items():
        if name is None:
            continue
        fits = [path for file, path in present.items() if file == name or file.split(".")[0] == name]
        if name in present:
            fits = [present[name]]
        if len(fits) != 1:
            stems = sorted({file.split(".")[0] for file in present})
            what = f"{len(fits)} event files are called {name!r}" if fits else unknown_name("event file", name, stems)
            msg = f"--{role}, in {folder}: {what}; give the name of one file"
            raise InputError(msg)
        found[role] = fits[0]
    return found


def event_tables(files: dict[str, Path], cache: Path) -> dict[str, Path]:
    """Event table of each role, made where the file is none and kept in `cache`."""
    tables = {}
    for role, path in files.items():
        if is_table(path):
            tables[role] = path
            continue
        unit = Unit(cache / role, digest(path.name, file_digest(path)))

        def work(folder: Path, path: Path = path) -> None:
            executor = ExecutorConfig(chunksize=100_000)
            books = make_table(
                [path],
                folder / "events.parquet",
                DijetProcessor(),
                executor,
                on_bad_file="raise",
                cache=folder / "chunks",
            )
            write_json(folder / "books.json", books)

        unit.make(work)
        tables[role] = unit.folder / "events.parquet"
    return tables


def load_events(tables: dict[str, Path], protocol: Protocol) -> Events:
    """Samples of the three roles, masses shifted where the protocol says so.

    Where a table has labels, the background role takes its rows with label 0 and the signal role those with label 1: both may
    be one file.

    Raises
    ------
    InputError
        For labels that mix 0 or 1 with others, no event of the label that is wanted, or weights of data or signal.
    """
    return _load(tuple(sorted((role, str(path)) for role, path in tables.items())), protocol_key(protocol))


def protocol_key(protocol: Protocol) -> tuple[tuple[str, ...], tuple[float, float], float, int | None, int]:
    """What the samples depend on."""
    window = protocol.window
    return protocol.columns, (window.sb_low, window.sb_high), protocol.shift, protocol.max_background, protocol.seed


@functools.lru_cache(maxsize=2)  # a worker does many units on the same events
def _load(
    tables: tuple[tuple[str, str], ...], key: tuple[tuple[str, ...], tuple[float, float], float, int | None, int]
) -> Events:
    features, (low, high), shift, most, seed = key
    samples: dict[str, Sample] = {}
    for role, path in tables:
        sample = _read(path, features, 1 if role == "signal" else 0, shift)
        if role != "simulation" and (others := np.count_nonzero(sample.weight != 1)):
            msg = f"{others} events of {path} have a weight other than 1: {role} of a benchmark counts events; leave weights out"
            raise InputError(msg)
        inside = np.flatnonzero((sample.mass >= low) & (sample.mass < high))
        if most is not None and role != "signal" and len(inside) > most:
            inside = np.sort(np.random.default_rng(seed_for(seed, "subset", role)).permutation(inside)[:most])
        samples[role] = sample.take(inside)
    return Events(samples["data"], samples["signal"], samples.get("simulation"))


def _read(path: str, features: Sequence[str], label: int, shift: float) -> Sample:
    present = table_columns(Path(path))
    labelled = "label" in present
    optional = [name for name in ("weight", "label") if name in present]
    table = read_table(path, columns=[*features, "mjj", *optional])
    columns = {name: np.asarray(table[name], dtype=np.float64) for name in table.fields}
    known = labelled and bool(np.isin(columns["label"], (0, 1)).any())
    if known:
        if others := np.count_nonzero(~np.isin(columns["label"], (0, 1))):
            msg = f"{others} events of {path} have labels other than 0 (background) and 1 (signal): leave them out"
            raise InputError(msg)
        chosen = columns["label"] == label
        if not chosen.any():
            msg = f"{path} has no event with label {label}: give a file with such events, or one without labels"
            raise InputError(msg)
        columns = {name: values[chosen] for name, values in columns.items()}
    columns["label"] = np.full(len(columns["mjj"]), float(label))
    for name in features:
        if name in _SHIFTED:
            columns[name] = columns[name] + _SHIFTED[name] * shift * columns["mjj"]
    return Sample.from_table(columns, features)


def divide(events: Events, protocol: Protocol, s_over_b: float, seed: int) -> Division:
    """Who is data, truth, injected and spare in repetition `seed`; a stronger signal holds the weaker one."""
    repetition = 0 if protocol.fixed_events else seed
    rng = np.random.default_rng(seed_for(protocol.seed, "division", repetition))
    window = protocol.window
    rows = rng.permutation(np.flatnonzero(window.in_signal_region(events.background.mass)))
    data, truth = np.split(rows, [round(protocol.data_fraction * len(rows))])
    inside = window.in_signal_region(events.signal.mass)
    wanted = round(s_over_b * len(data))
    if wanted >= inside.sum():
        msg = f"S/B = {s_over_b:g} needs {wanted} signal events in {window}, there are {inside.sum()}: use more or less"
        raise InputError(msg)
    injected, spare = np.split(rng.permutation(np.flatnonzero(inside)), [wanted])
    if protocol.everywhere:  # the sidebands hold all background, not the data's part of it alone
        outside = rng.permutation(np.flatnonzero(~inside))
        beside = round(wanted * len(outside) / inside.sum() / protocol.data_fraction)
        injected = np.concatenate([injected, outside[:beside]])
    return Division(np.sort(data), np.sort(truth), np.sort(injected), np.sort(spare))


def joined(*parts: Sample) -> Sample:
    """Samples one after the other, with their labels."""
    columns: dict[str, FloatArray] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("features", "mass", "weight", "label")
    }
    return Sample(columns["features"], parts[0].names, columns["mass"], columns["weight"], columns["label"])


def only(sample: Sample, features: Sequence[str]) -> Sample:
    """The sample with some of its features."""
    return Sample(sample.require(features), features, sample.mass, sample.weight, sample.label, sample.simulation)
