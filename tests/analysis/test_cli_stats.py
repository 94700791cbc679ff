"""Commands on a histogram: published spectra give published numbers, results are drawn again from their files."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hist
import numpy as np
import pytest
from click.testing import CliRunner

from resonaut.analysis.cli import main
from resonaut.stats import (
    BumpHunterResult,
    FitResult,
    LimitResult,
    ScanResult,
    ToyStudy,
    gaussian_template,
    log_edges,
    read_hepdata,
    read_result,
    read_spectrum,
    write_csv,
    write_root,
)

DATA = Path(__file__).parents[1] / "stats/data"
ATLAS = str(DATA / "atlas_37ifb_mjj.csv")
CMS = str(DATA / "cms_137ifb_wide_dijet_mjj.csv")


def falling_spectrum(path: Path, *, bump: float = 0.0) -> Path:
    """A dijet spectrum drawn around the 4-parameter function, with a Gaussian of `bump` events at 4 TeV."""
    edges = log_edges(2000.0, 8000.0, 40)
    centre = np.sqrt(edges[1:] * edges[:-1])
    x = centre / 13000.0
    expected = 2e-4 * (1 - x) ** 9 / x**5 * np.diff(edges)
    shape = np.exp(-0.5 * ((centre - 4000) / 120) ** 2) * np.diff(edges)
    counts = np.random.default_rng(8).poisson(expected + bump * shape / shape.sum())
    write_csv(path, (counts.astype(float), edges))
    return path


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def numbers(tmp_path: Path, *arguments: object) -> Any:
    """JSON of a command that has to succeed."""
    out = tmp_path / "numbers.json"
    code, text = invoke(*arguments, "--json", out)
    assert code == 0, text
    return json.loads(out.read_text())


def test_fit_gives_the_numbers_of_a_published_spectrum(tmp_path: Path) -> None:
    """CMS, 137/fb: 42 bins; Pearson's chi2 of the 4-parameter fit and the deviance of an independent implementation."""
    found = numbers(tmp_path, "fit", CMS, "--toys", 100)
    assert {"function", "parameters", "covariance", "chi2", "ndf", "deviance", "p_value"} <= set(found)
    assert found["function"] == "dijet4"
    assert list(found["parameters"]) == ["p0", "p1", "p2", "p3"]
    assert np.shape(found["covariance"]) == (4, 4)
    assert found["p_value"] > 0.1
    assert found["ndf"] == 35
    assert abs(found["more"]["goodness"]["deviance_p_value"] - 0.35) < 0.2
    assert type(read_result(tmp_path / "numbers.json")) is FitResult


def test_fit_leaves_out_a_region_and_shows_it(tmp_path: Path) -> None:
    spectrum = falling_spectrum(tmp_path / "mjj.csv", bump=1500)
    found = numbers(tmp_path, "fit", spectrum, "--exclude", 3600, 4400)
    region = found["more"]["signal_region"]
    assert 1000 < region["observed"] - region["expected"] < 2000
    assert found["p_value"] > 0.01
    assert numbers(tmp_path, "fit", spectrum)["p_value"] < 1e-6


def test_fit_hides_a_blinded_region_everywhere(tmp_path: Path) -> None:
    """Neither the terminal, nor the JSON, the figure's numbers or the HEPData tables know the events."""
    spectrum = falling_spectrum(tmp_path / "mjj.csv", bump=1500)
    shown = numbers(tmp_path, "fit", spectrum, "--exclude", 3600, 4400)
    inside = np.flatnonzero(shown["blinded"])
    secret = [shown["counts"][k] for k in inside]
    outputs = ("--json", tmp_path / "fit.json", "--plot", tmp_path / "figure", "--hepdata", tmp_path / "hd")
    code, text = invoke("fit", spectrum, "--blind", 3600, 4400, "--toys", 20, *outputs)
    assert code == 0, text
    assert f"{sum(secret):.0f}" not in text
    assert "events hidden" in text
    found, drawn = (json.loads((tmp_path / name).read_text()) for name in ("fit.json", "figure.json"))
    assert found["parameters"] == shown["parameters"]
    for content in (found, drawn):
        assert {content["counts"][k] for k in inside} == {None}
        assert content["more"]["signal_region"]["observed"] is None
    tables = "".join(path.read_text() for path in (tmp_path / "hd").iterdir())
    assert not [n for n in secret if f"value: {n:.0f}\n" in tables]
    assert invoke("plot", tmp_path / "fit.json")[0] == 0
    assert invoke("fit", spectrum, "--blind", 3600, 4400, "--exclude", 3600, 4400)[0] == 2


