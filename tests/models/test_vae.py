"""Variational autoencoder: a linear one is probabilistic PCA, whose optimum is known."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resonaut.errors import ConfigError, InputError
from resonaut.models import VAE, CrossFit, Sample, auc, load_scorer
from resonaut.models.counter import keys
from resonaut.models.gaussian import draw, kl_to_normal, standard_normal
from resonaut.models.inputs import AE_FEATURES

NAMES = tuple("abcd")
LINEAR: dict[str, Any] = {
    "hidden": (), "latent": 3, "beta": 0.3, "members": 1, "epochs": 60, "learning_rate": 1e-2, "batch_size": 250, "device": "cpu",
}  # fmt: skip
SMALL: dict[str, Any] = {
    "hidden": (32,),
    "latent": 2,
    "members": 2,
    "epochs": 12,
    "learning_rate": 3e-3,
    "device": "cpu",
}


def gaussian_sample(seed: int, events: int = 6000, odd: bool = False) -> Sample:
    """Four features made of two hidden numbers and noise; odd events have the fourth feature's sign turned."""
    rng = np.random.default_rng(seed)
    mixing = np.array([[1.0, 0.9, -0.8, 0.2], [0.1, -0.5, 0.6, 1.2]])
    features = rng.normal(size=(events, 2)) @ mixing + 0.3 * rng.normal(size=(events, 4))
    if odd:
        features[:, 1] *= -1.0
    return Sample(features * [1.0, 10.0, 100.0, 1.0] + [0.0, 5.0, 500.0, 0.0], NAMES, np.ones(events))


def standardised(sample: Sample) -> np.ndarray:
    return np.asarray((sample.features - sample.features.mean(axis=0)) / sample.features.std(axis=0))


def test_divergence_is_that_of_normal_distributions() -> None:
    generator = torch.Generator().manual_seed(1)
    mu, log_variance = torch.randn(2, 3, 7, 4, generator=generator, dtype=torch.float64)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mu, torch.exp(log_variance / 2)), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(kl_to_normal(mu, log_variance), expected.sum(dim=-1))
    tiny = kl_to_normal(mu * 1e-6, log_variance * 0)
    torch.testing.assert_close(tiny, (mu * 1e-6).square().sum(dim=-1) / 2, rtol=1e-12, atol=0)
    assert torch.isfinite(kl_to_normal(torch.zeros(1, 1), torch.full((1, 1), 1e4))).all()


def test_noise_is_normal_and_belongs_to_its_network() -> None:
    key = keys(torch.tensor([3, 4]), 1, 2)
    noise = standard_normal(key, 50_000, 2)
    assert abs(float(noise.mean())) < 0.01  # standard error 0.0022
    assert float(noise.std()) == pytest.approx(1.0, abs=0.01)
    assert float((noise.abs() > 2).float().mean()) == pytest.approx(0.0455, abs=0.002)
    assert abs(float((noise[0] * noise[1]).mean())) < 0.015
    torch.testing.assert_close(standard_normal(key[1:], 100, 2)[0], noise[1, :100])
    mu, log_variance = torch.full((2, 50_000, 2), 3.0), torch.full((2, 50_000, 2), np.log(4.0))
    assert float(draw(mu, log_variance, noise).std()) == pytest.approx(2.0, abs=0.02)
    assert draw(mu, log_variance, None) is mu


def test_linear_vae_is_probabilistic_pca() -> None:
    """Tipping, Bishop: directions of variance lambda above beta are used, and no others; loss, KL and error are known."""
    sample = gaussian_sample(1)
    fitted = VAE(NAMES, **LINEAR).fit(sample)
    variance = np.linalg.eigvalsh(np.cov(standardised(sample).T))[::-1]
    beta = LINEAR["beta"]
    assert np.count_nonzero(variance > beta) == 2  # of the three latent dimensions on offer
    used = variance[variance > beta]
    modelled = np.where(variance > beta, variance, beta)
    loss = beta * (np.log(modelled / beta).sum() + (variance / modelled).sum()) / 2
    kl = np.log(used / beta).sum() / 2
    error = (beta**2 / used).sum() + variance[variance <= beta].sum()
    found = {name: fitted.clone(score_as=name) for name in ("kl", "reconstruction", "loss")}
    for each in found.values():
        each.restore(fitted.learnt_tensors(), fitted.learnt_facts())
    assert fitted.training_["loss"][0] == pytest.approx(loss, rel=0.1)  # 600 validation events: 4 %
    assert fitted.training_["active"] == [2]
    assert found["kl"].score(sample).mean() == pytest.approx(kl, rel=0.05)
    assert found["reconstruction"].score(sample).mean() * 4 == pytest.approx(error, rel=0.05)
    both = found["reconstruction"].score(sample) * 2 + beta * found["kl"].score(sample)
    np.testing.assert_allclose(found["loss"].score(sample), both, rtol=1e-5)


