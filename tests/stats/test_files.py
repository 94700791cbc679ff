"""Spectra from tables: what is understood, and what each kind of damage is called."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from resonaut.errors import InputError
from resonaut.stats import as_counts, read_spectrum, write_root

WANTED = ([12.0, 7.0, 3.0], [1000.0, 1100.0, 1250.0, 1500.0])

TABLE = """
independent_variables:
- header: {name: M(JJ), units: TEV}
  values:
  - {low: 1.0, high: 1.1}
  - {low: 1.1, high: 1.25}
  - {low: 1.25, high: 1.5}
dependent_variables:
- header: {name: Data, units: Events}
  qualifiers:
  - {name: SQRT(S), units: GEV, value: 13000}
  values:
  - {value: 12}
  - value: 7
    errors:
    - {asymerror: {minus: -2.6, plus: 3.8}, label: stat}
    - {symerror: 10%, label: sys}
  - {value: 3}
- header: {name: Fit}
  values:
  - {value: 11.5}
  - {value: '-'}
  - {value: 2.5}
- header: {name: Cross section, units: FB/GEV}
  values:
  - {value: 0.12}
  - {value: 0.046667}
  - {value: 0.012}
"""
SUBMISSION = """---
comment: A paper
---
name: "Figure 1: mass"
description: The mass
location: Figure 1
keywords: [{name: cmenergies, values: [13000.0]}]
data_file: figure1.yaml
---
name: Figure 2
description: Another
keywords: []
data_file: figure2.yaml
"""


def same(source: str, **options: object) -> None:
    counts, edges, _ = as_counts(read_spectrum(source, **options))  # type: ignore[arg-type]
    assert counts.tolist() == WANTED[0]
    np.testing.assert_allclose(edges, WANTED[1], rtol=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "1000,1100,12\n1100,1250,7\n1250,1500,3\n",
        "low,high,count\n1000,1100,12\n1100,1250,7\n1250,1500,3",
        "\ufeff# a comment\n\nlow edge; high edge; count\n1000;1100;12\n1100;1250;7\n\n# half way\n1250;1500;3\n",
        "% numpy\n1000 1100   12\n1100\t1250 7\n1250 1500 3\n".replace("\t", " "),
        "// tabs\nlow\thigh\tn\n1000\t1100\t12\n1100\t1250\t7\n1250\t1500\t3\n",
        "'low','high','count'\n'1000','1100','12'\n'1100','1250','7'\n'1250','1500','3'\n",
        '"mjj, low",high,"count",more\r\n"1000","1100","12",a\r\n1.1e3,1250,7.0,b\r\n1250,1500,3,c\r\n',
        "#: name: T\nM [GEV],M [GEV] LOW,M [GEV] HIGH,DATA,+\n1050,1000,1100,12,4\n1175,1100,1250,7,3\n1375,1250,1500,3,2\n",
        "low,high,count\n1000,1100,12,\n1100,1250,7,\n1250,1500,3,  # last\n",
        "low,high,count\n1000 1100 12\n1100 1250 7\n1250 1500 3\n",
    ],
)
def test_text_tables_of_many_makes(tmp_path: Path, text: str) -> None:
    (tmp_path / "table.csv").write_text(text)
    same(f"{tmp_path}/table.csv")


def test_columns_go_by_name_or_number(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("# low high fit count\n1000 1100 1.5 12\n1100 1250 1.5 7\n1250 1500 1 3\n")
    same(f"{tmp_path}/t.txt:count")
    same(f"{tmp_path}/t.txt:COUNT")
    same(f"{tmp_path}/t.txt:2")
    assert read_spectrum(f"{tmp_path}/t.txt:fit", fractional=True).values().tolist() == [1.5, 1.5, 1.0]
    with pytest.raises(InputError, match="unknown column 'cout': did you mean 'count'"):
        read_spectrum(f"{tmp_path}/t.txt:cout")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "no rows"),
        ("low,high,count\n", "no rows"),
        ("1,2,3\n2,x,5\n", "line 2"),
        ("1,2,3\n2,3,x\n", "'x' in line 2"),
        ("1,2,3\n2,3,\n", "line 2 has 2 columns"),
        ("1,2,3\n2,3,nan\n", "'nan' in line 2"),
        ("1,2,3\n2,3,-4\n", r"1 negative counts \(first: -4 in bin 1\)"),
        ("1,2,3\n2,3,4.5\n", "4.5 in bin 1, expected whole events"),
        ("1,2,3\n3,4,5\n", "a gap after bin 0: it ends at 2 GeV"),
        ("1,2,3\n1.5,4,5\n", "an overlap after bin 0"),
        ("2,3,3\n1,2,5\n", "bin 1 at 1 GeV after bin 0 at 2 GeV"),
        ("2,1,3\n", "expected rows of low edge < high edge"),
        ("1,2,3\n2,inf,5\n", "underflow and overflow"),
        ("1,2\n2,3\n3,4\n", "but no counts"),
        ("10,5\n21,3\n30,2\n", "many sets of edges"),
        ("low,high,a\n1,2,3\nlow,high,b\n1,2,4\n", "line 3 got 'low,high,b', expected low, high, count .one table"),
        ("a\0b\n", "not a text file"),
    ],
)
def test_damage_to_text_tables_is_named(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=match):
        read_spectrum(f"{tmp_path}/t.csv")


def test_equal_bins_may_be_given_by_their_centres(tmp_path: Path) -> None:
    (tmp_path / "t.dat").write_text("mass n\n1005 4\n1015 3\n1025 1\n")
    counts, edges, _ = as_counts(read_spectrum(f"{tmp_path}/t.dat"))
    assert counts.tolist() == [4, 3, 1]
    assert edges.tolist() == [1000, 1010, 1020, 1030]


def test_rates_become_events(tmp_path: Path, published_data: Path) -> None:
    """CMS published yields and dsigma/dm of the same bins: the second times 137.5/fb and the width is the first."""
    table = f"{published_data}/cms_137ifb_wide_dijet_mjj.csv"
    with pytest.raises(InputError, match="per_width=True if it is per GeV"):
        read_spectrum(f"{table}:dsdm_pb_per_TeV")
    counts = read_spectrum(f"{table}:dsdm_pb_per_TeV", per_width=True, scale=137.5).values()
    np.testing.assert_allclose(counts, read_spectrum(f"{table}:events").values(), rtol=5e-4, atol=0.5)
    with pytest.raises(InputError, match="check per_width and scale"):
        read_spectrum(f"{table}:dsdm_pb_per_TeV", per_width=True, scale=100.0)


@pytest.fixture
def submission(tmp_path: Path) -> Path:
    (tmp_path / "submission.yaml").write_text(SUBMISSION)
    (tmp_path / "figure1.yaml").write_text(TABLE)
    (tmp_path / "figure2.yaml").write_text(TABLE.replace("value: 12}", "value: 13}"))
    return tmp_path


@pytest.mark.parametrize(
    "selector",
    [
        "figure1.yaml",
        "figure1.yaml:Data",
        "figure1.yaml:figure1:1",
        "submission.yaml:Figure 1: mass",
        "submission.yaml:Figure 1: mass:Data",
        "submission.yaml:1",
        "submission.yaml:1:data",
    ],
)
def test_hepdata_tables_and_columns(submission: Path, selector: str) -> None:
    same(f"{submission}/{selector}")


def test_hepdata_record_in_one_file_and_folder(submission: Path) -> None:
    same(f"{submission}:Figure 1: mass:Data")
    record = "name: A\n" + TABLE + "---\nname: B\n" + TABLE.replace("value: 12}", "value: 13}")
    (submission / "record.yml").write_text(record)
    same(f"{submission}/record.yml:A")
    assert read_spectrum(f"{submission}/record.yml:B").values()[0] == 13


def test_hepdata_cross_section_per_gev(submission: Path) -> None:
    same(f"{submission}/figure1.yaml:Cross section", per_width=True, scale=1.0)


@pytest.mark.parametrize(
    ("change", "selector", "match"),
    [
        (("", ""), "figure3.yaml", "file not found"),
        (("", ""), "submission.yaml", "2 tables, name one of them .*: Figure 1: mass, Figure 2"),
        (("", ""), "submission.yaml:Figure 3", "unknown table 'Figure 3': did you mean 'Figure 2'"),
        (("", ""), "figure1.yaml:Dat", "unknown column 'Dat': did you mean 'Data'"),
        (("", ""), "figure1.yaml:Fit", "'Fit' has no number in bin 1"),
        (("", ""), "figure1.yaml:Cross section", "0.12 FB/GEV in bin 0, expected whole events"),
        (("value: 7", "value: .nan"), "figure1.yaml:Data", "no number in bin 1"),
        (("value: 12}", "value: -12}"), "figure1.yaml:Data", "negative"),
        (("low: 1.1,", "low: 1.2,"), "figure1.yaml", "a gap after bin 0"),
        (("{low: 1.25, high: 1.5}", "{low: 0.9, high: 1.0}"), "figure1.yaml", "expected increasing masses"),
        (("{value: 2.5}", "{value: 2.5}\n  - {value: 2}"), "figure1.yaml", r"columns of \[3, 4\] rows"),
        (("dependent_variables:\n- header: {name: Data", "dependent: {"), "figure1.yaml", "is not YAML"),
        (("\ndependent_variables:", "\nother:"), "figure1.yaml", "is not a HEPData table"),
        (("independent_variables:", "variables:"), "figure1.yaml", "holds no HEPData table"),
        (
            ("- {low: 1.0, high: 1.1}\n  - {low: 1.1, high: 1.25}\n  - {low: 1.25, high: 1.5}",
             "- {value: 1.05}\n  - {value: 1.17}\n  - {value: 1.4}"),
            "figure1.yaml", "bin centres, not edges",
        ),
    ],
)  # fmt: skip
def test_damage_to_hepdata_is_named(submission: Path, change: tuple[str, str], selector: str, match: str) -> None:
    (submission / "figure1.yaml").write_text(TABLE.replace(*change) if change[0] else TABLE)
    with pytest.raises(InputError, match=match):
        read_spectrum(f"{submission}/{selector}")


def test_several_columns_of_events_must_be_named(submission: Path) -> None:
    two = TABLE.replace("value: 11.5", "value: 11").replace("'-'", "8").replace("value: 2.5", "value: 2")
    (submission / "figure1.yaml").write_text(two)
    same(f"{submission}/figure1.yaml")  # "Data", not "Fit"
    (submission / "figure1.yaml").write_text(two.replace("Data", "Signal region").replace("Fit", "Sideband"))
    with pytest.raises(InputError, match=r"several columns, name one of them .*: Signal region, Sideband"):
        read_spectrum(f"{submission}/figure1.yaml")


def test_columns_that_share_a_name_are_told_by_their_qualifiers(tmp_path: Path) -> None:
    qualified = TABLE.replace("value: 13000", "value: 8000").replace(
        "name: Fit}", "name: Data}\n  qualifiers: [{name: SQRT(S), value: 7000}]"
    )
    (tmp_path / "t.yaml").write_text(qualified)
    same(f"{tmp_path}/t.yaml:Data [8000]")


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_the_layout_in_which_atlas_published_its_spectrum(tmp_path: Path, published_data: Path, suffix: str) -> None:
    """HEPData ins1759712, table 2: both columns have one name and differ in a qualifier; numbers as 4.05992e+06."""
    source = f"{published_data}/atlas_139ifb_inclusive_mjj.csv"
    edges = read_spectrum(source).axes[0].edges.tolist()
    columns = {
        "Observed": read_spectrum(source).values(),
        "Fit": read_spectrum(f"{source}:fit", fractional=True).values(),
    }
    dependent = [
        {
            "header": {"name": "high mass q*"},
            "qualifiers": [
                {"name": "Number of Events", "value": name},
                {"name": "SQRT(S)", "units": "TeV", "value": 13},
            ],
            "values": [{"value": f"{value:.6e}"} for value in values],
        }
        for name, values in columns.items()
    ]
    bins = [{"high": high, "low": low} for low, high in itertools.pairwise(edges)]
    mass = {"header": {"name": "$m_{jj}$", "units": "GeV"}, "values": bins}
    path = tmp_path / f"HEPData-ins1759712-v1-Table_2.{suffix}"
    path.write_text(json.dumps({"dependent_variables": dependent, "independent_variables": [mass]}))
    assert read_spectrum(path).values().tolist() == columns["Observed"].tolist()
    assert read_spectrum(f"{path}:observed").values().tolist() == columns["Observed"].tolist()
    assert read_spectrum(f"{path}:high mass q* [Fit]", fractional=True).values().tolist() == columns["Fit"].tolist()


def test_channels_of_a_workspace(tmp_path: Path) -> None:
    path = tmp_path / "workspace.json"
    observations = [
        {"name": "low", "data": [9.0, 8]},
        {"name": "bin0", "data": [12.0]},
        {"name": "bin1", "data": [7.0, 3.0]},
    ]
    path.write_text(json.dumps({"observations": observations}))
    same(f"{path}:bin*", edges=WANTED[1])
    assert read_spectrum(f"{path}:low", edges=[0, 1, 2]).values().tolist() == [9, 8]
    with pytest.raises(InputError, match=r"3 bins without their edges: pass edges= with 4"):
        read_spectrum(f"{path}:bin*")
    with pytest.raises(InputError, match="got 2 edges, expected 4"):
        read_spectrum(f"{path}:bin*", edges=[1.0, 2.0])
    with pytest.raises(InputError, match="unknown channel 'bin2'"):
        read_spectrum(f"{path}:bin2", edges=[1.0, 2.0])
    path.write_text(json.dumps({"channels": []}))
    with pytest.raises(InputError, match="not a pyhf workspace"):
        read_spectrum(f"{path}:x")


def test_root_file_without_a_name_and_with_fractions(tmp_path: Path) -> None:
    path = tmp_path / "s.root"
    write_root(path, {"mjj": ([1.0, 2.0], [1.0, 2.0, 3.0]), "asimov": ([1.5, 2.0], [1.0, 2.0, 3.0])})
    with pytest.raises(InputError, match=r"needs the name of a histogram .*: asimov, mjj"):
        read_spectrum(path)
    with pytest.raises(InputError, match=r"1\.5 in bin 0, expected whole events"):
        read_spectrum(f"{path}:asimov")
    assert read_spectrum(f"{path}:asimov", fractional=True).values().tolist() == [1.5, 2.0]
