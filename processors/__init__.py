"""From event files to flat event tables, and anomaly selections inside coffea processors.

- sources: `recognise`, `source`, `SOURCES`, `Source`, `ColumnMap`, `write_particle_tree`: files of any layout as events of one shape;
- names of files: `named_files`, `fileset_of`, `NamedFile`: globs, lists, filesets, URLs;
- jets: `cluster`, `leading_jets`, `collection_jets`, `substructure`, `Particles`, `JetPair`, `JetTable`, `ALGORITHMS`: compiled clustering;
- jet observables by name: `OBSERVABLES`, `DEFAULT_OBSERVABLES`, `parse_observable`; for networks: `lund_plane`, `jet_images`, `constituent_sets`;
- event tables: `TableProcessor`, `FeatureBuilder`, `EventFeatures`, `make_cuts`, `make_features`, `make_processor`;
- what they hold: `DijetProcessor`, `DijetFeatures`, `DijetCuts` of two large-R jets, `ResonanceFeatures`, `RESONANCES` of any
  objects, `EventVariables`, `EVENT_FEATURES` of whole events, `axis_label`;
- object events: `EventObjects`, `OBJECT_KINDS`, `read_darkmachines`, `write_darkmachines`: jets, leptons and photons in one form;
- the object processor: `EventObjectsProcessor`, `ObjectCuts`, `collect_objects`: that form from NanoAOD, PHYSLITE, Delphes, CSV;
- channels: `CHANNELS`, `Channel`, `channel_cutflow`: selections of object events, each a list of named cuts;
- encodings: `TypeSlots`, `LeadingObjects`, `ObjectSets`, `encoding_from_dict`: object events as rows of fixed columns;
- fetching: `fetch`, `list_files`: public data sets, verified against the checksums of their record;
- generating: `generate`, `QCD`, `ZPrimeXY`, `TTbar`, `WZ`, `Generator`, `Detector`, `JetTrigger`, `read_generation`: events of one's own;
- running: `run_processor`, `RunResult`, `Ledger`, `make_plan`, `config_hash`, `batch_cluster`, `parse_bytes`: any processor, any source, any executor
  (`EXECUTORS`, `EXECUTOR_OPTIONS`);
- tables: `write_table`, `read_table`, `read_provenance`, `table_columns`, `is_table`: Parquet that knows where it is from;
- corrections: `make_corrections`, `Corrections`, `WeightCorrection`, `ScaleCorrection`, `SmearingCorrection`, `LibraryCorrection`,
  `normalisation`; variations in tables: `variation`, `table_variations`, `read_all_variations`;
- selections: `AnomalySelection`, `AnomalyScores`: a saved scorer inside somebody's own processor;
- friends: `write_friends`, `find_scorers`, `read_friend`, `FriendProcessor`: scores as trees or tables beside the events.
"""

from __future__ import annotations

