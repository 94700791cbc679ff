"""Classifiers against likelihood ratios that are known: calibration, weights, folds without leaks, seeds, disk."""

from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.numpy import load, save
from scipy.special import expit
from scipy.stats import norm

from resonaut.errors import ConfigError, InputError, ModelError
from resonaut.models import auc
from resonaut.models.classifiers import (
    Classifier,
    NetworkClassifier,
    TreesClassifier,
    available_classifiers,
    make_classifier,
    restore_classifier,
)
from resonaut.models.stack import Layer, StackedMLP
from resonaut.models.training import ClassifierData, EventSet, TrainingOptions, train_classifiers
from resonaut.models.tree_scorer import TreeScorer
from resonaut.models.trees import TreeOptions

FAST: dict[str, dict[str, Any]] = {
    "trees": {"members": 4},
    "network": {"members": 2, "epochs": 12, "batch_size": 256, "learning_rate": 2e-3},
}
SMALL: dict[str, dict[str, Any]] = {
    "trees": {"members": 2, "max_iter": 20},
    "network": {"members": 2, "epochs": 3, "batch_size": 64, "hidden": (8,)},
}
Array = npt.NDArray[np.float64]
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]


def gaussians(seed: int, events: int = 24_000, shift: float = 0.7) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Unit normals around 0 and around (shift, shift, 0): the log-likelihood ratio is shift (x + y) - shift^2."""
    rng = np.random.default_rng(seed)
    target = np.arange(events) % 2 == 1
    return rng.normal(np.where(target, shift, 0.0)[:, None] * [1.0, 1.0, 0.0], 1.0, (events, 3)), target


def exact(matrix: Array, shift: float = 0.7) -> Array:
    return np.asarray(expit(shift * (matrix[:, 0] + matrix[:, 1]) - shift**2))


def made(name: str, presets: dict[str, dict[str, Any]] = FAST, **options: Any) -> Classifier:
    device = {"device": "cpu"} if name == "network" and "device" not in options else {}
    return make_classifier(name, **{**presets[name], **device, **options})


def one_training(classifier: Classifier, matrix: Array, target: Array, weight: Array, seed: int = 1) -> Any:
    return classifier.train(matrix, target, weight, np.full(len(matrix), -1), [seed])[0]


@pytest.mark.parametrize("name", ["trees", "network"])
def test_probability_is_that_of_the_likelihood_ratio(name: str) -> None:
    (matrix, target), (test, truth) = gaussians(1), gaussians(2, 20_000)
    probability = one_training(made(name), matrix, target, np.ones(len(matrix))).probability(test)
    assert probability.dtype == np.float64
    expected = exact(test)
    assert np.abs(probability - expected).mean() < {"trees": 0.035, "network": 0.02}[name]
    for low, high in ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0)):  # calibrated: p of the events have the class
        inside = (probability >= low) & (probability < high)
        error = np.sqrt(0.25 / inside.sum())
        assert truth[inside].mean() == pytest.approx(probability[inside].mean(), abs=4 * error + 0.01)
    analytic = norm.cdf(0.7)  # Phi(distance / sqrt 2), distance 0.7 sqrt 2
    assert auc(truth, expected) == pytest.approx(analytic, abs=0.008)  # 2.5 standard errors
    assert auc(truth, expected) - 0.006 < auc(truth, probability) <= auc(truth, expected) + 0.001


@pytest.mark.parametrize("name", ["trees", "network"])
def test_weights_move_the_optimum(name: str) -> None:
    """Three times the weight of x > 0 in the target: the log-odds there rise by ln 3 against elsewhere; classes weigh the same."""
    matrix, target = gaussians(3)
    test, _ = gaussians(4, 6000)
    weight = np.where(target & (matrix[:, 0] > 0), 3.0, 1.0)
    plain, tilted = (
        one_training(made(name), matrix, target, each).probability(test) for each in (np.ones(len(matrix)), weight)
    )
    moved = np.log(tilted / (1 - tilted)) - np.log(plain / (1 - plain))
    rescaled = np.log(weight[target].mean())
    assert moved[test[:, 0] > 0.3].mean() == pytest.approx(np.log(3) - rescaled, abs=0.12)
    assert moved[test[:, 0] < -0.3].mean() == pytest.approx(-rescaled, abs=0.12)
    twice = one_training(made(name), matrix, target, np.where(target, 2.0, 1.0)).probability(test)
    np.testing.assert_allclose(twice, plain, rtol=1e-4)


@pytest.mark.parametrize("name", ["trees", "network"])
def test_classes_are_equal_whatever_a_fold_takes_from_either(name: str) -> None:
    """The target loses half of its events to the fold, the rest none: without a difference to learn the mean stays 1/2."""
    rng = np.random.default_rng(6)
    target = np.arange(8000) < 4000
    fold = np.where(target & (np.arange(8000) % 2 == 0), 0, -1)
    (trained,) = made(name).train(rng.normal(size=(8000, 2)), target, np.ones(8000), fold, seeds=[1])
    assert trained.probability(rng.normal(size=(4000, 2))).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", ["trees", "network"])
def test_the_scale_of_the_weights_does_not_matter(name: str) -> None:
    matrix, target = gaussians(5, 3000)
    weight = np.random.default_rng(0).uniform(0.5, 1.5, 3000)
    small, large = (
        one_training(made(name, SMALL), matrix, target, factor * weight).probability(matrix) for factor in (1e-6, 1e6)
    )
    np.testing.assert_allclose(small, large, rtol=1e-4)


@pytest.mark.parametrize("name", ["trees", "network"])
def test_no_training_sees_its_own_fold(name: str) -> None:
    """Labels, features and weights of a fold are turned upside down: its own classifier does not notice, others do."""
    matrix, target = gaussians(6, 3000)
    rng = np.random.default_rng(1)
    fold = rng.integers(-1, 3, 3000)
    weight = rng.uniform(0.5, 1.5, 3000)
    own = fold == 1
    other = np.where(own, ~target, target), np.where(own[:, None], -5 * matrix, matrix), np.where(own, 9.0, weight)
    classifier = made(name, SMALL)
    before = classifier.train(matrix, target, weight, fold, [1, 2, 3])
    after = classifier.train(other[1], other[0], other[2], fold, [1, 2, 3])
    outputs = [[each.probability(matrix) for each in trained] for trained in (before, after)]
    np.testing.assert_array_equal(outputs[0][1], outputs[1][1])
    for number in (0, 2):
        assert not np.allclose(outputs[0][number], outputs[1][number], atol=1e-3)


@pytest.mark.parametrize("name", ["trees", "network"])
def test_folds_together_are_folds_apart(name: str) -> None:
    matrix, target = gaussians(7, 3000)
    fold = np.arange(3000) // 2 % 3
    together = made(name, SMALL).train(matrix, target, np.ones(3000), fold, [4, 5, 6])
    for number, seed in enumerate((4, 5, 6)):
        part = fold != number
        alone = one_training(made(name, SMALL), matrix[part], target[part], np.ones(part.sum()), seed)
        np.testing.assert_allclose(alone.probability(matrix), together[number].probability(matrix), atol=2e-5)


@pytest.mark.parametrize("name", ["trees", "network"])
def test_seeds_reproduce_and_differ(name: str) -> None:
    matrix, target = gaussians(8, 2000)
    outputs = [
        one_training(made(name, SMALL), matrix, target, np.ones(2000), seed).probability(matrix) for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.allclose(outputs[0], outputs[2], atol=1e-4)


@pytest.mark.parametrize("name", ["trees", "network"])
def test_to_disk_and_back(name: str) -> None:
    matrix, target = gaussians(9, 2000)
    trained = made(name, SMALL).train(matrix, target, np.ones(2000), np.arange(2000) // 2 % 2, [1, 2])
    tensors = {f"fold{k}.{key}": array for k, each in enumerate(trained) for key, array in each.tensors().items()}
    stored = load(save({key: np.ascontiguousarray(array) for key, array in tensors.items()}))
    for number, each in enumerate(trained):
        facts = json.loads(json.dumps(each.facts()))
        again = restore_classifier(stored, facts, prefix=f"fold{number}.", device="cpu")
        np.testing.assert_array_equal(again.probability(matrix), each.probability(matrix))
        assert again.facts() == each.facts()


@pytest.mark.parametrize("name", ["trees", "network"])
def test_options_are_json_and_make_a_twin(name: str) -> None:
    classifier = made(name, SMALL)
    twin = make_classifier(name, **json.loads(json.dumps(classifier.options)))
    assert twin == classifier
    assert name in available_classifiers()


@pytest.mark.parametrize("device", DEVICES)
def test_stacks_of_any_size_give_the_same_networks(device: str) -> None:
    matrix, target = gaussians(10, 3000)
    fold = np.arange(3000) // 2 % 3
    outputs = []
    for size in (1, 4, None):  # 6 networks: stacks that end inside a fold too
        classifier = made("network", SMALL, stack_size=size, device=device)
        trained = classifier.train(matrix, target, np.ones(3000), fold, [1, 2, 3])
        outputs.append(np.stack([each.probability(matrix) for each in trained]))
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-4)
    np.testing.assert_allclose(outputs[0], outputs[2], atol=1e-4)


def test_the_kept_epoch_has_the_smallest_validation_loss() -> None:
    """Loss of the kept networks, recomputed in numpy; every epoch on its own, by trainings that end there."""
    matrix, target = gaussians(11, 900)
    weight = np.random.default_rng(0).uniform(0.5, 1.5, 900)
    sets = [EventSet(np.arange(600), weight[:600])] * 3, [EventSet(np.arange(600, 900), weight[600:])] * 3
    data = ClassifierData(matrix, target, *sets)

    def trained(epochs: int, patience: int) -> tuple[Any, Array]:
        network = StackedMLP(3, (Layer(32, "relu"), Layer(1)), [1, 2, 3])
        result = train_classifiers(network, data, TrainingOptions(epochs, patience, 32, 2e-2, figure="loss"))
        with torch.no_grad():
            logit = network(torch.as_tensor(matrix[600:], dtype=torch.float32)).double().numpy()[:, :, 0]
        likelihood = expit(np.where(target[600:], logit, -logit))
        return result, np.average(-np.log(likelihood), axis=1, weights=weight[600:])

    result, loss = trained(30, 4)
    np.testing.assert_allclose(-result.figure, loss, rtol=1e-5)
    assert np.all(result.epochs == result.best_epoch + 5)  # they overfit and stop, four epochs after the best
    best = [trained(epochs, 30)[1] for epochs in range(1, 13)]  # best loss so far
    for network in range(3):
        epoch = result.best_epoch[network]
        assert epoch < 12
        assert best[epoch][network] == pytest.approx(loss[network], rel=1e-4)
        assert all(best[before][network] > loss[network] for before in range(epoch))
    with pytest.raises(ConfigError, match="'tpr' or 'loss', got 'auc'"):
        TrainingOptions(1, 1, 1, figure="auc")  # type: ignore[arg-type]


def test_defaults_of_the_trees_have_one_source() -> None:
    signature = inspect.signature(TreeScorer).parameters
    for name, default in vars(TreeOptions()).items():
        assert signature[name].default == default
    assert TreesClassifier().options == vars(TreeOptions())


def test_events_of_weight_zero_are_absent() -> None:
    matrix, target = gaussians(13, 2000)
    weight = (np.arange(2000) % 3 > 0).astype(float)
    for name in ("trees", "network"):
        silenced = one_training(made(name, SMALL), np.where(weight[:, None] > 0, matrix, 1e9), target, weight)
        kept = weight > 0
        absent = one_training(made(name, SMALL), matrix[kept], target[kept], weight[kept])
        np.testing.assert_allclose(silenced.probability(matrix), absent.probability(matrix), atol=1e-6)


def test_mistakes_are_named() -> None:
    matrix, target = gaussians(14, 100)
    ones, fold = np.ones(100), np.zeros(100)
    trees = make_classifier("trees", members=1)
    with pytest.raises(ConfigError, match="unknown classifier 'tres': did you mean 'trees'"):
        make_classifier("tres")
    with pytest.raises(ConfigError, match="unknown option of classifier 'network' 'member': did you mean 'members'"):
        make_classifier("network", member=3)
    with pytest.raises(ConfigError, match="'patience' of classifier 'network' must be above 0, got 0"):
        NetworkClassifier(patience=0)
    with pytest.raises(ConfigError, match="'validation_fraction' of classifier 'trees'"):
        TreesClassifier(validation_fraction=1.0)
    with pytest.raises(InputError, match="training 0 has 0 events with target False outside its own fold"):
        trees.train(matrix, target, ones, fold, [1])
    with pytest.raises(InputError, match=r"weight has shape \(99,\)"):
        trees.train(matrix, target, ones[1:], fold, [1])
    with pytest.raises(InputError, match="matrix has 1 NaN"):
        trees.train(np.where(np.arange(300).reshape(100, 3) == 7, np.nan, matrix), target, ones, fold - 1, [1])
    with pytest.raises(InputError, match="3 negative weights"):
        trees.train(matrix, target, np.where(np.arange(100) < 3, -1.0, 1.0), fold - 1, [1])
    with pytest.raises(InputError, match="trained on 3 features"):
        trees.train(matrix, target, ones, fold - 1, [1])[0].probability(matrix[:, :2])
    with pytest.raises(ModelError, match="facts of a saved classifier"):
        restore_classifier({}, {"trees": [1]})
    with pytest.raises(ModelError, match="networks diverged"):
        made("network", SMALL, learning_rate=1e30).train(matrix, target, ones, fold - 1, [1])
