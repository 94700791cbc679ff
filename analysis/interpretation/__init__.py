"""What did the machine learn? The selection of each method in the most significant window, looked at from several sides."""

from __future__ import annotations

from resonaut.analysis.interpretation.importance import FoldEvents, Importance, permutation_importance
from resonaut.analysis.interpretation.measures import (
    Plane,
    ScoreMap,
    Spread,
    efficiency_plane,
    feature_spread,
    rank_in_fold,
    score_map,
)
from resonaut.analysis.interpretation.stage import interpretation_stage

__all__ = (
    "FoldEvents",
    "Importance",
    "Plane",
    "ScoreMap",
    "Spread",
    "efficiency_plane",
    "feature_spread",
    "interpretation_stage",
    "permutation_importance",
    "rank_in_fold",
    "score_map",
)
