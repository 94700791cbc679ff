"""pyhf workspaces of signal and parametric background, plain JSON that anybody can run again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.files import write_json
from resonaut.stats.fits.fit import FitResult
from resonaut.stats.limits.channels import Channel, signal_model
from resonaut.stats.limits.profiling import WEAK_CONSTRAINT, SignalModel
from resonaut.stats.shapes.signals import SignalLike
from resonaut.stats.spectrum import as_counts

__all__ = ("EXACT", "MODIFIER_SETTINGS", "build_workspace", "combined_workspace", "write_workspace")

FloatArray = npt.NDArray[np.float64]

MODIFIER_SETTINGS = {"normsys": {"interpcode": "code1"}, "histosys": {"interpcode": "code4p"}}
"""What ``pyhf.Workspace(...).model(modifier_settings=...)`` needs for workspaces with a measurement of the name `EXACT`."""

EXACT = "limit (normsys code1)"
"""Measurement of workspaces that were made before pyhf's own interpolation was exact for them; `pyhf_cls` still reads them."""

MEASUREMENT = "limit"
CENTRES = (3.0, 6.0)  # of the constraint of a direction, in its widths: as far out as the factors allow
LARGEST = 680.0  # logarithm of a factor, below that of the largest number
NEAREST = 1.0  # from here on ``normsys`` is an exponential in all interpolation codes


def build_workspace(
    fit: FitResult,
    signal: SignalLike,
    *,
    signal_uncertainty: float = 0.0,
    counts: npt.ArrayLike | None = None,
) -> dict[str, Any]:
    r"""Workspace in pyhf's JSON format, with the background function carried exactly.

    Each mass bin is a channel of one bin. The background of a bin is its fitted expectation times shared ``normsys``
    factors, one for each independent direction k of the fit, ``exp(m_ik s (alpha_k - c))`` with ``s = 30`` standard
    deviations: the constraint of pyhf, of unit width, is then weak and the background as good as free. The function is linear
    in its parameters after the logarithm, so these factors are the function itself (to the curvature within a bin).

    The constraints are centred at ``c = 6``, or down to 3 where slopes are steep, and alpha stays within 1 and ``2 c - 1``. There ``normsys`` is an exponential whatever the
    interpolation code, so that pyhf's command line, which knows code4 alone, and other tools that read workspaces give the
    same likelihood. The price is that the numbers under "data" are the expectation at alpha = 0, far from the data; the
    expected events of the fit are those at the initial parameters, ``model.expected_actualdata(model.config.suggested_init())``.

    A bin without events that the background reaches with less than 1e-4 events within five standard deviations has no
    factors: they would be beyond all numbers and do nothing.

    In spectra of some tens of events or fewer the likelihood is far from Gaussian and the constraint is felt. Ten times as
    wide it would change limits on toys of 60 events by up to 0.3 % with three or four parameters, but on toys of 8 events
    by up to 25 % with four (1 % with three; the median change is below 1.2 % in all). It is not wider because factors of
    300 standard deviations overflow.

    Parameters
    ----------
    fit : FitResult
        Background fit; the workspace has the bins of its range, blinded ones included.
    signal : Signal, shape, Spectrum or array_like of shape (bins,)
        Events in each bin of the fit's edges for a signal strength of 1, with its uncertainties.
    signal_uncertainty : float
        Relative uncertainty of the signal yield.
    counts : array_like of shape (bins,), optional
        Observed events; those of the fit by default.

    Returns
    -------
    dict
        Run it with ``pyhf cls workspace.json`` or ``pyhf.Workspace(spec).model()``.

    Raises
    ------
    InputError, FitError
        If the template, the counts or the fit cannot be used.
    """
    channel = Channel.build("", fit, signal, signal_uncertainty=signal_uncertainty)
    observed = None if counts is None else as_counts((counts, fit.edges))[0][channel.bins]
    return combined_workspace([channel], counts=observed)