def test_fit_to_few_events_says_what_cannot_be_known(tmp_path: Path) -> None:
    edges = np.linspace(2000.0, 4000.0, 9)
    write_csv(tmp_path / "few.csv", (np.array([2.0, 0, 1, 0, 0, 0, 0, 0]), edges))
    code, text = invoke("fit", tmp_path / "few.csv", "--plot", tmp_path / "few")
    assert code == 0, text
    assert "chi2: no degrees of freedom" in text
    assert "nan" not in text
    assert "+- 0\n" not in text


def test_fit_has_asymmetric_errors_and_a_chosen_function(tmp_path: Path) -> None:
    found = numbers(tmp_path, "fit", CMS, "--function", "dijet3", "--errors", "minos")
    down, up = found["asymmetric"]["p1"]
    assert down < 0 < up
    assert numbers(tmp_path, "fit", CMS, "--function", "auto")["function"].startswith("dijet")


def test_scan_finds_a_bump_and_writes_its_numbers(tmp_path: Path) -> None:
    spectrum = falling_spectrum(tmp_path / "mjj.csv", bump=1500)
    found = numbers(tmp_path, "scan", spectrum, "--plot", tmp_path / "scan", "--hepdata", tmp_path / "hd", "--toys", 20)
    best = max(found["entries"], key=lambda e: e["local_significance"])
    assert best["low"] < 4000 < best["high"]
    assert best["local_significance"] > 5
    assert found["more"]["global"]["global_p"] == pytest.approx(1 / 21)
    assert (tmp_path / "scan.png").stat().st_size > 10_000
    assert read_hepdata(tmp_path / "hd")[0].name == "Local p-values"


def test_scan_fits_gaussians_of_several_widths(tmp_path: Path) -> None:
    """A resonance of 1500 events at 4 TeV in the spectrum of CMS."""
    spectrum = read_spectrum(CMS)
    signal = gaussian_template(4000.0, 120.0, spectrum.axes[0].edges, 1500.0)
    write_csv(tmp_path / "mjj.csv", (np.rint(spectrum.values() + signal), spectrum.axes[0].edges))
    widths = ("--high", 6100, "--width", 0.03, "--width", 0.1)
    outputs = ("--plot", tmp_path / "g", "--hepdata", tmp_path / "hd")
    found = numbers(tmp_path, "scan", tmp_path / "mjj.csv", *widths, "--toys", 30, *outputs)
    z = np.array(found["significance"], dtype=float)
    best = np.unravel_index(np.nanargmax(z), z.shape)
    assert abs(found["masses"][best[0]] - 4000) < 60
    assert found["widths"][best[1]] == 0.03
    assert abs(found["strength"][best[0]][best[1]] - 1500) < 400
    assert found["more"]["trials"]["global_p"] < 1e-6
    assert found["more"]["global"]["global_p"] == pytest.approx(1 / 31)
    one = numbers(tmp_path, "scan", tmp_path / "mjj.csv", "--mass", 4000)
    assert one["masses"] == [4000]
    assert one["significance"][0][0] > 5


