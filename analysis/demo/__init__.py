"""The events that ship with resonaut and the search that `resonaut demo` runs on them.

| file | events | what |
| --- | --- | --- |
| `qcd_features.h5` | 140,000 | QCD dijets as an LHC Olympics feature frame, 2.8 < mJJ < 5.2 TeV |
| `signal_features.h5` | 340 | Z'(3.5 TeV) -> XX, X(500 GeV) to three prongs, as a feature frame |
| `qcd_particles.root` | 3,000 | QCD dijets as lists of particles (tree `Events`, collection `PFCand`), to be clustered |

All were simulated by the resonaut developers: pp at 13 TeV, Pythia 8.317 without pile-up and multi-parton interactions,
a fast detector simulation, at least one anti-kT R=1.0 jet with pT > 1200 GeV and |eta| < 2.5. Mantissas are cut to 14 bits to
save space. `label` (1 = signal) is truth: the search never reads it, the SIC plot does. `benchmarks/make_demo_data.py` cut
the files from larger samples.
"""

from __future__ import annotations

from pathlib import Path

from resonaut.analysis.config import SearchConfig, load_config

__all__ = ("demo_config",)

_FOLDER = Path(__file__).parent
_SIGNAL = "signal_"


def demo_config(*, signal: bool) -> tuple[SearchConfig, Path]:
    """Config of the demo, with or without the files of the resonance, and the folder of its files."""
    config = load_config(_FOLDER / "search.yaml")
    if signal:
        return config, _FOLDER
    files = tuple(name for name in config.input.files if not name.startswith(_SIGNAL))
    update = {"name": f"{config.name}, background only", "input": config.input.model_copy(update={"files": files})}
    return config.model_copy(update=update), _FOLDER
