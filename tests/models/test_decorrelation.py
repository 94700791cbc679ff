"""Decorrelation against brute force, known values and derivatives; then what it is for: a cut that does not bend the mass."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from resonaut.errors import ConfigError, InputError
from resonaut.models import CWoLaNetwork, Sample, auc, make_scorer
from resonaut.models.classifiers import NetworkClassifier, make_classifier
from resonaut.models.decorrelation import (
    Decorrelation,
    Penalty,
    distance_correlation,
    moment_decomposition,
    quantile_edges,
)
from resonaut.models.stack import Layer, StackedMLP
from resonaut.models.training import ClassifierData, EventSet, TrainingOptions, train_classifiers
from resonaut.stats import Window

Array = npt.NDArray[np.float64]
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]
WAYS = [False, True]


def direct_distance_correlation(x: Array, y: Array, weight: Array) -> float:
    """The definition, by loops over pairs (Szekely, Rizzo, Bakirov; weights as probabilities)."""
    p, n = weight / weight.sum(), len(x)

    def centred(values: Array) -> Array:
        distance = [[abs(values[i] - values[j]) for j in range(n)] for i in range(n)]
        mean = [sum(p[j] * distance[i][j] for j in range(n)) for i in range(n)]
        overall = sum(p[i] * mean[i] for i in range(n))
        return np.array([[distance[i][j] - mean[i] - mean[j] + overall for j in range(n)] for i in range(n)])

    a, b = centred(x), centred(y)

    def covariance(first: Array, second: Array) -> float:
        return float(sum(p[i] * p[j] * first[i, j] * second[i, j] for i in range(n) for j in range(n)))

    return covariance(a, b) / np.sqrt(covariance(a, a) * covariance(b, b))


def direct_moments(s: Array, place: Array, weight: Array, bins: int, order: int) -> float:
    """The definition on a fine grid in s: distribution functions of the bins, a polynomial fitted to them at each s."""
    grid = np.linspace(s.min() - 0.1, s.max() + 0.1, 3001)
    function = np.array([[weight[(place == m) & (s <= cut)].sum() for cut in grid] for m in range(bins)])
    function /= function[:, -1:]
    centres = (np.arange(bins) + 0.5) / bins
    fitted = np.array([np.polyval(np.polyfit(centres, column, order), centres) for column in function.T]).T
    return float(np.trapezoid(((function - fitted) ** 2).mean(axis=0), grid))


def tensor(values: Any, device: str = "cpu") -> torch.Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.float64), device=device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dense", WAYS)
def test_distance_correlation_equals_the_definition(dense: bool, device: str) -> None:
    if device == "cuda" and not dense:
        pytest.skip("sums over sorted values are for the CPU")
    rng = np.random.default_rng(1)
    x, weight = rng.normal(size=(4, 24)), rng.uniform(0.1, 2.0, (4, 24))
    y = 0.6 * x**2 + rng.normal(size=(4, 24))
    x[1], y[2] = np.round(x[1]), np.round(y[2])  # equal values in either
    weight[3, 16:] = 0.0
    expected = [direct_distance_correlation(*each) for each in zip(x, y, weight, strict=True)]
    got = distance_correlation(*(tensor(each, device) for each in (x, y, weight)), dense=dense)
    np.testing.assert_allclose(got.cpu().numpy(), expected, rtol=1e-10)
    alone = distance_correlation(tensor(x[3:, :16]), tensor(y[3:, :16]), tensor(weight[3:, :16]), dense=dense)
    assert float(alone[0]) == pytest.approx(expected[3])  # weight 0 is absence


@pytest.mark.parametrize("dense", WAYS)
@pytest.mark.parametrize("equal_values", [False, True])
def test_the_gradient_is_that_of_the_value(dense: bool, equal_values: bool) -> None:
    rng = np.random.default_rng(2)
    x, y, weight = (tensor(rng.normal(size=(2, 25))) for _ in range(3))
    if equal_values:
        y = y.round()
    x.requires_grad_(True)
    torch.autograd.gradcheck(lambda each: distance_correlation(each, y, weight.square(), dense=dense), (x,))


def test_both_ways_agree_on_many_events_and_in_single_precision() -> None:
    rng = np.random.default_rng(3)
    x, y, weight = (torch.as_tensor(rng.uniform(0, 1, (3, 700)), dtype=torch.float32) for _ in range(3))
    x = (x + 1e3 * y).requires_grad_(True)  # large against its spread
    values, slopes = [], []
    for dense in WAYS:
        value = distance_correlation(x, 3000.0 + y, weight, dense=dense)
        assert value.dtype == torch.float32
        values.append(value.detach().numpy())
        slopes.append(torch.autograd.grad(value.sum(), x)[0].numpy())
    np.testing.assert_allclose(values[0], values[1], rtol=1e-6)
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=1e-4, atol=1e-6 * np.abs(slopes[1]).max())


def test_known_values() -> None:
    """1 for a linear relation, about 0 for independence, and the bivariate normal (arXiv:0803.4101, theorem 7)."""
    rng = np.random.default_rng(4)
    n = 60_000
    z = rng.normal(size=(2, n))
    x = tensor(z[:1])
    assert float(distance_correlation(x, 5 - 3 * x)) == pytest.approx(1.0, abs=1e-9)
    assert float(distance_correlation(x, tensor(z[1:]))) < 1e-3
    assert float(distance_correlation(x, torch.ones(n))) == 0.0
    for rho in (0.3, -0.8):
        exact = rho * np.arcsin(rho) + np.sqrt(1 - rho**2) - rho * np.arcsin(rho / 2) - np.sqrt(4 - rho**2) + 1
        exact /= 1 + np.pi / 3 - np.sqrt(3)
        y = tensor(rho * z[0] + np.sqrt(1 - rho**2) * z[1])
        assert float(distance_correlation(x, y)) == pytest.approx(exact, rel=0.04)
    weight = np.exp(-0.5 * ((z[1] - 1) ** 2 - z[1] ** 2))  # makes the mean of z[1] 1: independent as before
    assert float(distance_correlation(x, tensor(z[1]), tensor(weight))) < 2e-3
    dependent = np.where(z[0] > 0, 1.5, 0.5) * (z[1] > 0) + np.where(z[0] > 0, 0.5, 1.5) * (z[1] <= 0)
    assert float(distance_correlation(x, tensor(z[1]), tensor(dependent))) > 0.02  # weights alone can make it


@pytest.mark.parametrize("order", [0, 1, 2])
def test_moments_equal_the_definition(order: int) -> None:
    rng = np.random.default_rng(5)
    n, bins = 400, 6
    place = rng.integers(0, bins, n)
    s = rng.beta(1 + place / 3, 2.0)
    weight = rng.uniform(0.5, 1.5, n)
    got = float(moment_decomposition(tensor(s)[None], torch.as_tensor(place)[None], tensor(weight)[None], bins, order))
    # noise of the bins' distribution functions, leave-one-out: the unbiased estimate of each bin's F^2
    share = np.array([np.where(place == m, weight, 0.0) / weight[place == m].sum() for m in range(bins)])
    grid = np.linspace(s.min(), s.max(), 2001)
    vander = np.vander((np.arange(bins) + 0.5) / bins, order + 1)
    keep = 1 - np.diag(vander @ np.linalg.pinv(vander))
    noise = 0.0
    for m in range(bins):
        below = (s[None, :] <= grid[:, None]).astype(float)
        pairs = (below @ share[m]) ** 2 - below @ share[m] ** 2  # sum over pairs of different events
        noise += keep[m] * np.trapezoid((below @ share[m]) ** 2 - pairs / (1 - (share[m] ** 2).sum()), grid)
    assert got == pytest.approx(direct_moments(s, place, weight, bins, order) - noise / bins, abs=2e-5)
    assert got > {0: 5e-3, 1: -1e-3, 2: -1e-3}[order]


def test_moments_allow_what_they_should() -> None:
    """An output of 0 or 1 whose probability is a polynomial in the flattened mass: values follow from the definition."""
    bins, each = 8, 5_000
    place = np.repeat(np.arange(bins), each)
    centre = (2 * np.arange(bins) + 1) / bins - 1
    order_in_bin = np.tile((np.arange(each) + 0.5) / each, bins)
    for probability, allowed in ((0.5 + 0.3 * centre, 1), (0.2 + 0.3 * centre**2, 2), (np.full(bins, 0.4), 0)):
        s = tensor(order_in_bin < probability[place])[None]
        value = [
            float(moment_decomposition(s, torch.as_tensor(place)[None], torch.ones(1, len(place)), bins, order))
            for order in (0, 1, 2)
        ]
        assert value[0] == pytest.approx(np.var(probability), abs=4e-4)
        for order in (0, 1, 2):
            assert (abs(value[order]) < 1e-4) == (order >= allowed)


def test_a_few_events_do_not_ask_for_less_spread() -> None:
    """Independent output and mass: on average nothing to be gained, however few events a step has."""
    rng = np.random.default_rng(6)
    s, weight = tensor(rng.uniform(size=(4000, 64))), tensor(rng.uniform(0.5, 1.5, (4000, 64)))
    place = torch.as_tensor(rng.integers(0, 16, (4000, 64)))
    value = moment_decomposition(s, place, weight, 16, 0).numpy()
    assert abs(value.mean()) < 4 * value.std() / np.sqrt(4000)
    assert value.std() / np.sqrt(4000) < 3e-4  # uncorrected it is 0.04


def test_gradient_of_the_moments() -> None:
    rng = np.random.default_rng(7)
    place = torch.as_tensor(rng.integers(0, 4, (2, 30)))
    s, weight = tensor(rng.uniform(size=(2, 30))).requires_grad_(True), tensor(rng.uniform(size=(2, 30)))
    for order in (0, 1, 2):
        torch.autograd.gradcheck(lambda x, order=order: moment_decomposition(x, place, weight, 4, order), (s,))


def test_edges_share_the_weight() -> None:
    rng = np.random.default_rng(8)
    values, weight = rng.exponential(size=50_000), rng.uniform(0.0, 2.0, 50_000)
    edges = quantile_edges(values, weight, 10)
    content = np.bincount(np.searchsorted(edges, values, side="right"), weights=weight)
    np.testing.assert_allclose(content, weight.sum() / 10, rtol=1e-3)


def test_a_penalty_counts_the_background_and_no_more_events_than_asked_for() -> None:
    rng = np.random.default_rng(9)
    mass, rows = tensor(rng.uniform(3000, 4000, 500)), torch.arange(300).repeat(2, 1)
    output, target = tensor(rng.uniform(size=(2, 300))), tensor(rng.random((2, 300)) < 0.5)
    weight = tensor(rng.uniform(0.5, 1.5, (2, 300)))
    target[1] = 1.0  # a network without background in this step
    penalty = Penalty(Decorrelation("disco", 2.0, events=60), mass, torch.zeros(2, 15))
    value = penalty(output, rows, target, weight)
    own = torch.nonzero(target[0] == 0)[:60, 0]
    expected = 2.0 * distance_correlation(output[:1, own], mass[own], weight[:1, own])
    assert float(value[0]) == pytest.approx(float(expected[0]))
    assert float(value[1]) == 0.0
    every = Penalty(Decorrelation("disco", 1.0, background_only=False), mass, torch.zeros(2, 15))
    expected = distance_correlation(output, mass[:300], weight)
    np.testing.assert_allclose(every(output, rows, target, weight), expected)
    moments = Penalty(Decorrelation("mode", 1.0, bins=4), mass, tensor([[3250.0, 3500.0, 3750.0]] * 2))
    assert float(moments(output, rows, target, weight)[1]) == 0.0


def sculpting(seed: int, events: int = 24_000) -> tuple[Array, npt.NDArray[np.bool_], Array]:
    """Features, target, mass (GeV): the background's first feature rises with the mass, signal is at 3500 where it is high.

    The second feature tells the classes apart at every mass.
    """
    rng = np.random.default_rng(seed)
    target = np.arange(events) % 2 == 1
    mass = np.where(target, rng.normal(3500.0, 50.0, events), rng.uniform(3000.0, 4000.0, events))
    first = np.where(target, rng.normal(0.5, 0.4, events), rng.normal((mass - 3500.0) / 250.0, 0.5))
    second = rng.normal(np.where(target, 2.0, 0.0), 1.0)
    return np.column_stack([first, second]), target, mass


def largest_change(score: Array, target: npt.NDArray[np.bool_], mass: Array, efficiency: float = 0.1) -> float:
    """Largest ratio of the background's efficiency in a tenth of the mass range to its mean, after a cut."""
    score, mass = score[~target], mass[~target]
    passed = score > np.quantile(score, 1 - efficiency)
    counts, edges = np.histogram(mass, 10)
    return float((np.histogram(mass[passed], edges)[0] / counts).max() / efficiency)


