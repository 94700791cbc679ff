"""Background templates against densities known in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import ks_2samp, kstest, norm

from resonaut.errors import ConfigError, InputError
from resonaut.models import Sample, auc, make_scorer
from resonaut.models.templates import (
    MassModel,
    SaladTemplate,
    make_template,
)
from resonaut.models.templates.reweight import follow_model, match_masses
from resonaut.stats import Window

WINDOW = Window(3300.0, 3700.0, 3000.0, 4000.0)
RANGE = (2800.0, 5000.0)
NAMES = ("x", "y")
FAST = {"members": 1, "max_iter": 80}


def spectrum(mass: Any) -> Any:
    """Member of the fitted family: p(m) ~ (1 - m / 13 TeV)^8 m^-5."""
    return (1 - mass / 13000.0) ** 8 * (mass / 3000.0) ** -5.0


def draw_masses(events: int, rng: np.random.Generator) -> np.ndarray:
    grid = np.linspace(*RANGE, 5000)
    rungs = np.concatenate([[0.0], np.cumsum(spectrum(0.5 * (grid[1:] + grid[:-1])))])
    return np.interp(rng.random(events) * rungs[-1], rungs, grid)


def drift(mass: np.ndarray) -> np.ndarray:
    """Mean of x: 0 at 3.5 TeV, one standard deviation per 700 GeV."""
    return (mass - 3500.0) / 700.0


def data_events(events: int, seed: int, signal: int = 0) -> Sample:
    """x drifts with the mass, y does not; signal sits at x = 2.5, y = 0.9 and 3.5 TeV."""
    rng = np.random.default_rng(seed)
    mass = np.concatenate([draw_masses(events, rng), rng.normal(3500.0, 80.0, signal)])
    label = np.arange(events + signal) >= events
    x = rng.normal(np.where(label, 2.5, drift(mass)), np.where(label, 0.3, 1.0))
    y = np.where(label, rng.normal(0.9, 0.05, len(mass)), rng.uniform(0.0, 1.0, len(mass)))
    return Sample(np.column_stack([x, y]), NAMES, mass, label=label)


def simulated_events(events: int, seed: int) -> Sample:
    """As the data's background, but with x shifted by 0.4, spread by 10 % and a mass spectrum of its own."""
    rng = np.random.default_rng(seed)
    mass = rng.uniform(*RANGE, events)
    x = rng.normal(drift(mass) - 0.4, 1.1)
    return Sample(np.column_stack([x, rng.uniform(0.0, 1.0, events)]), NAMES, mass)


def inside(sample: Sample) -> Sample:
    return sample.take(WINDOW.in_signal_region(sample.mass))


# The mass spectrum of the signal region.


def test_the_yield_of_the_sideband_fit_scatters_about_the_truth_as_its_error_says() -> None:
    expected = 20_000 * quad(spectrum, 3300.0, 3700.0)[0] / quad(spectrum, *RANGE)[0]
    pulls = []
    for seed in range(40):
        mass = draw_masses(np.random.default_rng(seed).poisson(20_000), np.random.default_rng(1000 + seed))
        model = MassModel.fit(Sample(mass[:, None], ("x",), mass), WINDOW, RANGE)
        pulls.append((model.total - expected) / model.error)
    assert abs(np.mean(pulls)) < 4 / 40**0.5
    assert 0.65 < np.std(pulls) < 1.4  # 40 pulls: standard deviation 0.11


def test_masses_are_drawn_from_the_interpolated_spectrum() -> None:
    mass = draw_masses(400_000, np.random.default_rng(2))
    model = MassModel.fit(Sample(mass[:, None], ("x",), mass), WINDOW, RANGE)
    drawn = model.draw(10_000, seed=3)
    whole = quad(spectrum, 3300.0, 3700.0)[0]
    grid = np.linspace(3300.0, 3700.0, 200)
    rungs = np.array([quad(spectrum, 3300.0, m)[0] / whole for m in grid])
    assert kstest(drawn, lambda m: np.interp(m, grid, rungs)).pvalue > 1e-3
    assert kstest(drawn, lambda m: (m - 3300.0) / 400.0).pvalue < 1e-12  # and not just from anything
    np.testing.assert_array_equal(drawn, model.draw(10_000, seed=3))


