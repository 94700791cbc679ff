from __future__ import annotations

import numpy as np
import pyhf
import pytest

from resonaut.errors import FitError, InputError
from resonaut.stats import AbcdEstimate, abcd_estimate, abcd_limit, abcd_workspace, pyhf_cls
from resonaut.stats.limits.abcd import _model

COUNTS = {"A": 14.0, "B": 120.0, "C": 210.0, "D": 2100.0}
SIGNAL = {"A": 10.0, "B": 4.0, "C": 6.0, "D": 2.0}


def test_background_only_fit_of_pyhf_is_the_analytic_ratio():
    """With A at its expectation and no signal, the free normalisations give B C / D exactly."""
    workspace = abcd_workspace({**COUNTS, "A": 12.0}, SIGNAL)
    parsed = pyhf.Workspace(workspace)
    model = parsed.model()
    before = pyhf.get_backend()
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer())
    best = pyhf.infer.mle.fixed_poi_fit(0.0, parsed.data(model), model)
    pyhf.set_backend(*before)
    np.testing.assert_allclose(model.expected_actualdata(best), [12.0, 120.0, 210.0, 2100.0], rtol=1e-3)
    assert abcd_estimate(COUNTS).expected == pytest.approx(12.0)


def test_likelihood_is_pyhfs():
    """-2 ln L of our log-linear form and of the normalisations of the workspace, at arbitrary parameters."""
    options = {"closure": 0.2, "yields": {"luminosity": 0.02, "efficiency": 0.1}}
    parsed = pyhf.Workspace(abcd_workspace(COUNTS, SIGNAL, **options))
    model = parsed.model(modifier_settings={"normsys": {"interpcode": "code1"}})
    data = parsed.data(model)
    observed = np.array([COUNTS[r] for r in "ABCD"])
    ours = _model(observed, np.array([10.0, 4.0, 6.0, 2.0]), 0.2, options["yields"])
    rng = np.random.default_rng(2)
    differences = []
    for _ in range(4):
        theta, closure, nu, mu = 0.2 * rng.normal(size=3), rng.normal(), rng.normal(size=2), rng.uniform(0, 2)
        names = ("background_total", "background_ratio_B", "background_ratio_C")
        point = dict(zip(names, np.exp(theta), strict=True))
        point |= {"mu": mu, "closure": closure, "efficiency": nu[0], "luminosity": nu[1]}
        theirs = float(pyhf.infer.mle.twice_nll([point[name] for name in model.config.par_order], data, model)[0])
        differences.append(theirs - ours.twice_nll(observed, mu, np.array([*theta, closure, *nu])))
    assert np.ptp(differences) < 1e-6


def test_limit_closes_on_pyhf():
    limit = abcd_limit(COUNTS, SIGNAL, closure=0.1, yields={"luminosity": 0.02})
    assert limit.method == "asymptotic"
    assert limit.cls_pyhf == pytest.approx(0.05, rel=2e-3)
    scaled = {region: events * limit.expected[2] for region, events in SIGNAL.items()}
    expected = pyhf_cls(abcd_workspace(COUNTS, scaled, closure=0.1, yields={"luminosity": 0.02}), 1.0)[1]
    assert expected[2] == pytest.approx(0.05, rel=2e-3)


def test_contamination_and_closure_cost_power():
    clean = abcd_limit(COUNTS, {"A": 10.0}, check=False).expected[2]
    assert abcd_limit(COUNTS, SIGNAL, check=False).expected[2] > clean
    assert abcd_limit(COUNTS, {"A": 10.0}, closure=0.5, check=False).expected[2] > 1.1 * clean


def test_limit_with_large_control_regions_is_that_of_a_known_background():
    """B, C and D so large that A's background is known: a counting experiment, from toys against Poisson sums."""
    from scipy import stats
    from scipy.optimize import brentq

    counts = {"A": 3.0, "B": 30000.0, "C": 30000.0, "D": 3e8}
    limit = abcd_limit(counts, {"A": 1.0}, toys=3000, seed=1)
    assert limit.method == "toys"

    def exact(n):
        return brentq(lambda s: stats.poisson.cdf(n, s + 3.0) / stats.poisson.cdf(n, 3.0) - 0.05, 1.0, 20.0)

    # the control regions, fluctuating, decide between toys of equal count: a tie counts in part
    assert exact(2) < limit.observed < exact(3) + 2 * limit.error
    assert limit.error < 0.15


def test_error_of_the_estimate_covers_in_toys():
    """Interval of B C / D against the truth in toys: 68 % within their error, for tens of events."""
    rng = np.random.default_rng(5)
    truth = np.array([40.0, 60.0, 120.0])
    inside = []
    for b, c, d in rng.poisson(truth, size=(1000, 3)):
        found = abcd_estimate({"A": 0, "B": b, "C": c, "D": d})
        inside.append(found.expected - found.error_low < 20.0 < found.expected + found.error_high)
    assert np.mean(inside) == pytest.approx(0.683, abs=0.045)


def test_results_and_errors():
    found = abcd_estimate({**COUNTS, "C": 0.0})
    assert (found.status, found.expected, found.error_low) == ("at limit", 0.0, 0.0)
    assert AbcdEstimate.from_dict(found.to_dict()) == found
    limit = abcd_limit(COUNTS, {"A": 10.0}, check=False)
    assert {type(value) for value in (limit.observed, *limit.expected)} == {float}
    with pytest.raises(FitError, match="region D"):
        abcd_estimate({**COUNTS, "D": 0.0})
    with pytest.raises(InputError, match=r"expected \['A', 'B', 'C', 'D'\]"):
        abcd_estimate({"A": 1.0})
    with pytest.raises(InputError, match="0 events in region A"):
        abcd_workspace(COUNTS, {"B": 1.0})
    with pytest.raises(InputError, match="relative uncertainty"):
        abcd_estimate(COUNTS, closure=-1.0)