@pytest.mark.parametrize("kind", ["csv", "root", "yaml"])
def test_bumphunt_gives_the_published_interval_from_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    """ATLAS, 37/fb, with the published fit as the background: 4326-4595 GeV, p = 0.63."""
    spectrum, background = f"{ATLAS}:obs", "fit"
    edges = read_spectrum(ATLAS).axes[0].edges
    expected = read_spectrum(f"{ATLAS}:fit", fractional=True).values()
    if kind == "root":
        write_root(tmp_path / "a.root", {"obs": read_spectrum(ATLAS), "fit": (expected, edges)})
        spectrum, background = f"{tmp_path}/a.root:obs", f"{tmp_path}/a.root:fit"
    if kind == "yaml":
        bins = [{"low": float(a), "high": float(b)} for a, b in itertools.pairwise(edges)]
        columns = {"Observed": read_spectrum(ATLAS).values(), "Fit": expected}
        table = {
            "independent_variables": [{"header": {"name": "mjj", "units": "GeV"}, "values": bins}],
            "dependent_variables": [
                {"header": {"name": name}, "values": [{"value": float(v)} for v in values]}
                for name, values in columns.items()
            ],
        }
        (tmp_path / "a.yaml").write_text(json.dumps(table))  # JSON is YAML
        spectrum, background = f"{tmp_path}/a.yaml", "Fit"
    found = numbers(tmp_path, "bumphunt", spectrum, "--background", background, "--toys", 1000)
    assert (found["low"], found["high"], found["toys"]) == (4326, 4595, 1000)
    assert found["local_p"] == pytest.approx(7.6e-3, rel=0.01)
    assert found["global_p"] == pytest.approx(0.63, abs=0.06)
    assert type(read_result(tmp_path / "numbers.json")) is BumpHunterResult


def test_bumphunt_reads_the_background_as_it_reads_the_data(tmp_path: Path) -> None:
    """Densities of data and background give the interval of the counts; a background in another unit is noted."""
    spectrum = read_spectrum(f"{ATLAS}:obs")
    edges, seen = spectrum.axes[0].edges, spectrum.values()
    expected = read_spectrum(f"{ATLAS}:fit", fractional=True).values()
    rates = [values / np.diff(edges) / 37.0 for values in (seen, expected)]
    table = np.column_stack([edges[:-1], edges[1:], *rates])
    np.savetxt(tmp_path / "rates.csv", table, delimiter=",", header="low,high,data,density", comments="", fmt="%.17g")
    rated = ("bumphunt", f"{tmp_path}/rates.csv", "--toys", 0, "--per-width", "--scale", 37)
    found = numbers(tmp_path, *rated, "--background", "density")
    assert (found["low"], found["high"]) == (4326, 4595)
    assert found["local_p"] == pytest.approx(7.6e-3, rel=0.01)
    np.savetxt(tmp_path / "small.csv", np.column_stack([edges[:-1], edges[1:], expected / 100]), delimiter=",")
    code, text = invoke("bumphunt", ATLAS, "--background", tmp_path / "small.csv", "--toys", 0)
    assert code == 0, text
    assert f"background total {expected.sum() / 100:.6g}, data {seen.sum():.6g}" in text


def test_bumphunt_fits_again_in_every_toy(tmp_path: Path) -> None:
    found = numbers(tmp_path, "bumphunt", ATLAS, "--toys", 300, "--hepdata", tmp_path / "hd")
    assert (found["low"], found["high"], found["refit"]) == (4326, 4595, True)
    assert found["global_p"] == pytest.approx(0.635, abs=0.12)
    assert [table.name for table in read_hepdata(tmp_path / "hd")][-1] == "Most significant interval"


def test_toys_calibrate_the_fit_and_the_scan(tmp_path: Path) -> None:
    arguments = ("toys", CMS, "--toys", 200, "--sr-bins", 6, "--plot", tmp_path / "toys", "--hepdata", tmp_path / "hd")
    found = numbers(tmp_path, *arguments, "--out", tmp_path / "toys.npz")
    assert type(read_result(tmp_path / "numbers.json")) is ToyStudy
    assert found["failed"] == 0
    assert found["toys"] == 200
    assert 0.1 < found["deviance_p"] < 0.7
    assert np.shape(found["toy_significance"]) == (200,)
    toys = np.load(tmp_path / "toys.npz")
    assert toys["counts"].shape == (200, 42)
    np.testing.assert_allclose(
        toys["counts"].mean(axis=0), toys["expected"], atol=6 * np.sqrt(toys["expected"].max() / 200)
    )
    assert (tmp_path / "toys.png").stat().st_size > 10_000


