"""Background fit of one spectrum, with its uncertainty and goodness of fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import FitError, InputError
from resonaut.stats.batched import AT_LIMIT, CONVERGED, BatchFit, fit_batch
from resonaut.stats.choice import choose_functions
from resonaut.stats.design import Design, pooled_importance
from resonaut.stats.functions import DEFAULT_SQRTS
from resonaut.stats.goodness import kolmogorov_smirnov, pearson_chi2, poisson_significance
from resonaut.stats.regions import Region, fit_region
from resonaut.stats.spectrum import Spectrum, poisson_counts
from resonaut.stats.windows import Window

__all__ = ("FitResult", "fit_background", "fit_counts", "status_text")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_ARRAYS = ("edges", "counts", "expected", "expected_error", "covariance", "modes")


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted spectrum.

    Attributes
    ----------
    function : str
        Name of the background function.
    sqrts : float
        GeV.
    edges : ndarray of shape (bins + 1,)
        GeV.
    counts : ndarray of shape (bins,)
    mask : bool ndarray of shape (bins,)
        Bins used in the fit.
    blinded : bool ndarray of shape (bins,)
        Bins of the signal region.
    expected : ndarray of shape (bins,)
        Events expected in every bin, fitted or not.
    expected_error : ndarray of shape (bins,)
        One standard deviation from the full covariance of the parameters.
    parameters : dict of str to float
        Physical parameters; the first is in events / GeV.
    covariance : ndarray of shape (parameters, parameters)
        Of the physical parameters, in the order of `parameters`. They are almost degenerate: use `modes` to propagate.
    modes : ndarray of shape (bins, parameters)
        Change of ln(expected) for one standard deviation along independent directions:
        ``cov(expected) = (e m)(e m)^T``.
    chi2, ndf, p_value : float, int, float
        Pearson's statistic after merging bins until 5 events are expected, see `pearson_chi2`.
    ks, ks_p_value : float
        Kolmogorov-Smirnov distance of the fitted bins and its (conservative) p-value.
    deviance : float
        Baker-Cousins likelihood chi2 over all fitted bins.
    status : str
        "converged", "at limit" (see `resonaut.stats.batched.BatchFit`), or "failed: reason".
    """

    function: str
    sqrts: float
    edges: FloatArray
    counts: FloatArray
    mask: BoolArray
    blinded: BoolArray
    expected: FloatArray
    expected_error: FloatArray
    parameters: dict[str, float]
    covariance: FloatArray
    modes: FloatArray
    chi2: float
    ndf: int
    p_value: float
    ks: float
    ks_p_value: float
    deviance: float
    status: str

    @property
    def ok(self) -> bool:
        """Whether expected counts can be used."""
        return not self.status.startswith("failed")

    def pulls(self) -> FloatArray:
        """Signed Poisson significance of each bin for the fitted expectation, shape (bins,); see `poisson_significance`."""
        return poisson_significance(self.counts, self.expected)

    def total(self, bins: npt.ArrayLike) -> tuple[float, float]:
        """Events expected in some bins together and the error of the sum, correlations included.

        Parameters
        ----------
        bins : bool array_like of shape (bins,)
        """
        chosen = np.asarray(bins, dtype=bool)
        gradient = (self.expected[:, None] * self.modes)[chosen].sum(axis=0)
        return float(self.expected[chosen].sum()), float(np.sqrt((gradient**2).sum()))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in content.items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> FitResult:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        expected = {field.name for field in fields(cls)}
        if set(content) != expected:
            msg = f"fit result got keys that differ from the expected ones in {sorted(set(content) ^ expected)}"
            raise InputError(msg)
        values = dict(content)
        for name in _ARRAYS:
            values[name] = np.array(values[name], dtype=np.float64)
        for name in ("mask", "blinded"):
            values[name] = np.array(values[name], dtype=bool)
        return cls(**values)


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
) -> FitResult:
    """Extended binned Poisson likelihood fit of a background function, with the signal region blinded.

    Parameters
    ----------
    spectrum : Spectrum
        Unweighted counts.
    window : Window, optional
        Its signal region is left out of the fit. Where an edge of the signal region lies inside a bin, the whole bin is
        left out.
    function : str
        Name of a background function, or "auto": the lowest order of the dijet family that describes the fitted bins
        (see `choose_function`).
    sqrts : float
        Centre-of-mass energy (GeV).
    fit_range : (low, high), optional
        GeV; whole bins inside it are fitted. The whole spectrum by default.

    Returns
    -------
    FitResult
        A fit that does not converge is told by its `status`.

    Raises
    ------
    InputError
        If the spectrum or the window cannot be used, or fewer bins than parameters are left.
    ConfigError
        If the function is not known.

    Notes
    -----
    The function is arXiv:2104.02092, equation 4.1. Bins are integrated, not taken at their centres. Errors are from the
    inverse Fisher information.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.stats import background_function, log_edges
    >>> edges = log_edges(2800.0, 5200.0, 30)
    >>> truth = {"p0": 1e-4, "p1": 9.0, "p2": 6.0, "p3": 0.1}
    >>> centres = 0.5 * (edges[1:] + edges[:-1])
    >>> counts = background_function("dijet4").density(centres, truth) * np.diff(edges) * 1e3
    >>> fit = fit_background((counts, edges))
    >>> fit.status, bool(np.allclose(fit.expected, counts, rtol=1e-5))
    ('converged', True)
    """
    counts, edges = poisson_counts(spectrum)
    return fit_counts(counts, edges, fit_region(edges, window, fit_range), function=function, sqrts=sqrts)


