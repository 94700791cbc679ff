"""CWoLa hunting with gradient-boosted trees: the fast classifier for engineered features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from resonaut.errors import ConfigError
from resonaut.models.base import BaseScorer, feature_names, require_positive
from resonaut.models.folds import region_weights, training_rows
from resonaut.models.forest import Forest
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, Sample
from resonaut.models.storage import Tensors
from resonaut.models.trees import TreeOptions, train_trees
from resonaut.stats.windows import Window

__all__ = ("CWOLA_FEATURES", "CWoLaTrees", "scaled_matrix")

CWOLA_FEATURES = tuple(
    f"{observable}_{jet}" for jet in ("h", "l") for observable in ("m", "tau1b2_ratio", "tau21", "tau32", "tau43", "n")
)
"""Jet mass, sqrt(tau1 with beta 2) / tau1, tau21, tau32, tau43 and multiplicity of the heavier and the lighter jet.

The inputs of "Comparing Weak- and Unsupervised Methods", eq. 3.1, with the root on the numerator alone: that makes the
second one dimensionless in angle.
"""


@register("cwola-trees")
class CWoLaTrees(BaseScorer):
    """Boosted trees that tell the signal region from the sidebands (classification without labels).

    Where the signal region has events that the sidebands have not, the classifier finds what they look like; without
    them the two are alike and it learns nothing but noise, which the ensemble averages down.

    Parameters
    ----------
    features
        Columns to read.
    scaled_by_mass
        Those of the features that are divided by the event's resonant mass. Jet masses grow with the mJJ of their
        event, their ratio hardly does: a cut on the score bends the spectrum less. None scales the jet masses
        among the features; an empty tuple scales nothing, as in the paper.
    members, max_iter, learning_rate, max_leaf_nodes, min_samples_leaf, l2_regularization, max_features, \
validation_fraction, patience
        The ensemble: see `TreeOptions`.
    seed
        Equal seeds give equal scores.

    Notes
    -----
    Weights: the low sideband counts as much as the high one, the signal region as much as both, so that a linear drift
    of a feature with the mass teaches nothing. The score is the mean log-odds of the members.

    References
    ----------
    Collins, Howe, Nachman, arXiv:1805.02664; Collins, Martin-Ramiro, Nachman, Shih, arXiv:2104.02092, section 3.1
    (with a network); Finke et al., arXiv:2309.13111 (tree ensembles for weak supervision).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> mass = rng.uniform(3000.0, 4000.0, 4000)
    >>> signal = (abs(mass - 3500.0) < 50.0) & (rng.random(4000) < 0.3)
    >>> x = np.where(signal, rng.normal(3.0, 0.3, 4000), rng.normal(0.0, 1.0, 4000))
    >>> sample = Sample(x[:, None], ("x",), mass)
    >>> scorer = CWoLaTrees(("x",), members=2).fit(sample, Window(3450.0, 3550.0, 3300.0, 3700.0))
    >>> bool(scorer.score(sample)[signal].mean() > scorer.score(sample)[~signal].mean())
    True
    """

    def __init__(
        self,
        features: Sequence[str] = CWOLA_FEATURES,
        *,
        scaled_by_mass: Sequence[str] | None = None,
        members: int = 8,
        max_iter: int = 100,
        learning_rate: float = 0.1,
        max_leaf_nodes: int = 31,
        min_samples_leaf: int = 20,
        l2_regularization: float = 0.0,
        max_features: float = 0.5,
        validation_fraction: float = 0.25,
        patience: int = 10,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        masses = [name for name in self.features if name in JET_MASSES]
        self.scaled_by_mass = tuple(masses if scaled_by_mass is None else scaled_by_mass)
        self.members = members
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.max_features = max_features
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.seed = seed
        self._check()
        self.forest_: Forest | None = None
        self.trees_: list[int] = []

    def _check(self) -> None:
        require_positive(
            self.name,
            members=self.members,
            max_iter=self.max_iter,
            learning_rate=self.learning_rate,
            max_features=self.max_features,
            min_samples_leaf=self.min_samples_leaf,
            patience=self.patience,
        )
        if not 0 < self.validation_fraction < 1:
            msg = f"option 'validation_fraction' must be in (0, 1), got {self.validation_fraction!r}"
            raise ConfigError(msg)
        strangers = [name for name in self.scaled_by_mass if name not in self.features]
        if strangers:
            msg = f"scaled_by_mass names {strangers}, which are not among the features {list(self.features)}"
            raise ConfigError(msg)

    @property
    def fitted(self) -> bool:
        """Whether there is a forest to score with."""
        return self.forest_ is not None

    def tree_options(self) -> TreeOptions:
        """Options of the ensemble."""
        return TreeOptions(**{name: getattr(self, name) for name in TreeOptions.__dataclass_fields__})

    def fit(self, sample: Sample, window: Window | None) -> CWoLaTrees:
        """Train on the events of `sample` in the window."""
        self.window_ = self.require_window(window)
        inside = sample.take(training_rows(sample, self.window_))
        target, weight = region_weights(inside, self.window_)
        matrix = scaled_matrix(inside, self.features, self.scaled_by_mass)
        self.forest_, self.trees_ = train_trees(matrix, target, weight, self.tree_options(), self.seed)
        return self

    def score(self, sample: Sample) -> FloatArray:
        """Mean log-odds (n,) of the signal region, at any mass."""
        self.require_fitted()
        assert self.forest_ is not None
        return self.forest_.evaluate(scaled_matrix(sample, self.features, self.scaled_by_mass))

    def learnt_tensors(self) -> Tensors:
        """Flat arrays of the forest."""
        assert self.forest_ is not None
        return self.forest_.tensors()

    def learnt_facts(self) -> dict[str, Any]:
        """Number of trees of each member."""
        return {"trees": self.trees_}

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the forest."""
        self.forest_ = Forest.from_tensors(tensors)
        self.trees_ = list(facts["trees"])


JET_MASSES = frozenset({"m_h", "m_l", "m_j1", "m_j2", "msd_h", "msd_l", "msd_j1", "msd_j2"})


def scaled_matrix(sample: Sample, features: Sequence[str], scaled: Sequence[str]) -> FloatArray:
    """Feature matrix (n, d) with the columns named in `scaled` divided by the event's resonant mass."""
    matrix = sample.require(features)
    if not scaled:
        return matrix
    matrix = matrix.copy()
    for name in scaled:
        matrix[:, tuple(features).index(name)] /= sample.mass
    return np.ascontiguousarray(matrix)