@pytest.mark.parametrize("suffix", ["csv", "root"])
def test_toys_write_their_spectra(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"toys.{suffix}"
    code, text = invoke("toys", CMS, "--toys", 3, "--no-scan", "--out", out)
    assert code == 0, text
    toy = read_spectrum(f"{out}:toy_2")
    assert len(toy.values()) == 42
    assert 0.9 < toy.sum() / read_spectrum(CMS).sum() < 1.1


def test_limit_is_above_the_expected_one_at_the_bump_only(tmp_path: Path) -> None:
    spectrum = falling_spectrum(tmp_path / "mjj.csv", bump=1500)
    at_bump, elsewhere = numbers(
        tmp_path, "limit", spectrum, "--mass", 4000, "--mass", 6000, "--cache", tmp_path / "cache"
    )
    assert at_bump["observed"] > at_bump["expected"][4]
    assert 1000 < at_bump["observed"] < 2500  # covers the 1500 events that are there
    assert elsewhere["expected"][0] * 0.5 < elsewhere["observed"] < elsewhere["expected"][4] * 1.5
    again = numbers(tmp_path, "limit", spectrum, "--mass", 4000, "--mass", 6000, "--cache", tmp_path / "cache")
    assert again[0]["observed"] == at_bump["observed"]


def test_limit_on_a_cross_section_and_by_toys(tmp_path: Path) -> None:
    arguments = ("limit", CMS, "--mass", 3000, "--uncertainty", 0.1, "--method", "asymptotic")
    (events,) = numbers(tmp_path, *arguments)
    (picobarn,) = numbers(tmp_path, *arguments, "--lumi", 137, "--unit", "pb", "--efficiency", 0.5)
    assert picobarn["unit"] == "pb"
    assert picobarn["observed"] == pytest.approx(events["observed"] / (137e3 * 0.5), rel=1e-3)
    (few,) = numbers(tmp_path, "limit", CMS, "--mass", 8200, "--toys", 200)
    assert few["method"] == "toys"


@pytest.mark.parametrize("option", [("--unit", "pb"), ("--efficiency", 0.5)])
def test_limit_on_a_cross_section_needs_a_luminosity(option: tuple[object, ...]) -> None:
    code, text = invoke("limit", CMS, "--mass", 3000, *option)
    assert code == 2
    assert "give --lumi" in text


def test_limit_says_whether_the_background_fits(tmp_path: Path) -> None:
    """A chi2 of the background alone; a note where it is bad. A mass given twice is computed once."""
    arguments = ("limit", CMS, "--mass", 3000, "--method", "asymptotic")
    code, text = invoke(*arguments, "--mass", 3000)
    assert code == 0, text
    assert text.count("3000 GeV") == 1
    assert "chi2/ndf = 33.0/35" in text
    assert "note:" not in text
    assert "limits mean nothing" in invoke(*arguments, "--function", "dijet2")[1]


def test_nothing_to_report_is_said_in_words(tmp_path: Path) -> None:
    """No excess, a width that nobody gave, toys of three events."""
    edges = np.linspace(2000.0, 4400.0, 13)
    table = np.column_stack([edges[:-1], edges[1:], np.full(12, 5.0), np.full(12, 6.0)])
    np.savetxt(tmp_path / "low.csv", table, delimiter=",", header="low,high,data,expected", comments="")
    code, text = invoke("bumphunt", tmp_path / "low.csv", "--background", "expected", "--toys", 0)
    assert code == 0, text
    assert "no interval has more events than expected" in text
    assert "nan" not in text
    code, text = invoke("scan", CMS, "--mass", 3000)
    assert code == 0, text
    assert "no --width: Gaussians 3.5 % wide" in text
    write_csv(tmp_path / "few.csv", (np.array([2.0, 1, *np.zeros(10)]), edges))
    code, text = invoke("toys", tmp_path / "few.csv", "--toys", 10, "--plot", tmp_path / "few")
    assert code == 0, text
    assert max(map(len, text.splitlines())) < 200


@pytest.mark.parametrize("command", ["fit", "bumphunt", "scan", "toys", "limit"])
def test_figures_have_the_title_and_the_label_that_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("resonaut.analysis.plots.save_figure", lambda both, _stem: drawn.append(both[0]))
    few = {"bumphunt": ("--toys", 0), "toys": ("--toys", 5, "--no-scan"), "limit": ("--mass", 3000)}.get(command, ())
    labels = ("--title", "My search", "--mass-label", "$m_{jj}$ [GeV]")
    code, text = invoke(command, CMS, *few, "--plot", tmp_path / "figure", *labels)
    assert code == 0, text
    words = {words.get_text() for axes in drawn[0].axes for words in (*axes.texts, axes.xaxis.label)}
    assert {"My search", "$m_{jj}$ [GeV]"} <= words
    assert "Mass [GeV]" not in words


RESULTS: dict[str, tuple[type, Callable[[], tuple[object, ...]]]] = {
    "fit": (FitResult, lambda: ("fit", CMS)),
    "scan": (ScanResult, lambda: ("scan", CMS, "--sr-bins", 8)),
    "bumps": (BumpHunterResult, lambda: ("bumphunt", CMS, "--toys", 50)),
    "toys": (ToyStudy, lambda: ("toys", CMS, "--toys", 50, "--no-scan")),
    "limits": (LimitResult, lambda: ("limit", CMS, "--mass", 3000, "--mass", 4000)),
}


@pytest.mark.parametrize("name", RESULTS)
def test_every_figure_is_drawn_again_from_its_numbers(tmp_path: Path, name: str) -> None:
    if name in ("fit", "bumps"):
        pytest.importorskip(f"resonaut.analysis.plots.{name}")
    cls, arguments = RESULTS[name]
    content = numbers(tmp_path, *arguments())
    found = read_result(tmp_path / "numbers.json")
    assert type(found[0] if isinstance(found, tuple) else found) is cls
    code, text = invoke("plot", tmp_path / "numbers.json", "--hepdata", tmp_path / "hd")
    assert code == 0, text
    assert (tmp_path / "numbers.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "numbers.json").read_text()) == content  # the figure's numbers are the result
    assert (tmp_path / "hd/submission.yaml").is_file()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["limit", "SPECTRUM", "--mass", "9000"], "outside of the fitted range"),
        (["scan", "SPECTRUM", "--low", "7500"], "at least 6 bins"),
        (["fit", "SPECTRUM", "--low", "9000"], "at least 6 bins"),
        (["scan", "SPECTRUM", "--function", "dijet44"], "did you mean 'dijet4'"),
        (["bumphunt", "SPECTRUM", "--function", "dijet44", "--toys", "0"], "did you mean 'dijet4'"),
        (["scan", "nowhere.csv"], "file not found: nowhere.csv"),
        (["fit", "nowhere.root:mjj"], "file not found: nowhere.root"),
        (["fit", "SPECTRUM:cont"], "did you mean 'count'"),
        (["fit", "ROOT:mj"], "did you mean 'mjj'"),
        (["fit", "ROOT:weighted"], "weighted entries"),
        (["fit", "ROOT:empty"], "no events between"),
        (["fit", "YAML"], "is not YAML"),
        (["fit", "SPECTRUM", "--blind", "100", "200"], "not inside the fitted spectrum"),
        (["bumphunt", "SPECTRUM", "--background", "fit"], "unknown column 'fit'"),
        (["bumphunt", "SPECTRUM", "--background", ATLAS + ":fit"], "other bins"),
        (["plot", "nowhere.json"], "file not found"),
        (["plot", "YAML"], "not valid JSON"),
        (["fit", "SPECTRUM", "--json", "/dev/null/fit.json"], "/dev/null"),
        (["fit", "SPECTRUM", "--blind", "4000", "3000"], "increasing order"),
        (["fit", "SPECTRUM", "--low", "20000"], "got 0 from 20000 GeV: "),
        (["fit", "SPECTRUM", "--low", "5000", "--high", "3000"], "starts at 5000 GeV and ends at 3000 GeV"),
        (["scan", "ROOT:mjj", "--sr-bins", "5"], "fewer --sr-bins or --sb-bins"),
        (["scan", "SPECTRUM", "--sqrts", "7000"], "use --low and --high, or --sqrts"),
        (["fit", ATLAS + ":fit"], "give --per-width if it is per GeV and --scale"),
        (["fit", "SPECTRUM", "--per-width", "--scale", "0.3"], "check --per-width and --scale"),
        (["toys", "SPECTRUM", "--plot", "figure.svg"], "PNG and PDF"),
        (["limit", "SPECTRUM", "--hepdata", "/dev/null/tables"], "--hepdata /dev/null/tables cannot be written"),
        (["limit", "SPECTRUM", "--cache", "SPECTRUM"], "expected the name of a folder"),
        (["toys", "SPECTRUM", "--out", "/dev/null/toys.npz"], "--out /dev/null/toys.npz cannot be written"),
    ],
)
def test_errors_are_one_clear_message(arguments: list[str], expected: str, tmp_path: Path) -> None:
    edges = log_edges(2000.0, 8000.0, 10)
    falling_spectrum(tmp_path / "mjj.csv")
    weighted = hist.Hist(hist.axis.Variable(edges), storage=hist.storage.Weight())
    weighted.fill(np.full(100, 3000.0), weight=np.full(100, 2.5))
    write_root(tmp_path / "s.root", {"mjj": (np.ones(10), edges), "empty": (np.zeros(10), edges), "weighted": weighted})
    (tmp_path / "bad.yaml").write_text("independent_variables: [\n  {")
    names = {"SPECTRUM": tmp_path / "mjj.csv", "ROOT": tmp_path / "s.root", "YAML": tmp_path / "bad.yaml"}
    changed = [a.replace(key, str(path)) for a in arguments for key, path in [_placeholder(a, names)]]
    code, text = invoke(*changed)
    assert code == 1, text
    assert expected in text
    assert "Traceback" not in text


