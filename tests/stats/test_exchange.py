"""Results to HEPData, JSON and ROOT: accepted by HEPData's validator, and read back equal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import uproot
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from resonaut.errors import InputError
from resonaut.stats import (
    FitResult,
    HepDataColumn,
    HepDataTable,
    LimitResult,
    ScanResult,
    bump_hunter,
    covariance_table,
    fit_background,
    global_p_value,
    local_p_value,
    log_edges,
    read_hepdata,
    read_result,
    read_spectrum,
    scan_windows,
    sliding_windows,
    toy_study,
    write_csv,
    write_hepdata,
    write_result,
    write_root,
)

validators = pytest.importorskip("hepdata_validator.full_submission_validator")

NAN = float("nan")
LIMITS = (
    LimitResult("qq", 3000.0, 12.5, (5.0, 7.25, 10.0, 14.5, 19.0), "events", 1.0, 0.95, 0.05, "converged", "dijet4"),
    LimitResult("qq", 4000.0, 6.5, (2.0, 3.25, 4.0, 6.5, 9.0), "events", 0.0, 0.95, NAN, "converged", "dijet4"),
    LimitResult("qq", 9000.0, NAN, (NAN,) * 5, "events", NAN, 0.95, NAN, "failed: no bins", "dijet4"),
    LimitResult("gg", 3000.0, 22.5, (9.0, 11.0, 15.0, 20.5, 29.0), "events", 1.0, 0.95, 0.05, "converged", "dijet4"),
)


@pytest.fixture(scope="module")
def fit(published_data: Path) -> FitResult:
    return fit_background(read_spectrum(published_data / "cms_137ifb_wide_dijet_mjj.csv"))


@pytest.fixture(scope="module")
def scanned(fit: FitResult) -> ScanResult:
    return scan_windows((fit.counts, fit.edges), sliding_windows(fit.edges, step=6))


def complaints(folder: Path) -> list[str]:
    """What HEPData's own validator has to say about a submission."""
    validator = validators.FullSubmissionValidator(autoload_remote_schemas=False)
    valid = validator.validate(directory=str(folder))
    found = [message.message for messages in validator.get_messages().values() for message in messages]
    assert valid == (not found)
    return found


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    counts=st.lists(st.integers(0, 10**9), min_size=1, max_size=12),
    low=st.floats(1.0, 5000.0),
    ratios=st.lists(st.floats(1.001, 1.5), min_size=12, max_size=12),
)
def test_any_spectrum_survives_every_format(counts: list[int], low: float, ratios: list[float]) -> None:
    edges = low * np.cumprod([1.0, *ratios[: len(counts)]])
    with TemporaryDirectory() as folder:
        write_csv(f"{folder}/s.csv", (counts, edges))
        write_root(f"{folder}/s.root", {"s": (np.array(counts, dtype=float), edges)})
        mass = HepDataColumn("Mass", np.stack([edges[:-1], edges[1:]], axis=1), "GeV")
        write_hepdata(
            f"{folder}/s", HepDataTable("s", (mass,), (HepDataColumn("Data", np.array(counts, dtype=float)),))
        )
        for source in ("s.csv", "s.root:s", "s:s:Data"):
            back = read_spectrum(f"{folder}/{source}")
            assert back.values().tolist() == counts
            # uproot writes edges that are uniform to 1e-5 as uniform ones; text keeps every digit
            assert back.axes[0].edges == pytest.approx(edges, rel=2e-5 if "root" in source else 1e-15)


def test_the_validator_finds_a_fault(tmp_path: Path, fit: FitResult) -> None:
    write_hepdata(tmp_path, fit)
    file = tmp_path / "mass_spectrum.yaml"
    file.write_text(file.read_text().replace("low:", "lower:", 1))
    assert complaints(tmp_path)


