from __future__ import annotations

import hist
import numpy as np
import pytest
import uproot

from resonaut.errors import InputError
from resonaut.stats import as_counts, fit_background, make_spectrum, read_spectrum, write_csv, write_root


def test_make_spectrum_counts_like_numpy():
    rng = np.random.default_rng(1)
    mass, edges = rng.uniform(900.0, 3000.0, 1000), np.array([1000.0, 1300.0, 1700.0, 2500.0])
    spectrum = make_spectrum(mass, edges)
    assert spectrum.values().tolist() == np.histogram(mass, edges)[0].tolist()
    weight = rng.uniform(0.5, 2.0, 1000)
    weighted = make_spectrum(mass, edges, weight)
    np.testing.assert_allclose(weighted.values(), np.histogram(mass, edges, weights=weight)[0])
    np.testing.assert_allclose(weighted.variances(), np.histogram(mass, edges, weights=weight**2)[0])


@pytest.mark.parametrize(
    ("spectrum", "match"),
    [
        (([1, 2], [1, 2]), "expected \\(bins,\\)"),
        (([1, 2], [1, 2, 2]), "increase strictly"),
        (([1, 2], [3, 2, 1]), "increase strictly"),
        (([1, -2], [1, 2, 3]), "negative or non-finite"),
        (([1, np.nan], [1, 2, 3]), "negative or non-finite"),
        ((np.ones((2, 2)), [1, 2, 3]), "expected \\(bins,\\)"),
        (([], [1]), "bins > 0"),
        (7, "expected a hist.Hist or a pair"),
        (hist.Hist.new.Reg(2, 0, 1).Reg(2, 0, 1).Double(), "2 axes"),
    ],
)
def test_bad_spectra_are_named(spectrum, match):
    with pytest.raises(InputError, match=match):
        as_counts(spectrum)


def test_weighted_spectra_are_not_fitted_as_counts(paper_edges):
    rng = np.random.default_rng(2)
    mass = rng.uniform(2800.0, 5200.0, 500)
    with pytest.raises(InputError, match="weighted entries \\(variance / count = 3"):
        fit_background(make_spectrum(mass, paper_edges, np.full(500, 3.0)))
    unit = fit_background(make_spectrum(mass, paper_edges, np.ones(500)), function="dijet3")
    plain = fit_background(make_spectrum(mass, paper_edges), function="dijet3")
    assert unit.parameters == plain.parameters


def test_non_finite_masses_and_weights_are_refused():
    with pytest.raises(InputError, match="1 non-finite masses of 2"):
        make_spectrum([1.0, np.nan], [0.5, 2.0])
    with pytest.raises(InputError, match="1 weights for 2 masses"):
        make_spectrum([1.0, 1.5], [0.5, 2.0], [1.0])


def test_root_round_trip(tmp_path):
    rng = np.random.default_rng(3)
    mass, edges = rng.uniform(1000.0, 2000.0, 300), np.array([1000.0, 1200.0, 1500.0, 2000.0])
    plain, weighted = make_spectrum(mass, edges), make_spectrum(mass, edges, rng.uniform(0, 2, 300))
    path = tmp_path / "spectra.root"
    write_root(path, {"mjj": plain, "cuts/mjj_1": weighted, "pair": ([1.0, 2.0, 3.0], edges)})
    back = read_spectrum(f"{path}:mjj")
    assert back.values().tolist() == plain.values().tolist()
    assert as_counts(back)[1].tolist() == edges.tolist()
    np.testing.assert_allclose(read_spectrum(f"{path}:cuts/mjj_1").variances(), weighted.variances())
    assert read_spectrum(f"{path}:pair").values().tolist() == [1.0, 2.0, 3.0]
    with uproot.open(path) as file:  # what ROOT users will see
        assert file["mjj"].classname == "TH1D"


def test_root_errors_name_the_nearest(tmp_path):
    path = tmp_path / "spectra.root"
    write_root(path, {"mjj_nominal": ([1.0], [1.0, 2.0])})
    with pytest.raises(InputError, match="did you mean 'mjj_nominal'"):
        read_spectrum(f"{path}:mjj_nominl")
    with pytest.raises(InputError, match="file not found"):
        read_spectrum(f"{tmp_path}/none.root:mjj")
    with pytest.raises(InputError, match=r"expected 'file\.root:histogram'"):
        read_spectrum("spectrum")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"is truncated: [0-9]+ bytes are missing"):
        read_spectrum(f"{path}:mjj_nominal")
    path.write_bytes(b"not a ROOT file at all")
    with pytest.raises(InputError, match="could not be read as a ROOT histogram"):
        read_spectrum(f"{path}:mjj_nominal")


def test_csv_round_trip_and_errors(tmp_path):
    path = tmp_path / "s.csv"
    write_csv(path, ([3.0, 4.0], [1000.0, 1100.5, 1250.0]), {"expected": [2.5, 4.5]})
    assert path.read_text().splitlines()[0] == "low,high,count,expected"
    counts, edges, _ = as_counts(read_spectrum(path))
    assert counts.tolist() == [3.0, 4.0]
    assert edges.tolist() == [1000.0, 1100.5, 1250.0]
    with pytest.raises(InputError, match="length differs"):
        write_csv(path, ([3.0], [1.0, 2.0]), {"x": [1.0, 2.0]})
    for text, match in [
        ("# nothing\nlow,high,count\n", "no rows"),
        ("low,high,count\n1,2,3\n3,4,5\n", "a gap after bin 0"),
        ("1,2,3\n2,x,5\n", "line 2"),
    ]:
        path.write_text(text)
        with pytest.raises(InputError, match=match):
            read_spectrum(path)


def test_published_table_is_read_whole(published_data):
    """HEPData table of ATLAS, 37/fb: 7,533,435 events in 92 bins from 1.1 to 8.364 TeV."""
    counts, edges, _ = as_counts(read_spectrum(published_data / "atlas_37ifb_mjj.csv"))
    assert (len(counts), edges[0], edges[-1], counts.sum()) == (92, 1100.0, 8364.0, 7533435.0)
