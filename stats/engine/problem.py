"""A batch of fits as arrays that the engines take: spectra summed into cells, weights, signals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.stats.engine.design import Design
from resonaut.stats.engine.settings import FIXED, FREE, NO_SIGNAL, POSITIVE

__all__ = ("Fits", "Problem", "Tables")

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Tables(NamedTuple):
    """What all spectra of a batch share.

    Attributes
    ----------
    basis : ndarray of shape (parameters + 1, nodes * bins)
        Basis functions at the first nodes of all bins, the second nodes, ... (four); the last row is the logarithm of the
        weights.
    cell : int64 ndarray of shape (bins,)
        Cell of each bin.
    centre : ndarray of shape (parameters + 1, cells)
        Mean basis functions of a cell; the last row is the logarithm of its width.
    """

    basis: FloatArray
    cell: IntArray
    centre: FloatArray


class Fits(NamedTuple):
    """What an engine gives back; see `resonaut.stats.engine.scoring.fit_rows`."""

    theta: FloatArray
    information: FloatArray
    numbers: FloatArray
    status: npt.NDArray[np.int8]
    iterations: IntArray


@dataclass(frozen=True, eq=False)
class Problem:
    """N spectra to fit.

    Attributes
    ----------
    design : Design
    counts : ndarray of shape (N, cells)
    used : ndarray of shape (N or 1, cells)
        Weight of each cell in the likelihood, 0 where it is masked.
    signals : ndarray of shape (N or 1, cells)
    strengths : ndarray of shape (N,)
    mode : int
        `NO_SIGNAL`, `FIXED`, `FREE` or `POSITIVE` of `resonaut.stats.engine.settings`.
    tables : Tables
    """

    design: Design
    counts: FloatArray
    used: FloatArray
    signals: FloatArray
    strengths: FloatArray
    mode: int
    tables: Tables

    @classmethod
    def make(
        cls,
        counts: npt.ArrayLike,
        design: Design,
        mask: npt.ArrayLike | None,
        starts: npt.ArrayLike | None,
        signal: npt.ArrayLike | None,
        strength: npt.ArrayLike | None,
        scale: npt.ArrayLike | None,
        *,
        positive: bool,
    ) -> Problem:
        """Check shapes and sum bins into cells; the arguments are those of `fit_batch`.

        Raises
        ------
        InputError
            If shapes disagree, counts, signals or scales are not finite or negative, or the cells do not start at bins
            in increasing order from 0.
        """
        bins = design.n_bins
        data = _table("spectra", counts, bins)
        chosen = _table("masks", True if mask is None else np.asarray(mask, dtype=bool), bins)
        weight = _table("scales", 1.0 if scale is None else scale, bins)
        template = _table("signals", 0.0 if signal is None else signal, bins)
        n = max(len(data), len(chosen), len(template), len(weight)) if len(data) else 0
        if not n:
            msg = "fit_batch got no spectrum, expected at least one"
            raise InputError(msg)
        for name, table in (("spectra", data), ("masks", chosen), ("signals", template), ("scales", weight)):
            if len(table) not in (1, n):
                msg = f"fit_batch got {len(table)} {name}, expected 1 or {n}"
                raise InputError(msg)
        used = chosen * weight
        cells = None if starts is None else _cells(starts, bins)
        if cells is not None:
            weighted = np.add.reduceat(data / np.maximum(weight, 1e-300), cells, axis=1)
            data, template = np.add.reduceat(data, cells, axis=1), np.add.reduceat(template, cells, axis=1)
            effective = np.where(weighted > 0, data / np.maximum(weighted, 1e-300), np.add.reduceat(weight, cells, 1))
            used = np.logical_or.reduceat(chosen, cells, axis=1) * (effective if scale is not None else 1.0)
        if strength is not None and signal is None:
            msg = "fit_batch got a strength without a signal"
            raise InputError(msg)
        fitted = POSITIVE if positive else FREE
        mode = NO_SIGNAL if signal is None else fitted if strength is None else FIXED
        fixed = np.asarray(0.0 if strength is None else strength, dtype=np.float64)
        if fixed.shape not in ((), (1,), (n,)):
            msg = f"fit_batch got strengths of shape {fixed.shape}, expected one number or {n}, one for each spectrum"
            raise InputError(msg)
        held = np.broadcast_to(fixed, (n,)).copy()
        spectra = np.broadcast_to(data, (n, data.shape[1]))
        return cls(design, spectra, used.astype(np.float64), template, held, mode, _tables(design, cells))

    def __len__(self) -> int:
        return len(self.counts)

    def summed(self) -> Problem:
        """The sum of all spectra as a problem of its own, without signal."""
        total = np.ascontiguousarray(self.counts.sum(axis=0, keepdims=True))
        return replace(self, counts=total, signals=self.signals[:1], strengths=np.zeros(1), mode=NO_SIGNAL)

    def in_cells(self, values: FloatArray) -> FloatArray:
        """Values of shape (bins,) summed into cells."""
        return np.asarray(
            np.bincount(self.tables.cell, weights=values, minlength=self.counts.shape[1]), dtype=np.float64
        )

    @property
    def events(self) -> FloatArray:
        """(Effective) events in the used cells, shape (N,)."""
        return np.asarray((self.counts * self.used).sum(axis=1))


def _table(name: str, values: npt.ArrayLike, bins: int) -> FloatArray:
    """Two-dimensional, bins last, finite and not negative."""
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if table.shape == (1, 1):
        table = np.broadcast_to(table, (1, bins))
    if table.ndim != 2 or table.shape[1] != bins:
        msg = f"fit_batch got {name} of {table.shape[-1]} bins, expected the {bins} of the design"
        raise InputError(msg)
    if not (np.isfinite(table).all() and (table >= 0).all()):
        bad = int((~(table >= 0) | ~np.isfinite(table)).sum())
        msg = f"fit_batch got {name} with {bad} negative or non-finite values, expected all >= 0"
        raise InputError(msg)
    return table


def _cells(starts: npt.ArrayLike, bins: int) -> IntArray:
    """First bin of each cell, checked: a sum over cells in another order would take other bins, without a word."""
    cells = np.asarray(starts)
    whole = cells.ndim == 1 and cells.size > 0 and np.issubdtype(cells.dtype, np.integer)
    if not whole or cells[0] != 0 or cells[-1] >= bins or (np.diff(cells) <= 0).any():
        msg = f"fit_batch got starts {cells.tolist()}, expected first bins of cells: 0, then whole numbers that increase, below {bins}"
        raise InputError(msg)
    return cells.astype(np.int64)


def _tables(design: Design, cells: IntArray | None) -> Tables:
    centre, width = design.basis.mean(axis=1), design.weights.sum(axis=1)
    index = np.arange(design.n_bins)
    if cells is not None:
        size = np.diff(np.append(cells, design.n_bins))
        centre = np.add.reduceat(centre, cells, axis=0) / size[:, None]
        width = np.add.reduceat(width, cells)
        index = np.repeat(np.arange(len(cells)), size)
    nodes = np.vstack(
        [design.basis.transpose(2, 1, 0).reshape(design.n_parameters, -1), np.log(design.weights.T).reshape(1, -1)]
    )
    return Tables(
        basis=np.ascontiguousarray(nodes),
        cell=np.ascontiguousarray(index, dtype=np.int64),
        centre=np.vstack([centre.T, np.log(width)]),
    )
