"""Signal templates and pyhf workspaces, plain JSON that anybody can run again."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.errors import InputError
from resonaut.files import write_json
from resonaut.stats.fit import FitResult, require_fit
from resonaut.stats.profiling import WEAK_CONSTRAINT, SignalModel
from resonaut.stats.spectrum import Spectrum, as_counts

__all__ = (
    "MODIFIER_SETTINGS",
    "build_workspace",
    "gaussian_template",
    "signal_counts",
    "signal_model",
    "write_workspace",
)

FloatArray = npt.NDArray[np.float64]

MODIFIER_SETTINGS = {"normsys": {"interpcode": "code1"}}
"""What ``pyhf.Workspace(...).model(modifier_settings=...)`` needs for the background to be exact."""

MIN_BACKGROUND = 1e-9  # pyhf needs a positive expectation in every bin
MAX_LOG_CHANGE = 10.0  # of a bin per standard deviation: keeps hi and lo finite in bins where nothing is expected


def gaussian_template(mass: float, width: float, edges: npt.ArrayLike, yield_: float = 1.0) -> FloatArray:
    """Events of a Gaussian resonance in each bin, integrated.

    Parameters
    ----------
    mass, width : float
        Mean and standard deviation (GeV).
    edges : array_like of shape (bins + 1,)
        GeV.
    yield_ : float
        Events of the whole resonance; what lies outside the edges is lost, so that the sum may be smaller.

    Raises
    ------
    InputError
        If the width is not positive, or the resonance lies more than 5 widths outside the edges.

    Examples
    --------
    >>> gaussian_template(3500.0, 100.0, [3300.0, 3500.0, 3700.0], 100.0).round(2).tolist()
    [47.72, 47.72]
    """
    if not width > 0:
        msg = f"gaussian_template got width {width}, expected a positive width in GeV"
        raise InputError(msg)
    z = (np.asarray(edges, dtype=np.float64) - mass) / width
    if not (z[0] < 5.0 and z[-1] > -5.0):
        msg = f"gaussian_template got mass {mass:.6g} and width {width:.6g}, more than 5 widths outside the edges"
        raise InputError(msg)
    # tails are taken on the side where they are small: no cancellation far from the peak
    lower, upper = z[:-1], z[1:]
    flipped = lower > 0
    probability = special.ndtr(np.where(flipped, -lower, upper)) - special.ndtr(np.where(flipped, -upper, lower))
    return np.asarray(yield_ * probability)


def signal_counts(signal: Spectrum | npt.ArrayLike, edges: FloatArray) -> FloatArray:
    """Events of a template in each bin: an array over the bins, or a histogram with the same edges.

    Raises
    ------
    InputError
        If the binning differs, or the template is negative, not finite, or empty.
    """
    if hasattr(signal, "axes") or (isinstance(signal, tuple) and len(signal) == 2):
        values, bounds, _ = as_counts(signal)
        if bounds.shape != edges.shape or not np.allclose(bounds, edges, rtol=1e-9):
            msg = f"signal template got {len(values)} bins that differ from the {len(edges) - 1} bins of the spectrum"
            raise InputError(msg)
    else:
        values = np.array(signal, dtype=np.float64)
    if values.shape != (len(edges) - 1,) or not np.isfinite(values).all() or (values < 0).any() or not values.sum() > 0:
        msg = f"signal template got shape {values.shape} with sum {values.sum():.6g}, expected ({len(edges) - 1},), >= 0, sum > 0"
        raise InputError(msg)
    return values


def signal_model(fit: FitResult, signal: Spectrum | npt.ArrayLike, *, signal_uncertainty: float = 0.0) -> SignalModel:
    """Model of signal and background in the bins of the fit range, blinded bins included.

    Raises
    ------
    InputError
        If the template cannot be used or has no events in the range.
    FitError
        If the fit has failed.
    """
    require_fit(fit)
    if not 0 <= signal_uncertainty < 10:
        msg = f"signal_uncertainty got {signal_uncertainty}, expected a relative uncertainty, 0.1 for 10 %"
        raise InputError(msg)
    used = fit.mask | fit.blinded
    events = signal_counts(signal, fit.edges)[used]
    if not events.sum() > 0:
        low, high = fit.edges[:-1][used][0], fit.edges[1:][used][-1]
        msg = f"signal template has no events inside the fit range {low:.6g}..{high:.6g} GeV"
        raise InputError(msg)
    return SignalModel(
        background=np.maximum(fit.expected[used], MIN_BACKGROUND),
        modes=np.clip(fit.modes[used], -MAX_LOG_CHANGE, MAX_LOG_CHANGE),
        signal=events,
        signal_uncertainty=float(signal_uncertainty),
    )


def build_workspace(
    fit: FitResult,
    signal: Spectrum | npt.ArrayLike,
    *,
    signal_uncertainty: float = 0.0,
    counts: npt.ArrayLike | None = None,
) -> dict[str, Any]:
    r"""Workspace in pyhf's JSON format, with the background function carried exactly.

    Each mass bin is a channel of one bin. The background of a bin is its fitted expectation times shared ``normsys``
    factors, one for each independent direction k of the fit, ``exp(m_ik s alpha_k)`` with ``s = 30`` standard deviations:
    the constraint of pyhf, of unit width, is then too weak to matter and the background is free. The function is linear
    in its parameters after the logarithm, so these factors are the function itself (to the curvature within a bin).

    Parameters
    ----------
    fit : FitResult
        Background fit; the workspace has the bins of its range, blinded ones included.
    signal : array_like of shape (bins,) or Spectrum
        Events in each bin of the fit's edges for a signal strength of 1.
    signal_uncertainty : float
        Relative uncertainty of the signal yield.
    counts : array_like of shape (bins,), optional
        Observed events; those of the fit by default.

    Returns
    -------
    dict
        Run it with ``pyhf.Workspace(spec).model(modifier_settings={"normsys": {"interpcode": "code1"}})``. With pyhf's
        default interpolation (code4) it is an approximation.

    Raises
    ------
    InputError, FitError
        If the template, the counts or the fit cannot be used.
    """
    model = signal_model(fit, signal, signal_uncertainty=signal_uncertainty)
    used = fit.mask | fit.blinded
    observed = fit.counts if counts is None else as_counts((counts, fit.edges))[0]
    names = [f"bin{index:03d}" for index in np.flatnonzero(used)]
    channels = [_channel(model, index, name) for index, name in enumerate(names)]
    strength = {"name": "mu", "inits": [1.0], "bounds": [[0.0, 10.0]]}
    return {
        "channels": channels,
        "observations": [{"name": name, "data": [float(n)]} for name, n in zip(names, observed[used], strict=True)],
        "measurements": [{"name": "limit", "config": {"poi": "mu", "parameters": [strength]}}],
        "version": "1.0.0",
    }


def _channel(model: SignalModel, index: int, name: str) -> dict[str, Any]:
    shifts = WEAK_CONSTRAINT * model.modes[index]
    background = {
        "name": "background",
        "data": [float(model.background[index])],
        "modifiers": [_normsys(f"background_{k}", float(shift)) for k, shift in enumerate(shifts)],
    }
    modifiers: list[dict[str, Any]] = [{"name": "mu", "type": "normfactor", "data": None}]
    if model.signal_uncertainty > 0:
        modifiers.append(_normsys("signal_yield", float(np.log1p(model.signal_uncertainty))))
    signal = {"name": "signal", "data": [float(model.signal[index])], "modifiers": modifiers}
    return {"name": name, "samples": [background, signal]}


def _normsys(name: str, log_factor: float) -> dict[str, Any]:
    return {
        "name": name,
        "type": "normsys",
        "data": {"hi": float(np.exp(log_factor)), "lo": float(np.exp(-log_factor))},
    }


def write_workspace(path: str | os.PathLike[str], workspace: dict[str, Any]) -> None:
    """Write a workspace as JSON, whole or not at all."""
    write_json(path, workspace)
