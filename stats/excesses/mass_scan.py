r"""Significance of a resonance of any mass and width, with the background fitted together with it.

For every hypothesis the spectrum is fitted as background + strength * template,

.. math:: q_0 = -2 \ln \frac{L(0, \hat{\hat\theta})}{L(\hat s, \hat\theta)}, \qquad Z = \mathrm{sign}(\hat s) \sqrt{q_0}

(arXiv:1007.1727; with its sign, so that deficits count as such). Nothing is blinded: the template says where the signal is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.compiled import in_threads
from resonaut.errors import InputError
from resonaut.stats.engine.batched import BatchFit, fit_batch
from resonaut.stats.engine.design import Design, pooled_importance
from resonaut.stats.fits.fit import fit_background, require_fit
from resonaut.stats.functions import DEFAULT_SQRTS
from resonaut.stats.records import brief, plain, restore
from resonaut.stats.regions import fit_region
from resonaut.stats.shapes.signals import gaussian_template
from resonaut.stats.spectrum import Spectrum, poisson_counts, require_events
from resonaut.stats.toy_tools import poisson_toys, require_toys

__all__ = ("SignificanceScan", "significance_scan", "toy_significances")

FloatArray = npt.NDArray[np.float64]
Shape = Callable[[float, float, FloatArray], npt.ArrayLike]

CHUNK = 250  # toys of one random stream


@dataclass(frozen=True, eq=False)
class SignificanceScan:
    """Significance against mass and width; (M, W) arrays have masses along the first axis.

    Attributes
    ----------
    masses : ndarray of shape (M,)
        GeV.
    widths : ndarray of shape (W,)
        Relative to the mass.
    strength, strength_error : ndarray of shape (M, W)
        Fitted events of the whole resonance and their standard deviation.
    significance : ndarray of shape (M, W)
        Signed; NaN where a fit failed.
    function : str
    sqrts : float
        GeV.
    edges : ndarray of shape (bins + 1,)
        Of the fitted range (GeV).
    counts, background : ndarray of shape (bins,)
        Data, and the fit without signal.
    templates : ndarray of shape (M, W, bins)
        Events of a resonance of strength 1.
    """

    masses: FloatArray
    widths: FloatArray
    strength: FloatArray
    strength_error: FloatArray
    significance: FloatArray
    function: str
    sqrts: float
    edges: FloatArray
    counts: FloatArray
    background: FloatArray
    templates: FloatArray

    __repr__ = brief

    @property
    def local_p(self) -> FloatArray:
        """One-sided p-values, above 0.5 for deficits, shape (M, W)."""
        return np.asarray(special.ndtr(-self.significance))

    @property
    def n_failed(self) -> int:
        """Hypotheses whose fit failed."""
        return int(np.isnan(self.significance).sum())

    @property
    def best(self) -> tuple[float, float, float]:
        """Mass (GeV), relative width and significance of the largest excess; NaN if every fit failed."""
        if self.n_failed == self.significance.size:
            return float("nan"), float("nan"), float("nan")
        i, j = np.unravel_index(np.nanargmax(self.significance), self.significance.shape)
        return float(self.masses[i]), float(self.widths[j]), float(self.significance[i, j])

    def design(self) -> Design:
        """Basis of the background fits."""
        importance = pooled_importance(self.background[None], np.ones(len(self.background), dtype=bool))
        return Design.build(self.function, self.edges, sqrts=self.sqrts, importance=importance)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return plain(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SignificanceScan:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        names = set(cls.__dataclass_fields__) - {"function", "sqrts"}
        return restore(cls, content, arrays=dict.fromkeys(names, np.float64))


def significance_scan(
    spectrum: Spectrum,
    masses: npt.ArrayLike,
    widths: npt.ArrayLike = (0.03,),
    *,
    function: str = "dijet4",
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
    shape: Shape | None = None,
) -> SignificanceScan:
    """Fit background and signal for each mass and width.

    Parameters
    ----------
    spectrum : Spectrum
        Unweighted counts.
    masses : array_like of shape (M,)
        GeV.
    widths : array_like of shape (W,)
        Standard deviation over mass.
    function : str
        Background function, or "auto" (chosen without signal).
    sqrts : float
        GeV.
    fit_range : (low, high), optional
        GeV; the whole spectrum by default.
    shape : callable, optional
        ``shape(mass, relative_width, edges)`` -> events in each bin for a strength of 1; a Gaussian by default.

    Returns
    -------
    SignificanceScan
        With NaN where a fit failed.

    Raises
    ------
    InputError
        If spectrum, range, masses or templates cannot be used.
    FitError
        If the fit without signal fails.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.stats import gaussian_template, log_edges
    >>> edges = log_edges(2800.0, 5200.0, 30)
    >>> counts = 8000.0 * np.exp(-0.2 * np.arange(30)) + gaussian_template(3600.0, 110.0, edges, 400.0)
    >>> scan = significance_scan((counts, edges), np.arange(3000.0, 5000.0, 50.0), function="dijet3")
    >>> mass, width, z = scan.best
    >>> mass, round(z, 1)
    (3600.0, 4.9)
    """
    counts, edges = poisson_counts(spectrum)
    inside = np.flatnonzero(fit_region(edges, None, fit_range).in_range)
    counts, edges = counts[inside], edges[inside[0] : inside[-1] + 2]
    points, relative = (np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in (masses, widths))
    if points.ndim != 1 or relative.ndim != 1 or not points.size or not relative.size or not (relative > 0).all():
        msg = f"significance_scan got masses {points.shape} and widths {relative.tolist()}, expected lists, widths > 0"
        raise InputError(msg)
    templates = np.array([[_template(m, w, edges, shape) for w in relative] for m in points])
    require_events(counts, "significance_scan")
    fit = require_fit(fit_background((counts, edges), function=function, sqrts=sqrts))
    size = (len(points), len(relative))
    empty = np.full(size, np.nan)
    scan = SignificanceScan(
        points, relative, empty, empty, empty, fit.function, sqrts, edges, counts, fit.expected, templates
    )
    flat = fit_batch(counts, scan.design(), signal=templates.reshape(-1, len(counts)))
    z = signed_root(flat)
    strength, error = (np.where(np.isnan(z), np.nan, v) for v in (flat.strength, flat.strength_error))
    results = (strength.reshape(size), error.reshape(size), z.reshape(size))
    return SignificanceScan(points, relative, *results, fit.function, sqrts, edges, counts, fit.expected, templates)


def _template(mass: float, width: float, edges: FloatArray, shape: Shape | None) -> FloatArray:
    if shape is None:
        return gaussian_template(mass, width * mass, edges)
    values = np.asarray(shape(mass, width, edges), dtype=np.float64)
    if values.shape != (len(edges) - 1,) or not (np.isfinite(values) & (values >= 0)).all() or not values.any():
        msg = f"shape of mass {mass:.6g} GeV gave values of shape {values.shape}, expected {len(edges) - 1} finite ones >= 0, not all 0"
        raise InputError(msg)
    return values


def signed_root(fit: BatchFit) -> FloatArray:
    """Signed root of q0 of fits with a free strength, NaN where they failed.

    Fits whose background runs to a limit count: their likelihood has a maximum in the strength all the same.
    """
    q0 = np.maximum(fit.null_deviance - fit.deviance, 0.0)
    return np.asarray(np.where(fit.ok & np.isfinite(q0), np.copysign(np.sqrt(q0), fit.strength), np.nan))


def toy_significances(
    scan: SignificanceScan,
    *,
    toys: int = 100,
    seed: int = 0,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """The scan repeated on background-only pseudo-experiments, with all fits made again.

    Parameters
    ----------
    scan : SignificanceScan
        Toys are drawn from its background.
    toys : int
        Some tens are enough for `gross_vitells`; a global p-value p from toys alone needs many times 1 / p.
    seed : int
    threads : int, optional
    progress : callable, optional
        Called with (done, total) toys.

    Returns
    -------
    ndarray of shape (toys, M, W)
        Signed significances; NaN where a fit failed.
    """
    require_toys(toys)
    design, templates = scan.design(), scan.templates.reshape(-1, len(scan.counts))
    theta = fit_batch(scan.background, design).theta
    found = np.empty((toys, len(templates)))
    for first in range(0, toys, CHUNK):
        size = min(CHUNK, toys - first)
        counts = poisson_toys(scan.background, size, [seed, first // CHUNK])
        found[first : first + size] = _all_hypotheses(
            counts, design, templates, np.repeat(theta, size, axis=0), threads
        )
        if progress is not None:
            progress(first + size, toys)
    return found.reshape(toys, *scan.significance.shape)


def _all_hypotheses(
    counts: FloatArray, design: Design, templates: FloatArray, start: FloatArray, threads: int | None
) -> FloatArray:
    """Signed significance of every template in every spectrum, shape (spectra, templates)."""

    def one(template: FloatArray) -> FloatArray:
        return signed_root(fit_batch(counts, design, signal=template, theta=start, threads=1))

    return np.stack(in_threads(one, templates, threads), axis=1)
