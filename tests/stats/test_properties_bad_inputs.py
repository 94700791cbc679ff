"""Input that cannot be used: a clear error from every public function, never a traceback of numpy or a silent number."""

from __future__ import annotations

from operator import attrgetter

import numpy as np
import pytest

import resonaut.stats as package
from resonaut.errors import InputError, ResonautError
from resonaut.stats import (
    Channel,
    Design,
    Window,
    fit_background,
    gaussian_template,
    log_edges,
    significance_scan,
    sliding_fit,
    sliding_windows,
)

NAN, INF = float("nan"), float("inf")
EDGES = log_edges(2800.0, 5200.0, 30)
COUNTS = np.random.default_rng(1).poisson(2000 * np.exp(-0.2 * np.arange(30))).astype(np.float64)
SPECTRUM = (COUNTS, EDGES)
WINDOW = sliding_windows(EDGES)[6]
OUTSIDE = Window(9000.0, 9500.0, 8000.0, 9900.0)
TEMPLATE = gaussian_template(3500.0, 100.0, EDGES, 100.0)
SIGNALS = {3500.0: TEMPLATE}
FIT = fit_background(SPECTRUM, function="dijet3")
SLIDING = sliding_fit(SPECTRUM, function="dijet3")
SCAN = significance_scan(SPECTRUM, [3300.0, 3500.0, 3700.0], function="dijet3")
REGIONS = {"A": 14, "B": 120, "C": 210, "D": 2100}


def put(values, where, value):
    changed = np.array(values, dtype=np.float64)
    changed[where] = value
    return changed


BAD_EDGES = {
    "nan edge": put(EDGES, 3, NAN),
    "infinite edge": put(EDGES, -1, INF),
    "falling edges": EDGES[::-1].copy(),
    "equal edges": put(EDGES, 4, EDGES[3]),
    "one edge too many": np.append(EDGES, 6000.0),
}
BAD_SPECTRA = {
    "no bins": ([], [3000.0]),
    "negative count": (put(COUNTS, 3, -1.0), EDGES),
    "nan count": (put(COUNTS, 3, NAN), EDGES),
    "infinite count": (put(COUNTS, 3, INF), EDGES),
    "two dimensions": (np.array([COUNTS, COUNTS]), EDGES),
    "not a spectrum": "abc",
    **{name: (COUNTS, edges) for name, edges in BAD_EDGES.items()},
}
UNPHYSICAL = {"edges below 0": (COUNTS, put(EDGES, 0, -1.0)), "edges beyond sqrts": (COUNTS, 10.0 * EDGES)}
TOO_SHORT = {"one bin": ([5.0], [3000.0, 3100.0])}
FITTED = {
    "spectrum": {**BAD_SPECTRA, **UNPHYSICAL, **TOO_SHORT},
    "function": {"unknown": "dijet77", "empty": ""},
    "sqrts": {"zero": 0.0, "negative": -1.0, "nan": NAN, "below the edges": 4000.0},
    "fit_range": {
        "reversed": (5000.0, 3000.0),
        "outside": (9000.0, 9900.0),
        "nan": (NAN, 5000.0),
        "infinite": (3000.0, INF),
        "one end": (3000.0,),
        "a number": 3000.0,
    },
}
BAD_TEMPLATES = {
    "zero": np.zeros(30),
    "negative": -TEMPLATE,
    "nan": put(TEMPLATE, 3, NAN),
    "infinite": put(TEMPLATE, 3, INF),
    "wrong length": TEMPLATE[:-1],
}
BAD_MASSES = {"nan mass": {NAN: TEMPLATE}, "mass 0": {0.0: TEMPLATE}, "no mass": {"x": TEMPLATE}}
BAD_SIGNALS = {"none": {}, **BAD_MASSES, **{name: {3500.0: bad} for name, bad in BAD_TEMPLATES.items()}}
FEW = {"zero": 0, "negative": -3}
TOYS = {**FEW, "a fraction": 2.5}
SEEDS = {"negative": -1, "a fraction": 1.5, "a word": "x"}
EMPTY = {"no events": (np.zeros(30), EDGES)}
DESIGN = Design.build("dijet3", EDGES)
FIELD = np.random.default_rng(2).normal(size=(20, 30))
NOT_POSITIVE = {"zero": 0.0, "negative": -1.0, "nan": NAN, "infinite": INF}
NEGATIVE = {"negative": -1.0, "nan": NAN}
LEVELS = {"zero": 0.0, "one": 1.0, "above one": 1.5, "negative": -0.1, "nan": NAN}
WINDOWS = {"outside": OUTSIDE, "everything": Window(2800.0, 5200.0, 2000.0, 6000.0)}
FOUR_REGIONS = {
    "missing": {"A": 1, "B": 2, "C": 3},
    "unknown": {**REGIONS, "E": 1},
    "negative": {**REGIONS, "B": -1},
    "nan": {**REGIONS, "B": NAN},
}


