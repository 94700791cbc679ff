"""The `injections` section of a search: which signals are put into the data, how much of them, how often."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ("InjectionConfig",)

Count = Annotated[float, Field(ge=0)]


class InjectionConfig(BaseModel):
    """A grid of signals in the data; for each point the whole search, training included, is run again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    events: tuple[Count, ...] = Field(
        min_length=1,
        description="signal events that are produced, rising; those that fall outside the mass range count too",
    )
    seeds: int = Field(default=1, ge=1, description="runs of each point, with other signal events and other seeds")
    signals: tuple[str, ...] = Field(default=(), description="names among `signals`; default: all of them")

    @field_validator("events")
    @classmethod
    def _rising(cls, given: tuple[float, ...]) -> tuple[float, ...]:
        if any(b <= a for a, b in pairwise(given)):
            msg = f"the numbers of signal events must rise, got {list(given)}"
            raise ValueError(msg)
        return given
