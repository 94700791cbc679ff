"""Results as a HEPData submission: a folder with `submission.yaml` and one data file for each table."""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from resonaut.errors import InputError
from resonaut.files import atomic_path
from resonaut.stats.excesses.bump_result import BumpHunterResult
from resonaut.stats.excesses.mass_scan import SignificanceScan
from resonaut.stats.excesses.scan import ScanEntry, ScanResult
from resonaut.stats.exchange.hepdata import HepDataColumn, HepDataTable, covariance_table, table_document
from resonaut.stats.exchange.tables import unique_names
from resonaut.stats.fits.fit import FitResult
from resonaut.stats.limits.limit_result import LimitResult
from resonaut.stats.studies.sliding import SlidingFit
from resonaut.stats.studies.toy_study import ToyStudy

__all__ = ("hepdata_tables", "write_hepdata")

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
MAX_NAME = 64  # characters of a table's name, from HEPData's schema
SIGMAS = (("1 s.d.", 1, 3), ("2 s.d.", 0, 4))  # label, places of the lower and the upper edge in an expected band


def write_hepdata(
    folder: str | os.PathLike[str],
    results: Any,
    *,
    comment: str = "",
    keywords: Mapping[str, Sequence[Any]] | None = None,
    bin_covariance: bool = False,
) -> tuple[Path, ...]:
    """Write results as a HEPData submission that hepdata-validator accepts.

    Parameters
    ----------
    folder : path
        Made if it is not there; files of the same names are replaced, others left alone.
    results : FitResult, ScanResult, LimitResult, HepDataTable, ..., a sequence of them, or a mapping of names to them
        In a mapping, the names come first in the names of the tables.
    comment : str
        About all tables, such as the abstract.
    keywords : mapping, optional
        Of all tables: "reactions", "observables", "phrases" with lists of values; "cmenergies" are known from the fits.
    bin_covariance : bool
        Whether the covariance of the expected events of all pairs of bins is written for a fit.

    Returns
    -------
    tuple of Path
        The files.

    Raises
    ------
    InputError
        If a result is of no kind that has tables, or there can be no such folder.

    Notes
    -----
    Cells without a number are "-", and errors that are zero or not known are left out, as HEPData wants it.
    """
    tables = list(_all_tables(results, "", bin_covariance))
    if not tables:
        msg = "write_hepdata got no results, expected at least one"
        raise InputError(msg)
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"write_hepdata cannot make the folder {target} ({error.strerror}), expected a folder, not a file"
        raise InputError(msg) from error
    names = [name[:MAX_NAME] for name in unique_names(table.name[: MAX_NAME - 5] for table in tables)]
    stems = unique_names(re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "table" for name in names)
    files = [f"{stem.replace(' ', '_').replace('(', '').replace(')', '')}.yaml" for stem in stems]
    documents: list[dict[str, Any]] = [{"comment": comment or "Results of resonaut.stats."}]
    for table, name, file in zip(tables, names, files, strict=True):
        _dump(target / file, [table_document(table)])
        words = {**table.keywords, **{key: list(values) for key, values in (keywords or {}).items()}}
        documents.append(
            {
                "name": name,
                "description": table.description or name,
                "keywords": [{"name": key, "values": values} for key, values in words.items()],
                "data_file": file,
            }
        )
    _dump(target / "submission.yaml", documents)  # last: a folder with it is whole
    return (target / "submission.yaml", *(target / file for file in files))