def test_weights_count_in_the_yield() -> None:
    sample = data_events(20_000, 4)
    once = MassModel.fit(sample, WINDOW, RANGE)
    twice = MassModel.fit(Sample(sample.features, NAMES, sample.mass, np.full(len(sample), 2.0)), WINDOW, RANGE)
    assert twice.total == pytest.approx(2 * once.total, rel=1e-3)
    assert twice.error == pytest.approx(2 * once.error, rel=0.05)


def test_a_range_that_does_not_surround_the_signal_region_is_refused() -> None:
    sample = data_events(2000, 5)
    for bad in ((3400.0, 5000.0), (2800.0, 3600.0)):
        with pytest.raises(InputError, match="do not reach beyond both ends of the signal region"):
            MassModel.fit(sample, WINDOW, bad)
    with pytest.raises(InputError, match="do not reach beyond both ends"):
        MassModel.fit(inside(sample), WINDOW)


def test_a_side_with_too_few_events_is_refused() -> None:
    sample = data_events(2000, 5)
    few = sample.take((sample.mass < 3700.0) | (np.cumsum(sample.mass >= 3700.0) < 10))
    with pytest.raises(InputError, match=r"9 events above the signal region .*: too few to fit"):
        MassModel.fit(few, WINDOW, RANGE)


# Weights: masses by bins.


def test_masses_of_simulation_follow_the_data_on_each_side() -> None:
    data, simulation = data_events(20_000, 6), simulated_events(20_000, 7)
    outside = [part.take(~WINDOW.in_signal_region(part.mass)) for part in (simulation, data)]
    matched = match_masses(*outside, WINDOW)
    edges = np.linspace(*RANGE, 12)
    edges = edges[(edges < 3300.0) | (edges > 3700.0)]
    content = [np.histogram(part.mass, edges, weights=part.weight)[0] for part in (matched, outside[1])]
    assert np.all(abs(content[0] - content[1]) < 4 * np.sqrt(content[1]))
    assert matched.weight.sum() == pytest.approx(len(outside[1]), rel=1e-3)
    with pytest.raises(InputError, match="above the signal region"):
        match_masses(outside[0].take(outside[0].mass < 3300.0), outside[1], WINDOW)


def test_simulation_of_the_signal_region_follows_the_sideband_fit() -> None:
    data, simulation = data_events(50_000, 8), inside(simulated_events(20_000, 9))
    model = MassModel.fit(data, WINDOW, RANGE)
    weighted = follow_model(simulation, model)
    assert weighted.weight.sum() == pytest.approx(model.total)
    rungs = np.concatenate([[0.0], np.cumsum(model.content)]) / model.total
    order = np.argsort(weighted.mass)
    cdf = np.cumsum(weighted.weight[order]) / model.total
    assert np.max(abs(cdf - np.interp(weighted.mass[order], model.edges, rungs))) < 0.012  # 18 bins
    with pytest.raises(InputError, match="no simulated events in the signal region"):
        follow_model(simulation.take(np.zeros(len(simulation), bool)), model)


# SALAD.


@pytest.fixture(scope="module")
def salad() -> SaladTemplate:
    sample = data_events(40_000, 10).with_simulation(simulated_events(40_000, 11))
    options = {"members": 2, "epochs": 8, "batch_size": 512, "learning_rate": 2e-3}
    return SaladTemplate(NAMES, mass_range=RANGE, classifier_options=options, seed=12).fit(sample, WINDOW)


def test_salad_finds_the_ratio_of_densities(salad: SaladTemplate) -> None:
    """p_data(x | m) / p_sim(x | m) of two Gaussians, up to a factor that depends on the mass alone."""
    events = salad.background(0)
    x, centre = events.features[:, 0], drift(events.mass)
    exact = norm.logpdf(x, centre, 1.0) - norm.logpdf(x, centre - 0.4, 1.1)
    masses = follow_model(Sample(events.features, NAMES, events.mass), salad.mass_model).weight
    found = np.log(events.weight / masses)
    bulk = abs(x - centre) < 2.0
    assert np.std((found - exact)[bulk]) < 0.12
    assert np.corrcoef(found[bulk], exact[bulk])[0, 1] > 0.95


