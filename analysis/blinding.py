"""A blinded search: what is hidden while it is, and the record of who looked when.

Blinding is against being led by the data, not against someone who wants to look: events and scores lie in the run directory.
What is hidden are the observed events in every bin that belongs to a signal region of the scan, and all that is made of them:
counts, p-values, observed limits. The predictions of fits and the limits that they lead to expect are shown. Limits are then set on
spectra whose hidden bins hold the prediction, so that no file of them holds what was observed.
"""

from __future__ import annotations

import getpass
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut import __version__
from resonaut.analysis.config import SearchConfig
from resonaut.analysis.direct import DirectEntry
from resonaut.analysis.scoring import search_windows
from resonaut.errors import ConfigError, InputError
from resonaut.files import digest, finite_or_none, read_json, write_json
from resonaut.processors.running.fingerprint import content_digest
from resonaut.stats import ExcessResult, LimitResult, ScanInput, ScanResult, log_edges
from resonaut.stats.regions import bins_overlapping

__all__ = (
    "BLINDED",
    "BlindState",
    "blind_direct",
    "blind_limits",
    "blind_pairs",
    "blind_scan",
    "blind_selections",
    "blind_signals",
    "blind_state",
    "config_hash",
    "hidden_bins",
    "record_unblinding",
    "require_blind",
    "require_reason",
    "require_verdict",
    "write_blinded",
)

SCHEMA = "resonaut.unblinding/1"
BLINDED = "blinded"
_FILE = "unblinding.json"
_MARK = "blinded.json"
_NOT_PHYSICS = ("workers", "blind", "validation", "injections")

Pairs = Sequence[tuple[ScanInput, ExcessResult]]


@dataclass(frozen=True)
class BlindState:
    """Whether the data of a run are hidden now, and the record that opened them, None where there is none."""

    hidden: bool
    record: dict[str, Any] | None
    earlier: int = 0

    @property
    def warnings(self) -> list[str]:
        """What a reader has to know: who looked and why, and that the data were seen before this config was written."""
        found = []
        if self.record:
            made = self.record["validation"]
            verdict = f"the validation was {made['verdict']}" if made else "there was no validation"
            forced = ", and it was forced" if self.record["forced"] else ""
            who, when, reason = (self.record[key] for key in ("who", "when", "reason"))
            found.append(f"unblinded by {who} at {when}: {reason!r}; {verdict} then{forced}")
        if self.earlier:
            times = "once" if self.earlier == 1 else f"{self.earlier} times"
            found.append(
                f"this run was unblinded {times} with another config or other events (unblinding.json): the data have been seen"
            )
        return found


def config_hash(config: SearchConfig, base: Path, events_key: str) -> str:
    """Hash of what an unblinding allows: the search and its events, not how it is run.

    Parameters
    ----------
    config
        Of the search.
    base
        Folder that relative names of files start from.
    events_key
        Hash of the events, of the first stage.
    """
    content = {key: value for key, value in config.described(base).items() if key not in _NOT_PHYSICS}
    content["input"] = {key: value for key, value in content["input"].items() if key not in ("executor", "files")}
    content["input"]["simulation"] = [content_digest(str(path)) for path in config.resolved_simulation(base)]
    return digest(content, events_key)


def _records(run: Path) -> list[dict[str, Any]]:
    path = run / _FILE
    if not path.exists():
        return []
    content = read_json(path)
    if not isinstance(content, Mapping) or content.get("schema") != SCHEMA:
        msg = f"{path} is not a record of unblindings ({SCHEMA}): put back the one that resonaut wrote"
        raise InputError(msg)
    return list(content["unblindings"])


def blind_state(config: SearchConfig, base: Path, run: Path, events_key: str) -> BlindState:
    """Whether what a run observes is to be hidden: its config says so, and no record allows this config with these events.

    A run directory that is blind is marked (`blinded.json`), see `require_blind`.
    """
    require_blind(config, run)
    if config.blind and not (run / _MARK).exists():
        write_json(run / _MARK, {"schema": "resonaut.blinded/1", "since": _now()})
    own = config_hash(config, base, events_key)
    records = _records(run)
    mine = [record for record in records if record["config_hash"] == own]
    others = sum(record["config_hash"] != own for record in records)
    return BlindState(config.blind and not mine, mine[-1] if mine else None, others)


def require_blind(config: SearchConfig, run: Path) -> None:
    """ConfigError where a config would open a run directory that was blind: that takes an unblinding, which is recorded."""
    if (run / _MARK).exists() and not config.blind:
        msg = (
            f"{run} holds a blinded search, and this config is not blind: put `blind: true` back and open it with `resonaut unblind`, which is "
            "recorded; another search needs another --out"
        )
        raise ConfigError(msg)


def require_reason(reason: str) -> None:
    """ConfigError where there is none."""
    if not reason.strip():
        msg = "an unblinding needs a reason that others can read: --reason 'approved in the meeting of ...'"
        raise ConfigError(msg)