def _dump(path: Path, documents: Sequence[Mapping[str, Any]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        yaml.dump_all(
            documents,
            stream,
            Dumper=_DUMPER,
            sort_keys=False,
            default_flow_style=None,
            allow_unicode=True,
            explicit_start=len(documents) > 1,
            width=120,
        )


def _all_tables(results: Any, prefix: str, bin_covariance: bool) -> Iterable[HepDataTable]:
    if isinstance(results, Mapping):
        for name, result in results.items():
            yield from _all_tables(result, f"{name}: ", bin_covariance)
        return
    if isinstance(results, Sequence) and not isinstance(results, str):
        limits = [result for result in results if isinstance(result, LimitResult)]
        if limits:
            yield from _named(limit_tables(limits), prefix)
        for result in results:
            if not isinstance(result, LimitResult):
                yield from _all_tables(result, prefix, bin_covariance)
        return
    yield from _named(hepdata_tables(results), prefix)
    if isinstance(results, FitResult) and _parameter_covariance(results) is None:
        logger.warning(
            "%s: the fit of %s (%s) has no covariance of its parameters, the table is left out: the errors of this fit are "
            "not known, take fewer parameters or a wider range",
            prefix.removesuffix(": ") or "a fit", results.function, results.status,
        )  # fmt: skip
    if bin_covariance and isinstance(results, FitResult):
        yield from _named((bin_covariance_table(results),), prefix)


def _named(tables: Iterable[HepDataTable], prefix: str) -> Iterable[HepDataTable]:
    for table in tables:
        name = f"{prefix}{table.name}"
        yield HepDataTable(name, table.independent, table.dependent, table.description, table.keywords)


@functools.singledispatch
def hepdata_tables(result: Any) -> tuple[HepDataTable, ...]:
    """Tables of one result.

    Raises
    ------
    InputError
        If the result is of no kind that has tables.
    """
    known = ", ".join(sorted(kind.__name__ for kind in hepdata_tables.registry if kind is not object))
    msg = f"no HEPData table for {type(result).__name__}, expected one of {known}"
    raise InputError(msg)


@hepdata_tables.register
def _(result: HepDataTable) -> tuple[HepDataTable, ...]:
    return (result,)


@hepdata_tables.register
def _(result: FitResult) -> tuple[HepDataTable, ...]:
    about: dict[str, str | float] = {"Function": result.function, "SQRT(S) [GeV]": result.sqrts}
    spectrum = HepDataTable(
        "Mass spectrum",
        (_bins(result.edges),),
        (
            HepDataColumn("Observed events", result.counts, qualifiers=about),
            HepDataColumn("Expected events", result.expected, qualifiers=about, errors={"fit": result.expected_error}),
            HepDataColumn("Pull", result.pulls(), "s.d.", about),
            HepDataColumn("Bin used in the fit", result.mask.astype(np.float64)),
        ),
        f"Observed events and the fit of the background function {result.function}, {_quality(result)}.",
        _energies(result),
    )
    names, values = tuple(result.parameters), np.array(list(result.parameters.values()))
    errors = np.sqrt(np.maximum(np.diagonal(result.covariance), 0.0))
    parameters = HepDataTable(
        "Fit parameters",
        (HepDataColumn("Parameter", names),),
        (HepDataColumn("Value", values, qualifiers=about, errors={"fit": errors}),),
        f"Parameters of {result.function}; the first is in events/GeV. They are strongly correlated: see their covariance.",
        _energies(result),
    )
    covariance = _parameter_covariance(result)
    return (spectrum, parameters) if covariance is None else (spectrum, parameters, covariance)


def _parameter_covariance(result: FitResult) -> HepDataTable | None:
    """Covariance of the parameters, without those whose variance is beyond all numbers; None if that is all of them.

    In a steep spectrum p0, the density at the full energy, is 1e200 events/GeV and its square overflows; the fit is as good as any.
    """
    names, matrix = tuple(result.parameters), result.covariance
    kept = [k for k in range(len(names)) if np.isfinite(matrix[k, k])]
    part = matrix[np.ix_(kept, kept)]
    if not kept or not np.isfinite(part).all():
        return None
    about = f"Covariance for {result.function}."
    if left_out := [name for k, name in enumerate(names) if k not in kept]:
        about += f" The variance of {', '.join(left_out)} is too large for a number and left out."
    return covariance_table([names[k] for k in kept], part, name="Covariance of the fit parameters", description=about)


def _quality(result: FitResult) -> str:
    return f"chi2/ndf = {result.chi2:.1f}/{result.ndf} (p = {result.p_value:.3g}), deviance {result.deviance:.1f}"


def _energies(result: FitResult) -> dict[str, list[Any]]:
    return {"cmenergies": [result.sqrts]}


def _bins(edges: FloatArray) -> HepDataColumn:
    return HepDataColumn("Mass", np.stack([edges[:-1], edges[1:]], axis=1), "GeV")


def bin_covariance_table(fit: FitResult) -> HepDataTable:
    """Covariance of the expected events of all pairs of bins."""
    shifts = fit.expected[:, None] * fit.modes
    low, high = fit.edges[:-1], fit.edges[1:]
    pairs = np.stack([low, high], axis=1)
    bins = len(low)
    return HepDataTable(
        "Covariance of the expected events",
        (
            HepDataColumn("First mass", np.repeat(pairs, bins, axis=0), "GeV"),
            HepDataColumn("Second mass", np.tile(pairs, (bins, 1)), "GeV"),
        ),
        (HepDataColumn("Covariance", (shifts @ shifts.T).ravel(), "events^2"),),
        f"Covariance of the events expected from {fit.function} in pairs of bins, from the fit.",
        _energies(fit),
    )


@hepdata_tables.register
def _(result: ScanResult) -> tuple[HepDataTable, ...]:
    groups: dict[tuple[str, float], list[ScanEntry]] = {}
    for entry in result.entries:
        groups.setdefault((entry.method, entry.cut), []).append(entry)
    tables = []
    for (method, cut), entries in groups.items():
        name = "Local p-values" if cut >= 1 else f"Local p-values, {method}, {100 * cut:.3g} %"
        column = functools.partial(_entries, entries, {"Method": method, "Fraction of events kept": cut})
        table = HepDataTable(
            name,
            (HepDataColumn("Signal region", np.array([[e.low, e.high] for e in entries]), "GeV"),),
            (
                column("Local p-value", "local_p"),
                column("Local significance", "local_significance", "s.d."),
                column("Observed events", "observed"),
                column("Expected events", "expected", error="expected_error"),
            ),
            "Local p-values of an excess in each signal region; regions overlap.",
        )
        tables.append(table)
    return tuple(tables)


def _entries(
    entries: Sequence[ScanEntry],
    about: dict[str, str | float],
    name: str,
    key: str,
    units: str = "",
    *,
    error: str = "",
) -> HepDataColumn:
    values = np.array([getattr(entry, key) for entry in entries], dtype=np.float64)
    errors = {"fit": np.array([getattr(entry, error) for entry in entries])} if error else {}
    return HepDataColumn(name, values, units, about, errors)


@hepdata_tables.register
def _(result: SlidingFit) -> tuple[HepDataTable, ...]:
    about: dict[str, str | float] = {"Function in windows": result.function, "SQRT(S) [GeV]": result.sqrts}
    spectrum = HepDataTable(
        "Mass spectrum with sliding windows",
        (_bins(result.edges),),
        (
            HepDataColumn("Observed events", result.counts, qualifiers=about),
            HepDataColumn("Expected events", result.expected, qualifiers=about, errors={"fit": result.expected_error}),
            HepDataColumn("Bins on either side in the window", result.half_width.astype(np.float64)),
        ),
        f"Observed events and the background from fits of {result.function} in windows around each bin.",
        {"cmenergies": [result.sqrts]},
    )
    return (spectrum,)


@hepdata_tables.register
def _(result: SignificanceScan) -> tuple[HepDataTable, ...]:
    masses, widths = np.meshgrid(result.masses, result.widths, indexing="ij")
    error = {"fit": result.strength_error.ravel()}
    table = HepDataTable(
        "Significance of resonances",
        (HepDataColumn("Mass", masses.ravel(), "GeV"), HepDataColumn("Width over mass", widths.ravel())),
        (
            HepDataColumn(
                "Fitted events", result.strength.ravel(), qualifiers={"Background": result.function}, errors=error
            ),
            HepDataColumn("Local significance", result.significance.ravel(), "s.d."),
            HepDataColumn("Local p-value", result.local_p.ravel()),
        ),
        f"Resonances of each mass and width, fitted together with the background {result.function}.",
        {"cmenergies": [result.sqrts]},
    )
    return (table,)


@hepdata_tables.register
def _(result: ToyStudy) -> tuple[HepDataTable, ...]:
    pulls = HepDataTable(
        "Pulls of the fitted expectation",
        (_bins(result.edges),),
        (
            HepDataColumn(
                "Expected events", result.expected, qualifiers={"Function": result.function, "Toys": result.toys}
            ),
            HepDataColumn("Mean of the pull", result.pull_mean),
            HepDataColumn("Width of the pull", result.pull_width),
        ),
        f"Fits of {result.toys} pseudo-experiments against the expectation that they were drawn from; {result.failed} failed.",
    )
    names = ("deviance", "chi2", "Kolmogorov-Smirnov distance", "largest local significance")
    values = np.array([result.deviance, result.chi2, result.ks, result.significance])
    p_values = np.array([result.deviance_p, result.chi2_p, result.ks_p, result.global_p])
    seen = np.isfinite(p_values)
    statistics = HepDataTable(
        "Goodness of fit",
        (HepDataColumn("Statistic", tuple(name for name, use in zip(names, seen, strict=True) if use)),),
        (HepDataColumn("Value in the data", values[seen]), HepDataColumn("p-value", p_values[seen])),
        f"Statistics of the data with p-values from {result.toys} pseudo-experiments of {result.function}.",
    )
    return pulls, statistics


@hepdata_tables.register
def _(result: BumpHunterResult) -> tuple[HepDataTable, ...]:
    about: dict[str, str | float] = {"Background": result.function, "Toys": result.toys}
    spectrum = HepDataTable(
        "Mass spectrum of the bump hunt",
        (_bins(result.edges),),
        (
            HepDataColumn("Observed events", result.counts, qualifiers=about),
            HepDataColumn("Expected events", result.background, qualifiers=about),
        ),
        f"Observed events and the background ({result.function}) that BumpHunter compares them with.",
    )
    error = {"toys": np.array([result.global_p_error])}
    interval = HepDataTable(
        "Most significant interval",
        (HepDataColumn("Interval", np.array([[result.low, result.high]]), "GeV"),),
        (
            HepDataColumn("Observed events", np.array([result.observed]), qualifiers=about),
            HepDataColumn("Expected events", np.array([result.expected]), qualifiers=about),
            HepDataColumn("Local p-value", np.array([result.local_p]), qualifiers=about),
            HepDataColumn("Global p-value", np.array([result.global_p]), qualifiers=about, errors=error),
        ),
        f"The most significant interval of BumpHunter (arXiv:1101.0390), global p-value from {result.toys} toys.",
    )
    return (spectrum, interval) if np.isfinite(result.low) else (spectrum,)


@hepdata_tables.register
def _(result: LimitResult) -> tuple[HepDataTable, ...]:
    return limit_tables([result])


def limit_tables(results: Sequence[LimitResult]) -> tuple[HepDataTable, ...]:
    """Observed and expected limits, one table for each signal."""
    groups: dict[tuple[str, str, float], list[LimitResult]] = {}
    for result in results:
        groups.setdefault((result.signal, result.unit, result.cl), []).append(result)
    tables = []
    for (signal, unit, cl), members in groups.items():
        observed = np.array([r.observed for r in members])
        band = np.array([r.expected for r in members])
        middle = band[:, 2]
        errors = {label: np.stack([band[:, a] - middle, band[:, b] - middle], axis=1) for label, a, b in SIGMAS}
        about: dict[str, str | float] = {"Signal": signal, "Confidence level": f"{100 * cl:g} %"}
        tables.append(
            HepDataTable(
                f"Upper limits, {signal}",
                (HepDataColumn("Mass", np.array([r.mass for r in members]), "GeV"),),
                (
                    HepDataColumn("Observed limit", observed, unit, about),
                    HepDataColumn("Expected limit", middle, unit, about, errors),
                ),
                f"{100 * cl:g} % CLs upper limits on {signal}, in {unit}; the bands are those of background alone.",
            )
        )
    return tuple(tables)
