"""Weighted spectra as Poisson spectra of effective counts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.stats.spectrum import Spectrum, as_counts

__all__ = ("pooled_scale", "weighted_counts")

FloatArray = npt.NDArray[np.float64]

POOLED_COUNTS = 50.0  # effective counts behind each ratio of variance to sum: 20 % is enough for an error


def weighted_counts(spectrum: Spectrum) -> tuple[FloatArray, FloatArray, FloatArray]:
    r"""Sums of weights, edges, and the factor that turns sums of weights into effective counts.

    A sum of weights :math:`W = \sum w` with variance :math:`V = \sum w^2` has the relative error of a Poisson count of
    :math:`W^2 / V = W / s` with :math:`s = V / W`; the scaled Poisson distribution takes that count for data and
    :math:`\mu / s` for expectation (Bohm and Zech, arXiv:1309.1287).

    Parameters
    ----------
    spectrum : Spectrum
        A histogram that keeps sums of squared weights.

    Returns
    -------
    sums : ndarray of shape (bins,)
    edges : ndarray of shape (bins + 1,)
        GeV.
    scale : ndarray of shape (bins,)
        Variance over sum of weights, pooled over so many neighbouring bins that it rests on 50 effective counts.

    Raises
    ------
    InputError
        If the histogram has no variances, or no positive content.

    Notes
    -----
    The approximation needs several events in a bin where weights vary much from event to event. Bins with a negative sum
    of weights are refused: no Poisson mean describes them.
    """
    sums, edges, variances = as_counts(spectrum)
    if variances is None:
        msg = "weighted fit got a spectrum without variances, expected a histogram that keeps sums of squared weights"
        raise InputError(msg)
    if not (np.isfinite(variances).all() and sums.sum() > 0 and variances.sum() > 0):
        msg = f"weighted fit got weights of sum {sums.sum():.6g} and variance {variances.sum():.6g}, expected positive ones"
        raise InputError(msg)
    return sums, edges, pooled_scale(sums, variances)


def pooled_scale(sums: FloatArray, variances: FloatArray) -> FloatArray:
    """Variance over sum of weights of each bin and its neighbours, shape (bins,).

    In a sparse bin the ratio follows the fluctuation of the sum itself, large weights raise both, and the fit would be
    pulled towards the bins that fluctuated down.
    """
    weight = np.concatenate([[0.0], np.cumsum(sums)])
    square = np.concatenate([[0.0], np.cumsum(variances)])
    bins = len(sums)
    scale = np.zeros(bins)
    waiting = np.arange(bins)  # those that need more neighbours, all widened together
    for reach in range(bins):
        low, high = np.maximum(waiting - reach, 0), np.minimum(waiting + reach + 1, bins)
        w, v = weight[high] - weight[low], square[high] - square[low]
        done = ((v > 0) & (w**2 >= POOLED_COUNTS * v)) | (high - low == bins)
        scale[waiting[done]] = v[done] / w[done]
        waiting = waiting[~done]
        if not waiting.size:
            break
    return scale
