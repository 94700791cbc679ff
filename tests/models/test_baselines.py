"""Unsupervised baselines against scikit-learn, brute force and toys with known answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest as ScikitForest
from sklearn.mixture import GaussianMixture

from resonaut.errors import ConfigError, InputError, ModelError
from resonaut.models import Clusters, CrossFit, IsolationForest, Nearest, Sample, auc, load_scorer, make_scorer
from resonaut.models.draws import draw_rows, standardisation
from resonaut.models.isolation_forest import flat_forest, path_length

NAMES = ("a", "b", "c", "d")
SMALL: dict[str, dict[str, Any]] = {
    "isolation-forest": {"trees": 30},
    "knn": {"events": 500},
    "clusters": {"clusters": 3},
}


def plane(seed: int, events: int = 3000, anomalous: float = 0.0) -> Sample:
    """Background near a plane in four dimensions; anomalies with the same widths of each feature, but off the plane."""
    rng = np.random.default_rng(seed)
    label = rng.random(events) < anomalous
    directions = np.array([[1.0, 0.0, 2.0, -1.0], [0.0, 1.5, -1.0, 1.0]])
    background = rng.normal(size=(events, 2)) @ directions + 0.2 * rng.normal(size=(events, 4))
    anomaly = rng.normal(size=(events, 4)) * background.std(axis=0)
    return Sample(np.where(label[:, None], anomaly, background), NAMES, rng.uniform(3000, 4000, events), label=label)


def awkward(seed: int, events: int) -> np.ndarray:
    """Columns of different kinds: normal, whole numbers with ties, a long tail, a constant."""
    rng = np.random.default_rng(seed)
    return np.column_stack(
        [rng.normal(size=events), rng.integers(0, 5, events), 1e4 * rng.exponential(size=events), np.ones(events)]
    )


@pytest.mark.parametrize("events", [16, 256, 5000])
def test_isolation_forest_equals_scikit_learn(events: int) -> None:
    training, test = awkward(1, 4000), awkward(2, 1500) * 1.5
    fitted = ScikitForest(n_estimators=40, max_samples=min(events, 4000), random_state=3).fit(training)
    flat = flat_forest(fitted)
    got = 2.0 ** -flat.evaluate(test.astype(np.float32).astype(float))
    np.testing.assert_allclose(got, -fitted.score_samples(test), rtol=0, atol=1e-9)


def test_isolation_forest_scores_as_scikit_learn_whatever_happened_on_the_way(tmp_path: Path) -> None:
    sample, test = plane(1), plane(2, anomalous=0.2)
    scorer = IsolationForest(NAMES, trees=25, events=200, seed=4).fit(sample)
    seed = int(np.random.SeedSequence(4).generate_state(1)[0] % 2**31)
    theirs = ScikitForest(n_estimators=25, max_samples=200, random_state=seed).fit(sample.features)
    expected = -theirs.score_samples(test.features)
    np.testing.assert_allclose(scorer.score(test), expected, rtol=0, atol=1e-9)
    scorer.save(tmp_path / "saved")
    np.testing.assert_allclose(load_scorer(tmp_path / "saved").score(test), expected, rtol=0, atol=1e-9)


def test_path_length_by_counting() -> None:
    """Random trees over n points: c(n) is the mean depth of a random binary search tree, c(n) = 2 H(n-1) - 2 (n-1)/n."""
    for n in (2, 3, 10, 256):
        harmonic = sum(1.0 / k for k in range(1, n))
        assert float(path_length(np.array(n))) == pytest.approx(
            2 * harmonic - 2 * (n - 1) / n, abs=1.0 / (n - 1)
        )  # ln n + 0.577 stands for the harmonic number
    assert path_length(np.array([0, 1, 2])).tolist() == [0.0, 0.0, 1.0]  # scikit-learn's convention


@pytest.mark.parametrize("distance", ["kth", "mean"])
def test_neighbours_by_brute_force(distance: Any) -> None:
    training, test = Sample(awkward(1, 400), NAMES, np.ones(400)), awkward(2, 50)
    scorer = Nearest(NAMES, k=7, distance=distance).fit(training)
    scale = training.features.std(axis=0)
    scale[3] = 1.0  # the constant column
    apart = np.linalg.norm((test[:, None] - training.features[None]) / scale, axis=2)
    nearest = np.sort(apart, axis=1)[:, :7]
    expected = nearest[:, 6] if distance == "kth" else nearest.mean(axis=1)
    np.testing.assert_allclose(scorer.score(Sample(test, NAMES, np.ones(50))), expected, rtol=1e-10)


def test_neighbours_keep_the_events_asked_for() -> None:
    sample = plane(3)
    scorer = Nearest(NAMES, events=100).fit(sample)
    assert scorer.points_.shape == (100, 4)
    assert scorer.score(sample.take(np.arange(0))).shape == (0,)
    with pytest.raises(ConfigError, match="keeps 3 events and asks for 5 neighbours"):
        Nearest(NAMES, events=3)
    with pytest.raises(ConfigError, match="'kth' or 'mean', got 'max'"):
        Nearest(NAMES, distance="max")  # type: ignore[arg-type]


def test_clusters_score_as_scikit_learn() -> None:
    sample, test = plane(1), plane(2, anomalous=0.2)
    shift, scale = sample.features.mean(axis=0), sample.features.std(axis=0)
    points = (sample.features - shift) / scale
    seed = int(np.random.SeedSequence(0).generate_state(1)[0] % 2**31)
    there = (test.features - shift) / scale
    mixture = GaussianMixture(4, max_iter=200, random_state=seed).fit(points)
    got = Clusters(NAMES, clusters=4).fit(sample).score(test)
    np.testing.assert_allclose(got, -mixture.score_samples(there), rtol=1e-9, atol=1e-9)
    means = KMeans(4, max_iter=200, n_init=3, random_state=seed).fit(points)
    got = Clusters(NAMES, model="k-means", clusters=4).fit(sample).score(test)
    np.testing.assert_allclose(got, means.transform(there).min(axis=1), rtol=1e-9)


def test_clusters_know_a_gaussian() -> None:
    """One cluster on normal events is the normal density itself."""
    rng = np.random.default_rng(5)
    sample = Sample(rng.normal(3.0, 2.0, size=(40_000, 1)), ("a",), np.ones(40_000))
    test = np.array([[3.0], [5.0], [9.0]])
    got = Clusters(("a",), clusters=1).fit(sample).score(Sample(test, ("a",), np.ones(3)))
    np.testing.assert_allclose(got, 0.5 * np.log(2 * np.pi) + 0.5 * np.array([0.0, 1.0, 9.0]), atol=0.15)


def test_clusters_that_do_not_converge_say_so(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    scorer = Clusters(NAMES, clusters=6, iterations=1).fit(plane(1))
    assert "no convergence in 1 iterations" in caplog.text
    scorer.save(tmp_path / "saved")
    assert not load_scorer(tmp_path / "saved").learnt_facts()["converged"]  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="at least 60 events for 6 clusters, got 50"):
        Clusters(NAMES, clusters=6).fit(plane(1, events=50))
    with pytest.raises(ConfigError, match="'gaussian-mixture' or 'k-means'"):
        Clusters(NAMES, model="dbscan")  # type: ignore[arg-type]


# Cuts along the axes hardly see a correlation: the forest is the weakest here, as it should be.
@pytest.mark.parametrize(("name", "least"), [("isolation-forest", 0.65), ("knn", 0.9), ("clusters", 0.9)])
def test_a_search_finds_what_lies_off_the_plane(name: str, least: float) -> None:
    sample = plane(6, events=4000, anomalous=0.05)
    result = CrossFit(name, folds=3, seed=1, features=NAMES, **SMALL[name]).fit_score(sample, None)
    assert auc(sample.truth(), result.scores) > least
    for cut, mask in result.select((0.1, 0.01)).items():
        assert mask.sum() == pytest.approx(cut * len(sample), abs=4)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_save_seed_and_weights(name: str, tmp_path: Path) -> None:
    sample, test = plane(7), plane(8, anomalous=0.3)
    scorer = make_scorer(name, features=NAMES, **SMALL[name]).fit(sample, None)
    scorer.save(tmp_path / "saved")
    np.testing.assert_array_equal(load_scorer(tmp_path / "saved").score(test), scorer.score(test))
    again, other = (make_scorer(name, features=NAMES, seed=seed, **SMALL[name]).fit(sample, None) for seed in (0, 1))
    np.testing.assert_array_equal(again.score(test), scorer.score(test))
    assert not np.array_equal(other.score(test), scorer.score(test))
    # half of the events far away, with weight zero: they might as well be absent
    far = Sample(
        np.concatenate([sample.features, sample.features + 50.0]), NAMES, np.ones(6000), np.repeat([1.0, 0.0], 3000)
    )
    silenced = make_scorer(name, features=NAMES, **SMALL[name]).fit(far, None)
    beyond = Sample(test.features + 50.0, NAMES, test.mass)
    assert np.median(silenced.score(beyond)) > np.quantile(silenced.score(test), 0.99)
    with pytest.raises(ModelError, match="is not fitted"):
        make_scorer(name).score(test)
    with pytest.raises(InputError, match="at least"):
        scorer.fit(test.take(np.arange(3)), None)


def test_draws_follow_the_weights() -> None:
    rng = np.random.default_rng(9)
    weight = rng.exponential(size=200) * (np.arange(200) % 3 > 0)
    rows = draw_rows(weight, 200, rng)
    times = np.bincount(rows, minlength=200)
    assert np.all(np.abs(times - 200 * weight / weight.sum()) < 1.0)
    plain = draw_rows(np.full(200, 0.7), 50, rng)
    assert len(np.unique(plain)) == 50
    with pytest.raises(InputError, match="none with a weight above 0"):
        draw_rows(np.zeros(4), 2, rng)


def test_standardisation_with_weights_is_that_of_repeated_events() -> None:
    matrix = awkward(3, 30)
    times = np.random.default_rng(0).integers(1, 4, 30)
    for got, expected in zip(
        standardisation(matrix, times.astype(float)),
        standardisation(np.repeat(matrix, times, axis=0), np.ones(times.sum())),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected)
    assert standardisation(matrix, np.ones(30))[1][3] == 1.0