from resonaut.processors.corrections.chain import Corrections, make_corrections
from resonaut.processors.corrections.library import LibraryCorrection
from resonaut.processors.corrections.objects import ScaleCorrection, SmearingCorrection
from resonaut.processors.corrections.weights import WeightCorrection, normalisation
from resonaut.processors.download import fetch, list_files
from resonaut.processors.events.objects import OBJECT_KINDS, EventObjects
from resonaut.processors.features.builder import EventFeatures, FeatureBuilder
from resonaut.processors.features.cuts import Cuts, DijetCuts, make_cuts
from resonaut.processors.features.dijet import DijetFeatures
from resonaut.processors.features.event_variables import EVENT_FEATURES, EventVariables
from resonaut.processors.features.factory import RESONANCES, make_features, make_processor
from resonaut.processors.features.labels import axis_label
from resonaut.processors.features.processor import DijetProcessor, TableProcessor
from resonaut.processors.features.resonance import ResonanceFeatures
from resonaut.processors.friend_files import read_friend, read_friend_provenance, write_friend
from resonaut.processors.friends import FriendProcessor, FriendReport, find_scorers, write_friends
from resonaut.processors.generation.blocks import JetTrigger
from resonaut.processors.generation.detector import Detector
from resonaut.processors.generation.frames import read_generation
from resonaut.processors.generation.processes import PROCESSES, QCD, WZ, Process, TTbar, ZPrimeXY
from resonaut.processors.generation.pythia import Generator
from resonaut.processors.generation.sample import GeneratedSample, GenerationLedger, generate
from resonaut.processors.identity import config_hash
from resonaut.processors.jets.images import jet_images
from resonaut.processors.jets.lund import LundPlane, lund_plane
from resonaut.processors.jets.names import parse_observable
from resonaut.processors.jets.observables import DEFAULT_OBSERVABLES, OBSERVABLES
from resonaut.processors.jets.pair import ALGORITHMS, JetPair, Particles, cluster, flatten_particles, substructure
from resonaut.processors.jets.sets import ConstituentSets, constituent_sets
from resonaut.processors.jets.table import JetTable, collection_jets, leading_jets
from resonaut.processors.objects.channels import CHANNELS, Channel, channel_cutflow
from resonaut.processors.objects.encodings import LeadingObjects, ObjectSets, TypeSlots, encoding_from_dict
from resonaut.processors.objects.processor import EventObjectsProcessor, ObjectCuts, collect_objects
from resonaut.processors.running.clusters import OPTIONS as EXECUTOR_OPTIONS
from resonaut.processors.running.clusters import batch_cluster
from resonaut.processors.running.executors import EXECUTORS
from resonaut.processors.running.footprint import parse_bytes
from resonaut.processors.running.ledger import Ledger, RunResult
from resonaut.processors.running.plan import make_plan
from resonaut.processors.running.run import run_processor
from resonaut.processors.selection import AnomalyScores, AnomalySelection
from resonaut.processors.sources.column_map import ColumnMap
from resonaut.processors.sources.darkmachines import ObjectsRead, read_darkmachines, write_darkmachines
from resonaut.processors.sources.paths import NamedFile, fileset_of, named_files
from resonaut.processors.sources.registry import SOURCES, Source, recognise, source
from resonaut.processors.sources.root import write_particle_tree
from resonaut.processors.table import (
    is_table,
    read_all_variations,
    read_provenance,
    read_table,
    table_columns,
    table_variations,
    write_table,
)
from resonaut.processors.variations import variation

__all__ = (
    "ALGORITHMS",
    "CHANNELS",
    "DEFAULT_OBSERVABLES",
    "EVENT_FEATURES",
    "EXECUTORS",
    "EXECUTOR_OPTIONS",
    "OBJECT_KINDS",
    "OBSERVABLES",
    "PROCESSES",
    "QCD",
    "RESONANCES",
    "SOURCES",
    "WZ",
    "AnomalyScores",
    "AnomalySelection",
    "Channel",
    "ColumnMap",
    "ConstituentSets",
    "Corrections",
    "Cuts",
    "Detector",
    "DijetCuts",
    "DijetFeatures",
    "DijetProcessor",
    "EventFeatures",
    "EventObjects",
    "EventObjectsProcessor",
    "EventVariables",
    "FeatureBuilder",
    "FriendProcessor",
    "FriendReport",
    "GeneratedSample",
    "GenerationLedger",
    "Generator",
    "JetPair",
    "JetTable",
    "JetTrigger",
    "LeadingObjects",
    "Ledger",
    "LibraryCorrection",
    "LundPlane",
    "NamedFile",
    "ObjectCuts",
    "ObjectSets",
    "ObjectsRead",
    "Particles",
    "Process",
    "ResonanceFeatures",
    "RunResult",
    "ScaleCorrection",
    "SmearingCorrection",
    "Source",
    "TTbar",
    "TableProcessor",
    "TypeSlots",
    "WeightCorrection",
    "ZPrimeXY",
    "axis_label",
    "batch_cluster",
    "channel_cutflow",
    "cluster",
    "collect_objects",
    "collection_jets",
    "config_hash",
    "constituent_sets",
    "encoding_from_dict",
    "fetch",
    "fileset_of",
    "find_scorers",
    "flatten_particles",
    "generate",
    "is_table",
    "jet_images",
    "leading_jets",
    "list_files",
    "lund_plane",
    "make_corrections",
    "make_cuts",
    "make_features",
    "make_plan",
    "make_processor",
    "named_files",
    "normalisation",
    "parse_bytes",
    "parse_observable",
    "read_all_variations",
    "read_darkmachines",
    "read_friend",
    "read_friend_provenance",
    "read_generation",
    "read_provenance",
    "read_table",
    "recognise",
    "run_processor",
    "source",
    "substructure",
    "table_columns",
    "table_variations",
    "variation",
    "write_darkmachines",
    "write_friend",
    "write_friends",
    "write_particle_tree",
    "write_table",
)
