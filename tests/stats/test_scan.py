from __future__ import annotations

import json
import math

import numpy as np
import pytest

from resonaut.errors import ConfigError, InputError
from resonaut.stats import (
    ScanInput,
    ScanResult,
    Window,
    local_p_value,
    make_spectrum,
    scan,
    scan_windows,
    sliding_windows,
)


def test_injected_signal_is_found(paper_edges, falling):
    rng = np.random.default_rng(1)
    counts = rng.poisson(1e4 * falling)
    counts[17:21] += [20, 50, 50, 20]
    result = scan_windows((counts, paper_edges), sliding_windows(paper_edges), function="dijet3")
    assert result.best.low == paper_edges[17]
    assert result.best.local_significance > 5
    assert result.n_failed == 0


def test_entries_equal_single_p_values_in_the_order_of_the_inputs(paper_edges, falling):
    rng = np.random.default_rng(2)
    windows = sliding_windows(paper_edges)[::5]
    spectra = {cut: (rng.poisson(cut * 1e5 * falling), paper_edges) for cut in (1.0, 0.1, 0.01)}
    inputs = [ScanInput(w, "cwola", cut, spectrum) for cut, spectrum in spectra.items() for w in windows]
    calls = []
    result = scan(inputs, function="dijet3", progress=lambda done, total: calls.append((done, total)))
    assert [(e.low, e.cut) for e in result.entries] == [(i.window.low, i.cut) for i in inputs]
    for item, entry in zip(inputs, result.entries, strict=True):
        single = local_p_value(item.spectrum, item.window, function="dijet3")
        assert entry.local_p == pytest.approx(single.local_p, rel=1e-4)
        assert entry.expected == pytest.approx(single.expected, rel=1e-5)
    assert calls[-1] == (len(inputs), len(inputs))
    assert len(result.select(cut=0.1)) == len(windows)
    assert len(result.select(method="other")) == 0


def test_what_fails_is_kept_with_its_reason(paper_edges, paper_window, falling, caplog):
    good = (np.round(1e4 * falling), paper_edges)
    weighted = make_spectrum([3000.0, 3500.0], paper_edges, [3.0, 2.0])
    inputs = [
        ScanInput(paper_window, "a", 1.0, good),
        ScanInput(paper_window, "a", 0.1, weighted),
        ScanInput(Window(8000, 8100, 7000, 9000), "a", 1.0, good),
        ScanInput(paper_window, "a", 0.01, (np.full(30, -1.0), paper_edges)),
    ]
    with caplog.at_level("WARNING", logger="resonaut.stats.excesses.scan"):
        result = scan(inputs)
    assert [entry.ok for entry in result.entries] == [True, False, False, False]
    assert [entry.cut for entry in result.entries] == [1.0, 0.1, 1.0, 0.01]
    assert "weighted entries" in result.entries[1].status
    assert "not inside the fitted spectrum" in result.entries[2].status
    assert math.isnan(result.entries[2].local_p)
    assert result.best == result.entries[0]
    assert "3 of 4 entries have no p-value" in caplog.text


def test_nothing_usable_has_no_best(paper_edges):
    result = scan([ScanInput(Window(8000, 8100, 7000, 9000), "a", 1.0, (np.ones(30), paper_edges))])
    assert result.best is None
    assert scan([]).best is None


def test_unknown_function_stops_the_scan(paper_edges, paper_window):
    with pytest.raises(ConfigError, match="did you mean"):
        scan([ScanInput(paper_window, "a", 1.0, (np.ones(30), paper_edges))], function="dijet_4")


def test_round_trip(paper_edges, falling):
    result = scan_windows((np.round(1e4 * falling), paper_edges), sliding_windows(paper_edges))
    assert ScanResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    with pytest.raises(InputError, match="expected 'entries'"):
        ScanResult.from_dict({"entries": [{"low": 1.0}]})
