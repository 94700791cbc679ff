r"""Upper limits on a signal, CLs with the profile likelihood.

Test statistic q-tilde and asymptotic distributions of Cowan, Cranmer, Gross, Vitells (arXiv:1007.1727), CLs of Read; the
same as ``pyhf.infer.hypotest(..., test_stat="qtilde")`` on the workspace of `build_workspace`. Profiles over many signal
strengths are taken at once by `resonaut.stats.profiling`, and every observed limit is put to pyhf itself: `cls_pyhf` of
a result is the CLs that pyhf finds at the observed limit, 0.05 if all is well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyhf
from scipy import special

from resonaut.errors import ConfigError, FitError, InputError, ResonautError
from resonaut.stats.choice import choose_functions
from resonaut.stats.fit import FitResult, fit_counts
from resonaut.stats.functions import DEFAULT_SQRTS
from resonaut.stats.profiling import SignalModel
from resonaut.stats.regions import fit_region
from resonaut.stats.spectrum import Spectrum, poisson_counts
from resonaut.stats.workspace import MODIFIER_SETTINGS, build_workspace, signal_counts, signal_model

__all__ = ("LimitResult", "asymptotic_cls", "limit_scan", "pyhf_cls", "upper_limit")

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

BAND = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
GRID = 33
AGREEMENT = 0.05  # relative, of pyhf's CLs with ours before it is reported


@dataclass(frozen=True)
class LimitResult:
    """Upper limit on one signal.

    Attributes
    ----------
    signal : str
        Name of the signal.
    mass : float
        GeV.
    observed : float
        Limit at the confidence level; NaN if it could not be found.
    expected : tuple of 5 floats
        -2, -1, 0, +1, +2 standard deviations for background alone.
    unit : str
        "events": signal events in the fitted spectrum, the signal strength times the sum of the template.
    strength : float
        Best-fit signal, not below 0, in the same unit.
    cl : float
        Confidence level.
    cls_pyhf : float
        CLs of pyhf at the observed limit; NaN if it was not asked for.
    status : str
        "converged" or "failed: reason".
    function : str
        Background function.
    """

    signal: str
    mass: float
    observed: float
    expected: tuple[float, float, float, float, float]
    unit: str
    strength: float
    cl: float
    cls_pyhf: float
    status: str
    function: str

    @property
    def ok(self) -> bool:
        """Whether there is a limit."""
        return not self.status.startswith("failed")

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {**asdict(self), "expected": list(self.expected)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> LimitResult:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        try:
            return cls(**{**content, "expected": tuple(content["expected"])})
        except (KeyError, TypeError) as error:
            msg = f"limit result could not be read: {error}"
            raise InputError(msg) from error


def asymptotic_cls(q: npt.ArrayLike, q_asimov: npt.ArrayLike) -> FloatArray:
    """CLs for an observed q-tilde and that of the background-only Asimov spectrum (arXiv:1007.1727, section 3.6).

    Examples
    --------
    >>> round(float(asymptotic_cls(3.84, 3.84)), 3)  # observation at the median: CLs = CLs+b / 0.5
    0.05
    """
    root, root_a = np.sqrt(np.asarray(q, dtype=np.float64)), np.sqrt(np.asarray(q_asimov, dtype=np.float64))
    safe = np.maximum(root_a, 1e-12)
    shift = np.where(root <= root_a, root - root_a, (root**2 - root_a**2) / (2.0 * safe))
    return np.asarray(special.ndtr(-(shift + root_a)) / special.ndtr(-shift))


class _Hypotests:
    """CLs of many signal strengths on one spectrum and on its background-only Asimov spectrum."""

    def __init__(self, model: SignalModel, counts: FloatArray):
        self.model, self.counts = model, counts
        null = model.profile(counts, 0.0)
        best = model.maximum(counts)
        if not (null.converged[0] and best.converged[0]):
            msg = (
                "profile likelihood did not converge at the best fit: expected a spectrum that the background describes"
            )
            raise FitError(msg)
        self.strength, self.minimum = float(best.strength[0]), float(best.twice_nll[0])
        self.centre = null.nuisance[0]
        self.asimov = model.expected(np.zeros(1), null.nuisance)[0][0]

    def __call__(self, strength: FloatArray) -> FloatArray:
        """CLs of shape (6, strengths): five expected, then observed."""
        observed = self.model.profile(self.counts, strength)
        asimov = self.model.profile(self.asimov, strength, self.centre)
        q = np.where(strength > self.strength, np.maximum(observed.twice_nll - self.minimum, 0.0), 0.0)
        root_a = np.sqrt(np.maximum(asimov.twice_nll, 0.0))
        band = special.ndtr(BAND[:, None] - root_a) / special.ndtr(BAND)[:, None]
        cls = np.concatenate([band, asymptotic_cls(q, root_a**2)[None]])
        cls[:5, ~asimov.converged] = np.nan
        cls[5, ~(observed.converged & asimov.converged)] = np.nan
        return np.asarray(cls)

    def scale(self) -> float:
        """A signal strength of the size of the limit: statistical error, but at least the strength of one event."""
        information = (self.model.signal**2 / np.maximum(self.asimov, 1e-9)).sum()
        return float(max(1.0 / np.sqrt(information), 1.0 / self.model.signal.sum(), 1e-300))

    def solve(self, alpha: float) -> FloatArray:
        """Strengths at which each of the six CLs is alpha, shape (6,); NaN where none was found."""
        low, high = 0.05 * self.scale(), 40.0 * (self.scale() + self.strength)
        brackets = np.full((6, 2), np.nan)
        for _ in range(6):
            grid = np.geomspace(low, high, GRID)
            cls = self(grid)
            for row in range(6):
                brackets[row] = _bracket(grid, cls[row], alpha)
            if np.isfinite(brackets).all():
                break
            low, high = low / 20.0, high * 20.0
        return np.array(
            [self._refine(row, float(brackets[row, 0]), float(brackets[row, 1]), alpha) for row in range(6)]
        )

    def _refine(self, row: int, low: float, high: float, alpha: float) -> float:
        for _ in range(2):
            if not np.isfinite(low):
                return float("nan")
            grid = np.linspace(low, high, 7)
            cls = self(grid)[row]
            low, high = _bracket(grid, cls, alpha)
        log_cls = np.log(np.interp([low, high], grid, cls))
        return float(np.interp(-np.log(alpha), -log_cls, [low, high]))


def _bracket(grid: FloatArray, cls: FloatArray, alpha: float) -> tuple[float, float]:
    """Neighbours on the grid around the last crossing of alpha; bad points are skipped."""
    good = np.isfinite(cls)
    x, y = grid[good], cls[good]
    above = np.flatnonzero(y > alpha)
    if not len(above) or above[-1] + 1 >= len(x):
        return float("nan"), float("nan")
    return float(x[above[-1]]), float(x[above[-1] + 1])


@contextmanager
def _numpy_backend() -> Iterator[None]:
    """pyhf's numpy backend with Minuit; the backend that was set before is put back."""
    before = pyhf.get_backend()
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer())
    try:
        yield
    finally:
        pyhf.set_backend(*before)


