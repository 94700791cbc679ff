"""Spectra that the tests of this room share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from resonaut.stats import Window, log_edges, read_spectrum

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def published_data() -> Path:
    """Folder of published spectra (HEPData, CC0) that ship with the tests."""
    return DATA


@pytest.fixture(scope="session")
def cms_137():
    """CMS dijet spectrum, 137/fb (arXiv:1911.03947)."""
    return read_spectrum(DATA / "cms_137ifb_wide_dijet_mjj.csv")


@pytest.fixture(scope="session")
def paper_edges() -> np.ndarray:
    """Binning of arXiv:2104.02092: 30 bins, 2.8 to 5.2 TeV."""
    return log_edges(2800.0, 5200.0, 30)


@pytest.fixture(scope="session")
def paper_window() -> Window:
    """Its signal region, 3371 to 3661 GeV, on the edges of `paper_edges`."""
    edges = log_edges(2800.0, 5200.0, 30)
    return Window(edges[9], edges[13], edges[6], edges[16])


@pytest.fixture(scope="session")
def falling() -> np.ndarray:
    """Smooth shape of 30 bins, normalised to one."""
    c = np.linspace(-1.0, 1.0, 30)
    shape = np.exp(-2.8 * c - 0.4 * c**2 + 0.05 * c**3)
    return shape / shape.sum()
