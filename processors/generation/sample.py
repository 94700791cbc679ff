"""Samples of simulated events: blocks made by any number of workers, merged into one file.

from resonaut.processors import QCD, generate
sample = generate(QCD(), "qcd.h5", events=5000, seed=1, workers=4)
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Any

import loky
import numpy as np

from resonaut.errors import ConfigError, IncompleteError, InputError, unknown_name
from resonaut.processors.generation.blocks import (
    BLOCK,
    Block,
    JetTrigger,
    Plan,
    Tally,
    make_block,
    read_block,
    write_block,
)
from resonaut.processors.generation.detector import Detector
from resonaut.processors.generation.frames import FORMATS, WIDTH, read_generation
from resonaut.processors.generation.processes import Process
from resonaut.processors.generation.pythia import Generator

__all__ = ("GeneratedSample", "GenerationLedger", "generate")

Progress = Callable[[int, int], None]
GENERATOR, DETECTOR, TRIGGER = Generator(), Detector(), JetTrigger()


@dataclass(frozen=True)
class GenerationLedger:
    """The books of a sample: every event that Pythia was asked for is accepted, rejected with a reason, or failed.

    Parameters
    ----------
    tried, accepted, failed : events asked of Pythia, kept, and not made by it.
    rejected : events that the selection dropped, by reason.
    truncated : accepted events with more particles than a frame has room for; the softest are left out.
    blocks, blocks_found : units of work; the latter were there from an interrupted run.
    """

    tried: int
    accepted: int
    failed: int
    rejected: dict[str, int] = field(default_factory=dict)
    truncated: int = 0
    blocks: int = 0
    blocks_found: int = 0

    @property
    def balanced(self) -> bool:
        """True if every try is accounted for."""
        return self.accepted + self.failed + sum(self.rejected.values()) == self.tried

    def __str__(self) -> str:
        text = f"{self.accepted} of {self.tried} events accepted"
        text += "".join(f", {n} rejected ({reason})" for reason, n in self.rejected.items())
        text += f", {self.failed} failed in Pythia"
        return text + (f", {self.truncated} with more than {WIDTH} particles" if self.truncated else "")


@dataclass(frozen=True)
class GeneratedSample:
    """A file of generated events.

    Parameters
    ----------
    path : the file.
    ledger : the books.
    cross_section, cross_section_error : after the selection [pb]; NaN for a process whose rate has no meaning. The
        luminosity of the sample is events / cross_section.
    provenance : process, settings and seed, as they are in the file.
    """

    path: Path
    ledger: GenerationLedger
    cross_section: float
    cross_section_error: float
    provenance: dict[str, Any]


def generate(
    process: Process,
    out: str | os.PathLike[str],
    events: int,
    *,
    format: str = "particles",
    seed: int = 1,
    workers: int = 1,
    generator: Generator = GENERATOR,
    detector: Detector = DETECTOR,
    trigger: JetTrigger = TRIGGER,
    label: int | None = None,
    progress: Progress | None = None,
) -> GeneratedSample:
    """Generate events, simulate the detector, select, and write one file.

    Finished blocks are kept in a hidden folder beside the file until it is whole: the same call after an interruption
    goes on from there, and a file that was made by the same call is left as it is. One by another call is replaced, a file of
    other making is not.

    Parameters
    ----------
    process : `QCD`, `ZPrimeXY`, `TTbar`, `WZ`, or any object with their attributes.
    out : file to write.
    events : number of events that pass the selection.
    format : "particles" or "features" (HDF5, as the LHC Olympics), or "root" (a tree of particles).
    seed : of all random numbers. Event i depends on it and on the settings, not on `events` or `workers`.
    workers : processes.
    generator, detector, trigger : settings of each step.
    label : truth label of the events; the process's own if not given (0 background, 1 signal).
    progress : called with (accepted events, wanted events).

    Raises
    ------
    ConfigError
        If a setting makes no sense, or Pythia does not know it.
    InputError
        If no events pass, or the file cannot be written, or is there and was not generated.
    MissingDependencyError
        If Pythia is not installed.
    IncompleteError
        If a worker died; finished blocks are kept.
    """
    if format not in FORMATS:
        raise ConfigError(unknown_name("format", format, FORMATS))
    if events < 1 or seed < 0 or workers < 1:
        msg = f"events, seed, workers are {events}, {seed}, {workers}, expected at least 1, 0, 1"
        raise ConfigError(msg)
    if label is not None and abs(label) > 127:
        msg = f"label is {label}, expected -127 to 127, as event tables have it"
        raise ConfigError(msg)
    path = Path(out)
    if path.is_dir():
        msg = f"cannot write {path}: it is a folder, expected the name of a file"
        raise InputError(msg)
    plan = Plan(process, generator, detector, trigger, format != "features", seed)
    mark = process.label if label is None else label
    origin = {**plan.config, "events": events, "format": format, "label": mark, "key": plan.key}
    if path.exists() and (found := _made_before(path, origin)):
        return found
    folder = path.with_name(f".{path.name}.blocks")
    made = _make_all(plan, folder, events, workers, progress or (lambda *_: None))
    files, there = [file for file, _ in made], sum(found for _, found in made)
    sample = _merge(path, files, format, mark, origin, there, process.has_rate)
    shutil.rmtree(folder, ignore_errors=True)
    return sample


def _made_before(path: Path, origin: dict[str, Any]) -> GeneratedSample | None:
    """The sample that the same call has made; None where another call has, whose file is then replaced.

    Raises
    ------
    InputError
        If the file is of other making.
    """
    try:
        stored = read_generation(path)
    except (InputError, ValueError, AttributeError):  # no such file, or no such text in it
        stored = {}
    if "ledger" not in stored:
        msg = f"{path} is there already, and not a generated sample: give another name, or remove it"
        raise InputError(msg)
    if any(stored.get(name) != value for name, value in json.loads(json.dumps(origin)).items()):
        return None
    ledger = GenerationLedger(**stored["ledger"])
    sigma, error = (np.nan if stored[x] is None else float(stored[x]) for x in ("cross_section", "cross_section_error"))
    return GeneratedSample(path, ledger, sigma, error, stored)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _start_worker(parent: int) -> None:
    """Leave Ctrl-C to the parent, and end when it is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()


