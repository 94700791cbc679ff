"""The `signals` section of a search: simulated signals that limits are set on, with their corrections and uncertainties."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from resonaut.analysis.column_maps import checked_map
from resonaut.processors import Corrections, make_corrections

__all__ = ("STATISTICS", "SignalConfig", "absolute_corrections")

STATISTICS = "statistics"
"""Name of the uncertainty from the number of simulated events."""


class SignalConfig(BaseModel):
    """A simulated signal: after the same cuts as the data it has an efficiency, a shape and uncertainties."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$", description="in tables, plots and folders")
    files: tuple[str, ...] = Field(min_length=1, description="files or globs, relative to the config file")
    columns: dict[str, Any] | None = Field(
        default=None,
        description="column map of these files, or a YAML file; default: that of the data (docs/inputs.md)",
    )
    mass: float = Field(gt=0, description="of the resonance, GeV: the limit is set in the signal region around it")
    cross_section: float | None = Field(default=None, gt=0, description="fb: for expected yields and a signal strength")
    generated: float | None = Field(
        default=None, gt=0, description="sum of weights of all generated events; default: of the events in the files"
    )
    corrections: tuple[dict[str, Any], ...] = Field(
        default=(), description="of objects and weights, with their variations (docs/corrections.md)"
    )
    uncertainties: dict[str, float] = Field(
        default_factory=dict, description="relative, of the yield, by name: {luminosity: 0.017}"
    )

    @field_validator("columns", mode="before")
    @classmethod
    def _column_map(cls, given: Any) -> Any:
        return checked_map(given)

    @field_validator("uncertainties")
    @classmethod
    def _relative(cls, given: dict[str, float]) -> dict[str, float]:
        for name, value in given.items():
            if not 0 <= value < 1:
                msg = f"the uncertainty {name} is {value}, expected a relative one, 0.017 for 1.7 %"
                raise ValueError(msg)
            if name in ("mu", "signal_yield") or name.startswith(("background_", STATISTICS)):
                msg = f"the uncertainty cannot be called {name!r}, which has a meaning already: choose another name"
                raise ValueError(msg)
        return given

    @field_validator("corrections")
    @classmethod
    def _not_normalised(cls, given: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        if any(each.get("kind") == "normalisation" for each in given):
            msg = "the yield of a signal is made of its efficiency, cross_section and luminosity: leave the normalisation out"
            raise ValueError(msg)
        return given

    @model_validator(mode="after")
    def _one_name_each(self) -> SignalConfig:
        if twice := sorted({str(each.get("name")) for each in self.corrections}.intersection(self.uncertainties)):
            msg = f"{', '.join(twice)} of {self.name} is a correction and an uncertainty: give one of them another name"
            raise ValueError(msg)
        return self

    def make_corrections(self, base: Path) -> Corrections:
        """The corrections, with files relative to `base`.

        Raises
        ------
        ConfigError, InputError
            If they make no sense, or a file of them cannot be read.
        """
        return make_corrections(self.corrections, base)


def absolute_corrections(given: tuple[dict[str, Any], ...], base: Path) -> list[dict[str, Any]]:
    """The same corrections with whole names of files."""
    return [_absolute(each, base) for each in given]


def _absolute(given: dict[str, Any], base: Path) -> dict[str, Any]:
    found = {key: _absolute(value, base) if isinstance(value, dict) else value for key, value in given.items()}
    file = found.get("file")
    if isinstance(file, str):
        found["file"] = str((base / file).resolve())
    return found
