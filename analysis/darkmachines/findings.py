"""What the papers found, held against the numbers of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ("findings",)

_FLOW, _ENSEMBLE, _SETS = "flow", "deep-svdd avg", "deep-sets"
_COMBINED = tuple(f"deep-svdd+flow {how}" for how in ("and", "or", "prod", "avg"))


def findings(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Statements of the papers with what was found here; those whose scorers did not take part are left out.

    Each has ``statement``, ``source``, ``published``, ``here`` (words) and ``reproduced`` (True, False).
    """
    ti = {name: found for name, found in content["improvements_signal"].items() if found["signals"]}
    parts = [
        _ensemble(ti),
        _member_correlation(content),
        _low_correlation(content),
        _best_maximum(ti),
        _flow_is_robust(ti),
        _no_decoder(ti),
        _weight_of_kinds(ti),
    ]
    return [part for part in parts if part is not None]


def _finding(statement: str, source: str, published: str, here: str, *, reproduced: bool) -> dict[str, Any]:
    return {"statement": statement, "source": source, "published": published, "here": here, "reproduced": reproduced}


def _ensemble(ti: Mapping[str, Any]) -> dict[str, Any] | None:
    members = [found for name, found in ti.items() if name.startswith("deep-svdd member")]
    if _ENSEMBLE not in ti or len(members) < 2:
        return None
    own = ti[_ENSEMBLE]
    beaten = {which: float(np.mean([own[which] > each[which] for each in members])) for which in ("median", "max")}
    middle = {which: float(np.median([each[which] for each in members])) for which in ("median", "max")}
    here = (
        f"median TI {own['median']:.2f}, above {100 * beaten['median']:.0f} % of the {len(members)} members (their median "
        f"{middle['median']:.2f}); max TI {own['max']:.2f}, above {100 * beaten['max']:.0f} % (median {middle['max']:.2f})"
    )
    return _finding(
        "The ensemble of Deep SVDDs is better than its members", "arXiv:2106.10164, section 6",
        "expected from correlations of 0.4-0.6 between members", here,
        reproduced=beaten["median"] > 0.5 and beaten["max"] > 0.5,
    )  # fmt: skip


def _member_correlation(content: Mapping[str, Any]) -> dict[str, Any] | None:
    found = {channel: each["members"] for channel, each in content["correlations"].items() if "members" in each}
    if not found:
        return None
    here = "; ".join(f"channel {channel}: {each['low']:.2f}-{each['high']:.2f}" for channel, each in found.items())
    middle = [each["median"] for each in found.values()]
    return _finding(
        "Deep SVDDs of an ensemble are moderately correlated", "arXiv:2106.10164, section 6", "0.4-0.6 typically",
        f"{here} (68 % of pairs)", reproduced=bool(np.all([0.4 <= each <= 0.6 for each in middle])),
    )  # fmt: skip


def _pair(content: Mapping[str, Any], one: str, other: str) -> dict[str, float]:
    found = {}
    for channel, each in content["correlations"].items():
        if one in each["names"] and other in each["names"]:
            found[channel] = each["pearson"][each["names"].index(one)][each["names"].index(other)]
    return found


def _low_correlation(content: Mapping[str, Any]) -> dict[str, Any] | None:
    found = _pair(content, _ENSEMBLE, _FLOW)
    if not found:
        return None
    here = ", ".join(f"channel {channel}: {value:.2f}" for channel, value in found.items())
    return _finding(
        "Ensemble of Deep SVDDs and flow are hardly correlated", "arXiv:2106.10164, section 6", "0.122", here,
        reproduced=bool(np.mean(list(found.values())) < 0.3),
    )  # fmt: skip


def _best_maximum(ti: Mapping[str, Any]) -> dict[str, Any] | None:
    combined = {name: ti[name]["max"] for name in _COMBINED if name in ti}
    if not combined:
        return None
    best = max(combined, key=lambda name: combined[name])
    alone = {name: ti[name]["max"] for name in (_ENSEMBLE, _FLOW)}
    here = f"{best} {combined[best]:.2f}; alone: " + ", ".join(f"{n} {v:.2f}" for n, v in alone.items())
    return _finding(
        "A combination has the largest maximum TI", "arXiv:2106.10164, sections 6, 7",
        "97 (AVG), 79 (AND) against 54 of the flow", here, reproduced=combined[best] > max(alone.values()),
    )  # fmt: skip


def _flow_is_robust(ti: Mapping[str, Any]) -> dict[str, Any] | None:
    rivals = [name for name in (_ENSEMBLE, *_COMBINED) if name in ti]
    if _FLOW not in ti or not rivals:
        return None
    own = ti[_FLOW]
    best = {which: max(rivals, key=lambda name: ti[name][which]) for which in ("min", "median")}
    here = f"flow: min {own['min']:.2f}, median {own['median']:.2f}; best others: " + ", ".join(
        f"{which} {ti[name][which]:.2f} ({name})" for which, name in best.items()
    )
    return _finding(
        "The flow has the highest minimum and median TI (on the hackathon's signals)", "arXiv:2106.10164, section 6",
        "minimum 0.9, median 15 against 10 of the best combination", here,
        reproduced=all(own[which] >= ti[name][which] for which, name in best.items()),
    )  # fmt: skip


def _no_decoder(ti: Mapping[str, Any]) -> dict[str, Any] | None:
    others = {name: found for name, found in ti.items() if name.startswith("deep-sets-b")}
    if _SETS not in ti or not others:
        return None
    own = ti[_SETS]
    best = {which: max(others, key=lambda name: others[name][which]) for which in ("median", "max")}
    here = f"beta = 1: median {own['median']:.2f}, max {own['max']:.2f}; best with a decoder: " + ", ".join(
        f"{which} {others[name][which]:.2f} ({name.removeprefix('deep-sets-')})" for which, name in best.items()
    )
    return _finding(
        "The Deep Set VAE without a decoder (beta = 1) is clearly the best of its kind", "arXiv:2109.01695, figure 6",
        "median almost ten times, maximum 3 to 4 times that with a decoder", here,
        reproduced=all(own[which] > 1.2 * others[name][which] for which, name in best.items()),
    )  # fmt: skip


def _weight_of_kinds(ti: Mapping[str, Any]) -> dict[str, Any] | None:
    by_beta: dict[str, dict[str, float]] = {}
    for name, found in ti.items():
        if name.startswith("deep-sets-b"):
            beta, _, w = name.removeprefix("deep-sets-b").partition("-w")
            by_beta.setdefault(beta, {})[w] = found["median"]
    by_beta = {beta: each for beta, each in by_beta.items() if len(each) > 1}
    if not by_beta:
        return None
    ratios = {beta: max(each.values()) / max(min(each.values()), 1e-9) for beta, each in by_beta.items()}
    here = "; ".join(
        f"beta {beta}: " + ", ".join(f"w = {w}: {value:.2f}" for w, value in each.items())
        for beta, each in by_beta.items()
    )
    return _finding(
        "The weight w of the kinds of objects hardly matters", "arXiv:2109.01695, figure 6", "a minor impact",
        f"median TI, {here}", reproduced=max(ratios.values()) < 2,
    )  # fmt: skip
