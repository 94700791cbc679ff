"""Templates made with flows against a toy whose density is known at every mass."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import chi2, ks_2samp, kstest, multivariate_normal

from resonaut.errors import ConfigError, InputError, ModelError
from resonaut.models import CrossFit, Sample, auc, load_scorer, make_scorer, save_scorer
from resonaut.models.sample import FloatArray
from resonaut.models.templates import BackgroundTemplate, make_template
from resonaut.models.templates.regions import sideband_range
from resonaut.stats import Window

WINDOW = Window(3300.0, 3700.0, 3000.0, 4000.0)
NAMES = ("a", "b")
FLOW = {"layers": 2, "hidden": 24, "bins": 6, "epochs": 12, "batch_size": 400, "learning_rate": 8e-3}

TREES = {"members": 1, "max_iter": 40}
SIGNAL_MEAN, SIGNAL_WIDTH = np.array([1.8, -0.8]), 0.25


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _shape(mass: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean (n, 2) and Cholesky factor (n, 2, 2) of the background at each mass: both drift."""
    t = (mass - 3500.0) / 1000.0
    factor = np.zeros((len(mass), 2, 2))
    factor[:, 0, 0], factor[:, 1, 0], factor[:, 1, 1] = 1 + 0.4 * t, 0.6 * (1 - 0.3 * t), 0.8 * (1 - 0.3 * t)
    return np.stack([1.5 * t, -t], axis=1), factor


def _masses(events: int, rng: np.random.Generator) -> FloatArray:
    mass = 2800.0 + rng.exponential(500.0, 3 * events)
    return mass[mass < 4800.0][:events]


def background(events: int, seed: int, *, shift: float = 0.0, stretch: float = 1.0) -> Sample:
    """Two correlated Gaussians; simulation is shifted and stretched."""
    rng = np.random.default_rng(seed)
    mass = _masses(events, rng)
    mean, factor = _shape(mass)
    noise = stretch * rng.standard_normal((len(mass), 2)) + shift
    return Sample(mean + np.einsum("nij,nj->ni", factor, noise), NAMES, mass, label=np.zeros(len(mass)))


def true_log_prob(sample: Sample) -> FloatArray:
    mean, factor = _shape(sample.mass)
    noise = np.linalg.solve(factor, (sample.features - mean)[:, :, None])[:, :, 0]
    return -0.5 * (noise**2).sum(axis=1) - np.log(2 * np.pi * factor[:, 0, 0] * factor[:, 1, 1])


