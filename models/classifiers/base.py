"""The interface of classifiers: options, training fold by fold, probabilities, and the way to disk."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError, ModelError, unknown_name
from resonaut.models.sample import FloatArray, IndexArray, MaskArray
from resonaut.models.storage import Tensors

__all__ = (
    "Classifier",
    "TrainedClassifier",
    "TrainingSet",
    "available_classifiers",
    "make_classifier",
    "register_classifier",
    "restore_classifier",
)

_KIND = "classifier"  # key of the facts that says which class restores them
_TINY = 1e-12  # probabilities stay this far from 0 and 1: their ratio is used as a weight
_classifiers: dict[str, type[Classifier]] = {}
_C = TypeVar("_C", bound="type[Classifier]")


@dataclass(frozen=True)
class TrainingSet:
    """Checked events of two classes.

    Parameters
    ----------
    matrix
        (n, d) features, finite.
    target
        (n,) class.
    weight
        (n,) weights, finite and >= 0.
    fold
        (n,) fold of each event; -1 takes part in every training.
    protected
        (n,) variable that the output shall not depend on, or None.

    Raises
    ------
    InputError
        For shapes that do not agree, values that are not finite, negative weights.
    """

    matrix: FloatArray
    target: MaskArray
    weight: FloatArray
    fold: IndexArray
    protected: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or not self.matrix.shape[1]:
            msg = f"a classifier learns from a matrix (events, features), got shape {self.matrix.shape}"
            raise InputError(msg)
        for name in ("target", "weight", "fold", "protected"):
            values = getattr(self, name)
            if values is not None and values.shape != (len(self.matrix),):
                msg = f"{name} has shape {values.shape}, expected ({len(self.matrix)},): one value for each event"
                raise InputError(msg)
        for name in ("matrix", "weight", "protected"):
            values = getattr(self, name)
            if values is not None and not np.isfinite(values).all():
                msg = f"{name} has {np.count_nonzero(~np.isfinite(values))} NaN or infinite values: drop those events"
                raise InputError(msg)
        if np.any(self.weight < 0):
            msg = f"{np.count_nonzero(self.weight < 0)} negative weights: a classifier needs weights >= 0"
            raise InputError(msg)

    def rows(self, number: int) -> IndexArray:
        """Events that training `number` may see: not of its fold, and of weight above 0.

        Raises
        ------
        InputError
            If there are fewer than two of a class: one to train on and one to validate with.
        """
        chosen = np.flatnonzero((self.fold != number) & (self.weight > 0))
        for value in (False, True):
            found = int(np.count_nonzero(self.target[chosen] == value))
            if found < 2:
                msg = (
                    f"training {number} has {found} events with target {value} outside its own fold, needs at least 2: "
                    "use fewer folds or a wider region"
                )
                raise InputError(msg)
        return chosen

    def weights(self, rows: IndexArray) -> FloatArray:
        """Weights of some events, mean 1, both classes with the same sum, whatever the folds have taken from either."""
        weight, target = self.weight[rows], self.target[rows].astype(int)
        sums = np.bincount(target, weight, minlength=2)
        return np.asarray(weight * (0.5 * len(rows) / sums)[target], dtype=np.float64)


class TrainedClassifier(ABC):
    """What one training gave: a probability for each event, as arrays on disk."""

    kind: ClassVar[str]

    def probability(self, matrix: npt.ArrayLike) -> FloatArray:
        """Probability (n,) in (0, 1) that an event belongs to the target, for classes that are equally frequent.

        Parameters
        ----------
        matrix
            (n, d) features, in the order of the training.

        Raises
        ------
        InputError
            If the matrix has another number of columns.
        """
        values = np.ascontiguousarray(matrix, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != self.inputs:
            msg = f"this classifier was trained on {self.inputs} features, got a matrix of shape {values.shape}"
            raise InputError(msg)
        return np.clip(self._probability(values), _TINY, 1 - _TINY)

    @property
    @abstractmethod
    def inputs(self) -> int:
        """Number of features."""

    @abstractmethod
    def _probability(self, matrix: FloatArray) -> FloatArray:
        """Probability (n,) for a checked matrix."""

    @abstractmethod
    def tensors(self) -> Tensors:
        """Arrays that `probability` needs."""

    def facts(self) -> dict[str, Any]:
        """JSON-able facts that `restore` needs, and how the training went."""
        return {_KIND: self.kind, **self._facts()}

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """Facts of this kind."""

    @classmethod
    @abstractmethod
    def restore(cls, tensors: Tensors, facts: Mapping[str, Any], device: str | None = None) -> Self:
        """Take back what `tensors` and `facts` gave."""


class Classifier(ABC):
    """Options of a classifier: a frozen dataclass whose fields are JSON-able.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.models.classifiers import make_classifier
    >>> rng = np.random.default_rng(1)
    >>> target = np.arange(4000) % 2 == 1
    >>> matrix = rng.normal(np.where(target, 1.0, 0.0)[:, None], 1.0, (4000, 1))
    >>> fold = rng.integers(0, 2, 4000)
    >>> trained = make_classifier("trees", members=2).train(matrix, target, np.ones(4000), fold, seeds=[1, 2])
    >>> low, high = trained[0].probability([[-1.0], [2.0]])  # exact: 0.18 and 0.82
    >>> bool(low < 0.3 < 0.7 < high)
    True
    """

    name: ClassVar[str]
    trained: ClassVar[type[TrainedClassifier]]

    @property
    def options(self) -> dict[str, Any]:
        """Constructor arguments, JSON-able: ``make_classifier(name, **options)`` is a twin."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    def train(
        self,
        matrix: npt.ArrayLike,
        target: npt.ArrayLike,
        weight: npt.ArrayLike,
        fold: npt.ArrayLike,
        seeds: Sequence[int],
        protected: npt.ArrayLike | None = None,
    ) -> list[TrainedClassifier]:
        """Learn to tell the target from the rest, once for each seed.

        Parameters
        ----------
        matrix
            (n, d) features.
        target
            (n,) True for the class whose probability is wanted (data of the signal region, say).
        weight
            (n,) weights >= 0, relative to others of the same class: each training gives both classes the same total, so that the
            probability is that of equally frequent classes, and p / (1 - p) the ratio of the densities. Events of weight 0 are
            left out.
        fold
            (n,) training number k does not see events whose fold is k, neither to learn nor to validate; it sees those
            of fold -1 always.
        seeds
            One for each training.
        protected
            (n,) variable (the mass, GeV) that the output shall not depend on; read by classifiers with a decorrelation
            among their options, ignored by others.

        Returns
        -------
        list of TrainedClassifier
            One per seed.

        Raises
        ------
        InputError
            If shapes do not agree, values are not finite, weights are negative, or a class has no events to learn from.

        Notes
        -----
        Training k depends on its seed and on the events that it may see (networks: and on the number of steps in an epoch, that of
        the largest fold): the folds can be trained together or apart. Each sets a part of its events aside to decide when to stop.
        """
        events = TrainingSet(
            np.ascontiguousarray(matrix, dtype=np.float64),
            np.asarray(target, dtype=bool),
            np.asarray(weight, dtype=np.float64),
            np.asarray(fold, dtype=np.int64),
            None if protected is None else np.asarray(protected, dtype=np.float64),
        )
        return self._train(events, [int(seed) for seed in seeds])

    @abstractmethod
    def _train(self, events: TrainingSet, seeds: Sequence[int]) -> list[TrainedClassifier]:
        """Train on checked events."""

    def require(self, condition: bool, option: str, expected: str) -> None:
        """Raise ConfigError unless an option is as expected."""
        if not condition:
            msg = f"option {option!r} of classifier {self.name!r} must be {expected}, got {getattr(self, option)!r}"
            raise ConfigError(msg)


