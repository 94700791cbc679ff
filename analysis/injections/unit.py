"""One unit of a campaign: inject, train, cut, fit, set the limit; only the numbers are kept."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.analysis.config import SearchConfig
from resonaut.analysis.injections.grid import MOST, InjectionJob
from resonaut.analysis.limits import limit_cuts
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.scoring import ScoreJob, load_scores, possible_cuts, score_jobs, score_stage
from resonaut.analysis.seeds import seed_for
from resonaut.analysis.signal_limits import FEW, signal_of
from resonaut.analysis.spectra import INCLUSIVE, fit_options
from resonaut.analysis.systematics import SignalSpectra, fold_shares
from resonaut.errors import InputError, ResonautError
from resonaut.files import write_json
from resonaut.models import CrossFit, Sample
from resonaut.models.cuts import fold_thresholds
from resonaut.processors import read_table, table_columns, write_table
from resonaut.processors.variations import NOMINAL
from resonaut.stats import ScanInput, Window, limit_scan, local_p_value, log_edges, make_spectrum

__all__ = ("run_unit",)

Arrays = dict[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float64]


def _injected(
    job: InjectionJob, weight: Floats, generator: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of the signal's table that go into the data, and those that no one looked at.

    The rows are gone through in random order and taken with a chance in proportion to their weights, each at most once, until
    there are enough. So both parts follow the weights: what is not looked at was not chosen by them.

    Of `events` that are produced the file holds the part that its cuts left, so that the number of those injected has a
    Poisson law in the data but is set to its mean here: the campaign asks what a search finds with so many.
    """
    order = generator.permutation(len(weight))
    taken = generator.random(len(weight)) * weight.max() < weight[order]
    if job.events is None:
        looked = int(MOST * len(weight))
    else:
        wanted = round(job.events * weight.sum() / job.sample.generated)
        looked = int(np.searchsorted(np.cumsum(taken), wanted)) + 1 if wanted else 0
        if looked >= len(weight):
            msg = f"{job.sample.config.name}: {wanted} events are to be injected, which leaves none for the efficiency: give more files"
            raise InputError(msg)
    return np.sort(order[:looked][taken[:looked]]), np.sort(order[looked:])


def _mix(job: InjectionJob, path: Path) -> tuple[int, Arrays]:
    """Write the table of the data with the signal in it; the number of the data's events, and the rest of the signal."""
    signal = read_table(job.sample.table)
    nominal = {name: np.asarray(signal[name]) for name in signal.fields}
    weight = nominal["weight"].astype(np.float64)
    inside, rest = _injected(job, weight, np.random.default_rng(seed_for(job.config.seed, "which signal events")))
    columns = [name for name in table_columns(job.data.table) if name in nominal and name != "label"]
    data = read_table(job.data.table, columns=columns)
    mixed: Arrays = {}
    for name in columns:
        values = np.asarray(data[name])
        more = np.ones(len(inside)) if name == "weight" else nominal[name][inside]
        mixed[name] = np.concatenate([values, more.astype(values.dtype)])
    mixed["label"] = np.repeat(np.array([0, 1], dtype=np.int8), [len(data), len(inside)])
    write_table(path, mixed)
    return len(data), {name: values[rest] for name, values in nominal.items()}


@dataclass(frozen=True)
class _Cut:
    """What a cut leaves: spectra of all events and of the data among them, signal events in the signal region, the signal."""

    everything: Any
    data: Any
    found: int
    signal: SignalSpectra


def _cuts(job: InjectionJob, scores: ScoreJob, table: Path, n_data: int, rest: Arrays) -> dict[float, _Cut]:
    """All cuts of the method, and 1, no cut."""
    names = (job.config.variable, "weight")
    columns = read_table(table, columns=list(names))
    mass, weight = (np.asarray(columns[name], dtype=np.float64) for name in names)
    kept = {1.0: np.ones(len(mass), dtype=bool)}
    found = load_scores(scores)
    thresholds = {}
    if not found.skipped:
        # a reference is trained on far more signal than there could be in the data: its cuts are set without it
        counted = (
            weight[found.rows] if job.events is not None else np.where(found.rows < n_data, weight[found.rows], 0.0)
        )
        for cut in possible_cuts(job.config, counted.sum()):
            thresholds[cut] = fold_thresholds(found.scores, found.fold, cut, counted)
            lowest = np.array([thresholds[cut][fold] for fold in range(scores.folds)])[found.fold]
            kept[cut] = np.zeros(len(mass), dtype=bool)
            kept[cut][found.rows[found.scores >= lowest]] = True
    signal = _signal_spectra(job, scores, thresholds, rest)
    edges = log_edges(job.config.scan.low, job.config.scan.high, job.config.scan.bins)
    is_data, inside = np.arange(len(mass)) < n_data, job.window.in_signal_region(mass)
    return {
        cut: _Cut(
            make_spectrum(mass[mask], edges, weight[mask]),
            make_spectrum(mass[mask & is_data], edges, weight[mask & is_data]),
            int(np.count_nonzero(mask & inside & ~is_data)),
            signal[cut],
        )
        for cut, mask in kept.items()
    }