def renamed(name, **more):
    """The bad input of `FITTED` with the spectrum under another name, and more."""
    fitted = {key: value for key, value in FITTED.items() if key != "spectrum"}
    return {name: FITTED["spectrum"], **fitted, **more}


# function: (good arguments, bad values of each argument)
DIJET = {"function": "dijet3"}
TABLE = {
    "fit_background": ({"spectrum": SPECTRUM, **DIJET}, {**FITTED, "window": WINDOWS, "errors": {"unknown": "best"}}),
    "local_p_value": ({"spectrum": SPECTRUM, "window": WINDOW, **DIJET}, {**FITTED, "window": WINDOWS}),
    "local_p_values": (
        {"counts": [COUNTS] * 2, "edges": EDGES, "window": WINDOW, **DIJET},
        {
            "counts": {
                "no spectra": np.zeros((0, 30)),
                **{name: bad[0] for name, bad in BAD_SPECTRA.items() if "count" in name},
            },
            "edges": BAD_EDGES,
            "window": {"outside": OUTSIDE},
        },
    ),
    "fit_batch": (
        {"counts": COUNTS, "design": DESIGN},
        {
            "counts": {name: bad[0] for name, bad in BAD_SPECTRA.items() if "count" in name},
            "mask": {"wrong length": np.ones(5, dtype=bool)},
            "signal": {name: bad for name, bad in BAD_TEMPLATES.items() if name != "zero"},
            "scale": {"negative": -np.ones(30), "nan": np.full(30, NAN), "wrong length": np.ones(4)},
            "starts": {
                "beyond": [0, 99],
                "negative": [-1],
                "unsorted": [0, 9, 4],
                "repeated": [0, 4, 4],
                "empty": [],
                "not from 0": [3, 9],
                "fractions": [0.0, 4.5],
            },
            "theta": {"wrong shape": np.zeros((1, 7))},
            "backend": {"unknown": "abacus"},
        },
    ),
    "toy_study": (
        {"spectrum": SPECTRUM, "windows": [WINDOW], **DIJET, "toys": 5},
        {**FITTED, "toys": TOYS, "seed": SEEDS, "windows": {"outside": [OUTSIDE]}},
    ),
    "toy_goodness": ({"fit": FIT, "toys": 5}, {"toys": TOYS, "seed": SEEDS}),
    "global_p_value": (
        {"fit": FIT, "windows": [WINDOW], "local_significance": 1.0, "toys": 5},
        {"windows": {"none": [], "outside": [OUTSIDE]}, "toys": TOYS, "seed": SEEDS},
    ),
    "bump_hunter": (
        {"spectrum": SPECTRUM, **DIJET, "toys": 5},
        {
            **FITTED,
            "background": {"negative": -COUNTS, "nan": put(COUNTS, 3, NAN), "wrong length": COUNTS[:-1]},
            "min_bins": {"zero": 0, "too many": 99},
            "step": {"zero": 0},
            "toys": {"negative": -3, "a fraction": 2.5},
            "seed": SEEDS,
        },
    ),
    "bump_power": (
        {"spectrum": SPECTRUM, "signal": TEMPLATE, "strengths": [1.0], **DIJET, "toys": 800, "experiments": 5},
        {
            **FITTED,
            "signal": BAD_TEMPLATES,
            "strengths": {"none": [], "negative": [-1.0], "nan": [NAN]},
            "experiments": TOYS,
            "toys": TOYS,
            "seed": SEEDS,
        },
    ),
    "significance_scan": (
        {"spectrum": SPECTRUM, "masses": [3500.0], **DIJET},
        {
            **FITTED,
            "spectrum": {**FITTED["spectrum"], **EMPTY},
            "masses": {"none": [], "nan": [NAN], "negative": [-3500.0], "zero": [0.0], "outside": [9000.0]},
            "widths": {"none": [], "zero": [0.0], "negative": [-0.1], "nan": [NAN]},
        },
    ),
    "toy_significances": ({"scan": SCAN, "toys": 3}, {"toys": TOYS, "seed": SEEDS}),
    "combine_folds": (
        {"spectra": [SPECTRUM] * 2, "template": TEMPLATE, **DIJET},
        {
            "spectra": {"none": [], **{name: [SPECTRUM, bad] for name, bad in {**BAD_SPECTRA, **EMPTY}.items()}},
            "template": BAD_TEMPLATES,
            "shares": {"negative": [-1.0, 2.0], "nan": [NAN, 1.0], "too few": [1.0]},
        },
    ),
    "combine_p_values": (
        {"p_values": [0.1, 0.2]},
        {
            "p_values": {"none": [], "negative": [-0.1], "above one": [1.1], "nan": [NAN]},
            "method": {"unknown": "best"},
            "weights": {"too few": [1.0], "negative": [-1.0, 1.0], "nan": [NAN, 1.0]},
        },
    ),
    "f_test_toys": (
        {"spectrum": SPECTRUM, "small": "dijet2", "large": "dijet3", "toys": 5},
        {
            "spectrum": FITTED["spectrum"],
            "small": FITTED["function"],
            "large": {**FITTED["function"], "the same": "dijet2"},
            "toys": TOYS,
            "seed": SEEDS,
        },
    ),
    "choose_function": (
        {"spectrum": SPECTRUM},
        {"spectrum": FITTED["spectrum"], "candidates": {"none": [], "unknown": ["x"]}, "toys": {"a fraction": 2.5}},
    ),
    "spurious_signal": (
        {"template": SPECTRUM, "signals": SIGNALS, **DIJET},
        renamed(
            "template",
            signals=BAD_SIGNALS,
            variances={"negative": -COUNTS, "nan": COUNTS * NAN},
            tolerance={**NEGATIVE, "infinite": INF},
            expected={"negative": {3500.0: -1.0}, "nan": {3500.0: NAN}},
        ),
    ),
    "signal_injection": (
        {"background": SPECTRUM, "signals": SIGNALS, **DIJET, "toys": 5},
        {
            **renamed("background", signals=BAD_SIGNALS, toys=TOYS, seed=SEEDS),
            "background": {**FITTED["spectrum"], **EMPTY},
            "strengths": {"none": [], "negative": [-1.0], "nan": [NAN]},
        },
    ),
    "choose_by_spurious_signal": (
        {"template": SPECTRUM, "signals": SIGNALS, "functions": ["dijet3"]},
        {"signals": BAD_SIGNALS, "tolerance": NEGATIVE, "expected": {"negative": {3500.0: -1.0}}},
    ),
    "profile_envelope": (
        {"spectrum": SPECTRUM, "signal": TEMPLATE, "functions": ["dijet2", "dijet3"]},
        {
            "spectrum": BAD_SPECTRA,
            "signal": BAD_TEMPLATES,
            "functions": {"none": []},
            "penalty": NEGATIVE,
            "strengths": {"none": [], "nan": [NAN, 1.0], "infinite": [INF]},
        },
    ),
    "envelope_toys": (
        {"background": SPECTRUM, "signal": TEMPLATE, "functions": ["dijet2", "dijet3"], "toys": 5},
        {
            "background": BAD_SPECTRA,
            "signal": BAD_TEMPLATES,
            "functions": {"none": []},
            "toys": TOYS,
            "seed": SEEDS,
            "strength": {**NEGATIVE, "infinite": INF},
        },
    ),
    "sliding_fit": (
        {"spectrum": SPECTRUM, **DIJET},
        {**FITTED, "window": WINDOWS, "half_widths": {"none": [], "zero": [0], "negative": [-4]}},
    ),
    "sliding_scan": (
        {"fit": SLIDING, "signals": SIGNALS},
        {"signals": BAD_SIGNALS, "toys": {"negative": -1, "a fraction": 2.5}},
    ),
    "sliding_toys": ({"fit": SLIDING, "toys": 5}, {"toys": TOYS, "seed": SEEDS}),
    "sliding_bump_hunter": (
        {"fit": SLIDING, "toys": 5},
        {"toys": {"negative": -3}, "seed": SEEDS, "min_bins": {"zero": 0}},
    ),
    "compare_with_one_fit": (
        {"fit": SLIDING, "toys": 5},
        {"toys": TOYS, "seed": SEEDS, "function": {"unknown": "x"}},
    ),
    "upper_limit": (
        {"spectrum": SPECTRUM, "signal": TEMPLATE, **DIJET, "check": False},
        {
            **FITTED,
            "signal": BAD_TEMPLATES,
            "signal_uncertainty": NEGATIVE,
            "luminosity": NOT_POSITIVE,
            "unit": {"unknown": "xb"},
            "cl": LEVELS,
            "method": {"unknown": "guess"},
        },
    ),
    "toy_upper_limit": (
        {"spectrum": SPECTRUM, "signal": TEMPLATE, **DIJET, "toys": 50},
        {"spectrum": TOO_SHORT, "signal": BAD_TEMPLATES, "toys": FEW, "cl": LEVELS},
    ),
    "combined_limit": (
        {"channels": [Channel.build("", FIT, TEMPLATE)], "check": False},
        {"channels": {"none": [], "one name twice": [Channel.build("", FIT, TEMPLATE)] * 2}, "cl": LEVELS},
    ),
    "build_workspace": (
        {"fit": FIT, "signal": TEMPLATE},
        {"signal": BAD_TEMPLATES, "signal_uncertainty": NEGATIVE, "counts": {"wrong length": COUNTS[:-1]}},
    ),
    "toy_cls": (
        {"fit": FIT, "signal": TEMPLATE, "strength": 1.0, "toys": 50},
        {"signal": BAD_TEMPLATES, "strength": {"zero": 0.0, **NEGATIVE}, "toys": FEW},
    ),
    "abcd_estimate": ({"counts": REGIONS}, {"counts": FOUR_REGIONS, "closure": NEGATIVE}),
    "abcd_limit": (
        {"counts": REGIONS, "signal": {"A": 10.0}, "check": False},
        {
            "counts": FOUR_REGIONS,
            "signal": {"none": {}, "negative": {"A": -1.0}, "nan": {"A": NAN}, "unknown": {"Q": 1.0}},
            "cl": LEVELS,
        },
    ),
    "as_counts": ({"spectrum": SPECTRUM}, {"spectrum": BAD_SPECTRA}),
    "make_spectrum": (
        {"mass": [3000.0, 3100.0], "edges": EDGES},
        {
            "mass": {"nan": [NAN], "infinite": [INF]},
            "edges": {name: bad for name, bad in BAD_EDGES.items() if "many" not in name},
            "weight": {"too few": [1.0], "nan": [NAN, 1.0]},
        },
    ),
    "log_edges": (
        {"low": 1000.0, "high": 2000.0, "bins": 5},
        {"low": NOT_POSITIVE, "high": {"below": 500.0, "nan": NAN, "infinite": INF}, "bins": TOYS},
    ),
    "sliding_windows": (
        {"edges": EDGES},
        {
            "edges": {"too few": EDGES[:5], **{k: v for k, v in BAD_EDGES.items() if "many" not in k}},
            "sr_bins": {"zero": 0, "too many": 99},
            "step": {"zero": 0},
        },
    ),
    "Window": (
        {"low": 3000.0, "high": 3100.0, "sb_low": 2900.0, "sb_high": 3200.0},
        {"low": {"nan": NAN, "above": 4000.0}, "high": {"nan": NAN, "infinite": INF}, "sb_low": {"above": 3050.0}},
    ),
    "gaussian_template": (
        {"mass": 3500.0, "width": 100.0, "edges": EDGES},
        {"mass": {**NOT_POSITIVE, "outside": 99999.0}, "width": NOT_POSITIVE, "yield_": NEGATIVE},
    ),
    "GaussianShape": ({"mass": 3500.0, "width": 100.0}, {"mass": NOT_POSITIVE, "width": NOT_POSITIVE}),
    "BreitWignerShape": ({"mass": 3500.0, "width": 100.0}, {"width": NOT_POSITIVE, "resolution": NEGATIVE}),
    "CrystalBallShape": (
        dict(mass=3500.0, width=100.0, alpha_low=1.0, n_low=2.0, alpha_high=1.0, n_high=2.0),  # noqa: C408
        {"width": NOT_POSITIVE, "alpha_low": NOT_POSITIVE, "n_high": {"one": 1.0, **NOT_POSITIVE}},
    ),
    "TemplateShape": (
        {"mass": 3500.0, "edges": EDGES, "counts": TEMPLATE},
        {"mass": NOT_POSITIVE, "edges": BAD_EDGES, "counts": BAD_TEMPLATES, "below": NEGATIVE},
    ),
    "fit_shape": (
        {"spectrum": (np.round(100.0 * TEMPLATE), EDGES), "kind": "gaussian"},
        {"spectrum": {**BAD_SPECTRA, **TOO_SHORT}, "kind": {"unknown": "x"}, "events": {"negative": -1.0}},
    ),
    "background_function": ({"name": "dijet3"}, {"name": FITTED["function"]}),
    "read_spectrum": ({"source": "tests/stats/data/atlas_37ifb_mjj.csv"}, {"source": {"missing": "nothing.csv"}}),
}
for _name in ("pearson_chi2", "cms_chi2", "neyman_chi2", "deviance", "deviance_chi2", "kolmogorov_smirnov"):
    _bad = {name: bad[0] for name, bad in BAD_SPECTRA.items() if "count" in name}
    _short = {"wrong length": COUNTS[:-1], "scalar": 3.0}
    TABLE[_name] = ({"counts": COUNTS, "expected": COUNTS + 1.0}, {"counts": {**_bad, **_short}, "expected": _short})
