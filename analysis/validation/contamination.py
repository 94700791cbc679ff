"""Check of the sidebands: how much of a signal lies where a method learns what background looks like?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from resonaut.analysis.plots.canvas import Drawn
from resonaut.analysis.scoring import search_windows
from resonaut.analysis.signals import SignalSample, signal_window
from resonaut.analysis.validation.checks import Check, gravest, not_made
from resonaut.analysis.validation.figures import draw_bars
from resonaut.analysis.validation.setting import Setting
from resonaut.processors import read_table
from resonaut.stats import Window

__all__ = ("contamination_check", "purity_ratio")

Floats = npt.NDArray[np.float64]
TOLD, ALLOWED = 0.2, 0.5

Result = tuple[Check, Drawn | None]


class _Found(NamedTuple):
    name: str
    window: Window
    ratio: float
    error: float
    beside: float


def purity_ratio(signal: Floats, weight: Floats, data: Floats, window: Window) -> tuple[float, float, float]:
    """Signal over background in the sidebands, over the same in the signal region; its error; the share of signal in sidebands.

    A classifier of signal region against sidebands sees the difference of the two purities: at a ratio of 1 nothing is left to learn.
    The data stand for the background.

    Parameters
    ----------
    signal, weight
        (n,) masses, GeV, and weights.
    data
        (m,) masses, GeV.
    window
        Signal region and sidebands.

    Examples
    --------
    >>> window = Window(3000.0, 3200.0, 2900.0, 3300.0)
    >>> flat = np.linspace(2900.0, 3299.0, 400)
    >>> purity_ratio(flat, np.ones(400), flat, window)[0]
    1.0
    """
    parts = []
    for inside in (window.in_sidebands, window.in_signal_region):
        own = weight[inside(signal)]
        total, square = float(own.sum()), float(np.sum(own**2))
        parts.append((total, square, max(float(np.count_nonzero(inside(data))), 1.0)))
    (beside, beside2, b_beside), (within, within2, b_within) = parts
    if within <= 0:
        return 1.0, 0.0, 1.0
    ratio = (beside / b_beside) / (within / b_within)
    error = ratio * np.sqrt((beside2 / beside**2 if beside > 0 else 0.0) + within2 / within**2)
    return float(ratio), float(error), float(beside / max(weight.sum(), 1e-300))


def _of(setting: Setting, sample: SignalSample) -> _Found | None:
    window = signal_window(sample.config.mass, search_windows(setting.config))
    if window is None:
        return None
    name = setting.config.variable
    table = read_table(sample.table, columns=[name, "weight"])
    mass, weight = (np.asarray(table[column], dtype=np.float64) for column in (name, "weight"))
    return _Found(sample.config.name, window, *purity_ratio(mass, weight, setting.mass, window))


def _verdict(sure: float) -> str:
    return "red" if sure > ALLOWED else "amber" if sure > TOLD else "green"


def contamination_check(setting: Setting) -> Result:
    """For each simulated signal, its purity in the sidebands over that in the signal region."""
    title = "signal in the sidebands"
    found = [each for sample in setting.samples if (each := _of(setting, sample)) is not None]
    if not found:
        return not_made("contamination", title, "the config names no signals"), None
    verdicts = [_verdict(each.ratio - 2 * each.error) for each in found]
    place = gravest(verdicts, [each.ratio for each in found])
    one, verdict = found[place], verdicts[place]
    text = f"purity in the sidebands is at most {100 * one.ratio:.0f} % of that in the signal region ({one.name})"
    if verdict != "green":
        text = (
            f"{one.name} is {100 * one.ratio:.0f} % as pure in the sidebands of {one.window} as in the signal region: methods that learn from the sidebands "
            "unlearn it; widen the signal region (scan.sr_bins)"
        )
    drawn = draw_bars(
        [each.name for each in found], [each.ratio for each in found], title=setting.config.name,
        x_label="purity of sidebands / of signal region", line=ALLOWED,
    )  # fmt: skip
    details = {"signals": [each._asdict() | {"window": each.window.to_dict()} for each in found]}
    return Check("contamination", title, one.ratio, ALLOWED, verdict, text, details=details), drawn
