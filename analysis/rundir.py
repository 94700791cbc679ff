"""A run directory: units of work that are written whole or not at all and are never repeated.

A unit is a folder with a `unit.json` that holds the hash of everything that went into it. A run that was killed and
started again finds its finished units by that hash; what was half-written has no `unit.json` and is made again.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resonaut.errors import InputError
from resonaut.files import atomic_dir, read_json, write_json

__all__ = ("RunDirectory", "Unit")

_CARD = "unit.json"


class Unit:
    """One resumable piece of work: a folder, and the hash of what goes into it.

    Parameters
    ----------
    folder
        Where the unit's files end up.
    key
        Hash of every input of the work (see `resonaut.files.digest`).
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key

    @property
    def done(self) -> bool:
        """Whether the folder holds the finished work of this key, all of its files."""
        try:
            card = read_json(self.folder / _CARD)
            whole = all((self.folder / name).stat().st_size == size for name, size in card["files"].items())
            return whole and card["key"] == self.key
        except (InputError, OSError, KeyError, TypeError, AttributeError):
            return False  # no card, a damaged one, or files gone since: the work is made again

    @property
    def seconds(self) -> float:
        """Time that the work took when it was done."""
        return float(read_json(self.folder / _CARD)["seconds"])

    def make(self, work: Callable[[Path], Any]) -> bool:
        """Do the work unless it is done; `work` writes its files into the folder that it is given.

        Returns
        -------
        bool
            True if the work was done now, False if it was there.
        """
        if self.done:
            return False
        start = time.perf_counter()
        with atomic_dir(self.folder) as temporary:
            work(temporary)
            files = {str(p.relative_to(temporary)): p.stat().st_size for p in temporary.rglob("*") if p.is_file()}
            write_json(temporary / _CARD, {"key": self.key, "seconds": time.perf_counter() - start, "files": files})
        return True


class RunDirectory:
    """The folder of one run, and the names of what lies in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists() and not path.is_dir():
            msg = f"{path} is a file; a run needs a folder of its own"
            raise InputError(msg)
        path.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory for one run; the lock goes with the process, however that ends.

        Raises
        ------
        InputError
            If another run holds it.
        """
        with (self.path / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                msg = f"another run is at work in {self.path}: wait for it, or give this one its own --out"
                raise InputError(msg) from None
            for left in self.path.rglob(".*.part"):  # of a run that was killed
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield

    def clear_results(self) -> None:
        """Remove what an earlier run concluded, so that nothing stale is taken for a result; units stay."""
        for path in (self.summary, self.report):
            path.unlink(missing_ok=True)
        for folder in (self.plots, self.results):
            shutil.rmtree(folder, ignore_errors=True)

    def remove_others(self, pattern: str, kept: Iterable[Path]) -> None:
        """Remove units of an earlier config, which a reader would take for results of this one.

        Parameters
        ----------
        pattern : of their folders, such as ``limits/*``.
        kept : folders of the present units.
        """
        present = {path.absolute() for path in kept}
        for folder in self.path.absolute().glob(pattern):
            if folder not in present and (folder / _CARD).is_file():
                shutil.rmtree(folder)

    def unit(self, name: str, key: str) -> Unit:
        """The unit called `name` (may hold slashes) for the inputs hashed in `key`."""
        return Unit(self.path / name, key)

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def results(self) -> Path:
        return self.path / "results"

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    @property
    def report(self) -> Path:
        return self.path / "report.html"
