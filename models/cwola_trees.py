"""CWoLa hunting with gradient-boosted trees: the fast classifier for engineered features."""

from __future__ import annotations

from resonaut.models.folds import region_weights, training_rows
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, MaskArray, Sample
from resonaut.models.tree_scorer import TreeScorer
from resonaut.stats import Window

__all__ = ("CWoLaTrees",)


@register("cwola-trees")
class CWoLaTrees(TreeScorer):
    """Boosted trees that tell the signal region from the sidebands (classification without labels).

    Where the signal region has events that the sidebands have not, the classifier finds what they look like; without
    them the two are alike and it learns nothing but noise, which the ensemble averages down. Options: see `TreeScorer`;
    the defaults were chosen for power at a few permille of signal (docs/models.md has the figures).

    Notes
    -----
    Weights: the low sideband counts as much as the high one, the signal region as much as both, so that a linear drift
    of a feature with the mass teaches nothing. Jet masses are read relative to mJJ, unlike in the paper: on simulated
    dijets that finds more at a few permille of signal. Whether the selected spectrum is bent less depends on the sample.

    References
    ----------
    Collins, Howe, Nachman, arXiv:1805.02664; Collins, Martin-Ramiro, Nachman, Shih, arXiv:2104.02092, section 3.1
    (with a network); Finke et al., arXiv:2309.13111 (ensembles of histogram-based trees for weak supervision).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> mass = rng.uniform(3000.0, 4000.0, 4000)
    >>> signal = (abs(mass - 3500.0) < 50.0) & (rng.random(4000) < 0.3)
    >>> x = np.where(signal, rng.normal(3.0, 0.3, 4000), rng.normal(0.0, 1.0, 4000))
    >>> sample = Sample(x[:, None], ("x",), mass)
    >>> scorer = CWoLaTrees(("x",), members=2).fit(sample, Window(3450.0, 3550.0, 3300.0, 3700.0))
    >>> bool(scorer.score(sample)[signal].mean() > scorer.score(sample)[~signal].mean())
    True
    """

    def training_set(self, sample: Sample, window: Window | None) -> tuple[Sample, MaskArray, FloatArray]:
        """Events in the window; the signal region is the target, weights balance the regions."""
        window = self.require_window(window)
        events = sample.take(training_rows(sample, window))
        return events, *region_weights(events, window)
