r"""Global p-value of a scan without the brute force: upcrossings, the Euler characteristic, and the geometry of the templates.

The significance Z of a scan is a random field over the hypotheses. Its chance to exceed a high level anywhere is the
expected Euler characteristic of the region above it. Along one dimension (mass)

.. math:: p_\mathrm{global} \le Q(z) + N(z), \qquad N(z) = N(z_0) \, e^{-(z^2 - z_0^2) / 2}

with N the expected number of upcrossings, counted at a low level z0 where a few toys suffice (Gross and Vitells,
arXiv:1005.1891); over mass and width

.. math:: E[\phi(z)] = Q(z) + e^{-z^2/2} (N_1 + z N_2)

with the two numbers from counts at two levels (Vitells and Gross, arXiv:1105.4355). For many events the field is Gaussian
and the same numbers are lengths and areas: each hypothesis is a unit vector (its template in units of the errors, less
what the background fit absorbs), the scan is a curve or a surface of such vectors, :math:`N_1 = L / 2\pi`
with L the length of the curve or half that of the boundary, and :math:`N_2 = A / (2\pi)^{3/2}` with the area A (Adler and
Taylor, Random Fields and Geometry, 2007, chapter 12). That takes no toys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.errors import InputError
from resonaut.stats.engine.batched import fit_batch
from resonaut.stats.excesses.mass_scan import SignificanceScan
from resonaut.stats.records import brief, plain, restore

__all__ = ("TrialsResult", "asimov_trials", "euler_characteristic", "gross_vitells", "upcrossings")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

LEVELS_2D = (0.5, 1.5)
HIGHEST_LEVEL = 5.0  # beyond, no toys are left to count, and exp(u^2 / 2) of none is no number


@dataclass(frozen=True)
class TrialsResult:
    """Global p-value of the largest local significance of a scan.

    Attributes
    ----------
    local_significance, local_p : float
    global_p, global_p_error : float
        Expected Euler characteristic above the local significance (in one dimension the Gross-Vitells bound), at
        most 1, and its error from the number of toys; 0 for the geometric estimate, which has none of that kind and is
        no bound.
    n1, n2 : float
        The two numbers of the field; n2 is 0 in one dimension.
    levels : tuple of float
        Significances at which the toys were counted.
    toys, failed : int
        Toys that were used, and toys with a failed fit (left out); 0 for the geometric estimate.
    method : str
        "upcrossings", "euler characteristic" or "geometry".
    """

    local_significance: float
    local_p: float
    global_p: float
    global_p_error: float
    n1: float
    n2: float
    levels: tuple[float, ...]
    toys: int
    failed: int
    method: str

    __repr__ = brief

    @property
    def global_significance(self) -> float:
        """Standard deviations of `global_p`."""
        return float(-special.ndtri(self.global_p))

    @property
    def trials_factor(self) -> float:
        """global_p / local_p."""
        return self.global_p / self.local_p

    def at(self, local_significance: float) -> float:
        """Global p-value of another local significance of the same scan."""
        z = local_significance
        return float(min(1.0, special.ndtr(-z) + np.exp(-0.5 * z * z) * (self.n1 + z * self.n2)))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return plain(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TrialsResult:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        return restore(cls, content, tuples=("levels",))


def upcrossings(significance: npt.ArrayLike, level: float) -> FloatArray:
    """How often each line of a scan rises through a level.

    Parameters
    ----------
    significance : array_like of shape (toys, points)
    level : float

    Returns
    -------
    ndarray of shape (toys,)

    Examples
    --------
    >>> upcrossings([[0.1, 0.9, 0.3, 0.8, 1.2], [0.7, 0.6, 0.2, 0.1, 0.0]], 0.5).tolist()
    [2.0, 0.0]
    """
    field = np.atleast_2d(np.asarray(significance, dtype=np.float64))
    if field.ndim != 2:
        msg = f"upcrossings got significances of shape {field.shape}, expected (toys, points)"
        raise InputError(msg)
    _require_numbers("upcrossings", field, level)
    above = field >= level
    return np.asarray((above[:, 1:] & ~above[:, :-1]).sum(axis=1), dtype=np.float64)


def euler_characteristic(significance: npt.ArrayLike, level: float) -> FloatArray:
    """Islands less holes of the region above a level, on a grid: points - links + squares.

    Parameters
    ----------
    significance : array_like of shape (toys, M, W)
    level : float

    Returns
    -------
    ndarray of shape (toys,)

    Examples
    --------
    >>> ring = [[[1, 1, 1], [1, 0, 1], [1, 1, 1]]]
    >>> euler_characteristic(ring, 0.5).tolist(), euler_characteristic(ring, -0.5).tolist()
    ([0.0], [1.0])
    """
    field = np.asarray(significance, dtype=np.float64)
    if field.ndim != 3:
        msg = f"euler_characteristic got significances of shape {field.shape}, expected (toys, M, W)"
        raise InputError(msg)
    _require_numbers("euler_characteristic", field, level)
    above = field >= level
    down, right = above[:, 1:] & above[:, :-1], above[:, :, 1:] & above[:, :, :-1]
    squares = down[:, :, 1:] & down[:, :, :-1]
    total = above.sum(axis=(1, 2)) - down.sum(axis=(1, 2)) - right.sum(axis=(1, 2)) + squares.sum(axis=(1, 2))
    return np.asarray(total, dtype=np.float64)


def _require_numbers(name: str, field: FloatArray, level: float) -> None:
    """Raise InputError for NaN, which is neither above nor below a level."""
    missing = int(np.isnan(field).sum())
    if missing or np.isnan(level):
        msg = f"{name} got {missing} significances of {field.size} that are NaN and the level {level}, expected numbers: leave out toys with failed fits"
        raise InputError(msg)


def gross_vitells(
    significance: npt.ArrayLike, local_significance: float, *, levels: tuple[float, ...] | None = None
) -> TrialsResult:
    """Global p-value from a few toys of the whole scan.

    Parameters
    ----------
    significance : array_like of shape (toys, points) or (toys, M, W)
        Signed significances of background-only toys, points in the order of their mass: of `toy_significances`, or of
        any other scan. The points must be close (at most about one resolution apart), or crossings between them are missed.
    local_significance : float
        Largest one in the data.
    levels : tuple of float, optional
        One low significance at which upcrossings are counted (0.5), or for (M, W) two for the Euler characteristic
        (0.5 and 1.5).

    Returns
    -------
    TrialsResult

    Raises
    ------
    InputError
        If there are fewer than two usable toys or points, or the levels do not fit.

    Notes
    -----
    arXiv:1005.1891, equations 3 and 5; arXiv:1105.4355, equation 4. The error of the global p-value is that of the mean
    count of the toys. In one dimension it is an upper bound, tight where it is small, as far as the points are close enough
    to see every crossing: on a coarse grid too few are counted.
    """
    field = np.asarray(significance, dtype=np.float64)
    if field.ndim == 3 and 1 in field.shape[1:]:
        field = field.reshape(len(field), -1)
    if field.ndim not in (2, 3) or min(field.shape) < 2:
        msg = f"gross_vitells got significances of shape {field.shape}, expected (toys, points) or (toys, M, W), at least 2 each"
        raise InputError(msg)
    usable = np.isfinite(field).reshape(len(field), -1).all(axis=1)
    field = field[usable]
    two = field.ndim == 3
    chosen = levels if levels is not None else LEVELS_2D if two else LEVELS_2D[:1]
    if len(chosen) != (2 if two else 1) or len(set(chosen)) != len(chosen):
        msg = f"gross_vitells got levels {chosen}, expected {'two different ones' if two else 'one'}"
        raise InputError(msg)
    if len(field) < 2:
        msg = f"gross_vitells got {len(field)} toys without a failed fit, expected at least 2"
        raise InputError(msg)
    if not all(abs(level) <= HIGHEST_LEVEL for level in chosen):
        msg = f"gross_vitells got levels {chosen}, expected low ones, at most {HIGHEST_LEVEL:g}, which toys do cross"
        raise InputError(msg)
    z = float(local_significance)
    if not np.isfinite(z):
        msg = f"gross_vitells got the local significance {z}, expected a finite number"
        raise InputError(msg)
    numbers = _numbers_2d(field, chosen) if two else _numbers_1d(field, chosen[0])
    each = np.exp(-0.5 * z * z) * (numbers[:, 0] + z * numbers[:, 1])
    n1, n2 = numbers.mean(axis=0)
    p = float(special.ndtr(-z))
    return TrialsResult(
        local_significance=z,
        local_p=p,
        global_p=float(np.clip(p + each.mean(), p, 1.0)),
        global_p_error=float(each.std(ddof=1) / np.sqrt(len(each))),
        n1=float(n1),
        n2=float(n2),
        levels=tuple(float(level) for level in chosen),
        toys=len(field),
        failed=int((~usable).sum()),
        method="euler characteristic" if two else "upcrossings",
    )


def _numbers_1d(field: FloatArray, level: float) -> FloatArray:
    """Estimate of (N1, 0) from each toy, shape (toys, 2)."""
    n1 = upcrossings(field, level) * np.exp(0.5 * level**2)
    return np.stack([n1, np.zeros_like(n1)], axis=1)


def _numbers_2d(field: FloatArray, levels: tuple[float, ...]) -> FloatArray:
    """Estimate of (N1, N2) from each toy, shape (toys, 2): the two equations are linear."""
    u = np.array(levels)
    seen = np.stack([euler_characteristic(field, level) - special.ndtr(-level) for level in levels], axis=1)
    matrix = np.exp(-0.5 * u**2)[:, None] * np.stack([np.ones_like(u), u], axis=1)
    return np.asarray(np.linalg.solve(matrix, seen.T).T)


def asimov_trials(scan: SignificanceScan, local_significance: float | None = None) -> TrialsResult:
    """Global p-value of a scan from the geometry of its templates, without toys.

    Parameters
    ----------
    scan : SignificanceScan
    local_significance : float, optional
        The largest one of the scan by default.

    Returns
    -------
    TrialsResult

    Raises
    ------
    InputError
        If the scan has a single hypothesis, or no fit succeeded.

    Notes
    -----
    The field is taken as Gaussian: trust it where some ten events lie under the narrowest template, and check it with
    `gross_vitells` elsewhere.
    """
    z = scan.best[2] if local_significance is None else float(local_significance)
    if scan.significance.size < 2 or not np.isfinite(z):
        msg = f"asimov_trials got {scan.significance.size} hypotheses and a significance of {z}, expected a scan with fits"
        raise InputError(msg)
    directions = _directions(scan)
    if 1 in directions.shape[:2]:
        length, area = _length(directions.reshape(-1, directions.shape[-1])), 0.0
    else:
        sides = (directions[0], directions[-1], directions[:, 0], directions[:, -1])
        length, area = 0.5 * sum(_length(side) for side in sides), _area(directions)
    n1, n2 = length / (2.0 * np.pi), area / (2.0 * np.pi) ** 1.5
    p = float(special.ndtr(-z))
    found = TrialsResult(z, p, p, 0.0, float(n1), float(n2), (), 0, 0, "geometry")
    return TrialsResult(z, p, found.at(z), 0.0, float(n1), float(n2), (), 0, 0, "geometry")


def _directions(scan: SignificanceScan) -> FloatArray:
    """Unit vector of each hypothesis, shape (M, W, bins): Z is its scalar product with white noise."""
    root = np.sqrt(np.maximum(scan.background, 1e-300))
    jacobian = fit_batch(scan.background, scan.design()).jacobian[0] / root[:, None]
    absorbed = np.linalg.qr(jacobian)[0]
    white = scan.templates / root
    white = white - (white @ absorbed) @ absorbed.T
    return np.asarray(white / np.linalg.norm(white, axis=-1, keepdims=True))


def _length(line: FloatArray) -> float:
    """Length of a line of unit vectors on their sphere."""
    chord = np.linalg.norm(np.diff(line, axis=0), axis=1)
    return float((2.0 * np.arcsin(np.minimum(0.5 * chord, 1.0))).sum())


def _area(grid: FloatArray) -> float:
    """Area of a grid of unit vectors: two triangles to each square."""
    corner = grid[:-1, :-1], grid[1:, :-1], grid[:-1, 1:], grid[1:, 1:]
    return _triangles(corner[0], corner[1], corner[2]) + _triangles(corner[3], corner[1], corner[2])


def _triangles(a: FloatArray, b: FloatArray, c: FloatArray) -> float:
    u, v = b - a, c - a
    uu, vv, uv = ((x * y).sum(axis=-1) for x, y in ((u, u), (v, v), (u, v)))
    return float(0.5 * np.sqrt(np.maximum(uu * vv - uv**2, 0.0)).sum())
