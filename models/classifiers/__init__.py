"""Classifiers: what tells two weighted samples apart, out of fold, whichever method made the samples.

A weakly supervised method is its background template; the classifier that tells data from it is one of these.

| what | where |
| --- | --- |
| the interface, and what training gives | `Classifier`, `TrainedClassifier` |
| by name | `make_classifier`, `available_classifiers`, `register_classifier` |
| boosted trees, fast | `TreesClassifier` ("trees") |
| networks of the Interplay paper, all folds and members as one stack | `NetworkClassifier` ("network") |
| from disk | `restore_classifier` |
"""

from __future__ import annotations

from resonaut.models.classifiers.base import (
    Classifier,
    TrainedClassifier,
    available_classifiers,
    make_classifier,
    register_classifier,
    restore_classifier,
)
from resonaut.models.classifiers.network import NetworkClassifier, TrainedNetwork
from resonaut.models.classifiers.trees import TrainedTrees, TreesClassifier

__all__ = (
    "Classifier",
    "NetworkClassifier",
    "TrainedClassifier",
    "TrainedNetwork",
    "TrainedTrees",
    "TreesClassifier",
    "available_classifiers",
    "make_classifier",
    "register_classifier",
    "restore_classifier",
)
