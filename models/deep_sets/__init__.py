"""Events as sets of objects: the Deep Set variational autoencoder (Ostdiek, arXiv:2109.01695)."""

from __future__ import annotations

from resonaut.models.deep_sets.chamfer import PaddedObjects, chamfer
from resonaut.models.deep_sets.pooling import fspool, position_basis
from resonaut.models.deep_sets.scan import deep_set_scan
from resonaut.models.deep_sets.scorer import DeepSetVAE

__all__ = ("DeepSetVAE", "PaddedObjects", "chamfer", "deep_set_scan", "fspool", "position_basis")