def pyhf_cls(workspace: Mapping[str, Any], strength: float) -> tuple[float, FloatArray]:
    """CLs that pyhf finds for a workspace of `build_workspace` at one signal strength.

    Parameters
    ----------
    workspace : mapping
    strength : float
        In units of the workspace's template.

    Returns
    -------
    observed : float
    expected : ndarray of shape (5,)
        -2, -1, 0, 1, 2 standard deviations of the test statistic.

    Raises
    ------
    FitError
        If pyhf's minimiser fails.
    """
    with _numpy_backend():
        try:
            model = pyhf.Workspace(workspace).model(modifier_settings=MODIFIER_SETTINGS)
            data = pyhf.Workspace(workspace).data(model)
            bounds = model.config.suggested_bounds()
            bounds[model.config.poi_index] = (0.0, max(10.0 * strength, 1e-9))
            init = model.config.suggested_init()
            init[model.config.poi_index] = strength
            observed, expected = pyhf.infer.hypotest(
                strength, data, model, init, bounds, test_stat="qtilde", return_expected_set=True
            )
        except (pyhf.exceptions.FailedMinimization, ValueError) as error:
            msg = f"pyhf could not test strength {strength:.6g}: {error}"
            raise FitError(msg) from error
    return float(observed), np.array([float(value) for value in expected])


