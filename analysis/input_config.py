"""The `input` section of a search: which events are read, how, and what their features and the resonant variable are."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from resonaut.analysis.column_maps import checked_map
from resonaut.errors import ConfigError, unknown_name
from resonaut.processors import (
    EXECUTOR_OPTIONS,
    Corrections,
    TableProcessor,
    make_cuts,
    make_features,
    make_processor,
    parse_bytes,
)

__all__ = ("ExecutorConfig", "InputConfig", "Section")


class Section(BaseModel):
    """What all sections share: unknown keys are errors, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ExecutorConfig(Section):
    """How event files are processed: coffea's executors, with their own options beside these (docs/running.md)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Literal["iterative", "futures", "dask", "slurm", "htcondor", "parsl", "taskvine"] = "iterative"
    workers: int = Field(default=1, ge=1, description="processes, or batch jobs")
    scheduler: str | None = Field(default=None, description="address of a running dask scheduler, tcp://...")
    chunksize: int | None = Field(default=None, ge=1, description="most events in one unit of work (20,000)")
    memory_limit: str | None = Field(
        default=None, description="of all processes together, such as 4GB: sizes the chunks"
    )
    retries: int = Field(default=3, ge=0, description="repetitions when a connection broke or timed out")

    @property
    def options(self) -> dict[str, Any]:
        """Options of the executor itself."""
        return dict(self.model_extra or {})

    @property
    def chunks(self) -> int | None:
        """Most events in a chunk; None to leave it to the memory limit."""
        return self.chunksize or (None if self.memory_limit else 20_000)

    @model_validator(mode="after")
    def _options_fit(self) -> ExecutorConfig:
        if self.scheduler and self.name != "dask":
            msg = f"a scheduler needs the dask executor, got {self.name!r}: set name: dask"
            raise ValueError(msg)
        known = EXECUTOR_OPTIONS[self.name]
        for key in self.options:
            if key not in known:
                raise ValueError(
                    unknown_name(f"key of the executor {self.name!r}", key, [*type(self).model_fields, *known])
                )
        if self.memory_limit is not None:
            try:
                parse_bytes(self.memory_limit)
            except ConfigError as error:
                raise ValueError(str(error)) from None
        return self


class InputConfig(Section):
    """Which events are read, and what their features and the resonant variable are (docs/features.md)."""

    files: tuple[str, ...] = Field(min_length=1, description="files or globs, relative to the config file")
    simulation: tuple[str, ...] = Field(
        default=(),
        description="simulated background, for methods that learn from it; it enters no spectrum, fit or limit",
    )
    columns: dict[str, Any] | None = Field(
        default=None, description="column map of flat ntuples: columns, tree, unit; or a YAML file (docs/inputs.md)"
    )
    simulation_columns: dict[str, Any] | None = Field(
        default=None, description="column map of the simulated background; default: that of the data"
    )
    resonance: str | dict[str, Any] | None = Field(
        default=None,
        description="what is resonant: a name such as dimuon, or objects: [...]; default: two large-R jets",
    )
    jets: dict[str, Any] = Field(default_factory=dict, description="options of DijetFeatures: collection, radius, ...")
    event_features: tuple[str, ...] | dict[str, Any] = Field(
        default=(), description="features of whole events: ht, met, sphericity, ...; or names: [...], where: {...}"
    )
    cuts: dict[str, Any] = Field(
        default_factory=dict,
        description="of any column: {min, max, abs_max} or [low, high]; of dijets pt_j1: 1200, ...",
    )
    executor: ExecutorConfig = ExecutorConfig()

    on_bad_file: Literal["raise", "skip"] = Field(
        default="raise", description="a truncated or foreign file stops the run, or is skipped, counted and reported"
    )
    duplicates: Literal["error", "drop", "keep"] = Field(
        default="error",
        description="events that are there twice: of data by run, luminosity block and number in all datasets, of simulation by "
        "content too, in each dataset",
    )

    @field_validator("columns", "simulation_columns", mode="before")
    @classmethod
    def _column_map(cls, given: Any) -> Any:
        return checked_map(given)

    @field_validator("jets", "cuts", "resonance", "event_features")
    @classmethod
    def _options(cls, given: Any, info: ValidationInfo) -> Any:
        try:
            make_cuts(given) if info.field_name == "cuts" else make_features(**{str(info.field_name): given})
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return given

    @model_validator(mode="after")
    def _features_fit(self) -> InputConfig:
        try:
            self.processor()
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def columns_of(self, name: str) -> dict[str, Any] | None:
        """Column map of the `events`, or of the `simulation` of background."""
        if name == "simulation" and self.simulation_columns is not None:
            return self.simulation_columns
        return self.columns

    def processor(self, corrections: Corrections | None = None) -> TableProcessor:
        """Processor that makes the event table: its builder, its cuts; of simulation with its corrections."""
        options = {"resonance": self.resonance, "jets": self.jets, "event_features": self.event_features}
        return make_processor(**options, cuts=self.cuts, corrections=corrections)
