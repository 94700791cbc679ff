"""Counts after a cut that is learnt by cross-fitting scatter as can be calculated for a linear discriminant, and the page says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from resonaut.files import read_json

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def study(benchmark_script: Any) -> Any:
    return benchmark_script("study_cross_fit")


@pytest.fixture(scope="module")
def results() -> Any:
    return read_json(ROOT / "benchmarks" / "results" / "cross_fit.json")


def calculated(cut: float) -> float:
    """Half of the learnt part of the variance is added by pairs of folds that learn from each other."""
    return float(np.sqrt(1 + norm.pdf(norm.isf(cut)) ** 2 / cut))


def test_a_linear_discriminant_widens_as_calculated_and_earlier_folds_do_not(study: Any) -> None:
    rows = study.summarise([study.one_toy(("linear", number, 4000, 8)) for number in range(600)])
    for row in rows:
        expected = 1.0 if row["earlier"] else calculated(row["cut"])
        assert row["width"] == pytest.approx(expected, abs=3.5 * row["width_error"]), row
        assert abs(row["mean"]) < 3.5 * row["mean_error"], row
    assert len(rows) == 12


def test_the_page_has_the_numbers_of_the_results(study: Any, results: Any) -> None:
    text = (ROOT / "docs" / "stats" / "learnt-cuts.md").read_text()
    for line in study.table(results):
        assert line in text, line


def test_the_kept_results_of_the_linear_discriminant_are_those_calculated(results: Any) -> None:
    for row in results["linear"]:
        if row["folds"] == 5:
            expected = 1.0 if row["earlier"] else calculated(row["cut"])
            assert row["width"] == pytest.approx(expected, abs=3 * row["width_error"]), row
