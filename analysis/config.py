"""The configuration of a search: one YAML file, one pydantic model; an unknown key is an error that names the nearest key."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from resonaut.analysis.column_maps import with_column_maps
from resonaut.analysis.injection_config import InjectionConfig
from resonaut.analysis.input_config import ExecutorConfig, InputConfig, Section
from resonaut.analysis.signal_config import SignalConfig, absolute_corrections
from resonaut.analysis.validation_config import ValidationConfig
from resonaut.errors import ConfigError, InputError, ResonautError, unknown_name
from resonaut.models import available, make_scorer
from resonaut.processors import axis_label
from resonaut.stats import available_functions

__all__ = (
    "ExecutorConfig",
    "InjectionConfig",
    "InputConfig",
    "LimitConfig",
    "MethodConfig",
    "MethodFitConfig",
    "ScanConfig",
    "SearchConfig",
    "SelectionConfig",
    "SignalConfig",
    "ValidationConfig",
    "load_config",
    "parse_config",
)

Fraction = Annotated[float, Field(gt=0, le=1)]


_NOT_FEATURES = {"label", "weight", "mjj", "run", "luminosityBlock", "event"}


class ScanConfig(Section):
    """The mass spectrum and the signal regions that slide over it."""

    variable: str | None = Field(
        default=None,
        min_length=1,
        description="column with the resonant variable, GeV; default: that of input.resonance",
    )
    low: float = Field(gt=0, description="lower end of the fitted mass range, GeV")
    high: float = Field(gt=0, description="upper end of the fitted mass range, GeV")
    bins: int = Field(default=30, ge=8, description="bins, uniform in log m")
    sr_bins: int = Field(default=4, ge=1, description="bins of a signal region")
    sb_bins: int = Field(default=3, ge=1, description="bins of each sideband that a method trains on")
    step: int = Field(default=2, ge=1, description="bins from one signal region to the next")
    only: tuple[float, ...] = Field(default=(), description="scan only the windows that hold these masses, GeV")

    @model_validator(mode="after")
    def _ordered(self) -> ScanConfig:
        if self.high <= self.low:
            msg = f"scan.high must be above scan.low, got {self.low} to {self.high} GeV"
            raise ValueError(msg)
        if self.sr_bins + 2 * self.sb_bins > self.bins:
            msg = f"a window needs {self.sr_bins + 2 * self.sb_bins} bins but the scan has {self.bins}"
            raise ValueError(msg)
        return self


class MethodFitConfig(Section):
    """The background fit of one method's spectra."""

    function: str = "dijet4"
    sideband_bins: int | None = Field(
        default=None, ge=2, description="fitted bins on each side of the signal region; default: all"
    )

    @field_validator("function")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in (*available_functions(), "auto"):
            raise ValueError(unknown_name("background function", name, [*available_functions(), "auto"]))
        return name

    @property
    def log_linear(self) -> bool:
        """Whether limits can be set with it."""
        return self.function == "auto" or self.function in available_functions(log_linear=True)


class FitConfig(MethodFitConfig):
    """The background fit of a search."""

    sqrts: float = Field(default=13000.0, gt=0, description="centre-of-mass energy, GeV")


class MethodConfig(Section):
    """One anomaly scorer of the search."""

    name: str
    label: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][\w.-]*$",
        description="name in tables, plots and folders; default: the scorer's name",
    )
    features: Literal["auto"] | tuple[str, ...] = "auto"
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the scorer")
    fit: MethodFitConfig | None = Field(
        default=None, description="of the spectra that it selects; default: the search's"
    )

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        names = [n for n in available() if n != "cross-fit"]  # every method of a search is cross-fitted
        if name not in names:
            raise ValueError(unknown_name("method", name, names))
        return name

    @field_validator("features")
    @classmethod
    def _no_truth(cls, features: Any) -> Any:
        if forbidden := sorted(_NOT_FEATURES.intersection(features if features != "auto" else ())):
            msg = f"{', '.join(forbidden)} cannot be a feature: a search must not learn from truth, weights, ids or the mass"
            raise ValueError(msg)
        return features

    @model_validator(mode="after")
    def _options_fit(self) -> MethodConfig:
        if taken := sorted({"seed", "folds", "features"}.intersection(self.options)):
            msg = f"options of {self.name} cannot set {', '.join(taken)}: use seed, selection.folds, methods.features"
            raise ValueError(msg)
        try:
            make_scorer(self.name, **self.options)
        except (TypeError, ResonautError) as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def title(self) -> str:
        """Name in tables, plots and folders."""
        return self.label or self.name

    @property
    def uses_simulation(self) -> bool:
        """Whether the method, with these options, learns from simulated background."""
        return bool(getattr(make_scorer(self.name, **self.options), "uses_simulation", False))


