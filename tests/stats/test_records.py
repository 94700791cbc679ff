"""What a result looks like on a screen."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from resonaut import stats
from resonaut.stats.records import brief

RECORDS = [
    cls for cls in (getattr(stats, name) for name in stats.__all__) if isinstance(cls, type) and is_dataclass(cls)
]
HOLDING = [
    cls
    for cls in RECORDS
    if any(word in str(f.type) for f in fields(cls) for word in ("Array", "tuple[", "dict[", "Result"))
]


def test_most_results_hold_arrays():
    assert len(HOLDING) > 30


@pytest.mark.parametrize("cls", HOLDING, ids=lambda cls: cls.__name__)
def test_arrays_are_not_printed(cls):
    record = object.__new__(cls)
    for field in fields(cls):
        object.__setattr__(record, field.name, np.linspace(0.0, 1.0, 500))
    text = repr(record)
    assert len(text) < 1000
    assert text.startswith(f"{cls.__name__}(")
    assert "array(500)" in text


def test_a_fit_fits_on_a_screen(cms_137):
    fit = stats.fit_background(cms_137)
    text = repr(fit)
    assert len(text) < 1000
    assert f"chi2={fit.chi2:.6g}" in text
    assert "'converged'" in text
    assert f"covariance=array({len(fit.parameters)}x{len(fit.parameters)})" in text


def test_results_inside_results_stay_short(cms_137):
    window = stats.Window(3416.0, 3704.0, 3019.0, 4010.0)
    found = stats.scan_windows(cms_137, [window, window])
    assert len(repr(found)) < 1000
    assert "low=3416" in repr(found.entries[0])
    assert "3416" in repr(stats.ScanInput(window, "none", 1.0, cms_137))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1 / 3, "0.333333"),
        (np.float64(2.0), "2"),
        (np.array(7), "7"),
        (np.zeros((2, 3)), "array(2x3)"),
        ("a" * 100, repr("a" * 57 + "...")),
        ((1, 2.5), "(1, 2.5)"),
        ((1,), "(1,)"),
        (tuple(range(9)), "tuple(9)"),
        ([[1, 2], "b"], "[[1, 2], 'b']"),
        ({"p0": 1.23456789, "all": np.zeros(4)}, "{'p0': 1.23457, 'all': array(4)}"),
        (dict.fromkeys(range(20), 0), "dict(20)"),
        (None, "None"),
        (True, "True"),
    ],
)
def test_values(value, text):
    signal = object.__new__(stats.Signal)
    for field in fields(signal):
        object.__setattr__(signal, field.name, value)
    assert brief(signal) == f"Signal(template={text}, yields={text}, shapes={text})"
