r"""ABCD: the background of a signal region from three control regions, with signal in all of them.

Two selections that are independent for the background cut the events into four regions. A passes both, B and C pass
one each, D none; then :math:`A = B\,C / D`. The likelihood has the four counts, three free normalisations of the background
(its total and two ratios) and one signal strength, so that statistical errors, signal in the control regions and an
uncertainty of the closure are all treated together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import FitError, InputError
from resonaut.stats.limits.limit_options import check_limit_options
from resonaut.stats.limits.limit_result import LimitResult
from resonaut.stats.limits.profiling import SignalModel
from resonaut.stats.limits.upper_limits import checked_by_pyhf, limit_of_model

__all__ = ("REGIONS", "AbcdEstimate", "abcd_estimate", "abcd_limit", "abcd_workspace")

FloatArray = npt.NDArray[np.float64]

REGIONS = ("A", "B", "C", "D")
DIRECTIONS = ("background_total", "background_ratio_B", "background_ratio_C")
MODES = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


@dataclass(frozen=True)
class AbcdEstimate:
    """Background expected in region A from B, C and D.

    Attributes
    ----------
    expected : float
        Events.
    error_low, error_high : float
        Distances to the ends of the 68 % interval, Gaussian in the logarithm of the estimate, closure included. Where a
        control region is empty, `error_high` is the estimate with one event in it: a scale, not an interval.
    observed : float
        Events seen in A; not used.
    status : str
        "converged", or "at limit" where a control region is empty and the interval is open on one side.
    """

    expected: float
    error_low: float
    error_high: float
    observed: float
    status: str

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> AbcdEstimate:
        """Inverse of `to_dict`."""
        return cls(**content)


def abcd_estimate(counts: Mapping[str, float], *, closure: float = 0.0) -> AbcdEstimate:
    r"""Background in A without signal, :math:`B\,C / D`, with its error.

    The error is that of the product of three Poisson means, taken in the logarithm, where the likelihood is close to a
    parabola: :math:`\sigma^2 = 1/B + 1/C + 1/D + \ln^2(1 + \mathrm{closure})`.

    Parameters
    ----------
    counts : mapping
        Events in "A", "B", "C", "D".
    closure : float
        Relative uncertainty of ``A = B C / D`` itself.

    Raises
    ------
    InputError
        If a region is missing or a count is not one.
    FitError
        If region D is empty: nothing can then be said.

    Examples
    --------
    >>> found = abcd_estimate({"A": 12, "B": 100, "C": 200, "D": 2000})
    >>> round(found.expected, 2), round(found.error_high, 2), round(found.error_low, 2)
    (10.0, 1.33, 1.17)
    """
    a, b, c, d = _regions(counts, "counts").tolist()
    _check_relative("closure", closure)
    if d <= 0:
        msg = f"ABCD got {d:g} events in region D, expected at least one: widen it"
        raise FitError(msg)
    if not (b > 0 and c > 0):
        # what one event in the empty region would have given bounds the estimate
        return AbcdEstimate(0.0, 0.0, max(b, 1.0) * max(c, 1.0) / d, a, "at limit")
    expected = float(b * c / d)
    sigma = float(np.sqrt(1.0 / b + 1.0 / c + 1.0 / d + np.log1p(closure) ** 2))
    low, high = (expected * float(np.exp(sign * sigma)) for sign in (-1.0, 1.0))
    return AbcdEstimate(expected, expected - low, high - expected, a, "converged")


def abcd_workspace(
    counts: Mapping[str, float],
    signal: Mapping[str, float],
    *,
    closure: float = 0.0,
    yields: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """ABCD as a pyhf workspace: four channels of one bin, three free normalisations, signal in all regions.

    Parameters
    ----------
    counts : mapping
        Observed events in "A", "B", "C", "D".
    signal : mapping
        Signal events in them for a strength of 1; regions left out have none.
    closure : float
        Relative uncertainty of ``A = B C / D`` itself, log-normal.
    yields : mapping of str to float, optional
        Relative uncertainties of the signal by name.

    Returns
    -------
    dict
        For `pyhf_cls`, `pyhf_limit` or pyhf itself, with pyhf's default settings.

    Raises
    ------
    InputError
        If a region is missing or a number is out of range.
    """
    observed, events = _regions(counts, "counts"), _signal(signal)
    _b, _c, _d = nominal = np.maximum(observed[1:], 1.0)  # normalisations are relative to these
    background = np.append(_b * _c / _d, nominal)
    factors = [[name for name, used in zip(DIRECTIONS, row, strict=True) if used] for row in MODES]
    channels = []
    for k, region in enumerate(REGIONS):
        modifiers: list[dict[str, Any]] = [{"name": n, "type": "normfactor", "data": None} for n in factors[k]]
        if closure and region == "A":
            modifiers.append(_normsys("closure", closure))
        strength: list[dict[str, Any]] = [{"name": "mu", "type": "normfactor", "data": None}]
        strength += [_normsys(name, value) for name, value in (yields or {}).items()]
        samples = [
            {"name": "background", "data": [float(background[k])], "modifiers": modifiers},
            {"name": "signal", "data": [float(events[k])], "modifiers": strength},
        ]
        channels.append({"name": region, "samples": samples})
    return {
        "channels": channels,
        "observations": [{"name": r, "data": [float(n)]} for r, n in zip(REGIONS, observed, strict=True)],
        "measurements": [{"name": "abcd", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }


def _normsys(name: str, value: float) -> dict[str, Any]:
    return {"name": name, "type": "normsys", "data": {"hi": 1.0 + value, "lo": 1.0 / (1.0 + value)}}


def abcd_limit(
    counts: Mapping[str, float],
    signal: Mapping[str, float],
    *,
    closure: float = 0.0,
    yields: Mapping[str, float] | None = None,
    cl: float = 0.95,
    method: str = "auto",
    toys: int = 3000,
    seed: int = 0,
    name: str = "signal",
    check: bool = True,
) -> LimitResult:
    """Observed and expected CLs upper limit on the signal strength in an ABCD measurement.

    Parameters
    ----------
    counts, signal, closure, yields
        As in `abcd_workspace`.
    cl, method, toys, seed, name, check
        As in `resonaut.stats.upper_limit`. "auto" throws toys where any region expects few events.

    Returns
    -------
    LimitResult
        In the unit "strength": times ``signal["A"]``, events in region A.

    Raises
    ------
    InputError, ConfigError, FitError
        If the input cannot be used; if no limit was found.

    Examples
    --------
    >>> limit = abcd_limit({"A": 102, "B": 1000, "C": 2000, "D": 20000}, {"A": 10.0}, check=False)
    >>> limit.unit, bool(2.0 < limit.expected[2] < 2.6)
    ('strength', True)
    """
    check_limit_options(cl, method, None)
    observed, events = _regions(counts, "counts"), _signal(signal)
    total = float(events.sum())
    found = limit_of_model(
        _model(observed, events / total, closure, yields or {}),
        observed,
        cl=cl,
        method=method,
        toys=toys,
        seed=seed,
        name=name,
        background=float(min(abcd_estimate(counts).expected, *observed[1:])),
    )
    result = found.result(name, cl, "A = B C / D").scaled(1.0 / total, "strength")
    if not check or found.method == "toys":
        return result
    scaled = {region: float(result.observed * s) for region, s in zip(REGIONS, events, strict=True)}
    return checked_by_pyhf(result, abcd_workspace(counts, scaled, closure=closure, yields=yields))


def _model(observed: FloatArray, signal: FloatArray, closure: float, yields: Mapping[str, float]) -> SignalModel:
    """The same likelihood for our solver: the background is log-linear in its three normalisations."""
    _check_relative("closure", closure)
    b, c, d = np.maximum(observed[1:], 1.0)
    modes, constraint = MODES, np.full(3, np.inf)
    if closure:
        modes = np.column_stack([MODES, np.log1p(closure) * np.array([1.0, 0.0, 0.0, 0.0])])
        constraint = np.append(constraint, 1.0)
    names = tuple(sorted(yields))
    for name in names:
        _check_relative(name, yields[name])
    factors = np.log1p(np.array([yields[name] for name in names]))
    return SignalModel(
        background=np.array([b * c / d, b, c, d]),
        modes=modes,
        signal=signal,
        names=names,
        yields=np.broadcast_to(factors, (4, len(names))),
        constraint=constraint,
    )


def _regions(values: Mapping[str, float], what: str) -> FloatArray:
    missing = sorted(set(REGIONS) ^ set(values))
    if missing:
        msg = f"ABCD {what} got regions {sorted(values)}, expected {list(REGIONS)}"
        raise InputError(msg)
    found = np.array([float(values[region]) for region in REGIONS])
    if not (np.isfinite(found).all() and (found >= 0).all()):
        msg = f"ABCD {what} got {dict(values)}, expected events >= 0"
        raise InputError(msg)
    return found


def _signal(signal: Mapping[str, float]) -> FloatArray:
    events = _regions({**dict.fromkeys(REGIONS, 0.0), **signal}, "signal")
    if not events[0] > 0:
        msg = f"ABCD signal got {events[0]:g} events in region A, expected some"
        raise InputError(msg)
    return events


def _check_relative(name: str, value: float) -> None:
    if not 0 <= value < np.inf:
        msg = f"ABCD got {name}={value}, expected a relative uncertainty, 0.1 for 10 %"
        raise InputError(msg)
