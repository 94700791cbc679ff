"""From a scorer to an ONNX file that says what it needs, and is only there if it gives the scorer's own scores."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from resonaut.errors import InputError, ModelError
from resonaut.files import atomic_path
from resonaut.models.export.check import Agreement, check_onnx
from resonaut.models.export.convert import convert
from resonaut.models.export.graph import FEATURES, IR_VERSION, MASS, OPSET, SCORE, TREES_OPSET, Graph, require_onnx
from resonaut.models.protocol import Scorer
from resonaut.models.sample import Sample
from resonaut.models.storage import load_scorer, read_card
from resonaut.models.working_points import check_working_points, read_working_points

__all__ = ("ExportReport", "read_onnx_card", "to_onnx", "unit_of")

_DOUBLE = 11  # TensorProto.DOUBLE
_GEV = ("m", "msd", "pt", "mjj", "dm", "ht", "met")
_RANDOM_EVENTS = 4000
_MASSES = (1000.0, 6000.0)  # GeV, of random events where the scorer has no window


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Parameters
    ----------
    path
        The file.
    card
        What the file says about itself: see `read_onnx_card`.
    random, real
        Agreement with the scorer on random events over the range of the features, and on real ones (None where none were given).
    """

    path: Path
    card: dict[str, Any]
    random: Agreement
    real: Agreement | None = None


def unit_of(feature: str) -> str:
    """Unit of a column of an event table: "GeV", or "1" for ratios, angles, counts and columns of others.

    Examples
    --------
    >>> unit_of("m_h"), unit_of("tau21_h"), unit_of("pt_j1")
    ('GeV', '1', 'GeV')
    """
    return "GeV" if feature.split("_", maxsplit=1)[0] in _GEV else "1"


@dataclass(frozen=True)
class _Source:
    """A fitted scorer with its card, and its working points where there are any."""

    scorer: Scorer
    card: Mapping[str, Any]
    points: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, scorer: Scorer | str | os.PathLike[str]) -> _Source:
        if isinstance(scorer, (str, os.PathLike)):
            try:
                points = read_working_points(scorer)
            except ModelError:
                points = {}  # a scorer without working points is exported without
            return cls(load_scorer(scorer), read_card(scorer), points)
        with tempfile.TemporaryDirectory() as folder:
            scorer.save(Path(folder) / "scorer")
            return cls(scorer, read_card(Path(folder) / "scorer"))


def to_onnx(
    scorer: Scorer | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    events: Sample | None = None,
    working_points: Mapping[str, float] | None = None,
) -> ExportReport:
    """Write a scorer as an ONNX file, check it against the scorer, and keep it only if both agree.

    Parameters
    ----------
    scorer
        Fitted, or the folder of a saved one.
    path
        File to write, whole or not at all.
    events
        Real events with the scorer's features, to compare the scores of, beside random ones.
    working_points
        {name: threshold} for the file's metadata; from the folder where not given.

    Returns
    -------
    ExportReport
        With the agreement of the scores.

    Raises
    ------
    ModelError
        If the scorer cannot be exported (the message lists those that can), is not fitted, or the scores differ by more than
        rounding explains: 1e-5 of the score or of the spread of scores; for single events 1e-2 where a
        network's score goes through -ln of the fraction of events above it (`deep-svdd`, combinations on a common scale).
    MissingDependencyError
        Without onnx and onnxruntime: ``pip install 'resonaut[onnx]'``.

    Notes
    -----
    Inputs: "features" (n, d) and, where the scorer reads the mass, "mass" (n, 1), both in double precision, in GeV where they
    have a unit. Output: "score" (n,), double, NaN where an input is not finite. Networks are evaluated in single precision inside, as in resonaut. Operator sets
    17 and ai.onnx.ml 5: onnxruntime 1.20 or later.
    """
    source = _Source.of(scorer)
    points = source.points if working_points is None else check_working_points(working_points)
    graph = Graph(tuple(source.scorer.features))
    model = _model(graph, graph.where_known(convert(graph, source.scorer)))
    content = model.SerializeToString()
    made = random_events(graph, source.card, source.scorer.features)
    random = _agree(content, source.scorer, made, "random", graph.tolerance)
    real = (
        None if events is None or not len(events) else _agree(content, source.scorer, events, "real", graph.tolerance)
    )
    card = _card(graph, source, points, {"random": random, "real": real})
    require_onnx().helper.set_model_props(model, {key: _text(value) for key, value in card.items()})
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
    return ExportReport(Path(path), card, random, real)


