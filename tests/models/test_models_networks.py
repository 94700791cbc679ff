"""Scorers with networks: the nested cross-validation of CWoLa, and the autoencoder ensemble."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from resonaut.errors import ConfigError, InputError, ModelError
from resonaut.models import Autoencoder, CrossFit, CWoLaNetwork, Sample, assign_folds, auc, load_scorer
from resonaut.models.autoencoder import autoencoder_layers
from resonaut.models.cwola import CWOLA_LAYERS
from resonaut.stats import Window

WINDOW = Window(3400.0, 3600.0, 3200.0, 3800.0)
SMALL = {"rounds": 3, "initialisations": 2, "epochs": 6, "patience": 3, "batch_size": 256, "learning_rate": 5e-3}


def network_sample(seed: int, signal: float, events: int = 3000) -> Sample:
    rng = np.random.default_rng(seed)
    label = rng.random(events) < signal
    mass = np.where(label, rng.normal(3500.0, 40.0, events), rng.uniform(3100.0, 3900.0, events))
    features = np.where(label[:, None], rng.normal(2.0, 0.3, (events, 2)), rng.normal(0.0, 1.0, (events, 2)))
    return Sample(features, ("x", "y"), mass, label=label)


def test_defaults_are_the_papers() -> None:
    options = CWoLaNetwork().options
    paper = {
        "rounds": 4,
        "initialisations": 10,
        "epochs": 700,
        "patience": 300,
        "batch_size": 20480,
        "learning_rate": 1e-3,
        "decay": 5e-4,
        "scaled_by_mass": [],
    }
    assert {name: options[name] for name in paper} == paper
    assert [(layer.width, layer.activation, layer.dropout) for layer in CWOLA_LAYERS] == [
        (64, "leaky", 0.2),
        (32, "elu", 0.2),
        (16, "elu", 0.2),
        (4, "elu", 0.0),
        (1, "linear", 0.0),
    ]
    options = Autoencoder().options
    paper = {"members": 50, "events": 50_000, "epochs": 1, "batch_size": 128, "learning_rate": 1e-4}
    assert {name: options[name] for name in paper} == paper
    assert [layer.width for layer in autoencoder_layers(10, 512, 2)] == [512, 512, 2, 512, 512, 10]


def test_a_window_as_one_stack_is_the_folds_one_after_another() -> None:
    sample = network_sample(1, 0.05)
    scorer = CWoLaNetwork(("x", "y"), **SMALL)
    fold = assign_folds(sample.mass, 3, seed=0)
    together = scorer.fit_folds(sample, WINDOW, fold, [5, 6, 7])
    for number, seed in enumerate([5, 6, 7]):
        alone = scorer.clone(seed=seed).fit(sample.take(fold != number), WINDOW)
        np.testing.assert_allclose(together[number].score(sample), alone.score(sample), atol=2e-3)


def test_nested_rounds_never_validate_on_training_events() -> None:
    sample = network_sample(2, 0.0)
    scorer = CWoLaNetwork(("x", "y"), rounds=4)
    pool = np.arange(0, 3000, 2)
    seen = np.zeros(3000)
    for training, validation in scorer._rounds(sample, WINDOW, pool, np.random.SeedSequence(1)):
        assert not set(training.rows) & set(validation.rows)
        assert set(training.rows) | set(validation.rows) == set(pool)
        assert training.weight.mean() == pytest.approx(
            np.mean(abs(sample.mass[training.rows] - 3500.0) < 300.0), rel=0.02
        )
        seen[validation.rows] += 1
    np.testing.assert_array_equal(seen[pool], 1)


def test_cwola_network_finds_a_resonance_without_labels() -> None:
    sample = network_sample(3, 0.03, 12_000)
    result = CrossFit(CWoLaNetwork(("x", "y"), **{**SMALL, "epochs": 12}), folds=3, seed=1).fit_score(sample, WINDOW)
    assert auc(sample.truth(), result.scores) > 0.9
    assert np.all((result.scores > 0) & (result.scores < 1))


def test_no_signal_teaches_a_network_nothing() -> None:
    sample = network_sample(4, 0.0, 9000)
    result = CrossFit(CWoLaNetwork(("x", "y"), **SMALL), folds=3, seed=1).fit_score(sample, WINDOW)
    inside = sample.mass > 0
    inside &= WINDOW.in_signal_region(sample.mass) | WINDOW.in_sidebands(sample.mass)
    value = auc(WINDOW.in_signal_region(sample.mass[inside]), result.scores[inside])
    assert abs(value - 0.5) < 0.03  # 6700 events: standard deviation 0.007, folds differ in scale


def test_network_saved_and_loaded(tmp_path: Path) -> None:
    sample = network_sample(5, 0.05)
    scorer = CWoLaNetwork(("x", "y"), **SMALL).fit(sample, WINDOW)
    scorer.save(tmp_path / "model")
    again = load_scorer(tmp_path / "model")
    assert isinstance(again, CWoLaNetwork)
    np.testing.assert_array_equal(again.score(sample), scorer.score(sample))
    assert again.training_ == scorer.training_
    assert len(again.training_["figure"]) == 3


def correlated(seed: int, events: int) -> np.ndarray:
    """Five features that are functions of two hidden numbers."""
    hidden = np.random.default_rng(seed).normal(size=(events, 2))
    mixing = np.array([[1.0, 0.5, -1.0, 0.3, 0.8], [0.2, -1.0, 0.4, 1.0, 0.9]])
    return np.asarray(hidden @ mixing * [1.0, 10.0, 100.0, 1.0, 1.0] + [0.0, 5.0, 500.0, 0.0, 0.0])


def autoencoder(**changes: object) -> Autoencoder:
    options = {"members": 3, "events": 4000, "epochs": 8, "hidden": 32, "learning_rate": 3e-3, **changes}
    return Autoencoder(tuple("abcde"), **options)  # type: ignore[arg-type]


def plane_sample(seed: int = 0, events: int = 6000) -> Sample:
    return Sample(correlated(seed, events), tuple("abcde"), np.linspace(3000.0, 4000.0, events))


def test_autoencoder_compresses_what_lies_on_a_plane() -> None:
    """Two latent dimensions explain a plane, one cannot: the principal components give the limit."""
    sample = plane_sample()
    enough, short = (autoencoder(latent=latent).fit(sample) for latent in (2, 1))
    singular = np.linalg.svd((sample.features - sample.features.mean(0)) / sample.features.std(0), compute_uv=False)
    linear = 1 - singular[0] ** 2 / np.sum(singular**2)
    assert enough.fvu_.mean() < 0.1
    assert short.fvu_.mean() > 0.4 * linear
    assert short.fvu_.mean() - enough.fvu_.mean() > 1 / 5  # worth the dimension, by the criterion of appendix C


def test_autoencoder_scores_events_off_the_plane() -> None:
    sample = plane_sample()
    scorer = autoencoder().fit(sample, None)
    test = plane_sample(1, 2000)
    odd = test.features.copy()
    odd[::2, 2] *= -1.0  # the third feature breaks its relation with the others
    score = scorer.score(
        Sample(odd + [0.0, 0.0, 1000.0, 0.0, 0.0] * (np.arange(2000) % 2 == 0)[:, None], test.names, test.mass)
    )
    assert auc(np.arange(2000) % 2 == 0, score) > 0.8


def test_autoencoder_does_not_look_at_the_window_or_the_mass() -> None:
    sample = plane_sample()
    moved = Sample(sample.features, sample.names, sample.mass[::-1])
    scores = [
        autoencoder(epochs=1).fit(each, window).score(sample) for each, window in ((sample, None), (moved, WINDOW))
    ]
    np.testing.assert_array_equal(scores[0], scores[1])


def test_autoencoder_score_is_the_mean_squared_error() -> None:
    sample = plane_sample(events=500)
    scorer = autoencoder(epochs=1).fit(sample)
    assert scorer.network_ is not None
    with torch.no_grad():
        x = torch.as_tensor(sample.features, dtype=torch.float32)
        output = scorer.network_(x).numpy()
    centred = (sample.features - sample.features.mean(axis=0)) / sample.features.std(axis=0)
    np.testing.assert_allclose(scorer.score(sample), ((output - centred) ** 2).mean(axis=(0, 2)), rtol=1e-3)


def test_autoencoder_stack_size_does_not_matter_and_saves(tmp_path: Path) -> None:
    sample = plane_sample(events=1500)
    one, all_ = (autoencoder(epochs=1, stack_size=size).fit(sample) for size in (1, 3))
    np.testing.assert_allclose(one.score(sample), all_.score(sample), rtol=1e-3)
    all_.save(tmp_path / "ae")
    again = load_scorer(tmp_path / "ae")
    assert isinstance(again, Autoencoder)
    np.testing.assert_array_equal(again.score(sample), all_.score(sample))
    np.testing.assert_array_equal(again.fvu_, all_.fvu_)


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="'rounds' of 'cwola-nn' must be at least 2"):
        CWoLaNetwork(rounds=1)
    with pytest.raises(ConfigError, match="'epochs' of 'cwola-nn' must be above 0"):
        CWoLaNetwork(epochs=0)
    with pytest.raises(InputError, match="a Window"):
        CWoLaNetwork(("x", "y")).fit(network_sample(0, 0.0, 100), None)
    with pytest.raises(InputError, match="at least 10 events, got 3"):
        autoencoder().fit(plane_sample().take(np.arange(3)))
    with pytest.raises(ModelError, match="'autoencoder' is not fitted"):
        autoencoder().score(plane_sample())
