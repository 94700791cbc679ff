"""Which events are scored by which network: folds alike in mass, and the balance of signal region and sidebands."""

from __future__ import annotations

import numpy as np

from resonaut.errors import ConfigError, InputError
from resonaut.models.sample import FloatArray, IndexArray, MaskArray, Sample
from resonaut.stats import Window

__all__ = ("assign_folds", "region_weights", "training_rows")


def assign_folds(mass: FloatArray, folds: int, seed: int | np.random.SeedSequence) -> IndexArray:
    """Fold (0 .. folds-1) of each event, drawn so that every stretch of mass is shared out equally.

    Events in order of mass are dealt out in groups of `folds` neighbours, each group in random order: the finest form
    of "randomly, bin by bin, in samples of identical size" ("Comparing Weak- and Unsupervised Methods", section 3.1),
    without bin edges to choose. In any mass range the folds' sizes differ by at most 2.

    Parameters
    ----------
    mass
        (n,) resonant mass.
    folds
        Number of folds, from 2 to n.
    seed
        Equal seeds give equal folds.

    Raises
    ------
    ConfigError
        If there are fewer than 2 folds.
    InputError
        If there are fewer events than folds.

    Examples
    --------
    >>> np.bincount(assign_folds(np.linspace(2800, 5200, 11), 5, seed=1)).tolist()
    [3, 2, 2, 2, 2]
    """
    if folds < 2:
        msg = f"cross-fitting needs at least 2 folds, got {folds}: 5 is the usual number"
        raise ConfigError(msg)
    events = len(mass)
    if events < folds:
        msg = f"{events} events cannot be shared out in {folds} folds"
        raise InputError(msg)
    rng = np.random.default_rng(seed)
    groups = -(-events // folds)
    dealt = np.argsort(rng.random((groups, folds)), axis=1)
    tail = events - (groups - 1) * folds
    dealt[-1, :tail] = rng.permutation(tail)  # an incomplete last group fills the first folds: sizes known beforehand
    fold = np.empty(events, dtype=np.int64)
    fold[np.argsort(mass, kind="stable")] = dealt.reshape(-1)[:events]
    return fold


def region_weights(sample: Sample, window: Window) -> tuple[MaskArray, FloatArray]:
    """Training target and weights of CWoLa: low sideband = high sideband, signal region = both, mean 1.

    Equal sidebands make a feature that drifts linearly with the mass useless for telling the signal region from the
    sidebands, whatever the event rates. Event weights are kept inside each region.

    Parameters
    ----------
    sample
        n events; those outside the window get weight 0.
    window
        Signal region and sidebands.

    Returns
    -------
    target
        (n,) True in the signal region.
    weight
        (n,), mean 1 over the events in the window.

    Raises
    ------
    InputError
        If a region holds no events (or no weight).
    """
    regions = {
        "lower sideband": (window.in_lower_sideband(sample.mass), 0.25),
        "signal region": (window.in_signal_region(sample.mass), 0.5),
        "upper sideband": (window.in_upper_sideband(sample.mass), 0.25),
    }
    weight = np.zeros(len(sample))
    total = sum(int(np.count_nonzero(inside)) for inside, _ in regions.values())
    for region, (inside, share) in regions.items():
        content = float(sample.weight[inside].sum())
        if not content > 0:
            msg = (
                f"the {region} of window {window} has no events (of {len(sample)} in "
                f"{_span(sample.mass)}): move the window or widen its sidebands"
            )
            raise InputError(msg)
        weight[inside] = sample.weight[inside] * (share * total / content)
    return regions["signal region"][0], weight


def training_rows(sample: Sample, window: Window) -> IndexArray:
    """Indices of the events inside the window (signal region and sidebands)."""
    return np.flatnonzero(window.in_signal_region(sample.mass) | window.in_sidebands(sample.mass))


def _span(mass: FloatArray) -> str:
    return f"{mass.min():.0f}-{mass.max():.0f} GeV" if len(mass) else "an empty sample"
