"""Background fits of a method's own: another function, fewer sidebands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resonaut.analysis.config import SearchConfig, parse_config
from resonaut.analysis.describe import describe_search
from resonaut.analysis.limits import limit_jobs
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.scoring import search_windows
from resonaut.analysis.search import run_search
from resonaut.analysis.spectra import INCLUSIVE, excesses_of, fit_options, scan_of
from resonaut.errors import ConfigError
from resonaut.processors import write_table
from resonaut.stats import ScanInput, fit_background, local_p_value, log_edges

SCAN = {"low": 2800, "high": 5200, "bins": 30, "only": [3500.0], "step": 1}
EDGES = log_edges(2800.0, 5200.0, 30)
LINE = {"function": "linear", "sideband_bins": 5}


def config_of(*methods: dict[str, Any], **changes: Any) -> SearchConfig:
    content = {
        "input": {"files": ["events.parquet"]},
        "scan": SCAN,
        "methods": list(methods),
        "limits": None,
        "workers": 1,
    }
    return parse_config({**content, **changes})


def counts_of(slope: float) -> np.ndarray:
    centres = 0.5 * (EDGES[1:] + EDGES[:-1])
    return np.round(4000.0 * np.exp(-(centres - 2800.0) / slope)) + 20.0


def test_each_spectrum_is_fitted_as_its_method_asks() -> None:
    config = config_of({"name": "knn", "fit": LINE}, {"name": "cwola-trees"})
    window = next(w for w in search_windows(config) if abs(w.low - 3371) < 1)  # bins 9 to 13
    selections = [ScanInput(window, method, cut, (counts_of(600.0), EDGES)) for method, cut in
                  ((INCLUSIVE, 1.0), ("knn", 0.1), ("cwola-trees", 0.1))]  # fmt: skip
    low, high = fit_options(config, selections[1]).fit_range or (0.0, 0.0)
    assert (low, high) == (pytest.approx(EDGES[4]), pytest.approx(EDGES[18]))
    assert fit_options(config, selections[0]).fit_range is None
    scan = scan_of(config, selections)
    assert [(e.method, e.function) for e in scan.entries] == [
        (INCLUSIVE, "dijet4"),
        ("knn", "linear"),
        ("cwola-trees", "dijet4"),
    ]
    alone = local_p_value((counts_of(600.0), EDGES), window, function="linear", fit_range=(low, high))
    assert scan.entries[1].local_significance == pytest.approx(alone.local_significance)
    assert scan.entries[1].local_significance < -3 < scan.entries[2].local_significance  # an exponential is no line
    fits = [e.fit for _, e in excesses_of(config, selections)]
    assert [int(f.mask.sum()) for f in fits] == [26, 10, 26]


def test_sidebands_end_where_the_scan_ends() -> None:
    config = config_of({"name": "knn"}, fit={"sideband_bins": 6}, scan={**SCAN, "only": []})
    options = [fit_options(config, ScanInput(w, "knn", 0.1, (counts_of(600.0), EDGES))) for w in search_windows(config)]
    assert options[0].fit_range == (pytest.approx(EDGES[0]), pytest.approx(EDGES[13]))
    assert options[-1].fit_range == (pytest.approx(EDGES[17]), pytest.approx(EDGES[30]))


def test_limits_follow_the_method(tmp_path: Path) -> None:
    own = {"function": "dijet3", "sideband_bins": 8}
    config = config_of({"name": "knn", "fit": own}, limits={"cuts": [1.0, 0.1]})
    window = next(w for w in search_windows(config) if abs(w.low - 3371) < 1)
    pair = [ScanInput(window, m, c, (counts_of(600.0), EDGES)) for m, c in ((INCLUSIVE, 1.0), ("knn", 0.1))]
    jobs = limit_jobs(config, RunDirectory(tmp_path), pair)
    assert [(j.fit.function, j.fit.fit_range is None) for j in jobs] == [("dijet4", True), ("dijet3", False)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"fit": {"function": "linear"}, "limits": {}}, "limits need a log-linear background function, got linear"),
        ({"fit": {"function": "linaer"}}, "did you mean 'linear'"),
        ({"fit": {"sideband_bins": 1}}, "fit.sideband_bins"),
        ({"methods": [{"name": "knn", "fit": {"sqrts": 14000}}]}, "unknown key in methods.*'sqrts'"),
        ({"methods": [{"name": "knn", "fit": LINE}], "limits": {}}, "set `limits: null`"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        config_of({"name": "knn"}, **changes)
    assert config_of({"name": "knn", "fit": LINE}, limits={"cuts": [1.0]}).fit_of("knn").function == "linear"


def test_a_search_with_a_line_and_the_baselines(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    mass = 2800.0 + 2400.0 * rng.random(3000) ** 1.5
    table = {"mjj": mass, "a": rng.normal(size=3000), "b": rng.normal(size=3000), "weight": np.ones(3000)}
    write_table(tmp_path / "events.parquet", table)
    options: dict[str, dict[str, Any]] = {
        "isolation-forest": {"trees": 10},
        "knn": {"events": 300},
        "clusters": {"clusters": 2},
        "alad": {"latent": 1, "hidden": 8, "epochs": 1, "batch_size": 500},
    }
    methods = [{"name": n, "features": ["a", "b"], "options": o, "fit": LINE} for n, o in options.items()]
    config = config_of(*methods, selection={"cuts": [0.1], "folds": 2}, scan={**SCAN, "step": 4})
    assert "dijet4, linear (isolation-forest)" in describe_search(config, tmp_path)
    run_search(config, tmp_path, tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    made = {(w["method"], w["cut"]) for w in summary["windows"]}
    assert {(name, 0.1) for name in options} <= made
    assert all(np.isfinite(w["local_p"]) for w in summary["windows"])
    assert "(knn: linear)" in (tmp_path / "run" / "report.html").read_text()
    assert fit_background((counts_of(900.0), EDGES), function="linear").ok
