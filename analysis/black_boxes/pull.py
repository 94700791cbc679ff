r"""How far a cut moves the peak that it selects: a score that depends on the mass prefers events of some masses.

A classifier of the signal region against the sidebands that reads jet masses relative to mJJ, say, has learnt at which mJJ
jets of these masses lie in the signal region. The events themselves tell by how much: selected ones are scored again as if
they had another mass, with their features kept. The part that still passes, :math:`\epsilon(m)`, multiplies the Gaussian.

The events passed the cut at their own mass, so that :math:`\epsilon` is that of jets like the selected ones, and somewhat too
high at the masses that these have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from resonaut.analysis.black_boxes.measure import WIDTHS, Peak, masses_of
from resonaut.analysis.interpretation import FoldEvents
from resonaut.analysis.spectra import FitOptions
from resonaut.errors import ResonautError
from resonaut.stats import ScanInput, SignificanceScan, significance_scan

__all__ = ("efficiency_in_mass", "mass_pull")

FloatArray = npt.NDArray[np.float64]

MASSES = 25  # at which the events are scored again
MOST = 60  # events of a fold
FINE = 4000  # steps of the integral of a template


def mass_pull(selection: ScanInput, peak: Peak, options: FitOptions, folds: Sequence[FoldEvents]) -> float:
    """Mass of the peak less that of the same fit with the efficiency of the cut in its template (GeV).

    Parameters
    ----------
    selection
        The spectrum that the peak was fitted in.
    peak
        Its peak.
    options
        Of the fits, the background function by its name.
    folds
        Selected events with the scorers that did not see them.

    Returns
    -------
    float
        Positive where the cut moved the peak up; NaN where it cannot be told.
    """
    if peak.kind != "fit":
        return float("nan")
    masses = masses_of(selection)
    try:
        at = np.geomspace(0.9 * masses[0], 1.1 * masses[-1], MASSES)
        part = efficiency_in_mass(folds, at)

        def shape(mass: float, width: float, edges: FloatArray) -> FloatArray:
            return _template(mass, width * mass, edges, at, part)

        arguments = (selection.spectrum, masses, WIDTHS)
        plain = significance_scan(*arguments, **options._asdict())
        weighted = significance_scan(*arguments, **options._asdict(), shape=shape)
    except ResonautError:
        return float("nan")
    return _summit(plain) - _summit(weighted)


def efficiency_in_mass(folds: Sequence[FoldEvents], masses: FloatArray) -> FloatArray:
    """Part (M,) of the selected events that pass the cut if each has one of the masses (M,), GeV; 1 where there are none."""
    passing, events = np.zeros(len(masses)), 0
    for fold in folds:
        if not len(fold.selected):
            continue
        features = fold.selected[:: -(-len(fold.selected) // MOST)]  # from all of them: tables may be in an order
        again = fold.score(np.tile(features, (len(masses), 1)), np.repeat(masses, len(features)))
        passing += (again >= fold.threshold).reshape(len(masses), -1).sum(axis=1)
        events += len(features)
    return passing / events if events else np.ones(len(masses))


def _template(mass: float, width: float, edges: FloatArray, at: FloatArray, part: FloatArray) -> FloatArray:
    """Part of the selected resonance in each bin: a Gaussian times the efficiency."""
    fine = np.linspace(edges[0], edges[-1], FINE + 1)
    centre = (fine[1:] + fine[:-1]) / 2
    density = np.exp(-0.5 * ((centre - mass) / width) ** 2) * np.interp(centre, at, part)
    bins = np.histogram(centre, edges, weights=density)[0]
    return np.asarray(bins / max(bins.sum(), 1e-300))


def _summit(scan: SignificanceScan) -> float:
    """Mass of the largest significance over all widths, between the points by a parabola."""
    z = np.max(np.where(np.isnan(scan.significance), -np.inf, scan.significance), axis=1)
    k = int(np.argmax(z))
    if not 0 < k < len(z) - 1 or not np.isfinite(z[k - 1 : k + 2]).all():
        return float(scan.masses[k])
    curve = np.polyfit(scan.masses[k - 1 : k + 2] - scan.masses[k], z[k - 1 : k + 2], 2)
    return float(scan.masses[k] - curve[1] / (2 * curve[0])) if curve[0] < 0 else float(scan.masses[k])
