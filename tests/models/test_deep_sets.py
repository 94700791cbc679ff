"""Deep Set VAE: each piece against its formula written as a loop, and what a set must be: without order and padding."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resonaut.errors import ConfigError, InputError
from resonaut.models import CrossFit, DeepSetVAE, Sample, auc, deep_set_scan, load_scorer
from resonaut.models.deep_sets import PaddedObjects, chamfer, fspool, position_basis
from resonaut.models.inputs import AE_FEATURES

COLUMNS = ("kind", "log_e", "log_pt", "eta", "phi")
SMALL: dict[str, Any] = {
    "members": 2, "hidden": (16, 16), "latent": 3, "decoder_hidden": (16,), "outputs": 6, "pieces": 5, "epochs": 3,
    "batch_size": 100, "learning_rate": 3e-3, "device": "cpu",
}  # fmt: skip


def names_of(slots: int) -> list[str]:
    return [f"obj{slot + 1}_{column}" for slot in range(slots) for column in COLUMNS]


def event_cube(seed: int, events: int = 600, slots: int = 5, odd: bool = False) -> np.ndarray:
    """(events, slots, 5) objects: jets and one object of kind 8; odd events have hard photons."""
    rng = np.random.default_rng(seed)
    there = np.arange(slots) < rng.integers(2, slots + 1, events)[:, None]
    kind = rng.integers(1, 4, (events, slots))
    kind[:, 0] = 8
    if odd:
        kind[:, 1] = 7
    pt = 1.5 + rng.exponential(0.3, (events, slots)) + (2.0 if odd else 0.0)
    eta = rng.normal(0.0, 1.2, (events, slots))
    phi = rng.uniform(-np.pi, np.pi, (events, slots))
    return np.asarray(np.stack([kind, pt + np.log10(np.cosh(eta)), pt, eta, phi], axis=2) * there[..., None])


def sample_of(cube: np.ndarray) -> Sample:
    return Sample(cube.reshape(len(cube), -1), names_of(cube.shape[1]), np.ones(len(cube)))


def scorer(**changes: Any) -> DeepSetVAE:
    return DeepSetVAE(names_of(changes.pop("slots", 5)), **{**SMALL, **changes})


# --- pieces


def loop_fspool(values: np.ndarray, count: int, weight: np.ndarray) -> np.ndarray:
    """Eq. 4 and 5 of arXiv:1906.02795 for one event: values (M, C), weight (C, pieces + 1)."""
    pieces = weight.shape[1] - 1
    result = np.zeros(values.shape[1])
    for channel in range(values.shape[1]):
        for place, value in enumerate(sorted(values[:count, channel], reverse=True)):
            position = pieces * (place / (count - 1) if count > 1 else 0.0)
            below = min(int(position), pieces - 1)
            share = position - below
            result[channel] += value * ((1 - share) * weight[channel, below] + share * weight[channel, below + 1])
    return result


def test_pooling_is_its_formula_for_sets_of_every_size() -> None:
    rng = np.random.default_rng(1)
    counts = np.array([1, 2, 3, 7, 5, 7])
    values, weights = rng.normal(size=(2, 6, 7, 3)), rng.normal(size=(2, 3, 5))
    pooled = fspool(*map(torch.from_numpy, (values, counts, weights)), position_basis(9, 4).double())
    for network in range(2):
        for event, count in enumerate(counts):
            expected = loop_fspool(values[network, event], count, weights[network])
            np.testing.assert_allclose(pooled[network, event], expected, rtol=1e-6)


def test_gradient_of_the_pooling_reaches_objects_and_weights_and_no_padding() -> None:
    values = torch.randn(1, 2, 4, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(1, 2, 4, dtype=torch.float64, requires_grad=True)
    counts, basis = torch.tensor([4, 2]), position_basis(4, 3).double()
    assert torch.autograd.gradcheck(lambda v, w: fspool(v, counts, w, basis), (values, weights))
    fspool(values, counts, weights, basis).sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert (values.grad[0, 1, 2:] == 0).all()
    assert (values.grad[0, 0] != 0).all()


def loop_chamfer(x: np.ndarray, kind: np.ndarray | None, y: np.ndarray, logits: np.ndarray, w: float) -> float:
    """Eq. 5 for one event: objects (n, d) with kinds against decoded (P, d) with logits (P, classes)."""
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    total = 0.0
    for i, each in enumerate(x):
        distance = [float(np.sqrt(np.sum((each - other) ** 2))) for other in y]
        nearest = int(np.argmin(distance))
        total += distance[nearest] - (w * log_p[nearest, kind[i]] if kind is not None else 0.0)
    for j, each in enumerate(y):
        distance = [float(np.sqrt(np.sum((each - other) ** 2))) for other in x]
        nearest = int(np.argmin(distance))
        total += distance[nearest] - (w * log_p[j, kind[nearest]] if kind is not None else 0.0)
    return total


@pytest.mark.parametrize("with_kinds", [True, False])
def test_chamfer_is_a_double_loop(with_kinds: bool) -> None:
    rng = np.random.default_rng(2)
    counts = np.array([1, 4, 2, 6])
    x, y = rng.normal(size=(2, 4, 6, 4)), rng.normal(size=(2, 4, 5, 4))
    logits = rng.normal(size=(2, 4, 5, 9)) * 2
    kind = rng.integers(1, 9, (4, 6)) * (np.arange(6) < counts[:, None])
    decoded = torch.from_numpy(np.concatenate([y, logits], axis=-1) if with_kinds else y)
    objects = PaddedObjects(
        torch.from_numpy(x), torch.from_numpy(kind) if with_kinds else None, torch.from_numpy(counts)
    )
    loss = chamfer(objects, decoded, torch.tensor([1.0, 10.0]))
    for network, w in enumerate((1.0, 10.0)):
        for event, count in enumerate(counts):
            known = kind[event, :count] if with_kinds else None
            expected = loop_chamfer(x[network, event, :count], known, y[network, event], logits[network, event], w)
            assert float(loss[network, event]) == pytest.approx(expected, rel=1e-9)


def test_gradient_of_the_chamfer_loss() -> None:
    generator = torch.Generator().manual_seed(3)
    decoded = torch.randn(2, 2, 3, 7, generator=generator, dtype=torch.float64).requires_grad_()
    objects = PaddedObjects(
        torch.randn(2, 4, 4, generator=generator, dtype=torch.float64),
        torch.tensor([[1, 2, 1, 0], [2, 1, 2, 2]]),
        torch.tensor([3, 4]),
    )
    assert torch.autograd.gradcheck(lambda y: chamfer(objects, y, torch.tensor([1.0, 3.0])), (decoded,))


# --- the scorer


@pytest.mark.parametrize("beta", [1.0, 0.1])
def test_neither_order_nor_padding_of_objects_matters(beta: float) -> None:
    fitted = scorer(beta=beta, w=10.0).fit(sample_of(event_cube(1)))
    cube = event_cube(2)
    expected = fitted.score(sample_of(cube))
    rng = np.random.default_rng(3)
    shuffled = np.stack([event[rng.permutation(5)] for event in cube])
    np.testing.assert_allclose(fitted.score(sample_of(shuffled)), expected, rtol=1e-6)
    padded = np.concatenate([np.zeros((len(cube), 2, 5)), cube, np.zeros((len(cube), 3, 5))], axis=1)
    wider = DeepSetVAE(names_of(10), **{**SMALL, "beta": beta, "w": 10.0})
    wider.restore(fitted.learnt_tensors(), fitted.learnt_facts())
    np.testing.assert_allclose(wider.score(sample_of(padded)), expected, rtol=1e-6)
    changed = cube.copy()
    changed[:, 0, 2] += 1.0
    assert not np.allclose(fitted.score(sample_of(changed)), expected, rtol=1e-3)


def test_what_stands_in_absent_objects_is_not_read() -> None:
    cube = event_cube(1)
    noise = np.where(cube[:, :, :1] == 0, 77.0, 0.0) * np.array([0.0, 1.0, 1.0, 1.0, 1.0])
    scores = [scorer(epochs=1).fit(sample_of(each)).score(sample_of(cube)) for each in (cube, cube + noise)]
    np.testing.assert_array_equal(*scores)


def test_without_decoder_at_beta_1() -> None:
    sample = sample_of(event_cube(1, 200))
    free, decoded = (scorer(beta=beta, epochs=1).fit(sample) for beta in (1.0, 0.999))
    assert not [name for name in free.learnt_tensors() if name.startswith("decoder")]
    assert [name for name in decoded.learnt_tensors() if name.startswith("decoder")]
    assert free.network_ is not None
    with torch.no_grad():
        rows = torch.arange(200)
        from resonaut.models.deep_sets.sets import ObjectEvents

        events = ObjectEvents.of(free.columns.split(sample.features), torch.device("cpu"))
        mu, log_variance = free.network_.encode(events.take(rows))
    normal = torch.distributions.Normal(mu, torch.exp(log_variance / 2))
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(dim=-1)
    np.testing.assert_allclose(free.member_scores(sample), kl, rtol=1e-6)


@pytest.mark.parametrize("beta", [1.0, 0.05])
def test_a_stack_is_a_loop_of_single_trainings(beta: float) -> None:
    sample = sample_of(event_cube(4))
    options = {"beta": beta, "members": 3, "epochs": 6, "patience": 2, "reduce_after": 1, "learning_rate": 1e-2}
    together = scorer(**options, stack_size=3).fit(sample)
    alone = scorer(**options, stack_size=1).fit(sample)
    assert together.training_["epochs"] == alone.training_["epochs"]
    np.testing.assert_allclose(together.member_scores(sample), alone.member_scores(sample), rtol=2e-2, atol=1e-4)
    assert len({tuple(row) for row in together.member_scores(sample)[:, :5].round(6).tolist()}) == 3


def test_a_scan_is_its_points_one_after_another() -> None:
    sample, test = sample_of(event_cube(5, 300)), sample_of(event_cube(6, 50))
    options = {**SMALL, "members": 1, "epochs": 2, "features": names_of(5)}
    found = deep_set_scan(sample, (1e-3, 0.5, 1.0), (1.0, 10.0), **options)
    assert list(found) == [(1e-3, 1.0), (1e-3, 10.0), (0.5, 1.0), (0.5, 10.0), (1.0, 1.0)]
    for (beta, w), each in found.items():
        alone = DeepSetVAE(**{**options, "beta": beta, "w": w}).fit(sample)
        np.testing.assert_allclose(each.score(test), alone.score(test), rtol=1e-3)
        assert (each.beta, each.w) == (beta, w)


@pytest.mark.parametrize("beta", [1.0, 0.01])
def test_saved_and_loaded(beta: float, tmp_path: Path) -> None:
    sample = sample_of(event_cube(7, 200))
    fitted = scorer(beta=beta, epochs=2, stack_size=1).fit(sample)
    fitted.save(tmp_path / "model")
    again = load_scorer(tmp_path / "model")
    assert isinstance(again, DeepSetVAE)
    np.testing.assert_array_equal(again.score(sample), fitted.score(sample))
    assert again.training_ == fitted.training_
    assert again.options == fitted.options


@pytest.mark.parametrize("beta", [1.0, 1e-3])
def test_finds_what_is_obviously_odd(beta: float) -> None:
    fitted = scorer(beta=beta, epochs=6).fit(sample_of(event_cube(8, 3000)))
    usual, odd = (fitted.score(sample_of(event_cube(9 + int(flag), 500, odd=flag))) for flag in (False, True))
    assert auc(np.repeat([0, 1], 500), np.concatenate([usual, odd])) > 0.95


def test_equal_seeds_give_equal_scores_and_others_do_not() -> None:
    sample = sample_of(event_cube(10, 200))
    scores = [scorer(seed=seed, beta=0.5, epochs=1).fit(sample).score(sample) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.allclose(scores[0], scores[2], rtol=1e-3)


def test_standardisation_is_by_objects_that_are_there_in_training_events() -> None:
    cube = event_cube(11, 400)
    fitted = scorer(epochs=1, validation=0.25).fit(sample_of(cube))
    order = np.random.default_rng(np.random.SeedSequence(0).spawn(3)[0]).permutation(400)[100:]
    known = cube[order][cube[order][:, :, 0] > 0][:, 1:]
    tensors = fitted.learnt_tensors()
    np.testing.assert_allclose(tensors["phi.shift"][0, 0, :4], known.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(tensors["phi.scale"][0, 0, :4], known.std(axis=0), rtol=1e-5)
    assert (tensors["phi.scale"][0, 0, 4:] == 1).all()


def test_event_weights_count_as_copies() -> None:
    """Weight 0 is as if the event were not there."""
    cube = event_cube(12, 400)
    spoilt = cube.copy()
    spoilt[::2, 0, 1:] = 50.0
    weight = np.where(np.arange(400) % 2 == 0, 0.0, 1.0)
    scores = []
    for each in (cube, spoilt):
        sample = Sample(each.reshape(400, -1), names_of(5), np.ones(400), weight)
        scores.append(scorer(beta=0.5, epochs=2).fit(sample).score(sample_of(event_cube(13, 50))))
    np.testing.assert_allclose(*scores, rtol=1e-4)


# --- collapse


def test_collapse_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    sample = sample_of(event_cube(14, 400))
    with caplog.at_level(logging.WARNING):
        fitted = scorer(beta=0.999, epochs=40, patience=40, reduce_after=40, learning_rate=1e-2).fit(sample)
    facts = fitted.learnt_facts()
    assert facts["collapsed"] == [True, True]
    assert facts["active"] == [0, 0]
    assert max(facts["kl_mean"]) < 0.1
    assert "posterior collapse" in caplog.text


def test_no_collapse_where_the_reconstruction_counts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        fitted = scorer(beta=1e-4, epochs=2).fit(sample_of(event_cube(14, 400)))
    assert fitted.learnt_facts()["collapsed"] == [False, False]
    assert not caplog.text


def test_a_constant_encoder_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """All events equal: the encoder cannot but be constant."""
    cube = np.repeat(event_cube(15, 1), 100, axis=0)
    with caplog.at_level(logging.WARNING):
        fitted = scorer(epochs=1).fit(sample_of(cube))
    assert fitted.learnt_facts()["constant"] == [True, True]
    assert "same latent numbers" in caplog.text


# --- input


@pytest.mark.parametrize("kind", [1.5, -1.0, 9.0])
def test_a_bad_kind_is_told(kind: float) -> None:
    cube = event_cube(16, 100)
    fitted = scorer(epochs=1).fit(sample_of(cube))
    cube[3, 1, 0] = kind
    for attempt in (fitted.score, scorer().fit):
        with pytest.raises(InputError, match=f"'obj2_kind' has 1 values such as {kind:g}: a kind is a whole number"):
            attempt(sample_of(cube))


def test_events_without_objects_are_told() -> None:
    cube = event_cube(16, 100)
    cube[4] = 0.0
    with pytest.raises(InputError, match="1 of 100 events have no object"):
        scorer().fit(sample_of(cube))


def test_options_out_of_range_are_told() -> None:
    for options in ({"beta": 1.5}, {"beta": 0.0}, {"w": -1.0}, {"members": 0}, {"validation": 1.0}, {"hidden": (8, 0)}):
        with pytest.raises(ConfigError, match=r"must be"):
            scorer(**options)
    with pytest.raises(ConfigError, match="same number of columns"):
        DeepSetVAE(objects=[["a_kind", "x"], ["b_kind"]])
    with pytest.raises(ConfigError, match="none twice"):
        DeepSetVAE(objects=[["a", "x"], ["b", "x"]])
    with pytest.raises(ConfigError, match="in their order"):
        DeepSetVAE(["x", "a"], objects=[["a", "x"]])
    with pytest.raises(ConfigError, match="cannot tell which columns"):
        DeepSetVAE(["m_h", "tau21_h", "m_l"])
    with pytest.raises(InputError, match="at least 50 events"):
        scorer().fit(sample_of(event_cube(1, 49)))


def test_objects_are_found_by_the_names_of_their_columns() -> None:
    columns = (*names_of(2), *(f"met_{column}" for column in COLUMNS))
    found = DeepSetVAE(columns)
    assert found.objects[2] == tuple(f"met_{column}" for column in COLUMNS)
    assert found.options == DeepSetVAE(objects=found.objects).options
    assert (found.kinds, found.outputs, DeepSetVAE(["m_h", "m_l"]).kinds) == (True, 20, False)
    with pytest.raises(ConfigError, match="cannot tell which columns"):
        DeepSetVAE(columns[:-1])


def test_dijets_without_options(tmp_path: Path) -> None:
    """Two jets without kinds: the default reads what the autoencoder reads."""
    rng = np.random.default_rng(17)
    matrix = rng.normal(size=(400, len(AE_FEATURES))) * 100 + 500
    sample = Sample(matrix, AE_FEATURES, np.full(400, 3500.0))
    default = DeepSetVAE()
    assert default.features == AE_FEATURES
    assert (default.kinds, default.outputs, len(default.objects)) == (False, 2, 2)
    small = {**SMALL, "epochs": 1, "beta": 0.5, "outputs": None}
    result = CrossFit("deep-sets", folds=2, **small).fit_score(sample, None)
    assert np.isfinite(result.scores).all()
    swapped = np.concatenate([matrix[:, 5:], matrix[:, :5]], axis=1)
    fitted = default.clone(**small).fit(sample)
    np.testing.assert_allclose(fitted.score(Sample(swapped, AE_FEATURES, sample.mass)), fitted.score(sample), rtol=1e-6)


def test_kind_as_a_number_and_raw_distance_are_the_papers_options() -> None:
    sample = sample_of(event_cube(18, 200))
    fitted = scorer(one_hot=False, raw_distance=True, beta=0.5, epochs=1).fit(sample)
    assert fitted.learnt_tensors()["phi.weights.0"].shape[1] == 5  # log E, log pT, eta, phi, ID
    other = fitted.clone(raw_distance=False).fit(sample)
    assert not np.allclose(fitted.score(sample), other.score(sample), rtol=1e-2)
    paper = DeepSetVAE(names_of(5))
    assert [layer.width for layer in paper.design.phi_layers] == [264, 264, 264, 16]
    assert [layer.width for layer in paper.design.decoder_layers] == [256, 256, 20 * (4 + 9)]
    assert (paper.learning_rate, paper.batch_size, paper.reduce_after, paper.patience) == (1e-3, 500, 2, 4)
