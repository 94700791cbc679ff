"""The bottleneck study finds the number of hidden variables that the features are functions of."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from resonaut.errors import ConfigError, InputError
from resonaut.models import BottleneckStudy, Sample, bottleneck_study
from resonaut.models.stack import Layer

NAMES = tuple("abcdefgh")
OPTIONS = {
    "trainings": 3, "hidden": (32,), "epochs": 12, "events": 4000, "learning_rate": 3e-3, "device": "cpu", "seed": 1,
}  # fmt: skip


def sample_of(features: np.ndarray) -> Sample:
    return Sample(features, NAMES, np.ones(len(features)))


def linear(events: int = 6000) -> np.ndarray:
    """Eight features that are linear in two hidden numbers, with noise."""
    rng = np.random.default_rng(1)
    clean = rng.normal(size=(events, 2)) @ rng.normal(size=(2, 8))
    return np.asarray(clean + 0.15 * clean.std(axis=0) * rng.normal(size=clean.shape))


def curved(events: int = 6000) -> np.ndarray:
    """Eight functions of two hidden numbers, most of them not linear: principal components need more than two."""
    a, b = np.random.default_rng(2).uniform(-1.0, 1.0, (2, events))
    return np.stack([a, b, a + b, a - b, a**2 + b, np.sin(3 * a), np.cos(3 * b), a * b], axis=1)


def pca_unexplained(features: np.ndarray) -> np.ndarray:
    """Fraction of the variance of standardised features beyond the first k principal components, k = 1 ... n - 1."""
    variance = np.linalg.eigvalsh(np.corrcoef(features.T))[::-1]
    return np.asarray(1 - np.cumsum(variance)[:-1] / variance.sum())


@pytest.mark.parametrize("make", [linear, curved])
def test_a_linear_bottleneck_explains_what_the_principal_components_do(
    make: Callable[[], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "resonaut.models.autoencoder.autoencoder_layers", lambda inputs, _hidden, latent: (Layer(latent), Layer(inputs))
    )
    features = make()
    study = bottleneck_study(sample_of(features), NAMES, latents=(1, 2, 3), **{**OPTIONS, "epochs": 25})
    np.testing.assert_allclose(study.fvu_mean[0], pca_unexplained(features)[:3], atol=0.02)  # 1200 events


@pytest.mark.parametrize("make", [linear, curved])
def test_two_hidden_numbers_need_two_dimensions(make: Callable[[], np.ndarray]) -> None:
    """Straight or curved: the FVU falls until two and is flat after."""
    study = bottleneck_study(sample_of(make()), NAMES, latents=(1, 2, 3), **OPTIONS)
    assert study.chosen == {32: (1, 2)}
    assert study.recommended == 2
    assert study.drop[0, 1] > study.nominal_drop + 0.03
    assert abs(study.drop[0, 2]) < 0.02


def test_a_curved_plane_is_explained_better_than_by_principal_components() -> None:
    features = curved()
    study = bottleneck_study(sample_of(features), NAMES, latents=(2,), **OPTIONS)
    assert study.fvu_mean[0][0] < 0.3 * pca_unexplained(features)[1]


def test_the_study_and_its_numbers() -> None:
    study = BottleneckStudy(
        tuple("abcde"),
        (1, 2, 3),
        (16, 64),
        4,
        ((0.7, 0.6, 0.3), (0.5, 0.25, 0.2)),
        ((0.04, 0.0, 0.0), (0.02, 0.02, 0.02)),
        2.0,
    )
    np.testing.assert_allclose(study.drop, [[0.3, 0.1, 0.3], [0.5, 0.25, 0.05]])
    np.testing.assert_allclose(study.drop_error[0], [0.02, 0.02, 0.0])
    np.testing.assert_allclose(study.drop_error[1], [0.01, 0.01 * np.sqrt(2), 0.01 * np.sqrt(2)])
    assert study.chosen == {16: (1, 3), 64: (1, 2)}  # 0.3 - 0.2 = 5 errors; 0.25 - 0.2 = 3.5 errors
    assert study.recommended == 2
    np.testing.assert_allclose(study.nominal_fvu, [0.8, 0.6, 0.4])
    assert BottleneckStudy.from_dict(json.loads(json.dumps(study.to_dict()))) == study
    later = BottleneckStudy(tuple("abcde"), (2, 3), (16,), 4, ((0.6, 0.3),), ((0.01, 0.01),), 2.0)
    assert np.isnan(later.drop[0, 0])
    assert later.chosen == {16: (3,)}
    assert json.loads(json.dumps(later.to_dict(), allow_nan=False))["drop"][0][0] is None
    with pytest.raises(InputError, match="not a bottleneck study"):
        BottleneckStudy.from_dict({"features": ["a"]})


def test_bad_options_are_told() -> None:
    sample = sample_of(linear(100))
    for options, match in (
        ({"latents": (1, 3)}, "rise by one"),
        ({"latents": (0, 1)}, "rise by one"),
        ({"trainings": 1}, "2 trainings"),
        ({"hidden": ()}, "at least one width"),
        ({"significance": 0.0}, "must be above 0"),
        ({"epochs": 0}, "must be above 0"),
    ):
        with pytest.raises(ConfigError, match=match):
            bottleneck_study(sample, NAMES, **options)
