"""How many latent dimensions an autoencoder needs: fraction of variance unexplained against the size of the bottleneck."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from resonaut.errors import ConfigError, InputError
from resonaut.models.autoencoder import Autoencoder
from resonaut.models.base import require_positive
from resonaut.models.inputs import AE_FEATURES
from resonaut.models.sample import FloatArray, Sample

__all__ = ("BottleneckStudy", "bottleneck_study")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class BottleneckStudy:
    """FVU of autoencoders of several sizes, each trained several times.

    Parameters
    ----------
    features
        The n columns that were compressed.
    latents
        Latent dimensions, rising by one.
    hidden
        Widths of the hidden layers.
    trainings
        Trainings of each size, each with its own events and initial weights.
    fvu_mean, fvu_std
        ``[hidden][latent]`` mean and standard deviation over trainings of the fraction of variance unexplained, eq. C.3, on events
        that no training saw.
    significance
        Standard errors by which a drop must exceed 1/n to be chosen.

    References
    ----------
    "Comparing Weak- and Unsupervised Methods for Resonant Anomaly Detection", arXiv:2104.02092, appendix C.

    Examples
    --------
    >>> study = BottleneckStudy(
    ...     tuple("abcd"), (1, 2, 3), (64,), 10, ((0.6, 0.1, 0.09),), ((0.01, 0.01, 0.01),), 3.0
    ... )
    >>> study.drop[0].round(2).tolist(), study.chosen, study.recommended
    ([0.4, 0.5, 0.01], {64: (1, 2)}, 2)
    """

    features: tuple[str, ...]
    latents: tuple[int, ...]
    hidden: tuple[int, ...]
    trainings: int
    fvu_mean: tuple[tuple[float, ...], ...]
    fvu_std: tuple[tuple[float, ...], ...]
    significance: float

    @property
    def nominal_drop(self) -> float:
        """1/n: the drop of a dimension that memorises one feature."""
        return 1.0 / len(self.features)

    @property
    def nominal_fvu(self) -> FloatArray:
        """(latents,) 1 - n_latent / n: FVU of a bottleneck that memorises as many features as it has dimensions."""
        return 1.0 - np.asarray(self.latents) * self.nominal_drop

    @property
    def drop(self) -> FloatArray:
        """(hidden, latents) decrease of the mean FVU by the last of the latent dimensions; NaN where one fewer was not tried.

        No latent dimension at all leaves the mean, and an FVU of 1.
        """
        return -np.diff(self._before(np.asarray(self.fvu_mean), 1.0), axis=1)

    @property
    def drop_error(self) -> FloatArray:
        """(hidden, latents) standard error of `drop`, from the spread of the trainings."""
        variance = self._before(np.asarray(self.fvu_std) ** 2 / self.trainings, 0.0)
        return np.sqrt(variance[:, 1:] + variance[:, :-1])

    def _before(self, values: FloatArray, none: float) -> FloatArray:
        """The same with one more column in front: the value without a latent dimension, where that is the one before."""
        first = none if self.latents[0] == 1 else np.nan
        return np.concatenate([np.full((len(values), 1), first), values], axis=1)

    @property
    def chosen(self) -> dict[int, tuple[int, ...]]:
        """For each width the numbers of latent dimensions whose last one lowers the FVU by significantly more than 1/n."""
        better = self.drop - self.nominal_drop > self.significance * self.drop_error
        return {
            width: tuple(int(n) for n, good in zip(self.latents, row, strict=True) if good)
            for width, row in zip(self.hidden, better, strict=True)
        }

    @property
    def recommended(self) -> int:
        """Latent dimensions to take: the most that the widest autoencoder can justify one after another; 0 if none."""
        chosen, count = self.chosen[max(self.hidden)], 0
        start = self.latents[0]
        while start + count in chosen:
            count += 1
        return start + count - 1 if count else 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with what follows from the numbers beside them."""
        return {
            **asdict(self),
            "drop": [[None if np.isnan(each) else float(each) for each in row] for row in self.drop],
            "chosen": {str(width): list(each) for width, each in self.chosen.items()},
            "recommended": self.recommended,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Take back what `to_dict` gave.

        Raises
        ------
        InputError
            If a part is missing.
        """
        try:
            return cls(
                tuple(content["features"]),
                tuple(content["latents"]),
                tuple(content["hidden"]),
                content["trainings"],
                tuple(tuple(row) for row in content["fvu_mean"]),
                tuple(tuple(row) for row in content["fvu_std"]),
                content["significance"],
            )
        except (KeyError, TypeError) as error:
            msg = f"this is not a bottleneck study ({error!r}): give what BottleneckStudy.to_dict wrote"
            raise InputError(msg) from error


def bottleneck_study(
    sample: Sample,
    features: Sequence[str] = AE_FEATURES,
    *,
    latents: Sequence[int] | None = None,
    hidden: Sequence[int] = (128, 256, 512),
    trainings: int = 10,
    significance: float = 3.0,
    progress: Progress | None = None,
    **options: Any,
) -> BottleneckStudy:
    """Train autoencoders of several sizes and see what each latent dimension explains.

    Parameters
    ----------
    sample
        Events, mostly background. No labels are read.
    features
        Columns to compress.
    latents
        Latent dimensions to try, rising by one; 1 to one fewer than features where not given.
    hidden
        Widths to try.
    trainings
        Trainings of each size.
    significance
        Standard errors by which a drop must exceed 1/n to be chosen.
    progress
        Called with the sizes done and their number.
    options
        Of `Autoencoder`: events, epochs, batch_size, learning_rate, device, seed ...

    Raises
    ------
    ConfigError
        If latents do not rise by one, or an option is out of range.
    InputError
        If there are too few events, or a feature is missing.
    """
    wanted = tuple(range(1, len(features))) if latents is None else tuple(int(each) for each in latents)
    widths = tuple(dict.fromkeys(int(each) for each in hidden))
    if not wanted or wanted[0] < 1 or any(np.diff(wanted) != 1):
        msg = f"latents must be numbers from 1 that rise by one, got {list(wanted)}: each is compared to the one before"
        raise ConfigError(msg)
    if not widths or trainings < 2:
        msg = f"a study needs at least one width and 2 trainings of each, got {list(widths)} and {trainings}"
        raise ConfigError(msg)
    require_positive("bottleneck study", significance=significance)
    base = Autoencoder(features, **{**options, "members": trainings})
    mean, std = np.empty((2, len(widths), len(wanted)))
    for row, width in enumerate(widths):
        for column, latent in enumerate(wanted):
            fvu = base.clone(hidden=width, latent=latent).fit(sample).fvu_
            mean[row, column], std[row, column] = fvu.mean(), fvu.std(ddof=1)
            if progress is not None:
                progress(row * len(wanted) + column + 1, mean.size)
    means, stds = (tuple(tuple(row) for row in values.tolist()) for values in (mean, std))
    return BottleneckStudy(base.features, wanted, widths, trainings, means, stds, significance)
