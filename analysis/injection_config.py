"""The `injections` section of a search: which signals are put into the data, how much of them, how often."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field, field_validator

from resonaut.analysis.input_config import ExecutorConfig, Section

__all__ = ("CLUSTERS", "InjectionConfig")

Count = Annotated[float, Field(ge=0)]


CLUSTERS = ("dask", "slurm", "htcondor")


class InjectionConfig(Section):
    """A grid of signals in the data; for each point the whole search, training included, is run again."""

    events: tuple[Count, ...] = Field(
        min_length=1,
        description="signal events that are produced, rising; those that fall outside the mass range count too",
    )
    seeds: int = Field(default=1, ge=1, description="runs of each point, with other signal events and other seeds")
    signals: tuple[str, ...] = Field(default=(), description="names among `signals`; default: all of them")

    executor: ExecutorConfig | None = Field(
        default=None,
        description="cluster that the runs are spread over: {name: dask, scheduler: tcp://...}, or slurm, htcondor with their "
        "options (docs/running.md); default: the `workers` processes of this machine",
    )

    @field_validator("executor")
    @classmethod
    def _cluster(cls, given: ExecutorConfig | None) -> ExecutorConfig | None:
        if given is None:
            return None
        if given.name not in CLUSTERS:
            msg = f"runs go to {', '.join(CLUSTERS)}, got {given.name!r}: leave the executor out for the `workers` of this machine"
            raise ValueError(msg)
        if chunks := sorted(given.model_fields_set & {"chunksize", "memory_limit", "retries"}):
            msg = f"{', '.join(chunks)}: runs of a campaign are not cut into chunks of events, leave it out"
            raise ValueError(msg)
        return given

    @field_validator("events")
    @classmethod
    def _rising(cls, given: tuple[float, ...]) -> tuple[float, ...]:
        if any(b <= a for a, b in pairwise(given)):
            msg = f"the numbers of signal events must rise, got {list(given)}"
            raise ValueError(msg)
        return given
