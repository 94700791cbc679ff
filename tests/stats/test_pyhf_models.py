"""Documented results of pyhf, through our functions that take any workspace."""

from __future__ import annotations

import numpy as np
import pyhf
import pytest

from resonaut.errors import ConfigError, FitError, InputError
from resonaut.files import read_json, write_json
from resonaut.stats import pyhf_cls, pyhf_limit, pyhf_p0, pyhf_toy_cls, read_workspace
from resonaut.stats.limits.hypotests import toy_band


def counting(signal, background, errors, data):
    """Workspace of uncorrelated backgrounds, the model of pyhf's README and validation examples."""
    model = pyhf.simplemodels.uncorrelated_background(signal, background, errors)
    return {
        "channels": model.spec["channels"],
        "observations": [{"name": "singlechannel", "data": data}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }


def test_readme_model():
    observed, expected = pyhf_cls(counting([12.0, 11.0], [50.0, 52.0], [3.0, 7.0], [51.0, 48.0]), 1.0)
    assert observed == pytest.approx(0.05251497423736956, rel=1e-4)
    assert expected[2] == pytest.approx(0.06445320535890459, rel=1e-4)


def test_validation_examples(reference_data):
    """1bin_example1 and 1bin_example1_q0 of pyhf's test_validation.py, from their files."""
    folder = reference_data / "reference/stats/pyhf"
    numbers = read_json(folder / "1bin_example1.json")["bindata"]
    workspace = counting(numbers["sig"], numbers["bkg"], numbers["bkgerr"], numbers["data"])
    observed, expected = pyhf_cls(workspace, 1.0)
    assert observed == pytest.approx(0.45418892944576333, rel=1e-4)
    published = [0.06372011644331387, 0.1509686618126131, 0.3279657430196915, 0.604613569829645, 0.8662652332047568]
    np.testing.assert_allclose(expected, published, rtol=1e-4)
    numbers = read_json(folder / "1bin_example1_q0.json")["bindata"]
    workspace = counting(numbers["sig"], numbers["bkg"], numbers["bkgerr"], numbers["data"])
    assert pyhf_p0(workspace)[0] == pytest.approx(0.003936883191585841, rel=1e-4)


@pytest.mark.slow
def test_published_likelihood_of_atlas(reference_data):
    """Sbottom search of ATLAS (HEPData ins1748602), region A, patched with a signal of its patch set."""
    archive = reference_data / "reference/stats/pyhf/pyhf-ins1748602-probability-models.tar.gz"
    workspace = read_workspace(
        f"{archive}:RegionA/BkgOnly.json", patch=f"{archive}:RegionA/patch.sbottom_1300_205_60.json"
    )
    observed, expected = pyhf_cls(workspace, 1.0)
    assert observed == pytest.approx(0.24443627759085326, rel=2e-4)
    published = [0.09022509053507759, 0.1937839194960632, 0.38432344933992, 0.6557757334303531, 0.8910420971601081]
    np.testing.assert_allclose(expected, published, rtol=1e-3)


def test_patch_set(tmp_path):
    workspace = counting([5.0], [50.0], [5.0], [50.0])
    patch = [{"op": "replace", "path": "/channels/0/samples/0/data", "value": [20.0]}]
    patches = {
        "metadata": {
            "references": {"hepdata": "ins1234567"},
            "description": "test",
            "digests": {"sha256": pyhf.utils.digest(workspace)},
            "labels": ["x"],
        },
        "patches": [{"metadata": {"name": "strong", "values": [1]}, "patch": patch}],
        "version": "1.0.0",
    }
    for name, content in (("w", workspace), ("set", patches), ("patch", patch)):
        write_json(tmp_path / f"{name}.json", content)
    weak = read_workspace(tmp_path / "w.json")
    strong = read_workspace(tmp_path / "w.json", patchset=tmp_path / "set.json", patch="strong")
    assert strong == read_workspace(tmp_path / "w.json", patch=tmp_path / "patch.json")
    assert pyhf_cls(strong, 1.0)[0] < pyhf_cls(weak, 1.0)[0]
    with pytest.raises(InputError, match="did you mean 'strong'"):
        read_workspace(tmp_path / "w.json", patchset=tmp_path / "set.json", patch="stron")
    write_json(tmp_path / "other.json", counting([5.0], [51.0], [5.0], [50.0]))
    with pytest.raises(InputError, match="does not fit"):
        read_workspace(tmp_path / "other.json", patchset=tmp_path / "set.json", patch="strong")


def test_limit_of_any_workspace_is_pyhfs():
    """Against pyhf's own search for the limit."""
    workspace = counting([12.0, 11.0], [50.0, 52.0], [3.0, 7.0], [51.0, 48.0])
    ours = pyhf_limit(workspace, guess=5.0)
    model = pyhf.Workspace(workspace).model()
    data = pyhf.Workspace(workspace).data(model)
    before = pyhf.get_backend()
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer())
    observed, expected = pyhf.infer.intervals.upper_limits.upper_limit(data, model)
    pyhf.set_backend(*before)
    assert ours.observed == pytest.approx(float(observed), rel=1e-3)
    np.testing.assert_allclose(ours.expected, [float(value) for value in expected], rtol=1e-3)
    assert ours.unit == "strength"


