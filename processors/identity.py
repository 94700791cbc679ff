"""What tells one processor from another: its configuration, the code that it is made of, and the saved scorers in it.

A result that was kept is only used again by the same processor, so nothing that a result depends on may be missing here,
and nothing may be in it that changes from one process to the next (addresses, the order of sets, random ids of classes).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import inspect
import io
import pickle
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import cloudpickle

from resonaut import __version__
from resonaut.files import digest

__all__ = ("code_digest", "config_hash", "own_code", "processor_config", "source_code", "state_digest")

ROOMS = ("resonaut.processors", "resonaut.models")
"""Our own code that results depend on."""


def processor_config(processor: Any) -> dict[str, Any]:
    """What identifies a processor: its name, its `config` if it has one, else a hash of its state."""
    named = processor if inspect.isfunction(processor) else type(processor)
    config = getattr(processor, "config", None)
    if config is None:
        config = {"state": state_digest(processor)}
    return {"name": f"{named.__module__}.{named.__qualname__}", "config": config}


def config_hash(processor: Any) -> str:
    """Hash of a processor's configuration, of the code that it is made of, and of resonaut's version and code.

    Its code is that of the modules in which its class, its bases, and all classes and functions that it holds are defined,
    and of the modules that those import, as far as they are not installed packages.
    """
    return digest(processor_config(processor), source_code(processor), __version__, own_code())


def code_digest(*things: Any) -> str:
    """Hash of the code of objects, classes and functions, as far as it is the user's, and of what functions enclose.

    What an object holds is its configuration and not part of the hash; functions have none, and theirs is.

    Examples
    --------
    >>> def times(factor):
    ...     return lambda x: factor * x
    >>> code_digest(times(2.0)) == code_digest(times(2.0)), code_digest(times(2.0)) == code_digest(times(3.0))
    (True, False)
    """
    parts = _Parts()
    states = [parts.state_of(each if _is_function(each) else type(each)) for each in things]
    return digest(states, [source_code(each) for each in things])


def state_digest(thing: Any) -> str:
    """Hash of all that an object, or a function, holds: equal in every process."""
    return _Parts().state_of(thing)


@functools.cache
def own_code() -> str:
    """Hash of the source files of the rooms that results depend on: a version alone does not show what is being worked on."""
    found = hashlib.sha256()
    for room in ROOMS:
        spec = importlib.util.find_spec(room)
        assert spec is not None
        assert spec.origin is not None
        folder = Path(spec.origin).parent
        for path in sorted(folder.rglob("*.py")):
            found.update(f"{room}/{path.relative_to(folder)}".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def source_code(thing: Any) -> dict[str, str]:
    """Hashes of the modules of a user's own that an object, class or function is made of, {name: hash of the source}."""
    parts = _Parts()
    parts.name_of(type(thing))
    with contextlib.suppress(TypeError, AttributeError, pickle.PicklingError):  # a source may hold what does not travel
        parts.state_of(thing)
    found: dict[str, str] = {}
    todo = list(parts.modules)
    while todo:
        name = todo.pop()
        module = sys.modules.get(name)
        if name in found or module is None or not _is_of_the_user(module):
            continue
        found[name] = _source(module)
        todo += [of for value in vars(module).values() if (of := _module_of(value)) is not None]
    return found


def _is_function(thing: Any) -> bool:
    return inspect.isroutine(thing) or isinstance(thing, (functools.partial, type))


def _module_of(value: Any) -> str | None:
    if isinstance(value, ModuleType):
        return value.__name__
    named: Any = value if inspect.isclass(value) or inspect.isfunction(value) else type(value)
    return named.__module__ if isinstance(named.__module__, str) else None


@functools.cache
def _installed() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return tuple(Path(paths[key]).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib"))


def _is_of_the_user(module: ModuleType) -> bool:
    """True for code that is neither ours nor of an installed package: its version does not say what it is."""
    if module.__name__.partition(".")[0] == "resonaut":
        return False
    file = getattr(module, "__file__", None)
    if file is None:
        return False
    path = Path(file).resolve()
    return "site-packages" not in path.parts and not any(path.is_relative_to(folder) for folder in _installed())


def _source(module: ModuleType) -> str:
    try:
        return hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest()[:16]
    except OSError:
        return ""  # of a notebook's cell, which has no file: the state of its classes and functions holds their code


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc] # untyped
    """Pickles values, and the names of classes and functions in place of these."""

    def __init__(self, stream: io.BytesIO, parts: _Parts) -> None:
        super().__init__(stream)
        self.parts = parts

    def persistent_id(self, thing: Any) -> str | None:
        return self.parts.name_of(thing)


