"""Tables and kept results: what was written comes back, and nothing half-written is taken for whole."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import awkward as ak
import hist
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from coffea.processor import column_accumulator
from hypothesis import given, settings
from hypothesis import strategies as st

from resonaut.errors import ConfigError, InputError
from resonaut.processors import is_table, read_provenance, read_table, source, table_columns, write_table
from resonaut.processors.running.archive import load, save


def test_table_round_trip_with_provenance(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    columns = {"mjj": np.array([3500.0, np.pi]), "label": np.array([0, 1], np.int8), "event": np.array([7, 2**40])}
    write_table(path, ak.zip(columns), {"processor": {"name": "test"}, "cutflow": {"b": 2, "a": 1}})
    table = read_table(path)
    for name, column in columns.items():
        assert table[name].to_list() == column.tolist()
        assert ak.to_numpy(table[name]).dtype == column.dtype
    provenance = read_provenance(path)
    assert list(provenance["cutflow"]) == ["b", "a"]  # the order of cuts means something
    assert provenance["version"]
    assert pq.read_table(path).column_names == list(columns)  # anybody's Parquet reader sees the same
    assert table_columns(path) == list(columns)
    assert read_table(path, ["label"]).fields == ["label"]
    assert is_table(path)


def test_table_of_other_making_has_no_provenance(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    ak.to_parquet(ak.Array({"mjj": [1.0, 2.0]}), path)
    assert read_provenance(path) == {}
    assert read_table(path).mjj.to_list() == [1.0, 2.0]


def test_texts_and_empty_cells_of_tables_of_other_making(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    columns = {
        "mjj": pa.array([3500.0, None, 2900.0]),
        "process": pa.array(["qcd", None, "top"]),
        "era": pa.array(["a", "b", "a"]).dictionary_encode(),
        "tight": pa.array([True, None, False]),
        "n": pa.array([1, None, 3]),
    }
    pq.write_table(pa.table(columns), path)
    table = read_table(path)
    assert table.process.to_list() == ["qcd", "", "top"]
    assert table.era.to_list() == ["a", "b", "a"]
    for name, truth in (("mjj", [3500, np.nan, 2900]), ("tight", [1, np.nan, 0]), ("n", [1, np.nan, 3])):
        np.testing.assert_array_equal(ak.to_numpy(table[name]), truth)
    events = source("event-table").read(str(path), 1, 3)
    assert set(events.fields) == {"mjj", "tight", "n"}  # what scorers read: numbers
    np.testing.assert_array_equal(ak.to_numpy(events.mjj), [np.nan, 2900.0])
    pq.write_table(pa.table({"mjj": [1.0], "when": [dt.date(2016, 1, 1)]}), path)
    with pytest.raises(InputError, match=r"other\.parquet: column 'when' holds date32.*convert it or leave it out"):
        read_table(path)
    assert read_table(path, ["mjj"]).mjj.to_list() == [1.0]


def test_bad_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="shapes"):
        write_table(tmp_path / "x.parquet", {"a": np.zeros(3), "b": np.zeros(2)})
    with pytest.raises(InputError, match="shapes"):
        write_table(tmp_path / "x.parquet", {"a": np.zeros((3, 2))})
    assert not list(tmp_path.iterdir())
    path = tmp_path / "table.parquet"
    write_table(path, {"mjj": np.arange(1000.0)})
    with pytest.raises(InputError, match="lacks columns"):
        read_table(path, ["mass"])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"table\.parquet.*truncated"):
        read_table(path)
    with pytest.raises(InputError, match="missing"):
        read_table(tmp_path / "absent.parquet")
    with pytest.raises(InputError, match="cannot be opened"):
        is_table(tmp_path / "absent.parquet")


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text())
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(), st.integers()), inner, max_size=4),
        st.tuples(inner, inner),
        st.sets(st.integers(), max_size=4),
    ),
    max_leaves=20,
)


@settings(max_examples=30, deadline=None)
@given(tree=trees)
def test_any_plain_output_is_kept_exactly(tmp_path_factory: Any, tree: Any) -> None:
    path = tmp_path_factory.mktemp("kept") / "result.zip"
    save(path, tree)
    found = load(path)
    assert found == tree
    assert repr(found) == repr(tree) or isinstance(tree, (set, dict, list, tuple))


def test_accumulators_are_kept_exactly(tmp_path: Path) -> None:
    histogram = hist.Hist(
        hist.axis.Variable([0.0, 1.0, 5.0], name="x", label="$x$ [GeV]"),
        hist.axis.StrCategory(["one"], growth=True, name="kind"),
        storage=hist.storage.Weight(),
    )
    histogram.fill(x=[0.5, 2.0, 9.0], kind=["one", "two", "one"], weight=[1.0, 0.3, 2.0])
    output = {
        "hist": histogram,
        "column": column_accumulator(np.array([1.5, np.nan])),
        "array": np.arange(6, dtype=np.int8).reshape(2, 3),
        "scalar": np.float32(0.1),
        "jagged": ak.Array([[1, 2], [], [3]]),
    }
    save(tmp_path / "result.zip", output)
    found = load(tmp_path / "result.zip")
    assert found["hist"] == histogram
    assert [axis.label for axis in found["hist"].axes] == [axis.label for axis in histogram.axes]
    assert (found["hist"] + histogram).sum().value == 2 * histogram.sum().value
    np.testing.assert_array_equal(found["column"].value, [1.5, np.nan])
    np.testing.assert_array_equal(found["array"], output["array"])
    assert found["array"].dtype == np.int8
    assert type(found["scalar"]) is np.float32
    assert found["jagged"].to_list() == [[1, 2], [], [3]]


def test_what_would_need_pickle_is_refused(tmp_path: Path) -> None:
    for thing in (object(), np.array([object()])):
        with pytest.raises(ConfigError, match=r"\['ds'\]\['thing'\]"):
            save(tmp_path / "result.zip", {"ds": {"thing": thing}})
    assert not list(tmp_path.iterdir())


def test_half_a_result_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.zip"
    save(path, {"a": np.arange(1000)})
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match="not a whole result"):
        load(path)
