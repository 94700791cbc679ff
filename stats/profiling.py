r"""Profile likelihood of a signal on a log-linear background, for many spectra or signal strengths at once.

The statistical model is exactly that of the pyhf workspace of `resonaut.stats.workspace`:

.. math:: \mu_i = b_i \exp\Big(\sum_k m_{ik} \beta_k\Big) + \mu\, s_i\, \kappa^{\nu},

with a Poisson term for every bin, a unit Gaussian for :math:`\nu` and a Gaussian of width `WEAK_CONSTRAINT` for each
:math:`\beta_k` (in standard deviations of the background fit, so hardly a constraint). It is maximised by Fisher
scoring with step-halving, with analytic derivatives: no numerical gradients, no brackets, no starting-value lottery.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ("WEAK_CONSTRAINT", "Profile", "SignalModel")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

WEAK_CONSTRAINT = 30.0  # standard deviations of the fit per unit of the constraint: adds 0.1 % of information
MAX_ITERATIONS = 100
TOLERANCE = 1e-10
TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Profile:
    """Maximum of the likelihood for each of N spectra.

    Attributes
    ----------
    twice_nll : ndarray of shape (N,)
        ``-2 ln L`` relative to the saturated model.
    strength : ndarray of shape (N,)
        Signal strength, given or fitted (not below 0).
    nuisance : ndarray of shape (N, directions + 1)
        beta of each background direction (standard deviations), then nu.
    converged : bool ndarray of shape (N,)
    """

    twice_nll: FloatArray
    strength: FloatArray
    nuisance: FloatArray
    converged: BoolArray


@dataclass(frozen=True, eq=False)
class SignalModel:
    """Background with its directions, and a signal template.

    Attributes
    ----------
    background : ndarray of shape (bins,)
    modes : ndarray of shape (bins, directions)
        Change of ln(background) for one standard deviation along each direction.
    signal : ndarray of shape (bins,)
        Events for a strength of 1.
    signal_uncertainty : float
        Relative uncertainty of the signal yield; its factor is ``(1 + signal_uncertainty)^nu``.
    """

    background: FloatArray
    modes: FloatArray
    signal: FloatArray
    signal_uncertainty: float = 0.0

    def expected(self, strength: FloatArray, nuisance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Background and signal events, each of shape (N, bins), for strengths (N,) and nuisances (N, directions + 1)."""
        background = self.background * np.exp(np.clip(nuisance[:, :-1] @ self.modes.T, -600.0, 600.0))
        factor = (1.0 + self.signal_uncertainty) ** np.clip(nuisance[:, -1], -30.0, 30.0)
        return background, (strength * factor)[:, None] * self.signal

    def profile(self, counts: FloatArray, strength: npt.ArrayLike, centre: FloatArray | None = None) -> Profile:
        """Maximum over the nuisances at given signal strengths.

        Parameters
        ----------
        counts : ndarray of shape (bins,) or (N, bins)
        strength : array_like of shape () or (N,)
        centre : ndarray of shape (directions + 1,) or (N, directions + 1), optional
            Where the constraints of beta and nu are centred (auxiliary measurements of an Asimov spectrum); 0 by default.
        """
        mu = np.atleast_1d(np.asarray(strength, dtype=np.float64))
        n = max(len(mu), len(np.atleast_2d(counts)))
        data = np.broadcast_to(np.atleast_2d(counts), (n, len(self.background)))
        return self._maximise(data, np.broadcast_to(mu, (n,)).copy(), centre, free=False)

    def maximum(self, counts: FloatArray, centre: FloatArray | None = None) -> Profile:
        """Maximum over the nuisances and a signal strength >= 0."""
        data = np.atleast_2d(counts)
        middle = np.broadcast_to(0.0 if centre is None else centre, (len(data), self.modes.shape[1] + 1))
        null = self.profile(data, np.zeros(len(data)), middle)
        background = np.maximum(self.expected(null.strength, null.nuisance)[0], TINY)
        score = ((data / background - 1.0) * self.signal).sum(axis=1)
        rising = np.flatnonzero(score > 0)
        if not len(rising):
            return null
        information = (self.signal**2 * np.maximum(data, background) / background**2).sum(axis=1)
        start = 0.5 * score[rising] / np.maximum(information[rising], TINY)
        free = self._maximise(data[rising], start, middle[rising], free=True, nuisance=null.nuisance[rising])
        better = free.twice_nll < null.twice_nll[rising]
        for name in ("twice_nll", "strength", "nuisance", "converged"):
            getattr(null, name)[rising[better]] = getattr(free, name)[better]
        return null

    def _maximise(
        self,
        counts: FloatArray,
        strength: FloatArray,
        centre: FloatArray | None,
        *,
        free: bool,
        nuisance: FloatArray | None = None,
    ) -> Profile:
        shape = (len(counts), self.modes.shape[1] + 1)
        middle = np.zeros(shape) if centre is None else np.broadcast_to(centre, shape)
        x = middle.copy() if nuisance is None else nuisance.copy()
        mu = strength.copy()
        value = self._twice_nll(counts, mu, x, middle)
        converged = np.zeros(len(counts), dtype=bool)
        left = np.arange(len(counts))
        for _ in range(MAX_ITERATIONS):
            step, gain = self._step(counts[left], mu[left], x[left], middle[left], free=free)
            moved = self._move(left, step, counts, mu, x, value, middle, free=free)
            noise = 1e-12 * (np.abs(value[left]) + counts[left].sum(axis=1) * 1e-2 + 1.0)
            done = (gain < np.maximum(TOLERANCE, noise)) | ~moved
            converged[left[done & (gain < 1e-4)]] = True
            left = left[~done & np.isfinite(gain)]
            if not len(left):
                break
        return Profile(value, mu, x, converged & np.isfinite(value))

    def _twice_nll(self, counts: FloatArray, mu: FloatArray, x: FloatArray, middle: FloatArray) -> FloatArray:
        total = np.maximum(sum(self.expected(mu, x)), TINY)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = total - counts + np.where(counts > 0, counts * np.log(counts / total), 0.0)
        return np.asarray(2.0 * terms.sum(axis=1) + ((x - middle) ** 2 * self._precision()).sum(axis=1))

    def _precision(self) -> FloatArray:
        return np.append(np.full(self.modes.shape[1], WEAK_CONSTRAINT**-2), 1.0)

    def _step(
        self, counts: FloatArray, mu: FloatArray, x: FloatArray, middle: FloatArray, *, free: bool
    ) -> tuple[FloatArray, FloatArray]:
        background, signal = self.expected(mu, x)
        total = np.maximum(background + signal, TINY)
        columns = [background[..., None] * self.modes, np.log1p(self.signal_uncertainty) * signal[..., None]]
        if free:
            columns.append(signal[..., None] / mu[:, None, None])
        jacobian = np.concatenate(columns, axis=2)
        precision = np.append(self._precision(), [0.0] * free)
        offset = np.concatenate([x - middle, np.zeros((len(x), int(free)))], axis=1)
        score = np.einsum("nbp,nb->np", jacobian, counts / total - 1.0) - offset * precision
        information = np.matmul((jacobian / total[..., None]).transpose(0, 2, 1), jacobian) + np.diag(precision)
        information += 1e-12 * np.einsum("npp->n", information)[:, None, None] * np.eye(information.shape[-1])
        step = np.linalg.solve(information, score[..., None])[..., 0]
        gain = np.einsum("np,np->n", step, score)
        change = (step[:, : self.modes.shape[1]] @ self.modes.T) * (background > 1e-3)
        step /= np.maximum(1.0, np.abs(change).max(axis=1) / 4.0)[:, None]
        return step, gain

    def _move(
        self,
        rows: npt.NDArray[np.int64],
        step: FloatArray,
        counts: FloatArray,
        mu: FloatArray,
        x: FloatArray,
        value: FloatArray,
        middle: FloatArray,
        *,
        free: bool,
    ) -> BoolArray:
        """Take the largest of step, step/2, ... that does not raise -2 ln L, in place; say which rows moved."""
        moved = np.zeros(len(rows), dtype=bool)
        waiting = np.arange(len(rows))
        directions = x.shape[1]
        for halving in range(16):
            at, by = rows[waiting], step[waiting] * 0.5**halving
            trial_x = x[at] + by[:, :directions]
            trial_mu = np.maximum(mu[at] + by[:, -1], 0.1 * mu[at]) if free else mu[at]
            trial = self._twice_nll(counts[at], trial_mu, trial_x, middle[at])
            good = trial <= value[at] + 1e-13 * (np.abs(value[at]) + 1.0)
            chosen = at[good]
            x[chosen], mu[chosen], value[chosen] = trial_x[good], trial_mu[good], trial[good]
            moved[waiting[good]] = True
            waiting = waiting[~good]
            if not len(waiting):
                break
        return moved