def test_salad_makes_background_of_the_signal_region(salad: SaladTemplate) -> None:
    events = salad.background(0)
    truth = inside(data_events(60_000, 13))
    raw = inside(simulated_events(40_000, 11))
    assert events.weight.sum() == pytest.approx(salad.yield_()[0])
    assert np.all(WINDOW.in_signal_region(events.mass))
    drawn = np.random.default_rng(14).choice(len(events), 5000, p=events.weight / events.weight.sum())
    for column in range(2):
        assert ks_2samp(events.features[drawn, column], truth.features[:, column]).pvalue > 1e-3
    assert ks_2samp(events.mass[drawn], truth.mass).pvalue > 1e-3
    assert ks_2samp(raw.features[:, 0], truth.features[:, 0]).pvalue < 1e-12


def test_salad_says_how_good_its_weights_are(salad: SaladTemplate) -> None:
    facts = salad.facts()
    assert facts["effective_events"] < facts["events"] == len(salad.background(0))
    assert facts["mean_weight"] == pytest.approx(1.0, abs=0.05)
    assert facts["clipped"] == 0
    sample, simulation = data_events(4000, 15), simulated_events(4000, 16)
    narrow = simulation.take(simulation.features[:, 0] < 0.5)  # most data lie where there is no simulation
    template = SaladTemplate(NAMES, mass_range=RANGE, classifier="trees", classifier_options=FAST, largest_weight=1.5)
    facts = template.fit(sample.with_simulation(narrow), WINDOW).facts()
    outside = sample.take(~WINDOW.in_signal_region(sample.mass))
    assert facts["outside_support"] == pytest.approx(np.mean(outside.features[:, 0] > 0.5), abs=0.01)
    assert facts["clipped"] > 0


def test_salad_needs_simulation_on_both_sides_and_inside() -> None:
    sample, simulation = data_events(3000, 17), simulated_events(3000, 18)
    template = SaladTemplate(NAMES, mass_range=RANGE, classifier="trees", classifier_options=FAST)
    with pytest.raises(InputError, match="learns from simulated background and there is none"):
        template.fit(sample, WINDOW)
    for part, message in (
        (simulation.mass < 3700.0, "events above the signal region"),
        (~WINDOW.in_signal_region(simulation.mass), "no simulated events in the signal region"),
    ):
        with pytest.raises(InputError, match=message):
            template.fit(sample.with_simulation(simulation.take(part)), WINDOW)
    with pytest.raises(ConfigError, match="largest_weight"):
        SaladTemplate(largest_weight=1.0)


# CWoLa with simulation: x depends on the mass so that balanced sidebands do not cancel it.


def bent(sample: Sample, shape: float = 1.0) -> Sample:
    """x of background becomes larger inside the signal region than on both sides; y follows y^shape."""
    near = np.exp(-0.5 * ((sample.mass - 3500.0) / 250.0) ** 2)
    x = (
        sample.features[:, 0] + np.where(sample.label == 1, 0.0, 1.2 * near)
        if sample.label is not None
        else (sample.features[:, 0] + 1.2 * near)
    )
    return Sample(np.column_stack([x, sample.features[:, 1] ** shape]), NAMES, sample.mass, label=sample.label)


def mass_dependence(scorer: Any, background: Sample) -> float:
    """AUC of signal region against sidebands for background: 0.5 where the score knows nothing of the mass."""
    used = background.take((background.mass > WINDOW.sb_low) & (background.mass < WINDOW.sb_high))
    return float(auc(WINDOW.in_signal_region(used.mass), scorer.score(used)))


@pytest.fixture(scope="module")
def assisted() -> dict[str, tuple[float, float]]:
    """For each method: dependence of its score on the mass, and AUC of the signal."""
    data, simulation = bent(data_events(30_000, 20, signal=500)), data_events(60_000, 21)
    simulation = bent(Sample(simulation.features, NAMES, simulation.mass))
    sample, fresh = data.with_simulation(simulation), bent(data_events(30_000, 22, signal=2000))
    found = {}
    for name in ("cwola", "sa-cwola", "sidebands-transfer"):
        options = {"template": {"mass_range": RANGE}, "classifier_options": {"members": 2, "max_iter": 80}}
        scorer = make_scorer(name, features=NAMES, seed=1, **options).fit(sample, WINDOW)
        region = inside(fresh)
        quality = float(auc(region.truth(), scorer.score(region)))
        found[name] = (mass_dependence(scorer, fresh.take(fresh.label == 0)), quality)
    return found


