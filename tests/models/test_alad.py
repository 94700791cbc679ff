"""ALAD: a toy that it must find, its parts against what they are made of, and trainings that have collapsed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from resonaut.errors import ConfigError, InputError, ModelError
from resonaut.models import Alad, CrossFit, Sample, auc, load_scorer
from resonaut.models.alad_networks import AladNetworks, Collapse, discriminator_loss, generator_loss

NAMES = ("a", "b", "c", "d")
QUICK = {"latent": 2, "hidden": 32, "batch_size": 64, "epochs": 14, "learning_rate": 3e-3, "device": "cpu"}


def plane(seed: int, events: int = 4000, anomalous: float = 0.0) -> Sample:
    """Background near a plane in four dimensions; anomalies with the same widths of each feature, but off the plane."""
    rng = np.random.default_rng(seed)
    label = rng.random(events) < anomalous
    directions = np.array([[1.0, 0.0, 2.0, -1.0], [0.0, 1.5, -1.0, 1.0]])
    background = rng.normal(size=(events, 2)) @ directions + 0.2 * rng.normal(size=(events, 4))
    anomaly = rng.normal(size=(events, 4)) * background.std(axis=0)
    return Sample(np.where(label[:, None], anomaly, background), NAMES, rng.uniform(3000, 4000, events), label=label)


@pytest.mark.slow
def test_off_the_plane_is_anomalous_out_of_fold() -> None:
    sample = plane(1, anomalous=0.03)
    result = CrossFit("alad", folds=2, seed=2, features=NAMES, **QUICK).fit_score(sample, None)
    assert auc(sample.truth(), result.scores) > 0.9
    facts = result.scorer.scorers[0].learnt_facts()  # type: ignore[attr-defined]
    assert facts["collapsed"] == []
    assert facts["generated_spread"] > 0.5


def test_save_and_seeds(tmp_path: Path) -> None:
    sample, test = plane(3, 600), plane(4, 200, 0.5)
    options = {**QUICK, "epochs": 1}
    state = torch.random.get_rng_state()
    scorer = Alad(NAMES, **options).fit(sample)  # type: ignore[arg-type]
    assert torch.equal(torch.random.get_rng_state(), state)  # the user's random numbers are left alone
    scorer.save(tmp_path / "saved")
    loaded = load_scorer(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.score(test), scorer.score(test))
    assert loaded.learnt_facts() == scorer.learnt_facts()  # type: ignore[attr-defined]
    again, other = (Alad(NAMES, seed=seed, **options).fit(sample) for seed in (0, 1))  # type: ignore[arg-type]
    np.testing.assert_array_equal(again.score(test), scorer.score(test))
    assert not np.array_equal(other.score(test), scorer.score(test))
    shuffled = Sample(test.features[:, ::-1], NAMES[::-1], test.mass)
    np.testing.assert_array_equal(scorer.score(shuffled), scorer.score(test))


def test_spectral_norms_are_one_until_they_are_taken_off() -> None:
    torch.manual_seed(1)
    networks = AladNetworks(4, 2, 16).normalised()
    x, z = torch.randn(64, 4), torch.randn(64, 2)
    for _ in range(30):  # each training pass improves the estimate of the norm by one step
        networks.d_xz(x, networks.encoder(x))
    assert torch.linalg.matrix_norm(networks.xz[0].weight, 2).item() == pytest.approx(1.0, abs=0.02)
    before = networks.eval().d_xz(x, z)
    torch.testing.assert_close(networks.plain().d_xz(x, z), before)
    assert not any("parametrizations" in name for name in networks.state_dict())


def test_a_perfect_reconstruction_has_no_distance() -> None:
    torch.manual_seed(2)
    networks = AladNetworks(3, 3, 16).eval()
    networks.encoder, networks.generator = torch.nn.Sequential(), torch.nn.Sequential()  # both the identity
    assert networks.distance(torch.randn(20, 3)).abs().max().item() == 0.0
    networks.generator = torch.nn.Sequential(torch.nn.Linear(3, 3))
    x = torch.randn(5, 3)
    again = networks.generator(x)
    hidden = [networks.xx_hidden(torch.cat([x, second], dim=1)) for second in (x, again)]
    expected = [
        sum(abs(a - b) for a, b in zip(*rows, strict=True)) for rows in zip(*(h.tolist() for h in hidden), strict=True)
    ]
    torch.testing.assert_close(networks.distance(x), torch.tensor(expected))


def test_losses_teach_their_own_side_alone() -> None:
    torch.manual_seed(3)
    networks = AladNetworks(4, 2, 16).eval()
    x, z = torch.randn(32, 4), torch.randn(32, 2)
    discriminator_loss(networks, x, z).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in networks.makers())
    assert all(p.grad is not None for p in networks.discriminators())
    for network in (networks.xz, networks.xx_last, networks.zz):  # undecided discriminators: every term is ln 2
        torch.nn.init.zeros_(network[-1].weight)
        torch.nn.init.zeros_(network[-1].bias)
    assert discriminator_loss(networks, x, z).item() == pytest.approx(6 * np.log(2))
    assert generator_loss(networks, x, z).item() == pytest.approx(4 * np.log(2))


def test_collapse_is_seen_and_told(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(4)
    networks, x = AladNetworks(4, 2, 16).eval(), torch.randn(500, 4)
    torch.nn.init.zeros_(networks.generator[-1].weight)  # the same event over and over
    found = Collapse.of(networks, x)
    assert found.generated_spread == pytest.approx(0.0, abs=1e-6)
    assert "the generator has collapsed" in found.reasons[0]
    torch.nn.init.zeros_(networks.encoder[-1].weight)
    assert "the encoder has collapsed" in Collapse.of(networks, x).reasons[1]
    assert "the discriminator has won" in Collapse(1.0, 1.0, 0.999, 0.1).reasons[0]
    assert Collapse(1.0, 1.0, 0.5, 0.1).reasons == []
    assert "not reproduced (1.2" in Collapse(1.0, 1.0, 0.5, 1.2).reasons[0]
    scorer = Alad(NAMES, epochs=1, learning_rate=1e-7, latent=2, hidden=8, device="cpu").fit(
        plane(5, 600)
    )  # has learnt nothing
    assert scorer.learnt_facts()["collapsed"]
    assert "alad: the generator has collapsed" in caplog.text


def test_mistakes_are_named() -> None:
    with pytest.raises(InputError, match="two batches of 256 events, got 100"):
        Alad(NAMES).fit(plane(1, 100))
    with pytest.raises(ModelError, match="'alad' is not fitted"):
        Alad(NAMES).score(plane(1, 10))
    with pytest.raises(ConfigError, match="'latent' of 'alad' must be above 0"):
        Alad(NAMES, latent=0)
