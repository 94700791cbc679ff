"""Any pyhf workspace: read it, test a signal strength, find limits, by the asymptotic formulae or by toys."""

from __future__ import annotations

import json
import logging
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, FitError, InputError, unknown_name
from resonaut.files import read_json
from resonaut.stats.limits.hypotests import tail_fraction, toy_band
from resonaut.stats.limits.limit_result import LimitResult
from resonaut.stats.limits.workspace import EXACT, MODIFIER_SETTINGS

__all__ = ("pyhf_cls", "pyhf_limit", "pyhf_p0", "pyhf_toy_cls", "read_workspace")

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
T = TypeVar("T")

Workspace = Mapping[str, Any]
TOLERANCE = 1e-3  # of Minuit; at its default of 0.1, CLs is right to 1e-4 only


def read_workspace(
    path: str | os.PathLike[str],
    *,
    patchset: str | os.PathLike[str] | None = None,
    patch: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Read a workspace, with a signal patched in.

    Parameters
    ----------
    path : path
        JSON file, or a member of an archive as published on HEPData: ``"likelihoods.tar.gz:RegionA/BkgOnly.json"``.
    patchset : path, optional
        Patch set (JSON, or a member of an archive); `patch` is then the name of one of its patches.
    patch : path, optional
        A JSON patch of its own.

    Raises
    ------
    InputError
        If a file or a patch is missing or cannot be used.
    """
    import pyhf

    workspace: dict[str, Any] = _read(path)
    if patchset is None and patch is None:
        return workspace
    try:
        if patchset is None:
            single = {"metadata": {"name": str(patch), "values": []}, "patch": _read(str(patch))}
            return dict(pyhf.patchset.Patch(single).apply(workspace))
        patches = pyhf.PatchSet(_read(patchset))
        names = [found.name for found in patches.patches]
        if patch not in names:
            raise InputError(unknown_name("patch", str(patch), names))
        return dict(patches.apply(workspace, patch))
    except (pyhf.exceptions.PatchSetVerificationError, pyhf.exceptions.InvalidPatchSet) as error:
        msg = f"{patchset} does not fit the workspace {path}: {error}"
        raise InputError(msg) from error


def _read(path: str | os.PathLike[str]) -> Any:
    archive, _, member = os.fspath(path).rpartition(":")
    if not (archive and Path(archive).is_file() and tarfile.is_tarfile(archive)):
        return read_json(path)
    with tarfile.open(archive) as file:
        try:
            found = file.extractfile(member)
        except KeyError as error:
            raise InputError(unknown_name(f"member of {archive}", member, file.getnames()[:50])) from error
        if found is None:
            msg = f"{path} is a folder of the archive, expected a JSON file"
            raise InputError(msg)
        return json.load(found)


@contextmanager
def _numpy_backend(optimizer: Any) -> Iterator[None]:
    """pyhf's numpy backend, silent: failures are raised and told by whoever asked; the backend that was set before is put back."""
    import pyhf

    before, loud = pyhf.get_backend(), logging.getLogger("pyhf")
    level = loud.level
    if not logger.isEnabledFor(logging.DEBUG):
        loud.setLevel(logging.CRITICAL)  # it logs the whole record of a failed fit with a traceback
    pyhf.set_backend("numpy", optimizer)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        loud.setLevel(level)
        pyhf.set_backend(*before)


class _Model:
    """A workspace ready for tests at signal strengths of about one size."""

    def __init__(self, workspace: Workspace, strength: float, settings: Mapping[str, Any] | None):
        import pyhf

        parsed = workspace if isinstance(workspace, pyhf.Workspace) else pyhf.Workspace(workspace)
        if settings is None:
            settings = MODIFIER_SETTINGS if parsed.measurement_names[:1] == [EXACT] else {}
        # given in part, settings replace pyhf's defaults as a whole
        self.pdf = parsed.model(modifier_settings={**DEFAULT_SETTINGS, **settings})
        self.data = parsed.data(self.pdf)
        self.bounds, self.init = self.pdf.config.suggested_bounds(), self.pdf.config.suggested_init()
        if strength > 0:  # within reach of the strength, as pyhf's minimisers want it
            self.bounds[self.pdf.config.poi_index] = (0.0, max(10.0 * strength, 1e-9))
            self.init[self.pdf.config.poi_index] = strength

    @property
    def arguments(self) -> tuple[Any, ...]:
        return self.data, self.pdf, self.init, self.bounds


DEFAULT_SETTINGS = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}


