"""From event files to flat event tables, and anomaly selections inside coffea processors.

- sources: `recognise`, `source`, `SOURCES`, `Source`, `write_particle_tree`: files of any layout as events of one shape;
- jets: `cluster`, `substructure`, `Particles`, `JetPair`, `ALGORITHMS`: compiled clustering and substructure;
- the dijet processor: `DijetProcessor`, `DijetFeatures`, `DijetCuts`;
- running: `run_processor`, `RunResult`, `Ledger`, `make_plan`, `config_hash`: any processor, any source, any executor;
- tables: `write_table`, `read_table`, `read_provenance`, `table_columns`, `is_table`: Parquet that knows where it is from;
- selections: `AnomalySelection`, `AnomalyScores`: a saved scorer inside somebody's own processor.
"""

from __future__ import annotations

from resonaut.processors.dijet import DijetCuts, DijetProcessor
from resonaut.processors.executors import EXECUTORS
from resonaut.processors.features import DijetFeatures
from resonaut.processors.jets import ALGORITHMS, JetPair, Particles, cluster, flatten_particles, substructure
from resonaut.processors.ledger import Ledger, RunResult
from resonaut.processors.plan import make_plan
from resonaut.processors.run import config_hash, run_processor
from resonaut.processors.selection import AnomalyScores, AnomalySelection
from resonaut.processors.sources import SOURCES, Source, recognise, source
from resonaut.processors.sources_root import write_particle_tree
from resonaut.processors.table import is_table, read_provenance, read_table, table_columns, write_table

__all__ = (
    "ALGORITHMS",
    "EXECUTORS",
    "SOURCES",
    "AnomalyScores",
    "AnomalySelection",
    "DijetCuts",
    "DijetFeatures",
    "DijetProcessor",
    "JetPair",
    "Ledger",
    "Particles",
    "RunResult",
    "Source",
    "cluster",
    "config_hash",
    "flatten_particles",
    "is_table",
    "make_plan",
    "read_provenance",
    "read_table",
    "recognise",
    "run_processor",
    "source",
    "substructure",
    "table_columns",
    "write_particle_tree",
    "write_table",
)
