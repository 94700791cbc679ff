"""Published numbers that the figures show beside ours, with their sources."""

from __future__ import annotations

from typing import Any

__all__ = ("PUBLISHED",)

PUBLISHED: dict[str, Any] = {
    "ratio_to_idealised": {
        "source": "arXiv:2109.00546 (CATHODE), four features, S/B = 0.6 %: maximum SIC 13.99, 10.75, 6.46 over 15.08",
        "s_over_b": 0.006,
        "values": {"cathode": 13.99 / 15.08, "cwola": 10.75 / 15.08, "anode": 6.46 / 15.08},
    },
    "ratio_to_idealised_shifted": {
        "source": "arXiv:2109.00546 (CATHODE), shifted features, S/B = 0.6 %: maximum SIC 10.18, 1.04, 5.29 over 10.54",
        "s_over_b": 0.006,
        "values": {"cathode": 10.18 / 10.54, "cwola": 1.04 / 10.54, "anode": 5.29 / 10.54},
    },
    "ks": {
        "source": "arXiv:2307.11157, table 3 (LHC Olympics)",
        "features": ["m_l", "dm_jj", "tau21_l", "tau21_h", "dr_jj", "mass"],
        "values": {
            "salad": [0.00775, 0.00501, 0.02229, 0.00610, 0.01205, 0.00215],
            "cathode": [0.00405, 0.00450, 0.00597, 0.00534, 0.00755, 0.00228],
            "curtains": [0.00325, 0.00255, 0.00238, 0.00214, 0.02122, 0.00353],
            "feta": [0.00605, 0.00352, 0.00588, 0.00536, 0.00725, 0.00386],
        },
    },
    "max_sic": {
        "source": "arXiv:2307.11157, figure 13 and its public code (LHC Olympics); 1500 signal events are S/B = 0.93 %; the "
        "combinations are of CATHODE, CURTAINs and FETA",
        "s_over_b_of_one": 0.0093 / 1500,
        "values": {
            "feta": {"n_sig": [300, 500, 750, 1000, 1200, 1500], "max_sic": [1.23, 1.96, 9.85, 13.80, 15.05, 15.66]},
            "cathode": {"n_sig": [500, 750, 1000, 1500], "max_sic": [3.5, 12.1, 13.2, 14.1]},
            "curtains": {"n_sig": [500, 750, 1000, 1500], "max_sic": [1.0, 4.2, 14.9, 15.2]},
            "salad": {"n_sig": [500, 750, 1000, 1500], "max_sic": [1.3, 7.7, 14.3, 14.6]},
            "combined-events": {"n_sig": [500, 750, 1000, 1500], "max_sic": [2.6, 12.6, 14.6, 14.6]},
            "combined-scores": {"n_sig": [500, 750, 1000, 1500], "max_sic": [1.7, 13.6, 16.5, 15.8]},
        },
        "supervised": {"max_sic": 17.05, "auc": 0.9755},
    },
}
"""Numbers read off figures are good to 0.3; those of FETA and of the supervised AUC were printed by the papers' code."""
