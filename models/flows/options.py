"""What a flow is and how it is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from resonaut.errors import ConfigError

__all__ = ("FlowOptions",)


@dataclass(frozen=True)
class FlowOptions:
    """Architecture and training of a flow.

    Parameters
    ----------
    kind
        "autoregressive": each feature is mapped by a spline that depends on the features before it (the best density for its size,
        drawing takes as many passes as there are features); "coupling": half of the features depend on the other half (drawing is
        as fast as the density).
    layers
        Such maps after one another, with permutations of the features between them.
    hidden, blocks
        Units and residual blocks of the network in each layer.
    bins
        Bins of the splines.
    tail_bound
        The splines act in [-tail_bound, tail_bound] of the standardised features; the identity outside.
    preprocessing
        "logit": each feature is mapped to (0, 1) by its range in training, then by the logit, then standardised, so that nothing
        leaves the range; "standard": standardised only, for features that have no bounds.
    margin
        By how much of its width the range is wider on either side than the training data.
    epochs, patience
        Most epochs, and epochs without a better validation loss after which training ends.
    batch_size, learning_rate
        Of Adam.
    schedule
        "cosine": the learning rate falls to zero over `epochs`, as half a cosine; "constant".
    average_epochs
        Epochs of lowest validation loss that are kept: the density is their mean, draws are shared out among them.
    validation
        Fraction of the events that only measure when to stop.

    Raises
    ------
    ConfigError
        If a value is out of range.

    References
    ----------
    Durkan et al., arXiv:1906.04032 (splines); Hallin et al., CATHODE, arXiv:2109.00546 (preprocessing, mean over the best epochs).
    """

    kind: Literal["autoregressive", "coupling"] = "autoregressive"
    layers: int = 4
    hidden: int = 64
    blocks: int = 1
    bins: int = 16
    tail_bound: float = 8.0
    preprocessing: Literal["logit", "standard"] = "logit"
    margin: float = 1e-3
    epochs: int = 20
    patience: int = 10
    batch_size: int = 2048
    learning_rate: float = 5e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    average_epochs: int = 1
    validation: float = 0.2

    def __post_init__(self) -> None:
        self._require_choice("kind", ("autoregressive", "coupling"))
        self._require_choice("preprocessing", ("logit", "standard"))
        self._require_choice("schedule", ("cosine", "constant"))
        for name, least in {"layers": 1, "hidden": 1, "blocks": 0, "bins": 2, "epochs": 1, "patience": 1}.items():
            self._require(name, getattr(self, name) >= least, f"at least {least}")
        for name in ("tail_bound", "margin", "learning_rate"):
            self._require(name, getattr(self, name) > 0, "above 0")
        self._require("bins", self.bins <= 256, "at most 256")
        self._require("batch_size", self.batch_size >= 1, "at least 1")
        self._require("average_epochs", self.average_epochs >= 1, "at least 1")
        self._require("validation", 0 < self.validation < 1, "between 0 and 1")

    @classmethod
    def small(cls, **changes: Any) -> Self:
        """A flow for tests and first looks: seconds instead of minutes."""
        chosen: dict[str, Any] = {"layers": 2, "hidden": 32, "bins": 8, "epochs": 15, "patience": 5, "batch_size": 512}
        return cls(**{**chosen, **changes})

    @classmethod
    def paper(cls, **changes: Any) -> Self:
        """As large as published ones (CATHODE: 15 layers of 128 units, 100 epochs, mean over the 10 best): for a GPU."""
        chosen: dict[str, Any] = {"layers": 15, "hidden": 128, "epochs": 100, "patience": 100, "batch_size": 256}
        chosen |= {"learning_rate": 1e-4, "schedule": "constant", "average_epochs": 10}
        return cls(**{**chosen, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Every option by name, JSON-able."""
        return asdict(self)

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            msg = f"option {name!r} of a flow must be {expected}, got {getattr(self, name)!r}"
            raise ConfigError(msg)

    def _require_choice(self, name: str, choices: tuple[str, ...]) -> None:
        self._require(name, getattr(self, name) in choices, " or ".join(map(repr, choices)))