def _signal_spectra(
    job: InjectionJob, scores: ScoreJob, thresholds: dict[float, dict[int, float]], rest: Arrays
) -> dict[float, SignalSpectra]:
    """The signal that was not injected after each cut, in parts of all produced events that it stands for."""
    edges = log_edges(job.config.scan.low, job.config.scan.high, job.config.scan.bins)
    mass, weight = rest[job.config.variable], rest["weight"].astype(np.float64)
    whole = read_table(job.sample.table, columns=["weight"])["weight"]
    generated = job.sample.generated * float(weight.sum() / np.sum(np.asarray(whole)))
    inside = (mass >= edges[0]) & (mass < edges[-1])
    shares = {1.0: inside.astype(np.float64)}
    if thresholds:
        names = scores.features
        inside = inside & np.all([np.isfinite(rest[name]) for name in names], axis=0)
        sample = Sample(np.stack([rest[name][inside] for name in names], axis=1), names, mass[inside])
        for cut, share in fold_shares(CrossFit.load(scores.folder / "scorer"), sample, thresholds).items():
            shares[cut] = np.zeros(len(mass))
            shares[cut][inside] = share
    found = {}
    for cut, share in shares.items():
        nominal, squares = (np.histogram(mass, edges, weights=(weight * share) ** power)[0] for power in (1, 2))
        found[cut] = SignalSpectra(edges, {NOMINAL: np.maximum(nominal, 0.0) / generated}, squares / generated**2)
    return found


def _excess(job: InjectionJob, selection: ScanInput) -> dict[str, Any]:
    try:
        found = local_p_value(selection.spectrum, job.window, **fit_options(job.config, selection)._asdict())
    except ResonautError as error:
        return {"status": str(error)}
    return {
        "observed": found.observed, "expected": found.expected, "expected_error": found.expected_error,
        "local_p": found.local_p, "local_significance": found.local_significance, "status": found.fit.status,
    }  # fmt: skip


def _limit(job: InjectionJob, selection: ScanInput, spectra: SignalSpectra) -> dict[str, Any]:
    """Limit on the number of produced events: that on the selected ones over the efficiency in the fitted bins."""
    options = fit_options(job.config, selection)
    edges = spectra.edges
    low, high = options.fit_range or (edges[0], edges[-1])
    fitted = (edges[:-1] >= low * (1 - 1e-9)) & (edges[1:] <= high * (1 + 1e-9))
    efficiency = float(spectra.nominal[fitted].sum())
    # number of unweighted events with the same relative statistical error
    effective = efficiency**2 / float(spectra.variance[fitted].sum()) if efficiency > 0 else 0.0
    if effective < FEW:
        why = f"failed: {effective:.1f} simulated events are left after the cut, too few for a template"
        return {"status": why, "observed": None, "expected": None}
    template = signal_of(spectra, job.sample.config)
    mass = job.sample.config.mass
    (limit,) = limit_scan(selection.spectrum, [mass], lambda _mass, _edges: template, **options._asdict())
    if not limit.ok:
        return {"status": limit.status, "observed": None, "expected": None}
    expected = [value / efficiency for value in limit.expected]
    return {"status": "ok", "observed": limit.observed / efficiency, "expected": expected}


def run_unit(job: InjectionJob) -> str:
    """Do the work of one unit unless it is done."""

    def work(folder: Path) -> None:
        table = folder / "events.parquet"
        n_data, rest = _mix(job, table)
        search = RunDirectory(folder / "search")
        every = score_jobs(_only(job.config, job.window), search, table, job.key, job.simulation)
        (scores,) = (each for each in every if each.window in (None, job.window))
        score_stage([scores], workers=1)
        rows = [_row(job, cut, found) for cut, found in _cuts(job, scores, table, n_data, rest).items()]
        write_json(folder / "result.json", {"rows": rows, "skipped": load_scores(scores).skipped})
        shutil.rmtree(search.path)
        table.unlink()

    job.unit.make(work)
    return f"{job.sample.config.name} with {job.method.title}: {job.unit.seconds:.0f} s"


def _only(config: SearchConfig, window: Window) -> SearchConfig:
    """The config of a scan of this window, and of those that overlap with its centre."""
    centre = float(np.sqrt(window.low * window.high))
    return config.model_copy(update={"scan": config.scan.model_copy(update={"only": (centre,)})})


def _row(job: InjectionJob, cut: float, found: _Cut) -> dict[str, Any]:
    method = INCLUSIVE if cut == 1.0 else job.method.title
    everything, data = (ScanInput(job.window, method, cut, each) for each in (found.everything, found.data))
    return {
        "method": method,
        "cut": cut,
        "signal": found.found,
        "efficiency": found.signal.efficiency,
        "efficiency_error": found.signal.efficiency_error,
        "excess": None if job.events is None else _excess(job, everything),
        "limit": _limit(job, data, found.signal) if cut in limit_cuts(job.config) else None,
    }