def test_evidence_bound_lies_below_the_likelihood() -> None:
    """loss / beta + d/2 log(2 pi beta) >= - mean log p(x), the entropy of the Gaussian that the events are from."""
    sample = gaussian_sample(2)
    fitted = VAE(NAMES, **{**SMALL, "beta": 0.1, "epochs": 30}).fit(sample)
    assert fitted.network_ is not None
    with torch.no_grad():
        x = torch.as_tensor(sample.features, dtype=torch.float32)
        bound = -fitted.network_.losses(x, 0).mean(dim=1).double().numpy() / 0.1 - 2 * np.log(2 * np.pi * 0.1)
    covariance = np.cov(standardised(sample).T)
    likelihood = -(np.linalg.slogdet(2 * np.pi * covariance)[1] + 4) / 2
    assert (bound < likelihood + 0.02).all()
    assert (bound > likelihood - 1.0).all()  # and the training got near it


@pytest.mark.parametrize(("score_as", "least"), [("reconstruction", 0.85), ("loss", 0.7)])
def test_finds_events_off_the_plane(score_as: Any, least: float) -> None:
    fitted = VAE(NAMES, score_as=score_as, beta=0.05, **SMALL).fit(gaussian_sample(3))
    usual, odd = fitted.score(gaussian_sample(4, 1000)), fitted.score(gaussian_sample(5, 1000, odd=True))
    assert auc(np.repeat([0, 1], 1000), np.concatenate([usual, odd])) > least


def test_far_out_events_have_a_large_divergence() -> None:
    fitted = VAE(NAMES, score_as="kl", beta=0.05, **SMALL).fit(gaussian_sample(3))
    usual = gaussian_sample(4, 1000)
    centre = usual.features.mean(axis=0)
    far = Sample(centre + 4 * (usual.features - centre), NAMES, usual.mass)
    assert auc(np.repeat([0, 1], 1000), np.concatenate([fitted.score(usual), fitted.score(far)])) > 0.85


def test_a_stack_is_a_loop_of_single_trainings() -> None:
    sample = gaussian_sample(6, 1000)
    options = {**SMALL, "members": 3, "epochs": 15, "patience": 2, "reduce_after": 1}
    together, alone = (VAE(NAMES, **options, stack_size=size).fit(sample) for size in (3, 1))
    assert together.training_["epochs"] == alone.training_["epochs"]
    np.testing.assert_allclose(together.member_scores(sample), alone.member_scores(sample), rtol=0.05, atol=1e-3)
    scores = [VAE(NAMES, **options, seed=seed).fit(sample).score(sample) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.allclose(scores[0], scores[2], rtol=1e-3)


def test_collapse_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """beta above every variance: nothing is worth encoding."""
    with caplog.at_level(logging.WARNING):
        fitted = VAE(NAMES, **{**LINEAR, "beta": 5.0, "epochs": 40}).fit(gaussian_sample(7, 2000))
    assert fitted.learnt_facts()["collapsed"] == [True]
    assert "posterior collapse" in caplog.text


def test_saved_loaded_and_cross_fitted(tmp_path: Path) -> None:
    sample = gaussian_sample(8, 400)
    fitted = VAE(NAMES, **{**SMALL, "epochs": 2}, score_as="loss").fit(sample)
    fitted.save(tmp_path / "model")
    again = load_scorer(tmp_path / "model")
    assert isinstance(again, VAE)
    np.testing.assert_array_equal(again.score(sample), fitted.score(sample))
    assert (again.options, again.training_) == (fitted.options, fitted.training_)
    result = CrossFit("vae", features=list(NAMES), folds=2, **{**SMALL, "epochs": 1}).fit_score(sample, None)
    assert np.isfinite(result.scores).all()


def test_weightless_events_teach_nothing() -> None:
    sample = gaussian_sample(9, 400)
    spoilt = sample.features.copy()
    spoilt[::2] = 1e4
    weight = np.where(np.arange(400) % 2 == 0, 0.0, 1.0)
    options = {**SMALL, "epochs": 2}
    scores = [
        VAE(NAMES, **options).fit(Sample(each, NAMES, sample.mass, weight)).score(sample)
        for each in (sample.features, spoilt)
    ]
    np.testing.assert_allclose(*scores, rtol=1e-3)


def test_options_out_of_range_are_told() -> None:
    assert VAE().features == AE_FEATURES
    with pytest.raises(ConfigError, match="did you mean 'reconstruction'"):
        VAE(score_as="reconstructed")  # type: ignore[arg-type]
    for options in ({"beta": 0.0}, {"latent": 0}, {"hidden": (0,)}, {"validation": 1.0}):
        with pytest.raises(ConfigError, match="must be"):
            VAE(**options)
    with pytest.raises(InputError, match="at least 50 events"):
        VAE(NAMES).fit(gaussian_sample(1, 49))
