"""Checks of a search before its signal regions are looked at.

| what | where |
| --- | --- |
| all checks of a run, and the command's work | `validation_stage`, `run_validation` |
| what a run found earlier, if it still holds | `current_validation`, `is_of` |
| one check: number, threshold, verdict, diagnosis | `Check` |
"""

from __future__ import annotations

from resonaut.analysis.validation.checks import Check
from resonaut.analysis.validation.stage import SCHEMA, current_validation, is_of, run_validation, validation_stage

__all__ = ("SCHEMA", "Check", "current_validation", "is_of", "run_validation", "validation_stage")