def upper_limit(
    spectrum: Spectrum,
    signal: Spectrum | npt.ArrayLike,
    *,
    function: str = "dijet4",
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
    signal_uncertainty: float = 0.0,
    cl: float = 0.95,
    mass: float = float("nan"),
    name: str = "signal",
    check: bool = True,
) -> LimitResult:
    """Observed and expected CLs upper limit on the number of signal events.

    Parameters
    ----------
    spectrum : Spectrum
        Unweighted counts.
    signal : array_like of shape (bins,) or Spectrum
        Template in the bins of the spectrum; only its shape matters.
    function : str
        Name of a background function, or "auto" (chosen outside the bins of the signal peak).
    sqrts : float
        GeV.
    fit_range : (low, high), optional
        GeV.
    signal_uncertainty : float
        Relative uncertainty of the signal yield.
    cl : float
        Confidence level.
    mass, name
        Labels of the result.
    check : bool
        Whether pyhf re-evaluates the observed limit on the JSON workspace.

    Returns
    -------
    LimitResult
        In units of signal events in the fitted spectrum.

    Raises
    ------
    InputError, ConfigError
        If the input cannot be used.
    FitError
        If no limit was found.
    """
    if not 0.5 < cl < 1:
        msg = f"upper_limit got cl={cl}, expected 0.5 < cl < 1"
        raise ConfigError(msg)
    counts, edges = poisson_counts(spectrum)
    template = signal_counts(signal, edges)
    region = fit_region(edges, None, fit_range)
    if function == "auto":
        away = region.fitted & (template < 0.05 * template.max())
        function = choose_functions(counts, edges, away, sqrts=sqrts)[0].function
    fit = fit_counts(counts, edges, region, function=function, sqrts=sqrts)
    template = np.where(region.in_range, template, 0.0)
    if not template.sum() > 0:
        msg = f"signal template {name!r} has no events inside the fit range"
        raise InputError(msg)
    template = template / template.sum()
    tests = _Hypotests(signal_model(fit, template, signal_uncertainty=signal_uncertainty), counts[region.in_range])
    limits = tests.solve(1.0 - cl)
    if not np.isfinite(limits).all():
        msg = (
            f"no upper limit for {name}: CLs = {1 - cl:.3g} was not bracketed; check the template against the spectrum"
        )
        raise FitError(msg)
    cls_pyhf = _check(fit, template, signal_uncertainty, float(limits[5]), 1.0 - cl) if check else float("nan")
    return LimitResult(
        signal=name,
        mass=float(mass),
        observed=float(limits[5]),
        expected=tuple(map(float, limits[:5])),  # type: ignore[arg-type]  # five by construction
        unit="events",
        strength=tests.strength,
        cl=cl,
        cls_pyhf=cls_pyhf,
        status="converged",
        function=fit.function,
    )


def _check(fit: FitResult, template: FloatArray, uncertainty: float, limit: float, alpha: float) -> float:
    """CLs of pyhf at the limit, for the record; a disagreement is told, never hidden."""
    # a template scaled to the limit: pyhf then works around a strength of 1
    workspace = build_workspace(fit, template * limit, signal_uncertainty=uncertainty)
    try:
        cls = pyhf_cls(workspace, 1.0)[0]
    except FitError as error:
        logger.warning("the limit could not be checked with pyhf: %s", error)
        return float("nan")
    if abs(cls - alpha) > AGREEMENT * alpha:
        logger.warning("pyhf finds CLs = %.4f at the limit, expected %.4f", cls, alpha)
    return cls


def limit_scan(
    spectrum: Spectrum,
    masses: Iterable[float],
    template: Callable[[float, FloatArray], npt.ArrayLike],
    *,
    function: str = "dijet4",
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
    signal_uncertainty: float = 0.0,
    cl: float = 0.95,
    name: str = "signal",
    check: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[LimitResult, ...]:
    """Upper limit at each mass; a point that fails becomes a result with NaN that says why.

    Parameters
    ----------
    spectrum : Spectrum
    masses : iterable of float
        GeV.
    template : callable
        ``template(mass, edges)`` gives the events of the signal in each bin, e.g.
        ``lambda mass, edges: gaussian_template(mass, 0.03 * mass, edges)``.
    function, sqrts, fit_range, signal_uncertainty, cl, name, check
        As in `upper_limit`.
    progress : callable, optional
        Called with (done, total) after each mass.

    Returns
    -------
    tuple of LimitResult
        In the order of the masses.
    """
    edges = poisson_counts(spectrum)[1]
    points: Sequence[float] = [float(mass) for mass in masses]
    results = []
    for done, mass in enumerate(points, start=1):
        try:
            result = upper_limit(
                spectrum,
                template(mass, edges),
                function=function,
                sqrts=sqrts,
                fit_range=fit_range,
                signal_uncertainty=signal_uncertainty,
                cl=cl,
                mass=mass,
                name=name,
                check=check,
            )
        except ConfigError:
            raise
        except ResonautError as error:
            logger.warning("no limit at %.6g GeV: %s", mass, error)
            nan = float("nan")
            result = LimitResult(name, mass, nan, (nan,) * 5, "events", nan, cl, nan, f"failed: {error}", function)
        results.append(result)
        if progress is not None:
            progress(done, len(points))
    return tuple(results)
