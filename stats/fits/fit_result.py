"""What a background fit has found: `FitResult`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import FitError, InputError
from resonaut.stats.goodness import (
    ChiSquare,
    cms_chi2,
    deviance_chi2,
    neyman_chi2,
    pearson_chi2,
    poisson_significance,
)
from resonaut.stats.records import brief

__all__ = ("FitResult", "require_counts", "require_fit")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_ARRAYS = ("edges", "counts", "expected", "expected_error", "covariance", "modes")
_NUMBERS = ("chi2", "p_value", "ks", "ks_p_value", "deviance")  # None in files that know no NaN


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
        Pearson's statistic after merging bins until 5 events are expected, see `pearson_chi2`; others by `chi_squares`.
    ks, ks_p_value : float
        Kolmogorov-Smirnov distance of the fitted bins and its (conservative) p-value.
    deviance : float
        Baker-Cousins likelihood chi2 over all fitted bins.
    status : str
        "converged"; "at limit": the likelihood rises towards an infinite parameter, expected counts can be used,
        parameters and errors less so; or "failed: reason".
    errors : str
        Where the covariance is from: "fisher" or "hesse".
    hesse : str
        "accurate", "not positive definite" or "failed" (the covariance is then the inverse Fisher information), or
        "not run".
    asymmetric : dict of str to (float, float)
        MINOS errors (down, up) of the physical parameters where they were asked for; down is negative. NaN where the
        likelihood has no such crossing.
    scale : ndarray of shape (bins,) or None
        Variance over sum of weights in each bin, for a weighted spectrum.
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
    errors: str = "fisher"
    hesse: str = "not run"
    asymmetric: dict[str, tuple[float, float]] = field(default_factory=dict)
    scale: FloatArray | None = None

    __repr__ = brief

    @property
    def ok(self) -> bool:
        """Whether expected counts can be used."""
        return not self.status.startswith("failed")

    def parameter_errors(self) -> dict[str, float]:
        """Symmetric errors of the physical parameters: roots of the diagonal of the covariance."""
        diagonal = np.sqrt(np.maximum(np.diagonal(self.covariance), 0.0))
        return dict(zip(self.parameters, map(float, diagonal), strict=True))

    def correlation(self) -> FloatArray:
        """Correlations of the physical parameters, of shape (parameters, parameters)."""
        error = np.sqrt(np.maximum(np.diagonal(self.covariance), 1e-300))
        return np.asarray(self.covariance / error[:, None] / error)

    def pulls(self) -> FloatArray:
        """Signed Poisson significance of each bin for the fitted expectation, shape (bins,); see `poisson_significance`."""
        scale = 1.0 if self.scale is None else self.scale
        return poisson_significance(self.counts / scale, self.expected / scale)

    def total(self, bins: npt.ArrayLike) -> tuple[float, float]:
        """Events expected in some bins together and the error of the sum, correlations included.

        Parameters
        ----------
        bins : bool array_like of shape (bins,)
        """
        chosen = np.asarray(bins, dtype=bool)
        gradient = (self.expected[:, None] * self.modes)[chosen].sum(axis=0)
        return float(self.expected[chosen].sum()), float(np.sqrt((gradient**2).sum()))

    def band(self, levels: Sequence[float] = (1.0, 2.0)) -> dict[float, tuple[FloatArray, FloatArray]]:
        """Bands of the expectation, from the full covariance of the parameters.

        They are taken in ln(expected), in which the fit is (nearly) linear: never negative, ``expected +- k error`` where
        the error is small.

        Parameters
        ----------
        levels : sequence of float
            In standard deviations.

        Returns
        -------
        dict of float to (ndarray of shape (bins,), ndarray of shape (bins,))
            Lower and upper bound for each level.

        Examples
        --------
        >>> import numpy as np
        >>> from resonaut.stats import fit_background, log_edges
        >>> fit = fit_background((1e4 * np.exp(-0.2 * np.arange(20)), log_edges(2800.0, 4500.0, 20)))
        >>> low, high = fit.band((1.0,))[1.0]
        >>> bool(np.allclose(high - low, 2 * fit.expected_error, rtol=1e-2))
        True
        """
        width = np.sqrt((self.modes**2).sum(axis=1))
        with np.errstate(over="ignore"):
            return {
                float(k): (self.expected * np.exp(-k * width), self.expected * np.exp(np.minimum(k * width, 700.0)))
                for k in levels
            }

    def chi_squares(self) -> dict[str, ChiSquare]:
        """Chi2 of the fitted bins in the conventions of the field.

        Returns
        -------
        dict of str to ChiSquare
            "pearson" (bins merged until 5 events are expected), "pearson, all bins", "neyman" and "cms" (non-empty
            bins), "deviance". The deviance and Pearson's over all bins follow a chi2 distribution only where the bins
            hold many events: `toy_goodness` calibrates.
        """
        scale = np.ones_like(self.counts) if self.scale is None else self.scale
        counts, expected = (self.counts / scale)[self.mask], (self.expected / scale)[self.mask]
        p = len(self.parameters)
        return {
            "pearson": pearson_chi2(counts, expected, p),
            "pearson, all bins": pearson_chi2(counts, expected, p, min_expected=0.0),
            "neyman": neyman_chi2(counts, expected, p),
            "cms": cms_chi2(counts, expected, p),
            "deviance": deviance_chi2(counts, expected, p),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        content = {item.name: getattr(self, item.name) for item in fields(self)}
        content["asymmetric"] = {name: list(pair) for name, pair in self.asymmetric.items()}
        return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in content.items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> FitResult:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        known = {item.name for item in fields(cls)}
        needed = {item.name for item in fields(cls) if item.default is MISSING and item.default_factory is MISSING}
        wrong = (set(content) - known) | (needed - set(content))
        if wrong:
            msg = f"fit result got keys that differ from the expected ones in {sorted(wrong)}"
            raise InputError(msg)
        values: dict[str, Any] = {
            key: np.nan if value is None and key in _NUMBERS else value for key, value in content.items()
        }
        for name in _ARRAYS:
            values[name] = np.array(values[name], dtype=np.float64)
        for name in ("mask", "blinded"):
            values[name] = np.array(values[name], dtype=bool)
        values["asymmetric"] = {
            name: (np.nan if low is None else low, np.nan if high is None else high)
            for name, (low, high) in values.get("asymmetric", {}).items()
        }
        if values.get("scale") is not None:
            values["scale"] = np.array(values["scale"], dtype=np.float64)
        return cls(**values)


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


def require_counts(fit: FitResult) -> FitResult:
    """The fit itself, or an error if it is one of weights, whose bins are not Poisson counts.

    Raises
    ------
    InputError
    """
    if fit.scale is not None:
        msg = "got a fit of a weighted spectrum, expected one of counts: fit the unweighted spectrum"
        raise InputError(msg)
    return fit
