"""The `validation` section of a search: how much of the search is checked before its signal regions are looked at."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ("ValidationConfig",)

Folds = Annotated[int, Field(ge=2)]


class ValidationConfig(BaseModel):
    """Checks of a search on its own events, outside of the signal region that each selection was trained for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pseudo_experiments: int = Field(default=20, ge=0, description="whole searches of background alone; 0 makes none")
    background: tuple[str, ...] = Field(
        default=(),
        description="simulated background that they are drawn from; default: the data, with masses drawn from the fit",
    )
    windows: int = Field(default=4, ge=1, description="signal regions that are checked, spread over the scan")
    seeds: int = Field(default=2, ge=0, description="trainings with other seeds that the prediction must agree with")
    folds: tuple[Folds, ...] = Field(default=(3,), description="other numbers of folds, likewise")
    leave_out: bool = Field(default=True, description="whether each feature in turn is left out, likewise")
    false_alarm: float = Field(
        default=0.01, gt=0, le=0.2, description="chance that a search without fault has any red check"
    )

    def quick(self) -> ValidationConfig:
        """A smaller suite for a first look: it finds gross faults only."""
        fewer = {"pseudo_experiments": min(self.pseudo_experiments, 6), "windows": min(self.windows, 2)}
        return self.model_copy(update={**fewer, "seeds": min(self.seeds, 1), "folds": (), "leave_out": False})
