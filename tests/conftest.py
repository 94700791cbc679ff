"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder of reference data that do not ship; tests that need it are skipped where it is absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("RESONAUT_REFERENCE_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}: set RESONAUT_REFERENCE_DATA to run this test")
    return folder
