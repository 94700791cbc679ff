"""Samples: columns by name from any table, and nothing that cannot be learnt from."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest

from resonaut.errors import InputError
from resonaut.models import Sample

COLUMNS = {
    "mjj": np.array([2900.0, 3500.0, 4100.0]),
    "m_h": np.array([120.0, 450.0, 90.0]),
    "tau21_h": np.array([0.4, 0.1, 0.7]),
    "weight": np.array([1.0, 0.5, 2.0]),
    "label": np.array([0, 1, 0]),
}
STRUCTURED = np.rec.fromarrays(list(COLUMNS.values()), names=list(COLUMNS))


@pytest.mark.parametrize("table", [COLUMNS, ak.Array(COLUMNS), STRUCTURED], ids=["mapping", "awkward", "structured"])
def test_from_table_reads_every_kind_of_table_alike(table: object) -> None:
    sample = Sample.from_table(table, ["tau21_h", "m_h"])
    assert sample.features.tolist() == [[0.4, 120.0], [0.1, 450.0], [0.7, 90.0]]
    assert sample.mass.tolist() == [2900.0, 3500.0, 4100.0]
    assert sample.weight.tolist() == [1.0, 0.5, 2.0]
    assert sample.truth().tolist() == [0, 1, 0]


def test_weight_and_label_are_optional() -> None:
    sample = Sample.from_table({"mjj": [3000.0], "x": [1.0]}, ["x"])
    assert sample.weight.tolist() == [1.0]
    with pytest.raises(InputError, match="needs truth labels"):
        sample.truth()


def test_weight_can_be_ignored() -> None:
    assert Sample.from_table(COLUMNS, ["m_h"], weight=None, label=None).weight.tolist() == [1.0] * 3


def test_require_does_not_depend_on_column_order() -> None:
    forward, backward = (Sample.from_table(COLUMNS, names) for names in (["m_h", "tau21_h"], ["tau21_h", "m_h"]))
    np.testing.assert_array_equal(forward.require(("tau21_h", "m_h")), backward.require(("tau21_h", "m_h")))


def test_missing_feature_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown column 'tau12_h': did you mean 'tau21_h'"):
        Sample.from_table(COLUMNS, ["tau12_h"])
    with pytest.raises(InputError, match=r"unknown feature 'm_l': did you mean 'm_h'"):
        Sample.from_table(COLUMNS, ["m_h"]).require(["m_l"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_features_are_counted_by_column(bad: float) -> None:
    table = {**COLUMNS, "m_h": np.array([bad, 450.0, bad])}
    with pytest.raises(InputError, match=r"column 'm_h' has 2 NaN or infinite values in 3 events"):
        Sample.from_table(table, ["tau21_h", "m_h"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(3), ("x",), np.zeros(3)), r"matrix \(events, columns\), got shape \(3,\)"),
        ((np.zeros((3, 2)), ("x", "x"), np.zeros(3)), "2 different names"),
        ((np.zeros((3, 1)), ("x",), np.zeros(4)), r"mass has shape \(4,\), expected \(3,\)"),
        ((np.zeros((3, 1)), ("x",), np.zeros(3), np.array([1.0, -1.0, 1.0])), "1 negative weights"),
    ],
)
def test_inconsistent_input_is_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sample(*arguments)  # type: ignore[arg-type]


def test_a_table_must_have_named_columns() -> None:
    with pytest.raises(InputError, match="expected a mapping of columns"):
        Sample.from_table(np.zeros((3, 2)), ["x"])