def test_toys_of_any_workspace_against_the_exact_sum():
    """One bin, background known to 1e-4: CLs is a ratio of Poisson sums."""
    from scipy import stats

    workspace = counting([4.0], [3.0], [3e-4], [2.0])
    observed, expected = pyhf_toy_cls(workspace, 1.0, toys=80, seed=1)
    exact = stats.poisson.cdf(2, 7.0) / stats.poisson.cdf(2, 3.0)
    assert observed == pytest.approx(exact, abs=0.12)
    assert (np.diff(expected) >= 0).all()


def test_expected_cls_of_toys_is_pyhfs(monkeypatch):
    """pyhf's ToyCalculator on two bins: the same band from its toys, and about the same from toys of our own."""

    def percentile(_, values, q, axis=None, interpolation="linear"):  # pyhf 0.7 calls numpy by a name that 2.4 dropped
        return np.percentile(values, q, axis=axis, method=interpolation)

    monkeypatch.setattr(pyhf.tensor.numpy_backend, "percentile", percentile)
    workspace = counting([4.0, 1.0], [2.0, 3.0], [0.5, 1.0], [2.0, 4.0])
    model = pyhf.Workspace(workspace).model()
    before, state = pyhf.get_backend(), np.random.get_state()  # noqa: NPY002
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-3))
    np.random.seed(5)  # noqa: NPY002  # pyhf draws from the global state
    try:
        data = pyhf.Workspace(workspace).data(model)
        calculator = pyhf.infer.calculators.ToyCalculator(data, model, ntoys=120, track_progress=False)
        draws = calculator.distributions(1.0)
        theirs = np.ravel(calculator.expected_pvalues(*draws)[2])
    finally:
        pyhf.set_backend(*before)
        np.random.set_state(state)  # noqa: NPY002
    np.testing.assert_allclose(toy_band(*(np.asarray(draw.samples) for draw in draws))[2], theirs, atol=0.01)
    ours = pyhf_toy_cls(workspace, 1.0, toys=120, seed=2)[1]
    np.testing.assert_allclose(ours, theirs, atol=0.15)


def test_errors_are_clear():
    workspace = counting([5.0], [50.0], [5.0], [50.0])
    with pytest.raises(InputError, match="not a pyhf workspace"):
        pyhf_cls({**workspace, "channels": [{"name": "x"}]}, 1.0)
    with pytest.raises(FitError, match="give another guess"):
        pyhf_limit(workspace, guess=1e6)
    with pytest.raises(ConfigError, match="cl < 1"):
        pyhf_limit(workspace, cl=95.0)