def combined_workspace(channels: Sequence[Channel], *, counts: FloatArray | None = None) -> dict[str, Any]:
    """Workspace of several channels with one signal strength "mu"; nuisances of the signals are shared by name.

    Parameters
    ----------
    channels : sequence of Channel
    counts : ndarray of shape (bins of all channels,), optional
        Observed events, channel after channel; those of the fits by default.

    Raises
    ------
    InputError
        If there is no channel or two have the same name.
    """
    model = signal_model(channels)
    names, directions = _names(channels)
    observed = np.concatenate([channel.counts for channel in channels]) if counts is None else counts
    parameters: list[dict[str, Any]] = [{"name": "mu", "inits": [1.0], "bounds": [[0.0, 10.0]]}]
    centre = _centre(model)
    centred: dict[str, Any] = {"inits": [centre], "auxdata": [centre], "bounds": [[NEAREST, 2.0 * centre - NEAREST]]}
    parameters += [
        {"name": name, **centred}
        for name, used in zip(directions, np.any(model.modes, axis=0).tolist(), strict=True)
        if used
    ]
    return {
        "channels": [_channel(model, index, name, directions, centre) for index, name in enumerate(names)],
        "observations": [{"name": name, "data": [float(n)]} for name, n in zip(names, observed, strict=True)],
        "measurements": [{"name": MEASUREMENT, "config": {"poi": "mu", "parameters": parameters}}],
        "version": "1.0.0",
    }


def _names(channels: Sequence[Channel]) -> tuple[list[str], list[str]]:
    """Names of the bins and of the background directions."""
    bins, directions = [], []
    for channel in channels:
        prefix = f"{channel.name}_" if channel.name else ""
        bins += [f"{prefix}bin{index:03d}" for index in np.flatnonzero(channel.bins)]
        directions += [f"background_{prefix}{k}" for k in range(channel.fit.modes.shape[1])]
    return bins, directions


def _centre(model: SignalModel) -> float:
    """Centre of all constraints, a whole number, so that no factor overflows at the last bound."""
    steepest = float(np.abs(model.modes).sum(axis=1).max(initial=0.0))
    allowed = 0.5 * (LARGEST / max(WEAK_CONSTRAINT * steepest, 1.0) + NEAREST)
    return float(np.clip(np.floor(allowed), *CENTRES))


def _channel(model: SignalModel, index: int, name: str, directions: Sequence[str], centre: float) -> dict[str, Any]:
    shifts = WEAK_CONSTRAINT * model.modes[index]
    nominal = float(model.signal[index])
    modifiers: list[dict[str, Any]] = [{"name": "mu", "type": "normfactor", "data": None}]
    for q, nuisance in enumerate(model.names):
        up, down = float(model.up[index, q]), float(model.down[index, q])
        if model.yields[index, q]:
            modifiers.append(_normsys(nuisance, float(model.yields[index, q])))
        if up or down:
            data = {"hi_data": [nominal + up], "lo_data": [nominal - down]}
            modifiers.append({"name": nuisance, "type": "histosys", "data": data})
    background = {
        "name": "background",
        "data": [float(model.background[index] * np.exp(-centre * shifts.sum()))],
        # where a direction does nothing, as in another channel, it is left out
        "modifiers": [_normsys(name, float(shift)) for name, shift in zip(directions, shifts, strict=True) if shift],
    }
    return {"name": name, "samples": [background, {"name": "signal", "data": [nominal], "modifiers": modifiers}]}


def _normsys(name: str, log_factor: float) -> dict[str, Any]:
    return {
        "name": name,
        "type": "normsys",
        "data": {"hi": float(np.exp(log_factor)), "lo": float(np.exp(-log_factor))},
    }


def write_workspace(path: str | os.PathLike[str], workspace: dict[str, Any]) -> None:
    """Write a workspace as JSON, whole or not at all."""
    write_json(path, workspace)
