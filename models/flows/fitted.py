"""What densities and maps share: the modules of the kept epochs, their way to disk, and how events reach them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from nflows.transforms.base import Transform

from resonaut.errors import ConfigError, ModelError
from resonaut.models.flows.options import FlowOptions
from resonaut.models.flows.preprocessing import Preprocessing
from resonaut.models.flows.training import TrainedFlow
from resonaut.models.flows.transforms import build_transform
from resonaut.models.sample import FloatArray
from resonaut.models.stack import choose_device
from resonaut.models.storage import Tensors

__all__ = ("FittedFlow", "integer_seed", "rebuilding", "under")

logger = logging.getLogger(__name__)
_ROWS = 8192  # of a pass that needs no gradients: its numbers stay near the processor


class FittedFlow:
    """Modules with the parameters of the kept epochs, on one device.

    Parameters
    ----------
    options, seed, device
        As in `ConditionalFlow`.
    """

    preprocessing_: Preprocessing

    def __init__(self, options: FlowOptions, seed: int, device: str | None) -> None:
        self.options, self.seed = options, seed
        self.device = choose_device(device)
        self.history_: list[tuple[float, float]] = []
        self.best_epochs_: list[int] = []
        self.clipped_ = 0
        self.members_: list[Transform] = []
        self._sizes = (0, 0)
        self._warned = False

    @property
    def fitted(self) -> bool:
        """Whether `fit` or `restore` has been called."""
        return bool(self.members_)

    def require_fitted(self) -> None:
        """Raise ModelError unless the flow has learnt something."""
        if not self.fitted:
            msg = f"{type(self).__name__} is not fitted: call fit(...), or restore a saved one"
            raise ModelError(msg)

    def tensor(self, values: FloatArray) -> torch.Tensor:
        """Single precision, on the flow's device."""
        return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32).to(self.device)

    def clip(self, features: FloatArray) -> FloatArray:
        """Events (n, d), those beyond the range moved to its edge and counted; logged once."""
        count = int(np.count_nonzero(self.preprocessing_.outside(features)))
        if not count:
            return features
        self.clipped_ += count
        if not self._warned:
            logger.warning("%d of %d events lie beyond the range of the flow: moved to its edge", count, len(features))
            self._warned = True
        return self.preprocessing_.clip(features)

    def new_module(self, features: int, context: int, seed: np.random.SeedSequence) -> Transform:
        """Untrained module of these sizes, on the flow's device (nflows' dropout of 0 copies everything unless told not to train)."""
        self._sizes = features, context
        return build_transform(features, context, self.options, integer_seed(seed)).to(self.device).eval()

    def take_members(self, found: TrainedFlow) -> None:
        """The kept epochs of a training as modules of their own, frozen."""
        self.history_ = found.history
        self.best_epochs_ = [epoch for _, epoch, _ in found.kept]
        self.members_ = [self._loaded(state) for _, _, state in found.kept]

    def parts(self, *arrays: FloatArray) -> Iterator[tuple[torch.Tensor, ...]]:
        """Blocks of rows as tensors."""
        for start in range(0, len(arrays[0]), _ROWS):
            yield tuple(self.tensor(array[start : start + _ROWS]) for array in arrays)

    @torch.no_grad()
    def apply(self, module: Transform, values: FloatArray, context: FloatArray | None, *, inverse: bool) -> FloatArray:
        """Values (n, d) of a module, or of its inverse."""
        function = module.inverse if inverse else module.forward
        given = (values,) if context is None else (values, context)
        found = [function(*part)[0].double().cpu().numpy() for part in self.parts(*given)]
        return np.concatenate([*found, np.empty((0, values.shape[1]))])

    def member_tensors(self) -> Tensors:
        """Arrays of the modules."""
        self.require_fitted()
        return {
            f"member_{number}.{name}": tensor.cpu().numpy()
            for number, module in enumerate(self.members_)
            for name, tensor in module.state_dict().items()
        }

    def member_facts(self) -> dict[str, Any]:
        """How the modules were made, JSON-able."""
        return {
            "options": self.options.to_dict(),
            "seed": self.seed,
            "sizes": list(self._sizes),
            "best_epochs": self.best_epochs_,
            "history": [list(pair) for pair in self.history_],
        }

    def restore_members(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back what `member_tensors` and `member_facts` gave."""
        self._sizes = int(facts["sizes"][0]), int(facts["sizes"][1])
        self.best_epochs_ = [int(epoch) for epoch in facts["best_epochs"]]
        self.history_ = [(float(a), float(b)) for a, b in facts["history"]]
        states = [under(f"member_{number}.", tensors) for number in range(len(self.best_epochs_))]
        self.members_ = [
            self._loaded({name: torch.from_numpy(np.array(array)) for name, array in state.items()}) for state in states
        ]

    def _loaded(self, state: dict[str, torch.Tensor]) -> Transform:
        module = build_transform(*self._sizes, self.options, seed=0)
        module.load_state_dict(state)
        return module.to(self.device).eval().requires_grad_(False)


def integer_seed(seed: np.random.SeedSequence) -> int:
    """Seed for torch."""
    return int(seed.generate_state(1)[0])


def under(prefix: str, tensors: Tensors) -> Tensors:
    """Arrays whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


@contextmanager
def rebuilding(what: str) -> Iterator[None]:
    """Any error of the block as a ModelError: tensors and facts that do not belong together."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError, ConfigError) as error:
        msg = f"the stored {what} cannot be rebuilt ({error}): fit and save again"
        raise ModelError(msg) from error
