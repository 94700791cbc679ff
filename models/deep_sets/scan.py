"""Deep Set VAEs over a grid of beta and w."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resonaut.errors import ConfigError
from resonaut.models.deep_sets.scorer import DeepSetVAE, fit_together
from resonaut.models.sample import Sample

__all__ = ("BETAS", "KIND_WEIGHTS", "deep_set_scan")

BETAS = (1e-6, 1e-3, 0.1, 0.5, 0.8, 0.999, 1.0)
KIND_WEIGHTS = (1.0, 10.0, 100.0)


def deep_set_scan(
    sample: Sample, betas: Sequence[float] = BETAS, ws: Sequence[float] = KIND_WEIGHTS, **options: Any
) -> dict[tuple[float, float], DeepSetVAE]:
    """Fitted scorers for each pair of beta and w: one stack for all points with a decoder, one for beta = 1.

    Parameters
    ----------
    sample
        Events to learn from.
    betas, ws
        The grid; the defaults are those of arXiv:2109.01695, eq. 7. Without a decoder w does nothing: beta = 1 stands under
        the first w alone.
    options
        Of `DeepSetVAE`, common to all points.

    Returns
    -------
    dict
        (beta, w) -> scorer, each as it would be if fitted alone.

    Raises
    ------
    ConfigError
        If there is no beta or no w, or for an option out of range.
    InputError
        If there are too few events, a kind is not one, or an event has no object.
    """
    if not betas or not ws:
        msg = f"a scan needs at least one beta and one w, got {list(betas)} and {list(ws)}"
        raise ConfigError(msg)
    pairs = [(beta, w) for beta in betas for w in (ws if beta < 1 else ws[:1])]
    scorers = {pair: DeepSetVAE(**{**options, "beta": pair[0], "w": pair[1]}) for pair in pairs}
    for decoded in (True, False):
        if together := [scorer for scorer in scorers.values() if (scorer.beta < 1) == decoded]:
            fit_together(together, sample)
    return scorers
