"""Many small networks of one shape as one module: parameters with a leading axis K, batched matrix products.

A search trains 10^4 networks of a few thousand parameters. One after another, each step is a string of tiny kernels; stacked,
K networks share each kernel. Every network keeps its own seed, data, dropout and history, so that a stack gives what K
single trainings give.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from resonaut.errors import ConfigError, ModelError, unknown_name
from resonaut.models.counter import bernoulli, keys
from resonaut.models.storage import Tensors

__all__ = ("Layer", "StackGroup", "StackedAdam", "StackedMLP", "choose_device")

Activation = Literal["leaky", "elu", "relu", "linear"]
_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "leaky": lambda x: functional.leaky_relu(x, 0.1),
    "elu": functional.elu,
    "relu": functional.relu,
    "linear": lambda x: x,
}
_EVALUATION_BYTES = {"cpu": 3e6, "cuda": 1e9}  # of outputs at once: what a CPU's cache holds, what fills a GPU
BATCH_NORM_EPS, _BATCH_NORM_MOMENTUM = 1e-5, 0.1


@dataclass(frozen=True)
class Layer:
    """A fully connected layer and what follows it.

    Parameters
    ----------
    width
        Outputs.
    activation
        "leaky" (slope 0.1), "elu", "relu" or "linear".
    dropout
        Probability that an output is set to zero in training (after the activation, the rest scaled up).
    batch_norm
        Normalise the outputs over the batch, after the activation.
    """

    width: int
    activation: Activation = "linear"
    dropout: float = 0.0
    batch_norm: bool = False

    def __post_init__(self) -> None:
        if self.activation not in _ACTIVATIONS:
            raise ConfigError(unknown_name("activation", self.activation, _ACTIVATIONS))
        if self.width < 1 or not 0 <= self.dropout < 1:
            msg = f"a layer needs width >= 1 and dropout in [0, 1), got {self.width} and {self.dropout}"
            raise ConfigError(msg)


def choose_device(device: str | None) -> torch.device:
    """Device by name; a GPU where there is one and none is named.

    Raises
    ------
    ConfigError
        If the device is unknown or not available here.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        msg = f"device {device!r} cannot be used here ({str(error).splitlines()[0]}): use 'cpu', or None to choose"
        raise ConfigError(msg) from error
    return chosen


class StackGroup(nn.Module):
    """Module whose parameters and buffers, its own and those of the modules in it, all have the leading axis K.

    A subclass registers a buffer ``seeds`` (K,).
    """

    def __len__(self) -> int:
        return len(self.get_buffer("seeds"))

    @property
    def device(self) -> torch.device:
        """Where the networks live."""
        return self.get_buffer("seeds").device

    def stacked(self) -> dict[str, torch.Tensor]:
        """Every tensor with the leading axis K, by name: parameters and buffers."""
        return dict(self.named_parameters()) | dict(self.named_buffers())

    def keep(self, chosen: torch.Tensor) -> None:
        """Drop all networks but the chosen (indices or mask)."""
        self._replace({name: tensor.detach()[chosen] for name, tensor in self.stacked().items()})

    def adopt(self, source: dict[str, torch.Tensor]) -> None:
        """Take all stacked tensors from `source`, whatever its K."""
        self._replace({name: source[name].detach().to(self.device).clone() for name in self.stacked()})

    @torch.no_grad()
    def _replace(self, tensors: dict[str, torch.Tensor]) -> None:
        for name, parameter in self.named_parameters():
            parameter.data = tensors[name]
            parameter.grad = None
        for prefix, module in self.named_modules():
            for name in list(module._buffers):
                module._buffers[name] = tensors[f"{prefix}.{name}" if prefix else name]

    def tensors(self) -> Tensors:
        """Arrays for safetensors."""
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.stacked().items()}

    def load_tensors(self, tensors: Tensors) -> None:
        """Take arrays that `tensors` gave.

        Raises
        ------
        ModelError
            If one is missing.
        """
        if missing := sorted(set(self.stacked()) - set(tensors)):
            msg = f"the saved networks lack {', '.join(missing)}: save the scorer again"
            raise ModelError(msg)
        self.adopt({name: torch.from_numpy(np.array(tensors[name])) for name in self.stacked()})