TABLE["poisson_interval"] = ({"counts": [0, 3]}, {"counts": {"negative": [-1.0], "nan": [NAN]}, "level": LEVELS})
TABLE["fit_batch with signal"] = (
    {"counts": [COUNTS] * 3, "design": DESIGN, "signal": TEMPLATE, "strength": [1.0, 2.0, 3.0]},
    {"strength": {"too few": [1.0, 2.0], "a table": np.ones((3, 3))}},
)
TABLE["Design.build"] = (
    {"function": "dijet3", "edges": EDGES},
    {
        "importance": {
            "nan": put(COUNTS, 3, NAN),
            "infinite": put(COUNTS, 3, INF),
            "negative": put(COUNTS, 3, -1.0),
            "wrong length": COUNTS[:-1],
            "a number": 1.0,
        },
        "edges": BAD_EDGES | {"one edge too many": EDGES[:1]},
    },
)
TABLE["on_off_p_value"] = (
    {"n_on": 10, "n_off": 20.5, "tau": 2.0},
    {"n_on": {**NEGATIVE, "infinite": INF}, "n_off": {**NEGATIVE, "infinite": INF}, "tau": NOT_POSITIVE},
)
TABLE["f_test"] = (
    {"deviance_small": 40.0, "deviance_large": 30.0, "added": 1, "ndf_large": 30},
    {"deviance_small": {"negative": -1.0}, "deviance_large": {"negative": -1.0}, "added": {"zero": 0, "negative": -1}},
)
TABLE["upcrossings"] = (
    {"significance": FIELD, "level": 0.5},
    {"significance": {"nan": put(FIELD, (3, 4), NAN), "cube": FIELD[None]}, "level": {"nan": NAN}},
)
TABLE["euler_characteristic"] = (
    {"significance": FIELD[None], "level": 0.5},
    {
        "significance": {"nan": put(FIELD[None], (0, 3, 4), NAN), "plane": FIELD, "line": FIELD[0]},
        "level": {"nan": NAN},
    },
)
TABLE["gross_vitells"] = (
    {"significance": FIELD, "local_significance": 2.0},
    {
        "significance": {"all nan": FIELD * NAN, "line": FIELD[0]},
        "local_significance": {"nan": NAN, "infinite": INF},
        "levels": {"far": (50.0,), "nan": (NAN,), "two": (0.5, 1.5), "none": ()},
    },
)
TABLE["covariance_table"] = (
    {"names": ["a"], "covariance": [[1.0]]},
    {"covariance": {"nan": [[NAN]], "infinite": [[INF]], "wrong shape": [[1.0, 0.0]]}},
)
FOLDER, FILE = "tests/stats", "pyproject.toml"
TABLE["read_result"] = ({}, {"path": {"folder": FOLDER, "below a file": f"{FILE}/x.json", "missing": "nothing.json"}})
for _name, _content in (
    ("write_result", {"result": FIT}),
    ("write_csv", {"spectrum": SPECTRUM}),
    ("write_root", {"histograms": {"mjj": SPECTRUM}}),
):
    TABLE[_name] = (_content, {"path": {"folder": FOLDER, "below a file": f"{FILE}/x"}})
