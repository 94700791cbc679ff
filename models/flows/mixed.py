"""Densities of events whose columns are partly continuous, partly whole numbers, partly one value again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import logsumexp, ndtr, ndtri

from resonaut.errors import ConfigError, InputError
from resonaut.models.counter import row_uniform
from resonaut.models.flows.fitted import FittedFlow, integer_seed, rebuilding, under
from resonaut.models.flows.options import FlowOptions
from resonaut.models.flows.preprocessing import Standardised, as_matrix
from resonaut.models.flows.training import FlowData, Progress, checked_weight, split, train_flow
from resonaut.models.flows.transforms import standard_normal
from resonaut.models.sample import FloatArray, IndexArray, MaskArray
from resonaut.models.storage import Tensors

__all__ = ("Columns", "MixedFlow")

_DEFAULT = FlowOptions(preprocessing="standard")
_OFTEN = 1e-4  # of the events that share one value, from which on a density cannot have it
_FEWEST = 10  # events with another value than the commonest, for a column to be learnt
_WIDTH = (
    1 / 6
)  # of the noise on whole numbers: a bump that ends at +-0.5, where the step of uniform noise costs a flow more
_MOST_VALUES = 256  # of a whole-numbered column that is learnt as steps; energies in MeV are whole numbers too


_HALF_LOG_2PI = 0.9189385332046727


@dataclass(frozen=True)
class Columns:
    """How each column is learnt.

    Parameters
    ----------
    constant
        (d,) value of the columns that have hardly another (in fewer than ten events), NaN for others: they are left out, since
        a density learnt from so few would be a spike at each.
    discrete
        (d,) columns of whole numbers: learnt with noise in (-0.5, 0.5), normal up to three standard deviations.
    atom
        (d,) value that many events share in a column that is continuous otherwise (0 for the pT of an object that is not there);
        NaN where there is none.
    centre, width
        (d,) mean and standard deviation of the other values of a column with an atom: where there is the atom, the flow sees
        normal noise like them.
    told
        Columns with atoms whose presence no other column tells: the flow sees one more column for each, 0 or 1.
    partner, tells
        (d,) column and value of it that tell of the atoms of the others; -1 and NaN where there is none.
    """

    constant: FloatArray
    discrete: MaskArray
    atom: FloatArray
    centre: FloatArray
    width: FloatArray
    told: IndexArray
    partner: IndexArray
    tells: FloatArray

    @classmethod
    def learn(cls, features: FloatArray) -> Self:
        """From training events (n, d).

        Raises
        ------
        InputError
            If every column is constant.
        """
        commonest = [_commonest(column) for column in features.T]
        fewest = max(1, min(_FEWEST, len(features) // 20))
        constant = np.array([value if len(features) - count < fewest else np.nan for value, count, _ in commonest])
        varied = np.isnan(constant)
        if not varied.any():
            msg = f"all {len(constant)} columns are constant in training: there is nothing to learn"
            raise InputError(msg)
        whole = np.all(features == np.rint(features), axis=0)
        discrete = varied & whole & np.array([values <= _MOST_VALUES for _, _, values in commonest])
        atom = np.full(len(constant), np.nan)
        centre, width = np.zeros(len(constant)), np.ones(len(constant))
        for place in np.flatnonzero(varied & ~discrete):
            value, count, _ = commonest[place]
            if count > max(fewest, _OFTEN * len(features)):
                rest = features[features[:, place] != value, place]
                atom[place], centre[place] = value, rest.mean()
                width[place] = rest.std() or max(1.0, abs(value))
        told, partner, tells = _told(features, discrete, atom)
        return cls(constant, discrete, atom, centre, width, told, partner, tells)

    @property
    def kept(self) -> IndexArray:
        """Columns that the flow sees, those of whole numbers first: what is there before what it is like."""
        varied = np.isnan(self.constant)
        return np.concatenate([np.flatnonzero(varied & self.discrete), np.flatnonzero(varied & ~self.discrete)])

    @property
    def flow_columns(self) -> int:
        """Number of columns that the flow sees."""
        return len(self.kept) + len(self.told)

    def at_atom(self, features: FloatArray) -> MaskArray:
        """(n, d) where a column has its atom."""
        return np.asarray(features == self.atom)

    def to(self, features: FloatArray, noise: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What the flow sees (n, flow_columns), and the logarithm (n,) of the density of the noise in it.

        Parameters
        ----------
        features
            (n, d).
        noise
            (n, 2 d) uniform in (0, 1).
        """
        d = features.shape[1]
        there = self.at_atom(features)
        edge = ndtr(-3.0)
        normal = ndtri(np.where(there, noise[:, :d], edge + (1 - 2 * edge) * noise[:, :d]))
        values = np.where(self.discrete, features + _WIDTH * normal, features)
        values = np.where(there, self.centre + self.width * normal, values)
        about = ndtri(edge + (1 - 2 * edge) * noise[:, d + self.told])
        flags = there[:, self.told] + _WIDTH * about
        bump = -0.5 * normal**2 - _HALF_LOG_2PI - np.log(np.where(there, self.width, _WIDTH * (1 - 2 * edge)))
        density = np.where(self.discrete | there, bump, 0.0).sum(axis=1)
        density += (-0.5 * about**2 - _HALF_LOG_2PI - np.log(_WIDTH * (1 - 2 * edge))).sum(axis=1)
        return np.column_stack([flags, values[:, self.kept]]), density

    def back(self, seen: FloatArray) -> FloatArray:
        """Features (n, d) of what a flow drew, (n, flow_columns)."""
        flags, values = np.rint(seen[:, : len(self.told)]) > 0, seen[:, len(self.told) :]
        features = np.tile(np.nan_to_num(self.constant), (len(seen), 1))
        features[:, self.kept] = values
        features[:, self.discrete] = np.rint(features[:, self.discrete])
        features[:, self.told] = np.where(flags, self.atom[self.told], features[:, self.told])
        return features

    def surprises(self, features: FloatArray) -> IndexArray:
        """Columns (n,) in which an event does what (next to) no training event does.

        It differs from the one value of a constant column, or has an atom where the column that tells of it says otherwise.
        """
        varied = np.isnan(self.constant)
        different = ~varied & (features != self.constant)
        known = self.partner >= 0
        said = features[:, np.maximum(self.partner, 0)] == self.tells
        return np.asarray((different | (known & (said != self.at_atom(features)))).sum(axis=1))

    def tensors(self) -> Tensors:
        """For safetensors."""
        return {
            "constant": self.constant, "discrete": self.discrete.astype(np.float64), "atom": self.atom,
            "centre": self.centre, "width": self.width, "told": self.told,
            "partner": self.partner, "tells": self.tells,
        }  # fmt: skip

    @classmethod
    def restore(cls, tensors: Tensors) -> Self:
        """From what `tensors` gave."""
        return cls(**{**tensors, "discrete": tensors["discrete"] > 0})


