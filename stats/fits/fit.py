"""Background fit of one spectrum, with its uncertainty and goodness of fit."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError
from resonaut.stats.engine.batched import AT_LIMIT, CONVERGED, fit_batch
from resonaut.stats.engine.design import Design, pooled_importance
from resonaut.stats.fits.choice import choose_functions
from resonaut.stats.fits.fit_result import FitResult, require_counts, require_fit
from resonaut.stats.fits.minuit import Likelihood, Minimum, minimise, minos_errors, starting_points
from resonaut.stats.functions import DEFAULT_SQRTS, NonLinearFunction, background_function
from resonaut.stats.goodness import kolmogorov_smirnov, pearson_chi2
from resonaut.stats.regions import Region, fit_region
from resonaut.stats.spectrum import Spectrum, poisson_counts
from resonaut.stats.weights import weighted_counts
from resonaut.stats.windows import Window

__all__ = ("FitResult", "fit_background", "fit_counts", "require_counts", "require_fit", "status_text")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

logger = logging.getLogger(__name__)

TEV_LIKE = 0.01  # highest edge over sqrts below which masses are more likely in TeV
ERRORS = ("hesse", "minos", "fisher")
SLOW = 0.02  # gain of the deviance in the last step of a fit that runs towards infinity, as in the batched engine
SEPARABLE = 1e-13  # least ratio of eigenvalues of the information of parameters in units of their own errors
UNCONSTRAINED = 100.0  # error over value from which a shape parameter of a non-linear function says nothing


def status_text(code: int) -> str:
    """Words for a status code of the batched engine."""
    return {CONVERGED: "converged", AT_LIMIT: "at limit"}.get(code, "failed: no convergence of the likelihood fit")


def fit_background(
    spectrum: Spectrum,
    window: Window | None = None,
    *,
    function: str = "dijet4",
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
    errors: str = "hesse",
    weighted: bool = False,
) -> FitResult:
    """Extended binned Poisson likelihood fit of a background function, with the signal region blinded.

    Parameters
    ----------
    spectrum : Spectrum
        Counts; or a histogram with weights, see `weighted`.
    window : Window, optional
        Its signal region is left out of the fit. Where an edge of the signal region lies inside a bin, the whole bin is
        left out.
    function : str
        Name of a background function, or "auto": the lowest order of the dijet family that describes the fitted bins
        (see `choose_function`).
    sqrts : float
        Centre-of-mass energy (GeV).
    fit_range : (low, high), optional
        GeV; whole bins inside it are fitted, bins outside (0, sqrts] are left out of the result. The whole spectrum by
        default.
    errors : str
        "hesse": covariance from Minuit's HESSE. "minos": also asymmetric errors of each physical parameter, the
        likelihood profiled over the others. "fisher": inverse Fisher information, without Minuit (four times faster).
    weighted : bool
        The spectrum is a histogram of weights that keeps their squares. Each bin enters as the Poisson count that has the
        same relative error (arXiv:1309.1287); errors are then those of the weighted sample.

    Returns
    -------
    FitResult
        A fit that does not converge is told by its `status`.

    Raises
    ------
    InputError
        If the spectrum or the window cannot be used, or fewer bins than parameters are left.
    ConfigError
        If the function or the kind of errors is not known, or "auto" is asked for with weights.

    Notes
    -----
    The default function is arXiv:2104.02092, equation 4.1. Bins are integrated, not taken at their centres. Minuit starts
    from the solution of the batched engine, or for a function that is not log-linear from several points that Fisher
    scoring has brought near a minimum; it works in coordinates of unit error with the analytic gradient.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.stats import background_function, fit_background, log_edges
    >>> edges = log_edges(2800.0, 5200.0, 30)
    >>> truth = {"p0": 1e-4, "p1": 9.0, "p2": 6.0, "p3": 0.1}
    >>> centres = 0.5 * (edges[1:] + edges[:-1])
    >>> counts = background_function("dijet4").density(centres, truth) * np.diff(edges) * 1e3
    >>> fit = fit_background((counts, edges))
    >>> fit.status, fit.hesse, bool(np.allclose(fit.expected, counts, rtol=1e-5))
    ('converged', 'accurate', True)
    """
    if errors not in ERRORS:
        msg = f"fit_background got errors {errors!r}, expected one of {', '.join(ERRORS)}"
        raise ConfigError(msg)
    counts, edges, scale = weighted_counts(spectrum) if weighted else (*poisson_counts(spectrum), None)
    if fit_range is not None:
        counts, edges, scale = _physical_bins(counts, edges, scale, sqrts)
    if 0 < edges[-1] < TEV_LIKE * sqrts:
        logger.warning("edges %.6g..%.6g GeV with sqrts = %.6g GeV: are the masses in TeV?", edges[0], edges[-1], sqrts)
    region = fit_region(edges, window, fit_range)
    return fit_counts(counts, edges, region, function=function, sqrts=sqrts, errors=errors, scale=scale)


def _physical_bins(
    counts: FloatArray, edges: FloatArray, scale: FloatArray | None, sqrts: float
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """Without the bins outside (0, sqrts], where no function is defined; histograms often start at 0 and end above it."""
    inside = np.flatnonzero((edges[:-1] > 0) & (edges[1:] <= sqrts))
    if len(inside) in (0, len(counts)):
        return counts, edges, scale
    chosen = slice(inside[0], inside[-1] + 1)
    kept = edges[inside[0] : inside[-1] + 2]
    return counts[chosen], kept, None if scale is None else scale[chosen]


class _Solution(NamedTuple):
    """A fit in the coordinates theta of `Likelihood`, in effective counts."""

    expected: FloatArray
    jacobian: FloatArray
    covariance: FloatArray
    natural: FloatArray
    to_natural: FloatArray
    deviance: float
    status: str
    hesse: str = "not run"
    minos: FloatArray | None = None


def fit_counts(
    counts: FloatArray,
    edges: FloatArray,
    region: Region,
    *,
    function: str,
    sqrts: float,
    errors: str = "fisher",
    scale: FloatArray | None = None,
) -> FitResult:
    """`fit_background` for checked counts and a given region; by default the fast fit, for loops."""
    if function == "auto":
        if scale is not None:
            msg = "fit got function 'auto' with weights, expected the name of a function: the F-test needs counts"
            raise ConfigError(msg)
        function = choose_functions(counts, edges, region.fitted, sqrts=sqrts)[0].function
    chosen = background_function(function)
    effective = counts if scale is None else counts / scale
    solve = _solve_single if isinstance(chosen, NonLinearFunction) else _solve_log_linear
    solution = solve(function, effective, edges, region.fitted, sqrts, errors, scale)
    return _result(solution, effective, edges, region, function, sqrts, scale)


def _solve_log_linear(
    function: str,
    counts: FloatArray,
    edges: FloatArray,
    mask: BoolArray,
    sqrts: float,
    errors: str,
    scale: FloatArray | None,
) -> _Solution:
    """The batched engine; then Minuit from there, unless the likelihood has no minimum."""
    design = Design.build(function, edges, sqrts=sqrts, importance=pooled_importance(counts[None], mask))
    if scale is not None:
        design = replace(design, weights=design.weights / scale[:, None])
    batch = fit_batch(counts, design, mask)
    theta, code = batch.theta[0], int(batch.status[0])
    start = _Solution(
        batch.expected[0],
        batch.jacobian[0],
        batch.covariance[0],
        design.to_physical @ theta,
        design.to_physical,
        float(batch.deviance[0]),
        status_text(code),
        minos=_unknown(theta) if errors == "minos" else None,
    )
    if errors == "fisher" or code == AT_LIMIT or not np.isfinite(theta).all():
        return start
    likelihood = Likelihood(design.function, counts, edges, mask, sqrts=sqrts, design=design)
    minimum = minimise(likelihood, theta)
    if code != CONVERGED and not minimum.valid:
        return start._replace(status=f"failed: {minimum.reason}")
    return _solution(likelihood, minimum, "converged", errors)


def _unknown(theta: FloatArray) -> FloatArray:
    """No MINOS errors: there is no minimum to start from."""
    return np.full((len(theta), 2), np.nan)


def _solution(likelihood: Likelihood, minimum: Minimum, status: str, errors: str) -> _Solution:
    expected, jacobian = likelihood.expected(minimum.theta, everywhere=True)
    return _Solution(
        expected,
        jacobian,
        minimum.covariance,
        likelihood.to_natural @ minimum.theta,
        likelihood.to_natural,
        minimum.deviance,
        status,
        minimum.hesse,
        None
        if errors != "minos"
        else minos_errors(likelihood, minimum)
        if status == "converged"
        else _unknown(minimum.theta),
    )


def _solve_single(
    function: str,
    counts: FloatArray,
    edges: FloatArray,
    mask: BoolArray,
    sqrts: float,
    errors: str,
    scale: FloatArray | None,
) -> _Solution:
    """A function that is not log-linear: Minuit from the best of its starts, from the next one if that fails."""
    chosen = background_function(function)
    size = len(chosen.names)
    if not isinstance(chosen, NonLinearFunction) or mask.sum() < size:
        msg = f"fit got {mask.sum()} bins to fit, expected at least {size}: widen the range or use fewer parameters"
        raise InputError(msg)
    likelihood = Likelihood(chosen, counts, edges, mask, sqrts=sqrts, scale=scale)
    if not counts[mask].any():
        nothing = np.zeros((len(counts), size))
        natural = np.array([-np.inf, *chosen.starts[0]])
        return _Solution(nothing[:, 0], nothing, np.zeros((size, size)), natural, np.eye(size), 0.0, "at limit")
    minimum = None
    points = starting_points(likelihood, chosen)
    for theta, _ in points:
        found = minimise(likelihood, theta, hesse=errors != "fisher")
        if minimum is None or (found.valid and found.deviance < minimum.deviance + SLOW):
            minimum = found
        if minimum.valid:
            break
    if minimum is None:
        nothing = np.full((len(counts), size), np.nan)
        status = f"failed: {function} is not finite at any of its starts"
        return _Solution(
            nothing[:, 0], nothing, np.full((size, size), np.nan), nothing[0], np.eye(size), np.nan, status
        )
    return _solution(likelihood, minimum, _single_status(likelihood, minimum, last_gain=points[0][1]), errors)


def _single_status(likelihood: Likelihood, minimum: Minimum, *, last_gain: float) -> str:
    """State of a fit that is not log-linear.

    "at limit" is said of a likelihood that rises slowly without end, of parameters that the data leave open, and of
    parameters whose effects cannot be told apart within the precision of the machine.
    """
    error = np.sqrt(np.diagonal(minimum.covariance))[1:]
    is_open = (error > UNCONSTRAINED * np.maximum(np.abs(minimum.theta[1:]), 1.0)).any()
    if minimum.valid and not is_open and likelihood.conditioning(minimum.theta) > SEPARABLE:
        return "converged"
    if minimum.valid or last_gain < SLOW:
        return "at limit"
    return f"failed: {minimum.reason}"


def _result(
    solution: _Solution,
    counts: FloatArray,
    edges: FloatArray,
    region: Region,
    function: str,
    sqrts: float,
    scale: FloatArray | None,
) -> FitResult:
    """Physical parameters, errors of the expectation and goodness of fit of a solution in effective counts."""
    names = background_function(function).names
    parameters, covariance = _physical(solution, names)
    modes, mu = _modes(solution), solution.expected
    used, seen = mu[region.fitted], counts[region.fitted]
    chi2, distance = pearson_chi2(seen, used, len(names)), kolmogorov_smirnov(seen, used)
    factor = 1.0 if scale is None else scale
    return FitResult(
        function=function,
        sqrts=float(sqrts),
        edges=edges,
        counts=counts * factor,
        mask=region.fitted,
        blinded=region.blinded,
        expected=mu * factor,
        expected_error=mu * factor * np.sqrt((modes**2).sum(axis=1)),
        parameters=parameters,
        covariance=covariance,
        modes=modes,
        chi2=chi2.chi2,
        ndf=chi2.ndf,
        p_value=chi2.p_value,
        ks=distance.distance,
        ks_p_value=distance.p_value,
        deviance=solution.deviance,
        status=solution.status,
        errors="hesse" if solution.hesse == "accurate" else "fisher",
        hesse=solution.hesse,
        asymmetric=_asymmetric(solution, parameters),
        scale=scale,
    )


def _modes(solution: _Solution) -> FloatArray:
    """Columns: change of ln(expected) for one standard deviation along each eigenvector of the covariance."""
    if not np.isfinite(solution.covariance).all():
        return np.full(solution.jacobian.shape, np.nan)
    values, vectors = np.linalg.eigh(solution.covariance)
    log_jacobian = solution.jacobian / np.maximum(solution.expected, 1e-300)[:, None]
    return np.asarray(log_jacobian @ (vectors * np.sqrt(np.maximum(values, 0.0))))


def _physical(solution: _Solution, names: tuple[str, ...]) -> tuple[dict[str, float], FloatArray]:
    """Physical parameters and their covariance; ln p0 becomes p0 by linear propagation."""
    values = solution.natural.copy()
    covariance = solution.to_natural @ solution.covariance @ solution.to_natural.T
    values[0] = np.exp(np.clip(values[0], -700.0, 700.0)) if solution.expected.any() else 0.0
    scale = np.ones(len(values))
    scale[0] = values[0]
    with np.errstate(over="ignore", invalid="ignore"):
        covariance = covariance * scale[:, None] * scale
    return dict(zip(names, map(float, values), strict=True)), np.asarray(covariance)


def _asymmetric(solution: _Solution, parameters: dict[str, float]) -> dict[str, tuple[float, float]]:
    """MINOS errors of the physical parameters; those of ln p0 carry over to p0, as likelihood intervals do."""
    if solution.minos is None:
        return {}
    pairs = solution.minos.copy()
    first = next(iter(parameters.values()))
    with np.errstate(over="ignore"):
        pairs[0] = first * np.expm1(pairs[0])
    return {name: (float(low), float(high)) for name, (low, high) in zip(parameters, pairs, strict=True)}