def _work(plan: Plan, path: Path, index: int, events: int) -> int:
    write_block(path, make_block(plan, index, events))
    return events


def _make_all(plan: Plan, folder: Path, events: int, workers: int, progress: Progress) -> list[tuple[Path, bool]]:
    """Files of all blocks, and whether each was there before."""
    jobs = [(i, min(BLOCK, events - i * BLOCK)) for i in range(ceil(events / BLOCK))]
    files = [folder / f"{plan.key}-{i:06d}-{n}.npz" for i, n in jobs]
    there = [read_block(file) is not None for file in files]
    todo = [(file, *job) for file, job, found in zip(files, jobs, there, strict=True) if not found]
    done = events - sum(n for _, _, n in todo)
    if done:
        progress(done, events)
    for made in _results(plan, todo, workers):
        done += made
        progress(done, events)
    return list(zip(files, there, strict=True))


def _results(plan: Plan, todo: list[tuple[Path, int, int]], workers: int) -> Iterator[int]:
    """Numbers of accepted events of the blocks, as they are finished."""
    if workers == 1 or len(todo) <= 1:
        for job in todo:
            yield _work(plan, *job)
        return
    from concurrent.futures import as_completed

    pool = loky.ProcessPoolExecutor(min(workers, len(todo)), initializer=_start_worker, initargs=(os.getpid(),))
    try:
        for future in as_completed([pool.submit(_work, plan, *job) for job in todo]):
            yield future.result()
    except loky.process_executor.BrokenProcessPool as error:
        msg = f"a worker died ({str(error).splitlines()[0]}); finished blocks are kept, the same command goes on from there"
        raise IncompleteError(msg) from error
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _merge(
    path: Path, files: list[Path], format: str, label: int, origin: dict[str, Any], found: int, has_rate: bool
) -> GeneratedSample:
    """Write the sample from its blocks."""

    def blocks() -> Iterator[Block]:
        for file in files:
            block = read_block(file)
            if block is None:
                msg = f"{file} cannot be read any more; run the same command again"
                raise IncompleteError(msg)
            yield block

    truth, tallies, large = _gather(blocks())
    ledger = replace(
        _ledger(tallies), truncated=large if format == "particles" else 0, blocks=len(files), blocks_found=found
    )
    sigma, error = _cross_section(tallies) if has_rate else (float("nan"), float("nan"))
    results = {
        "ledger": asdict(ledger),
        "efficiency": _efficiency(tallies)[0],
        "cross_section": sigma if has_rate else None,
        "cross_section_error": error if has_rate else None,
        "units": {"cross_section": "pb", "momenta": "GeV"},
    }
    provenance = {**origin, **results}
    FORMATS[format](path, blocks, truth, label, provenance)
    return GeneratedSample(path, ledger, sigma, error, provenance)


def _gather(blocks: Iterator[Block]) -> tuple[dict[str, Any], list[Tally], int]:
    """Truth of all events, books of all blocks, and how many events overflow a particle frame."""
    truths, tallies, large = [], [], 0
    for number, block in enumerate(blocks):
        n = len(block.jets["nj"])
        truths.append({**block.truth, "block": np.full(n, number), "event": number * BLOCK + np.arange(n)})
        tallies.append(block.tally)
        if block.candidates is not None:
            large += int((np.diff(block.candidates.offsets) > WIDTH).sum())
    truth = {name: np.concatenate([each[name] for each in truths]) for name in truths[0]}
    truth["weight"] = truth["weight"] / truth["weight"].mean()
    return truth, tallies, large


def _ledger(tallies: list[Tally]) -> GenerationLedger:
    reasons = sorted({reason for tally in tallies for reason in tally.rejected})
    return GenerationLedger(
        sum(tally.tried for tally in tallies),
        sum(tally.accepted for tally in tallies),
        sum(tally.failed for tally in tallies),
        {reason: sum(tally.rejected.get(reason, 0) for tally in tallies) for reason in reasons},
    )


def _efficiency(tallies: list[Tally]) -> tuple[float, float]:
    """Share of the generated weight that the selection keeps, and its relative error.

    A block ends with an accepted event; over all blocks that biases the share by 1 / accepted, far below its error.
    """
    accepted = sum(tally.weight_accepted for tally in tallies)
    share = accepted / sum(tally.weight_tried for tally in tallies)
    squares = sum(tally.weight2_accepted for tally in tallies)
    return share, float(np.sqrt(squares * max(1.0 - share, 0.0))) / accepted


def _cross_section(tallies: list[Tally]) -> tuple[float, float]:
    """Cross-section after the selection and its statistical error [pb]."""
    tries = np.array([tally.tried for tally in tallies], dtype=np.float64)
    sigmas = np.array([tally.sigma for tally in tallies])
    errors = np.array([tally.sigma_error for tally in tallies])
    sigma = float(np.average(sigmas, weights=tries))
    error = float(np.sqrt(((tries * errors) ** 2).sum()) / tries.sum())
    share, share_error = _efficiency(tallies)
    return sigma * share, sigma * share * float(np.hypot(error / sigma, share_error))
