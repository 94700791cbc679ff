r"""Poisson fits of a log-linear function to many spectra at once, by Fisher scoring.

The expected number of events in bin i is an integral of the density, by Gauss-Legendre nodes q inside the bin,

.. math:: \mu_i(\theta) = \sum_{q \in i} w_q \exp\left(\sum_k \theta_k \phi_k(m_q)\right),

and a *cell* is one bin or several neighbouring bins counted together. The likelihood is maximised with the exact score
and the expected (Fisher) information; each step is shortened until the likelihood does not fall. The basis functions
are made orthonormal over the fitted region, weighted by what the data hold there: the information matrix is then close
to the number of events times the unit matrix and the fit is well-conditioned, where Minuit in the physical p0..p3 stops
far from the minimum.

A fit never raises: each spectrum has a status, and failures are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.stats.design import Design

__all__ = ("AT_LIMIT", "CONVERGED", "FAILED", "BatchFit", "covariance_from", "fit_batch")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

CONVERGED, AT_LIMIT, FAILED = 0, 1, 2
MAX_ITERATIONS = 60
MAX_LOG_STEP = 4.0  # largest change of ln f anywhere in the range in one step: keeps exp() and the first steps tame
TOLERANCE = 1e-10  # expected further gain in 2 ln L
SLOW = 0.02  # a fit that still gains this little in 2 ln L per step, at the last one, runs towards infinity
FLAT_INFORMATION = 1e-4  # per event: below it, some shape is unconstrained by the data
CHUNK = 256  # spectra at a time: working arrays stay in the cache
TINY = 1e-300


@dataclass(frozen=True)
class BatchFit:
    """Results of `fit_batch` for N spectra; arrays have the spectrum as their first axis.

    Attributes
    ----------
    design : Design
    theta : ndarray of shape (N, parameters)
        In the orthonormal basis.
    covariance : ndarray of shape (N, parameters, parameters)
        Inverse Fisher information in that basis.
    expected : ndarray of shape (N, bins)
        In every bin, fitted or not.
    jacobian : ndarray of shape (N, bins, parameters)
    deviance : ndarray of shape (N,)
        Baker-Cousins ``2 sum [mu - n + n ln(n / mu)]`` over the fitted cells.
    status : int8 ndarray of shape (N,)
        `CONVERGED`; `AT_LIMIT`: the likelihood rises towards an infinite parameter (for example all events in one
        bin), expected counts are meaningful, parameters and errors less so; `FAILED`.
    iterations : int ndarray of shape (N,)
    """

    design: Design
    theta: FloatArray
    covariance: FloatArray
    expected: FloatArray
    jacobian: FloatArray
    deviance: FloatArray
    status: npt.NDArray[np.int8]
    iterations: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.theta)

    @property
    def n_failed(self) -> int:
        """Spectra whose fit failed."""
        return int((self.status == FAILED).sum())

    @property
    def ok(self) -> BoolArray:
        """Mask of the spectra whose expected counts can be used."""
        return np.asarray(self.status != FAILED)

    def expected_error(self) -> FloatArray:
        """One standard deviation of each expected count from the full covariance, shape (N, bins)."""
        variance = np.einsum("nbp,npq,nbq->nb", self.jacobian, self.covariance, self.jacobian, optimize=True)
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))

    def sum_in(self, bins: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Sum of the expected counts over some bins with its error, correlations included; each of shape (N,)."""
        gradient = self.jacobian[:, bins].sum(axis=1)
        variance = np.einsum("np,npq,nq->n", gradient, self.covariance, gradient)
        return self.expected[:, bins].sum(axis=1), np.sqrt(np.maximum(variance, 0.0))


class _State(NamedTuple):
    mu: FloatArray
    jacobian: FloatArray
    deviance: FloatArray


