"""Clusters: events far from the centres of all groups of events."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from scipy.special import logsumexp
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from resonaut.errors import ConfigError, InputError
from resonaut.models.base import BaseScorer, feature_names, require_positive
from resonaut.models.draws import draw_rows, standardisation
from resonaut.models.inputs import AE_FEATURES
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, Sample
from resonaut.models.storage import Tensors
from resonaut.stats import Window

__all__ = ("Clusters",)

logger = logging.getLogger(__name__)
_ROWS = 65_536  # events scored at once


@register("clusters")
class Clusters(BaseScorer):
    """-ln of the density of a Gaussian mixture, or the distance to the nearest of k centres, in standardised features.

    A baseline between a single Gaussian and a flow: smooth, quick, and blind to what needs sharp edges.

    Parameters
    ----------
    features
        Columns to read.
    model
        "gaussian-mixture" (each cluster with its own covariance) or "k-means" (round clusters of one size).
    clusters
        Their number.
    events
        Training events at most, drawn at random.
    iterations
        Of the fit at most; a fit that has not converged by then is used, and told in a warning and in the card.
    seed
        Of the draw and of the first centres.

    Notes
    -----
    Trained by scikit-learn, kept as arrays. 1e-6 is added to the variances in the mixture. Events with weights are drawn in proportion
    to them.

    Examples
    --------
    >>> from resonaut.models import make_scorer
    >>> make_scorer("clusters", model="k-means").options["clusters"]
    8
    """

    uses_window: ClassVar[bool] = False

    def __init__(
        self,
        features: Sequence[str] = AE_FEATURES,
        *,
        model: Literal["gaussian-mixture", "k-means"] = "gaussian-mixture",
        clusters: int = 8,
        events: int = 50_000,
        iterations: int = 200,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        self.model = model
        self.clusters = clusters
        self.events = events
        self.iterations = iterations
        self.seed = seed
        require_positive(self.name, clusters=clusters, events=events, iterations=iterations)
        if model not in ("gaussian-mixture", "k-means"):
            msg = f"option 'model' of 'clusters' must be 'gaussian-mixture' or 'k-means', got {model!r}"
            raise ConfigError(msg)
        self.arrays_: Tensors = {}
        self.converged_ = True

    @property
    def fitted(self) -> bool:
        """Whether there are clusters."""
        return bool(self.arrays_)

    def fit(self, sample: Sample, window: Window | None = None) -> Self:
        """Find the clusters; the window is only kept for the record.

        Raises
        ------
        InputError
            If there are fewer than ten events for each cluster, or none with a weight.
        """
        if min(len(sample), self.events) < 10 * self.clusters:
            msg = f"'clusters' needs at least {10 * self.clusters} events for {self.clusters} clusters, got {min(len(sample), self.events)}"
            raise InputError(msg)
        rows = draw_rows(sample.weight, self.events, np.random.default_rng(self.seed))
        matrix = sample.require(self.features)
        shift, scale = standardisation(matrix, sample.weight)
        found = self._find((matrix[rows] - shift) / scale)
        self.arrays_ = {"shift": shift, "scale": scale, **found}
        self.window_ = window
        if not self.converged_:
            logger.warning("clusters: no convergence in %d iterations: raise 'iterations'", self.iterations)
        return self

    def _find(self, points: FloatArray) -> Tensors:
        seed = int(np.random.SeedSequence(self.seed).generate_state(1)[0] % 2**31)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            if self.model == "k-means":
                means = KMeans(self.clusters, max_iter=self.iterations, n_init=3, random_state=seed).fit(points)
                self.converged_ = bool(means.n_iter_ < self.iterations)
                return {"centres": means.cluster_centers_}
            mixture = GaussianMixture(self.clusters, max_iter=self.iterations, random_state=seed).fit(points)
        self.converged_ = bool(mixture.converged_)
        return {"centres": mixture.means_, "roots": mixture.precisions_cholesky_, "shares": mixture.weights_}

    def score(self, sample: Sample) -> FloatArray:
        """-ln density (n,) of the standardised features, or distance in standard deviations."""
        self.require_fitted()
        points = (sample.require(self.features) - self.arrays_["shift"]) / self.arrays_["scale"]
        judge = self._distance if self.model == "k-means" else self._minus_log_density
        parts = [judge(points[start : start + _ROWS]) for start in range(0, len(points), _ROWS)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _distance(self, points: FloatArray) -> FloatArray:
        apart = [np.linalg.norm(points - centre, axis=1) for centre in self.arrays_["centres"]]
        return np.asarray(np.min(apart, axis=0))

    def _minus_log_density(self, points: FloatArray) -> FloatArray:
        """Each precision matrix is R R^T: the squared distance is the length of (x - mean) R."""
        logs = []
        found = zip(*(self.arrays_[name] for name in ("centres", "roots", "shares")), strict=True)
        for centre, root, share in found:
            squared = np.square((points - centre) @ root).sum(axis=1)
            norm = np.log(np.diagonal(root)).sum() - 0.5 * len(centre) * np.log(2 * np.pi)
            logs.append(np.log(share) + norm - 0.5 * squared)
        return np.asarray(-logsumexp(logs, axis=0))

    def learnt_tensors(self) -> Tensors:
        """Centres, and shares and precisions of a mixture."""
        return self.arrays_

    def learnt_facts(self) -> dict[str, Any]:
        """Whether the fit has converged."""
        return {"converged": self.converged_}

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the clusters."""
        self.arrays_ = tensors
        self.converged_ = bool(facts.get("converged", True))