def _with_pyhf(what: str, action: Callable[[], T]) -> T:
    """Run pyhf with Minuit, then with SciPy's minimiser where that fails; its many ways to fail become one."""
    import pyhf

    minimisers = {
        "Minuit": pyhf.optimize.minuit_optimizer(tolerance=TOLERANCE),
        "SciPy": pyhf.optimize.scipy_optimizer(),
    }
    reasons = []
    for name, optimizer in minimisers.items():
        with _numpy_backend(optimizer):
            try:
                return action()
            except (pyhf.exceptions.InvalidSpecification, pyhf.exceptions.InvalidMeasurement) as error:
                msg = f"not a pyhf workspace: {str(error)[:300]}"
                raise InputError(msg) from error
            except (pyhf.exceptions.FailedMinimization, ValueError) as error:
                reasons.append(f"{name}: {_reason(error)}")
    msg = f"pyhf could not {what}: {'; '.join(reasons)}"
    raise FitError(msg)


def _reason(error: Exception) -> str:
    """Why a minimiser failed, in one line."""
    text = " ".join(str(error).split())[:200]
    # what pyhf says where Minuit's minimum is valid until its second derivatives are known
    return "the errors at the minimum are not valid" if text == "Optimization terminated successfully." else text


def pyhf_cls(
    workspace: Workspace, strength: float, *, settings: Mapping[str, Any] | None = None
) -> tuple[float, FloatArray]:
    """CLs that pyhf finds for a workspace at one signal strength (q-tilde, asymptotic).

    Parameters
    ----------
    workspace : mapping
        Any workspace of pyhf, such as `build_workspace` makes or `read_workspace` reads.
    strength : float
        In units of the workspace's signal.
    settings : mapping, optional
        Interpolation codes (``modifier_settings`` of pyhf); those that the workspace was made for by default, which is
        code4 and code4p but for some that were made by earlier versions of `build_workspace`.

    Returns
    -------
    observed : float
    expected : ndarray of shape (5,)
        -2, -1, 0, 1, 2 standard deviations of the test statistic.

    Raises
    ------
    InputError
        If it is not a workspace.
    FitError
        If pyhf's minimiser fails.
    """
    import pyhf

    def action() -> tuple[float, FloatArray]:
        arguments = _Model(workspace, strength, settings).arguments
        observed, expected = pyhf.infer.hypotest(strength, *arguments, test_stat="qtilde", return_expected_set=True)
        return float(observed), np.array([float(value) for value in expected])

    return _with_pyhf(f"test strength {strength:.6g}", action)


def pyhf_p0(workspace: Workspace, *, settings: Mapping[str, Any] | None = None) -> tuple[float, float]:
    """p-value of the background alone (q0, asymptotic) for a workspace, observed and expected for a strength of 1.

    Parameters
    ----------
    workspace, settings
        As in `pyhf_cls`.

    Returns
    -------
    observed, expected : float
    """
    import pyhf

    def action() -> tuple[float, float]:
        arguments = _Model(workspace, 0.0, settings).arguments
        observed, expected = pyhf.infer.hypotest(0.0, *arguments, test_stat="q0", return_expected=True)
        return float(observed), float(expected)

    return _with_pyhf("test the background", action)


def pyhf_limit(
    workspace: Workspace,
    *,
    cl: float = 0.95,
    guess: float = 1.0,
    name: str = "signal",
    settings: Mapping[str, Any] | None = None,
) -> LimitResult:
    """Observed and expected upper limit on the signal strength of any workspace (q-tilde, asymptotic).

    Parameters
    ----------
    workspace, settings
        As in `pyhf_cls`.
    cl : float
    guess : float
        A signal strength to begin with, within a factor 1000 of the limit.
    name : str

    Returns
    -------
    LimitResult
        In the unit "strength".

    Raises
    ------
    InputError, FitError
        If it is not a workspace; if no limit was found.
    """
    if not 0.5 < cl < 1:
        msg = f"pyhf_limit got cl={cl}, expected 0.5 < cl < 1"
        raise ConfigError(msg)
    known: dict[float, FloatArray] = {}

    def distance(log_strength: float, row: int) -> float:
        if log_strength not in known:
            observed, expected = pyhf_cls(workspace, float(np.exp(log_strength)), settings=settings)
            known[log_strength] = np.append(expected, observed)
        return float(np.log(max(known[log_strength][row], 1e-12) / (1.0 - cl)))

    limits = [_root(partial(distance, row=row), float(np.log(guess)), known) for row in (2, 0, 1, 3, 4, 5)]
    median, *rest = limits
    expected = (rest[0], rest[1], median, rest[2], rest[3])
    nan = float("nan")  # the limit is pyhf's own: there is no second CLs to compare with
    return LimitResult(name, nan, rest[4], expected, "strength", nan, cl, nan, "converged", "")


