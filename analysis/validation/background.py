"""Simulated background that pseudo-experiments are drawn from: as many events as the data have, none of them twice."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from resonaut.analysis.config import SearchConfig
from resonaut.analysis.events import EventStage, event_stage
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.scoring import ScoreJob
from resonaut.errors import InputError
from resonaut.processors import read_table, table_columns
from resonaut.processors.running.fingerprint import content_digest

__all__ = ("background_stage", "drawn_rows")


def background_stage(
    config: SearchConfig, base: Path, run: RunDirectory, jobs: Sequence[ScoreJob]
) -> EventStage | None:
    """Event table of `validation.background`; None where the config names none.

    Parameters
    ----------
    config
        Of the search.
    base
        Folder that relative names of files start from.
    run
        Run directory; `validation/background/` in it is written.
    jobs
        Score units of the search: what they learn from must be in the table.

    Raises
    ------
    InputError
        If a file is one of the data or of the simulation that methods learn from, events have weights, or lack a feature.
    """
    files = config.resolved_background(base)
    if not files:
        return None
    _refuse_known(files, config.resolved_files(base), "data (input.files): that would look at them before unblinding")
    _refuse_known(
        files, config.resolved_simulation(base), "input.simulation: a method would be tried on what it learnt from"
    )
    given = {"files": tuple(map(str, files)), "columns": config.input.columns_of("simulation")}
    other = config.model_copy(update={"input": config.input.model_copy(update=given)})
    found = event_stage(other, base, RunDirectory(run.path / "validation" / "background"))
    _require_usable(found.table, jobs)
    return found


def _refuse_known(files: Sequence[Path], others: Sequence[Path], what: str) -> None:
    known = {content_digest(str(path)) for path in others}
    for path in files:
        if content_digest(str(path)) in known:
            msg = f"validation.background: {path} holds events of the {what}; give other events"
            raise InputError(msg)


def _require_usable(table: Path, jobs: Sequence[ScoreJob]) -> None:
    """Tell before anything is trained what would stop the first pseudo-experiment, or give it other features."""
    there = table_columns(table)
    for job in jobs:
        if missing := [name for name in job.features if name not in there]:
            msg = f"validation.background has no {', '.join(missing)}, which {job.method.title} learns from"
            raise InputError(msg)
    if others := int(np.count_nonzero(np.asarray(read_table(table, columns=["weight"])["weight"]) != 1)):
        msg = (
            f"validation.background: {others} events have a weight other than 1, and pseudo-experiments count events: "
            "draw unweighted events first"
        )
        raise InputError(msg)


def drawn_rows(
    inside: npt.NDArray[np.bool_], events: float, number: int, generator: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Rows of each pseudo-experiment, as many as the events allow.

    An event is in one of them at most: experiments that share events fluctuate together, and the mean of their significances
    by more than the number of experiments says.

    Parameters
    ----------
    inside
        (n,) whether an event of the simulation is in the mass range.
    events
        Expected number in a pseudo-experiment: that of the data in the mass range.
    number
        Of pseudo-experiments that are asked for.
    generator
        Of random numbers.

    Raises
    ------
    InputError
        If there are not enough events for two of those that are asked for.
    """
    order = generator.permutation(np.flatnonzero(inside))
    ends = np.cumsum(generator.poisson(events, number))
    found = [np.sort(order[low:high]) for low, high in itertools.pairwise((0, *ends)) if high <= len(order)]
    if len(found) < min(number, 2):
        msg = (
            f"validation.background has {len(order)} events in the mass range and the data {events:.0f}: two pseudo-experiments "
            "need twice as many; give more, or none to draw from the data"
        )
        raise InputError(msg)
    return found