def fit_counts(counts: FloatArray, edges: FloatArray, region: Region, *, function: str, sqrts: float) -> FitResult:
    """`fit_background` for checked counts and a given region."""
    if function == "auto":
        function = choose_functions(counts, edges, region.fitted, sqrts=sqrts)[0].function
    importance = pooled_importance(counts[None], region.fitted)
    design = Design.build(function, edges, sqrts=sqrts, importance=importance)
    batch = fit_batch(counts, design, region.fitted)
    parameters, covariance = _physical(batch)
    mu = batch.expected[0]
    used, seen = mu[region.fitted], counts[region.fitted]
    chi2 = pearson_chi2(seen, used, design.n_parameters)
    distance = kolmogorov_smirnov(seen, used)
    return FitResult(
        function=design.function.name,
        sqrts=design.sqrts,
        edges=edges,
        counts=counts,
        mask=region.fitted,
        blinded=region.blinded,
        expected=mu,
        expected_error=batch.expected_error()[0],
        parameters=parameters,
        covariance=covariance,
        modes=_modes(batch),
        chi2=chi2.chi2,
        ndf=chi2.ndf,
        p_value=chi2.p_value,
        ks=distance.distance,
        ks_p_value=distance.p_value,
        deviance=float(batch.deviance[0]),
        status=status_text(int(batch.status[0])),
    )


def _modes(batch: BatchFit) -> FloatArray:
    """Columns: change of ln(expected) for one standard deviation along each eigenvector of the covariance."""
    values, vectors = np.linalg.eigh(batch.covariance[0])
    log_jacobian = batch.jacobian[0] / np.maximum(batch.expected[0], 1e-300)[:, None]
    return np.asarray(log_jacobian @ (vectors * np.sqrt(np.maximum(values, 0.0))))


def _physical(batch: BatchFit) -> tuple[dict[str, float], FloatArray]:
    """Physical parameters and their covariance; ln p0 becomes p0 by linear propagation."""
    design = batch.design
    values = design.to_physical @ batch.theta[0]
    covariance = design.to_physical @ batch.covariance[0] @ design.to_physical.T
    values[0] = np.exp(np.clip(values[0], -700.0, 700.0)) if batch.expected[0].any() else 0.0
    scale = np.ones(len(values))
    scale[0] = values[0]
    with np.errstate(over="ignore", invalid="ignore"):
        covariance = covariance * scale[:, None] * scale
    names = design.function.names
    return dict(zip(names, map(float, values), strict=True)), np.asarray(covariance)


def require_fit(fit: FitResult) -> FitResult:
    """The fit itself, or an error if it failed.

    Raises
    ------
    FitError
    """
    if not fit.ok:
        msg = f"background fit with {fit.function} {fit.status}; expected a converged fit: try fewer parameters or a wider range"
        raise FitError(msg)
    return fit
