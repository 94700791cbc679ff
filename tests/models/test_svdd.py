"""Deep SVDD: against single trainings in plain torch, on toys whose anomalies are known, and where it collapses."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from resonaut.errors import ConfigError, InputError, ModelError
from resonaut.models import CrossFit, DeepSVDD, Sample, auc, load_scorer, make_scorer, save_scorer
from resonaut.models.group_training import GroupTraining
from resonaut.models.stack import Layer, StackedAdam
from resonaut.models.svdd import SVDD_DIMENSIONS, SVDD_TARGETS
from resonaut.models.targets import Aims, TargetData, evaluate_targets, stack_of, train_to_targets

NAMES = tuple("abcdef")
SMALL = {"dimensions": (2, 5), "targets": (0, 1, 10), "hidden": (32, 16), "batch_size": 128, "epochs": 20}


def related(n: int, seed: int) -> Sample:
    """Six features of two hidden numbers."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, 2))
    x = np.column_stack([hidden, hidden.sum(axis=1), hidden[:, 0] - hidden[:, 1], hidden**2]) + 0.05 * rng.normal(
        size=(n, 6)
    )
    return Sample(x, NAMES, np.full(n, 3000.0))


def shuffled(sample: Sample, seed: int) -> Sample:
    """The same columns without their relations."""
    rng = np.random.default_rng(seed)
    return Sample(np.column_stack([rng.permutation(c) for c in sample.features.T]), NAMES, sample.mass)


def test_the_published_ensemble_has_63_members() -> None:
    assert len(DeepSVDD(NAMES).members) == 63
    assert set(DeepSVDD(NAMES).members) == {(d, n) for d in SVDD_DIMENSIONS for n in SVDD_TARGETS}


def test_it_finds_events_whose_features_do_not_go_together(device: str) -> None:
    scorer = DeepSVDD(NAMES, **SMALL, device=device, seed=1).fit(related(4000, 1))  # type: ignore[arg-type]
    normal, odd = related(2000, 2), shuffled(related(2000, 3), 4)
    label = np.repeat([0, 1], 2000)
    found = auc(label, np.concatenate([scorer.score(normal), scorer.score(odd)]))
    assert found > 0.85
    assert np.median(scorer.information_) > 0.8
    assert not scorer.collapsed_.any()


def test_a_stack_trains_as_plain_torch_does() -> None:
    """One member, one batch per epoch, equal start: the losses of a torch module must come out."""
    sample = related(400, 5)
    data = TargetData.make(sample.features, sample.weight, 0.1, np.random.SeedSequence(1), torch.device("cpu"))
    members = [(2, 1.0), (3, 4.0)]
    stack = stack_of(6, [Layer(8, "elu")], members, [11, 12], torch.device("cpu"))
    aims = Aims.of(members, torch.device("cpu"))
    modules = []
    for member, width in enumerate((2, 3)):
        module = nn.Sequential(nn.Linear(6, 8), nn.ELU(), nn.Linear(8, width))
        with torch.no_grad():
            for linear, place in ((module[0], 0), (module[2], 1)):
                linear.weight.copy_(stack.weights[place][member].T[: linear.out_features])
                linear.bias.copy_(stack.biases[place][member, 0, : linear.out_features])
        modules.append(module)
    train_to_targets(stack, aims, data, GroupTraining(5, 99, 99, 10_000, 1e-2, 1))
    x = data.features[: data.training]
    for module, target in zip(modules, (1.0, 4.0), strict=True):
        adam = torch.optim.Adam(module.parameters(), 1e-2)
        for _ in range(5):
            adam.zero_grad()
            (module(x) - target).square().mean().backward()
            adam.step()
    own = evaluate_targets(stack, aims, data.features.numpy().astype(float))
    for row, module, target in zip(own, modules, (1.0, 4.0), strict=True):
        expected = (module(data.features) - target).square().mean(dim=1).detach().numpy()
        assert row == pytest.approx(expected, rel=1e-3)


def test_outputs_that_a_member_does_not_have_stay_zero() -> None:
    scorer = DeepSVDD(NAMES, **{**SMALL, "epochs": 3}, device="cpu").fit(related(500, 6))  # type: ignore[arg-type]
    assert scorer.network_ is not None
    last = scorer.network_.weights[-1].detach()
    for place, (dimension, _) in enumerate(scorer.members):
        assert not last[place, :, dimension:].any()
        assert last[place, :, :dimension].any()


def test_members_do_not_depend_on_which_are_trained_together() -> None:
    sample = related(600, 7)
    few = DeepSVDD(NAMES, **{**SMALL, "epochs": 2}, stack_size=2, device="cpu", seed=4).fit(sample)  # type: ignore[arg-type]
    all_at_once = DeepSVDD(NAMES, **{**SMALL, "epochs": 2}, stack_size=6, device="cpu", seed=4).fit(sample)  # type: ignore[arg-type]
    assert few.score(sample) == pytest.approx(all_at_once.score(sample), rel=1e-3)