class _Problem:
    """Spectra of one chunk with their cells: merged bins are summed before the likelihood is taken."""

    def __init__(self, design: Design, counts: FloatArray, mask: BoolArray, starts: npt.NDArray[np.int64] | None):
        self.design, self.starts = design, starts
        self.counts = counts if starts is None else np.add.reduceat(counts, starts, axis=1)
        self.mask = mask if starts is None else np.logical_or.reduceat(mask, starts, axis=1)
        self.counts = np.where(self.mask, self.counts, 0.0)
        self.centre, self.width = design.basis.mean(axis=1), design.weights.sum(axis=1)
        if starts is not None:
            size = np.diff(np.append(starts, design.n_bins))
            self.centre = np.add.reduceat(self.centre, starts, axis=0) / size[:, None]
            self.width = np.add.reduceat(self.width, starts)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.constant = np.where(self.counts > 0, self.counts * np.log(self.counts) - self.counts, 0.0).sum(axis=1)

    def take(self, rows: npt.NDArray[np.int64]) -> _Problem:
        other = object.__new__(_Problem)
        other.design, other.starts, other.centre, other.width = self.design, self.starts, self.centre, self.width
        other.counts, other.mask, other.constant = self.counts[rows], self.mask[rows], self.constant[rows]
        return other

    def evaluate(self, theta: FloatArray) -> _State:
        mu, jacobian = self.design.expected(theta)
        if self.starts is not None:
            mu, jacobian = np.add.reduceat(mu, self.starts, axis=1), np.add.reduceat(jacobian, self.starts, axis=1)
        mu = np.maximum(mu, TINY)
        log_likelihood = np.where(self.mask, self.counts * np.log(mu) - mu, 0.0).sum(axis=1)
        return _State(mu, jacobian, 2.0 * (self.constant - log_likelihood))

    def score_and_information(self, state: _State) -> tuple[FloatArray, FloatArray]:
        used = self.mask / state.mu
        score = np.matmul(((self.counts - state.mu) * used)[:, None, :], state.jacobian)[:, 0]
        information = np.matmul((state.jacobian * used[:, :, None]).transpose(0, 2, 1), state.jacobian)
        return score, information

    def start(self) -> FloatArray:
        """Weighted least squares of the logarithm of the counts (+ 1/2), the usual first step of a Poisson GLM."""
        centre, width = self.centre, self.width
        value = np.where(self.mask, self.counts + 0.5, 0.0)
        target = np.where(self.mask, np.log(np.maximum(value, TINY) / width), 0.0)
        normal = np.einsum("cp,nc,cq->npq", centre, value, centre, optimize=True)
        return _solve(normal, (value * target) @ centre)

    def shorten(self, step: FloatArray, mu: FloatArray) -> FloatArray:
        """Factor that keeps a step from raising a cell by more than e^4, unless it stays below ten times all events.

        Cells far below one event may move freely: they hold no information and would only slow the fit.
        """
        change = step @ self.centre.T
        ceiling = np.log(10.0 * (self.counts.sum(axis=1) + 1.0))[:, None]
        allowed = np.maximum(MAX_LOG_STEP, ceiling - np.log(mu))
        return np.asarray(1.0 / np.maximum(1.0, (change / allowed).max(axis=1)))


