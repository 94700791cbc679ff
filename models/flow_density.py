"""The negative log-likelihood of an autoregressive flow as a score: rare events are anomalous."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Self

from resonaut.models.base import BaseScorer, feature_names, require_positive
from resonaut.models.flows import FlowOptions, MixedFlow
from resonaut.models.inputs import AE_FEATURES
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, Sample
from resonaut.models.storage import Tensors
from resonaut.stats import Window

__all__ = ("FlowDensity",)

Progress = Callable[[int, int], None]


@register("flow")
class FlowDensity(BaseScorer):
    """How unlikely an event is under the density of the events that it is trained on.

    The density is that of `resonaut.models.flows.MixedFlow`: whole numbers, zeros for objects that are not there and constant
    columns are handled there. Its value depends on the units and the choice of features: a score of 10 nats means that by itself
    nothing, only the order counts.

    Parameters
    ----------
    features
        Columns to read.
    layers, hidden, blocks, bins
        Splines one after another, units and residual blocks (two masked layers each) of the network of each, bins of the splines.
    epochs, patience
        Most epochs, and epochs without a better validation loss after which training ends.
    batch_size, learning_rate, schedule
        Adam; "cosine" lets the learning rate fall to zero over the epochs.
    average_epochs
        Epochs of lowest validation loss whose mean density is taken.
    validation
        Fraction of the events that only measure when to stop.
    draws
        Of the noise in place of discrete values, over which the density is averaged in `score`.
    device
        "cpu", "cuda", ...; None takes a GPU where there is one.
    seed
        Equal seeds give equal scores on one device.

    References
    ----------
    Caron, Hendriks, Verheyen, "Rare and Different", arXiv:2106.10164, section 3. Their score is mapped to (0, 1), which keeps the
    order.

    Examples
    --------
    >>> FlowDensity.paper().options["layers"], FlowDensity.paper().options["bins"]
    (11, 35)
    """

    uses_window: ClassVar[bool] = False

    def __init__(
        self,
        features: Sequence[str] = AE_FEATURES,
        *,
        layers: int = 4,
        hidden: int = 64,
        blocks: int = 1,
        bins: int = 16,
        epochs: int = 40,
        patience: int = 10,
        batch_size: int = 512,
        learning_rate: float = 2e-3,
        schedule: Literal["cosine", "constant"] = "cosine",
        average_epochs: int = 1,
        validation: float = 0.1,
        draws: int = 4,
        device: str | None = None,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        self.layers, self.hidden, self.blocks, self.bins = layers, hidden, blocks, bins
        self.epochs, self.patience = epochs, patience
        self.batch_size, self.learning_rate, self.schedule = batch_size, learning_rate, schedule
        self.average_epochs, self.validation = average_epochs, validation
        self.draws = draws
        self.device = device
        self.seed = seed
        require_positive(self.name, draws=draws)
        self._flow_options()  # wrong ones are told now
        self.flow_: MixedFlow | None = None

    @classmethod
    def paper(cls, **changes: Any) -> Self:
        """The published size (11 layers of 7 masked layers of 200 units, 35 bins, 100 epochs): for a GPU; any option can be changed."""
        chosen: dict[str, Any] = {"layers": 11, "hidden": 200, "blocks": 3, "bins": 35, "epochs": 100, "patience": 100}
        chosen |= {"learning_rate": 1e-3, "schedule": "constant"}
        return cls(**{**chosen, **changes})

    def _flow_options(self) -> FlowOptions:
        names = ("layers", "hidden", "blocks", "bins", "epochs", "patience", "batch_size", "learning_rate", "schedule")
        chosen = {name: getattr(self, name) for name in (*names, "average_epochs", "validation")}
        return FlowOptions(preprocessing="standard", **chosen)

    @property
    def fitted(self) -> bool:
        """Whether there is a density to score with."""
        return self.flow_ is not None

    def fit(self, sample: Sample, window: Window | None = None, progress: Progress | None = None) -> Self:
        """Learn the density of `sample`; the window is only kept for the record.

        Parameters
        ----------
        sample
            Known events.
        window
            Not used.
        progress
            Called with the epochs done and the most epochs.

        Raises
        ------
        InputError
            If there are too few events, or all columns are constant.
        ModelError
            If the training diverges.
        """
        flow = MixedFlow(self._flow_options(), seed=self.seed, device=self.device)
        self.flow_ = flow.fit(sample.require(self.features), sample.weight, progress=progress)
        self.window_ = window
        return self

    def score(self, sample: Sample) -> FloatArray:
        """Negative log-likelihood (n,), nats."""
        self.require_fitted()
        assert self.flow_ is not None
        return -self.flow_.log_prob(sample.require(self.features), draws=self.draws)

    def learnt_tensors(self) -> Tensors:
        """Parameters of the flow."""
        assert self.flow_ is not None
        return self.flow_.tensors()

    def learnt_facts(self) -> dict[str, Any]:
        """How the flow was made."""
        assert self.flow_ is not None
        return self.flow_.facts()

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the flow."""
        self.flow_ = MixedFlow.restore(tensors, facts, self.device)
