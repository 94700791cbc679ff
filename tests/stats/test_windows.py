from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resonaut.errors import InputError
from resonaut.stats import Window, log_edges, sliding_windows


def test_paper_window_is_among_the_sliding_windows(paper_edges):
    """arXiv:2104.02092, section 3.1: SR 3371-3661 GeV, sidebands 202 and 234 GeV wide."""
    windows = sliding_windows(paper_edges)
    paper = [window for window in windows if round(window.low) == 3371]
    assert len(windows) == 30 - 10 + 1
    assert [round(w.high) for w in paper] == [3661]
    assert round(paper[0].low - paper[0].sb_low) == 202
    # the paper prints 234 for the upper sideband; the edges that it defines give 235.9
    assert paper[0].sb_high - paper[0].high == pytest.approx(234, abs=2)


@given(
    bins=st.integers(6, 60),
    sr=st.integers(1, 5),
    sb=st.integers(1, 4),
    step=st.integers(1, 4),
)
def test_sliding_windows_are_whole_bins_inside_the_edges(bins, sr, sb, step):
    edges = log_edges(1000.0, 9000.0, bins)
    if sr + 2 * sb > bins:
        with pytest.raises(InputError, match="full window"):
            sliding_windows(edges, sr, sb, step)
        return
    windows = sliding_windows(edges, sr, sb, step)
    assert len(windows) == (bins - sr - 2 * sb) // step + 1
    for window in windows:
        inside = [np.flatnonzero(edges == value).size for value in window.to_dict().values()]
        assert inside == [1, 1, 1, 1]
        centres = np.sqrt(edges[1:] * edges[:-1])
        assert window.in_signal_region(centres).sum() == sr
        assert window.in_lower_sideband(centres).sum() == window.in_upper_sideband(centres).sum() == sb


def test_masks_are_half_open_and_disjoint():
    window = Window(3.0, 4.0, 2.0, 5.0)
    mass = [1.9, 2.0, 3.0, 3.999, 4.0, 5.0, math.nan]
    assert window.in_signal_region(mass).tolist() == [False, False, True, True, False, False, False]
    assert window.contains(mass).tolist() == window.in_signal_region(mass).tolist()
    assert window.in_sidebands(mass).tolist() == [False, True, False, False, True, False, False]
    assert window.centre == pytest.approx(math.sqrt(12.0))


@pytest.mark.parametrize("ends", [(3, 3, 2, 5), (4, 3, 2, 5), (3, 4, 3, 5), (3, 4, 2, 4), (3, 4, 2, math.inf)])
def test_windows_out_of_order_are_refused(ends):
    with pytest.raises(InputError, match="increasing order"):
        Window(*ends)


def test_json_round_trip_and_bad_keys():
    window = Window(3371.123456789, 3661.0, 3169.0, 3895.0)
    assert Window.from_dict(json.loads(json.dumps(window.to_dict()))) == window
    with pytest.raises(InputError, match="expected low, high"):
        Window.from_dict({"low": 1.0, "hi": 2.0})


@pytest.mark.parametrize(("low", "high", "bins"), [(0.0, 1.0, 3), (2.0, 1.0, 3), (1.0, math.nan, 3), (1.0, 2.0, 0)])
def test_log_edges_refuses_empty_ranges(low, high, bins):
    with pytest.raises(InputError, match="expected"):
        log_edges(low, high, bins)
