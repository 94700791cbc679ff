"""Stacks: K networks at once are K networks apart, and each piece is what PyTorch and the papers say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest

from resonaut.errors import ConfigError
from resonaut.models import auc
from resonaut.models.counter import bernoulli, hashed, keys, permutations
from resonaut.models.networks import join_stacks, mean_output, stack_sizes
from resonaut.models.stack import Layer, StackedAdam, StackedMLP, choose_device
from resonaut.models.training import ClassifierData, EventSet, TrainingOptions, stacked_tpr, train_classifiers

LAYERS = (Layer(16, "leaky", dropout=0.2), Layer(8, "elu"), Layer(1))
OPTIONS = TrainingOptions(epochs=8, patience=3, batch_size=256, learning_rate=5e-3, decay=5e-4, betas=(0.8, 0.99))


def stack_data(networks: int, events: int = 3000, seed: int = 0) -> ClassifierData:
    """Two overlapping classes; each network has its own, differently sized, training and validation events."""
    rng = np.random.default_rng(seed)
    target = rng.random(events) < 0.5
    features = rng.normal(target[:, None] * [1.0, 0.5, 0.0], [1.0, 2.0, 3.0], (events, 3)) + 5.0
    training, validation = [], []
    for number in range(networks):
        order = rng.permutation(events)
        edge = 2000 + 17 * number
        for rows, sets in ((order[:edge], training), (order[edge:], validation)):
            sets.append(EventSet(rows, rng.uniform(0.5, 1.5, len(rows))))
    return ClassifierData(features, target, training, validation)


def part_of(data: ClassifierData, start: int, stop: int) -> ClassifierData:
    return ClassifierData(data.features, data.target, data.training[start:stop], data.validation[start:stop])


def test_a_stack_is_a_loop_of_single_networks() -> None:
    data, seeds = stack_data(5), [3, 1, 4, 15, 9]
    stack = StackedMLP(3, LAYERS, seeds)
    result = train_classifiers(stack, data, OPTIONS)
    batches = data.batches(OPTIONS.batch_size)
    for number, seed in enumerate(seeds):
        single = StackedMLP(3, LAYERS, [seed])
        alone = train_classifiers(single, part_of(data, number, number + 1), OPTIONS, batches=batches)
        assert alone.best_epoch[0] == result.best_epoch[number]
        assert alone.epochs[0] == result.epochs[number]
        for name, tensor in single.stacked().items():
            torch.testing.assert_close(tensor[0], stack.stacked()[name][number], rtol=1e-3, atol=1e-5)
    assert len(set(result.epochs.tolist())) > 1  # some stopped early, and the others went on unmoved


def test_training_is_reproducible_bit_by_bit_and_seeds_differ() -> None:
    runs = []
    for seeds in ([1, 2], [1, 2], [1, 7]):
        stack = StackedMLP(3, LAYERS, seeds)
        train_classifiers(stack, stack_data(2), OPTIONS)
        runs.append(stack.tensors())
    for name in runs[0]:
        np.testing.assert_array_equal(runs[0][name], runs[1][name])
    assert not np.array_equal(runs[0]["weights.0"][1], runs[2]["weights.0"][1])
    np.testing.assert_allclose(runs[0]["weights.0"][0], runs[2]["weights.0"][0], atol=1e-6)


def test_the_best_epoch_is_what_is_left() -> None:
    data = stack_data(3)
    stack = StackedMLP(3, LAYERS, [1, 2, 3])
    result = train_classifiers(stack, data, OPTIONS)
    for number, events in enumerate(data.validation):
        with torch.no_grad():
            logit = stack(torch.as_tensor(data.features[events.rows], dtype=torch.float32))[number, :, 0]
        figure = stacked_tpr(
            logit[None],
            torch.as_tensor(data.target[events.rows])[None],
            torch.as_tensor(events.weight, dtype=torch.float32)[None],
            0.01,
        )
        assert float(figure[0]) == pytest.approx(result.figure[number], abs=2e-3)
        assert result.epochs[number] <= result.best_epoch[number] + 1 + OPTIONS.patience


def test_inputs_are_standardised_by_training_events_only() -> None:
    data = stack_data(2)
    spoilt = data.features.copy()
    spoilt[data.validation[0].rows] = 1e6  # what network 0 does not train on cannot move its standardisation
    stack = StackedMLP(3, LAYERS, [1, 2])
    train_classifiers(stack, ClassifierData(spoilt, data.target, data.training, data.validation), OPTIONS)
    own = data.features[data.training[0].rows]
    np.testing.assert_allclose(stack.tensors()["shift"][0, 0], own.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(stack.tensors()["scale"][0, 0], own.std(axis=0), rtol=1e-5)


def test_a_stack_learns_what_can_be_learnt() -> None:
    """Two Gaussians, shift 2 in one direction: AUC 0.921 (analytic)."""
    rng = np.random.default_rng(1)
    target = rng.random(20_000) < 0.5
    features = rng.normal(np.where(target, 2.0, 0.0)[:, None], 1.0, (20_000, 1)) * 7.0 - 3.0
    sets = [EventSet(np.arange(10_000), np.ones(10_000))], [EventSet(np.arange(10_000, 15_000), np.ones(5000))]
    stack = StackedMLP(1, LAYERS, [5])
    train_classifiers(stack, ClassifierData(features, target, *sets), OPTIONS)
    assert auc(target[15_000:], mean_output(stack, features[15_000:])) == pytest.approx(0.9214, abs=0.012)


def test_forward_equals_torch_modules() -> None:
    layers = (Layer(6, "relu", batch_norm=True), Layer(5, "leaky"), Layer(4, "elu"), Layer(2))
    stack = StackedMLP(3, layers, [8, 9], init="torch")
    parts = [torch.nn.Linear(a, b) for a, b in ((3, 6), (6, 5), (5, 4), (4, 2))]
    norm = torch.nn.BatchNorm1d(6)
    reference = torch.nn.Sequential(
        parts[0], torch.nn.ReLU(), norm, parts[1], torch.nn.LeakyReLU(0.1), parts[2], torch.nn.ELU(), parts[3]
    )
    with torch.no_grad():
        for place, linear in enumerate(parts):
            linear.weight.copy_(stack.weights[place][1].T)
            linear.bias.copy_(stack.biases[place][1, 0])
    for _ in range(3):  # in training, so that the running statistics move
        x = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(stack(x)[1], reference(x[1]))
    stack.eval()
    reference.eval()
    torch.testing.assert_close(stack(x)[1], reference(x[1]))


def test_adam_equals_torch_adam_with_decay() -> None:
    stack = StackedMLP(3, (Layer(4, "elu"), Layer(1)), [1, 2])
    twin = StackedMLP(3, (Layer(4, "elu"), Layer(1)), [1, 2])
    adam = StackedAdam(stack, 0.01, decay=0.1, betas=(0.8, 0.99))
    reference = torch.optim.Adam(twin.parameters(), lr=0.01, betas=(0.8, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(reference, lambda step: 1 / (1 + 0.1 * step))
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(2))
    for _ in range(25):
        stack(x).square().sum().backward()
        adam.step()
        twin(x).square().sum().backward()
        reference.step()
        reference.zero_grad()
        schedule.step()
    for ours, theirs in zip(stack.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_dropping_networks_leaves_the_others_alone() -> None:
    data = stack_data(3)
    whole, part = StackedMLP(3, LAYERS, [1, 2, 3]), StackedMLP(3, LAYERS, [1, 2, 3])
    part.keep(torch.tensor([True, False, True]))
    assert len(part) == 2
    x = torch.as_tensor(data.features, dtype=torch.float32)
    torch.testing.assert_close(part.eval()(x), whole.eval()(x)[[0, 2]])
    torch.testing.assert_close(join_stacks([part, whole])(x), whole(x)[[0, 2, 0, 1, 2]])


def test_stacked_tpr_equals_a_direct_count() -> None:
    rng = np.random.default_rng(6)
    scores, target, weight = rng.normal(size=(4, 500)), rng.random((4, 500)) < 0.4, rng.uniform(0.2, 2.0, (4, 500))
    weight[2, 300:] = 0.0
    got = stacked_tpr(*(torch.as_tensor(each) for each in (scores, target, weight)), 0.05)
    for number in range(4):
        s, t, w = scores[number], target[number], weight[number]
        passing = [s >= cut for cut in np.sort(s)]
        allowed = [w[p & t].sum() for p in passing if w[p & ~t].sum() <= 0.05 * w[~t].sum()]
        assert float(got[number]) == pytest.approx(max(allowed) / w[t].sum())


def test_a_diverged_network_has_no_true_positives_to_show() -> None:
    scores = torch.tensor([[np.nan] * 200, list(np.linspace(0, 1, 200))])
    target = torch.arange(200).repeat(2, 1) % 2 == 0
    assert float(stacked_tpr(scores, target, torch.ones(2, 200), 0.01)[0]) < 0.05


def test_hash_is_splitmix64() -> None:
    """First outputs of SplitMix64 from seed 1234567 (published test vector of the generator)."""
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    got = hashed(torch.tensor([1234567]), 5)[0]
    assert [int(value) % 2**64 for value in got] == expected


def test_random_numbers_are_uniform_and_independent_of_the_stack() -> None:
    key = keys(torch.tensor([1, 2, 3]), stream=4, step=5)
    values = (hashed(key, 50_000).double() / 2.0**64 + 0.5).numpy()
    assert all(kstest(row, "uniform").pvalue > 1e-3 for row in values)
    assert abs(np.corrcoef(values)[0, 1]) < 0.02
    np.testing.assert_array_equal(hashed(key[1:2], 50_000)[0], hashed(key, 50_000)[1])
    mask = bernoulli(key, 1000, 37, 0.8)
    np.testing.assert_array_equal(bernoulli(key[2:], 300, 37, 0.8)[0], mask[2, :300])
    kept = mask.double().mean(dim=(1, 2)).numpy()
    assert np.all(abs(kept - 0.8) < 5 * np.sqrt(0.16 / 37_000))


def test_permutations_are_permutations_and_uniform() -> None:
    sizes = torch.tensor([5, 3])
    seen = np.zeros((5, 5))
    for step in range(2000):
        order = permutations(keys(torch.tensor([1, 2]), 0, step), sizes)
        assert sorted(order[0].tolist()) == [0, 1, 2, 3, 4]
        assert sorted(order[1, :3].tolist()) == [0, 1, 2]
        seen[np.arange(5), order[0].numpy()] += 1
    assert chisquare(seen.ravel(), ddof=8).pvalue > 1e-3


def test_stack_sizes_cover_all_networks() -> None:
    ranges = list(stack_sizes(200, None, 20480, LAYERS, torch.device("cpu")))
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 200
    assert all(before[1] == after[0] for before, after in itertools.pairwise(ranges))
    assert list(stack_sizes(7, 3, 128, LAYERS, torch.device("cpu"))) == [(0, 2), (2, 5), (5, 7)]


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="unknown activation 'elo': did you mean 'elu'"):
        Layer(3, "elo")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="width >= 1"):
        Layer(0)
    with pytest.raises(ConfigError, match="device 'gpu' cannot be used here"):
        choose_device("gpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_and_cpu_give_the_same_networks() -> None:
    data = stack_data(3)
    results = []
    for device in ("cpu", "cuda"):
        stack = StackedMLP(3, LAYERS, [1, 2, 3], device=device)
        train_classifiers(stack, data, TrainingOptions(2, 5, 256))
        results.append(mean_output(stack, data.features))
    np.testing.assert_allclose(results[0], results[1], atol=1e-3)
