"""A run of the challenge from CSV files to table and figures; what is finished is never done again."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from resonaut.analysis.darkmachines.files import ChannelFiles, find_challenge
from resonaut.analysis.darkmachines.protocol import Protocol
from resonaut.analysis.darkmachines.summary import summarise
from resonaut.analysis.darkmachines.table import markdown
from resonaut.analysis.darkmachines.units import ScoresUnit
from resonaut.analysis.parallel import map_unordered
from resonaut.analysis.progress import progress_bar
from resonaut.analysis.rundir import RunDirectory
from resonaut.errors import ConfigError, unknown_name
from resonaut.files import atomic_path, finite_or_none, write_json

__all__ = ("ChallengePlan", "ChallengeReport", "describe_challenge", "make_challenge", "run_challenge")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChallengePlan:
    """Channels with their files, what is done with them, and the run directory."""

    folder: Path
    channels: dict[str, ChannelFiles]
    protocol: Protocol

    @property
    def units(self) -> list[ScoresUnit]:
        """All trainings, channel after channel, so that a process reads a channel once."""
        return [
            ScoresUnit(self.folder, channel, files, self.protocol, entry)
            for channel, files in self.channels.items()
            for entry in self.protocol.entries
        ]


@dataclass(frozen=True)
class ChallengeReport:
    """Where the results lie, and how many units were computed now."""

    results: Path
    table: Path
    plots: Path
    computed: int


def make_challenge(
    source: Path, out: Path, protocol: Protocol, channels: tuple[str, ...] | None = None
) -> ChallengePlan:
    """Plan of a run on the files below `source`.

    Raises
    ------
    InputError
        If no channel has background and signals.
    ConfigError
        If a channel is asked for that has no files.
    """
    found = find_challenge(source)
    for name in channels or ():
        if name not in found:
            raise ConfigError(unknown_name(f"channel below {source}", name, found))
    return ChallengePlan(
        out, {name: files for name, files in found.items() if not channels or name in channels}, protocol
    )


def describe_challenge(plan: ChallengePlan) -> str:
    """What a run would do, in a few lines."""
    lines = [f"entries: {', '.join(plan.protocol.entries)}"]
    for name, files in plan.channels.items():
        lines.append(
            f"channel {name}: background from {', '.join(path.name for path in (*files.training, *files.test))}; signals "
            f"{', '.join(files.signals) or 'none'}" + (f"; secret {len(files.secret)} files" if files.secret else "")
        )
    units = plan.units
    lines.append(f"trainings: {len(units)}, {sum(unit.unit.done for unit in units)} of them done")
    return "\n".join(lines)


def run_challenge(plan: ChallengePlan, *, workers: int = 1) -> ChallengeReport:
    """Make all units, then results.json, results.md and the figures.

    Parameters
    ----------
    plan
        From `make_challenge`.
    workers
        Processes; with a GPU one is usually best.
    """
    run = RunDirectory(plan.folder)
    with run.lock():
        missing = [unit for unit in plan.units if not unit.unit.done]
        with progress_bar("trainings", len(missing)) as advance:
            for name in map_unordered(_make, missing, workers=workers):
                logger.info("finished %s", name)
                advance(1)
        run.clear_results()  # figures of channels that do not take part now
        results = finite_or_none(summarise(plan.units))
        write_json(plan.folder / "results.json", results)
        with atomic_path(plan.folder / "results.md") as temporary:
            temporary.write_text(markdown(results))
        from resonaut.analysis.plots.darkmachines import draw_challenge

        draw_challenge(results, run.plots)
    return ChallengeReport(plan.folder / "results.json", plan.folder / "results.md", run.plots, len(missing))


def _make(unit: ScoresUnit) -> str:
    unit.make()
    return f"{unit.channel}/{unit.entry}"
