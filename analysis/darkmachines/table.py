"""The results of a run as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from resonaut.analysis.darkmachines.published import PUBLISHED

__all__ = ("markdown",)


def markdown(results: Mapping[str, Any]) -> str:
    """All tables of a run, for reading and for pasting."""
    parts = [
        "# Dark Machines anomaly score challenge",
        _preamble(results),
        "## Total improvement over signals",
        "SI = largest eS / sqrt(eB) over the background efficiencies that could be measured; TI = largest SI over channels.",
        _improvements(results["improvements_signal"], results),
        *_secret(results),
        "## Findings of the papers",
        _findings(results),
        "## Significance improvement of each signal",
        *[_by_signal(results, channel) for channel in results["channels"]],
        "## AUC of each signal",
        *[_by_signal(results, channel, "auc", digits=3) for channel in results["channels"]],
        "## Correlations of uniform scores, background test events",
        *[_correlations(results, channel) for channel in results["channels"]],
        "## Costs of training",
        _costs(results),
        "## Published (other data: the events of the challenge)",
        PUBLISHED["source"],
        _published(),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def shown(results: Mapping[str, Any]) -> list[str]:
    """Variants that have a row: the members of an ensemble have one together."""
    return [name for name in results["scores"] if "member" not in name]


def _preamble(results: Mapping[str, Any]) -> str:
    rows = []
    for channel, facts in results["channels"].items():
        signals = facts["signals"] or facts["secret"]
        measured = ", ".join(f"{eb:g}" for eb in facts["measurable"]) or "none"
        skipped = sum(sum(each["skipped"].values()) for each in facts["ledger"].values())
        outside = sum(each["outside channel"] for each in facts["ledger"].values())
        rows.append(
            [channel, str(facts["training"]), str(facts["test"]), str(len(signals)), measured, f"{skipped} / {outside}"]
        )
    head = ("channel", "training", "test", "signals", "eB measured", "skipped / outside")
    return f"Size: {results['protocol']['size']}.\n\n{_table(head, rows)}"


def _improvements(improvements: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    rows = []
    for name in shown(results):
        found = improvements[name]
        if found["signals"]:
            rows.append([name, *(f"{found[which]:.2f}" for which in ("min", "median", "max"))])
    members = [found for name, found in improvements.items() if "member" in name and found["signals"]]
    if members:
        cells = []
        for which in ("min", "median", "max"):
            values = sorted(each[which] for each in members)
            cells.append(f"{values[0]:.2f} - {values[-1]:.2f}")
        rows.append([f"{len(members)} single Deep SVDDs", *cells])
    return _table(("entry", "min TI", "median TI", "max TI"), rows)


def _secret(results: Mapping[str, Any]) -> list[str]:
    if not any(found["signals"] for found in results["improvements_secret"].values()):
        return []
    return ["## Total improvement over secret signals", _improvements(results["improvements_secret"], results)]


def _findings(results: Mapping[str, Any]) -> str:
    rows = [
        [
            each["statement"],
            f"{each['published']} ({each['source']})",
            each["here"],
            "yes" if each["reproduced"] else "no",
        ]
        for each in results["findings"]
    ]
    return _table(("finding", "published", "here", "reproduced"), rows)


def _by_signal(results: Mapping[str, Any], channel: str, figure: str = "si", digits: int = 2) -> str:
    facts = results["channels"][channel]
    roles = [f"signal/{name}" for name in facts["signals"]] + [f"secret/{name}" for name in facts["secret"]]
    rows = []
    for name in shown(results):
        measured = results["scores"][name].get(channel, {})
        values = [measured.get(role, {}).get(figure) for role in roles]
        rows.append([name, *("-" if value is None else f"{value:.{digits}f}" for value in values)])
    return _table((f"channel {channel}", *(role.partition("/")[2] for role in roles)), rows)


def _correlations(results: Mapping[str, Any], channel: str) -> str:
    found = results["correlations"][channel]
    rows = [
        [name, *("-" if x is None else f"{x:.2f}" for x in row)]
        for name, row in zip(found["names"], found["pearson"], strict=True)
    ]
    return _table((f"channel {channel}", *found["names"]), rows)


def _costs(results: Mapping[str, Any]) -> str:
    channels = list(results["channels"])
    entries = list(dict.fromkeys(name for channel in channels for name in results["costs"][channel]))
    rows = []
    for name in entries:
        each = [results["costs"][channel].get(name) for channel in channels]
        devices = sorted({cost["device"] for cost in each if cost})
        rows.append([name, *("-" if cost is None else f"{cost['seconds']:.0f} s" for cost in each), ", ".join(devices)])
    return _table(("entry", *(f"channel {channel}" for channel in channels), "device"), rows)


def _published() -> str:
    rows = []
    for name, each in PUBLISHED["submissions"].items():
        cells = [*each["hackathon"], *(each["secret"] or [None] * 3)]
        rows.append([name, *("-" if value is None else f"{value:.2f}" for value in cells)])
    head = ("submission", "min TI", "median TI", "max TI", "secret: min SI", "median SI", "max SI")
    return _table(head, rows)
