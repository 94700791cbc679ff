r"""One significance from several: folds of a selection, categories, data-taking periods.

Local p-values of independent samples can be combined (Fisher, Stouffer). When the spectra themselves are at hand, the
simultaneous likelihood is better: every spectrum has a background of its own, all share one signal,

.. math:: L(s) = \prod_k L_k(s\, \epsilon_k, \hat\theta_k), \qquad q_0 = -2 \ln \frac{L(0)}{L(\hat s)},

with the share :math:`\epsilon_k` of the signal that is expected in spectrum k. An excess in one of them alone then counts for
less than the same excess in all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.errors import ConfigError, FitError, InputError, unknown_name
from resonaut.stats.engine.batched import fit_batch
from resonaut.stats.engine.design import Design
from resonaut.stats.excesses.mass_scan import signed_root
from resonaut.stats.fits.fit import fit_background, require_fit
from resonaut.stats.functions import DEFAULT_SQRTS
from resonaut.stats.records import brief, plain, restore
from resonaut.stats.regions import fit_region
from resonaut.stats.shapes.signals import signal_counts
from resonaut.stats.spectrum import Spectrum, poisson_counts, require_events

__all__ = ("CombinedExcess", "combine_folds", "combine_p_values")

FloatArray = npt.NDArray[np.float64]


def combine_p_values(
    p_values: npt.ArrayLike, *, method: str = "stouffer", weights: npt.ArrayLike | None = None
) -> float:
    r"""One p-value from those of independent samples.

    Parameters
    ----------
    p_values : array_like of shape (K,)
        One-sided, in [0, 1].
    method : str
        "stouffer": :math:`Z = \sum w_k Z_k / \sqrt{\sum w_k^2}`, for an effect expected in all of them, best with weights
        proportional to the significance expected in each; or "fisher": :math:`-2 \sum \ln p_k \sim \chi^2_{2K}`, for an effect
        in any of them.
    weights : array_like of shape (K,), optional
        For "stouffer"; equal by default.

    Raises
    ------
    InputError
        If p-values or weights cannot be used.
    ConfigError
        If the method is not known.

    Examples
    --------
    >>> round(combine_p_values([0.01, 0.01]), 6), round(combine_p_values([0.01, 0.01], method="fisher"), 6)
    (0.000501, 0.001021)
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not p.size or not ((p >= 0) & (p <= 1)).all():
        msg = f"combine_p_values got {p.tolist()}, expected a list of p-values in [0, 1]"
        raise InputError(msg)
    if method not in ("stouffer", "fisher"):
        raise ConfigError(unknown_name("method", method, ["stouffer", "fisher"]))
    if method == "fisher":
        if weights is not None:
            msg = "combine_p_values got weights for method 'fisher', expected them with 'stouffer' only"
            raise ConfigError(msg)
        with np.errstate(divide="ignore"):
            return float(special.gammaincc(len(p), -np.log(p).sum()))
    w = np.ones(len(p)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != p.shape or not (np.isfinite(w) & (w >= 0)).all() or not w.any():
        msg = f"combine_p_values got weights {w.tolist()} for {len(p)} p-values, expected one finite weight >= 0 each"
        raise InputError(msg)
    used = w > 0
    z = -special.ndtri(p[used]) * w[used]
    if np.isposinf(z).any() and np.isneginf(z).any():
        msg = "combine_p_values got p-values of 0 and of 1, which contradict each other"
        raise InputError(msg)
    return float(special.ndtr(-z.sum() / np.sqrt((w**2).sum())))


@dataclass(frozen=True, eq=False)
class CombinedExcess:
    """Signal common to several spectra.

    Attributes
    ----------
    strength, strength_error : float
        Signal events in all spectra together, for a template that sums to one.
    local_p, local_significance : float
        One-sided, signed.
    fold_strength, fold_error, fold_significance : ndarray of shape (K,)
        The same for each spectrum alone; strengths are in the unit of the common one (divided by the share).
    compatibility : float
        p-value that the spectra hold the same signal, from the difference of the two likelihoods (chi2, K - 1 degrees
        of freedom); NaN for one spectrum.
    shares : ndarray of shape (K,)
        Of the signal in each spectrum.
    function : str
    """

    strength: float
    strength_error: float
    local_p: float
    local_significance: float
    fold_strength: FloatArray
    fold_error: FloatArray
    fold_significance: FloatArray
    compatibility: float
    shares: FloatArray
    function: str

    __repr__ = brief

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return plain(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> CombinedExcess:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        names = ("fold_strength", "fold_error", "fold_significance", "shares")
        return restore(cls, content, arrays=dict.fromkeys(names, np.float64))


def combine_folds(
    spectra: Sequence[Spectrum],
    template: Spectrum | npt.ArrayLike,
    *,
    shares: npt.ArrayLike | None = None,
    function: str = "dijet4",
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
) -> CombinedExcess:
    """Fit one signal to several spectra at once, each with its own background.

    Parameters
    ----------
    spectra : sequence of Spectrum
        Independent samples of the same binning, such as the folds of a cross-validated selection.
    template : array_like of shape (bins,) or Spectrum
        Events of the signal in all spectra together for a strength of 1.
    shares : array_like of shape (K,), optional
        Share of the signal expected in each spectrum; equal by default, as for folds dealt out at random.
    function : str
        Background function of every spectrum.
    sqrts : float
        GeV.
    fit_range : (low, high), optional
        GeV.

    Returns
    -------
    CombinedExcess

    Raises
    ------
    InputError
        If spectra, template and shares do not fit together.
    FitError
        If a fit fails.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.stats import gaussian_template, log_edges
    >>> edges = log_edges(2800.0, 5200.0, 30)
    >>> signal = gaussian_template(3600.0, 110.0, edges)
    >>> folds = [(2000.0 * np.exp(-0.2 * np.arange(30)) + 50.0 * signal, edges) for _ in range(4)]
    >>> found = combine_folds(folds, signal)
    >>> float(round(found.local_significance / found.fold_significance[0], 3))  # four equal folds: twice that of one
    2.0
    """
    counts, edges = _aligned(spectra)
    inside = np.flatnonzero(fit_region(edges, None, fit_range).in_range)
    signal = signal_counts(template, edges)[inside]
    counts, edges = counts[:, inside], edges[inside[0] : inside[-1] + 2]
    for row in counts:
        require_events(row, "combine_folds")
    share = _shares(shares, len(counts))
    fits = [require_fit(fit_background((row, edges), function=function, sqrts=sqrts)) for row in counts]
    designs = [Design.build(function, edges, sqrts=sqrts, importance=np.maximum(f.expected, 1e-12)) for f in fits]
    start = [fit_batch(f.expected, design).theta[0] for f, design in zip(fits, designs, strict=True)]
    together = fit_batch(
        counts.reshape(1, -1),
        _stacked(designs),
        signal=(share[:, None] * signal).ravel(),
        theta=np.concatenate(start)[None],
    )
    alone = [
        fit_batch(row, design, signal=eps * signal, theta=theta[None])
        for row, design, eps, theta in zip(counts, designs, share, start, strict=True)
    ]
    z, each = float(signed_root(together)[0]), np.array([signed_root(fit)[0] for fit in alone])
    if not np.isfinite(z) or not np.isfinite(each).all():
        msg = f"combine_folds: {int(np.isnan(each).sum())} of {len(each)} single fits and {int(np.isnan(z))} common fit failed; try fewer parameters or a wider range"
        raise FitError(msg)
    spread = float(together.deviance[0] - sum(fit.deviance[0] for fit in alone))
    degrees = len(counts) - 1
    return CombinedExcess(
        strength=float(together.strength[0]),
        strength_error=float(together.strength_error[0]),
        local_p=float(special.ndtr(-z)),
        local_significance=z,
        fold_strength=np.array([fit.strength[0] for fit in alone]),
        fold_error=np.array([fit.strength_error[0] for fit in alone]),
        fold_significance=each,
        compatibility=float(special.chdtrc(degrees, max(spread, 0.0))) if degrees else float("nan"),
        shares=share,
        function=function,
    )


def _aligned(spectra: Sequence[Spectrum]) -> tuple[FloatArray, FloatArray]:
    if not len(spectra):
        msg = "combine_folds got no spectrum, expected at least one"
        raise InputError(msg)
    parts = [poisson_counts(spectrum) for spectrum in spectra]
    edges = parts[0][1]
    for number, (_, other) in enumerate(parts):
        if other.shape != edges.shape or not np.allclose(other, edges, rtol=1e-9):
            msg = f"combine_folds got spectrum {number} with other bin edges than the first one, expected one binning"
            raise InputError(msg)
    return np.stack([counts for counts, _ in parts]), edges


def _shares(shares: npt.ArrayLike | None, spectra: int) -> FloatArray:
    share = np.full(spectra, 1.0 / spectra) if shares is None else np.asarray(shares, dtype=np.float64)
    if share.shape != (spectra,) or not (np.isfinite(share) & (share > 0)).all():
        msg = f"combine_folds got shares {share.tolist()} for {spectra} spectra, expected one above 0 for each"
        raise InputError(msg)
    return share


def _stacked(designs: Sequence[Design]) -> Design:
    """One design for all spectra side by side: each has its own parameters, which the others do not see."""
    bins, nodes, p = designs[0].basis.shape
    basis = np.zeros((len(designs) * bins, nodes, len(designs) * p))
    physical = np.zeros((len(designs) * p, len(designs) * p))
    for k, design in enumerate(designs):
        basis[k * bins : (k + 1) * bins, :, k * p : (k + 1) * p] = design.basis
        physical[k * p : (k + 1) * p, k * p : (k + 1) * p] = design.to_physical
    weights = np.concatenate([design.weights for design in designs])
    return replace(designs[0], basis=basis, weights=weights, to_physical=physical)
