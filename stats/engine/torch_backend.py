"""The fits of `resonaut.stats.engine.scoring` in torch: many thousands of spectra side by side, on a GPU where there is one.

The same likelihood, start, tests of convergence and states; steps are always Fisher steps with the information of the present
point, and each is checked against the likelihood. This is the only module of `resonaut.stats` that knows torch, and it is
imported only when the torch backend is asked for.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from resonaut.errors import ConfigError
from resonaut.stats.engine.problem import Fits, Problem
from resonaut.stats.engine.settings import (
    AT_LIMIT,
    CONVERGED,
    FAILED,
    FEW,
    FINEST,
    FIXED,
    FLAT_INFORMATION,
    FREE,
    MAX_HALVINGS,
    MAX_ITERATIONS,
    MAX_LOG_STEP,
    POSITIVE,
    ROUNDING,
    SLOW,
    TINY,
)

__all__ = ("fit_torch",)

FloatArray = npt.NDArray[np.float64]

ROWS = {"cpu": 2048, "cuda": 131072}  # spectra at a time: the cache of a processor, the memory of a GPU


def fit_torch(batch: Problem, starts: FloatArray, device: str = "") -> Fits:
    """Fit every spectrum of a problem.

    Parameters
    ----------
    batch : Problem
    starts : ndarray of shape (N, parameters) or (0, parameters)
        Starting values; NaN or no row where there are none.
    device : str
        A torch device; by default the GPU where there is one.

    Raises
    ------
    ConfigError
        If torch does not have the device.
    """
    where = _device(device)
    size = ROWS.get(where.type, ROWS["cpu"])
    parts = [_fit_rows(batch, starts, slice(i, i + size), where) for i in range(0, len(batch), size)]
    theta, information, numbers, status, iterations = (
        torch.cat(columns).cpu().numpy() for columns in zip(*parts, strict=True)
    )
    return Fits(theta, information, numbers, status.astype(np.int8), iterations)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, dtype=torch.float64, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        msg = f"torch backend got device {name!r}, which cannot be used here: {str(error).splitlines()[0]}"
        raise ConfigError(msg) from error
    return device


def _fit_rows(batch: Problem, starts: FloatArray, rows: slice, device: torch.device) -> tuple[Tensor, ...]:
    def tensor(table: FloatArray) -> Tensor:
        part = table if len(table) == 1 else table[rows]
        return torch.from_numpy(np.array(part, dtype=np.float64)).to(device)

    fits = _Fits(batch, tensor(batch.counts), tensor(batch.used), device)
    n, parameters = len(fits.counts), batch.design.n_parameters
    signal = tensor(batch.signals).expand(n, -1)
    strength = tensor(batch.strengths[:, None])[:, 0].expand(n)
    held = strength[:, None] * signal if batch.mode == FIXED else torch.zeros_like(signal)
    theta = fits.start(held)
    if len(starts):
        given = tensor(starts).expand(n, -1)
        theta = torch.where(torch.isnan(given), theta, given)
    nothing = torch.zeros(n, dtype=torch.float64, device=device)
    x, deviance, status, steps = fits.maximise(torch.cat([theta, nothing[:, None]], 1), 0 * signal, held, parameters)
    null, unit = deviance.clone(), torch.ones_like(nothing)
    if batch.mode >= FREE:
        mu = fits.expect(x, 0 * signal, held)[0]
        information = (fits.used * signal**2 / mu.clamp_min(1e-6)).sum(1)
        unit = torch.where(information > 0, information.clamp_min(TINY).rsqrt(), nothing)
        rising = (fits.used * (fits.counts / mu.clamp_min(TINY) - 1.0) * signal).sum(1) > 0
        wanted = (status != FAILED) & (unit > 0) & (rising | (batch.mode == FREE))
        template, signal = signal, unit[:, None] * signal
        left = torch.nonzero(wanted)[:, 0]
        runs = [(left, x)]
        weighted = fits.used * template
        under = (weighted > 0.05 * weighted.amax(1, keepdim=True)).double()
        seen = (fits.counts * under).sum(1) / (template * under).sum(1).clamp_min(TINY)
        few = ((fits.counts * fits.used).sum(1) < FEW) & (status != FAILED) & (unit > 0) & (seen > 0)
        again = torch.nonzero(few)[:, 0]
        if len(again):  # from a signal that takes the events near it: first held, then free
            other = torch.cat([x[:, :parameters], nothing[:, None]], 1)
            taken = seen[again, None] * template[again]
            other[again] = fits.take(again).maximise(other[again], 0 * taken, taken, parameters)[0]
            other[:, parameters] = seen / unit.clamp_min(TINY)
            runs.append((again, other))
        for which, begin in runs:
            if not len(which):
                continue
            more = fits.take(which).maximise(
                begin[which], signal[which], held[which], parameters + 1, positive=batch.mode == POSITIVE
            )
            steps[which] += more[3]
            better = torch.full_like(which, begin is x, dtype=torch.bool) | (
                (more[2] != FAILED) & (more[1] < deviance[which] - fits.rounding[which] - FINEST)
            )
            at = which[better]
            x[at], deviance[at], status[at] = more[0][better], more[1][better], more[2][better]
    size = parameters + int(batch.mode >= FREE)
    mu, jacobian = fits.expect(x, signal, held)
    taken = x[:, -1:] * signal
    cancels = ((fits.used > 0) & (taken < 0) & (mu < 1e-3 * (mu - taken))).any(1) & (status != FAILED)
    if bool(cancels.any()):  # no error can be had where the signal cancels the background: that of the background alone
        status[cancels] = AT_LIMIT
        alone = torch.cat([x[:, :-1], torch.where(cancels, 0.0, x[:, -1])[:, None]], 1)
        mu, jacobian = fits.expect(alone, signal, held)
    information = fits.derive(mu, jacobian, size)[1]
    events = (fits.counts * fits.used).sum(1).clamp_min(1e-12)
    lowest = torch.linalg.eigvalsh(information[:, :parameters, :parameters].nan_to_num())[:, 0]
    status[(status == CONVERGED) & (lowest <= FLAT_INFORMATION * events)] = AT_LIMIT
    if size > parameters:
        scale = torch.where(unit > 0, 1.0 / unit.clamp_min(TINY), nothing)
        information[:, parameters] *= scale[:, None]
        information[:, :, parameters] *= scale[:, None]
    information[(status == FAILED) | (unit == 0)] = 0.0
    fitted = unit * x[:, -1] if batch.mode >= FREE else strength
    return x[:, :parameters], information, torch.stack([deviance, null, fitted], 1), status, steps


class _Fits:
    """Spectra of one chunk on the device."""

    def __init__(self, batch: Problem, counts: Tensor, used: Tensor, device: torch.device):
        basis, cell, centre = (torch.from_numpy(table).to(device) for table in batch.tables)
        self.basis, self.cell, self.centre = basis, cell, centre
        self.counts, self.used = counts, used.expand(len(counts), -1)
        self.rounding = ROUNDING * ((self.counts * self.used).sum(1) + 1.0)

    def take(self, rows: Tensor) -> _Fits:
        """Some of the spectra."""
        other = object.__new__(_Fits)
        other.basis, other.cell, other.centre = self.basis, self.cell, self.centre
        other.counts, other.used, other.rounding = self.counts[rows], self.used[rows], self.rounding[rows]
        return other

    def expect(self, x: Tensor, signal: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        """Expected events (N, cells) and derivatives (N, parameters + 1, cells)."""
        p, bins, cells = len(self.basis) - 1, len(self.cell), self.counts.shape[1]
        value = torch.exp((x[:, :p] @ self.basis[:p] + self.basis[p]).clamp(-700.0, 700.0))
        products = value[:, None, :] * self.basis[:p]
        binned = (
            torch.cat([value[:, None, :], products], 1).reshape(len(x), p + 1, self.basis.shape[1] // bins, bins).sum(2)
        )
        if cells != bins:
            merged = torch.zeros(len(x), p + 1, cells, dtype=binned.dtype, device=binned.device)
            binned = merged.index_add_(2, self.cell, binned)
        return binned[:, 0] + offset + x[:, p:] * signal, torch.cat([binned[:, 1:], signal[:, None, :]], 1)

    def deviance(self, mu: Tensor) -> Tensor:
        """Baker-Cousins deviance of the used cells; infinite where it is impossible."""
        seen = (self.used > 0) & (self.counts > 0)
        ratio = torch.where(seen, self.counts / mu.clamp_min(TINY), 1.0)
        terms = self.used * (mu - self.counts + self.counts * torch.log(ratio))
        wrong = ((self.used > 0) & ((mu < 0) | ((mu == 0) & seen))).any(1)
        return torch.where(wrong, torch.inf, 2.0 * terms.sum(1))

    def derive(self, mu: Tensor, jacobian: Tensor, p: int) -> tuple[Tensor, Tensor]:
        """Score (N, p) and expected information (N, p, p)."""
        weight = self.used / mu.clamp_min(TINY)
        rows = jacobian[:, :p]
        return ((self.counts - mu) * weight)[:, None, :].mul(rows).sum(2), (rows * weight[:, None, :]) @ rows.mT

    def start(self, offset: Tensor) -> Tensor:
        """Weighted least squares of the logarithm of the counts (+ 1/2)."""
        value = (self.counts - offset).clamp_min(0.0) + 0.5
        weight, centre = self.used * value, self.centre[:-1]
        target = (torch.log(value) - self.centre[-1]) * weight
        return _solve((centre * weight[:, None, :]) @ centre.T, target @ centre.T)

    def maximise(
        self, x: Tensor, signal: Tensor, offset: Tensor, p: int, *, positive: bool = False
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Fisher scoring with step-halving; parameters, deviance, status, iterations."""
        status = torch.full((len(x),), FAILED, dtype=torch.int64, device=x.device)
        steps = torch.zeros_like(status)
        deviance = self.deviance(self.expect(x, signal, offset)[0])
        left = torch.arange(len(x), device=x.device)
        for _ in range(MAX_ITERATIONS):
            part = self.take(left)
            mu, jacobian = part.expect(x[left], signal[left], offset[left])
            score, information = part.derive(mu, jacobian, p)
            step = _solve(information, score)
            gain = (step * score).sum(1)
            status[left] = torch.where(gain < SLOW, AT_LIMIT, FAILED)
            status[left[gain < FINEST]] = CONVERGED
            go = (gain >= FINEST) & torch.isfinite(gain)
            if not bool(go.any()):
                break
            part, left, step, gain = part.take(go), left[go], part.shorten(step, mu)[go], gain[go]
            if positive:
                step[:, -1] = torch.maximum(step[:, -1], -0.9 * x[left, -1])
            moved = part.search(x, deviance, left, step, signal, offset)
            steps[left] += 1
            if p > len(self.basis) - 1:  # a signal that would make the expectation negative stops at that limit
                status[left[~moved]] = AT_LIMIT
            status[left[~moved & (gain < 1e-6 + 100.0 * part.rounding)]] = CONVERGED
            left = left[moved]
            if not len(left):
                break
        return x, deviance, status, steps

    def shorten(self, step: Tensor, mu: Tensor) -> Tensor:
        """Keep a step from raising a cell by more than e^4, unless it stays below ten times all events."""
        parameters = len(self.centre) - 1
        change = step[:, :parameters] @ self.centre[:-1]
        ceiling = torch.log(10.0 * ((self.counts * self.used).sum(1) + 1.0))[:, None]
        allowed = (ceiling - torch.log(mu.clamp_min(TINY))).clamp_min(MAX_LOG_STEP)
        return step / (change / allowed).amax(1).clamp_min(1.0)[:, None]

    def search(self, x: Tensor, deviance: Tensor, rows: Tensor, step: Tensor, signal: Tensor, offset: Tensor) -> Tensor:
        """Take the largest of step, step/2, ... that does not lower the likelihood, in place; which rows moved."""
        moved = torch.zeros(len(rows), dtype=torch.bool, device=x.device)
        waiting = torch.arange(len(rows), device=x.device)
        full = torch.nn.functional.pad(step, (0, x.shape[1] - step.shape[1]))
        for halving in range(MAX_HALVINGS):
            at = rows[waiting]
            trial = x[at] + full[waiting] * 0.5**halving
            part = self.take(waiting)
            value = part.deviance(part.expect(trial, signal[at], offset[at])[0])
            good = torch.isfinite(value) & (value <= deviance[at] + 10.0 * part.rounding)
            x[at[good]], deviance[at[good]], moved[waiting[good]] = trial[good], value[good], True
            waiting = waiting[~good]
            if not len(waiting):
                break
        return moved


def _solve(matrix: Tensor, vector: Tensor) -> Tensor:
    """Solve N small systems; a ridge far below the information of one event keeps singular ones finite."""
    trace = matrix.diagonal(dim1=1, dim2=2).sum(1)
    ridge = (1e-11 * trace + 1e-30)[:, None, None] * torch.eye(
        matrix.shape[-1], dtype=matrix.dtype, device=matrix.device
    )
    solution: Tensor = torch.linalg.solve_ex(matrix + ridge, vector)[0]
    return solution
