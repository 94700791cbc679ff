r"""One spectrum with Minuit: minimum, HESSE and MINOS, for every background function.

The parameters of a falling spectrum are almost degenerate: Minuit in p0, p1, ... stops far from the minimum and still calls
the fit valid. Here it works in coordinates z in which the likelihood is nearly :math:`\sum_k z_k^2 / 2`: the inverse root
of the Fisher information, taken at a start that is (nearly) the minimum already, turns any set of parameters into these.
The gradient is analytic.

A MINOS error of a physical parameter needs the likelihood minimised over all others. In z, a physical parameter is one
direction; the coordinates are rotated so that it is the first of them, and MINOS of that one coordinate is the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from iminuit import Minuit
from scipy import special

from resonaut.stats.engine.design import NODES, Design
from resonaut.stats.functions import BackgroundFunction, NonLinearFunction

__all__ = ("Likelihood", "Minimum", "minimise", "minos_errors", "scoring", "starting_points")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

ROUNDS = 3  # of whitening and minimisation; log-linear functions need one, the others one or two
FAR = 0.5  # standard deviations: a minimum further from the point of whitening than this is whitened again
FLAT = 1e-14  # least information in any direction, relative to the largest: below it there is none
OUTSIDE = 1e30  # deviance where a function is not defined


class Likelihood:
    """Poisson likelihood of one spectrum, in coordinates theta.

    The coordinates are those of `Design` for a log-linear function, the natural parameters (ln p0, p1, ...) otherwise.

    Parameters
    ----------
    function : BackgroundFunction
    counts : ndarray of shape (bins,)
    edges : ndarray of shape (bins + 1,)
        GeV.
    mask : bool ndarray of shape (bins,)
        Bins that are fitted.
    sqrts : float
        GeV.
    design : Design, optional
        Of the log-linear function.
    scale : ndarray of shape (bins,), optional
        Variance over sum of weights, where the counts are effective ones and there is no design that has it.
    """

    def __init__(
        self,
        function: BackgroundFunction,
        counts: FloatArray,
        edges: FloatArray,
        mask: BoolArray,
        *,
        sqrts: float,
        design: Design | None = None,
        scale: FloatArray | None = None,
    ) -> None:
        self.function, self.counts, self.mask = function, counts[mask], mask
        self._function, self._sqrts = function, sqrts
        if design is not None:
            self.to_natural, self._basis, self._weights = design.to_physical, design.basis, design.weights
            self._fitted_basis = np.ascontiguousarray(design.basis[mask])
        else:
            point, weight = np.polynomial.legendre.leggauss(NODES)
            half = 0.5 * np.diff(edges)[:, None]
            self._mass, self._weights = 0.5 * (edges[1:] + edges[:-1])[:, None] + half * point, half * weight
            self._fitted_mass = self._mass[mask]
            if scale is not None:
                self._weights = self._weights / scale[:, None]
            self.to_natural = np.eye(len(function.names))
        self._design = design
        self._fitted_weights = self._weights[mask]

    def expected(self, theta: FloatArray, *, everywhere: bool = False) -> tuple[FloatArray, FloatArray]:
        """Expected counts of the fitted (or of all) bins and their derivatives by theta, (bins,) and (bins, parameters)."""
        weights = self._weights if everywhere else self._fitted_weights
        if self._design is not None:
            basis = self._basis if everywhere else self._fitted_basis
            logarithm = basis @ theta
        else:
            mass = self._mass if everywhere else self._fitted_mass
            with np.errstate(all="ignore"):
                logarithm = self._function.log_density(mass, theta, self._sqrts)
                basis = self._function.gradient(mass, theta, self._sqrts)
        with np.errstate(over="ignore", invalid="ignore"):
            value = np.exp(np.clip(logarithm, -700.0, 700.0)) * weights
            return value.sum(axis=1), np.matmul(value[:, None, :], basis)[:, 0]

    def deviance(self, theta: FloatArray) -> float:
        """Baker-Cousins deviance over the fitted bins; `OUTSIDE` where the function is not defined."""
        value = 2.0 * float(special.kl_div(self.counts, self.expected(theta)[0]).sum())
        return value if np.isfinite(value) else OUTSIDE

    def slope(self, theta: FloatArray) -> FloatArray:
        """Gradient of the deviance."""
        mu, jacobian = self.expected(theta)
        with np.errstate(over="ignore", invalid="ignore"):
            slope = 2.0 * ((1.0 - self.counts / np.maximum(mu, 1e-300)) @ jacobian)
        return np.nan_to_num(slope, posinf=0.0, neginf=0.0)

    def information(self, theta: FloatArray) -> FloatArray:
        """Fisher information of theta."""
        mu, jacobian = self.expected(theta)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.nan_to_num((jacobian / np.maximum(mu, 1e-300)[:, None]).T @ jacobian, posinf=1e300)

    def conditioning(self, theta: FloatArray) -> float:
        """Ratio of the least to the largest eigenvalue of the information, with its diagonal scaled to one."""
        values = np.linalg.eigvalsh(_scaled(self.information(theta))[0])
        return float(values[0] / max(values[-1], 1e-300))


@dataclass(frozen=True)
class Minimum:
    """A minimum of `Likelihood`.

    Attributes
    ----------
    theta : ndarray of shape (parameters,)
    covariance : ndarray of shape (parameters, parameters)
        Of theta: from HESSE where that worked, else the inverse Fisher information.
    deviance : float
    valid : bool
        Whether Minuit calls the minimum valid.
    reason : str
        Why not.
    hesse : str
        "accurate", "not positive definite", "failed" or "not run".
    edm : float
        Minuit's estimated distance to the minimum, in units of the deviance.
    """

    theta: FloatArray
    covariance: FloatArray
    deviance: float
    valid: bool
    reason: str
    hesse: str
    edm: float


def whitening(information: FloatArray) -> FloatArray:
    """T with ``theta = origin + T z`` such that z has unit errors; directions without information get large steps.

    The information is brought to unit diagonal first, since natural parameters differ in scale.
    """
    scaled, scale = _scaled(information)
    values, vectors = np.linalg.eigh(scaled)
    return np.asarray(scale[:, None] * (vectors / np.sqrt(np.maximum(values, FLAT * max(values[-1], 1e-300)))))


def root_of(covariance: FloatArray) -> FloatArray:
    """T with ``T T^T`` the covariance; it is brought to unit diagonal first, since natural parameters differ in scale."""
    error = np.sqrt(np.maximum(np.diagonal(covariance), 1e-300))
    values, vectors = np.linalg.eigh(covariance / error[:, None] / error)
    return np.asarray(error[:, None] * (vectors * np.sqrt(np.maximum(values, FLAT * values[-1]))))


def _scaled(information: FloatArray) -> tuple[FloatArray, FloatArray]:
    diagonal = np.diagonal(information)
    scale = 1.0 / np.sqrt(np.maximum(diagonal, max(1e-12 * diagonal.max(), 1e-300)))
    return information * scale[:, None] * scale, scale


def _minuit(likelihood: Likelihood, origin: FloatArray, transform: FloatArray) -> Minuit:
    def cost(z: FloatArray) -> float:
        with np.errstate(over="ignore", invalid="ignore"):  # Minuit tries points far outside
            return likelihood.deviance(origin + transform @ z)

    def gradient(z: FloatArray) -> FloatArray:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(likelihood.slope(origin + transform @ z) @ transform)

    engine = Minuit(cost, np.zeros(len(origin)), grad=gradient)
    engine.errordef = Minuit.LEAST_SQUARES
    engine.errors = np.ones(len(origin))
    engine.tol = 0.01  # estimated distance to the minimum below 2e-5 in the deviance
    engine.print_level = -1  # Minuit would print errors that the status tells
    return engine


def minimise(likelihood: Likelihood, theta: FloatArray, *, hesse: bool = True) -> Minimum:
    """Minuit's minimum from a start near to it.

    Parameters
    ----------
    likelihood : Likelihood
    theta : ndarray of shape (parameters,)
        Start.
    hesse : bool
        Run HESSE, and take its covariance where it is accurate.
    """
    for _ in range(ROUNDS):
        transform = whitening(likelihood.information(theta))
        engine = _minuit(likelihood, theta, transform)
        engine.migrad()
        moved = np.array(engine.values)
        if engine.fval <= likelihood.deviance(theta) + 1e-9:  # never further from the minimum than the start
            theta = theta + transform @ moved
        if engine.valid and np.abs(moved).max() < FAR:
            break
    white = whitening(likelihood.information(theta))
    covariance, state = white @ white.T, "not run"
    if hesse:
        covariance, state = _hesse(likelihood, theta, white)
    reason = "" if engine.valid else _reason(engine)
    return Minimum(
        theta, covariance, likelihood.deviance(theta), bool(engine.valid), reason, state, float(engine.fmin.edm)
    )


def _hesse(likelihood: Likelihood, theta: FloatArray, white: FloatArray) -> tuple[FloatArray, str]:
    engine = _minuit(likelihood, theta, white)
    engine.hesse()  # strategy 1: the small steps of strategy 2 drown in the rounding of large counts
    if engine.covariance is None or engine.fmin.hesse_failed:
        return white @ white.T, "failed"
    if not engine.fmin.has_accurate_covar or engine.fmin.has_made_posdef_covar:
        return white @ white.T, "not positive definite"
    return white @ np.array(engine.covariance) @ white.T, "accurate"


def _reason(engine: Minuit) -> str:
    if engine.fmin.has_reached_call_limit:
        return "Minuit reached its limit of calls"
    if engine.fmin.is_above_max_edm:
        return f"Minuit's distance to the minimum stays at {engine.fmin.edm:.2g}"
    return "Minuit found no valid minimum"


def minos_errors(likelihood: Likelihood, minimum: Minimum) -> FloatArray:
    """Asymmetric errors of the natural parameters (ln p0, p1, ...).

    Returns
    -------
    ndarray of shape (parameters, 2)
        Down (negative) and up: where the deviance, minimised over all other parameters, is one above its minimum. NaN
        where it never is, or MINOS failed.
    """
    white = root_of(minimum.covariance)
    errors = np.full((len(minimum.theta), 2), np.nan)
    for k, row in enumerate(likelihood.to_natural @ white):
        length = float(np.linalg.norm(row))
        engine = _minuit(likelihood, minimum.theta, white @ _first_along(row / length))
        engine.migrad()
        if not engine.valid:
            continue
        try:
            engine.minos(0)
        except RuntimeError:  # Minuit's way to say that the minimum is not good enough
            continue
        found = engine.merrors[0]
        shift = engine.values[0]  # rounding apart, zero
        if found.lower_valid:
            errors[k, 0] = length * (found.lower + shift)
        if found.upper_valid:
            errors[k, 1] = length * (found.upper + shift)
    return errors


def _first_along(direction: FloatArray) -> FloatArray:
    """Orthogonal matrix whose first column is a unit vector (a Householder reflection)."""
    mirror = direction.copy()
    sign = 1.0 if direction[0] <= 0 else -1.0
    mirror[0] -= sign
    reflection = np.eye(len(direction)) - 2.0 * np.outer(mirror, mirror) / (mirror @ mirror)
    return np.asarray(reflection * np.where(np.arange(len(direction)) == 0, sign, 1.0))


def scoring(likelihood: Likelihood, theta: FloatArray, *, iterations: int) -> tuple[FloatArray, float]:
    """Damped Fisher scoring along geodesics: brings a rough start near the minimum.

    Functions such as ``(1 + p1 x)^-p2`` have long curved valleys, in which straight steps are short. Each step gets the
    second-order term of arXiv:1201.5885, from one more evaluation; in these valleys it saves nine iterations of ten.

    Parameters
    ----------
    likelihood : Likelihood
    theta : ndarray of shape (parameters,)
    iterations : int

    Returns
    -------
    theta : ndarray of shape (parameters,)
        The best point that was seen.
    gain : float
        What the last step has gained in the deviance.
    """
    best, damping, gain = likelihood.deviance(theta), 1e-3, np.inf
    for _ in range(iterations):
        step = _geodesic_step(likelihood, theta, damping)
        value = np.inf if step is None else likelihood.deviance(theta + step)
        if step is not None and value < best:
            gain, best, theta = best - value, value, theta + step
            damping = max(damping / 5.0, 1e-12)
            if gain < 1e-4:
                break
        else:
            damping *= 10.0
            if damping > 1e12:
                break
    return theta, gain


def _geodesic_step(likelihood: Likelihood, theta: FloatArray, damping: float) -> FloatArray | None:
    """A damped step with its second-order correction; None where that is not small, or nothing is finite."""
    probe = 0.1
    mu, jacobian = likelihood.expected(theta)
    mu = np.maximum(mu, 1e-300)
    try:
        with np.errstate(all="ignore"):
            slope = jacobian / mu[:, None]
            information = slope.T @ jacobian
            scale = np.diagonal(information)
            matrix = information + damping * np.diag(np.maximum(scale, 1e-12))
            step = np.linalg.solve(matrix, (likelihood.counts - mu) @ slope)
            ahead = np.log(likelihood.expected(theta + probe * step)[0] / mu)
            curvature = 2.0 / probe * (ahead / probe - slope @ step)
            correction = -0.5 * np.linalg.solve(matrix, jacobian.T @ curvature)
            lengths = [np.sqrt(scale @ vector**2) for vector in (correction, step)]
    except np.linalg.LinAlgError:
        return None
    return step + correction if lengths[0] <= 0.75 * lengths[1] else None


def starting_points(likelihood: Likelihood, function: NonLinearFunction) -> list[tuple[FloatArray, float]]:
    """Starts of a function, normalised to the events in the fitted bins and improved by `scoring`, best first.

    Returns
    -------
    list of (theta, gain)
        See `scoring`. Only the best one is followed to the end of its valley.
    """
    points = []
    for shape in function.starts:
        theta = np.array([0.0, *shape])
        total = likelihood.expected(theta)[0].sum()
        if np.isfinite(total) and total > 0:
            theta[0] = np.log(max(likelihood.counts.sum(), 0.5) / total)
            points.append(scoring(likelihood, theta, iterations=60))
    values = np.array([likelihood.deviance(theta) for theta, _ in points])
    # of equal minima the first start wins: order must not depend on rounding
    points = [points[k] for k in np.argsort(np.round(values, 2), kind="stable")]
    if points and points[0][1] > 1e-4:
        points[0] = scoring(likelihood, points[0][0], iterations=1000)
    return points
