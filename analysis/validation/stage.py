"""The validation of a search: all checks, their figures, one verdict and one diagnosis."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from resonaut.analysis.blinding import blind_state, config_hash
from resonaut.analysis.config import SearchConfig
from resonaut.analysis.events import EventStage, event_stage, simulation_stage
from resonaut.analysis.plots.canvas import Drawn, save_figure
from resonaut.analysis.progress import progress_bar
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.scoring import score_jobs, score_stage
from resonaut.analysis.signals import SignalSample, signal_samples
from resonaut.analysis.validation.background import background_stage
from resonaut.analysis.validation.checks import WORST, Check, worst
from resonaut.analysis.validation.contamination import contamination_check
from resonaut.analysis.validation.correlation import feature_check, joint_check, score_check
from resonaut.analysis.validation.leakage import leakage_check, twins_check
from resonaut.analysis.validation.pseudo import pseudo_stage
from resonaut.analysis.validation.pseudo_checks import pseudo_checks
from resonaut.analysis.validation.setting import Setting, chosen_windows, honest_search
from resonaut.analysis.validation.spectra_checks import (
    closure_check,
    efficiency_check,
    inclusive_check,
    sculpting_check,
)
from resonaut.analysis.validation.stability import stability_checks
from resonaut.analysis.validation_config import ValidationConfig
from resonaut.errors import ConfigError
from resonaut.files import digest, finite_or_none, read_json, write_json
from resonaut.processors.running.fingerprint import content_digest

__all__ = ("SCHEMA", "current_validation", "is_of", "run_validation", "validation_stage")

logger = logging.getLogger(__name__)
SCHEMA = "resonaut.validation/1"

Result = tuple[Check, Drawn | None]

CAUSES = (
    "twins", "fold_leakage", "feature_correlation", "joint_correlation", "background_bump", "sculpting_efficiency",
    "sculpting_fit", "closure", "pseudo_mean", "pseudo_width", "pseudo_uniformity", "stability_seeds",
    "stability_folds", "stability_features", "score_correlation", "contamination",
)  # fmt: skip
"""Checks from causes to what follows from them: of several that are red, the first is the diagnosis."""


def _steps(setting: Setting) -> list[Callable[[], Sequence[Result]]]:
    return [
        lambda: [inclusive_check(setting)],
        lambda: [feature_check(setting)],
        lambda: [joint_check(setting)],
        lambda: [score_check(setting)],
        lambda: [twins_check(setting)],
        lambda: [leakage_check(setting)],
        lambda: [sculpting_check(setting)],
        lambda: [efficiency_check(setting)],
        lambda: [closure_check(setting)],
        lambda: stability_checks(setting),
        lambda: [contamination_check(setting)],
        lambda: pseudo_checks(setting, pseudo_stage(setting)),
    ]


def validation_stage(
    config: SearchConfig,
    base: Path,
    run: RunDirectory,
    events: EventStage,
    simulation: EventStage | None,
    samples: list[SignalSample],
) -> dict[str, Any]:
    """All checks of a run, with what `config.validation` asks for.

    Parameters
    ----------
    config
        Of the search.
    base
        Folder that relative names of files start from.
    run
        Run directory; `validation/` in it is written.
    events, simulation, samples
        The finished first stages.

    Returns
    -------
    dict
        Content of `validation.json`, see docs/validation.md.

    Raises
    ------
    ConfigError
        If every method is trained on truth labels: there is no search to check.
    """
    setting = _setting(config, base, run, events, simulation, samples)
    score_stage(setting.jobs, workers=config.workers)
    for path in setting.folder.glob("*.*"):  # figures and verdict of an earlier one; units are folders, and stay
        if path.is_file():
            path.unlink()
    steps, checks = _steps(setting), []
    with progress_bar("validation", len(steps)) as advance:
        for step in steps:
            for check, drawn in step():
                if drawn is not None:
                    save_figure(drawn, setting.folder / check.name)
                    check = check.with_figure(f"validation/{check.name}")  # noqa: PLW2901
                checks.append(check)
                logger.info("%s: %s, %s", check.name, check.verdict, check.diagnosis)
            advance(1)
    content = finite_or_none(_content(setting, base, checks))
    write_json(setting.folder / "validation.json", content)
    return dict(content)


def _setting(
    config: SearchConfig,
    base: Path,
    run: RunDirectory,
    events: EventStage,
    simulation: EventStage | None,
    samples: list[SignalSample],
) -> Setting:
    honest = honest_search(config)
    if not honest.methods:
        msg = "all methods of this config are trained on truth labels: that is a benchmark, and there is no search to validate"
        raise ConfigError(msg)
    checks = config.validation or ValidationConfig()
    windows = chosen_windows(honest, checks.windows)
    every = score_jobs(honest, run, events.table, events.key, simulation)
    jobs = [job for job in every if job.window is None or job.window in windows]
    background = background_stage(honest, base, run, jobs)
    hidden = blind_state(config, base, run.path, events.key).hidden
    return Setting(honest, checks, run, events, simulation, samples, background, jobs, windows, hidden)


def _content(setting: Setting, base: Path, checks: Sequence[Check]) -> dict[str, Any]:
    idle = [check for check in checks if not check.made and check.verdict == "green"]
    counts = {verdict: sum(check.verdict == verdict and check not in idle for check in checks) for verdict in WORST}
    counts["not made"] = len(idle)
    return {
        "schema": SCHEMA,
        "verdict": worst([check.verdict for check in checks]),
        "diagnosis": diagnosis(checks),
        "counts": counts,
        "false_alarm": setting.checks.false_alarm,
        "windows": [window.to_dict() for window in setting.windows],
        "config_hash": config_hash(setting.config, base, setting.events.key),
        "files_hash": _files_hash(setting.config, base),
        "config": setting.checks.model_dump(mode="json"),
        "checks": [check.to_dict() for check in checks],
    }


def diagnosis(checks: Sequence[Check]) -> str:
    """The cause among the worst verdicts, in a sentence."""
    level = worst([check.verdict for check in checks])
    if level == "green":
        return "no check found a fault"
    found = [check for check in checks if check.verdict == level]
    first = min(found, key=lambda check: CAUSES.index(check.name) if check.name in CAUSES else len(CAUSES))
    return first.diagnosis


def _files_hash(config: SearchConfig, base: Path) -> str:
    """Of the files that the checks read beside those of the search: signals, and background of pseudo-experiments."""
    signals = [config.resolved_signal(signal, base) for signal in config.signals]
    return digest(
        [[content_digest(str(path)) for path in each] for each in [config.resolved_background(base), *signals]]
    )


def current_validation(config: SearchConfig, base: Path, run: RunDirectory, events_key: str) -> dict[str, Any] | None:
    """`validation.json` of the run directory, if it is of this search and these events."""
    path = run.path / "validation" / "validation.json"
    if not path.is_file():
        return None
    content: dict[str, Any] = read_json(path)
    own = (config_hash(honest_search(config), base, events_key), _files_hash(config, base))
    return content if (content.get("config_hash"), content.get("files_hash")) == own else None


def is_of(content: Mapping[str, Any] | None, checks: ValidationConfig) -> bool:
    """Whether a validation was made with these settings; the names of the background's files may differ, see `current_validation`."""
    return content is not None and _settings(content["config"]) == _settings(checks.model_dump(mode="json"))


def _settings(checks: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in checks.items() if key != "background"}


def run_validation(config: SearchConfig, base: Path, out: Path) -> Path:
    """Validate a search, or finish a validation that was interrupted.

    Parameters
    ----------
    config
        Of the search.
    base
        Folder that relative names of files start from.
    out
        Run directory; it may be that of the search, before or after it has run.

    Returns
    -------
    Path
        `validation.json`.
    """
    run = RunDirectory(out.absolute())
    with run.lock():
        base = base.absolute()
        events, simulation = event_stage(config, base, run), simulation_stage(config, base, run)
        validation_stage(config, base, run, events, simulation, signal_samples(config, base, run))
    return run.path / "validation" / "validation.json"