def _root(distance: Callable[[float], float], start: float, known: Mapping[float, FloatArray]) -> float:
    """Strength at which a falling function of its logarithm is 0; tests that were made already cost nothing."""
    points = sorted(known) or [start]
    while distance(points[0]) < 0:
        points.insert(0, points[0] - 1.0)
        _in_reach(points[0], start)
    while distance(points[-1]) > 0:
        points.append(points[-1] + 1.0)
        _in_reach(points[-1], start)
    low = max(point for point in points if distance(point) >= 0)
    high = min((point for point in points if point > low), default=low)
    if low == high:
        return float(np.exp(low))
    from scipy import optimize  # slow to import

    return float(np.exp(optimize.brentq(distance, low, high, xtol=1e-4)))


def _in_reach(point: float, start: float) -> None:
    if abs(point - start) > np.log(2000.0):
        msg = f"no upper limit within a factor 2000 of strength {np.exp(start):.4g}: give another guess"
        raise FitError(msg)


def pyhf_toy_cls(
    workspace: Workspace,
    strength: float,
    *,
    toys: int = 500,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> tuple[float, FloatArray]:
    """CLs of any workspace from toys that pyhf fits one by one (q-tilde): some 20 ms for each and more.

    Parameters
    ----------
    workspace, strength, settings
        As in `pyhf_cls`.
    toys : int
        Of each hypothesis, nuisances at their profiled values, auxiliary data drawn with the events.
    seed : int

    Returns
    -------
    observed : float
    expected : ndarray of shape (5,)
        Quantiles (-2, -1, 0, 1, 2 standard deviations) of the CLs of background toys.
    """
    import pyhf

    def action() -> tuple[float, FloatArray]:
        data, pdf, init, bounds = _Model(workspace, strength, settings).arguments
        fixed = pdf.config.suggested_fixed()
        rng = np.random.default_rng(seed)

        def statistic(sample: FloatArray) -> float:
            return float(pyhf.infer.test_statistics.qmu_tilde(strength, sample.tolist(), pdf, init, bounds, fixed))

        draws = []
        for mu in (strength, 0.0):
            at = np.asarray(pyhf.infer.mle.fixed_poi_fit(mu, data, pdf, init, bounds, fixed))
            draws.append(np.array([statistic(sample) for sample in _samples(pdf, at, toys, rng)]))
        seen = statistic(np.asarray(data))
        return tail_fraction(draws[0], seen) / tail_fraction(draws[1], seen), toy_band(draws[0], draws[1])[2]

    return _with_pyhf(f"throw toys at strength {strength:.6g}", action)


def _samples(pdf: Any, parameters: FloatArray, toys: int, rng: np.random.Generator) -> FloatArray:
    """Toys of events and auxiliary data, by a generator of our own: pyhf's uses the global state of numpy."""
    events = rng.poisson(np.asarray(pdf.expected_actualdata(parameters)), size=(toys, pdf.config.nmaindata))
    mean = np.asarray(pdf.expected_auxdata(parameters), dtype=np.float64)
    auxiliary = np.empty((toys, len(mean)))
    position = 0
    for name in pdf.config.auxdata_order:
        found = pdf.config.param_set(name)
        part = slice(position, position + found.n_parameters)
        shape = (toys, found.n_parameters)
        if found.pdf_type == "poisson":
            auxiliary[:, part] = rng.poisson(mean[part], size=shape)
        else:
            width = getattr(found, "sigmas", [1.0] * found.n_parameters)
            auxiliary[:, part] = rng.normal(mean[part], np.asarray(width, dtype=np.float64), size=shape)
        position = part.stop
    return np.concatenate([events, auxiliary], axis=1).astype(np.float64)
