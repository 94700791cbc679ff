"""What sources of trees that coffea has no schema for share: branches by uproot, columns read when they are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resonaut.processors.events.schema import events_from_columns
from resonaut.processors.sources.branches import Rows, tree_branches
from resonaut.processors.sources.root_files import is_root, trees_of

__all__ = ("BranchSource",)


class BranchSource:
    """A layout of ROOT files, known by the name of its tree and by what some of its branches are called."""

    name = ""
    trees: tuple[str, ...] = ()
    mark = ""  # what the name of some branch begins with

    def _tree(self, path: str) -> str | None:
        """The first of the trees of this layout that a file has."""
        there = [tree for tree in trees_of(path) if tree in self.trees]
        marked = [tree for tree in there if any(name.startswith(self.mark) for name in tree_branches(path, tree).names)]
        return next((tree for tree in self.trees if tree in marked), None)

    def recognises(self, path: str) -> bool:
        """True if the file is ROOT and has a tree of this layout."""
        return is_root(path) and self._tree(path) is not None

    def n_events(self, path: str, tree: str | None = None) -> int:
        """Number of entries of the tree."""
        return tree_branches(path, *self._names(path, tree)).entries

    def read(
        self, path: str, start: int, stop: int, *, tree: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Any:
        """Entries start..stop with the collections that the file has; a branch is read when it is first used."""
        branches = tree_branches(path, *self._names(path, tree))
        rows = Rows(branches, start, min(stop, branches.entries))
        return events_from_columns(self.columns(rows), max(0, rows.stop - start), path, start, metadata)

    def _names(self, path: str, tree: str | None) -> tuple[str, ...]:
        """The tree that is read; all of this layout if the file has none, for the message."""
        found = tree or next((name for name in self.trees if name in trees_of(path)), None)
        return (found,) if found else self.trees

    def columns(self, rows: Rows) -> dict[str, Any]:
        """Columns of events from the branches of a file, in GeV and radians."""
        raise NotImplementedError