class SelectionConfig(Section):
    """A cut is a fraction: the most anomalous 10 %, 1 %, ... of the events in the mass range."""

    cuts: tuple[Fraction, ...] = Field(default=(0.1, 0.01, 0.001), min_length=1)
    folds: int = Field(default=5, ge=2)
    minimum_events: int = Field(default=40, ge=0, description="cuts that would leave fewer events are not made")

    @field_validator("cuts")
    @classmethod
    def _cuts(cls, cuts: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(cuts)) != len(cuts) or 1.0 in cuts:
            msg = f"cuts must be distinct fractions below 1, got {cuts}"
            raise ValueError(msg)
        return tuple(sorted(cuts, reverse=True))


class LimitConfig(Section):
    """Upper limits on a generic Gaussian resonance after each of these cuts."""

    cuts: tuple[Fraction, ...] | None = Field(
        default=None, description="1 = no cut; default: no cut and the middle cut"
    )
    width: float = Field(default=0.035, gt=0, lt=0.5, description="Gaussian width over mass")
    uncertainty: float = Field(default=0.0, ge=0, lt=1, description="relative uncertainty of the signal yield")
    luminosity: float | None = Field(default=None, gt=0, description="fb-1: limits also as visible cross-sections")


class SearchConfig(Section):
    """A whole search. `resonaut run --dry-run` shows what it would do."""

    name: str = "search"
    seed: int = Field(default=1, ge=0)
    input: InputConfig
    scan: ScanConfig
    methods: tuple[MethodConfig, ...] = Field(default=(MethodConfig(name="cwola-trees"),), min_length=1)
    selection: SelectionConfig = SelectionConfig()
    fit: FitConfig = FitConfig()
    limits: LimitConfig | None = LimitConfig()
    signals: tuple[SignalConfig, ...] = Field(default=(), description="simulated signals that limits are set on")
    injections: InjectionConfig | None = Field(default=None, description="for `resonaut inject`")
    validation: ValidationConfig | None = Field(
        default=None, description="checks of the search that a run makes before it looks at its signal regions"
    )
    blind: bool = Field(default=False, description="hide the data of all signal regions until `resonaut unblind`")
    luminosity: float | None = Field(default=None, gt=0, description="fb-1: limits also as cross-sections")
    workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="processes for training and limits"
    )

    @model_validator(mode="after")
    def _distinct_methods(self) -> SearchConfig:
        titles = [m.title for m in self.methods]
        if len({re.sub(r"\W", "_", title) for title in titles}) != len(titles) or "inclusive" in titles:
            msg = f"methods must have distinct labels (not by punctuation alone, not 'inclusive'), got {titles}: set `label`"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _simulation_is_there(self) -> SearchConfig:
        wanting = [m.title for m in self.methods if m.uses_simulation]
        if wanting and not self.input.simulation:
            msg = (
                f"{', '.join(wanting)} learns from simulated background and there is none: add files to "
                "input.simulation, for instance input: {files: [...], simulation: [qcd_*.h5]}"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> SearchConfig:
        if self.scan.high >= self.fit.sqrts:
            msg = f"scan.high = {self.scan.high:g} GeV must lie below fit.sqrts = {self.fit.sqrts:g} GeV"
            raise ValueError(msg)
        wanted = set(self.limits.cuts or ()) if self.limits else set()
        if unknown := wanted - {1.0, *self.selection.cuts}:
            msg = f"limits.cuts {sorted(unknown)} are not among selection.cuts {self.selection.cuts} (1 is no cut)"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _signals_fit(self) -> SearchConfig:
        names = [re.sub(r"\W", "_", signal.name) for signal in self.signals]
        if len(set(names)) != len(names):
            msg = f"signals must have distinct names (not by punctuation alone), got {[s.name for s in self.signals]}"
            raise ValueError(msg)
        if self.signals and self.limits is None:
            msg = "limits on signals need the section `limits`, which says after which cuts: leave `limits: null` out"
            raise ValueError(msg)
        given = {x for x in (self.luminosity, self.limits and self.limits.luminosity) if x}
        if len(given) > 1:
            msg = f"luminosity and limits.luminosity differ, {sorted(given)} fb-1: give luminosity alone"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _limits_can_be_set(self) -> SearchConfig:
        used = [self.fit, *(m.fit for m in self.methods if self.limits and self.limits.cuts != (1.0,))]
        others = sorted({fit.function for fit in used if fit and not fit.log_linear})
        if self.limits and others:
            msg = f"limits need a log-linear background function, got {', '.join(others)}: set `limits: null`"
            raise ValueError(msg)
        return self

    @property
    def fb_inverse(self) -> float | None:
        """Luminosity of the data, fb-1, where it is given."""
        return self.luminosity or (self.limits.luminosity if self.limits else None)

    @model_validator(mode="after")
    def _mass_is_no_feature(self) -> SearchConfig:
        for method in self.methods:
            if method.features != "auto" and self.variable in method.features:
                msg = f"{self.variable} cannot be a feature of {method.title}: it is the mass that the search scans"
                raise ValueError(msg)
        return self

    @property
    def variable(self) -> str:
        """Name of the column with the resonant variable, GeV."""
        return self.scan.variable or self.input.processor().features.variable

    @property
    def mass_label(self) -> str:
        """Label of the axes that show it."""
        return axis_label(self.variable)

    def fit_of(self, method: str) -> MethodFitConfig:
        """Fit of the spectra of a method, by its title; the search's own for those without cuts."""
        return next((m.fit for m in self.methods if m.title == method and m.fit), self.fit)

    def described(self, base: Path) -> dict[str, Any]:
        """The config with defaults filled in and files by their whole names, so that it runs from anywhere."""
        content = self.model_dump(mode="json")
        content["input"]["files"] = [str(path) for path in self.resolved_files(base)]
        content["input"]["simulation"] = [str(path) for path in self.resolved_simulation(base)]
        for signal, written in zip(self.signals, content["signals"], strict=True):
            written["files"] = [str(path) for path in self.resolved_signal(signal, base)]
            written["corrections"] = absolute_corrections(signal.corrections, base)
        if self.validation and self.validation.background:
            files = self.resolved_background(base)
            content["validation"]["background"] = [str(path) for path in files]
        return content

    def resolved_files(self, base: Path) -> tuple[Path, ...]:
        """Input files with globs expanded, relative to `base`.

        Raises
        ------
        InputError
            If a name matches no file.
        """
        return _resolved(self.input.files, base, "input.files")

    def resolved_simulation(self, base: Path) -> tuple[Path, ...]:
        """Files of simulated background, as `resolved_files`; none where the config names none."""
        return _resolved(self.input.simulation, base, "input.simulation")

    def resolved_background(self, base: Path) -> tuple[Path, ...]:
        """Files of background for pseudo-experiments, as `resolved_files`; none where the config names none."""
        names = self.validation.background if self.validation else ()
        return _resolved(names, base, "validation.background")

    def resolved_signal(self, signal: SignalConfig, base: Path) -> tuple[Path, ...]:
        """Files of a signal, as `resolved_files`."""
        return _resolved(signal.files, base, f"files of the signal {signal.name}")


def _resolved(names: tuple[str, ...], base: Path, key: str) -> tuple[Path, ...]:
    found: list[Path] = []
    named: set[Path] = set()
    for name in names:
        literal = base / name
        if literal.resolve() in named:
            msg = f"{key} names {name} twice: its events would count twice, leave one out"
            raise InputError(msg)
        named.add(literal.resolve())
        matches = [str(literal)] if literal.exists() else sorted(glob.glob(str(literal)))  # noqa: PTH207 - absolute patterns
        if not matches:
            msg = f"{key}: {name!r} matches no file (relative names start from {base})"
            raise InputError(msg)
        found += [Path(m) for m in matches]
    return tuple(dict.fromkeys(path.resolve() for path in found))  # a glob may hold what is also named


def _section_fields(location: tuple[int | str, ...]) -> list[str]:
    model: Any = SearchConfig
    for part in location:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        if model is None:
            return []
    return list(model.model_fields)


def _explain(error: ValidationError) -> str:
    lines = []
    places = [item["loc"] for item in error.errors()]
    for item in error.errors():
        if item["type"] == "too_short" and any(
            len(p) > len(item["loc"]) and p[: len(item["loc"])] == item["loc"] for p in places
        ):
            continue  # pydantic counts what is left after the entries that are wrong
        where = ".".join(str(p) for p in item["loc"])
        if item["type"] == "extra_forbidden":
            *section, key = item["loc"]
            place = f" in {'.'.join(str(p) for p in section)}" if section else ""
            lines.append(unknown_name(f"key{place}", str(key), _section_fields(tuple(section))))
        else:
            lines.append(f"{where or 'config'}: {item['msg']}" + (f" (got {item['input']!r})" if where else ""))
    return "\n".join(lines)


def parse_config(content: Any, source: str = "config") -> SearchConfig:
    """Validate the content of a config.

    Raises
    ------
    ConfigError
        Naming each wrong key with its nearest valid one, and each value out of range.
    """
    if not isinstance(content, dict):
        msg = f"{source}: a search config is a mapping with the keys {', '.join(SearchConfig.model_fields)}"
        raise ConfigError(msg)
    try:
        return SearchConfig.model_validate(content)
    except ValidationError as error:
        msg = f"{source} is not a valid search config:\n{_explain(error)}"
        raise ConfigError(msg) from None


def load_config(path: str | os.PathLike[str]) -> SearchConfig:
    """Read a search config from YAML.

    Raises
    ------
    ConfigError
        If the file is missing, is not YAML, or does not describe a search.
    """
    try:
        content = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError as error:
        msg = f"config file not found: {path}"
        raise ConfigError(msg) from error
    except (yaml.YAMLError, UnicodeDecodeError, IsADirectoryError) as error:
        msg = f"{path} is not valid YAML: {error}"
        raise ConfigError(msg) from error
    return parse_config(with_column_maps(content, Path(path).parent), str(path))
