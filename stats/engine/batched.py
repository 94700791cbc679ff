r"""Poisson fits of a log-linear function to many spectra at once, by Fisher scoring.

The expected number of events in bin i is an integral of the density, by Gauss-Legendre nodes q inside the bin,

.. math:: \mu_i(\theta, s) = \sum_{q \in i} w_q \exp\left(\sum_k \theta_k \phi_k(m_q)\right) + s\, S_i ,

with an optional signal template S of free, positive or given strength s, and a *cell* is one bin or several neighbouring
bins counted together. The likelihood is maximised with the exact score and the expected (Fisher) information. The basis
functions are made orthonormal over the fitted region, weighted by what the data hold there: the information matrix is
then close to the number of events times the unit matrix and the fit is well-conditioned, where Minuit in the physical
p0..p3 stops far from the minimum.

A fit never raises: each spectrum has a status, and failures are counted. Two backends give the same answer: "numpy", compiled
and on all cores, and "torch", for spectra by the million on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.compiled import in_threads
from resonaut.errors import ConfigError, InputError, unknown_name
from resonaut.stats.engine.design import Design
from resonaut.stats.engine.problem import Fits, Problem
from resonaut.stats.engine.scoring import fit_rows
from resonaut.stats.engine.settings import (
    AT_LIMIT,
    CONVERGED,
    FAILED,
    FIXED,
    FLAT_INFORMATION,
    FREE,
)
from resonaut.stats.records import brief

__all__ = ("AT_LIMIT", "CONVERGED", "FAILED", "BatchFit", "covariance_from", "fit_batch")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

CHUNK = 2048  # spectra for one thread at a time
ALIKE = 16  # spectra from which on a common start is worth its fit


@dataclass(frozen=True)
class BatchFit:
    """Results of `fit_batch` for N spectra; arrays have the spectrum as their first axis.

    Attributes
    ----------
    design : Design
    theta : ndarray of shape (N, parameters)
        In the orthonormal basis.
    information : ndarray of shape (N, p, p)
        Fisher information; with a fitted strength, that is the last row and column.
    deviance : ndarray of shape (N,)
        Baker-Cousins ``2 sum [mu - n + n ln(n / mu)]`` over the fitted cells.
    status : int8 ndarray of shape (N,)
        `CONVERGED`; `AT_LIMIT`: the likelihood rises towards an infinite parameter (for example all events in one
        bin), expected counts are meaningful, parameters and errors less so; `FAILED`.
    iterations : int ndarray of shape (N,)
    events : ndarray of shape (N,)
        Events in the fitted cells.
    strength : ndarray of shape (N,)
        Of the signal: fitted or given; 0 without a signal.
    null_deviance : ndarray of shape (N,)
        Deviance of the background alone where a strength was fitted, so that ``null_deviance - deviance`` is q0.
    """

    design: Design
    theta: FloatArray
    information: FloatArray
    deviance: FloatArray
    status: npt.NDArray[np.int8]
    iterations: IntArray
    events: FloatArray
    strength: FloatArray
    null_deviance: FloatArray

    __repr__ = brief

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

    def take(self, rows: npt.NDArray[Any]) -> BatchFit:
        """Some of the spectra, by mask or by number."""
        parts = {field.name: getattr(self, field.name)[rows] for field in fields(self) if field.name != "design"}
        return replace(self, **parts)

    def expected_in(self, bins: BoolArray) -> FloatArray:
        """Sum of the expected counts over some bins, shape (N,)."""
        return np.where(self.events > 0, self.design.part(bins).counts(self.theta).sum(axis=1), 0.0)

    @cached_property
    def expected(self) -> FloatArray:
        """Background events in every bin, fitted or not, shape (N, bins)."""
        return np.where(self.events[:, None] > 0, self.design.counts(self.theta), 0.0)

    @cached_property
    def jacobian(self) -> FloatArray:
        """Derivatives of `expected`, shape (N, bins, parameters)."""
        return np.where(self.events[:, None, None] > 0, self.design.expected(self.theta)[1], 0.0)

    @cached_property
    def covariance(self) -> FloatArray:
        """Inverse Fisher information, shape (N, p, p), in the basis of `theta` (and strength)."""
        return np.where(
            self.events[:, None, None] > 0, covariance_from(self.information, self.events, self.theta.shape[1]), 0.0
        )

    @cached_property
    def strength_error(self) -> FloatArray:
        """One standard deviation of a fitted strength, shape (N,); NaN where none was fitted."""
        p = self.theta.shape[1]
        if self.information.shape[1] == p:
            return np.full(len(self), np.nan)
        inner, cross = self.information[:, :p, :p], self.information[:, :p, p]
        ridge = 1e-12 * np.einsum("npp->n", inner)[:, None, None] * np.eye(p) + 1e-30 * np.eye(p)
        taken = np.einsum("np,np->n", cross, np.linalg.solve(inner + ridge, cross[..., None])[..., 0])
        left = self.information[:, p, p] - taken
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(left > 0, 1.0 / np.sqrt(left), np.inf)

    def expected_error(self) -> FloatArray:
        """One standard deviation of each expected count from the full covariance, shape (N, bins)."""
        p = self.theta.shape[1]
        covariance = self.covariance[:, :p, :p]
        variance = np.einsum("nbp,npq,nbq->nb", self.jacobian, covariance, self.jacobian, optimize=True)
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))

    def sum_in(self, bins: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Sum of the expected counts over some bins with its error, correlations included; each of shape (N,)."""
        p = self.theta.shape[1]
        mu, jacobian = self.design.part(bins).expected(self.theta)
        some = self.events > 0
        gradient = np.where(some[:, None], jacobian.sum(axis=1), 0.0)
        variance = np.einsum("np,npq,nq->n", gradient, self.covariance[:, :p, :p], gradient)
        return np.where(some, mu.sum(axis=1), 0.0), np.sqrt(np.maximum(variance, 0.0))


