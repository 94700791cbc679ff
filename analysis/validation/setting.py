"""What all checks of a run share: its events, its methods, the windows that are looked at, and scores of finished units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from resonaut.analysis.config import SearchConfig
from resonaut.analysis.events import EventStage
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.scoring import ScoreJob, load_scores, search_windows, uses_labels
from resonaut.analysis.seeds import seed_for
from resonaut.analysis.signals import SignalSample
from resonaut.analysis.spectra import FitOptions, fit_options
from resonaut.analysis.validation.checks import Alarm
from resonaut.analysis.validation.masses import resampled_masses
from resonaut.analysis.validation_config import ValidationConfig
from resonaut.models import select
from resonaut.processors import read_table
from resonaut.stats import ScanInput, Window, log_edges

__all__ = ("Selected", "Setting", "chosen_windows", "honest_search")

Floats = npt.NDArray[np.float64]


def honest_search(config: SearchConfig) -> SearchConfig:
    """The search without methods that are trained on truth labels: those are benchmarks, and are not validated."""
    return config.model_copy(update={"methods": tuple(m for m in config.methods if not uses_labels(m))})


def chosen_windows(config: SearchConfig, number: int) -> list[Window]:
    """At most `number` signal regions that do not overlap, spread over the scan."""
    apart: list[Window] = []
    for window in search_windows(config):
        if not apart or window.low >= apart[-1].high * (1 - 1e-9):
            apart.append(window)
    places = np.unique(np.linspace(0, len(apart) - 1, min(number, len(apart))).round().astype(int))
    return [apart[place] for place in places]


@dataclass(frozen=True)
class Selected:
    """Events of one method that was trained in one window, with its scores; `counts` are after each cut.

    The masses of a method that knows no window are drawn anew: its selection is that of every signal region at once, and
    the data in them are not to be looked at.
    """

    method: str
    window: Window
    mass: Floats
    scores: Floats
    fold: npt.NDArray[np.int64]
    cuts: tuple[float, ...]
    edges: Floats
    resampled: bool

    @cached_property
    def all_counts(self) -> Floats:
        """(bins,) events that have a score."""
        return np.histogram(self.mass, self.edges)[0].astype(np.float64)

    @cached_property
    def counts(self) -> dict[float, Floats]:
        """(bins,) events after each cut."""
        masks = select(self.scores, self.fold, self.cuts)
        return {cut: np.histogram(self.mass[masks[cut]], self.edges)[0].astype(np.float64) for cut in self.cuts}


@dataclass(frozen=True)
class Setting:
    """A validation under way.

    Parameters
    ----------
    config
        Of the search, without methods that are trained on truth.
    checks
        How much is checked.
    run
        Run directory; `folder` in it is the validation's.
    events, simulation
        The finished first stages.
    samples
        Simulated signals.
    background
        Table of background that pseudo-experiments are drawn from, None for the data.
    jobs
        Score units of the search in the windows that are checked.
    windows
        Those windows.
    hidden
        Whether the search is blind now: where the data have a structure is then not told, as it is in a signal region.
    """

    config: SearchConfig
    checks: ValidationConfig
    run: RunDirectory
    events: EventStage
    simulation: EventStage | None
    samples: list[SignalSample]
    background: EventStage | None
    jobs: list[ScoreJob]
    windows: list[Window]
    hidden: bool = False

    @property
    def folder(self) -> Path:
        return self.run.path / "validation"

    @property
    def alarm(self) -> Alarm:
        return Alarm(self.checks.false_alarm)

    @cached_property
    def edges(self) -> Floats:
        return log_edges(self.config.scan.low, self.config.scan.high, self.config.scan.bins)

    @cached_property
    def mass(self) -> Floats:
        """(n,) of all events of the table, GeV."""
        name = self.config.variable
        return np.asarray(read_table(self.events.table, columns=[name])[name], dtype=np.float64)

    @cached_property
    def inclusive(self) -> Floats:
        """(bins,) events before any cut."""
        return np.histogram(self.mass, self.edges)[0].astype(np.float64)

    @property
    def middle(self) -> Window:
        """The window in the middle of those that are checked."""
        return self.windows[len(self.windows) // 2]

    @property
    def densest(self) -> Window:
        """The window of those that are checked with the most events in its signal region."""
        return max(self.windows, key=lambda window: int(np.count_nonzero(window.in_signal_region(self.mass))))

    def fit(self, method: str, window: Window) -> FitOptions:
        """How spectra of a method are fitted."""
        return fit_options(self.config, ScanInput(window, method, 1.0, (self.inclusive, self.edges)))

    @cached_property
    def selected(self) -> list[Selected]:
        """All methods in all windows that are checked; a window that was skipped is left out."""
        return list(self._selected())

    def _selected(self) -> Iterator[Selected]:
        for job in self.jobs:
            for window in [job.window] if job.window else [self.middle]:
                found = selected_of(self, job, window)
                if found is not None:
                    yield found

    def new_masses(self, mass: Floats, *names: object) -> Floats:
        """Masses of background alone for these events, see `resampled_masses`; the names make the seed."""
        generator = np.random.default_rng(seed_for(self.config.seed, "validation", *names))
        options = self.fit("inclusive", self.middle)
        scan = self.config.scan
        reach = (scan.sr_bins + 2 * scan.sb_bins) * np.log(scan.high / scan.low) / scan.bins  # the width of a window
        return resampled_masses(mass, self.edges, reach, options, generator)


def selected_of(setting: Setting, job: ScoreJob, window: Window) -> Selected | None:
    """Scores of a finished unit, for a look at this window; None where the unit was skipped."""
    found = load_scores(job)
    if found.skipped:
        return None
    from resonaut.analysis.scoring import possible_cuts

    mass = np.asarray(read_table(job.table, columns=[job.variable])[job.variable], dtype=np.float64)[found.rows]
    if job.window is None:
        mass = setting.new_masses(mass, job.method.title)
    cuts = tuple(possible_cuts(setting.config, len(mass)))
    made = (mass, found.scores, found.fold, cuts, setting.edges, job.window is None)
    return Selected(job.method.title, window, *made)