def test_fit_goes_to_hepdata_and_back(tmp_path: Path, fit: FitResult) -> None:
    files = write_hepdata(
        tmp_path, {"CMS": fit}, comment="A test", keywords={"reactions": ["P P --> JET JET X"]}, bin_covariance=True
    )
    assert complaints(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in files)
    back = read_spectrum(f"{tmp_path}:CMS: Mass spectrum")
    assert back.values().tolist() == fit.counts.tolist()
    assert back.axes[0].edges.tolist() == fit.edges.tolist()
    expected = read_spectrum(f"{tmp_path}/submission.yaml:CMS: Mass spectrum:Expected events", fractional=True)
    assert expected.values().tolist() == fit.expected.tolist()
    spectrum, parameters, covariance, bins = read_hepdata(tmp_path)
    assert spectrum.dependent[1].errors["fit"].tolist() == fit.expected_error.tolist()
    assert spectrum.keywords == {"cmenergies": [13000.0], "reactions": ["P P --> JET JET X"]}
    assert dict(zip(parameters.independent[0].values, parameters.dependent[0].values, strict=True)) == fit.parameters
    assert np.asarray(covariance.dependent[0].values).reshape(4, 4).tolist() == fit.covariance.tolist()
    matrix = np.asarray(bins.dependent[0].values).reshape(len(fit.counts), -1)
    np.testing.assert_allclose(np.sqrt(np.diagonal(matrix)), fit.expected_error, rtol=1e-9)


