"""Networks and losses of `resonaut.models.alad`, and the signs of a training that has collapsed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, Self

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

__all__ = ("AladNetworks", "Collapse", "discriminator_loss", "generator_loss")

_SLOPE = 0.2
_NARROW = 0.1  # of the spread that generated events, or encoded ones, should have
_NEVER_WRONG = 0.99


def _dense(inputs: int, outputs: int, dropout: float = 0.0) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.LeakyReLU(_SLOPE), *([nn.Dropout(dropout)] if dropout else [])]


class AladNetworks(nn.Module):
    """Generator, encoder and the three discriminators for flat features.

    Parameters
    ----------
    features, latent, hidden
        Widths of the events, the noise and the hidden layers.
    """

    def __init__(self, features: int, latent: int, hidden: int) -> None:
        super().__init__()
        self.generator = nn.Sequential(
            nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, features)
        )
        self.encoder = nn.Sequential(*_dense(features, hidden), *_dense(hidden, hidden), nn.Linear(hidden, latent))
        self.xz_x = nn.Sequential(*_dense(features, hidden))
        self.xz_z = nn.Sequential(*_dense(latent, hidden, 0.2))
        self.xz = nn.Sequential(*_dense(2 * hidden, hidden, 0.2), nn.Linear(hidden, 1))
        self.xx_hidden = nn.Sequential(*_dense(2 * features, hidden), *_dense(hidden, hidden))
        self.xx_last = nn.Sequential(nn.Dropout(0.2), nn.Linear(hidden, 1))
        self.zz = nn.Sequential(*_dense(2 * latent, hidden, 0.2), nn.Linear(hidden, 1))

    def _judging(self) -> tuple[nn.Sequential, ...]:
        return (self.xz_x, self.xz_z, self.xz, self.xx_hidden, self.xx_last, self.zz)

    def _constrained(self) -> Iterator[nn.Linear]:
        for network in (self.encoder, *self._judging()):
            yield from (layer for layer in network if isinstance(layer, nn.Linear))

    def normalised(self) -> Self:
        """With the spectral norm of the encoder's and the discriminators' weights held at one."""
        for layer in self._constrained():
            parametrizations.spectral_norm(layer)
        return self

    def plain(self) -> Self:
        """The same functions with weights alone, for scoring and for disk."""
        for layer in self._constrained():
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        return self.requires_grad_(requires_grad=False)

    def makers(self) -> Iterator[nn.Parameter]:
        """Parameters of generator and encoder."""
        return chain(self.generator.parameters(), self.encoder.parameters())

    def discriminators(self) -> Iterator[nn.Parameter]:
        """Parameters of the discriminators."""
        return chain.from_iterable(network.parameters() for network in self._judging())

    def d_xz(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Log-odds (n, 1) that x is data and z its code."""
        return torch.as_tensor(self.xz(torch.cat([self.xz_x(x), self.xz_z(z)], dim=1)))

    def d_xx(self, x: torch.Tensor, again: torch.Tensor) -> torch.Tensor:
        """Log-odds (n, 1) that both are the same event."""
        return torch.as_tensor(self.xx_last(self.xx_hidden(torch.cat([x, again], dim=1))))

    def d_zz(self, z: torch.Tensor, again: torch.Tensor) -> torch.Tensor:
        """Log-odds (n, 1) that both are the same noise."""
        return torch.as_tensor(self.zz(torch.cat([z, again], dim=1)))

    def distance(self, x: torch.Tensor) -> torch.Tensor:
        """L1 distance (n,) of (x, x) and (x, G(E(x))) in the last hidden layer of D_xx."""
        again = self.generator(self.encoder(x))
        same, other = (self.xx_hidden(torch.cat([x, second], dim=1)) for second in (x, again))
        return torch.as_tensor((same - other).abs().sum(dim=1))


def _yes(logit: torch.Tensor) -> torch.Tensor:
    return functional.softplus(-logit).mean()


def _no(logit: torch.Tensor) -> torch.Tensor:
    return functional.softplus(logit).mean()


def discriminator_loss(networks: AladNetworks, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropies of the three discriminators for events x (n, d) and noise z (n, l)."""
    with torch.no_grad():
        code, made = networks.encoder(x), networks.generator(z)
        x_again, z_again = networks.generator(code), networks.encoder(made)
    loss = _yes(networks.d_xz(x, code)) + _no(networks.d_xz(made, z))
    loss = loss + _yes(networks.d_xx(x, x)) + _no(networks.d_xx(x, x_again))
    return loss + _yes(networks.d_zz(z, z)) + _no(networks.d_zz(z, z_again))


def generator_loss(networks: AladNetworks, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """What G and E gain by fooling them: labels exchanged, so that the gradient does not vanish where they are sure."""
    code, made = networks.encoder(x), networks.generator(z)
    loss = _no(networks.d_xz(x, code)) + _yes(networks.d_xz(made, z))
    return loss + _yes(networks.d_xx(x, networks.generator(code))) + _yes(networks.d_zz(z, networks.encoder(made)))


@dataclass(frozen=True)
class Collapse:
    """What a training has come to.

    Parameters
    ----------
    generated_spread
        Least standard deviation of a feature of generated events, in units of the data's.
    encoded_spread
        Largest standard deviation of a latent dimension of encoded events, where the noise has 1.
    accuracy
        Share of (x, E(x)) and (G(z), z) that D_xz tells rightly; 0.5 is a draw.
    unexplained
        Fraction of the variance of the data that reconstructions leave unexplained.
    """

    generated_spread: float
    encoded_spread: float
    accuracy: float
    unexplained: float

    @classmethod
    @torch.inference_mode()
    def of(cls, networks: AladNetworks, x: torch.Tensor) -> Collapse:
        """Look at as many generated events as there are in x (n, d), standardised; draws from the global generator."""
        code = networks.encoder(x)
        z = torch.randn_like(code)
        made = networks.generator(z)
        spread = made.std(dim=0) / x.std(dim=0).clamp(min=1e-6)
        right = (networks.d_xz(x, code) > 0).double().mean() + (networks.d_xz(made, z) < 0).double().mean()
        rest = (networks.generator(code) - x).square().mean() / x.var(dim=0).mean()
        return cls(float(spread.min()), float(code.std(dim=0).max()), float(right / 2), float(rest))

    @property
    def reasons(self) -> list[str]:
        """What has collapsed, in words; empty where nothing has."""
        found = []
        if self.generated_spread < _NARROW:
            found.append(
                f"the generator has collapsed (spread {self.generated_spread:.2g} of the data's in one feature)"
            )
        if self.encoded_spread < _NARROW:
            found.append(f"the encoder has collapsed (spread {self.encoded_spread:.2g} of the noise's)")
        if self.accuracy > _NEVER_WRONG:
            found.append(f"the discriminator has won (right in {100 * self.accuracy:.1f} % of the cases)")
        if self.unexplained > 1.0:
            found.append(f"events are not reproduced ({self.unexplained:.2g} of their variance is left)")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Numbers and reasons, for JSON."""
        return {**asdict(self), "collapsed": self.reasons}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Collapse:
        """Inverse of `to_dict`."""
        return cls(*(float(content[name]) for name in cls.__dataclass_fields__))
