"""The page on features: every block runs, every name is in its tables."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from resonaut.processors import EVENT_FEATURES, RESONANCES, ResonanceFeatures, make_features, make_processor

GUIDE = Path(__file__).parents[2] / "docs" / "features.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), flags=re.DOTALL | re.MULTILINE)


def test_every_python_block_runs(
    reference_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, run_page: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(reference_data / "root" / "nano_tt_v12.root", "nano.root")
    names = run_page(GUIDE)
    assert "'opposite charge'" in capsys.readouterr().out
    table = names["table"]
    assert 0 < len(table["m_mumu"]) < 200
    assert table["m_mumu"].min() >= 2
    assert np.isfinite(names["columns"]["ht"]).all()
    assert names["own"].output["tt"]["cutflow"]["selected"] > 10


def test_the_config_of_the_page_is_valid() -> None:
    given = yaml.safe_load(blocks("yaml")[0])["input"]
    processor = make_processor(**{key: given[key] for key in ("resonance", "event_features", "cuts")})
    assert processor.features.variable == "m_mumu"


def test_the_tables_of_the_page_are_complete() -> None:
    text = GUIDE.read_text()
    for name, feature in EVENT_FEATURES.items():
        assert f"| `{name}` | {feature.definition} | {feature.reference} |" in text
    for name in RESONANCES:
        assert f"`{name}`" in text
        assert f"`{make_features(resonance=name).variable}`" in text
    for option in dataclasses.fields(ResonanceFeatures):
        assert f"| `{option.name}` |" in text