@pytest.mark.parametrize(
    "decorrelation",
    [Decorrelation("disco", 20.0), Decorrelation("mode", 200.0)],
    ids=lambda each: each.kind,
)
@pytest.mark.parametrize("device", DEVICES)
def test_a_cut_does_not_bend_the_mass(decorrelation: Decorrelation, device: str) -> None:
    features, target, mass = sculpting(1)
    test, truth, test_mass = sculpting(2)
    scores = {}
    for name, penalty in (("without", None), ("with", decorrelation)):
        classifier = NetworkClassifier(
            members=2, epochs=12, batch_size=1024, learning_rate=5e-3, decorrelation=penalty, device=device
        )
        arguments = (features, target, np.ones(len(mass)), np.full(len(mass), -1), [3])
        scores[name] = classifier.train(*arguments, protected=mass)[0].probability(test)
    bent = {name: largest_change(score, truth, test_mass) for name, score in scores.items()}
    assert bent["without"] > 1.9  # a peak out of nothing
    assert bent["with"] < 1.35  # the largest of ten of 120 events each: 1.15 by chance
    areas = {name: auc(truth, score) for name, score in scores.items()}
    assert areas["with"] > areas["without"] - 0.05
    assert areas["with"] > auc(truth, test[:, 1])  # what the second feature can do alone is not lost


