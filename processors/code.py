"""The code that results depend on, so that results of code that has changed since are not taken from a cache."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import cloudpickle

from resonaut.files import digest

__all__ = ("code_digest",)


def code_digest(*things: Any) -> str:
    """Hash of the source of the modules in which classes (of objects, with their bases) and functions are defined.

    Of a function also what it encloses and its default arguments; of what was defined at a prompt its pickle. What those
    modules import is not followed: it belongs to a package with a version, or to the options of whoever uses it.

    Parameters
    ----------
    things : objects, functions or classes.

    Examples
    --------
    >>> def times(factor):
    ...     return lambda x: factor * x
    >>> code_digest(times(2.0)) == code_digest(times(2.0)), code_digest(times(2.0)) == code_digest(times(3.0))
    (True, False)
    """
    return digest([_code(thing) for thing in things])


def _code(thing: Any) -> list[str]:
    if isinstance(thing, functools.partial):
        return [*_code(thing.func), _pickled((thing.args, sorted(thing.keywords.items())))]
    if inspect.ismethod(thing):
        return [*_code(thing.__self__), thing.__name__]
    if inspect.isfunction(thing):
        own = (thing.__closure__, thing.__defaults__, thing.__kwdefaults__)
        return [thing.__qualname__, _source(thing), _pickled(own)]
    kind = thing if inspect.isclass(thing) else type(thing)
    return [text for one in kind.__mro__ if one is not object for text in (one.__qualname__, _source(one))]


def _source(thing: Any) -> str:
    """Source of the module that a class or function is defined in; of what has no file, how it is pickled."""
    try:
        return inspect.getsource(inspect.getmodule(thing) or thing)
    except (OSError, TypeError):
        return _pickled(thing)


def _pickled(thing: Any) -> str:
    return str(cloudpickle.dumps(thing).hex())