def test_learning_rates_are_halved_one_by_one_and_training_ends_where_nothing_improves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates: list[list[float]] = []
    step = StackedAdam.step

    def watched(self: StackedAdam) -> None:
        assert isinstance(self.learning_rate, torch.Tensor)
        rates.append(self.learning_rate.tolist())
        step(self)

    monkeypatch.setattr(StackedAdam, "step", watched)
    options = {**SMALL, "targets": (1,), "epochs": 400, "patience": 6, "halve_after": 2, "batch_size": 64}
    scorer = DeepSVDD(NAMES, **options, stack_size=2, device="cpu").fit(related(300, 8))  # type: ignore[arg-type]
    assert scorer.epochs_.max() < 400
    whole = [each for each in rates if len(each) == 2]
    assert whole[0] == pytest.approx([1e-3, 1e-3])
    for own in zip(*whole, strict=True):
        ratios = {round(before / after, 6) for before, after in itertools.pairwise(own)}
        assert ratios <= {1.0, 2.0}
    assert min(rates[-1]) <= 1e-3 / 2  # six flat epochs: halved after two and four of them


def test_a_collapsed_member_is_reported_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    scorer = DeepSVDD(NAMES, **{**SMALL, "epochs": 5}, device="cpu", seed=2).fit(related(800, 9))  # type: ignore[arg-type]
    assert scorer.network_ is not None
    with torch.no_grad():  # the trivial solution: no weights, biases at the target
        for weight, bias in zip(scorer.network_.weights, scorer.network_.biases, strict=True):
            weight[1] = 0.0
            bias[1] = 0.0
        scorer.network_.biases[-1][1, :, :2] = 1.0 + 1e-3
    sample = related(800, 9)
    with caplog.at_level(logging.WARNING):
        scorer._judge(sample.features, sample.weight, np.random.default_rng(1))
    assert scorer.collapsed_.tolist() == [0, 1, 0, 0, 0, 0]
    assert "1 of 6 networks collapsed" in caplog.text
    assert scorer.information_[1] == pytest.approx(0.5)
    assert scorer.learnt_facts()["collapsed"] == [[2, 1]]
    assert scorer.member_scores(sample).shape == (5, 800)
    with torch.no_grad():
        for parameter in scorer.network_.parameters():
            parameter.zero_()
    with pytest.raises(ModelError, match="same output for every event"):
        scorer._judge(sample.features, sample.weight, np.random.default_rng(1))


def test_constant_features_and_rare_flags_do_no_harm() -> None:
    rng = np.random.default_rng(10)
    x = np.column_stack([rng.normal(size=3000), np.ones(3000), np.arange(3000) == 5])
    sample = Sample(x, ["a", "b", "c"], np.ones(3000))
    scorer = DeepSVDD(["a", "b", "c"], **SMALL, device="cpu").fit(sample)  # type: ignore[arg-type]
    assert np.isfinite(scorer.score(sample)).all()
    assert scorer.losses_.max() < 1.0


def test_saved_and_loaded_it_scores_alike(tmp_path: Path) -> None:
    sample = related(400, 11)
    scorer = DeepSVDD(NAMES, **{**SMALL, "epochs": 2}, combine="prod", device="cpu").fit(sample)  # type: ignore[arg-type]
    save_scorer(scorer, tmp_path / "scorer")
    again = load_scorer(tmp_path / "scorer")
    assert np.array_equal(again.score(sample), scorer.score(sample))
    assert isinstance(again, DeepSVDD)
    assert again.members == scorer.members


def test_it_runs_out_of_fold_by_name() -> None:
    found = CrossFit("deep-svdd", features=NAMES, folds=2, seed=1, **{**SMALL, "epochs": 2}).fit_score(
        related(400, 12), None
    )
    assert np.isfinite(found.scores).all()


def test_wrong_options_and_too_few_events_are_told() -> None:
    with pytest.raises(ConfigError, match="at least one dimension"):
        make_scorer("deep-svdd", features=NAMES, dimensions=())
    with pytest.raises(ConfigError, match="dimensions"):
        make_scorer("deep-svdd", features=NAMES, dimensions=(0,))
    with pytest.raises(ConfigError, match="combination"):
        make_scorer("deep-svdd", features=NAMES, combine="nor")
    with pytest.raises(ConfigError, match="below 1"):
        make_scorer("deep-svdd", features=NAMES, validation=1.0)
    with pytest.raises(InputError, match="at least 50 events"):
        DeepSVDD(NAMES).fit(related(20, 1))
    with pytest.raises(ModelError, match="not fitted"):
        DeepSVDD(NAMES).score(related(20, 1))