def test_a_variance_beyond_all_numbers_leaves_out_its_parameter_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A steep spectrum has p0 of 1e200 and more: nothing is wrong, and nothing is said; the other parameters keep their table."""
    counts = np.array(
        [32, 37, 21, 23, 28, 18, 22, 19, 19, 12, 15, 8, 11, 7, 11, 12, 27, 23, 45, 32, 27, 8, 1, 3, 0, 1, 3]
    )
    steep = fit_background((np.append(counts, np.zeros(19)), log_edges(2200.0, 6800.0, 46)), errors="fisher")
    assert steep.ok
    assert np.isinf(steep.covariance[0, 0])
    write_hepdata(tmp_path, {"CWoLa, 1 %": steep})
    assert complaints(tmp_path) == []
    assert not caplog.records
    table = read_hepdata(tmp_path)[2]
    assert np.asarray(table.dependent[0].values).reshape(3, 3).tolist() == steep.covariance[1:, 1:].tolist()
    assert table.independent[0].values[0] == "p1"
    assert "p0 is too large" in table.description


def test_a_fit_without_a_covariance_is_named(tmp_path: Path, fit: FitResult, caplog: pytest.LogCaptureFixture) -> None:
    unknown = replace(fit, covariance=np.full((4, 4), NAN))
    write_hepdata(tmp_path, {"cwola_trees_3338_3683_cut1": unknown})
    (record,) = caplog.records
    assert record.getMessage().startswith("cwola_trees_3338_3683_cut1: the fit of dijet4 (converged) has no covariance")
    assert [table.name for table in read_hepdata(tmp_path)] == [
        "cwola_trees_3338_3683_cut1: Mass spectrum",
        "cwola_trees_3338_3683_cut1: Fit parameters",
    ]


def test_scan_goes_to_hepdata_and_back(tmp_path: Path, scanned: ScanResult) -> None:
    write_hepdata(tmp_path, scanned)
    assert complaints(tmp_path) == []
    (table,) = read_hepdata(tmp_path)
    columns = {variable.name: np.asarray(variable.values).tolist() for variable in table.dependent}
    assert columns["Local p-value"] == [entry.local_p for entry in scanned.entries]
    assert np.asarray(table.independent[0].values).tolist() == [[e.low, e.high] for e in scanned.entries]
    assert table.dependent[3].errors["fit"].tolist() == [entry.expected_error for entry in scanned.entries]


def test_limits_go_to_hepdata_and_back(tmp_path: Path) -> None:
    write_hepdata(tmp_path, LIMITS)
    assert complaints(tmp_path) == []
    qq, gg = read_hepdata(tmp_path)
    observed, expected = (np.asarray(variable.values) for variable in qq.dependent)
    np.testing.assert_array_equal(observed, [12.5, 6.5, NAN])
    np.testing.assert_array_equal(expected, [10.0, 4.0, NAN])
    bands = qq.dependent[1].errors
    np.testing.assert_allclose(expected[:2, None] + bands["1 s.d."][:2], [[7.25, 14.5], [3.25, 6.5]])
    np.testing.assert_allclose(expected[:2, None] + bands["2 s.d."][:2], [[5.0, 19.0], [2.0, 9.0]])
    assert gg.dependent[0].qualifiers["Signal"] == "gg"


def test_bump_hunt_and_toys_go_to_hepdata_and_json(tmp_path: Path, fit: FitResult) -> None:
    spectrum = (fit.counts, fit.edges)
    bumps, none = bump_hunter(spectrum, toys=50), bump_hunter((0.0 * fit.counts, fit.edges), fit.expected, toys=0)
    toys, unscanned = toy_study(spectrum, sliding_windows(fit.edges, step=12), toys=20), toy_study(spectrum, toys=20)
    write_hepdata(tmp_path / "hd", {"a": [bumps, toys], "b": [none, unscanned]})
    assert complaints(tmp_path / "hd") == []
    tables = {table.name: table for table in read_hepdata(tmp_path / "hd")}
    assert len(tables) == 7  # no interval where nothing is above the background
    columns = {
        variable.name: float(variable.values[0]) for variable in tables["a: Most significant interval"].dependent
    }
    assert columns["Global p-value"] == bumps.global_p
    assert len(tables["a: Goodness of fit"].independent[0]) == 4
    assert len(tables["b: Goodness of fit"].independent[0]) == 3
    for result in (bumps, none, toys, unscanned):
        write_result(tmp_path / "result.json", result)
        assert str(read_result(tmp_path / "result.json").to_dict()) == str(result.to_dict())


def test_names_stay_within_the_schema_and_apart(tmp_path: Path, fit: FitResult) -> None:
    long = "a very long name of a search that nobody would want to see in a table of HEPData"
    write_hepdata(tmp_path, {long: [fit, fit]})
    assert complaints(tmp_path) == []
    names = [
        document["name"]
        for document in yaml.safe_load_all((tmp_path / "submission.yaml").read_text())
        if "name" in document
    ]
    assert len(set(names)) == 6
    assert len({document.name for document in tmp_path.iterdir()}) == 7


def test_what_has_no_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no HEPData table for float"):
        write_hepdata(tmp_path, [1.0])
    with pytest.raises(InputError, match="got no results"):
        write_hepdata(tmp_path, [])
    with pytest.raises(InputError, match=r"shape \(1, 1\) for 2 names"):
        covariance_table(["a", "b"], [[1.0]])


def test_every_kind_of_result_survives_json(tmp_path: Path, fit: FitResult, scanned: ScanResult) -> None:
    windows = sliding_windows(fit.edges, step=12)
    results = [
        fit,
        scanned,
        LIMITS[0],
        local_p_value((fit.counts, fit.edges), windows[0]),
        global_p_value(fit, windows, 2.0, toys=20),
    ]
    for result in results:
        write_result(tmp_path / "result.json", result, note="kept")
        content = json.loads((tmp_path / "result.json").read_text())
        assert content["more"] == {"note": "kept"}
        back = read_result(tmp_path / "result.json")
        assert type(back) is type(result)
        for name in result.__dataclass_fields__:
            assert str(getattr(back, name)) == str(getattr(result, name)), name


def test_limits_that_failed_survive_json(tmp_path: Path) -> None:
    write_result(tmp_path / "limits.json", LIMITS)
    assert "NaN" not in (tmp_path / "limits.json").read_text()
    back = read_result(tmp_path / "limits.json")
    assert str(back[0]) == str(LIMITS[0])
    assert str(back[2]) == str(LIMITS[2])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{}", "no 'kind'"),
        ("[1]", "no 'kind'"),
        ('{"kind": "fitt"}', "did you mean 'fit'"),
        ('{"kind": "fit", "chi2": 1}', "keys that differ"),
        ('{"kind": "limit", "mass": 1}', "could not be read"),
        ('{"kind": ', "not valid JSON"),
    ],
)
def test_files_that_hold_no_result_are_named(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(InputError, match=match):
        read_result(tmp_path / "r.json")


def test_fit_goes_to_root_with_its_band(tmp_path: Path, fit: FitResult) -> None:
    write_root(tmp_path / "fit.root", {"cms": fit})
    with uproot.open(tmp_path / "fit.root") as file:
        np.testing.assert_allclose(file["cms/expected"].values(), fit.expected)
        np.testing.assert_allclose(file["cms/expected"].errors(), fit.expected_error)
        np.testing.assert_allclose(file["cms/expected_up"].values(), fit.expected + fit.expected_error)
        assert file["cms/observed"].values().tolist() == fit.counts.tolist()