@pytest.mark.parametrize("arguments", [["--json", "/dev/null/x.json"], ["--plot", "/dev/null/x"], ["--function", "no"]])
def test_nothing_is_started_that_cannot_be_finished(arguments: list[str]) -> None:
    code, text = invoke("limit", CMS, *arguments)
    assert code == 1
    assert "to do" not in text
    assert "chi2" not in text
    assert len(text.strip().splitlines()) == 1


def test_damaged_cache_is_computed_again(tmp_path: Path) -> None:
    arguments = ("limit", CMS, "--mass", 3000, "--method", "asymptotic", "--cache", tmp_path / "cache")
    (first,) = numbers(tmp_path, *arguments)
    (file,) = (tmp_path / "cache").iterdir()
    for damage in ("{", "{}", "[]", "3"):
        file.write_text(damage)
        (again,) = numbers(tmp_path, *arguments)
        assert again["observed"] == first["observed"]
    assert json.loads(file.read_text())["observed"] == first["observed"]


def _placeholder(argument: str, names: dict[str, Path]) -> tuple[str, Path | str]:
    return next(((key, path) for key, path in names.items() if argument.startswith(key)), ("\0", ""))


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit"],
        ["fit", CMS, "--errors", "none"],
        ["toys", CMS, "--toys", "0"],
        ["toys", CMS, "--out", "toys.txt"],
        ["fitt", CMS],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    code, text = invoke(*arguments)
    assert code == 2
    assert "Usage: " in text


def test_statistics_do_not_wait_for_the_rest_of_the_package() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from resonaut.analysis.cli import main; "
        f"CliRunner().invoke(main, ['fit', {CMS!r}]); "
        "assert 'resonaut.stats' in sys.modules; "
        "print(sorted({'torch', 'coffea', 'sklearn', 'matplotlib', 'dask'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
