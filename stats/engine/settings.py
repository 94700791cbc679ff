"""States, modes and tolerances of the batched fits, the same for both backends."""

from __future__ import annotations

__all__ = (
    "AT_LIMIT",
    "CONVERGED",
    "FAILED",
    "FALLING",
    "FEW",
    "FINEST",
    "FIXED",
    "FLAT_INFORMATION",
    "FREE",
    "MAX_HALVINGS",
    "MAX_ITERATIONS",
    "MAX_LOG_STEP",
    "NO_SIGNAL",
    "POSITIVE",
    "ROUNDING",
    "SLOW",
    "TINY",
    "TOLERANCE",
    "TRUSTED",
)

CONVERGED, AT_LIMIT, FAILED = 0, 1, 2
NO_SIGNAL, FIXED, FREE, POSITIVE = 0, 1, 2, 3
MAX_ITERATIONS = 60
MAX_HALVINGS = 20
MAX_LOG_STEP = 4.0  # largest rise of ln f in one step: keeps exp() and the first steps tame
TOLERANCE = 1e-10  # gain in 2 ln L of the last step
FEW = 300.0  # events: below, a signal and a steep background may each explain the same ones, and both are tried
FINEST = 1e-12  # the same where that step is not taken
TRUSTED = 0.5  # steps that change ln f by less are taken without looking, for as long as gains fall
FALLING = 1e-4  # of the gain before: the information of an earlier point is still good
SLOW = 0.02  # a fit that still gains this little in 2 ln L per step, at the last one, runs towards infinity
FLAT_INFORMATION = 1e-4  # per event: below it, some shape is unconstrained by the data
ROUNDING = 2e-15  # of a deviance, per event
TINY = 1e-300