def covariance_from(information: FloatArray, total: FloatArray, parameters: int) -> FloatArray:
    """Inverse information; the variance of a direction that the data leave unconstrained is capped."""
    # the basis is orthonormal, but a signal strength has a unit of its own: it is counted in that of the basis
    unit = np.ones(information.shape[:2])
    own = np.einsum("npp->np", information)[:, parameters:] / np.maximum(total, 1e-12)[:, None]
    unit[:, parameters:] = np.where(own > 0, np.sqrt(own), 1.0)
    values, vectors = np.linalg.eigh(information / (unit[:, :, None] * unit[:, None, :]))
    inverse = 1.0 / np.maximum(values, FLAT_INFORMATION * np.maximum(total, 1e-12)[:, None])
    covariance = np.einsum("npk,nk,nqk->npq", vectors, inverse, vectors, optimize=True)
    return np.asarray(covariance / (unit[:, :, None] * unit[:, None, :]))


def fit_batch(
    counts: npt.ArrayLike,
    design: Design,
    mask: npt.ArrayLike | None = None,
    *,
    starts: npt.ArrayLike | None = None,
    theta: FloatArray | None = None,
    signal: npt.ArrayLike | None = None,
    strength: npt.ArrayLike | None = None,
    positive: bool = False,
    scale: npt.ArrayLike | None = None,
    backend: str = "numpy",
    threads: int | None = None,
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
    signal : array_like of shape (bins,) or (N, bins), optional
        Events of a signal of strength 1. With one spectrum and several templates, each template is fitted to it.
    strength : array_like of shape () or (N,), optional
        Strength at which the signal is held. By default it is fitted.
    positive : bool
        Keep a fitted strength from falling below 0.
    scale : array_like of shape (N, bins) or (bins,), optional
        Effective events for each event of a weighted spectrum, ``counts / variance`` (arXiv:1309.1287): the likelihood
        of a bin is that of ``scale * counts`` where ``scale * mu`` are expected.
    backend : str
        "numpy" (compiled, on the processor), "torch" (GPU where there is one), or "torch:DEVICE".
    threads : int, optional
        OMP_NUM_THREADS, else all cores, by default.

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

    Below 300 events a fitted signal is looked for from two starts, since a signal on a steep background and no signal on a
    flat one may each be a maximum. At 20 events the higher one is still missed in about 4 of 1000 toys.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.stats import Design, fit_batch, gaussian_template, log_edges
    >>> edges = log_edges(2800.0, 5200.0, 30)
    >>> toys = np.random.default_rng(1).poisson(1000 * np.exp(-0.2 * np.arange(30)), size=(1000, 30))
    >>> fits = fit_batch(toys, Design.build("dijet3", edges), signal=gaussian_template(3500.0, 100.0, edges))
    >>> fits.n_failed, bool(abs((fits.strength / fits.strength_error).mean()) < 0.1)
    (0, True)
    """
    batch = Problem.make(counts, design, mask, starts, signal, strength, scale, positive=positive)
    start = _common_start(batch) if theta is None else np.array(theta, dtype=np.float64, order="C")
    if start.shape not in ((0, design.n_parameters), (len(batch), design.n_parameters)):
        msg = f"fit_batch got starting values of shape {start.shape}, expected {(len(batch), design.n_parameters)}"
        raise InputError(msg)
    if backend == "numpy":
        return _result(batch, *_fit_compiled(batch, start, threads))
    kind, _, device = backend.partition(":")
    if kind == "torch":
        from resonaut.stats.engine.torch_backend import fit_torch

        return _result(batch, *fit_torch(batch, start, device))
    raise ConfigError(unknown_name("backend", backend, ["numpy", "torch"]))


def _common_start(batch: Problem) -> FloatArray:
    """Fit of the sum of all spectra, scaled to each that has its shape; NaN for the others.

    Toys of one expectation start two steps closer to their maximum than with a least-squares fit of their logarithms.
    """
    if len(batch) < ALIKE or len(batch.used) > 1 or batch.mode == FIXED:
        return np.empty((0, batch.design.n_parameters))
    total = batch.summed()
    pooled = _result(total, *_fit_compiled(total, np.empty((0, batch.design.n_parameters)), 1))
    used = batch.used[0] > 0
    counts, mu = batch.counts[:, used], batch.in_cells(pooled.expected[0])[used]
    scale = np.maximum(counts.sum(axis=1), 0.5) / max(mu.sum(), 1e-300)
    expected = scale[:, None] * mu
    alike = ((counts - expected) ** 2 / (expected + 1.0)).sum(axis=1) < 5.0 * len(mu)
    start = pooled.theta + np.log(scale)[:, None] * np.linalg.inv(batch.design.to_physical)[:, 0]
    start[~alike | (pooled.status[0] != CONVERGED)] = np.nan
    return np.asarray(start)


def _fit_compiled(batch: Problem, start: FloatArray, threads: int | None) -> Fits:
    n, p = len(batch), batch.design.n_parameters
    size = p + int(batch.mode >= FREE)
    theta, information, numbers = np.empty((n, p)), np.empty((n, size, size)), np.empty((n, 3))
    status, iterations = np.empty(n, dtype=np.int8), np.empty(n, dtype=np.int64)

    def fit(first: int) -> None:
        rows = slice(first, first + CHUNK)
        fit_rows(
            _rows(batch.counts, rows),
            _rows(batch.used, rows),
            _rows(batch.signals, rows),
            batch.strengths[rows],
            batch.mode,
            start[rows],
            *batch.tables,
            theta[rows],
            information[rows],
            numbers[rows],
            status[rows],
            iterations[rows],
        )

    in_threads(fit, range(0, n, CHUNK), threads)
    return Fits(theta, information, numbers, status, iterations)


def _result(
    batch: Problem,
    theta: FloatArray,
    information: FloatArray,
    numbers: FloatArray,
    status: npt.NDArray[np.int8],
    iterations: IntArray,
) -> BatchFit:
    events = batch.events
    # without events the background is none, and so is a fitted signal; a held one is all that is expected
    empty = (events == 0) & (batch.used > 0).any(axis=1)
    held = (batch.strengths[:, None] * batch.signals * batch.used).sum(axis=1)
    status[empty], numbers[empty, :2] = AT_LIMIT, 2.0 * held[empty, None]
    numbers[empty, 2] = batch.strengths[empty]
    deviance, null_deviance = np.maximum(numbers[:, :2], 0.0).T
    return BatchFit(
        batch.design, theta, information, deviance, status, iterations, events, numbers[:, 2].copy(), null_deviance
    )


def _rows(table: FloatArray, rows: slice) -> FloatArray:
    """Rows as the kernel takes them; a table of one row serves all spectra."""
    return np.array(table if len(table) == 1 else table[rows], order="C")
