"""Published scores of the challenge, drawn beside ours: other data, the same measures."""

from __future__ import annotations

from typing import Any

__all__ = ("PUBLISHED",)

PUBLISHED: dict[str, Any] = {
    "source": "Results of the submissions to the Dark Machines anomaly score challenge, arXiv:2105.14027, from the tables that its authors "
    "published with their code (MIT licence): total improvements over the hackathon's signals, and significance improvements over the "
    "secret signals. Of 1040 submitted scans only those taken to the secret data are listed.",
    "submissions": {
        "Flow-Efficient_Likelihood": {"hackathon": [0.9, 15.0, 54.0], "secret": [0.183, 1.8, 10.0]},
        "Combined-AND-DeepSVDD-Flow": {"hackathon": [0.316, 10.0, 79.0], "secret": [0.0183, 2.26, 96.9]},
        "Combined-AVG-DeepSVDD-Flow": {"hackathon": [0.8, 10.0, 97.0], "secret": [0.0183, 2.31, 97.6]},
        "Flow-Efficient-No-E_Likelihood": {"hackathon": [0.316, 8.0, 53.0], "secret": [0.0183, 1.82, 29.4]},
        "Combined-PROD-DeepSVDD-Flow": {"hackathon": [0.0, 7.91, 24.0], "secret": [0.0, 1.51, 96.7]},
        "Combined-AND-VAE_beta1_z21-Flow": {"hackathon": [0.1, 7.0, 66.0], "secret": [0.0366, 2.98, 99.1]},
        "Combined-OR-DeepSVDD-Flow": {"hackathon": [0.5, 6.3, 31.0], "secret": [0.183, 19.0, 100.0]},
        "Combined-OR-VAE_beta1_z21-Flow": {"hackathon": [0.3, 6.3, 22.0], "secret": [0.0183, 1.9, 93.5]},
        "Combined-AVG-VAE_beta1_z21-Flow": {"hackathon": [0.1, 6.0, 69.0], "secret": [0.0366, 3.21, 99.1]},
        "Combined-PROD-VAE_beta1_z21-Flow": {"hackathon": [0.1, 6.0, 69.0], "secret": [0.0366, 3.2, 99.1]},
        "DeepSetVAE_weight_10.0": {"hackathon": [0.0833, 3.75, 18.8], "secret": [0.0, 2.03, 88.0]},
        "DeepSetVAE_weight_1.0": {"hackathon": [0.0278, 3.5, 16.9], "secret": [0.0, 4.27, 99.1]},
        "ALAD_bs500_F": {"hackathon": [0.194, 2.85, 14.6], "secret": [0.0, 0.955, 78.7]},
        "DAGMM_0.01": {"hackathon": [0.0, 2.31, 6.51], "secret": [0.0, 0.779, 19.2]},
        "DAGMM_0.001": {"hackathon": [0.0, 2.31, 6.51], "secret": [0.0, 0.756, 16.4]},
        "Planar": {"hackathon": [0.123, 2.28, 3.45], "secret": [0.0488, 0.993, 41.4]},
        "VAE-dynamic-beta1-z13_Radius": {"hackathon": [0.0, 2.2, 28.0], "secret": [0.0, 1.85, 92.7]},
        "ALAD_bs5000_F": {"hackathon": [0.278, 2.2, 17.4], "secret": [0.0264, 0.569, 84.3]},
        "KDE": {"hackathon": [0.0, 1.43, 12.2], "secret": [0.0, 0.645, 8.8]},
        "ALAD_bs5000_L1": {"hackathon": [0.0, 1.4, 24.3], "secret": [0.0158, 0.388, 78.1]},
        "ALAD_bs5000_L2": {"hackathon": [0.0, 1.21, 20.7], "secret": [0.0158, 0.557, 81.1]},
        "ALAD_bs5000_CH": {"hackathon": [0.0, 1.06, 36.9], "secret": [0.0183, 0.871, 71.6]},
        "ALAD_bs500_L1": {"hackathon": [0.0322, 1.06, 28.3], "secret": [0.0183, 0.835, 80.6]},
        "ALAD_bs500_CH": {"hackathon": [0.222, 1.04, 38.2], "secret": [0.0, 1.45, 36.0]},
        "SimpleAE": {"hackathon": [0.203, 0.98, 39.6], "secret": [0.232, 2.62, 81.6]},
        "ALAD_bs500_L2": {"hackathon": [0.167, 0.908, 21.5], "secret": [0.0183, 1.03, 82.1]},
        "ConvF": {"hackathon": [0.0602, 0.118, 0.21], "secret": [0.0183, 1.01, 40.0]},
    },
    "families": {
        "Flow": {"submissions": 2, "median_of_medians": 11.5, "best_median": 15.0, "best_max": 54.0},
        "Combined": {"submissions": 8, "median_of_medians": 6.65, "best_median": 10.0, "best_max": 97.0},
        "DeepSetVAE": {"submissions": 4, "median_of_medians": 2.35, "best_median": 3.75, "best_max": 18.8},
        "ALAD": {"submissions": 96, "median_of_medians": 0.957, "best_median": 2.85, "best_max": 41.0},
        "DAGMM": {"submissions": 384, "median_of_medians": 0.747, "best_median": 2.31, "best_max": 12.8},
        "VAE": {"submissions": 147, "median_of_medians": 0.249, "best_median": 2.28, "best_max": 34.0},
        "LS": {"submissions": 288, "median_of_medians": 0.595, "best_median": 1.99, "best_max": 56.0},
        "DeepSVDD": {"submissions": 72, "median_of_medians": 1.6, "best_median": 1.7, "best_max": 18.0},
        "KDE": {"submissions": 36, "median_of_medians": 0.324, "best_median": 1.43, "best_max": 26.6},
        "SimpleAE": {"submissions": 1, "median_of_medians": 0.98, "best_median": 0.98, "best_max": 39.6},
        "CNN": {"submissions": 2, "median_of_medians": 0.122, "best_median": 0.13, "best_max": 0.181},
    },
}
"""Minimum, median and maximum over signals, three digits; and all submissions by kind."""
