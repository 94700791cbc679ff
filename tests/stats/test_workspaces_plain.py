"""Workspaces of spectra that end in empty bins: the exact likelihood, and runnable by `pyhf cls` without any option."""

from __future__ import annotations

import json
import logging

import numpy as np
import pyhf
import pytest
from click.testing import CliRunner

from resonaut.stats import (
    Channel,
    Signal,
    build_workspace,
    fit_background,
    gaussian_template,
    log_edges,
    pyhf_cls,
    upper_limit,
    write_workspace,
)
from resonaut.stats.limits.channels import signal_model
from resonaut.stats.limits.limit_result import LimitResult
from resonaut.stats.limits.pyhf_models import pyhf_limit
from resonaut.stats.limits.upper_limits import checked_by_pyhf

EDGES = log_edges(2200.0, 6800.0, 46)
# 465 events after a cut, of which some hundred are a resonance; the last 19 bins are empty
COUNTS = np.array(
    [32, 37, 21, 23, 28, 18, 22, 19, 19, 12, 15, 8, 11, 7, 11, 12, 27, 23, 45, 32, 27, 8, 1, 3, 0, 1, 3] + 19 * [0],
    dtype=float,
)


@pytest.fixture(scope="module")
def fit():
    return fit_background((COUNTS, EDGES), errors="fisher")


@pytest.fixture(scope="module")
def signal():
    """A resonance with an uncertain yield and an energy scale that moves it."""
    low, nominal, high = (gaussian_template(3500.0 * scale, 110.0, EDGES) for scale in (0.98, 1.0, 1.02))
    return Signal(nominal, {"luminosity": 0.017}, {"jes": (low, high)})


@pytest.mark.parametrize("direction", range(4))
def test_the_tail_counts_with_what_is_expected_there(fit, signal, direction):
    """-2 ln L, written down here, from 4 standard deviations down to 4 up. A floor of 1e-9 events is far off."""
    model = signal_model([Channel.build("", fit, signal)])

    def by_hand(beta: float) -> float:
        expected = fit.expected * np.exp(fit.modes[:, direction] * beta)
        return float(2.0 * (expected - COUNTS * np.log(expected)).sum() + (beta / 30.0) ** 2)

    for beta in (-4.0, -1.0, 2.0, 4.0):
        nuisance = np.zeros(model.nuisances)
        nuisance[direction] = beta
        theirs = model.twice_nll(COUNTS, 0.0, nuisance) - model.twice_nll(COUNTS, 0.0, 0 * nuisance)
        assert theirs == pytest.approx(by_hand(beta) - by_hand(0.0), abs=1e-3)


def test_pyhf_cls_on_the_command_line_finds_the_limit(fit, signal, tmp_path):
    """Both of pyhf's minimisers, with its default interpolation: 95 % are excluded at the limit."""
    limit = upper_limit((COUNTS, EDGES), signal, check=False)
    path = tmp_path / "workspace.json"
    write_workspace(path, build_workspace(fit, signal.scaled(limit.observed / signal.template.sum())))
    from pyhf.cli import cli

    for options in ([], ["--optimizer", "minuit"]):
        before = pyhf.get_backend()
        done = CliRunner().invoke(cli, ["cls", str(path), *options])
        pyhf.set_backend(*before)
        assert done.exit_code == 0, done.output
        assert json.loads(done.output[done.output.index("{") :])["CLs_obs"] == pytest.approx(0.05, abs=3e-4)


def test_numbers_of_a_workspace_are_of_a_size(fit, signal):
    """The initial parameters give the expected events; factors stay within the numbers of a double up to the last bound."""
    workspace = pyhf.Workspace(build_workspace(fit, signal))
    model = workspace.model()
    init = np.array(model.config.suggested_init())
    with_signal = fit.expected + signal.template
    np.testing.assert_allclose(model.expected_actualdata(init), np.maximum(with_signal, 1e-9), rtol=1e-9, atol=2e-9)
    for side in (0, 1):
        far = [bound[side] for bound in model.config.suggested_bounds()]
        assert np.isfinite(model.expected_actualdata(far)).all()


def test_a_check_that_fails_is_told_in_one_line(signal, caplog, capfd, monkeypatch):
    """Whoever sees the limit finds out; pyhf's record of the failed fit and numpy's warnings stay away."""

    def fails(*_args, **_options):
        logging.getLogger("pyhf.optimize.mixins").error("a long record\nof a fit")
        np.exp(np.array([1e4]))  # overflows
        raise pyhf.exceptions.FailedMinimization(
            type("Result", (), {"message": "Optimization terminated successfully."})()
        )

    monkeypatch.setattr(pyhf.infer, "hypotest", fails)
    limit = upper_limit((COUNTS, EDGES), signal)
    assert np.isnan(limit.cls_pyhf)
    assert limit.ok
    assert limit.check.startswith(
        "pyhf could not test strength 1: Minuit: the errors at the minimum are not valid; SciPy:"
    )
    assert LimitResult.from_dict(limit.to_dict()).check == limit.check
    assert [record.name for record in caplog.records] == ["resonaut.stats.limits.upper_limits"]
    assert "long record" not in "".join(capfd.readouterr())
    assert logging.getLogger("pyhf").level == logging.NOTSET


def test_a_disagreement_is_part_of_the_result(fit, signal):
    limit = upper_limit((COUNTS, EDGES), signal)
    assert limit.check == ""
    assert limit.cls_pyhf == pytest.approx(0.05, abs=2e-4)
    too_low = checked_by_pyhf(limit, build_workspace(fit, signal.scaled(0.97 * limit.observed)))
    assert too_low.check == f"pyhf finds CLs = {too_low.cls_pyhf:.4f} at the limit, expected 0.0500"


def test_where_minuit_fails_scipy_answers(fit, signal, monkeypatch):
    workspace = build_workspace(fit, signal.scaled(150.0))
    truth = pyhf_cls(workspace, 1.0)
    real = pyhf.infer.hypotest

    def only_scipy(*args, **options):
        if pyhf.get_backend()[1].name == "minuit":
            raise pyhf.exceptions.FailedMinimization(type("Result", (), {"message": "no"})())
        return real(*args, **options)

    monkeypatch.setattr(pyhf.infer, "hypotest", only_scipy)
    assert pyhf_cls(workspace, 1.0)[0] == pytest.approx(truth[0], rel=1e-3)
    assert pyhf_limit(workspace, guess=1.0).observed > 0
