"""Fit of a shape to simulated events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from iminuit import Minuit
from scipy import special

from resonaut.errors import ConfigError, InputError, unknown_name
from resonaut.stats.goodness import pearson_chi2
from resonaut.stats.records import brief
from resonaut.stats.shapes.base import FittableShape, FloatArray
from resonaut.stats.shapes.crystal_ball import CrystalBallShape
from resonaut.stats.shapes.gaussian import GaussianShape
from resonaut.stats.spectrum import Spectrum, as_counts
from resonaut.stats.weights import pooled_scale

__all__ = ("ShapeFit", "fit_shape")

KINDS: dict[str, type[FittableShape]] = {"dscb": CrystalBallShape, "gaussian": GaussianShape}
TAILS = ((1.0, 3.0, 1.5, 5.0), (1.5, 10.0, 2.0, 20.0), (0.6, 2.0, 0.8, 3.0))
"""Starting values of (alpha_low, n_low, alpha_high, n_high): the likelihood of the tails has several minima."""
SAME = 0.01  # difference of the deviance below which two starts have found one minimum
AT_LIMIT = 1e-3  # distance to a limit, relative to the range, at which a parameter is taken to be there
TINY = 1e-12  # probability that a bin of the range is given at least, so that the logarithm exists
_ARRAYS = ("values", "covariance", "edges", "counts", "variances", "expected")


@dataclass(frozen=True)
class ShapeFit:
    """Shape fitted to a histogram.

    Attributes
    ----------
    shape : FittableShape
        The fitted shape, normalised over all masses.
    names : tuple of str
        Parameters.
    values : ndarray of shape (parameters,)
    covariance : ndarray of shape (parameters, parameters)
        Inverse of the Hesse matrix; rows of parameters at a limit are zero, the others hold for that parameter fixed.
    edges : ndarray of shape (bins + 1,)
        Fitted range (GeV).
    counts, expected : ndarray of shape (bins,)
        Events, or sums of weights, in the histogram and of the fitted shape; their sums are equal.
    variances : ndarray of shape (bins,)
        Sums of squared weights; the counts for unweighted events.
    events : float
        Number of unweighted events with the same statistical power, the squared sum of weights over the sum of squares.
    inside : float
        Fraction of the shape inside the fitted range: yield of the whole resonance = sum of counts / inside.
    chi2, ndf, p_value : float, int, float
        Pearson's statistic after merging bins until 5 effective events are expected, see `pearson_chi2`.
    deviance : float
        Twice the logarithm of the likelihood ratio to a perfect fit (Baker and Cousins), of the effective events.
    status : str
        "converged", "at limit: names of parameters", or "failed: reason".
    """

    shape: FittableShape
    names: tuple[str, ...]
    values: FloatArray
    covariance: FloatArray
    edges: FloatArray
    counts: FloatArray
    variances: FloatArray
    expected: FloatArray
    events: float
    inside: float
    chi2: float
    ndf: int
    p_value: float
    deviance: float
    status: str

    __repr__ = brief

    @property
    def ok(self) -> bool:
        """Whether the shape can be used."""
        return not self.status.startswith("failed")

    @property
    def errors(self) -> dict[str, float]:
        """Standard deviation of each parameter, 0 for those at a limit."""
        return dict(zip(self.names, map(float, np.sqrt(np.diag(self.covariance))), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        content |= {name: content[name].tolist() for name in _ARRAYS}
        return {**content, "shape": self.shape.to_dict(), "names": list(self.names)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ShapeFit:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        expected = {field.name for field in fields(cls)}
        if set(content) != expected:
            msg = f"shape fit got keys that differ from the expected ones in {sorted(set(content) ^ expected)}"
            raise InputError(msg)
        arrays = {name: np.array(content[name], dtype=np.float64) for name in _ARRAYS}
        return cls(
            **{
                **content,
                **arrays,
                "shape": FittableShape.from_dict(content["shape"]),
                "names": tuple(content["names"]),
            }
        )


class _Likelihood:
    """Deviance of the effective events for the shape normalised in the range, with its gradient, for Minuit."""

    errordef = 1.0
    ndata = 0  # Minuit must not call the deviance of sparse bins a chi2

    def __init__(self, kind: type[FittableShape], edges: FloatArray, counts: FloatArray, variances: FloatArray) -> None:
        self.kind, self.edges, self.counts, self.variances = kind, edges, counts, variances
        self.scale = float(variances.sum() / counts.sum())  # one for all bins: its fluctuations must not pull the fit

    def expected(self, shape: FittableShape) -> FloatArray:
        """Expected counts: the normalisation that maximises the likelihood is that of the counts."""
        p = shape.probability(self.edges) + TINY
        return np.asarray(self.counts.sum() / p.sum() * p)

    def __call__(self, values: npt.ArrayLike) -> float:
        mu = self.expected(self.kind(*map(float, np.asarray(values))))
        return float(2.0 * special.kl_div(self.counts, mu).sum()) / self.scale

    def relative_slope(self, shape: FittableShape) -> FloatArray:
        """Derivative of the logarithm of the expected counts, shape (bins, parameters)."""
        p, gradient = shape.probability(self.edges) + TINY, shape.probability_gradient(self.edges)
        return np.asarray(gradient / p[:, None] - gradient.sum(axis=0) / p.sum())

    def gradient(self, values: npt.ArrayLike) -> FloatArray:
        # the expected counts drop out: their slopes sum to zero
        slope = self.relative_slope(self.kind(*map(float, np.asarray(values))))
        return np.asarray(-2.0 / self.scale * (self.counts @ slope))

    def score_covariance(self, shape: FittableShape) -> FloatArray:
        """Covariance of half the gradient, from the variance of each bin."""
        slope = self.relative_slope(shape)
        return np.asarray((slope * (self.variances / self.scale**2)[:, None]).T @ slope)


def fit_shape(
    spectrum: Spectrum,
    edges: npt.ArrayLike | None = None,
    *,
    kind: str = "dscb",
    mass: float | None = None,
    fit_range: tuple[float, float] | None = None,
    events: float | None = None,
) -> ShapeFit:
    r"""Binned maximum-likelihood fit of a shape to a simulated resonance.

    Parameters
    ----------
    spectrum : hist.Hist, any one-dimensional UHI histogram, (counts, edges) pair, or counts
        A histogram that keeps sums of squared weights may be weighted. The likelihood is then that of the weights, and the
        covariance :math:`H^{-1} C H^{-1}` with C from the sums of squared weights (Langenbruch, arXiv:1911.01303).
    edges : array_like of shape (bins + 1,), optional
        GeV, where `spectrum` is bare counts.
    kind : str
        "dscb" (double-sided Crystal Ball) or "gaussian".
    mass : float, optional
        Where the peak is about (GeV): the fullest bin by default.
    fit_range : (low, high), optional
        GeV; whole bins inside it. For a Gaussian fitted to a shape with tails choose the core. The shape is normalised
        in the range and its yield is free, as in an extended fit.
    events : float, optional
        Number of events that the histogram stands for, where it was normalised and keeps no errors.

    Returns
    -------
    ShapeFit
        A fit that fails is told by its `status`.

    Raises
    ------
    InputError
        If the histogram cannot be used, or fewer than one bin more than parameters holds events.
    ConfigError
        If the kind is not known.

    Notes
    -----
    Minuit with the analytic gradient, from three sets of tails for the DSCB. A parameter at the end of its range, such as
    the power of a tail that is Gaussian, is fixed there for the errors of the others.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.stats import CrystalBallShape, fit_shape
    >>> edges = np.linspace(2000.0, 4000.0, 81)
    >>> truth = CrystalBallShape(3000.0, 90.0, 1.2, 3.0, 1.8, 8.0)
    >>> fit = fit_shape(truth.template(edges, 20000.0), edges)
    >>> fit.status, [round(float(value), 1) for value in fit.values]
    ('converged', [3000.0, 90.0, 1.2, 3.0, 1.8, 8.0])
    """
    if kind not in KINDS:
        raise ConfigError(unknown_name("kind of fitted shape", kind, KINDS))
    counts, bounds, variances = _cut_to_range(*_simulated(spectrum, edges, events), fit_range)
    names = KINDS[kind].names
    if (counts > 0).sum() <= len(names):
        msg = (
            f"fit_shape got {int((counts > 0).sum())} bins with events for the {len(names)} parameters of {kind!r}: "
            "simulate more events, widen the range or refine the bins"
        )
        raise InputError(msg)
    likelihood = _Likelihood(KINDS[kind], bounds, counts, variances)
    fits: list[tuple[Minuit, tuple[str, ...]]] = []
    for start in _starts(likelihood, mass):
        fits.append(_minimise(likelihood, start))
        values = sorted(fit[0].fval for fit in fits if fit[0].valid)
        if len(values) > 1 and values[1] - values[0] < SAME:
            break
    return _result(likelihood, min(fits, key=lambda fit: (not fit[0].valid, fit[0].fval)))


def _simulated(
    spectrum: Spectrum, edges: npt.ArrayLike | None, events: float | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Counts, edges and variances."""
    counts, bounds, variances = as_counts(spectrum, edges)
    if not counts.sum() > 0:
        msg = "fit_shape got an empty histogram, expected simulated events"
        raise InputError(msg)
    if events is not None:
        if not (np.isfinite(events) and events > 0):
            msg = f"fit_shape got events = {events}, expected the number of simulated events in the histogram"
            raise InputError(msg)
        return counts, bounds, counts * counts.sum() / events
    if variances is None:
        return counts, bounds, counts
    if not (np.isfinite(variances).all() and (variances[counts > 0] > 0).all() and (variances >= 0).all()):
        msg = "fit_shape got a histogram whose filled bins have no variance: pass events=N, the number of simulated events"
        raise InputError(msg)
    return counts, bounds, variances


