"""Anomaly scorers: a feature matrix, a mass, weights and a window go in, one score per event comes out.

| what | where |
| --- | --- |
| events in memory | `Sample` |
| the protocol of all methods, and a base for new ones | `Scorer`, `BaseScorer` |
| methods by name | `register`, `available`, `make_scorer`, `scorer_class` |
| to disk and back, without pickles | `save_scorer`, `load_scorer`, `read_card` |
| as ONNX files, for C++ | `to_onnx`, `exportable`, `read_onnx_card`: `resonaut.models.export` |
| thresholds that go with a saved scorer | `read_working_points`, `write_working_points` |
| out-of-fold scores for any method | `CrossFit`, `OutOfFold` |
| from scores to selections | `select`, `threshold` |
| background after a cut, from a template, without a fit | `direct_estimate`, `DirectEstimate` |
| weakly supervised: signal region against sidebands | `CWoLaTrees`, `CWoLaNetwork` |
| resonant, with a background template | `Cathode`, `LaCathode`, `Anode`, `Curtains`, `Salad`, `Feta`, `SACWoLa`, `CWoLa`: `resonaut.models.templates` |
| combinations | `Combination` of templates, `ScoreCombination`, `RareAndDifferent`, `ScoreScale`, `combine_tails` |
| from one jet to the other | `TagNTrain` |
| any of them, as tight at every mass | `DDT` |
| unsupervised: far from a target, of low likelihood | `DeepSVDD`, `FlowDensity` |
| unsupervised: badly reconstructed events | `Autoencoder`, `VAE` |
| how many latent dimensions | `bottleneck_study`, `BottleneckStudy` |
| unsupervised: events as sets of objects | `DeepSetVAE`, `deep_set_scan` |
| unsupervised baselines | `IsolationForest`, `Nearest`, `Clusters`, `Alad` |
| references with truth labels, for benchmarks | `Supervised`, `Idealised`, `IdealisedTemplate` |
| figures of merit where truth is known | `auc`, `roc_curve`, `sic_curve`, `max_sic`, `si_at`, `efficiency_at`, `sic_band` |
"""

from __future__ import annotations

from resonaut.models.alad import Alad
from resonaut.models.autoencoder import Autoencoder
from resonaut.models.base import BaseScorer
from resonaut.models.bottleneck import BottleneckStudy, bottleneck_study
from resonaut.models.clusters import Clusters
from resonaut.models.crossfit import CrossFit, OutOfFold
from resonaut.models.cuts import select, threshold
from resonaut.models.cwola import CWoLaNetwork
from resonaut.models.cwola_trees import CWoLaTrees
from resonaut.models.ddt import DDT
from resonaut.models.deep_sets import DeepSetVAE, deep_set_scan
from resonaut.models.direct import DirectEstimate, direct_estimate
from resonaut.models.export import exportable, read_onnx_card, to_onnx
from resonaut.models.flow_density import FlowDensity
from resonaut.models.folds import assign_folds, region_weights
from resonaut.models.inputs import AE_FEATURES, CWOLA_FEATURES
from resonaut.models.isolation_forest import IsolationForest
from resonaut.models.metrics import (
    Band,
    RocCurve,
    SicCurve,
    auc,
    efficiency_at,
    max_sic,
    roc_curve,
    si_at,
    sic_band,
    sic_curve,
)
from resonaut.models.nearest import Nearest
from resonaut.models.protocol import Scorer
from resonaut.models.references import Idealised, Supervised
from resonaut.models.registry import available, make_scorer, register, scorer_class
from resonaut.models.sample import Sample
from resonaut.models.scales import COMBINATIONS, ScoreScale, combine_tails
from resonaut.models.score_combination import RareAndDifferent, ScoreCombination
from resonaut.models.storage import load_scorer, read_card, save_scorer
from resonaut.models.svdd import DeepSVDD
from resonaut.models.templates import (
    Anode,
    Cathode,
    Combination,
    Curtains,
    CWoLa,
    Feta,
    IdealisedTemplate,
    LaCathode,
    SACWoLa,
    Salad,
    SidebandsTransfer,
    TagNTrain,
    TemplateScorer,
)
from resonaut.models.vae import VAE
from resonaut.models.working_points import check_working_points, read_working_points, write_working_points

__all__ = (
    "AE_FEATURES",
    "COMBINATIONS",
    "CWOLA_FEATURES",
    "DDT",
    "VAE",
    "Alad",
    "Anode",
    "Autoencoder",
    "Band",
    "BaseScorer",
    "BottleneckStudy",
    "CWoLa",
    "CWoLaNetwork",
    "CWoLaTrees",
    "Cathode",
    "Clusters",
    "Combination",
    "CrossFit",
    "Curtains",
    "DeepSVDD",
    "DeepSetVAE",
    "DirectEstimate",
    "Feta",
    "FlowDensity",
    "Idealised",
    "IdealisedTemplate",
    "IsolationForest",
    "LaCathode",
    "Nearest",
    "OutOfFold",
    "RareAndDifferent",
    "RocCurve",
    "SACWoLa",
    "Salad",
    "Sample",
    "ScoreCombination",
    "ScoreScale",
    "Scorer",
    "SicCurve",
    "SidebandsTransfer",
    "Supervised",
    "TagNTrain",
    "TemplateScorer",
    "assign_folds",
    "auc",
    "available",
    "bottleneck_study",
    "check_working_points",
    "combine_tails",
    "deep_set_scan",
    "direct_estimate",
    "efficiency_at",
    "exportable",
    "load_scorer",
    "make_scorer",
    "max_sic",
    "read_card",
    "read_onnx_card",
    "read_working_points",
    "region_weights",
    "register",
    "roc_curve",
    "save_scorer",
    "scorer_class",
    "select",
    "si_at",
    "sic_band",
    "sic_curve",
    "threshold",
    "to_onnx",
    "write_working_points",
)
