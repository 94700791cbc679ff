"""Channels: fitted spectra with their signals, and the likelihood that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError
from resonaut.stats.fits.fit import FitResult, require_counts, require_fit
from resonaut.stats.functions import background_function
from resonaut.stats.limits.profiling import SignalModel
from resonaut.stats.records import brief
from resonaut.stats.shapes.signals import Signal, SignalLike, as_signal

__all__ = ("Channel", "channel_counts", "signal_model")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MIN_BACKGROUND = 1e-9  # pyhf needs a positive expectation in every bin
LEAST = 1e-40  # the same in bins that the background can reach: a floor that is seen there changes limits (by 6 to 10 % at 1e-9)
REACH = 5.0  # standard deviations that the background may move in empty bins
NOTHING = 1e-4  # events that an empty bin does not notice
MAX_LOG_CHANGE = (
    4.5  # of a bin, all directions by one standard deviation: keeps the factors of the pyhf workspace finite
)


@dataclass(frozen=True, eq=False)
class Channel:
    """A fitted spectrum and the signal in it.

    Attributes
    ----------
    name : str
        Unique among the channels of one limit; "" where there is only one.
    fit : FitResult
        Background fit; the channel has the bins of its range, blinded ones included.
    signal : Signal
        In the bins of the fit's edges.
    """

    name: str
    fit: FitResult
    signal: Signal

    __repr__ = brief

    @classmethod
    def build(cls, name: str, fit: FitResult, signal: SignalLike, *, signal_uncertainty: float = 0.0) -> Channel:
        """Check a fit and a signal against each other.

        Parameters
        ----------
        name : str
        fit : FitResult
        signal : Signal, shape, Spectrum or array_like of shape (bins,)
            In several channels, events for the same signal strength.
        signal_uncertainty : float
            Relative uncertainty of the yield, named "signal_yield".

        Raises
        ------
        InputError
            If the signal cannot be used or has no events in the range, or the fit is one of weights.
        ConfigError
            If the background function is not log-linear: limits take it as a straight line in ln(events).
        FitError
            If the fit has failed.
        """
        require_counts(require_fit(fit))
        if not background_function(fit.function).log_linear:
            msg = f"limits got the background function {fit.function!r}, expected a log-linear one, such as 'dijet4'"
            raise ConfigError(msg)
        found = cls(name, fit, as_signal(signal, fit.edges, uncertainty=signal_uncertainty))
        if not found.events > 0:
            low, high = fit.edges[:-1][found.bins][0], fit.edges[1:][found.bins][-1]
            msg = f"signal template has no events inside the fit range {low:.6g}..{high:.6g} GeV"
            raise InputError(msg)
        return found

    @property
    def bins(self) -> BoolArray:
        """Bins of the spectrum that the channel has."""
        return np.asarray(self.fit.mask | self.fit.blinded)

    @property
    def counts(self) -> FloatArray:
        """Observed events in those bins."""
        return np.asarray(self.fit.counts[self.bins])

    @property
    def events(self) -> float:
        """Signal events in those bins for a strength of 1."""
        return float(self.signal.template[self.bins].sum())

    def scaled(self, factor: float) -> Channel:
        """The same channel with a signal `factor` times as strong."""
        return Channel(self.name, self.fit, self.signal.scaled(factor))


def channel_counts(channels: Sequence[Channel]) -> FloatArray:
    """Observed events of all channels, one after another."""
    return np.concatenate([channel.counts for channel in channels])


def signal_model(channels: Sequence[Channel]) -> SignalModel:
    """Likelihood of all channels: backgrounds of their own, one signal strength, nuisances shared by name.

    Raises
    ------
    InputError
        If there is no channel or two have the same name.
    """
    names = [channel.name for channel in channels]
    if not names or len(set(names)) < len(names):
        msg = f"limit got channels {names}, expected at least one, with unique names"
        raise InputError(msg)
    nuisances = tuple(sorted({name for channel in channels for name in channel.signal.names}))
    signals = [channel.signal.inside(channel.bins) for channel in channels]
    tables = [_tables(signal, nuisances) for signal in signals]
    yields, up, down = (np.concatenate(parts) for parts in zip(*tables, strict=True))
    backgrounds = [_background(channel) for channel in channels]
    return SignalModel(
        background=np.concatenate([expected for expected, _ in backgrounds]),
        modes=_diagonal([modes for _, modes in backgrounds]),
        signal=np.concatenate([signal.template for signal in signals]),
        names=nuisances,
        yields=yields,
        up=up,
        down=down,
    )


def _background(channel: Channel) -> tuple[FloatArray, FloatArray]:
    """Expected events (bins,) and the change of their logarithm (bins, directions), with what does nothing left out.

    Far out in the tail of a spectrum the expectation is 1e-20 events and changes by powers of ten with a parameter. An empty
    bin that has less than `NOTHING` events within `REACH` standard deviations stays as it is: it cannot tell one background
    from another, and its factors would be beyond all numbers.
    """
    expected, modes = channel.fit.expected[channel.bins], channel.fit.modes[channel.bins]
    with np.errstate(over="ignore"):
        most = expected * np.exp(REACH * np.linalg.norm(modes, axis=1))
    alive = (channel.counts > 0) | ~(most < NOTHING)
    floor = np.where(alive, LEAST, MIN_BACKGROUND)
    total = np.abs(modes).sum(axis=1)
    factor = np.where(alive, np.minimum(1.0, MAX_LOG_CHANGE / np.maximum(total, MAX_LOG_CHANGE)), 0.0)
    return np.maximum(expected, floor), modes * factor[:, None]


def _tables(signal: Signal, names: Sequence[str]) -> tuple[FloatArray, FloatArray, FloatArray]:
    yields, up, down = np.zeros((3, len(signal.template), len(names)))
    for q, name in enumerate(names):
        yields[:, q] = np.log1p(signal.yields.get(name, 0.0))
        if name in signal.shapes:
            low, high = signal.shapes[name]
            up[:, q], down[:, q] = high - signal.template, signal.template - low
    return yields, up, down


def _diagonal(blocks: Sequence[FloatArray]) -> FloatArray:
    """Directions of one channel do nothing in another."""
    rows, columns = (sum(block.shape[axis] for block in blocks) for axis in (0, 1))
    result = np.zeros((rows, columns))
    row = column = 0
    for block in blocks:
        result[row : row + len(block), column : column + block.shape[1]] = block
        row, column = row + len(block), column + block.shape[1]
    return result