def test_order_one_allows_a_slope() -> None:
    """Moment decomposition of order 1 keeps a linear change with the mass that order 0 removes."""
    rng = np.random.default_rng(10)
    n = 16_000
    target, mass = np.arange(n) % 2 == 1, rng.uniform(3000.0, 4000.0, n)
    rising = rng.random(n) < np.where(target, 0.9, 0.2 + 0.6 * (mass - 3000.0) / 1000.0)
    features = np.column_stack([rising + rng.normal(0.0, 0.1, n), rng.normal(size=n)])
    slopes = {}
    for order in (0, 1):
        classifier = NetworkClassifier(
            members=1,
            epochs=10,
            batch_size=1024,
            learning_rate=5e-3,
            decorrelation=Decorrelation("mode", 300.0, order=order),
            device="cpu",
        )
        score = classifier.train(features, target, np.ones(n), np.full(n, -1), [1], protected=mass)[0].probability(
            features
        )
        slopes[order] = np.corrcoef(score[~target], mass[~target])[0, 1]
    assert slopes[1] > 0.25
    assert abs(slopes[0]) < 0.08


def test_each_network_of_a_stack_has_its_own_penalty() -> None:
    """A stack with decorrelation is a loop of single networks with it."""
    features, target, mass = sculpting(3, 2400)
    rng = np.random.default_rng(0)
    training, validation = [], []
    for number in range(3):
        order = rng.permutation(2400)
        edge = 1700 + 100 * number
        for rows, sets in ((order[:edge], training), (order[edge:], validation)):
            sets.append(EventSet(rows, rng.uniform(0.5, 1.5, len(rows))))
    data = ClassifierData(features, target, training, validation, mass)
    for figure in ("tpr", "loss"):
        options = TrainingOptions(
            6, 2, 256, 5e-3, figure=figure, decorrelation=Decorrelation("mode", 20.0, bins=8, events=200)
        )
        stack = StackedMLP(2, (Layer(8, "relu"), Layer(1)), [1, 2, 3])
        result = train_classifiers(stack, data, options)
        for number in range(3):
            single = StackedMLP(2, (Layer(8, "relu"), Layer(1)), [number + 1])
            batches = data.batches(256)
            alone = train_classifiers(single, data.part(number, number + 1), options, batches=batches)
            assert alone.figure[0] == pytest.approx(result.figure[number], abs=2e-3)
            assert alone.epochs[0] == result.epochs[number]
            torch.testing.assert_close(single.weights[0][0], stack.weights[0][number], rtol=1e-3, atol=1e-4)


