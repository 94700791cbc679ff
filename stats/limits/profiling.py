r"""Profile likelihood of a signal on a log-linear background, for many spectra or signal strengths at once.

The statistical model is exactly that of the pyhf workspaces of `resonaut.stats.limits.workspace`:

.. math:: \lambda_i = b_i \exp\Big(\sum_k m_{ik} \beta_k\Big)
          + \mu\, \Big(s_i + \sum_q \delta_{iq}(\nu_q)\Big) \prod_q \kappa_{iq}^{\nu_q},

with a Poisson term for every bin and a Gaussian for each constrained nuisance. The directions :math:`\beta_k` of a
fitted background function have a width of `WEAK_CONSTRAINT` in standard deviations of the fit (felt in spectra of few
events, see `build_workspace`), the nuisances :math:`\nu_q` of the signal have width one. :math:`\kappa` is a log-normal uncertainty of the
yield (``normsys``, code1), :math:`\delta` interpolates between templates (``histosys``, code4p). Bins may belong to
several channels that share nuisances. The likelihood is maximised by Fisher scoring with step-halving, with analytic
derivatives: no numerical gradients, no brackets, no starting-value lottery.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from resonaut.compiled import in_threads, thread_count
from resonaut.stats.limits.profile_kernels import Parts, expectations, maximise

__all__ = ("WEAK_CONSTRAINT", "Profile", "SignalModel")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IndexArray = npt.NDArray[np.int64]

WEAK_CONSTRAINT = (
    30.0  # standard deviations of the fit per unit of the constraint: 0.1 % of the information of a Gaussian likelihood
)
TOLERANCE = 1e-10
THREAD_ROWS = 500  # spectra below which a second thread does not pay
TINY = 1e-100  # its square is still a number


@dataclass(frozen=True, eq=False)
class Profile:
    """Maximum of the likelihood for each of N spectra.

    Attributes
    ----------
    twice_nll : ndarray of shape (N,)
        ``-2 ln L`` relative to the saturated model.
    strength : ndarray of shape (N,)
        Signal strength, given or fitted (not below 0).
    nuisance : ndarray of shape (N, nuisances)
        beta of each background direction, then nu.
    converged : bool ndarray of shape (N,)
    """

    twice_nll: FloatArray
    strength: FloatArray
    nuisance: FloatArray
    converged: BoolArray


def _empty() -> FloatArray:
    return np.empty((0, 0))


def _own(values: npt.ArrayLike) -> FloatArray:
    """A writeable copy in C order: for views, read-only ones above all, kernels would be compiled once more."""
    return np.array(values, dtype=np.float64, order="C")


@dataclass(frozen=True, eq=False)
class SignalModel:
    """Background with its directions, and a signal template with its systematics.

    Attributes
    ----------
    background : ndarray of shape (bins,)
    modes : ndarray of shape (bins, directions)
        Change of ln(background) for one unit along each direction.
    signal : ndarray of shape (bins,)
        Events for a strength of 1.
    names : tuple of str
        Of the nuisances of the signal.
    yields : ndarray of shape (bins, len(names))
        ln(kappa), the change of ln(signal) for one standard deviation.
    up, down : ndarray of shape (bins, len(names))
        Template at +1 standard deviation less the nominal one, and nominal one less that at -1.
    constraint : ndarray of shape (directions,), optional
        Width of the Gaussian constraint of each direction (inf: none); `WEAK_CONSTRAINT` by default.
    tolerance : float
        A fit is done when its next step promises to gain less in 2 ln L.
    """

    background: FloatArray
    modes: FloatArray
    signal: FloatArray
    names: tuple[str, ...] = ()
    yields: FloatArray = field(default_factory=_empty)
    up: FloatArray = field(default_factory=_empty)
    down: FloatArray = field(default_factory=_empty)
    constraint: FloatArray | None = None
    tolerance: float = TOLERANCE

    @property
    def directions(self) -> int:
        """Number of background directions."""
        return int(self.modes.shape[1])

    @property
    def nuisances(self) -> int:
        """Number of nuisances, directions first."""
        return self.directions + len(self.names)

    @cached_property
    def precision(self) -> FloatArray:
        """Inverse square width of the constraint of each nuisance, shape (nuisances,)."""
        width = np.full(self.directions, WEAK_CONSTRAINT) if self.constraint is None else self.constraint
        return np.append(np.asarray(width, dtype=np.float64) ** -2.0, np.ones(len(self.names)))

    @cached_property
    def _parts(self) -> Parts:
        shape = (len(self.background), len(self.names))
        tables = [t if t.shape == shape else np.zeros(shape) for t in (self.yields, self.up, self.down)]
        yields, up, down = (_own(table.T) for table in tables)
        modes, background, signal = _own(self.modes.T), _own(self.background), _own(self.signal)
        return Parts(background, modes, signal, yields, up, down, self.precision)

    def expected(self, strength: npt.ArrayLike, nuisance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Background and signal events, each of shape (N, bins), for strengths (N,) and nuisances (N, nuisances)."""
        x = _own(np.atleast_2d(nuisance))
        mu = _own(np.broadcast_to(strength, (len(x),)))
        background, signal = np.empty((2, len(x), len(self.background)))
        expectations(self._parts, mu, x, background, signal)
        return background, signal

    def profile(
        self,
        counts: FloatArray,
        strength: npt.ArrayLike,
        centre: FloatArray | None = None,
        *,
        start: FloatArray | None = None,
    ) -> Profile:
        """Maximum over the nuisances at given signal strengths.

        Parameters
        ----------
        counts : ndarray of shape (bins,) or (N, bins)
        strength : array_like of shape () or (N,)
        centre : ndarray of shape (nuisances,) or (N, nuisances), optional
            Where the constraints are centred (auxiliary measurements); 0 by default.
        start : ndarray of shape (nuisances,) or (N, nuisances), optional
            Where to begin; at `centre` by default.
        """
        mu = np.atleast_1d(np.asarray(strength, dtype=np.float64))
        n = max(len(mu), len(np.atleast_2d(counts)))
        data = np.broadcast_to(np.atleast_2d(counts), (n, len(self.background)))
        return self._maximise(data, np.broadcast_to(mu, (n,)), centre, start, free=False)

    def maximum(
        self,
        counts: FloatArray,
        centre: FloatArray | None = None,
        *,
        start: FloatArray | None = None,
        guess: float = 0.0,
    ) -> Profile:
        """Maximum over the nuisances and a signal strength >= 0.

        Parameters
        ----------
        counts, centre, start
            As in `profile`.
        guess : float
            A strength near which most maxima are expected: they are then found in one fit instead of two.
        """
        data = np.atleast_2d(counts)
        if guess <= 0:
            return self._from_zero(data, centre, start)
        found = self._maximise(data, np.full(len(data), guess), centre, start, free=True)
        again = np.flatnonzero(~found.converged | (found.strength < 0.01 * guess))
        if len(again):
            shape = (len(data), self.nuisances)
            parts = [None if part is None else np.broadcast_to(part, shape)[again] for part in (centre, start)]
            _replace(found, again, self._from_zero(data[again], *parts))
        return found

    def _from_zero(self, data: FloatArray, centre: FloatArray | None, start: FloatArray | None) -> Profile:
        null = self.profile(data, np.zeros(len(data)), centre, start=start)
        background, unit = (np.maximum(part, TINY) for part in self.expected(np.ones(len(data)), null.nuisance))
        score = ((data / background - 1.0) * unit).sum(axis=1)
        rising = np.flatnonzero(score > 0)
        if not len(rising):
            return null
        information = (unit**2 * np.maximum(data, background) / background**2).sum(axis=1)
        first = 0.5 * score[rising] / np.maximum(information[rising], TINY)
        middle = None if centre is None else np.broadcast_to(centre, null.nuisance.shape)[rising]
        free = self._maximise(data[rising], first, middle, null.nuisance[rising], free=True)
        better = free.twice_nll < null.twice_nll[rising]
        _replace(null, rising[better], free, better)
        return null

    def twice_nll(self, counts: FloatArray, strength: float, nuisance: FloatArray) -> float:
        """``-2 ln L`` of one spectrum at given parameters, constraints centred at 0, up to a constant of the data."""
        background, signal = self.expected(np.array([strength]), nuisance)
        total = np.maximum(background + signal, TINY)[0]
        poisson = total - counts * np.log(total)
        return float(2.0 * poisson.sum() + (nuisance**2 * self.precision).sum())

    def _maximise(
        self,
        counts: FloatArray,
        strength: FloatArray,
        centre: FloatArray | None,
        start: FloatArray | None,
        *,
        free: bool,
    ) -> Profile:
        n = len(counts)
        shape = (n, self.nuisances)
        middle = _own(np.broadcast_to(0.0 if centre is None else centre, shape))
        x = _own(np.broadcast_to(middle if start is None else start, shape))
        mu, data = _own(strength), _own(counts)
        value, converged = np.empty(n), np.zeros(n, dtype=np.bool_)

        def work(part: slice) -> None:
            maximise(
                self._parts,
                data[part],
                mu[part],
                x[part],
                middle[part],
                free,
                self.tolerance,
                value[part],
                converged[part],
            )  # rows are independent: the answer does not depend on the threads

        in_threads(work, _slices(n))
        return Profile(value, mu, x, converged)


def _replace(found: Profile, rows: IndexArray, other: Profile, which: BoolArray | slice = slice(None)) -> None:
    for name in ("twice_nll", "strength", "nuisance", "converged"):
        getattr(found, name)[rows] = getattr(other, name)[which]


def _slices(rows: int) -> list[slice]:
    count = max(1, min(thread_count(), rows // THREAD_ROWS))
    edges = np.linspace(0, rows, count + 1).astype(int)
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]
