"""Published spectra and fits: numbers that others have measured on the same data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from resonaut.stats import Window, choose_function, cms_chi2, deviance, fit_background, read_spectrum, scan_windows


@pytest.mark.parametrize(
    ("table", "function", "chi2", "ndf"),
    [
        ("cms_36ifb_highmass", "dijet4", 38.9, 39),  # arXiv:1806.00843, high mass
        ("cms_12p9ifb_lowmass_calo", "dijet4", 17.3, 22),  # arXiv:1611.03568, low mass
        ("cms_27ifb_lowmass_calo", "dijet5", 19.6, 20),  # arXiv:1806.00843, low mass: published 20.3 for 20
    ],
)
def test_cms_chi2(reference_data, table, function, chi2, ndf):
    fit = fit_background(read_spectrum(reference_data / f"reference/stats/cmsdijet/{table}.csv"), function=function)
    found = fit.chi_squares()["cms"]
    assert (fit.status, fit.hesse) == ("converged", "accurate")
    assert found.chi2 == pytest.approx(chi2, abs=0.06)
    assert found.ndf == ndf
    assert found == cms_chi2(fit.counts, fit.expected, len(fit.parameters))


def test_cms_12p9_high_mass_chi2(reference_data):
    """arXiv:1611.03568, high mass: 33.3 for 42, from the histogram of the analysis in 1058 to 7866 GeV."""
    path = reference_data / "reference/stats/cmsdijet/data_PFRECOHT_Run2016BCD_Golden12910pb_PFDijet2016.root"
    fit = fit_background(read_spectrum(f"{path}:mjj"), fit_range=(1058, 7866))
    found = fit.chi_squares()["cms"]
    assert found.chi2 == pytest.approx(33.3, abs=0.06)
    assert found.ndf == 42
    assert fit.edges[-1] <= 13000.0  # the histogram goes on to 14 TeV


def test_cms_27_needs_five_parameters(reference_data):
    """arXiv:1806.00843, low mass, was fitted with five parameters; four are rejected, six bring nothing."""
    spectrum = read_spectrum(reference_data / "reference/stats/cmsdijet/cms_27ifb_lowmass_calo.csv")
    assert choose_function(spectrum).function == "dijet5"
    assert choose_function(spectrum, candidates=("dijet3", "dijet4", "dijet5", "dijet6")).function == "dijet5"
    four = fit_background(spectrum, function="dijet4").chi_squares()["cms"]
    assert (four.chi2, four.ndf) == (pytest.approx(27.9, abs=0.06), 21)


@pytest.mark.parametrize(("function", "ndf"), [("dijet4", 37), ("dijet3", 38)])
def test_cms_137_chi2(cms_137, function, ndf):
    """arXiv:1911.03947; an independent fit of the table gives 34.1."""
    fit = fit_background(cms_137, function=function)
    found = fit.chi_squares()["cms"]
    assert found.chi2 == pytest.approx(34.1, abs=0.06)
    assert found.ndf == ndf
    assert fit.p_value > 0.1


def test_atlas_37_deviances(published_data):
    """Published sliding-window fit of ATLAS 37/fb: 69.1; global fits by an independent prototype: 69.7 and 72.4."""
    path = published_data / "atlas_37ifb_mjj.csv"
    spectrum = read_spectrum(path)
    published = np.genfromtxt(path, delimiter=",", comments="#", skip_header=3)[:, 3]
    assert deviance(spectrum.values(), published) == pytest.approx(69.1, abs=0.06)
    fit = fit_background(spectrum)
    assert fit.deviance == pytest.approx(69.7, abs=0.06)
    assert fit_background(spectrum, function="dijet3").deviance == pytest.approx(72.4, abs=0.06)
    # two descriptions of one spectrum: within the published error in (nearly) all bins
    error = np.genfromtxt(path, delimiter=",", comments="#", skip_header=3)[:, 5]
    assert (abs(fit.expected - published) < 3 * error).mean() > 0.95


@pytest.mark.parametrize(
    ("function", "value"), [("dijet3", 144.5), ("dijet4", 123.8), ("dijet5", 118.5), ("dijet6", 117.0)]
)
def test_atlas_139_deviances(published_data, function, value):
    """Global fits of one function, by an independent prototype; the published sliding-window fit has 113.1."""
    path = published_data / "atlas_139ifb_inclusive_mjj.csv"
    fit = fit_background(read_spectrum(path), function=function)
    assert (fit.status, fit.hesse) == ("converged", "accurate")
    published = np.genfromtxt(path, delimiter=",", comments="#", skip_header=3)[:, 3]
    assert deviance(fit.counts, published) == pytest.approx(113.1, abs=0.06)
    assert fit.deviance == pytest.approx(value, abs=0.06)


def test_atlas_37_has_no_excess(published_data):
    """ATLAS found nothing (global p = 0.63); its most discrepant interval, 4326-4595 GeV, is a mild excess here too."""
    spectrum = read_spectrum(published_data / "atlas_37ifb_mjj.csv")
    edges = spectrum.axes[0].edges
    i, j = np.searchsorted(edges, [4326, 4595])
    entry = scan_windows(spectrum, [Window(edges[i], edges[j], edges[i - 3], edges[j + 3])]).best
    # 4.88 = -ln p of the BumpHunter for a fixed background; the profiled background makes it smaller
    assert 2.0 < entry.local_significance < stats.norm.isf(7.6e-3) + 0.1
    windows = [Window(edges[k], edges[k + 3], edges[k - 3], edges[k + 6]) for k in range(3, len(edges) - 7)]
    result = scan_windows(spectrum, windows)
    assert result.n_failed == 0
    assert result.best.local_significance < 3.0


@pytest.mark.slow
def test_paper_spectrum_closure(reference_data, paper_edges):
    """Simulated QCD in 2.8 to 5.2 TeV: an independent look found 47 for 44 degrees of freedom with four parameters."""
    import h5py

    from resonaut.stats import make_spectrum

    path = reference_data / "sim/qcd_data.features.h5"
    with h5py.File(path) as file:
        block, names = file["df/block0_values"], [n.decode() for n in file["df/axis0"][:]]
        columns = {n: block[:, names.index(n)].astype(np.float64) for n in names[:4] + names[7:11]}
    sums, energy = [], 0.0
    for axis in ("x", "y", "z"):
        sums.append(columns[f"p{axis}j1"] + columns[f"p{axis}j2"])
    for jet in ("1", "2"):
        p2 = sum(columns[f"p{axis}j{jet}"] ** 2 for axis in "xyz")
        energy = energy + np.sqrt(p2 + columns[f"mj{jet}"] ** 2)
    mass = np.sqrt(energy**2 - sum(s**2 for s in sums))
    spectrum = make_spectrum(mass, paper_edges)
    window = Window(paper_edges[9], paper_edges[13], paper_edges[6], paper_edges[16])
    fit = fit_background(spectrum, window)
    assert fit.p_value > 0.01
    entry = scan_windows(spectrum, [window]).best
    assert abs(entry.local_significance) < 3