def _solve(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    """Solve N small systems; a ridge far below the information of one event keeps singular ones finite."""
    p = matrix.shape[-1]
    ridge = 1e-11 * np.einsum("npp->n", matrix) + 1e-30
    return np.asarray(np.linalg.solve(matrix + ridge[:, None, None] * np.eye(p), vector[..., None])[..., 0])


def covariance_from(information: FloatArray, total: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Inverse information, and which spectra leave a direction unconstrained (its variance is capped there)."""
    values, vectors = np.linalg.eigh(information)
    floor = FLAT_INFORMATION * np.maximum(total, 1e-12)
    flat = np.asarray(values[:, 0] < floor)
    inverse = 1.0 / np.maximum(values, floor[:, None])
    return np.einsum("npk,nk,nqk->npq", vectors, inverse, vectors, optimize=True), flat


def _maximise(problem: _Problem, theta: FloatArray) -> tuple[FloatArray, npt.NDArray[np.int8], npt.NDArray[np.int64]]:
    """Fisher scoring with step-halving; spectra leave the active set as they finish."""
    status = np.full(len(theta), FAILED, dtype=np.int8)
    iterations = np.zeros(len(theta), dtype=np.int64)
    active = np.flatnonzero(problem.mask.any(axis=1))
    theta = theta.copy()
    part = problem.take(active)
    state = part.evaluate(theta[active])
    for _ in range(MAX_ITERATIONS):
        if not len(active):
            break
        score, information = part.score_and_information(state)
        step = _solve(information, score)
        gain = np.einsum("np,np->n", step, score)
        step *= part.shorten(step, state.mu)[:, None]
        new, state, moved = _line_search(part, theta[active], step, state)
        theta[active] = new
        iterations[active] += 1
        # rounding of a deviance built from N ln N terms bounds what a step can still show
        noise = 1e-13 * (np.abs(part.constant) + 1.0)
        done = gain < np.maximum(TOLERANCE, noise)
        stuck = ~moved & ~done
        status[active[done | (stuck & (gain < 1e-6 + 100.0 * noise))]] = CONVERGED
        status[active[~done & (gain < SLOW)]] = AT_LIMIT  # overwritten unless this was the last word
        keep = np.flatnonzero(~done & ~stuck & np.isfinite(gain))
        active, part = active[keep], part.take(keep)
        state = _State(*(field[keep] for field in state))
    return theta, status, iterations


def _line_search(
    problem: _Problem, theta: FloatArray, step: FloatArray, state: _State
) -> tuple[FloatArray, _State, BoolArray]:
    """Largest of step, step/2, step/4, ... that does not lower the likelihood, per spectrum."""
    best, fields = theta.copy(), [field.copy() for field in state]
    moved = np.zeros(len(theta), dtype=bool)
    slack = 1e-13 * (np.abs(problem.constant) + 1.0)
    left = np.arange(len(theta))
    for halving in range(12):
        trial = theta[left] + step[left] * 0.5**halving
        candidate = (problem.take(left) if halving else problem).evaluate(trial)
        better = np.isfinite(candidate.deviance) & (candidate.deviance <= state.deviance[left] + slack[left])
        chosen = left[better]
        best[chosen], moved[chosen] = trial[better], True
        for field, value in zip(fields, candidate, strict=True):
            field[chosen] = value[better]
        left = left[~better]
        if not len(left):
            break
    return best, _State(*fields), moved


def fit_batch(
    counts: npt.ArrayLike,
    design: Design,
    mask: npt.ArrayLike | None = None,
    *,
    starts: npt.ArrayLike | None = None,
    theta: FloatArray | None = None,
) -> BatchFit:
    """Fit every spectrum of a batch.

    Parameters
    ----------
    counts : array_like of shape (N, bins)
        Counts >= 0; not necessarily integers (Asimov spectra).
    design : Design
    mask : bool array_like of shape (bins,) or (N, bins), optional
        Bins to fit; all by default.
    starts : array_like of int, optional
        First bin of each cell: bins up to the next start are counted as one. Each bin is a cell by default.
    theta : ndarray of shape (N, parameters), optional
        Starting values.

    Returns
    -------
    BatchFit

    Raises
    ------
    InputError
        If shapes disagree. A fit that does not converge is a status, never an error.

    Notes
    -----
    Without any event in the fitted region the likelihood rises towards zero expectation: such a spectrum gets exactly
    zero expected events and the status `AT_LIMIT`.
    """
    data = np.atleast_2d(np.asarray(counts, dtype=np.float64))
    if data.shape[1] != design.n_bins:
        msg = f"fit_batch got spectra of {data.shape[1]} bins, expected the {design.n_bins} of the design"
        raise InputError(msg)
    used = np.broadcast_to(True if mask is None else np.asarray(mask, dtype=bool), data.shape)
    cells = None if starts is None else np.asarray(starts, dtype=np.int64)
    chunks = [
        _fit_chunk(
            design, data[i : i + CHUNK], used[i : i + CHUNK], cells, None if theta is None else theta[i : i + CHUNK]
        )
        for i in range(0, len(data), CHUNK)
    ]
    if not chunks:
        msg = "fit_batch got no spectrum, expected at least one"
        raise InputError(msg)
    return BatchFit(design, *(np.concatenate(parts) for parts in zip(*chunks, strict=True)))


def _fit_chunk(
    design: Design,
    counts: FloatArray,
    mask: BoolArray,
    starts: npt.NDArray[np.int64] | None,
    theta: FloatArray | None,
) -> tuple[npt.NDArray[np.generic], ...]:
    problem = _Problem(design, counts, mask, starts)
    theta, status, iterations = _maximise(problem, problem.start() if theta is None else theta)
    state = problem.evaluate(theta)
    total = problem.counts.sum(axis=1)
    covariance, flat = covariance_from(problem.score_and_information(state)[1], total)
    status[flat & (status == CONVERGED)] = AT_LIMIT
    mu, jacobian = (state.mu, state.jacobian) if starts is None else design.expected(theta)
    empty = problem.mask.any(axis=1) & (total == 0)
    mu[empty], jacobian[empty], covariance[empty], status[empty] = 0.0, 0.0, 0.0, AT_LIMIT
    deviance = np.where(empty, 0.0, np.maximum(state.deviance, 0.0))
    return theta, covariance, mu, jacobian, deviance, status, iterations