class StackedMLP(StackGroup):
    """K fully connected networks of one shape.

    Parameters
    ----------
    inputs
        Number of input features d.
    layers
        From the first hidden layer to the output.
    seeds
        One per network (K of them): initial weights and dropout depend on the network's own seed alone.
    init
        "glorot": uniform with variance 2 / (inputs + outputs), biases zero (Keras); "torch": weights and biases uniform
        in +- 1 / sqrt(inputs) (PyTorch's own).
    device
        Where the networks live.

    Attributes
    ----------
    shift, scale
        (K, 1, d) standardisation: inputs become (x - shift) / scale.
    """

    def __init__(
        self,
        inputs: int,
        layers: Sequence[Layer],
        seeds: Sequence[int],
        *,
        init: Literal["glorot", "torch"] = "glorot",
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.layers = tuple(layers)
        widths = [inputs, *(layer.width for layer in layers)]
        drawn = [_initial(widths, seed, init) for seed in seeds]
        self.weights = nn.ParameterList(torch.stack(parts) for parts in zip(*(d[0] for d in drawn), strict=True))
        self.biases = nn.ParameterList(torch.stack(parts) for parts in zip(*(d[1] for d in drawn), strict=True))
        self.register_buffer("seeds", torch.tensor(_signed(seeds), dtype=torch.int64))
        self.register_buffer("shift", torch.zeros(len(seeds), 1, inputs))
        self.register_buffer("scale", torch.ones(len(seeds), 1, inputs))
        for place, layer in enumerate(layers):
            if layer.batch_norm:
                shape = (len(seeds), 1, layer.width)
                self.register_parameter(f"gain_{place}", nn.Parameter(torch.ones(shape)))
                self.register_parameter(f"offset_{place}", nn.Parameter(torch.zeros(shape)))
                self.register_buffer(f"mean_{place}", torch.zeros(shape))
                self.register_buffer(f"variance_{place}", torch.ones(shape))
        self.to(device)

    @property
    def rows_at_once(self) -> int:
        """Events to evaluate in one call: on a CPU more would be several times slower, on a GPU less would be."""
        budget = _EVALUATION_BYTES.get(self.device.type, _EVALUATION_BYTES["cpu"])
        return max(64, int(budget / (4 * len(self) * sum(layer.width for layer in self.layers))))

    def standardise(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs (n, d) or (K, n, d) as each network sees them, (K, n, d)."""
        return (x - self.get_buffer("shift")) / self.get_buffer("scale")

    def forward(self, x: torch.Tensor, step: int = 0) -> torch.Tensor:
        """Outputs (K, n, width of the last layer).

        Parameters
        ----------
        x
            (n, d), the same for all networks, or (K, n, d).
        step
            Number of the training step: picks the dropout masks. Not used in evaluation mode.
        """
        hidden = self.standardise(x)
        for place, layer in enumerate(self.layers):
            hidden = torch.baddbmm(self.biases[place], hidden, self.weights[place])
            hidden = _ACTIVATIONS[layer.activation](hidden)
            if layer.batch_norm:
                hidden = self._normalise(hidden, place)
            if layer.dropout and self.training:
                hidden = self._drop(hidden, place, step)
        return hidden

    def _drop(self, hidden: torch.Tensor, place: int, step: int) -> torch.Tensor:
        rate = self.layers[place].dropout
        key = keys(self.get_buffer("seeds"), place, step)
        kept = bernoulli(key, hidden.shape[1], hidden.shape[2], 1 - rate)
        return hidden * kept.to(hidden.dtype).mul_(1 / (1 - rate))  # many times faster than masked_fill on a CPU

    def _normalise(self, hidden: torch.Tensor, place: int) -> torch.Tensor:
        mean, variance = self.get_buffer(f"mean_{place}"), self.get_buffer(f"variance_{place}")
        if self.training:
            rows = hidden.shape[1]
            centre = hidden.mean(dim=1, keepdim=True)
            spread = hidden.var(dim=1, keepdim=True, correction=0)
            with torch.no_grad():
                mean.lerp_(centre, _BATCH_NORM_MOMENTUM)
                variance.lerp_(spread * (rows / max(1, rows - 1)), _BATCH_NORM_MOMENTUM)
            mean, variance = centre, spread
        gain = self.get_parameter(f"gain_{place}") * (variance + BATCH_NORM_EPS).rsqrt()
        return torch.addcmul(self.get_parameter(f"offset_{place}") - mean * gain, hidden, gain)


class StackedAdam:
    """Adam (Kingma, Ba, arXiv:1412.6980) on stacked parameters, from which networks can be dropped.

    Parameters
    ----------
    network
        The stack.
    learning_rate, decay
        Step t (from 0) uses learning_rate / (1 + decay * t), as Keras' `decay`. One rate for all networks, or a tensor (K,) of
        their own.
    betas, eps
        Moment decay rates and the regulator.
    """

    def __init__(
        self,
        network: nn.Module,
        learning_rate: float | torch.Tensor,
        *,
        decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.parameters = list(network.parameters())
        self.learning_rate, self.decay, self.betas, self.eps = learning_rate, decay, betas, eps
        self.first = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.second = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.steps = 0

    @torch.no_grad()
    def step(self) -> None:
        """Update from the gradients, and clear them."""
        own = self.learning_rate if isinstance(self.learning_rate, torch.Tensor) else None
        common = 1.0 if isinstance(self.learning_rate, torch.Tensor) else self.learning_rate
        rate = common / (1 + self.decay * self.steps)
        self.steps += 1
        beta_1, beta_2 = self.betas
        correction = 1 - beta_2**self.steps
        for parameter, first, second in zip(self.parameters, self.first, self.second, strict=True):
            gradient = parameter.grad
            if gradient is None:
                continue
            first.lerp_(gradient, 1 - beta_1)
            second.mul_(beta_2).addcmul_(gradient, gradient, value=1 - beta_2)
            denominator = (second / correction).sqrt_().add_(self.eps)
            if own is not None:
                denominator /= own.view(-1, *[1] * (first.dim() - 1))
            parameter.addcdiv_(first, denominator, value=-rate / (1 - beta_1**self.steps))
            parameter.grad = None

    def keep(self, chosen: torch.Tensor) -> None:
        """Drop all networks but the chosen; call together with the stack's own `keep`."""
        self.first = [moment[chosen] for moment in self.first]
        self.second = [moment[chosen] for moment in self.second]


def _signed(seeds: Sequence[int]) -> list[int]:
    return [(int(seed) + 2**63) % 2**64 - 2**63 for seed in seeds]


def _initial(widths: Sequence[int], seed: int, init: str) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Weights and biases of one network, drawn on the CPU so that every device starts alike."""
    generator = torch.Generator().manual_seed(int(seed) % 2**64)
    weights, biases = [], []
    for fan_in, fan_out in itertools.pairwise(widths):
        limit = (6 / (fan_in + fan_out)) ** 0.5 if init == "glorot" else fan_in**-0.5
        weights.append((torch.rand(fan_in, fan_out, generator=generator) * 2 - 1) * limit)
        bias = torch.zeros(1, fan_out)
        if init == "torch":
            bias = (torch.rand(1, fan_out, generator=generator) * 2 - 1) * limit
        biases.append(bias)
    return weights, biases