def _commonest(column: FloatArray) -> tuple[float, int, int]:
    """The commonest value, how often there is, and how many values there are."""
    values, counts = np.unique(column, return_counts=True)
    return float(values[counts.argmax()]), int(counts.max()), len(values)


def _told(features: FloatArray, discrete: MaskArray, atom: FloatArray) -> tuple[IndexArray, IndexArray, FloatArray]:
    """Columns whose atoms no other column tells; and of the others, the column and its value that do.

    A column tells if it has one value in just the events with the atom: a whole number, or an atom of its own.
    """
    known = [(place, value) for place in np.flatnonzero(discrete) for value in np.unique(features[:, place])]
    told, partner, tells = [], np.full(len(atom), -1, dtype=np.int64), np.full(len(atom), np.nan)
    for place in np.flatnonzero(~np.isnan(atom)):
        there = features[:, place] == atom[place]
        found = next((each for each in known if np.array_equal(there, features[:, each[0]] == each[1])), None)
        if found is None:
            told.append(place)
            known.append((place, atom[place]))
        else:
            partner[place], tells[place] = found
    return np.array(told, dtype=np.int64), partner, tells


class MixedFlow(FittedFlow):
    """Density p(x) of events by an autoregressive flow, whatever kind of column there is.

    - Columns of whole numbers are learnt with noise in (-0.5, 0.5): the density at a whole number is its probability.
    - A column that is continuous but for one value that many events share (zeros where there is no object) is learnt with noise in
      the place of that value; what that costs is given back. The density is then the probability of the value, or the density
      elsewhere.
    - A column that is constant, but for fewer than ten events, is left out; an event with another value there loses ln(n + 1), n
      being the number of training events. So does one with an atom that contradicts another column.

    Parameters
    ----------
    options
        Architecture and training; "standard" preprocessing, so that every event has a density.
    seed
        Of everything random in `fit`.
    device
        "cpu", "cuda", ...; a GPU where there is one and none is named.

    Raises
    ------
    ConfigError
        For a coupling flow or another preprocessing.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> there = rng.random(2000) < 0.6
    >>> x = np.column_stack([rng.poisson(2.0, 2000), np.where(there, rng.normal(50, 10, 2000), 0.0)])
    >>> flow = MixedFlow(FlowOptions.small(preprocessing="standard", epochs=3), seed=1, device="cpu").fit(x)
    >>> flow.columns_.discrete.tolist(), flow.columns_.atom.tolist()
    ([True, False], [nan, 0.0])
    >>> flow.log_prob(x[:4]).shape
    (4,)

    References
    ----------
    Durkan et al., Neural Spline Flows, arXiv:1906.04032; Caron, Hendriks, Verheyen, arXiv:2106.10164, sections 3 and 5.
    """

    columns_: Columns
    standard_: Standardised

    def __init__(self, options: FlowOptions = _DEFAULT, *, seed: int = 0, device: str | None = None) -> None:
        if options.kind != "autoregressive" or options.preprocessing != "standard":
            msg = f"a mixed flow is autoregressive with 'standard' preprocessing, got {options.kind!r} and {options.preprocessing!r}"
            raise ConfigError(msg)
        super().__init__(options, seed, device)
        self.trained_ = 0

    def fit(self, features: ArrayLike, weight: ArrayLike | None = None, *, progress: Progress | None = None) -> Self:
        """Learn from events; a part of them, chosen by the seed, only measures when to stop.

        Parameters
        ----------
        features
            (n, d), finite.
        weight
            (n,) event weights >= 0.
        progress
            Called after each epoch with the epochs done and the most epochs.

        Raises
        ------
        InputError
            If a value is not finite, all columns are constant, or the events are too few.
        ModelError
            If the training diverges.
        """
        x = as_matrix("features", features)
        w = checked_weight(weight, len(x))
        seeds = np.random.SeedSequence(self.seed).spawn(4)
        rows, held_out = split(len(x), self.options, seeds[0])
        self.columns_ = Columns.learn(x)
        self.trained_ = len(x)
        seen, _ = self.columns_.to(x, np.random.default_rng(seeds[3]).random((len(x), 2 * x.shape[1])))
        self.standard_ = Standardised.learn("features", seen)
        data = FlowData((self.tensor(self.standard_.to(seen)),), self.tensor(w))
        training, validation = (data.take(torch.as_tensor(each, device=self.device)) for each in (rows, held_out))
        module = self.new_module(seen.shape[1], 0, seeds[1])

        def loss(z: Any) -> Any:
            values, slope = module(z)
            return -(standard_normal(values) + slope)

        found = train_flow(module, loss, training, validation, self.options, integer_seed(seeds[2]), progress)
        self.take_members(found)
        return self

    def log_prob(self, features: ArrayLike, *, draws: int = 1) -> FloatArray:
        """Logarithm (n,) of the density in the features' own units, nats: finite for every event.

        Parameters
        ----------
        features
            (n, d).
        draws
            Of the noise, over which the density (over that of the noise) is averaged. Noise is made of the event's own numbers: equal events get equal
            values.
        """
        self.require_fitted()
        x = as_matrix("features", features, columns=len(self.columns_.constant))
        each = np.stack([self._log_prob(x, draw) for draw in range(draws)])
        found = logsumexp(each, axis=0) - np.log(draws)
        return np.asarray(found - self.columns_.surprises(x) * np.log(self.trained_ + 1.0))

    def _log_prob(self, x: FloatArray, draw: int) -> FloatArray:
        tagged = np.column_stack([x, x, np.full(len(x), float(draw))])
        noise = row_uniform(tagged)[:, :-1]
        seen, density = self.columns_.to(x, noise)
        found = [self._coordinate_log_prob(part) for (part,) in self.parts(self.standard_.to(seen))]
        return np.asarray(np.concatenate([*found, np.empty(0)]) - np.log(self.standard_.scale).sum() - density)

    def _coordinate_log_prob(self, z: Any) -> FloatArray:
        with torch.no_grad():
            each = []
            for module in self.members_:
                values, slope = module(z)
                each.append((standard_normal(values) + slope).double().cpu().numpy())
        return np.asarray(logsumexp(np.stack(each), axis=0) - np.log(len(each)))

    def sample(self, events: int, seed: int) -> FloatArray:
        """Draw events.

        Parameters
        ----------
        events
            How many.
        seed
            The same seed gives the same events.
        """
        self.require_fitted()
        noise = np.random.default_rng(seed).standard_normal((events, self.columns_.flow_columns))
        share = np.arange(events) % len(self.members_)
        result = np.empty_like(noise)
        for number, module in enumerate(self.members_):
            rows = share == number
            result[rows] = self.apply(module, noise[rows], None, inverse=True)
        return self.columns_.back(self.standard_.back(result))

    def tensors(self) -> Tensors:
        """Arrays that were learnt, for safetensors."""
        found = self.member_tensors() | {f"columns.{name}": array for name, array in self.columns_.tensors().items()}
        return found | {"standard.shift": self.standard_.shift, "standard.scale": self.standard_.scale}

    def facts(self) -> dict[str, Any]:
        """How it was made, JSON-able."""
        self.require_fitted()
        return self.member_facts() | {"trained": self.trained_}

    @classmethod
    def restore(cls, tensors: Tensors, facts: dict[str, Any], device: str | None = None) -> Self:
        """The flow that `tensors` and `facts` came from.

        Raises
        ------
        ModelError
            If they do not belong together.
        """
        with rebuilding("flow"):
            flow = cls(FlowOptions(**facts["options"]), seed=facts["seed"], device=device)
            flow.columns_ = Columns.restore(under("columns.", tensors))
            flow.standard_ = Standardised(tensors["standard.shift"], tensors["standard.scale"])
            flow.trained_ = int(facts["trained"])
            flow.restore_members(tensors, facts)
        return flow
