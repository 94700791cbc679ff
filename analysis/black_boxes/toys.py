r"""How often background alone gives an excess as large, anywhere in the scan: pseudo-experiments of all spectra together.

The spectra of a scan share events: a cut of 1 % is inside of that of 10 %, windows overlap. The number of trials is
therefore far below the number of entries. Pseudo-experiments keep that: each spectrum is drawn from the background
that its own blinded fit expects, :math:`n_{sb} \sim \mathrm{Poisson}(\mu_{sb})`, and the spectra s, t of one bin b by a Gaussian
copula with the correlation of two counts that share events, :math:`N_{st} / \sqrt{N_{ss} N_{tt}}`, as the data have them. Every
spectrum is fitted again in its window, as the data were.

The scores are those that were learnt from the data. That a classifier trained again on each pseudo-experiment would
find fluctuations of its own is not in this number; `resonaut validate` runs the whole search on background for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.analysis.summary import trials_corrected
from resonaut.stats import ExcessResult, background_function, global_p_of_toys
from resonaut.stats.excesses.toys import PreparedScan

__all__ = ("GlobalExcess", "correlated_poisson", "global_excess")

FloatArray = npt.NDArray[np.float64]
Spawned = np.random.Generator

FIRST, ALL = 500, 5000  # pseudo-experiments: more than the first ones where the excess is rare among them
ENOUGH = 20  # pseudo-experiments above the data from which their fraction is the p-value
CALIBRATE = 50  # of the largest pseudo-experiments, on which the number of trials is measured
STEP = 500


@dataclass(frozen=True)
class GlobalExcess:
    """Global p-value of the largest excess of a scan.

    Attributes
    ----------
    p, significance
        Fraction of pseudo-experiments with a larger maximum; beyond their reach, from the local p-value and `trials`.
    kind
        "toys", "trials" (extrapolated), or "entries" (each entry a trial of its own, where toys cannot be fitted fast).
    trials
        Independent entries that would give the tail of the maxima of the pseudo-experiments.
    toys, above
        Pseudo-experiments, and those at least as large.
    """

    p: float
    significance: float
    kind: str
    trials: float
    toys: int
    above: int

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        names = ("p", "significance", "kind", "trials", "toys", "above")
        return {
            f"global_{name}" if name in ("p", "significance", "kind") else name: getattr(self, name) for name in names
        }


def global_excess(
    excesses: Sequence[ExcessResult], shared: FloatArray, observed: ExcessResult, seed: int
) -> GlobalExcess:
    """Global p-value of the largest of some excesses.

    Parameters
    ----------
    excesses
        All entries of the scan, with their blinded fits.
    shared
        (bins, S, S) events that their spectra have in common.
    observed
        The largest one.
    seed
        Of the pseudo-experiments.
    """
    z, local_p = observed.local_significance, observed.local_p
    if not all(background_function(excess.fit.function).log_linear for excess in excesses):
        trials = float(len(excesses))
        p = trials_corrected(local_p, len(excesses))
        return GlobalExcess(p, _significance(p, trials, z), "entries", trials, 0, 0)
    rng = np.random.default_rng(seed)
    scans = [PreparedScan.of(excess.fit, [excess.window]) for excess in excesses]
    maxima = np.zeros(0)
    for total in (FIRST, ALL):
        while len(maxima) < total:
            maxima = np.append(maxima, _maxima(excesses, scans, shared, STEP, rng))
        if (maxima >= z).sum() >= ENOUGH:
            break
    found = global_p_of_toys(maxima, z)
    above, trials = int((maxima >= z).sum()), _trials(maxima)
    if above >= ENOUGH:
        return GlobalExcess(found.global_p, found.global_significance, "toys", trials, len(maxima), above)
    p = float(-np.expm1(trials * np.log1p(-min(local_p, 0.5))))
    return GlobalExcess(p, _significance(p, trials, z), "trials", trials, len(maxima), above)


def _significance(p: float, trials: float, local: float) -> float:
    """Of the global p-value; far out that is no double any more, while its logarithm is: 1 - (1 - p)^n is n p there."""
    logarithm = float(np.log(trials) + special.log_ndtr(-local))
    return float(-special.ndtri_exp(logarithm) if logarithm < -20.0 else -special.ndtri(p))


def _trials(maxima: FloatArray) -> float:
    """Independent Gaussian entries whose maximum passes as often the value that `CALIBRATE` of the maxima pass."""
    ordered = np.sort(maxima[np.isfinite(maxima)])[::-1]
    few = min(CALIBRATE, max(1, len(ordered) // 10))
    local = float(special.ndtr(-ordered[few - 1]))
    return max(1.0, float(np.log1p(-few / len(ordered)) / np.log1p(-local)))


def _maxima(
    excesses: Sequence[ExcessResult], scans: Sequence[PreparedScan], shared: FloatArray, toys: int, rng: Spawned
) -> FloatArray:
    """Largest local significance (toys,) of each pseudo-experiment; NaN where no fit converged."""
    mean = np.stack([excess.fit.expected for excess in excesses], axis=1)
    counts = np.stack([correlated_poisson(mean[b], shared[b], toys, rng) for b in range(len(mean))], axis=2)
    largest = np.full(toys, np.nan)
    for s, scan in enumerate(scans):
        for z in scan.significances(counts[:, s]):
            largest = np.fmax(largest, z)
    return largest


def correlated_poisson(mean: FloatArray, shared: FloatArray, toys: int, rng: Spawned) -> FloatArray:
    """Poisson counts (toys, S) of one bin in spectra that share events.

    Parameters
    ----------
    mean
        (S,) expected events.
    shared
        (S, S) events in common; those of each spectrum on the diagonal.
    toys
        Number of draws.
    rng
        Random numbers.

    Notes
    -----
    A Gaussian copula: each count is Poisson with its mean exactly; the correlation of small counts comes out somewhat below
    that of the Gaussians, which makes the number of trials larger.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> counts = correlated_poisson(np.array([50.0, 50.0]), np.full((2, 2), 50.0), 1000, rng)
    >>> bool((counts[:, 0] == counts[:, 1]).all())
    True
    """
    own = np.sqrt(np.diag(shared))
    safe = np.where(own > 0, own, 1.0)
    correlation = shared / np.outer(safe, safe)
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    level = special.ndtr(rng.standard_normal((toys, len(mean))) @ root.T)
    counts = np.empty((toys, len(mean)))
    for s, mu in enumerate(mean):
        counts[:, s] = _quantile(level[:, s], float(mu))
    return counts


def _quantile(level: FloatArray, mean: float) -> FloatArray:
    """Smallest count whose cumulative Poisson probability reaches each level."""
    if not mean > 0:
        return np.zeros_like(level)
    spread = 9.0 * np.sqrt(mean) + 12.0
    counts = np.arange(max(0, int(mean - spread)), int(mean + spread) + 1)
    cumulative = special.pdtr(counts, mean)
    return np.asarray(counts[np.minimum(np.searchsorted(cumulative, level), len(counts) - 1)], dtype=np.float64)