def register_classifier(name: str) -> Callable[[_C], _C]:
    """Class decorator: make a classifier known under `name` (also set as the class's ``name``)."""

    def decorate(cls: _C) -> _C:
        cls.name = name
        cls.trained.kind = name
        _classifiers[name] = cls
        return cls

    return decorate


def available_classifiers() -> tuple[str, ...]:
    """Names of all classifiers, sorted.

    Examples
    --------
    >>> from resonaut.models.classifiers import available_classifiers
    >>> available_classifiers()
    ('network', 'trees')
    """
    return tuple(sorted(_classifiers))


def make_classifier(name: str, **options: Any) -> Classifier:
    """Classifier by name, with options by keyword.

    Raises
    ------
    ConfigError
        For an unknown classifier or option (with the nearest names), or an option out of range.

    Examples
    --------
    >>> from resonaut.models.classifiers import make_classifier
    >>> make_classifier("network", members=3).options["members"]
    3
    """
    cls = _class(name)
    fields = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for option in options:
        if option not in fields:
            raise ConfigError(unknown_name(f"option of classifier {name!r}", option, fields))
    return cls(**options)


def restore_classifier(
    tensors: Tensors, facts: Mapping[str, Any], *, prefix: str = "", device: str | None = None
) -> TrainedClassifier:
    """Trained classifier from what its `tensors` and `facts` gave, whichever kind it is.

    Parameters
    ----------
    tensors, facts
        As saved.
    prefix
        Where several objects share one file: only arrays whose names begin so are taken, without it.
    device
        Where networks live; None takes a GPU where there is one.

    Raises
    ------
    ModelError
        If the facts are not those of a classifier.
    """
    if _KIND not in facts:
        msg = f"expected the facts of a saved classifier, with the key {_KIND!r}, got {sorted(facts)}"
        raise ModelError(msg)
    own = {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
    return _class(str(facts[_KIND])).trained.restore(own, facts, device)


def _class(name: str) -> type[Classifier]:
    if name not in _classifiers:
        raise ConfigError(unknown_name("classifier", name, _classifiers))
    return _classifiers[name]


def _plain(value: Any) -> Any:
    """Option as JSON has it: tuples as lists, dataclasses as mappings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return list(value) if isinstance(value, tuple) else value
