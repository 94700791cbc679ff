"""Every exception that resonaut raises on purpose.

Each message says what was got, what was expected, and the nearest valid name or the next step.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = (
    "ConfigError",
    "FitError",
    "IncompleteError",
    "InputError",
    "MissingDependencyError",
    "ModelError",
    "RegionError",
    "ResonautError",
    "unknown_name",
)


class ResonautError(Exception):
    """Base of all errors that resonaut raises on purpose."""


class InputError(ResonautError, ValueError):
    """Data that cannot be used: a missing branch, a truncated file, a NaN feature, an empty window."""


class RegionError(InputError):
    """A signal region or sideband with too few events to work with; other windows of a scan may have enough."""


class ConfigError(ResonautError, ValueError):
    """A configuration that cannot be run: an unknown key, a value out of range."""


class FitError(ResonautError, RuntimeError):
    """A fit or a limit that did not converge and has no usable result."""


class ModelError(ResonautError, RuntimeError):
    """A scorer that is not fitted, cannot be loaded, or does not match its input."""


class IncompleteError(ResonautError, RuntimeError):
    """Work that finished with lost pieces: results must not be taken as complete."""


class MissingDependencyError(ResonautError, ImportError):
    """An optional package is needed; the message holds the command that installs it."""


def unknown_name(what: str, got: str, options: Iterable[str]) -> str:
    """Message for a name that is not among the options, with the nearest ones.

    Examples
    --------
    >>> unknown_name("scorer", "cwolla", ["cwola", "autoencoder"])
    "unknown scorer 'cwolla': did you mean 'cwola'? Available: autoencoder, cwola"
    """
    names = sorted(options)
    close = difflib.get_close_matches(got, names, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    return f"unknown {what} {got!r}: {hint}Available: {', '.join(names) or 'none'}"