TABLE["write_hepdata"] = ({"results": FIT}, {"folder": {"file": FILE, "below a file": f"{FILE}/x"}})
NO_GOOD = {"read_spectrum", "toy_upper_limit", "bump_power", "read_result"}
NO_GOOD |= {"write_result", "write_csv", "write_root", "write_hepdata"}
CASES = [
    pytest.param(name, argument, bad, id=f"{name}-{argument}-{label}".replace(" ", "_"))
    for name, (_, arguments) in TABLE.items()
    for argument, values in arguments.items()
    for label, bad in values.items()
]


def called(name):
    """The public function, or method, of an entry of the table."""
    return attrgetter(name.split(" ")[0])(package)


@pytest.mark.parametrize("name", [n for n in TABLE if n not in NO_GOOD])
def test_good_input_is_taken(name):
    """Otherwise the errors below could be about something else."""
    assert called(name)(**TABLE[name][0]) is not None


@pytest.mark.parametrize(("name", "argument", "bad"), CASES)
def test_bad_input_is_refused(name, argument, bad):
    with pytest.raises(ResonautError) as caught:
        called(name)(**{**TABLE[name][0], argument: bad})
    assert len(str(caught.value)) > 15


@pytest.mark.parametrize("bad", [{}, [], None, "fit"])
def test_no_table_of_something_else(bad):
    with pytest.raises(InputError, match="no HEPData table for"):
        package.hepdata_tables(bad)


def test_no_events_in_the_fitted_range():
    """Events elsewhere do not count."""
    counts = np.where(np.arange(30) < 5, 100.0, 0.0)
    with pytest.raises(InputError, match="no events in the fitted range"):
        significance_scan((counts, EDGES), [4000.0], function="dijet3", fit_range=(3300.0, 5200.0))


def test_seeds_of_numpy_are_taken():
    first = package.toy_goodness(FIT, toys=3, seed=np.int64(4))
    assert first == package.toy_goodness(FIT, toys=np.int32(3), seed=4)
