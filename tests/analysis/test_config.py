"""Configs: what is wrong is named, with the nearest right word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from resonaut.analysis.config import load_config, parse_config
from resonaut.analysis.demo import demo_config
from resonaut.analysis.scoring import choose_features
from resonaut.errors import ConfigError, InputError

MINIMAL = {"input": {"files": ["a.h5"]}, "scan": {"low": 2800, "high": 5200}}


def test_a_minimal_config_is_enough() -> None:
    config = parse_config(MINIMAL)
    assert [m.name for m in config.methods] == ["cwola-trees"]
    assert config.selection.cuts == (0.1, 0.01, 0.001)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"sede": 3}, r"unknown key 'sede': did you mean 'seed'"),
        ({"scan": {"low": 2800, "high": 5200, "bin": 30}}, r"unknown key in scan 'bin': did you mean 'bins'"),
        ({"methods": [{"name": "cwola-trees", "fetures": "auto"}]}, r"'fetures': did you mean 'features'"),
        ({"scan": {"low": 5200, "high": 2800}}, r"scan.high must be above scan.low"),
        ({"scan": {"low": 2800, "high": 5200, "bins": 9}}, r"a window needs 10 bins but the scan has 9"),
        ({"selection": {"cuts": [0.1, 1.0]}}, r"distinct fractions below 1"),
        ({"selection": {"cuts": [2.0]}}, r"selection.cuts.0"),
        ({"methods": [{"name": "cwola-trees"}, {"name": "cwola-trees"}]}, r"distinct labels"),
        ({"methods": [{"name": "cwola-tree"}]}, r"did you mean 'cwola-trees'"),
        ({"input": {"files": ["a.h5"], "jets": {"radus": 1.0}}}, r"did you mean 'radius'"),
        ({"input": {"files": ["a.h5"], "cuts": {"pt": 1.0}}}, r"input.cuts: .*unknown cut with a number alone 'pt'"),
        ({"fit": {"function": "dijet44"}}, r"did you mean 'dijet4'"),
        ({"fit": {"sqrts": 5000}}, r"scan.high = 5200 GeV must lie below"),
        ({"limits": {"cuts": [0.05]}}, r"not among selection.cuts"),
        ({"selection": {"cuts": []}}, r"selection.cuts"),
        ({"methods": [{"name": "cwola-trees", "options": {"membrs": 3}}]}, r"did you mean 'members'"),
        ({"methods": [{"name": "cwola-trees", "options": {"seed": 3}}]}, r"cannot set seed"),
        ({"methods": [{"name": "cwola-trees", "features": ["m_h", "label"]}]}, r"label cannot be a feature"),
        ({"methods": [{"name": "cwola-trees", "label": "../x"}]}, r"label"),
        ({"methods": [{"name": "cwola-trees", "label": "inclusive"}]}, r"distinct labels"),
        (
            {"methods": [{"name": "cwola-trees", "label": "m.a"}, {"name": "cwola-trees", "label": "m-a"}]},
            r"distinct labels",
        ),
        ({"input": {"files": ["a.h5"], "jets": {"radius": "big"}}}, r"input.jets: .*has a value that cannot be used"),
        ({"input": {"files": ["a.h5"], "executor": {"scheduler": "tcp://a:1"}}}, r"needs the dask executor"),
    ],
)
def test_a_wrong_config_says_what_is_wrong(change: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        parse_config({**MINIMAL, **change})


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config file not found: .*nowhere.yaml"):
        load_config(tmp_path / "nowhere.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("scan: [1, 2")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(broken)
    broken.write_text("just words")
    with pytest.raises(ConfigError, match="is a mapping with the keys"):
        load_config(broken)


def test_input_globs_are_expanded_and_empty_ones_are_errors(tmp_path: Path) -> None:
    for name in ("b.h5", "a.h5"):
        (tmp_path / name).touch()
    config = parse_config({**MINIMAL, "input": {"files": ["*.h5", "a.h5"]}})
    assert [p.name for p in config.resolved_files(tmp_path)] == ["a.h5", "b.h5"]
    with pytest.raises(InputError, match=r"'\*.root' matches no file"):
        parse_config({**MINIMAL, "input": {"files": ["*.root"]}}).resolved_files(tmp_path)


def test_the_config_of_the_readme_is_valid() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    config = parse_config(yaml.safe_load(re.findall(r"```yaml\n(.*?)```", readme, flags=re.DOTALL)[0]))
    assert [m.name for m in config.methods] == ["cwola-trees", "cwola-nn", "autoencoder", "cathode"]


def test_the_demo_leaves_its_signal_out_when_told_to() -> None:
    with_signal, base = demo_config(signal=True)
    without, _ = demo_config(signal=False)
    left_out = set(with_signal.resolved_files(base)) - set(without.resolved_files(base))
    assert {path.name for path in left_out} == {"signal_features.h5"}


def test_features_that_the_events_lack_are_told_before_anything_is_trained() -> None:
    (method,) = parse_config({**MINIMAL, "methods": [{"name": "cwola-trees", "features": ["m_h", "tau21"]}]}).methods
    with pytest.raises(
        InputError,
        match=r"cwola-trees: the event table has no tau21 \(did you mean tau21_h\?\); it has mjj, m_h, tau21_h",
    ):
        choose_features(method, ("mjj", "m_h", "tau21_h"))
    assert choose_features(method, ("mjj", "m_h", "tau21")) == ("m_h", "tau21")


def test_a_method_that_is_wrong_is_not_called_missing_too() -> None:
    content = {**MINIMAL, "methods": [{"name": "vae", "options": {"epochs": 2.5}}]}
    with pytest.raises(ConfigError, match=r"option epochs is 2\.5") as caught:
        parse_config(content)
    assert "at least 1 item" not in str(caught.value)
