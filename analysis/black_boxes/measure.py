"""Mass and events of an excess: a Gaussian over the background, in the spectrum that it was found in and in the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.analysis.spectra import INCLUSIVE, FitOptions
from resonaut.errors import ResonautError
from resonaut.stats import ExcessResult, ScanInput, background_function, significance_scan
from resonaut.stats.spectrum import poisson_counts

__all__ = ("WIDTHS", "Peak", "events_after", "fit_peak", "masses_of")

FloatArray = npt.NDArray[np.float64]

WIDTHS = (0.02, 0.03, 0.04, 0.05)  # relative; resolution and radiation make 3 to 4 % of a narrow dijet resonance
POINTS = 81


@dataclass(frozen=True)
class Peak:
    """Position and size of an excess.

    Attributes
    ----------
    mass, mass_low, mass_high
        GeV: best mass, and the ends of the interval in which the likelihood ratio to it, background, strength and width fitted
        again, is below 1.
    width
        Relative standard deviation of the best Gaussian, one of `WIDTHS`.
    events, events_error
        Of the resonance, in the spectrum; mass and width are fitted with them.
    significance
        Of the fit at the best mass and width, local.
    mass_pull
        GeV, of `mass`: how far the cut itself has moved the peak (see `resonaut.analysis.black_boxes.pull`); NaN where it is
        not known.
    kind
        "fit", or "centre" where no such fit can be made: the centre of the signal region, and its ends.
    """

    mass: float
    mass_low: float
    mass_high: float
    width: float
    events: float
    events_error: float
    significance: float
    kind: str
    mass_pull: float = float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def fit_peak(selection: ScanInput, excess: ExcessResult, options: FitOptions) -> Peak:
    """Mass, width and events of the excess of a selection.

    The mass is looked for in the signal region and half a signal region to each side of it.
    """
    masses = masses_of(selection)
    function = excess.fit.function  # where it was chosen on the sidebands, it stays
    if not background_function(function).log_linear:
        return _centre(excess)
    try:
        scan = significance_scan(selection.spectrum, masses, WIDTHS, **options._replace(function=function)._asdict())
    except ResonautError:
        return _centre(excess)
    z = np.where(np.isnan(scan.significance), -np.inf, scan.significance)
    i, j = (int(k) for k in np.unravel_index(np.argmax(z), z.shape))
    if not z[i, j] > 0:
        return _centre(excess)
    best = np.max(z, axis=1)
    low, high = _interval(masses, np.sign(best) * best**2 - z[i, j] ** 2, i)
    error = _strength_error(z[i, j] ** 2 - np.sign(z) * z**2, scan.strength, scan.strength_error)
    strength = float(scan.strength[i, j])
    return Peak(float(masses[i]), low, high, float(WIDTHS[j]), strength, error, float(z[i, j]), "fit")


def masses_of(selection: ScanInput) -> FloatArray:
    """Masses (GeV) at which a resonance is looked for: of the signal region and half of it to each side."""
    window = selection.window
    ratio = np.sqrt(window.high / window.low)
    edges = poisson_counts(selection.spectrum)[1]
    return np.geomspace(max(window.low / ratio, edges[0]), min(window.high * ratio, edges[-1]), POINTS)


def _strength_error(away: FloatArray, strength: FloatArray, error: FloatArray) -> float:
    """Half of the interval of the strength, over all masses and widths, whose likelihood ratio to the best fit is below 1.

    `away` is that ratio at the best strength of each hypothesis; in the strength it is taken to be a parabola.
    """
    near = (away < 1.0) & np.isfinite(strength) & np.isfinite(error)
    reach = error[near] * np.sqrt(1.0 - away[near])
    return float(np.max(strength[near] + reach) - np.min(strength[near] - reach)) / 2


def _centre(excess: ExcessResult) -> Peak:
    window, nan = excess.window, float("nan")
    events, error = excess.observed - excess.expected, float(np.hypot(np.sqrt(excess.observed), excess.expected_error))
    return Peak(window.centre, window.low, window.high, nan, events, error, excess.local_significance, "centre")


def _interval(masses: FloatArray, q: FloatArray, best: int) -> tuple[float, float]:
    """Masses on both sides of the best one at which q falls to -1, between the points by interpolation; else the ends."""
    ends = []
    for side in (-1, 1):
        k = best
        while 0 < k < len(q) - 1 and q[k + side] > -1.0:
            k += side
        nearest = k + side
        if not 0 <= nearest < len(q) or q[nearest] > -1.0:
            ends.append(float(masses[min(max(nearest, 0), len(q) - 1)]))
            continue
        part = (q[k] + 1.0) / (q[k] - q[nearest]) if np.isfinite(q[nearest]) else 0.5
        ends.append(float(masses[k] + part * (masses[nearest] - masses[k])))
    return ends[0], ends[1]


def events_after(
    peak: Peak, best: ScanInput, pairs: Sequence[tuple[ScanInput, ExcessResult, FitOptions]]
) -> list[dict[str, Any]]:
    """Events of the same resonance after each cut of the method that found it, and without a cut.

    Each spectrum is fitted alone, with mass and width of the peak. A row has `method`, `cut`, `events`, `events_error`.
    """
    rows = []
    for selection, excess, options in pairs:
        if selection.window != best.window or selection.method not in (best.method, INCLUSIVE):
            continue
        events, error = _events_of(peak, selection, excess, options)
        if np.isfinite(events) and np.isfinite(error):
            rows.append({"method": selection.method, "cut": selection.cut, "events": events, "events_error": error})
    return sorted(rows, key=lambda row: -float(row["cut"]))


def _events_of(peak: Peak, selection: ScanInput, excess: ExcessResult, options: FitOptions) -> tuple[float, float]:
    """Events of the peak in another spectrum, and their error; NaN where it cannot be fitted there."""
    if peak.kind != "fit" or not background_function(excess.fit.function).log_linear:
        alone = _centre(excess)
        return alone.events, alone.events_error
    given = options._replace(function=excess.fit.function)._asdict()
    try:
        scan = significance_scan(selection.spectrum, [peak.mass], [peak.width], **given)
    except ResonautError:
        return float("nan"), float("nan")
    return float(scan.strength[0, 0]), float(scan.strength_error[0, 0])