def test_cwola_learns_the_mass_where_features_know_it(assisted: Mapping[str, tuple[float, float]]) -> None:
    assert assisted["cwola"][0] > 0.58


@pytest.mark.parametrize("name", ["sa-cwola", "sidebands-transfer"])
def test_simulation_takes_the_mass_out_and_leaves_the_signal(
    assisted: Mapping[str, tuple[float, float]], name: str
) -> None:
    dependence, quality = assisted[name]
    assert abs(dependence - 0.5) < (
        0.03 if name == "sa-cwola" else 0.06
    )  # a template's score may know x, and x the mass
    assert quality > 0.8


@pytest.mark.parametrize(("strength", "rest"), [(1.0, 1.0), (3.0, None)])
def test_the_optimum_of_sa_cwola(strength: float, rest: float | None) -> None:
    """Ratio of the two training samples in bins of x, against (r + lambda) / (1 + lambda r): 1 where lambda is."""
    data, simulation = bent(data_events(300_000, 23)), data_events(300_000, 24)
    simulation = bent(Sample(simulation.features, NAMES, simulation.mass))
    sample = data.with_simulation(simulation)
    template = make_template("sa-cwola", features=NAMES, mass_range=RANGE, strength=strength).fit(sample, WINDOW)
    edges = np.linspace(-1.0, 2.0, 7)

    def density(*parts: Sample | None) -> np.ndarray:
        given = [part for part in parts if part is not None]
        x = np.concatenate([part.features[:, 0] for part in given])
        weight = np.concatenate([part.weight for part in given])
        return np.histogram(x, edges, weights=weight)[0] / weight.sum()

    signal_region, companions, background = inside(data), template.companions(0), template.background(0)
    assert companions.weight.sum() == pytest.approx(strength)  # relative to the data
    beside = Sample(companions.features, NAMES, companions.mass, companions.weight * len(signal_region))
    ratio = density(signal_region, beside) / density(background)
    plain = make_template("sidebands", features=NAMES, mass_range=RANGE).fit(sample, WINDOW).background(0)
    r = density(signal_region) / density(plain)
    assert np.ptp(r) > 0.5
    np.testing.assert_allclose(ratio, (r + strength) / (1 + strength * r), atol=0.06)
    if rest is not None:
        np.testing.assert_allclose(ratio, rest, atol=0.06)
    assert background.weight.sum() == pytest.approx(template.yield_()[0])


def test_transferred_sidebands_forgive_simulation_what_does_not_depend_on_the_mass() -> None:
    data, simulation = bent(data_events(60_000, 25)), data_events(60_000, 26)
    simulation = bent(Sample(simulation.features, NAMES, simulation.mass), shape=1.5)
    sample = data.with_simulation(simulation)
    template = make_template(
        "sidebands-transfer", features=NAMES, mass_range=RANGE, classifier_options={"members": 2}, seed=1
    )
    events = template.fit(sample, WINDOW).background(0)
    drawn = np.random.default_rng(27).choice(len(events), 5000, p=events.weight / events.weight.sum())
    truth = inside(bent(data_events(60_000, 28)))
    for column in range(2):
        assert ks_2samp(events.features[drawn, column], truth.features[:, column]).pvalue > 1e-3
    assert ks_2samp(simulation.features[:, 1], truth.features[:, 1]).pvalue < 1e-12
    assert template.facts()["mean_weight"] == pytest.approx(1.0, abs=0.05)


def test_assisted_methods_need_simulation_in_all_regions() -> None:
    sample, simulation = data_events(3000, 29), simulated_events(3000, 30)
    for name in ("sa-cwola", "sidebands-transfer"):
        template = make_template(name, features=NAMES, mass_range=RANGE)
        with pytest.raises(InputError, match="there is none"):
            template.fit(sample, WINDOW)
        with pytest.raises(InputError, match="no events in the upper sideband"):
            template.fit(sample.with_simulation(simulation.take(simulation.mass < 3700.0)), WINDOW)
