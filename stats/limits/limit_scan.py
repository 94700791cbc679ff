"""Limits at many masses: survives points that fail, resumes, uses several cores."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError, ResonautError
from resonaut.files import digest, read_json, write_json
from resonaut.stats.functions import DEFAULT_SQRTS, background_function
from resonaut.stats.limits.limit_options import LimitOptions, check_limit_options
from resonaut.stats.limits.limit_result import LimitResult
from resonaut.stats.limits.upper_limits import upper_limit
from resonaut.stats.shapes.signals import Signal, SignalLike, as_signal, events_of
from resonaut.stats.spectrum import Spectrum, poisson_counts

__all__ = ("limit_scan",)

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

CACHE_VERSION = 3  # raised when the same input gives other limits


@dataclass(frozen=True, eq=False)
class _Point:
    """Everything that a limit depends on: arrays and plain options, so that it can go to another process."""

    counts: FloatArray
    edges: FloatArray
    signal: Signal
    options: LimitOptions

    @property
    def key(self) -> str:
        spectrum = (self.counts.tolist(), self.edges.tolist())
        function = _definition(self.options.get("function", "dijet4"), self.options.get("sqrts", DEFAULT_SQRTS))
        return digest(CACHE_VERSION, *spectrum, self.signal.to_dict(), dict(self.options), function)


def _definition(function: str, sqrts: float) -> list[list[float]]:
    """A background function by its values: what is registered under a name may change."""
    if function == "auto":
        return []
    basis = background_function(function).basis(sqrts * np.linspace(0.02, 0.7, 9), sqrts)
    return [[float(f"{value:.10g}") for value in row] for row in basis]  # the same on all machines


def limit_scan(
    spectrum: Spectrum,
    masses: Iterable[float],
    template: Callable[[float, FloatArray], SignalLike],
    *,
    cache: str | os.PathLike[str] | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    **options: Unpack[LimitOptions],
) -> tuple[LimitResult, ...]:
    """Upper limit at each mass; a point that fails becomes a result with NaN that says why.

    Parameters
    ----------
    spectrum : Spectrum
    masses : iterable of float
        GeV.
    template : callable
        ``template(mass, edges)`` gives the signal: a `Signal`, a shape, or the events in each bin, e.g.
        ``lambda mass, edges: gaussian_template(mass, 0.03 * mass, edges)``.
    cache : path, optional
        A folder, or one file if the name ends in ".json": limits are kept there as they are found, under a hash of
        the spectrum, the template, the background function and the options, and a scan that was interrupted goes on from them. Points that
        failed are tried again.
    workers : int
        Processes. A background function of your own must then be registered in a module that they import.
    progress : callable, optional
        Called with (done, total) after each mass.
    **options
        As in `upper_limit`: function, sqrts, fit_range, signal_uncertainty, luminosity, efficiency, unit, cl, name,
        method, toys, seed, check.

    Returns
    -------
    tuple of LimitResult
        In the order of the masses.

    Raises
    ------
    InputError, ConfigError
        If the spectrum or an option cannot be used.
    """
    counts, edges = poisson_counts(spectrum)
    check_limit_options(
        options.get("cl", 0.95),
        options.get("method", "auto"),
        options.get("unit"),
        luminosity=options.get("luminosity"),
        efficiency=options.get("efficiency", 1.0),
    )
    if workers < 1:
        msg = f"limit_scan got {workers} workers, expected at least 1"
        raise ConfigError(msg)
    _check_template(template)
    wanted = [float(mass) for mass in masses]
    store = _Store(None if cache is None else Path(cache))
    results: dict[int, LimitResult] = {}
    todo: dict[int, _Point] = {}
    for index, mass in enumerate(wanted):
        try:
            signal = as_signal(events_of(template(mass, edges), edges), edges)
        except ResonautError as error:
            results[index] = _failed(mass, options, error)
            continue
        point = _Point(counts, edges, signal, {**options, "mass": mass})
        kept = store.get(point.key)
        if kept is None:
            todo[index] = point
        else:
            results[index] = kept
    if progress is not None and results:
        progress(len(results), len(wanted))
    for index, result in _computed(todo, workers):
        results[index] = result
        if result.ok:
            store.put(todo[index].key, result)
        if progress is not None:
            progress(len(results), len(wanted))
    return tuple(results[index] for index in range(len(wanted)))


def _check_template(template: Callable[[float, FloatArray], SignalLike]) -> None:
    """Refuse what cannot be called with a mass and edges, before the first point."""
    try:
        signature(template).bind(1.0, np.zeros(2))
    except TypeError as error:
        msg = f"limit_scan got the template {template!r}, expected a function of (mass, edges): {error}"
        raise InputError(msg) from error
    except ValueError:  # no signature to be had, of some compiled functions
        return


def _failed(mass: float, options: LimitOptions, error: Exception) -> LimitResult:
    logger.warning("no limit at %.6g GeV: %s", mass, error)
    unit = options.get("unit") or ("events" if options.get("luminosity") is None else "fb")
    return LimitResult.failed(
        str(error),
        signal=options.get("name", "signal"),
        mass=mass,
        unit=unit,
        cl=options.get("cl", 0.95),
        function=options.get("function", "dijet4"),
    )


def _limit_at(point: _Point) -> LimitResult:
    try:
        return upper_limit((point.counts, point.edges), point.signal, **point.options)
    except ConfigError:
        raise
    except ResonautError as error:
        return _failed(point.options["mass"], point.options, error)


def _computed(todo: dict[int, _Point], workers: int) -> Iterator[tuple[int, LimitResult]]:
    """Results as they are found."""
    if workers == 1 or len(todo) < 2:
        for index, point in todo.items():
            yield index, _limit_at(point)
        return
    # clean processes: forking one whose numerical libraries run threads can hang
    context = multiprocessing.get_context("spawn")
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    with ProcessPoolExecutor(
        min(workers, len(todo)), mp_context=context, initializer=_share_cores, initargs=(threads,)
    ) as pool:
        futures = {pool.submit(_limit_at, point): index for index, point in todo.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], _from_process(future)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _from_process(future: Future[LimitResult]) -> LimitResult:
    try:
        return future.result()
    except ConfigError as error:
        if "unknown background function" not in str(error):
            raise
        # it is known here, so that it is the other process that lacks the function
        msg = (
            f"a process of limit_scan lacks a function: {error}. A function of your own must be registered where "
            "processes import it, in a module or outside of `if __name__ == '__main__'`; or take workers=1"
        )
        raise ConfigError(msg) from error


def _share_cores(threads: str) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = threads


class _Store:
    """Finished limits by key, in a folder or in one JSON file; written whole or not at all."""

    def __init__(self, path: Path | None):
        self.path = path
        self.one_file = path is not None and path.suffix == ".json"
        self.content: dict[str, Any] = {}
        if path is not None and self.one_file and path.exists():
            content = read_json(path)
            if not isinstance(content, dict):
                msg = f"{path} is not a cache of limits: expected an object with a limit for each key"
                raise InputError(msg)
            self.content = content

    def get(self, key: str) -> LimitResult | None:
        if self.path is None:
            return None
        file = self.path if self.one_file else self.path / f"{key}.json"
        if not (key in self.content if self.one_file else file.exists()):
            return None
        try:
            return LimitResult.from_dict(self.content[key] if self.one_file else read_json(file))
        except (InputError, KeyError, TypeError, AttributeError, ValueError) as error:
            logger.warning("damaged limit in the cache %s, computed again: %s", file, error)
            return None

    def put(self, key: str, result: LimitResult) -> None:
        if self.path is None:
            return
        if self.one_file:
            self.content[key] = result.to_dict()
            write_json(self.path, self.content)
        else:
            write_json(self.path / f"{key}.json", result.to_dict())