def test_cwola_networks_can_be_decorrelated() -> None:
    """A feature that tells the upper sideband from the rest makes the score follow the mass; with the penalty it does not."""
    rng = np.random.default_rng(11)
    mass = rng.uniform(3200.0, 3800.0, 8000)
    window = Window(3400.0, 3600.0, 3200.0, 3800.0)
    rising = rng.normal(0.0, 1.0, 8000) + 2.0 * (mass > 3600.0)  # far from linear: not balanced by equal sidebands
    sample = Sample(np.column_stack([rising, rng.normal(size=8000)]), ("x", "y"), mass)
    sidebands = window.in_sidebands(mass)
    options = {"rounds": 2, "initialisations": 1, "epochs": 15, "batch_size": 512, "learning_rate": 5e-3}
    followed = {}
    for name, penalty in (("without", None), ("with", {"kind": "disco", "strength": 30.0})):
        scorer = CWoLaNetwork(("x", "y"), **options, decorrelation=penalty, device="cpu").fit(sample, window)
        assert make_scorer("cwola-nn", **scorer.options).options == scorer.options
        score, position = (torch.as_tensor(each[sidebands]) for each in (scorer.score(sample), mass))
        followed[name] = float(distance_correlation(score[None], position))
    assert followed["without"] > 0.2
    assert followed["with"] < 0.3 * followed["without"]


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="unknown decorrelation 'disko': did you mean 'disco'"):
        Decorrelation("disko", 1.0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="strength > 0"):
        Decorrelation("disco", 0.0)
    with pytest.raises(ConfigError, match="order < bins - 1"):
        Decorrelation("mode", 1.0, order=3, bins=4)
    with pytest.raises(ConfigError, match="option of a decorrelation 'strenth': did you mean 'strength'"):
        make_classifier("network", decorrelation={"kind": "disco", "strenth": 3})
    with pytest.raises(ConfigError, match="needs 'kind' and 'strength'"):
        make_classifier("network", decorrelation={"kind": "disco"})
    classifier = make_classifier("network", decorrelation={"kind": "disco", "strength": 3}, device="cpu")
    assert classifier.options["decorrelation"]["strength"] == 3
    assert make_classifier("network", **classifier.options) == classifier
    with pytest.raises(InputError, match="needs the protected variable"):
        classifier.train(np.eye(40), np.arange(40) % 2, np.ones(40), np.full(40, -1), [1])
