"""The default search on somebody's own files: format recognised, mass range found, everything else standard."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hist
import numpy as np
import numpy.typing as npt

from resonaut.analysis.config import ScanConfig, SearchConfig, parse_config
from resonaut.analysis.events import event_stage
from resonaut.analysis.rundir import RunDirectory
from resonaut.errors import InputError
from resonaut.files import atomic_path
from resonaut.processors import read_table
from resonaut.processors.sources.remote import is_remote
from resonaut.stats import Window, fit_background, log_edges, make_spectrum, sliding_windows

__all__ = ("find_mass_range", "hunt_config")

logger = logging.getLogger(__name__)

_BIN_RATIO = (5200 / 2800) ** (1 / 30)  # the bin width of the CWoLa search in log m: about 2 %
_MINIMUM_EVENTS = 2000
_GOOD_FIT = 0.05
_MARGIN = 2  # bins: four parameters can absorb the end of a turn-on


def _described(spectrum: hist.Hist, edges: npt.NDArray[np.float64], function: str, sqrts: float) -> bool:
    """Whether the function describes the spectrum, or all of it but one signal region.

    A resonance must not be taken for a turn-on and put outside of its own search. A turn-on cannot hide behind a blinded
    region: each has a sideband of three bins below it.
    """
    regions: list[Window | None] = [None, *sliding_windows(edges, step=2)]
    for region in regions:
        fit = fit_background(spectrum, region, function=function, sqrts=sqrts, errors="fisher")
        if fit.ok and fit.p_value > _GOOD_FIT:
            return True
    return False


def find_mass_range(mass: npt.NDArray[np.float64], *, function: str = "dijet4", sqrts: float = 13000.0) -> ScanConfig:
    """Range in which the spectrum falls smoothly, and its windows.

    The range starts at the lowest edge above the peak of the spectrum from where the background function describes the
    data (p > 0.05), one signal region aside where need be, and two bins more, so that a trigger or generator turn-on stays outside; it ends where a hundred events remain, so that
    the last window has events to learn from.

    Parameters
    ----------
    mass
        (n,) resonant mass of all events, GeV.

    Raises
    ------
    InputError
        If there are too few events, or no range is described.
    """
    mass = mass[np.isfinite(mass) & (mass > 0)]
    if len(mass) < _MINIMUM_EVENTS:
        msg = (
            f"a hunt needs at least {_MINIMUM_EVENTS} events with a mass, got {len(mass)}: "
            "give more files, or use `resonaut features` to look at these"
        )
        raise InputError(msg)
    high = min(float(np.sort(mass)[-100]), 0.95 * sqrts)
    low = float(np.quantile(mass, 0.001))
    if not low < high:
        msg = (
            f"the masses span {mass.min():.4g} to {mass.max():.4g} GeV, expected a spectrum below sqrts = {sqrts:g} GeV: is the "
            "column in MeV, or the same for all events?"
        )
        raise InputError(msg)
    bins = max(20, int(np.log(high / low) / np.log(_BIN_RATIO)))
    edges = log_edges(low, high, bins)
    counts = np.histogram(mass, edges)[0]
    start = int(np.argmax(counts / np.diff(edges))) + 1
    for first in range(start, len(edges) - 14):
        if _described(make_spectrum(mass, edges[first:]), edges[first:], function, sqrts):
            low_bin = min(first + _MARGIN, len(edges) - 15)
            return ScanConfig(low=float(edges[low_bin]), high=float(edges[-1]), bins=len(edges) - 1 - low_bin)
    msg = (
        f"no range above the peak of the spectrum ({edges[start]:.4g} GeV) is described by {function}: "
        "write a config with your own range and function (resonaut run)"
    )
    raise InputError(msg)


def _inputs(files: tuple[str, ...], out: Path) -> tuple[str, ...]:
    """Names for a config: whole paths, or, where some are URLs, one list of all of them in the run directory."""
    absolute = tuple(name if is_remote(name) else str(Path(name.removeprefix("@")).resolve()) for name in files)
    if not any(is_remote(name) for name in absolute):
        return absolute
    path = out.absolute() / "inputs.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in absolute))
    return (str(path),)


def hunt_config(
    files: tuple[str, ...],
    out: Path,
    *,
    name: str,
    seed: int,
    workers: int,
    resonance: str | None = None,
    variable: str | None = None,
    features: tuple[str, ...] = (),
    columns: Mapping[str, Any] | None = None,
) -> SearchConfig:
    """Config of the default search on `files`; processes the events, which `run_search` then finds done.

    Parameters
    ----------
    resonance
        Name of one of `RESONANCES`; two large-R jets by default.
    variable
        Column with the resonant variable, GeV; that of the resonance by default.
    features
        Columns that the method learns from; its own defaults, which are of dijets, where there are none.
    columns
        Column map of flat ntuples, see `ColumnMap.from_dict`.

    Raises
    ------
    ConfigError
        If the resonance is not known, or the mass is among the features.
    InputError
        If the files cannot be used, or no mass range is found.
    """
    absolute = _inputs(files, out)
    content: dict[str, Any] = {"name": name, "seed": seed, "workers": workers}
    content["input"] = {"files": absolute, "resonance": resonance, "columns": columns}
    content["scan"] = {"low": 1, "high": 2, "variable": variable}
    if features:
        content["methods"] = [{"name": "cwola-trees", "features": features}]
    draft = parse_config(content, "the search of these options")
    run = RunDirectory(out.absolute())
    with run.lock():
        stage = event_stage(draft, Path(os.sep), run)
    mass = np.asarray(read_table(stage.table, columns=[draft.variable])[draft.variable], dtype=float)
    scan = find_mass_range(mass).model_copy(update={"variable": variable})
    logger.info("mass range %.4g-%.4g GeV in %d bins", scan.low, scan.high, scan.bins)
    return draft.model_copy(update={"scan": scan})
