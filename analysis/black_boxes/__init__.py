"""What a search says about its largest excess with no label at hand: how rare it is in the whole scan, mass, events, cross-section, properties."""

from __future__ import annotations

from resonaut.analysis.black_boxes.stage import SCHEMA, excess_stage
from resonaut.analysis.black_boxes.words import excess_text

__all__ = ("SCHEMA", "excess_stage", "excess_text")
