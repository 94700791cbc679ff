"""Signals on a grid of masses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.stats.shapes.signals import SignalLike, as_signal

__all__ = ("Signals", "signal_grid")

FloatArray = npt.NDArray[np.float64]
Signals = Mapping[float, SignalLike]
"""Mass (GeV) to a template: an array over the bins, a histogram, a shape, or a function of the edges."""


def signal_grid(signals: Signals, edges: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Masses in increasing order and their templates.

    Parameters
    ----------
    signals : mapping of mass (GeV) to signal
        A strength of 1 is the sum of the template: with templates of unit area, strengths are numbers of events.
    edges : ndarray of shape (bins + 1,)

    Returns
    -------
    masses : ndarray of shape (masses,)
    templates : ndarray of shape (masses, bins)

    Raises
    ------
    InputError
        If there is no signal, a mass is not a positive number, or a template does not fit the bins.

    Examples
    --------
    >>> from resonaut.stats import gaussian_template
    >>> edges = np.array([900.0, 1000.0, 1100.0])
    >>> masses, templates = signal_grid({1000.0: gaussian_template(1000.0, 50.0, edges)}, edges)
    >>> masses.tolist(), templates.round(3).tolist()
    ([1000.0], [[0.477, 0.477]])
    """
    if not len(signals):
        msg = "got no signal, expected a mapping of mass (GeV) to template, such as {2000.0: gaussian_template(...)}"
        raise InputError(msg)
    try:
        by_mass = {float(mass): signal for mass, signal in signals.items()}
    except (TypeError, ValueError, AttributeError) as error:
        msg = f"got signals {str(signals)[:80]}, expected a mapping of mass (GeV) to template"
        raise InputError(msg) from error
    masses = np.array(sorted(by_mass))
    if not (np.isfinite(masses) & (masses > 0)).all():
        msg = f"got signals of masses {list(by_mass)}, expected finite ones above 0 GeV"
        raise InputError(msg)
    return masses, np.stack([as_signal(by_mass[mass], edges).template for mass in masses])
