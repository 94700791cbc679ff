"""From event files to flat event tables, and anomaly selections inside coffea processors.

- sources: `recognise`, `source`, `SOURCES`, `Source`, `write_particle_tree`: files of any layout as events of one shape;
- jets: `cluster`, `substructure`, `Particles`, `JetPair`, `ALGORITHMS`: compiled clustering and substructure;
- the dijet processor: `DijetProcessor`, `DijetFeatures`, `DijetCuts`;
- object events: `EventObjects`, `OBJECT_KINDS`, `read_darkmachines`, `write_darkmachines`: jets, leptons and photons in one form;
- the object processor: `EventObjectsProcessor`, `ObjectCuts`, `collect_objects`: that form from NanoAOD, PHYSLITE, Delphes, CSV;
- channels: `CHANNELS`, `Channel`, `channel_cutflow`: selections of object events, each a list of named cuts;
- encodings: `TypeSlots`, `LeadingObjects`, `ObjectSets`, `encoding_from_dict`: object events as rows of fixed columns;
- fetching: `fetch`, `list_files`: public data sets, verified against the checksums of their record;
- running: `run_processor`, `RunResult`, `Ledger`, `make_plan`, `config_hash`: any processor, any source, any executor;
- tables: `write_table`, `read_table`, `read_provenance`, `table_columns`, `is_table`: Parquet that knows where it is from;
- selections: `AnomalySelection`, `AnomalyScores`: a saved scorer inside somebody's own processor.
"""

from __future__ import annotations

from resonaut.processors.download import fetch, list_files
from resonaut.processors.events.objects import OBJECT_KINDS, EventObjects
from resonaut.processors.features.dijet import DijetFeatures
from resonaut.processors.features.processor import DijetCuts, DijetProcessor
from resonaut.processors.jets.pair import ALGORITHMS, JetPair, Particles, cluster, flatten_particles, substructure
from resonaut.processors.objects.channels import CHANNELS, Channel, channel_cutflow
from resonaut.processors.objects.encodings import LeadingObjects, ObjectSets, TypeSlots, encoding_from_dict
from resonaut.processors.objects.processor import EventObjectsProcessor, ObjectCuts, collect_objects
from resonaut.processors.running.executors import EXECUTORS
from resonaut.processors.running.ledger import Ledger, RunResult
from resonaut.processors.running.plan import make_plan
from resonaut.processors.running.run import config_hash, run_processor
from resonaut.processors.selection import AnomalyScores, AnomalySelection
from resonaut.processors.sources.darkmachines import ObjectsRead, read_darkmachines, write_darkmachines
from resonaut.processors.sources.registry import SOURCES, Source, recognise, source
from resonaut.processors.sources.root import write_particle_tree
from resonaut.processors.table import is_table, read_provenance, read_table, table_columns, write_table

__all__ = (
    "ALGORITHMS",
    "CHANNELS",
    "EXECUTORS",
    "OBJECT_KINDS",
    "SOURCES",
    "AnomalyScores",
    "AnomalySelection",
    "Channel",
    "DijetCuts",
    "DijetFeatures",
    "DijetProcessor",
    "EventObjects",
    "EventObjectsProcessor",
    "JetPair",
    "LeadingObjects",
    "Ledger",
    "ObjectCuts",
    "ObjectSets",
    "ObjectsRead",
    "Particles",
    "RunResult",
    "Source",
    "TypeSlots",
    "channel_cutflow",
    "cluster",
    "collect_objects",
    "config_hash",
    "encoding_from_dict",
    "fetch",
    "flatten_particles",
    "is_table",
    "list_files",
    "make_plan",
    "read_darkmachines",
    "read_provenance",
    "read_table",
    "recognise",
    "run_processor",
    "source",
    "substructure",
    "table_columns",
    "write_darkmachines",
    "write_particle_tree",
    "write_table",
)