class _Parts:
    """Goes through all that an object holds: the modules of its classes and functions, and what its state is."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self._states: dict[int, tuple[Any, str]] = {}  # with the thing itself, so that no other gets its id

    def state_of(self, thing: Any) -> str:
        """Hash of the state of an object, equal in every process."""
        stream = io.BytesIO()
        _Pickler(stream, self).dump(thing)
        return hashlib.sha256(stream.getvalue()).hexdigest()[:16]

    def name_of(self, thing: Any) -> str | None:
        """What stands for a class, a function, a module or a set; None for what is pickled as it is."""
        if type(thing).__module__.startswith("numba.") and hasattr(thing, "py_func"):
            thing = thing.py_func
        if isinstance(thing, ModuleType):
            return f"module {thing.__name__}"
        if isinstance(thing, (set, frozenset)):
            return f"{type(thing).__name__} {sorted(map(self.state_of, thing))}"
        if inspect.isclass(thing):
            return f"class {thing.__module__}.{thing.__qualname__} {self._once(thing, self._class)}"
        if inspect.isfunction(thing):
            return f"function {thing.__module__}.{thing.__qualname__} {self._once(thing, self._function)}"
        return None

    def _once(self, thing: Any, state: Callable[[Any], str]) -> str:
        """State of a class or function, which may hold itself."""
        self.modules.add(str(thing.__module__))
        if id(thing) not in self._states:
            self._states[id(thing)] = thing, ""
            self._states[id(thing)] = thing, state(thing)
        return self._states[id(thing)][1]

    def _function(self, function: Any) -> str:
        cells = [cell.cell_contents for cell in function.__closure__ or () if _is_full(cell)]
        held = [cells, function.__defaults__, function.__kwdefaults__]
        if _has_source(function):
            return self.state_of(held)
        used = {name: function.__globals__[name] for name in _names(function.__code__) & set(function.__globals__)}
        outside = [self._value(name, value) for name, value in sorted(used.items())]
        return digest(_bytecode(function.__code__), self.state_of(held), outside)

    def _class(self, kind: type) -> str:
        """State of a class of the user's: values that it holds, such as a selection, and the state of its bases."""
        self.modules.update(base.__module__ for base in kind.__mro__)
        module = sys.modules.get(kind.__module__)
        if (_has_source(kind) and not (module and _is_of_the_user(module))) or kind.__module__ == "builtins":
            return ""
        inside = {name: value for name, value in vars(kind).items() if not name.startswith(("_abc_", "__"))}
        return digest(
            [self._value(*each) for each in sorted(inside.items())], [self.name_of(k) for k in kind.__bases__]
        )

    def _value(self, name: str, value: Any) -> tuple[str, str]:
        """State of what a class holds or a function uses; of what cannot travel to workers its name alone."""
        value = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
        value = [value.fget, value.fset] if isinstance(value, property) else value
        try:
            return name, self.state_of(value)
        except (TypeError, AttributeError, pickle.PicklingError):
            return name, ""


def _is_full(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 (an empty cell raises)
    except ValueError:
        return False
    return True


def _has_source(thing: Any) -> bool:
    module = sys.modules.get(thing.__module__)
    return Path(str(getattr(module, "__file__", ""))).is_file()


def _names(code: CodeType) -> set[str]:
    return set(code.co_names).union(*(_names(each) for each in code.co_consts if inspect.iscode(each)))


def _bytecode(code: CodeType) -> str:
    """What a function that has no source does: its instructions and constants, those of functions inside it too."""
    return digest(code.co_code.hex(), code.co_names, [_constant(each) for each in code.co_consts])


def _constant(value: Any) -> str:
    if inspect.iscode(value):
        return _bytecode(value)
    return str(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
