"""Scorers as ONNX files, for C++ and other frameworks: see docs/scores-back.md.

| what | where |
| --- | --- |
| write a scorer as ONNX, checked against its own scores | `to_onnx`, `ExportReport` |
| which scorers can be exported | `exportable` |
| what a file says about itself | `read_onnx_card` |
| the check alone | `check_onnx`, `Agreement` |
"""

from __future__ import annotations

from resonaut.models.export.check import Agreement, check_onnx
from resonaut.models.export.convert import exportable
from resonaut.models.export.files import ExportReport, read_onnx_card, to_onnx

__all__ = ("Agreement", "ExportReport", "check_onnx", "exportable", "read_onnx_card", "to_onnx")
