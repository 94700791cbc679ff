"""Names of jet observables with their options.

    name     = [grooming "_"] quantity {option}
    grooming = "sd"                                of the constituents that soft drop (zcut 0.1, beta 0) leaves
             | "sd(" settings ")"                  the same with other zcut and beta
    quantity = "tau21" | "c2" | "width" | ...      a key of `OBSERVABLES`
    option   = "_b" number | "_k" number | "_z" number                 beta, kappa, zcut
             | "_wta_kt" | "_wta_ca" | "_kt" | "_ca" | "_jet"          axes
             | "_min"                                                  axes moved to a local minimum (one pass)
             | "_raw"                                                  measure without normalisation, GeV
             | "(" settings ")"                                        all of these, written out
    settings = key "=" value {"," key "=" value}   keys: beta, kappa, zcut, axes, passes (0, 1), measure

So `tau21_kt_min`, `tau21(axes=kt,passes=1)`; `tau1_b2`, `tau1(beta=2)` and, as in the LHC Olympics files, `tau1b2`;
`sd(zcut=0.05,beta=1)_d2`. A column is called as it was asked for; two spellings of one thing are computed once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, unknown_name
from resonaut.processors.jets.observables import ALIASES, OBSERVABLES, Observable, Options
from resonaut.processors.jets.shared import AXES_OF, SharedParts

__all__ = ("Request", "needs_charges", "parse_observable", "parse_observables")

Floats = npt.NDArray[np.float64]

MEASURES = ("normalised", "raw")
NUMBER = r"\d+(?:\.\d+)?"
LETTERS = {"b": "beta", "k": "kappa", "z": "zcut"}
SHORT = re.compile(rf"_(?:(?P<letter>[bkz])(?P<number>{NUMBER})|(?P<word>wta_kt|wta_ca|kt|ca|jet|min|raw))(?=_|\(|$)")
GROOMED = re.compile(r"sd(?:\((?P<settings>[^()]*)\))?_(?P<rest>.+)")
OLD_TAU = re.compile(rf"(tau\d+)b({NUMBER})(?=_|$)")


@dataclass(frozen=True)
class Request:
    """An observable with its options, as parsed from `name`; `grooming` = (zcut, beta) of soft drop before it."""

    name: str
    observable: Observable
    options: Options
    grooming: tuple[float, float] | None = None

    @property
    def key(self) -> tuple[str, Options, tuple[float, float] | None]:
        """What it means, the same for every spelling."""
        return self.observable.name, self.options, self.grooming

    @property
    def is_plain(self) -> bool:
        """True without grooming and with every option at its default."""
        return self.grooming is None and self.options == Options(**self.observable.defaults)

    def of(self, parts: SharedParts) -> Floats:
        """Values of all jets, (jets,); NaN where undefined."""
        jets = parts if self.grooming is None else parts.groomed(*self.grooming)
        return self.observable.compute(jets, self.options)


def _setting(name: str, key: str, value: str) -> Any:
    """One written-out setting as the type of its option; ConfigError for what cannot be."""
    if key not in Options.__dataclass_fields__:
        msg = f"{name}: " + unknown_name("option", key, Options.__dataclass_fields__)
        raise ConfigError(msg)
    try:
        return type(getattr(Options(), key))(value)
    except ValueError:
        msg = f"{name}: {key} is {value!r}, expected a number"
        raise ConfigError(msg) from None


def _settings(name: str, text: str) -> dict[str, Any]:
    out = {}
    for part in text.split(","):
        key, equal, value = part.partition("=")
        if not equal:
            msg = f"{name}: got {part!r} in brackets, expected key=value such as beta=2"
            raise ConfigError(msg)
        out[key.strip()] = _setting(name, key.strip(), value.strip())
    return out


def _short_options(name: str, text: str) -> dict[str, Any]:
    """Options of suffixes such as `_b2_kt_min`."""
    out: dict[str, Any] = {}
    at = 0
    while at < len(text):
        found = SHORT.match(text, at)
        if found is None:
            msg = f"{name}: cannot read the option {text[at:]!r}; options are _b2 (beta), _k0.5 (kappa), _z0.1 (zcut), {', '.join('_' + x for x in AXES_OF)}, _min, _raw"
            raise ConfigError(msg)
        if found["letter"]:
            out[LETTERS[found["letter"]]] = float(found["number"])
        elif found["word"] == "min":
            out["passes"] = 1
        elif found["word"] == "raw":
            out["measure"] = "raw"
        else:
            out["axes"] = found["word"]
        at = found.end()
    return out


def _numbers_problem(observable: Observable, options: Options) -> str | None:
    """Why a number is not allowed; None if all are."""
    for key in ("beta", "kappa"):
        if not 0 <= getattr(options, key) < np.inf:
            return f"{key} is {getattr(options, key):g}, expected a number from 0 on"
    if not 0 <= options.zcut < 0.5:
        return f"zcut is {options.zcut:g}, expected 0 <= zcut < 0.5"
    if options.beta == 0 and not observable.allows_zero_beta:
        return "beta is 0, expected a positive exponent"
    if options.passes not in (0, 1):
        return f"passes is {options.passes}, expected 0 or 1"
    if options.passes and not 1 <= options.beta < 3:
        return f"beta is {options.beta:g}, minimised axes need 1 <= beta < 3"
    return None


def _words_problem(observable: Observable, options: Options) -> str | None:
    """Why a word is not allowed; None if all are."""
    if options.axes not in AXES_OF:
        return unknown_name("axes", options.axes, AXES_OF)
    if options.measure not in MEASURES:
        return unknown_name("measure", options.measure, MEASURES)
    if options.axes == "jet" and "passes" in observable.options and observable.name != "tau1":
        return "the jet axis is only one: choose kt, ca, wta_kt or wta_ca"
    return None


def _check(name: str, observable: Observable, options: Options) -> None:
    """ConfigError for values that the definitions do not allow."""
    problem = _words_problem(observable, options) or _numbers_problem(observable, options)
    if problem:
        msg = f"{name}: {problem}"
        raise ConfigError(msg)


def _grooming(name: str, settings: str | None) -> tuple[float, float]:
    """zcut and beta of the soft drop before an observable."""
    chosen = {"zcut": 0.1, "beta": 0.0} | (_settings(name, settings) if settings else {})
    if set(chosen) != {"zcut", "beta"}:
        msg = f"{name}: soft drop takes zcut and beta, got {', '.join(sorted(chosen))}"
        raise ConfigError(msg)
    _check(name, OBSERVABLES["msd"], replace(Options(), **chosen))
    return chosen["zcut"], chosen["beta"]


def parse_observable(name: str) -> Request:
    """Observable and options of a name by the grammar above.

    Raises
    ------
    ConfigError
        For an unknown observable, with the nearest names, or an option that it does not take.

    Examples
    --------
    >>> parse_observable("tau21_kt_min").options.axes
    'kt'
    >>> parse_observable("d2_b2") == replace(parse_observable("d2(beta=2)"), name="d2_b2")
    True
    """
    rest, grooming = name, None
    if (groomed := GROOMED.fullmatch(name)) is not None:
        rest, grooming = groomed["rest"], _grooming(name, groomed["settings"])
    rest = OLD_TAU.sub(r"\1_b\2", rest)
    head, bracket, settings = rest.partition("(")
    base, underscore, short = head.partition("_")
    base = ALIASES.get(base, base)
    if base not in OBSERVABLES or (bracket and not settings.endswith(")")):
        raise ConfigError(unknown_name("observable", name, [*OBSERVABLES, *ALIASES]))
    observable = OBSERVABLES[base]
    given = _short_options(name, underscore + short) | (_settings(name, settings[:-1]) if bracket else {})
    foreign = sorted(set(given) - set(observable.options))
    if foreign:
        msg = f"{name}: {base} takes {', '.join(observable.options) or 'no options'}, got {', '.join(foreign)}"
        raise ConfigError(msg)
    options = replace(Options(**observable.defaults), **given)
    _check(name, observable, options)
    return Request(name, observable, options, grooming)


def parse_observables(names: Iterable[str]) -> tuple[Request, ...]:
    """Each name once, in order; raises as `parse_observable`."""
    if isinstance(names, str):
        msg = f"observables are {names!r}, expected a list of names such as ({names!r},)"
        raise ConfigError(msg)
    return tuple(parse_observable(name) for name in dict.fromkeys(names))


def needs_charges(requests: Iterable[Request]) -> bool:
    """True if an observable is made of the constituents' charges."""
    return any("charges" in request.observable.needs for request in requests)