def _model(graph: Graph, score: str) -> Any:
    onnx = require_onnx()
    helper = onnx.helper
    inputs = [helper.make_tensor_value_info(FEATURES, _DOUBLE, ["n", len(graph.features)])]
    if graph.uses_mass:
        inputs.append(helper.make_tensor_value_info(MASS, _DOUBLE, ["n", 1]))
    nodes = [*graph.nodes, helper.make_node("Identity", [score], [SCORE])]
    output = helper.make_tensor_value_info(SCORE, _DOUBLE, ["n"])
    made = helper.make_graph(nodes, "resonaut", inputs, [output], initializer=list(graph.constants.values()))
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", TREES_OPSET)]
    model = helper.make_model(
        made,
        opset_imports=opsets,
        ir_version=IR_VERSION,
        producer_name="resonaut",
        producer_version=version("resonaut"),
    )
    onnx.checker.check_model(model)
    return model


def random_events(graph: Graph, card: Mapping[str, Any], features: Sequence[str], seed: int = 1) -> Sample:
    """Events (4000) with features spread evenly over where the scorer's networks and trees know them, and a little beyond."""
    rng = np.random.default_rng(seed)
    window = card.get("window")
    low, high = (min(window.values()), max(window.values())) if window else _MASSES
    mass = rng.uniform(low, high, _RANDOM_EVENTS)
    columns = []
    for name in features:
        value = rng.uniform(*graph.ranges.get(name, (0.0, 1.0)), _RANDOM_EVENTS)
        columns.append(value * mass if name in graph.scaled else value)
    return Sample(np.stack(columns, axis=1), features, mass)


def _agree(content: bytes, scorer: Scorer, events: Sample, kind: str, tolerance: float) -> Agreement:
    found = check_onnx(content, scorer, events)
    if not found.within(tolerance):
        msg = (
            f"the ONNX form of {scorer.name!r} differs from it by at most {found.difference:.2g}, on average {found.mean_difference:.2g} (relative), on {found.events} {kind} "
            f"events, and events that differ by {found.exchanged_by:.2g} change places; {tolerance:g} is allowed: nothing was written"
        )
        raise ModelError(msg)
    return found


def _card(
    graph: Graph, source: _Source, points: Mapping[str, float], checks: Mapping[str, Agreement | None]
) -> dict[str, Any]:
    return {
        "resonaut": version("resonaut"),
        "scorer": _described(source.card),
        "card_digest": source.card["digest"],
        "features": list(graph.features),
        "units": [unit_of(name) for name in graph.features],
        "mass": "GeV" if graph.uses_mass else "not needed",
        "window": source.card.get("window"),
        "working_points": dict(points),
        "tolerance": graph.tolerance,
        "agreement": {name: None if found is None else found.to_dict() for name, found in checks.items()},
    }


def _described(card: Mapping[str, Any]) -> str:
    """Name of the scorer, and of what it wraps."""
    inner = card["options"].get("scorer") or card["options"].get("wrapped")
    return f"{card['scorer']}({inner})" if isinstance(inner, str) else str(card["scorer"])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def read_onnx_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What an exported file says about itself.

    Returns
    -------
    dict
        `resonaut` (version), `scorer`, `card_digest`, `features` (in order), `units`, `mass` ("GeV" or "not needed"), `window`,
        `working_points`, `tolerance`, `agreement`.

    Raises
    ------
    InputError
        If the file is no ONNX file that resonaut wrote.
    """
    onnx = require_onnx()
    try:
        found = {each.key: each.value for each in onnx.load(os.fspath(path), load_external_data=False).metadata_props}
    except Exception as error:  # protobuf has its own kinds
        msg = f"{os.fspath(path)}: cannot be read as ONNX ({type(error).__name__}: {error})"
        raise InputError(msg) from error
    if "card_digest" not in found:
        msg = f"{os.fspath(path)}: an ONNX file, but not one that resonaut wrote (it has no card_digest)"
        raise InputError(msg)
    plain = ("resonaut", "scorer", "card_digest", "mass")
    return {key: value if key in plain else json.loads(value) for key, value in found.items()}
