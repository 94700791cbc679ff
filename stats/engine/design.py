"""Nodes, quadrature weights and orthonormal basis of a log-linear function over the bins of a spectrum."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.stats.functions import DEFAULT_SQRTS, BackgroundFunction, background_function
from resonaut.stats.records import brief

__all__ = ("Design", "pooled_importance")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

NODES = 4  # what the compiled engine unrolls; relative error of a bin integral below 1e-8 for bins of 10 % width under a spectrum falling as m^-10


@dataclass(frozen=True)
class Design:
    """The nodes, weights and orthonormal basis that a batch of fits shares.

    Attributes
    ----------
    function : BackgroundFunction
    sqrts : float
        GeV.
    edges : ndarray of shape (bins + 1,)
        GeV.
    basis : ndarray of shape (bins, nodes, parameters)
        Orthonormal basis functions at the nodes.
    weights : ndarray of shape (bins, nodes)
        Quadrature weights (GeV).
    to_physical : ndarray of shape (parameters, parameters)
        ``(ln p0, p1, ...) = to_physical @ theta``.
    """

    function: BackgroundFunction
    sqrts: float
    edges: FloatArray
    basis: FloatArray
    weights: FloatArray
    to_physical: FloatArray

    __repr__ = brief

    @classmethod
    def build(
        cls,
        function: str | BackgroundFunction,
        edges: npt.ArrayLike,
        *,
        sqrts: float = DEFAULT_SQRTS,
        importance: npt.ArrayLike | None = None,
    ) -> Design:
        """Place the nodes and make the basis orthonormal.

        Parameters
        ----------
        function : str or BackgroundFunction
        edges : array_like of shape (bins + 1,)
            GeV, inside (0, sqrts].
        sqrts : float
            GeV.
        importance : array_like of shape (bins,), optional
            Weight of each bin in the scalar product, usually the counts; 0 leaves a bin out. All bins alike by default.

        Raises
        ------
        InputError
            If edges leave (0, sqrts] or do not increase, importances are negative, not finite or not one for each bin, or
            fewer bins than parameters have weight.
        """
        chosen = background_function(function) if isinstance(function, str) else function
        bounds = np.asarray(edges, dtype=np.float64)
        if bounds.ndim != 1 or len(bounds) < 2 or not (np.diff(bounds) > 0).all():
            msg = f"{chosen.name} got edges of shape {bounds.shape}, expected (bins + 1,) that increase strictly"
            raise InputError(msg)
        if not (bounds[0] > 0 and bounds[-1] <= sqrts):
            msg = f"{chosen.name} got edges {bounds[0]:.6g}..{bounds[-1]:.6g}, expected 0 < edges <= sqrts = {sqrts:.6g} GeV"
            if bounds[-1] > sqrts and bounds[0] > 0 and bounds[-1] <= 1000.0 * sqrts and sqrts < 1000.0:
                msg += f"; did you mean sqrts = {1000.0 * sqrts:.6g}?"
            raise InputError(msg)
        point, weight = np.polynomial.legendre.leggauss(NODES)
        half = 0.5 * np.diff(bounds)[:, None]
        mass = 0.5 * (bounds[1:] + bounds[:-1])[:, None] + half * point
        raw = chosen.basis(mass, sqrts)
        share = _importance(importance, len(bounds) - 1, raw.shape[-1])
        rows = np.sqrt(share[:, None] * weight / 2.0).ravel()
        flat = raw.reshape(-1, raw.shape[-1])
        r = np.linalg.qr(rows[:, None] * flat, mode="r")
        to_physical = np.linalg.inv(r)
        return cls(chosen, float(sqrts), bounds, raw @ to_physical, half * weight, to_physical)

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return len(self.weights)

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return len(self.to_physical)

    def expected(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Expected counts and their derivatives.

        Parameters
        ----------
        theta : ndarray of shape (spectra, parameters)

        Returns
        -------
        expected : ndarray of shape (spectra, bins)
        jacobian : ndarray of shape (spectra, bins, parameters)
        """
        value = self._at_nodes(theta)
        jacobian = np.matmul(value.transpose(1, 0, 2), self.basis).transpose(1, 0, 2)
        return value.sum(axis=2), jacobian

    def counts(self, theta: FloatArray) -> FloatArray:
        """Expected counts alone, shape (spectra, bins)."""
        return np.asarray(self._at_nodes(theta).sum(axis=2))

    def _at_nodes(self, theta: FloatArray) -> FloatArray:
        flat = self.basis.reshape(-1, self.n_parameters)
        exponent = np.clip(theta @ flat.T, -700.0, 700.0)
        return np.asarray(np.exp(exponent).reshape(len(theta), *self.weights.shape) * self.weights)

    def part(self, bins: BoolArray) -> Design:
        """The same basis on some of the bins, for predictions there; its edges stay those of all bins."""
        return replace(self, basis=self.basis[bins], weights=self.weights[bins])


def _importance(importance: npt.ArrayLike | None, bins: int, parameters: int) -> FloatArray:
    """Normalised weight of each bin in the scalar product, with a floor that keeps every direction in sight."""
    if importance is None:
        return np.full(bins, 1.0 / bins)
    raw = np.asarray(importance, dtype=np.float64)
    if raw.shape != (bins,) or not (np.isfinite(raw) & (raw >= 0)).all():
        msg = f"design got importance of shape {raw.shape}, smallest {raw.min(initial=np.inf):.6g}, expected {bins} finite numbers >= 0"
        raise InputError(msg)
    used = raw > 0
    if used.sum() < parameters:
        msg = (
            f"fit got {used.sum()} bins to fit, expected at least {parameters}: widen the range or use fewer parameters"
        )
        raise InputError(msg)
    floor = 1e-6 * raw.max()
    share = np.where(used, np.maximum(raw, floor), 0.0)
    return np.asarray(share / share.sum())


def pooled_importance(counts: FloatArray, used: BoolArray) -> FloatArray:
    """Weight of each bin for `Design.build`: mean of the spectra, each normalised, above a floor; 0 where not used."""
    total = np.maximum(counts[:, used].sum(axis=1, keepdims=True), 1.0)
    mean = ((counts + 0.5 / counts.shape[1]) / total).mean(axis=0)
    return np.asarray(np.where(used, np.maximum(mean, 1e-12), 0.0))
