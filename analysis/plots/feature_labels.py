"""Labels of the features of event tables, for axes: what is known is written as physicists do, the rest by its name."""

from __future__ import annotations

import re

from resonaut.processors import axis_label
from resonaut.processors.features.labels import symbol

__all__ = ("feature_html", "feature_label")

_OBJECTS = {"j1": "J_1", "j2": "J_2", "h": "J_H", "l": "J_L"}
_QUANTITIES = {"m": "m", "msd": r"m^{SD}", "pt": "p_T", "eta": r"\eta", "phi": r"\phi", "n": "n_{const}"}
_GEV = ("m", "msd", "pt")
_PAIRS = {"dr_jj": r"$\Delta R_{JJ}$", "deta_jj": r"$|\Delta\eta_{JJ}|$", "dm_jj": r"$\Delta m_{J}$ [GeV]"}
_OF_OBJECT = re.compile(r"^(msd|m|pt|eta|phi|n|tau\d\d?)_(j1|j2|h|l)$")
_RATIO = re.compile(r"^tau1b2_ratio_(j1|j2|h|l)$")
_HTML = {"\\tau": "τ", "\\eta": "η", "\\phi": "φ", "\\Delta": "Δ"}


def feature_label(name: str) -> str:
    """Label of an axis, in mathematics where the name is one of resonaut's own.

    Examples
    --------
    >>> feature_label("tau21_h"), feature_label("m_j1"), feature_label("my_feature")
    ('$\\\\tau_{21}(J_H)$', '$m(J_1)$ [GeV]', 'my_feature')
    """
    if name in _PAIRS:
        return _PAIRS[name]
    if match := _RATIO.match(name):
        return rf"$\sqrt{{\tau_1^{{\beta=2}}}}/\tau_1({_OBJECTS[match[1]]})$"
    if match := _OF_OBJECT.match(name):
        quantity, place = match.groups()
        written = rf"\tau_{{{quantity[3:]}}}" if quantity.startswith("tau") else _QUANTITIES[quantity]
        return f"${written}({_OBJECTS[place]})$" + (" [GeV]" if quantity in _GEV else "")
    return axis_label(name) if symbol(name) else name


def feature_html(name: str) -> str:
    """The same in HTML, without the unit; a name that is not known is left as it is (not escaped).

    Examples
    --------
    >>> feature_html("tau21_h"), feature_html("m_j1"), feature_html("my_feature")
    ('τ<sub>21</sub>(J<sub>H</sub>)', 'm(J<sub>1</sub>)', 'my_feature')
    """
    if match := _RATIO.match(name):
        place = _OBJECTS[match[1]].removeprefix("J_")
        return f"√τ<sub>1</sub><sup>β=2</sup>/τ<sub>1</sub>(J<sub>{place}</sub>)"
    label = feature_label(name).removesuffix(" [GeV]")
    if not label.startswith("$"):
        return name
    text = label.strip("$")
    for command, letter in _HTML.items():
        text = text.replace(command, letter)
    text = re.sub(r"_\{(\w+)\}|_(\w)", lambda m: f"<sub>{m[1] or m[2]}</sub>", text)
    return re.sub(r"\^\{(\w+)\}", r"<sup>\1</sup>", text)