def _cut_to_range(
    counts: FloatArray, edges: FloatArray, variances: FloatArray, fit_range: tuple[float, float] | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    if fit_range is None:
        return counts, edges, variances
    low, high = fit_range
    inside = (edges >= low) & (edges <= high)
    chosen = inside[:-1] & inside[1:]
    if not counts[chosen].sum() > 0:
        msg = f"fit_shape got fit_range {low:.6g}..{high:.6g} GeV with no events in whole bins inside"
        raise InputError(msg)
    return counts[chosen], edges[inside], variances[chosen]


def _starts(likelihood: _Likelihood, mass: float | None) -> list[FloatArray]:
    """Peak, width of the core from the quartiles around it, and tails."""
    edges, counts = likelihood.edges, likelihood.counts
    cumulative = np.concatenate([[0.0], np.cumsum(counts)])
    lower, median, upper = np.interp(np.array([0.25, 0.5, 0.75]) * cumulative[-1], cumulative, edges)
    width = max((upper - lower) / 1.35, 0.5 * float(np.diff(edges).min()))
    if likelihood.kind is not CrystalBallShape:
        return [np.array([mass or median, width])]
    index = int(np.argmax(counts / np.diff(edges)))
    peak = mass or 0.5 * (median + 0.5 * (edges[index] + edges[index + 1]))
    return [np.array([peak, 0.7 * width, *tails]) for tails in TAILS]


def _minimise(likelihood: _Likelihood, start: FloatArray) -> tuple[Minuit, tuple[str, ...]]:
    """Minuit at its minimum; parameters that ran to the end of their range are fixed there and named."""
    kind = likelihood.kind
    minuit = Minuit(likelihood, start, grad=likelihood.gradient, name=kind.names)
    units = {"mass": start[0], "width": start[1]}
    minuit.limits = [
        (low * units.get(name, 1.0), high * units.get(name, 1.0))
        for name, (low, high) in zip(kind.names, kind.limits, strict=True)
    ]
    minuit.strategy = 0  # the starts are compared; the best one is refined
    minuit.migrad(ncall=5000)
    stuck: list[str] = []
    for parameter in minuit.params:
        low, high = parameter.lower_limit, parameter.upper_limit
        near = min(parameter.value - low, high - parameter.value)
        if near < AT_LIMIT * (high - low):
            minuit.fixed[parameter.name] = True
            stuck.append(parameter.name)
    return minuit, tuple(stuck)


def _result(likelihood: _Likelihood, best: tuple[Minuit, tuple[str, ...]]) -> ShapeFit:
    minuit, stuck = best
    minuit.strategy = 1
    if minuit.nfit:
        minuit.migrad(ncall=5000)
    names = likelihood.kind.names
    values = np.array(minuit.values, dtype=np.float64)
    shape = likelihood.kind(*map(float, values))
    mu = likelihood.expected(shape)
    free = np.array([not minuit.fixed[name] for name in names])
    covariance = np.full((len(names),) * 2, np.nan)
    reason = _failure(likelihood, shape, minuit, stuck)
    if reason is None:
        covariance, reason = _covariance(likelihood, shape, minuit, free)
    scale = likelihood.scale if _equal_weights(likelihood) else pooled_scale(likelihood.counts, likelihood.variances)
    # one degree of freedom goes to the normalisation
    chi2 = pearson_chi2(likelihood.counts / scale, mu / scale, int(free.sum()) + 1)
    return ShapeFit(
        shape=shape,
        names=names,
        values=values,
        covariance=covariance,
        edges=likelihood.edges,
        counts=likelihood.counts,
        variances=likelihood.variances,
        expected=mu,
        events=float(likelihood.counts.sum() / likelihood.scale),
        inside=shape.inside(likelihood.edges),
        chi2=chi2.chi2,
        ndf=chi2.ndf,
        p_value=chi2.p_value,
        deviance=float(minuit.fval),
        status=f"failed: {reason}" if reason else (f"at limit: {', '.join(stuck)}" if stuck else "converged"),
    )


def _failure(likelihood: _Likelihood, shape: FittableShape, minuit: Minuit, stuck: tuple[str, ...]) -> str | None:
    """Why a fit cannot be used, or None."""
    low, high = likelihood.edges[[0, -1]]
    mass, width = shape.parameters[:2]
    if set(stuck) & {"mass", "width"} or not low < mass < high or width > high - low:
        return f"no peak in the range, mass {mass:.6g} and width {width:.6g} GeV: give the mass of the peak, or a range around it"
    if not minuit.valid:
        return "Minuit found no minimum: simulate more events, or fix the range around the peak"
    return None


def _equal_weights(likelihood: _Likelihood) -> bool:
    return np.allclose(likelihood.variances, likelihood.scale * likelihood.counts, rtol=1e-9)


def _covariance(
    likelihood: _Likelihood, shape: FittableShape, minuit: Minuit, free: npt.NDArray[np.bool_]
) -> tuple[FloatArray, str | None]:
    """Covariance from second derivatives, zero for fixed parameters, and what is wrong with it."""
    minuit.hesse()
    if minuit.covariance is None or not minuit.fmin.has_posdef_covar:
        nothing = np.full((len(free),) * 2, np.nan)
        return nothing, "the curvature at the minimum is not positive: the events do not determine all parameters"
    inverse = np.where(free[:, None] & free, np.array(minuit.covariance, dtype=np.float64), 0.0)
    if _equal_weights(likelihood):
        return inverse, None
    return np.asarray(inverse @ likelihood.score_covariance(shape) @ inverse), None
