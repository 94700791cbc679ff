"""A signal after the cuts of the search: its mass spectrum without and with each systematic variation, and its efficiency.

The data are cut out of fold: the events of fold k by the scorer that never saw them, at the threshold that keeps a fraction
of fold k. A signal event in the data would be in each fold equally likely, so that its chance to be selected is the share of
the folds whose scorer gives it at least that fold's threshold. Simulated signal events count with that share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.analysis.config import SearchConfig
from resonaut.analysis.parallel import map_unordered
from resonaut.analysis.progress import progress_bar
from resonaut.analysis.rundir import RunDirectory, Unit
from resonaut.analysis.scoring import ScoreJob, load_scores, possible_cuts, search_windows
from resonaut.analysis.signals import SignalSample, signal_window
from resonaut.analysis.spectra import INCLUSIVE
from resonaut.errors import ConfigError, InputError, unknown_name
from resonaut.files import digest, read_json, write_json
from resonaut.models import CrossFit, Sample
from resonaut.models.cuts import fold_thresholds
from resonaut.processors import read_all_variations, read_table, variation
from resonaut.processors.variations import NOMINAL, SELECTED, variations_of, varied
from resonaut.stats import Window, log_edges

__all__ = ("SignalSpectra", "TemplateJob", "fold_shares", "load_templates", "template_jobs", "template_stage")

Floats = npt.NDArray[np.float64]
UP, DOWN = "_up", "_down"


@dataclass(frozen=True, eq=False)
class SignalSpectra:
    """Mass spectra of a signal after one cut, in parts of all generated events.

    Parameters
    ----------
    edges : (bins + 1,) GeV.
    spectra : {variation: (bins,)}, "nominal" among them: acceptance x efficiency in each bin.
    variance : (bins,) of the nominal one, from the number of simulated events.
    clipped : bins that negative weights made negative, in any variation; they are 0.
    """

    edges: Floats
    spectra: Mapping[str, Floats]
    variance: Floats
    clipped: int = 0

    @property
    def nominal(self) -> Floats:
        """The spectrum without variation."""
        return self.spectra[NOMINAL]

    @property
    def efficiency(self) -> float:
        """Part of all events that is selected, in the mass range of the spectrum."""
        return float(self.nominal.sum())

    @property
    def efficiency_error(self) -> float:
        """Standard deviation of the efficiency from the number of simulated events; binomial for weights of 1."""
        return float(np.sqrt(self.variance.sum() * max(1.0 - self.efficiency, 0.0)))

    @property
    def nuisances(self) -> dict[str, tuple[Floats, Floats]]:
        """{name: (down, up)} spectra of each nuisance parameter that changes anything.

        Raises
        ------
        InputError
            If one has a variation in one direction only.
        """
        found = {}
        for name in dict.fromkeys(v.removesuffix(UP).removesuffix(DOWN) for v in self.spectra if v != NOMINAL):
            if not {name + UP, name + DOWN} <= set(self.spectra):
                msg = (
                    f"the signal's table has variations {sorted(self.spectra)}, expected {name + UP} and {name + DOWN}"
                )
                raise InputError(msg)
            pair = self.spectra[name + DOWN], self.spectra[name + UP]
            if not all(np.allclose(each, self.nominal, rtol=1e-9, atol=0) for each in pair):
                found[name] = pair
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON."""
        spectra = {name: values.tolist() for name, values in self.spectra.items()}
        return {
            "edges": self.edges.tolist(),
            "spectra": spectra,
            "variance": self.variance.tolist(),
            "clipped": self.clipped,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SignalSpectra:
        """Inverse of `to_dict`."""
        spectra = {name: np.array(values, dtype=np.float64) for name, values in content["spectra"].items()}
        return cls(np.array(content["edges"]), spectra, np.array(content["variance"]), content["clipped"])


@dataclass(frozen=True)
class TemplateJob:
    """Spectra of one signal after all cuts of one method, or without a cut: everything that they depend on."""

    sample: SignalSample
    scores: ScoreJob | None  # None: no cut
    data: Path
    window: Window
    folder: Path
    key: str
    variable: str
    scan: tuple[float, float, int]
    cuts: tuple[float, ...]

    @property
    def method(self) -> str:
        return self.scores.method.title if self.scores else INCLUSIVE

    @property
    def unit(self) -> Unit:
        return Unit(self.folder, self.key)


def template_jobs(
    config: SearchConfig, run: RunDirectory, samples: Sequence[SignalSample], jobs: Sequence[ScoreJob], data: Path
) -> tuple[list[TemplateJob], list[str]]:
    """Units of the stage, and what is wrong with signals that have none.

    Parameters
    ----------
    config, run : of the search.
    samples : the signals.
    jobs : the finished trainings.
    data : event table of the data, on which the cuts are set.
    """
    windows = search_windows(config)
    scan = (config.scan.low, config.scan.high, config.scan.bins)
    weight = np.asarray(read_table(data, columns=["weight"])["weight"], dtype=np.float64)
    found, warnings = [], []
    for sample in samples:
        window = signal_window(sample.config.mass, windows)
        if window is None:
            where = f"{windows[0].low:.0f} to {windows[-1].high:.0f} GeV"
            warnings.append(
                f"signal {sample.config.name}: {sample.config.mass:g} GeV lies in no window of {where}: no limit"
            )
            continue
        if not window.low <= sample.config.mass < window.high:
            warnings.append(
                f"signal {sample.config.name}: {sample.config.mass:g} GeV lies in no signal region; it is selected as in "
                f"{window}, in whose sideband it is"
            )
        for job in [None, *(job for job in jobs if job.window in (None, window))]:
            cuts: tuple[float, ...] = (1.0,)
            if job is not None:
                scores = load_scores(job)
                if scores.skipped:
                    continue  # counted among the warnings of the run
                cuts = tuple(possible_cuts(config, float(weight[scores.rows].sum())))
            title = job.method.title if job else INCLUSIVE
            key = digest(
                sample.key,
                sample.config.generated,
                job.key if job else "",
                window.to_dict(),
                config.variable,
                scan,
                cuts,
            )
            folder = run.path / "signals" / sample.config.name / "templates" / title
            found.append(TemplateJob(sample, job, data, window, folder, key, config.variable, scan, cuts))
    return found, warnings


def fold_shares(
    scorer: CrossFit, sample: Sample, thresholds: Mapping[float, Mapping[int, float]]
) -> dict[float, Floats]:
    """Share (n,) of the folds whose scorer selects an event, for each cut.

    Parameters
    ----------
    scorer : of the search.
    sample : n events that took no part in it.
    thresholds : {cut: {fold: lowest score}}.
    """
    shares = {cut: np.zeros(len(sample)) for cut in thresholds}
    for number, one in enumerate(scorer.scorers):
        scores = one.score(sample) if len(sample) else np.zeros(0)
        for cut, lowest in thresholds.items():
            shares[cut] += scores >= lowest[number]
    return {cut: share / len(scorer.scorers) for cut, share in shares.items()}


def _thresholds(job: TemplateJob) -> dict[float, dict[int, float]]:
    """The cuts of the data: lowest score of each fold, set as `resonaut.models.select` sets it."""
    assert job.scores is not None
    scores = load_scores(job.scores)
    weight = np.asarray(read_table(job.data, columns=["weight"])["weight"], dtype=np.float64)[scores.rows]
    return {cut: fold_thresholds(scores.scores, scores.fold, cut, weight) for cut in job.cuts}


def _inside(job: TemplateJob, table: Mapping[str, npt.NDArray[Any]]) -> tuple[npt.NDArray[np.bool_], int]:
    """Events in the mass range that can be scored, and the number of those that cannot."""
    mass = table[job.variable]
    inside = (mass >= job.scan[0]) & (mass < job.scan[1])
    features = job.scores.features if job.scores else ()
    for name in features:
        if name not in table:
            raise InputError(
                unknown_name(f"feature of {job.method}, not in the signal {job.sample.config.name}:", name, table)
            )
    complete = np.all([np.ones(len(inside), bool), *(np.isfinite(table[name]) for name in features)], axis=0)
    return inside & complete, int(np.count_nonzero(inside & ~complete))


def _shares(job: TemplateJob, table: Mapping[str, npt.NDArray[Any]], how: Any) -> tuple[dict[float, Floats], int]:
    """Chance (n,) of each event of a view to be selected, by cut; and the number of those that cannot be scored."""
    inside, unscored = _inside(job, table)
    if job.scores is None:
        return {1.0: inside.astype(np.float64)}, 0
    scorer, thresholds = how
    names = job.scores.features
    sample = Sample(np.stack([table[n][inside] for n in names], axis=1), names, table[job.variable][inside])
    shares = {cut: np.zeros(len(inside)) for cut in job.cuts}
    for cut, share in fold_shares(scorer, sample, thresholds).items():
        shares[cut][inside] = share
    return shares, unscored


def _work(job: TemplateJob) -> str:
    def work(folder: Path) -> None:
        edges = log_edges(*job.scan)
        how = None if job.scores is None else (CrossFit.load(job.scores.folder / "scorer"), _thresholds(job))
        whole = read_all_variations(job.sample.table)
        table = {name: np.asarray(whole[name]) for name in whole.fields}
        spectra: dict[float, dict[str, Floats]] = {cut: {} for cut in job.cuts}
        nominal = variation(table)
        shares, unscored = _shares(job, nominal, how)
        kept = {cut: _spectrum(job, nominal, share, edges, power=2) for cut, share in shares.items()}
        for name in (NOMINAL, *variations_of(table)):
            seen = variation(table, name)
            moved = varied(SELECTED, name) in table and name != NOMINAL  # else the same events, with other weights
            chosen = _shares(job, seen, how)[0] if moved else shares
            for cut in job.cuts:
                spectra[cut][name] = _spectrum(job, seen, chosen[cut], edges) * job.sample.rescale(name)
        result = {f"{cut:g}": _spectra(job, edges, spectra[cut], kept[cut]).to_dict() for cut in job.cuts}
        write_json(folder / "templates.json", {"cuts": result, "unscored": unscored})

    job.unit.make(work)
    return f"{job.sample.config.name} with {job.method}"


def _spectrum(
    job: TemplateJob, table: Mapping[str, npt.NDArray[Any]], share: Floats, edges: Floats, power: int = 1
) -> Floats:
    weights = (np.asarray(table["weight"], dtype=np.float64) * share) ** power
    return np.histogram(table[job.variable], edges, weights=weights)[0].astype(np.float64)


def _spectra(job: TemplateJob, edges: Floats, spectra: Mapping[str, Floats], squares: Floats) -> SignalSpectra:
    generated = job.sample.generated
    clipped = sum(int(np.count_nonzero(values < 0)) for values in spectra.values())
    parts = {name: np.maximum(values, 0.0) / generated for name, values in spectra.items()}
    found = SignalSpectra(edges, parts, squares / generated**2, clipped)
    if found.efficiency > 1 + 1e-9:  # sums of weights that are all selected may differ in their last digits
        msg = (
            f"signal {job.sample.config.name}: {found.efficiency:.3g} times the generated weight is selected; "
            f"generated = {generated:g} is too small, or a correction multiplies by cross-section or luminosity"
        )
        raise ConfigError(msg)
    return found


def template_stage(jobs: Sequence[TemplateJob], *, workers: int) -> None:
    """Score the signals and fill their spectra, where that is not done yet."""
    todo = [job for job in jobs if not job.unit.done]
    if todo:
        with progress_bar("signal efficiencies", len(todo)) as advance:
            for _ in map_unordered(_work, todo, workers=workers):
                advance(1)


def load_templates(job: TemplateJob) -> tuple[dict[float, SignalSpectra], int]:
    """Spectra by cut of a finished unit, and the number of events that lack a feature."""
    content = read_json(job.folder / "templates.json")
    found = {cut: SignalSpectra.from_dict(content["cuts"][f"{cut:g}"]) for cut in job.cuts}
    return found, int(content["unscored"])
