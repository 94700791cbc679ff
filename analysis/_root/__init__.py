"""resonaut: anomaly-detection searches at the LHC.

Four rooms, one direction of imports:

- `resonaut.stats`: background fits, p-values, scans, limits, on histograms alone;
- `resonaut.models`: anomaly scorers, on feature matrices alone;
- `resonaut.processors`: coffea processors and sources, from event files to event tables and selections;
- `resonaut.analysis`: a whole search from a config, and the command line.

`resonaut.errors` holds every exception that resonaut raises on purpose.
"""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("resonaut")
__all__ = ("__version__",)
