from __future__ import annotations

from importlib import import_module

import pytest

from resonaut.errors import ConfigError, InputError
from resonaut.files import read_json
from resonaut.stats import BackgroundFunction, background_function, gaussian_template, limit_scan
from resonaut.stats.functions import base

MASSES = (2500.0, 3500.0, 4500.0)


def template(mass, edges):
    return gaussian_template(mass, 0.04 * mass, edges)


@pytest.mark.parametrize("cache", ["points", "points.json"])
def test_an_interrupted_scan_goes_on(cms_137, tmp_path, cache, monkeypatch):
    """The second run computes what is missing only, and the answer is that of a run in one go."""
    whole = limit_scan(cms_137, MASSES, template, check=False)

    class Stop(Exception):
        pass

    def stop(done, total):
        if done == 2:
            raise Stop

    with pytest.raises(Stop):
        limit_scan(cms_137, MASSES, template, check=False, cache=tmp_path / cache, progress=stop)
    module = import_module("resonaut.stats.limits.limit_scan")  # the name in the package is the function
    computed = []
    original = module.upper_limit
    monkeypatch.setattr(module, "upper_limit", lambda *a, **k: computed.append(k["mass"]) or original(*a, **k))
    seen = []
    resumed = limit_scan(
        cms_137, MASSES, template, check=False, cache=tmp_path / cache, progress=lambda *step: seen.append(step)
    )
    assert computed == [4500.0]
    assert seen == [(2, 3), (3, 3)]
    assert [repr(limit) for limit in resumed] == [repr(limit) for limit in whole]


def test_what_went_in_is_the_key(cms_137, tmp_path):
    """Another option, template or spectrum is another limit."""
    cache = tmp_path / "limits.json"
    counts, edges = cms_137.values(), cms_137.axes[0].edges
    first = limit_scan((counts, edges), MASSES[:1], template, check=False, cache=cache)
    other = limit_scan((counts, edges), MASSES[:1], template, check=False, cache=cache, signal_uncertainty=0.2)
    more = limit_scan((2 * counts, edges), MASSES[:1], template, check=False, cache=cache)
    wide = limit_scan(
        (counts, edges), MASSES[:1], lambda m, e: gaussian_template(m, 0.1 * m, e), check=False, cache=cache
    )
    assert len({limit[0].expected[2] for limit in (first, other, more, wide)}) == 4
    assert len(read_json(cache)) == 4


def test_a_function_is_more_than_its_name(cms_137, tmp_path, monkeypatch):
    """What is registered under a name may change: the cache goes by values. A process that lacks it says so."""
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))
    options = {"function": "scan-test", "check": False, "cache": tmp_path / "c.json", "method": "asymptotic"}
    for name in ("dijet3", "dijet4"):
        like = background_function(name)
        base._REGISTRY["scan-test"] = BackgroundFunction("scan-test", "f", like.names, like.terms)
        limit_scan(cms_137, MASSES[:1], template, **options)
    assert len(read_json(tmp_path / "c.json")) == 2
    with pytest.raises(ConfigError, match="must be registered where processes import it"):
        limit_scan(cms_137, MASSES, template, function="scan-test", workers=2)


def test_failed_points_are_tried_again(cms_137, tmp_path):
    cache = tmp_path / "folder"
    results = limit_scan(cms_137, [3000.0, 99999.0], template, check=False, cache=cache, luminosity=137.0)
    assert [limit.ok for limit in results] == [True, False]
    assert results[1].unit == "fb"
    assert len(list(cache.iterdir())) == 1


@pytest.mark.slow
def test_two_processes_give_the_same(cms_137):
    one = limit_scan(cms_137, MASSES[:2], template, check=False)
    two = limit_scan(cms_137, MASSES[:2], template, check=False, workers=2)
    assert [repr(limit) for limit in one] == [repr(limit) for limit in two]


def test_bad_input_is_refused(cms_137, tmp_path):
    with pytest.raises(ConfigError, match="0 workers"):
        limit_scan(cms_137, MASSES, template, workers=0)
    with pytest.raises(ConfigError, match="cl=95"):
        limit_scan(cms_137, MASSES, template, cl=95)
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(InputError, match="not a cache of limits"):
        limit_scan(cms_137, MASSES, template, cache=tmp_path / "list.json")
