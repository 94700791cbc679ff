"""The report from a run directory: what it shows of optional parts, what it leaves out, its PDF of figures and its HEPData twin."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pypdf import PdfReader
from scipy.stats import chi2

from resonaut.analysis.config import parse_config
from resonaut.analysis.plots import draw_scan, save_figure
from resonaut.analysis.report import write_report
from resonaut.analysis.reporting.charts import limit_chart, scan_chart, spectrum_chart
from resonaut.analysis.reporting.formats import compact, p_text, seconds
from resonaut.analysis.reporting.plots_pdf import write_plots_pdf
from resonaut.analysis.search import run_search
from resonaut.errors import InputError
from resonaut.processors import write_table
from resonaut.stats import read_spectrum


class Text(HTMLParser):
    """Text of a page by section (heading of level 2), and elements that were not closed."""

    VOID = ("meta", "link", "img", "br", "input")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sections: dict[str, str] = {}
        self.images: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "h2":
            self.current = given["id"] or ""
            self.sections[self.current] = ""
        for name in ("src", "href"):
            if value := given.get(name):
                self.links.append(value)
        if tag == "img":
            self.images.append(given["alt"] or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.sections and self.open[-1] not in ("script", "style"):
            self.sections[self.current] += re.sub(r"\s+", " ", data)


def _page(run: Path) -> Text:
    return Text(write_report(run).read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(3)
    mass = 2800 + rng.exponential(500, 5000)
    mass = mass[mass < 5200]
    table = {
        "mjj": mass,
        "a": rng.normal(size=len(mass)),
        "b": rng.normal(size=len(mass)),
        "weight": np.ones(len(mass)),
    }
    write_table(folder / "events.parquet", table)
    method = {
        "name": "cwola-trees",
        "label": "trees",
        "features": ["a", "b"],
        "options": {"members": 1, "max_iter": 10},
    }
    content = {
        "name": "A <b>toy</b> & its </script> name", "seed": 5, "workers": 1, "input": {"files": ["events.parquet"]},
        "scan": {"low": 2800, "high": 5200, "bins": 30, "step": 4, "only": [3500]}, "methods": [method],
        "selection": {"cuts": [0.1], "folds": 3}, "limits": {"cuts": [1.0]},
    }  # fmt: skip
    run_search(parse_config(content), folder, folder / "run")
    return folder / "run"


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def test_the_page_is_whole_and_needs_nothing_else(run: Path) -> None:
    text = (run / "report.html").read_text()
    page = Text(text)
    assert page.open == []
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.sections)
    assert "<b>toy</b>" not in text
    numbers = re.search(r'<script type="application/json" id="numbers">(.*?)</script>', text, flags=re.DOTALL)
    assert numbers is not None
    assert set(json.loads(numbers[1])) == {"scan", "spectra", "limits", "best"}


def test_the_summary_comes_first_and_says_what_was_found(run: Path) -> None:
    page, summary = Text((run / "report.html").read_text()), json.loads((run / "summary.json").read_text())
    best = summary["best"]
    first = next(iter(page.sections))
    assert first == "summary"
    for part in (f"{best['observed']:.0f}", f"{best['expected']:.1f}", f"{best['local_significance']:+.2f}σ", "GeV"):
        assert part in page.sections["summary"]
    limit = summary["limits"][0]
    assert compact(limit["expected"][2]) in page.sections["summary"]
    assert "No validation of this search" in page.sections["validation"]
    for name in ("resonaut", "numpy", "seed 5", "results/hepdata/submission.yaml", "plots.pdf", "workspace.json"):
        assert name in page.sections["provenance"]


def test_all_numbers_of_the_interpretation_are_shown(run: Path) -> None:
    page = Text((run / "report.html").read_text())
    method = json.loads((run / "interpretation/interpretation.json").read_text())["methods"][0]
    shown = page.sections["interpretation"]
    assert f"{method['events']['signal region, selected']:,}" in shown
    assert "resonaut export" in shown
    assert {"trees efficiency plane", "trees features", "trees importance", "trees score map"} <= set(page.images)


def _checks() -> list[dict[str, Any]]:
    return [
        {"name": "p-values uniform", "verdict": "green", "number": 0.41, "threshold": 0.05, "diagnosis": "", "figure": None},
        {"name": "sculpting", "verdict": "red", "number": 0.0004, "threshold": 0.01, "diagnosis": "a is correlated <i>with</i> the mass", "figure": "scan.png"},
        {"name": "seeds", "verdict": "not made", "number": None, "threshold": None, "diagnosis": "too few events"},
    ]  # fmt: skip


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"checks": rows, "verdict": "red"}])
def test_checks_are_shown_with_their_verdict_and_diagnosis(copy: Path, wrap: Any) -> None:
    (copy / "validation").mkdir()
    shutil.copy(copy / "plots/pvalue_scan.png", copy / "validation/scan.png")
    (copy / "validation/validation.json").write_text(json.dumps(wrap(_checks())))
    page = _page(copy)
    shown = page.sections["validation"]
    assert "3 checks of the search itself: 1 green, 1 red, 1 amber." in shown
    assert "a is correlated <i>with</i> the mass" in shown
    assert "0.0004" in shown
    assert "validation sculpting" in page.images
    assert "1 of 3" in page.sections["summary"]
    assert "1 red" in page.sections["summary"]


@pytest.mark.parametrize("content", ["{not json", '"a word"', "{}", '{"checks": 3}'])
def test_a_damaged_validation_does_not_lose_the_report(copy: Path, content: str) -> None:
    (copy / "validation").mkdir()
    (copy / "validation/validation.json").write_text(content)
    assert "Provenance" in _page(copy).sections["provenance"]


def test_a_campaign_is_shown_in_the_unit_of_its_figure(copy: Path) -> None:
    selection = {
        "method": "trees", "cut": 0.1, "kind": "learnt",
        "limit": {"observed": 300.0, "expected": [100.0, 150.0, 200.0, 250.0, None], "status": ["ok"] * 6},
    }  # fmt: skip
    without = {**selection, "limit": None}
    signal = {"name": "Z500", "mass": 3500.0, "low": 3300, "high": 3700, "selections": [selection, without]}
    content = {
        "luminosity": 10.0,
        "units": 12,
        "trainings": 60,
        "cpu_seconds": 4000.0,
        "signals": [signal],
        "warnings": ["w"],
    }
    (copy / "campaign.json").write_text(json.dumps(content))
    (copy / "campaign").mkdir()
    shutil.copy(copy / "plots/pvalue_scan.png", copy / "campaign/limits.png")
    page = _page(copy)
    shown = page.sections["campaign"]
    for part in ("Z500, 3,500 GeV", "trees, 10 %", "30.0", "20.0", "60 trainings", "1 h 7 min", "in fb"):
        assert part in shown
    assert "campaign limits" in page.images


def test_a_blinded_run_has_a_report_that_shows_no_observation(copy: Path) -> None:
    """Whatever a blinded summary leaves out as null, the page must not fall over, and must say so."""
    summary = json.loads((copy / "summary.json").read_text())
    for entry in summary["windows"]:
        entry.update(observed=None, local_p=None, local_significance=None)
    summary.update(best=None, best_trials_corrected_p=None, blind=True)
    for limit in summary["limits"]:
        limit.update(observed=None, cls_pyhf=None)
    expected = summary["limits"][0]["expected"][2]
    (copy / "summary.json").write_text(json.dumps(summary))
    fits = json.loads((copy / "results/fits.json").read_text())
    for each in fits:
        fit = each["excess"]["fit"]
        fit["counts"] = [n if used else None for n, used in zip(fit["counts"], fit["mask"], strict=True)]
        each["excess"].update(observed=None, local_p=None, local_significance=None)
    (copy / "results/fits.json").write_text(json.dumps(fits))
    page = _page(copy)
    assert "This analysis is blinded" in page.sections["summary"]
    assert "largest excess is in" not in page.sections["summary"]
    assert compact(expected) in page.sections["summary"]
    assert "hidden" in page.sections["summary"]


def test_a_method_without_some_of_its_figures_has_its_section(copy: Path) -> None:
    """As one feature alone has no score map, and a scorer that cannot be read no importance."""
    path = copy / "interpretation/interpretation.json"
    content = json.loads(path.read_text())
    content["methods"][0].update(figures=["features"], importance=[], working_points={"0.1": None})
    path.write_text(json.dumps(content))
    page = _page(copy)
    assert "trees features" in page.images
    assert "trees score map" not in page.images


EVIL = '<img src=x onerror="alert(1)">\'</script><script>alert(2)</script>'


def _spoilt(content: Any) -> Any:
    """Every text of a JSON file that a user, a file or a third party may have chosen, with markup at its end."""
    if isinstance(content, dict):
        return {key: value if key in ("schema", "folder") else _spoilt(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_spoilt(value) for value in content]
    return content + EVIL if isinstance(content, str) and content != "done" else content


def test_no_text_of_a_run_becomes_markup(copy: Path) -> None:
    (copy / "validation").mkdir()
    (copy / "validation/validation.json").write_text(json.dumps(_checks()))
    for name in (
        "summary.json",
        "results/fits.json",
        "interpretation/interpretation.json",
        "validation/validation.json",
    ):
        content = _spoilt(json.loads((copy / name).read_text()))
        if name == "summary.json":
            content["events"]["reasons"] = {EVIL: 3}
            content["warnings"] = [EVIL]
        (copy / name).write_text(json.dumps(content))
    text = write_report(copy).read_text()
    page = Text(text)
    assert page.open == []
    assert "<img src=x" not in text
    assert "<script>alert" not in text
    assert text.count("<script") == 3  # the class of the page, the numbers, the program


# --- how well the fits describe their spectra ------------------------------------------------------------------------


def _poor(copy: Path, p: float | None, ndf: int = 22) -> Text:
    """The page where the fit of the largest excess has this p-value."""
    best = json.loads((copy / "summary.json").read_text())["best"]
    fits = json.loads((copy / "results/fits.json").read_text())
    for each in fits:
        window = each["excess"]["window"]
        if (window["low"], each["method"], each["cut"]) == (best["low"], best["method"], best["cut"]):
            each["excess"]["fit"].update(chi2=51.26, ndf=ndf, p_value=p)
    (copy / "results/fits.json").write_text(json.dumps(fits))
    return _page(copy)


def test_a_poor_fit_is_told_before_the_excess(copy: Path) -> None:
    page = _poor(copy, 4e-4)
    shown = page.sections["summary"]
    assert (
        0 <= shown.find("The background fit behind the largest excess is poor") < shown.find("The largest excess is in")
    )
    assert "χ²/ndf = 51.3/22, p = 4.0 × 10⁻⁴" in shown
    assert "1 poor" in shown
    assert "they know of no wrong background function" in page.sections["excess"]
    assert "51.3/22" in page.sections["entries"]
    assert (
        "51/22 (poor fit)" in (copy / "report.html").read_text()
    )  # the legend of the chart, JSON is ASCII but for this


def test_a_good_fit_is_shown_without_alarm(copy: Path) -> None:
    shown = _poor(copy, 0.3).sections["summary"]
    assert "is poor" not in shown
    assert "the fit has χ²/ndf = 51.3/22 (p = 0.300)" in shown


def test_a_fit_that_cannot_be_tested_says_so(copy: Path) -> None:
    shown = _poor(copy, None, ndf=0).sections["summary"]
    assert "is poor" not in shown
    assert "Too few events are left for a test of that fit." in shown


def test_the_chi_square_is_that_of_the_bins_outside_of_the_signal_region(run: Path) -> None:
    fits = json.loads((run / "results/fits.json").read_text())
    fit = next(f for f in fits if f["method"] == "inclusive")["excess"]["fit"]
    n, mu = (np.array(fit[name])[np.array(fit["mask"])] for name in ("counts", "expected"))
    assert mu.min() > 5  # nothing has to be merged
    value, ndf = float(((n - mu) ** 2 / mu).sum()), len(n) - 4
    shown = Text((run / "report.html").read_text()).sections["entries"]
    assert f"{value:.1f}/{ndf}" in shown
    assert p_text(float(chi2.sf(value, ndf))) in shown


def test_an_unblinding_is_told(copy: Path) -> None:
    summary = json.loads((copy / "summary.json").read_text())
    record = {"who": "a@b", "when": "2026-11-26T10:00:00+00:00", "reason": "approved", "forced": True}
    (copy / "summary.json").write_text(json.dumps({**summary, "blind": False, "unblinding": record}))
    shown = _page(copy).sections["summary"]
    assert "Unblinded 2026-11-26T10:00:00+00:00 by a@b, against its validation: approved" in shown


def test_a_run_without_its_optional_parts_has_a_report(copy: Path) -> None:
    for name in ("interpretation", "results", "limits"):
        shutil.rmtree(copy / name)
    page = _page(copy)
    assert "interpretation" not in page.sections
    assert "results/" not in page.sections["provenance"]


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finish the run first"):
        write_report(tmp_path)


def test_one_pdf_holds_every_figure_with_a_bookmark(run: Path) -> None:
    reader = PdfReader(run / "plots.pdf")
    figures = [path for folder in ("plots", "interpretation") for path in (run / folder).rglob("*.pdf")]
    assert len(reader.pages) == len(figures) >= 7
    outline = reader.outline
    groups = [item.title for item in outline if not isinstance(item, list)]
    assert groups == ["Local p-values", "Spectra", "Upper limits", "Interpretation"]
    names = [leaf.title for item in outline if isinstance(item, list) for leaf in item]
    assert len(names) == len(figures)
    pages = [reader.get_destination_page_number(leaf) for item in outline if isinstance(item, list) for leaf in item]
    assert pages == list(range(len(figures)))


def test_no_figures_make_no_pdf(tmp_path: Path) -> None:
    assert write_plots_pdf(tmp_path) is None
    assert not (tmp_path / "plots.pdf").exists()


def test_the_submission_is_valid_and_holds_the_spectrum(run: Path) -> None:
    from hepdata_validator.full_submission_validator import FullSubmissionValidator

    folder = run / "results/hepdata"
    validator = FullSubmissionValidator()
    assert validator.validate(directory=str(folder)), validator.get_messages()
    best = json.loads((run / "summary.json").read_text())["best"]
    fits = json.loads((run / "results/fits.json").read_text())
    inclusive = next(f for f in fits if f["method"] == "inclusive" and f["excess"]["window"]["low"] == best["low"])
    names = [
        line[len("name: ") :]
        for line in (folder / "submission.yaml").read_text().splitlines()
        if line.startswith("name: ")
    ]
    (table,) = [name.strip("'\"") for name in names if "inclusive" in name and "Mass spectrum" in name]
    spectrum = read_spectrum(f"{folder / 'submission.yaml'}:{table}")
    assert spectrum.values().tolist() == inclusive["excess"]["fit"]["counts"]


def test_p_values_are_written_for_readers() -> None:
    assert p_text(0.05) == "0.050"
    assert p_text(9.96e-18) == "1.0 × 10⁻¹⁷"
    assert p_text(0.0) == "< 10⁻³⁰⁰"
    assert p_text(1e-310).endswith("⁻³¹⁰")
    assert seconds(3599.9) == "1 h 0 min"


def test_charts_without_anything_to_show_are_none() -> None:
    failed = {"low": 1.0, "high": 2.0, "method": "a", "cut": 1.0, "local_p": None}
    assert scan_chart([failed], ["m", "", "GeV"]) is None
    assert spectrum_chart([], ["m", "", "GeV"]) is None
    assert (
        limit_chart([{"signal": "s", "mass": 1.0, "observed": 1.0, "expected": [None] * 5}], ["m", "", "GeV"]) is None
    )


def test_the_error_bars_of_the_chart_are_central_poisson_intervals() -> None:
    """68 % intervals of published tables (PDG, statistics): 0 events (0, 1.84), 1 event (0.17, 3.30), 10 events (6.89, 14.27)."""
    fit = {
        "function": "dijet4", "edges": [1.0, 2.0, 3.0, 4.0], "counts": [0.0, 1.0, 10.0], "expected": [1.0, None, 9.0],
        "expected_error": [0.1, None, 0.9], "mask": [True, True, False],
    }  # fmt: skip
    window = {"low": 3.0, "high": 4.0}
    chart = spectrum_chart(
        [{"method": "a", "cut": 1.0, "excess": {"window": window, "local_significance": None, "fit": fit}}],
        ["m", "", "GeV"],
    )
    assert chart is not None
    (entry,) = chart["entries"]
    assert entry["error_low"] == pytest.approx([0.0, 0.17, 6.89], abs=0.01)
    assert entry["error_high"] == pytest.approx([1.84, 3.30, 14.27], abs=0.01)
    assert entry["expected"] == [1.0, None, 9.0]
    json.dumps(chart, allow_nan=False)


def test_figures_of_the_scan_can_be_redrawn(run: Path, tmp_path: Path) -> None:
    from resonaut.stats import ScanResult

    scan = ScanResult.from_dict(json.loads((run / "results/scan.json").read_text()))
    save_figure(draw_scan(scan, title="again"), tmp_path / "scan")
    assert (tmp_path / "scan.png").stat().st_size > 5000