def require_verdict(validation: Mapping[str, Any] | None, *, force: bool) -> None:
    """ConfigError where a validation does not allow to look, unless it is forced."""
    if force or (validation and validation["verdict"] in ("green", "amber")):
        return
    found = f"is red: {validation['diagnosis']}" if validation else "has not been made"
    msg = (
        f"the validation of this search {found}. What it would show cannot be trusted: mend the search (validation/validation.json has "
        "all checks), and validate it again; --force looks nevertheless, and is recorded"
    )
    raise ConfigError(msg)


def record_unblinding(
    run: Path, *, reason: str, own_hash: str, validation: Mapping[str, Any] | None, forced: bool
) -> dict[str, Any]:
    """Append a record to `unblinding.json`; records are never removed.

    Parameters
    ----------
    run
        Run directory.
    reason
        Why, in the words of who looks.
    own_hash
        Of the config, see `config_hash`.
    validation
        Content of `validation.json` at this moment, None where there is none.
    forced
        Whether a validation that is not passed was overruled.

    Raises
    ------
    ConfigError
        If the reason is empty.
    """
    require_reason(reason)
    record = {
        "who": f"{_user()}@{platform.node()}",
        "when": _now(),
        "reason": reason.strip(),
        "config_hash": own_hash,
        "validation": None
        if validation is None
        else {"verdict": validation["verdict"], "diagnosis": validation["diagnosis"], "counts": validation["counts"]},
        "forced": forced,
        "resonaut": __version__,
    }
    write_json(run / _FILE, {"schema": SCHEMA, "unblindings": [*_records(run), record]})
    return record


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this user id, as in containers
        return "unknown"


def hidden_bins(config: SearchConfig) -> npt.NDArray[np.bool_]:
    """Bins (bins,) of the spectrum that any signal region of the scan covers."""
    edges = log_edges(config.scan.low, config.scan.high, config.scan.bins)
    hidden = np.zeros(config.scan.bins, dtype=bool)
    for window in search_windows(config):
        hidden |= bins_overlapping(edges, window.low, window.high)
    return hidden


def blind_pairs(config: SearchConfig, pairs: Pairs) -> list[tuple[ScanInput, ExcessResult]]:
    """The blinded fits with NaN for all that was observed in hidden bins; expected events stay."""
    hidden, nan = hidden_bins(config), float("nan")
    found = []
    for selection, excess in pairs:
        fit = replace(excess.fit, counts=np.where(hidden, nan, excess.fit.counts))
        shown = replace(excess, observed=nan, local_p=nan, local_significance=nan, fit=fit)
        found.append((selection, shown))
    return found


def blind_selections(config: SearchConfig, pairs: Pairs) -> list[ScanInput]:
    """Spectra that hold the prediction of their fits in hidden bins: what limits expect without what was observed.

    The fit of a window sees the bins of other signal regions; those that cannot be fitted are left out.
    """
    hidden, found = hidden_bins(config), []
    for selection, excess in pairs:
        fit = excess.fit
        if fit.ok and np.isfinite(fit.expected[hidden]).all():
            asimov = np.where(hidden, fit.expected, fit.counts)
            found.append(replace(selection, spectrum=(asimov, fit.edges)))
    return found


def blind_scan(scan: ScanResult) -> ScanResult:
    """Entries with expected events alone."""
    nan = float("nan")
    return ScanResult(
        tuple(
            replace(e, observed=nan, local_p=nan, local_significance=nan, status=BLINDED if e.ok else e.status)
            for e in scan.entries
        )
    )


def blind_limits(limits: Sequence[LimitResult]) -> list[LimitResult]:
    """Limits with what is expected alone."""
    nan = float("nan")
    return [replace(limit, observed=nan, cls_pyhf=nan) for limit in limits]


def blind_direct(entries: Sequence[DirectEntry]) -> list[DirectEntry]:
    """Direct estimates without what was observed."""
    nan = float("nan")
    hide = {"observed": nan, "local_p": nan, "local_significance": nan}
    return [replace(entry, estimate=replace(entry.estimate, **hide)) for entry in entries]


def blind_signals(signals: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Limits on signals with what is expected alone."""
    hide = ("observed", "observed_fb", "observed_strength", "cls_pyhf")
    return [{key: None if key in hide else value for key, value in signal.items()} for signal in signals]


def write_blinded(folder: Path, pairs: Pairs, scan: ScanResult) -> None:
    """`fits.json` and `scan.json` of hidden results; no histograms, which would hold zeros that look like data."""
    from resonaut.analysis.spectra import selection_name

    folder.mkdir(parents=True, exist_ok=True)
    fits = [{"name": selection_name(s), "method": s.method, "cut": s.cut, "excess": e.to_dict()} for s, e in pairs]
    write_json(folder / "fits.json", finite_or_none(fits))
    write_json(folder / "scan.json", finite_or_none(scan.to_dict()))