def with_signal(sample: Sample, events: int, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    features = rng.normal(SIGNAL_MEAN, SIGNAL_WIDTH, (events, 2))
    return Sample(
        np.concatenate([sample.features, features]),
        NAMES,
        np.concatenate([sample.mass, rng.normal(3500.0, 50.0, events)]),
        label=np.concatenate([sample.truth(), np.ones(events)]),
        simulation=sample.simulation,
    )


def inside(sample: Sample) -> Sample:
    return sample.take(WINDOW.in_signal_region(sample.mass))


def distances(sample: Sample, truth: Sample) -> FloatArray:
    """Kolmogorov-Smirnov statistic of each feature."""
    return np.array([ks_2samp(sample.features[:, k], truth.features[:, k]).statistic for k in range(2)])


@pytest.fixture(scope="module")
def data() -> Sample:
    return background(20_000, 1).with_simulation(background(20_000, 2, shift=0.3, stretch=1.2))


@pytest.fixture(scope="module")
def truth() -> Sample:
    return inside(background(1_000_000, 3))


def options_of(name: str, **changes: Any) -> dict[str, Any]:
    two_flows = {"transport": {**FLOW, **changes}} if name in {"curtains", "feta"} else {}
    return {"flow": {**FLOW, **changes}, "device": "cpu", **two_flows}


@pytest.fixture(scope="module")
def fitted(data: Sample) -> dict[str, BackgroundTemplate]:
    torch.set_num_threads(1)
    names = ("cathode", "curtains", "feta", "lacathode")
    return {name: make_template(name, features=NAMES, seed=5, **options_of(name)).fit(data, WINDOW) for name in names}


# Learnt from 15,000 events, compared with 200,000 true ones: the statistical floor of the distance is about 0.9 / sqrt(15,000) =
# 0.007 for a perfect interpolation; flows as small as these, trained for seconds, interpolate to 0.02.
@pytest.mark.parametrize("name", ["cathode", "curtains", "feta"])
def test_draws_follow_the_true_background(name: str, fitted: dict[str, BackgroundTemplate], truth: Sample) -> None:
    drawn = fitted[name].background(seed=7)
    assert distances(drawn, truth).max() < 0.035
    assert ks_2samp(drawn.mass, truth.mass).statistic < 0.015
    correlations = [np.corrcoef(sample.features.T)[0, 1] for sample in (drawn, truth)]
    assert correlations[0] == pytest.approx(correlations[1], abs=0.05)


def test_the_distances_tell_wrong_templates(data: Sample, truth: Sample) -> None:
    """What the methods improve on: neighbouring sidebands, and simulation as it is."""
    assert data.simulation is not None
    sidebands = data.take(WINDOW.in_sidebands(data.mass))
    assert distances(sidebands, truth).max() > 0.08
    assert distances(inside(data.simulation), truth).max() > 0.08


@pytest.mark.parametrize("name", ["cathode", "curtains", "feta", "lacathode"])
def test_weights_sum_to_the_yield(name: str, fitted: dict[str, BackgroundTemplate], data: Sample) -> None:
    template = fitted[name]
    drawn, (expected, error) = template.background(seed=7), template.yield_()
    observed = len(inside(data))
    assert drawn.weight.sum() == pytest.approx(expected)
    assert abs(expected - observed) < 4 * np.hypot(error, observed**0.5)
    assert len(drawn) == round(expected * (6 if name == "feta" else 4))
    assert WINDOW.in_signal_region(drawn.mass).all()
    assert template.facts()["yield"] == expected
    assert template.facts()["flows"][0]["epochs"] == FLOW["epochs"]


@pytest.mark.parametrize("name", ["cathode", "curtains", "feta"])
def test_no_event_of_the_signal_region_is_seen(name: str, data: Sample) -> None:
    """Other events in the signal region: the same template, bit for bit. Another seed: another one."""
    data = data.take(np.arange(4000))
    signal_region = WINDOW.in_signal_region(data.mass)
    changed = Sample(
        np.where(signal_region[:, None], 40.0, data.features),
        NAMES,
        np.where(signal_region, 3500.0, data.mass),
        simulation=data.simulation,
    ).take(~signal_region | (np.arange(len(data)) % 2 == 0))
    drawn = [
        make_template(name, features=NAMES, seed=seed, **options_of(name, epochs=1)).fit(events, WINDOW).background(3)
        for events, seed in ((data, 1), (changed, 1), (data, 2))
    ]
    assert np.array_equal(drawn[0].features, drawn[1].features)
    assert np.array_equal(drawn[0].mass, drawn[1].mass)
    assert not np.array_equal(drawn[0].features, drawn[2].features)


def test_log_prob_is_the_true_density(fitted: dict[str, BackgroundTemplate], truth: Sample) -> None:
    """Mean log ratio of the true density to the learnt one (a Kullback-Leibler divergence, so not below 0), at the right and a wrong mass."""
    events = truth.take(np.arange(20_000))
    elsewhere = Sample(events.features, NAMES, events.mass + 500.0)
    exact, learnt, wrong = true_log_prob(events), *map(fitted["cathode"].log_prob, (events, elsewhere))
    known = np.isfinite(learnt) & np.isfinite(wrong)
    assert known.mean() > 0.999
    assert -0.01 < np.mean((exact - learnt)[known]) < 0.03
    assert np.mean((exact - wrong)[known]) > 0.1


def test_flows_of_an_ensemble_share_the_draws(data: Sample) -> None:
    template = make_template("cathode", features=NAMES, ensemble=2, seed=1, **options_of("cathode", epochs=1))
    drawn = template.fit(data, WINDOW).background(3)
    events = drawn.take(np.arange(2000))
    parts = [flow.log_prob(events.features, events.mass[:, None]) for flow in template.members_]  # type: ignore[attr-defined]
    assert not np.array_equal(*parts)
    assert template.log_prob(events) == pytest.approx(np.log(0.5 * np.exp(parts[0]) + 0.5 * np.exp(parts[1])))
    assert len(template.facts()["flows"]) == 2


def test_latent_coordinates_are_gaussian_at_every_mass(
    fitted: dict[str, BackgroundTemplate], truth: Sample, data: Sample
) -> None:
    truth = truth.take(np.arange(20_000))
    represented = fitted["lacathode"].represent(truth)
    assert represented.names == ("z0", "z1")
    assert max(kstest(column, "norm").statistic for column in represented.features.T) < 0.035
    raw = (truth.features - data.features.mean(axis=0)) / data.features.std(axis=0)
    assert max(kstest(column, "norm").statistic for column in raw.T) > 0.05


@pytest.fixture(scope="module")
def searched(data: Sample) -> Sample:
    return with_signal(data, 200, 4)


def scorer_options(name: str) -> dict[str, Any]:
    template = {**options_of(name, epochs=5), "oversampling": 2.0}
    if name == "anode":
        return {"template": template, "features": NAMES}
    return {"template": template, "features": NAMES, "classifier": "trees", "classifier_options": TREES}


@pytest.fixture(scope="module")
def results(searched: Sample) -> dict[str, Any]:
    torch.set_num_threads(1)
    names = ("cathode", "lacathode", "curtains", "feta", "anode")
    return {name: CrossFit(name, seed=1, folds=2, **scorer_options(name)).fit_score(searched, WINDOW) for name in names}


@pytest.mark.parametrize("name", ["cathode", "lacathode", "curtains", "feta", "anode"])
def test_an_injected_signal_is_found(name: str, searched: Sample, results: dict[str, Any], tmp_path: Path) -> None:
    result = results[name]
    rows = WINDOW.in_signal_region(searched.mass)
    assert auc(searched.truth()[rows], result.scores[rows]) > 0.85
    held_out = result.scorer.scorers[0].held_out_
    assert held_out.weight.sum() == pytest.approx(len(inside(searched)) - 200, rel=0.06)
    save_scorer(result.scorer, tmp_path / "scorer")
    again = load_scorer(tmp_path / "scorer")
    some = searched.take(np.arange(500))
    assert np.array_equal(again.score(some), result.scorer.score(some))


def test_anode_is_the_likelihood_ratio(searched: Sample, results: dict[str, Any]) -> None:
    """Against the exact ratio of signal plus background to background, which no score can beat on average."""
    events = inside(searched)
    fraction = events.truth().mean()
    signal = multivariate_normal(SIGNAL_MEAN, SIGNAL_WIDTH**2).logpdf(events.features)
    # in the signal region the signal's masses are narrower than the background's: p_SR(x | m) has more of it near its peak
    near = np.exp(-0.5 * ((events.mass - 3500.0) / 50.0) ** 2) / (50.0 * np.sqrt(2 * np.pi)) * 400.0
    exact = np.log1p(fraction * near * np.exp(signal - true_log_prob(events)))
    found = results["anode"].scores[WINDOW.in_signal_region(searched.mass)]
    assert auc(events.truth(), exact) - auc(events.truth(), found) < 0.08
    rare = exact > 1.0
    assert rare.sum() > 100
    assert np.median(found[rare]) > 0.5
    assert abs(np.median(found[exact < 0.01])) < 0.1


def flatness(sample: Sample, selected: npt.NDArray[np.bool_]) -> float:
    """Probability (chi2) that the efficiency of a cut is the same at all masses."""
    edges = np.quantile(sample.mass, np.linspace(0, 1, 11))
    everything, kept = (np.histogram(sample.mass[rows], edges)[0] for rows in (slice(None), selected))
    efficiency = kept.sum() / everything.sum()
    terms = (kept - efficiency * everything) ** 2 / (efficiency * (1 - efficiency) * everything)
    return float(chi2.sf(terms.sum(), len(terms) - 1))


def test_lacathode_sculpts_no_bump_where_cwola_does(data: Sample) -> None:
    """Pure background whose features drift with the mass: half a width from sideband to sideband."""
    found = {}
    for name in ("lacathode", "cwola"):
        template = options_of(name) if name == "lacathode" else {}
        options = {**scorer_options("cathode"), "template": template}
        result = CrossFit(name, seed=2, folds=2, **options).fit_score(data, WINDOW)
        found[name] = flatness(data, result.select((0.1,))[0.1])
    assert found["lacathode"] > 1e-3
    assert found["cwola"] < 1e-10


def test_events_outside_both_densities_score_zero(
    searched: Sample, results: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    scorer = results["anode"].scorer.scorers[0]
    far = Sample(np.array([[500.0, 500.0], [0.5, 0.5]]), NAMES, np.array([3500.0, 2000.0]))
    with caplog.at_level(logging.WARNING):
        scores = scorer.score(far)
    assert scores[0] == 0
    assert "1 of 2" in caplog.text
    # below the signal region the ratio is that of its lower edge
    edge = Sample(far.features[1:], NAMES, np.array([WINDOW.low]))
    assert np.isfinite(scores[1])
    assert scores[1] == scorer.score(edge)[0]
    assert np.isfinite(results["anode"].scores).all()


@pytest.mark.parametrize("name", ["cathode", "curtains", "feta", "lacathode"])
def test_too_few_sideband_events_are_an_error(name: str, data: Sample) -> None:
    few = data.take(WINDOW.in_signal_region(data.mass) | (data.mass < WINDOW.low))
    few = Sample(
        np.concatenate([few.features, np.zeros((40, 2))]),
        NAMES,
        np.concatenate([few.mass, np.linspace(3710, 4500, 40)]),
        simulation=data.simulation,
    )
    with pytest.raises(InputError, match="40 events above the signal region"):
        make_template(name, features=NAMES, **options_of(name)).fit(few, WINDOW)


def test_feta_asks_for_simulation(data: Sample) -> None:
    template = make_template("feta", features=NAMES, **options_of("feta"))
    assert template.uses_simulation
    with pytest.raises(InputError, match="feta"):
        template.fit(data.with_simulation(None), WINDOW)
    assert data.simulation is not None
    gap = data.simulation.take(~WINDOW.in_signal_region(data.simulation.mass))
    with pytest.raises(InputError, match="0 of them in the signal region"):
        template.fit(data.with_simulation(gap), WINDOW)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cathode", {"template": {"flow": {"layer": 3}}}, "layers"),
        ("feta", {"template": {"transport": {"epoch": 3}}}, "epochs"),
        ("anode", {"flow": {"bin": 3}}, "bins"),
        ("anode", {"template": {"seed": 3}}, "seed"),
        ("cathode", {"template": {"sidebands": "far"}}, "sidebands"),
        ("curtains", {"template": {"sidebands": [5000.0, 3000.0]}}, "sidebands"),
        ("lacathode", {"template": {"ensemble": 2}}, "ensemble"),
        ("cathode", {"template": {"oversampling": 0}}, "oversampling"),
        ("cathode", {"template": {"ensemble": 0}}, "ensemble"),
    ],
)
def test_wrong_options_are_told_before_the_training(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_scorer(name, **options)


def test_sidebands_by_name_and_range() -> None:
    window = Window(3300.0, 3700.0, 3000.0, 4000.0)
    assert sideband_range(window, "near") == pytest.approx((2706.0, 4514.0))
    assert sideband_range(window, (2500.0, 5500.0)) == (2500.0, 5500.0)
    assert make_template("curtains").options["sidebands"] == "near"
    assert make_template("cathode").options["sidebands"] == "all"


def test_a_template_says_when_it_is_not_fitted() -> None:
    sample = background(10, 1)
    for name in ("cathode", "lacathode"):
        with pytest.raises(ModelError, match="fitted"):
            make_template(name, features=NAMES).log_prob(sample)
    with pytest.raises(ModelError, match="not fitted"):
        make_template("lacathode", features=NAMES).represent(sample)
