"""The events that ship with resonaut and the search that `resonaut demo` runs on them.

| file | events | what |
| --- | --- | --- |
| `qcd_features.h5` | 140,000 | QCD dijets as an LHC Olympics feature frame, 2.8 < mJJ < 5.2 TeV |
| `signal_features.h5` | 170 | Z'(3.5 TeV) -> X(500) Y(100), both to two prongs, as a feature frame |
| `qcd_particles.root` | 3,000 | QCD dijets as lists of particles (tree `Events`, collection `PFCand`) |
| `signal_particles.root` | 170 | the same signal as lists of particles |

All were simulated by the resonaut developers: pp at 13 TeV, Pythia 8.317 without pile-up and multi-parton interactions,
a fast detector simulation, at least one anti-kT R=1.0 jet with pT > 1200 GeV and |eta| < 2.5. Mantissas are cut to 14 bits to
save space. `label` (1 = signal) is truth: the search never reads it, the SIC plot does. `benchmarks/make_demo_data.py` cut
the files from larger samples.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ("DEMO_FILES", "demo_files")

_FOLDER = Path(__file__).parent
DEMO_FILES = {
    "background": ("qcd_features.h5", "qcd_particles.root"),
    "signal": ("signal_features.h5", "signal_particles.root"),
}


def demo_files(*, signal: bool) -> list[Path]:
    """Event files of the demo, with or without the resonance."""
    names = DEMO_FILES["background"] + (DEMO_FILES["signal"] if signal else ())
    return [_FOLDER / name for name in names]
