r"""Labels of columns for the axes of figures, from their names.

The one place that knows how a resonant variable is written: `m_mumu` is :math:`m_{\mu\mu}` in GeV.
"""

from __future__ import annotations

import re

from resonaut.processors.features.collections import KINDS

__all__ = ("axis_label", "html_symbol", "symbol")

_SYMBOLS = {kind.short: kind.label for kind in KINDS.values()}
_PARTS = "|".join(sorted(map(re.escape, _SYMBOLS), key=len, reverse=True))
_MASS = re.compile(rf"^(m|mt|pt|y)_((?:{_PARTS})+)$")
_QUANTITIES = {"m": "m", "mt": "m_T", "pt": "p_T", "y": "y"}
_UNITLESS = ("y",)
_KNOWN = {"mjj": "m_{JJ}", "ht": "H_T", "met": r"p_T^{miss}", "meff": r"m_{eff}", "st": "S_T"}


def symbol(name: str) -> str | None:
    """The column in mathematics, without dollar signs; None where only its name is known.

    Examples
    --------
    >>> symbol("m_mumu"), symbol("mjj"), symbol("my_mass")
    ('m_{\\\\mu\\\\mu}', 'm_{JJ}', None)
    """
    if name in _KNOWN:
        return _KNOWN[name]
    if not (match := _MASS.match(name)):
        return None
    parts = "".join(_SYMBOLS[part] for part in re.findall(_PARTS, match[2]))
    if match[1] == "mt":
        return rf"m_T({parts}, p_T^{{miss}})"
    return f"{_QUANTITIES[match[1]]}_{{{parts}}}" if match[1] in ("m", "y") else f"p_T^{{{parts}}}"


def html_symbol(name: str) -> str:
    """The column in HTML; its name where no more is known. Made of letters that need no escape, or the name itself.

    Examples
    --------
    >>> html_symbol("m_mumu"), html_symbol("mjj"), html_symbol("my_mass")
    ('m<sub>μμ</sub>', 'm<sub>JJ</sub>', 'my_mass')
    """
    written = symbol(name)
    if written is None or not (match := re.fullmatch(r"(\w+)_\{(.+)\}", written)):
        return re.sub(r"[^\w .-]", "", name)
    greek = {r"\mu": "μ", r"\tau": "τ", r"\gamma": "γ", r"\ell": "ℓ"}
    below = match[2]
    for command, letter in greek.items():
        below = below.replace(command, letter)
    return f"{match[1]}<sub>{below}</sub>"


def axis_label(name: str) -> str:
    """Label of an axis with this column, with its unit where it has one.

    Examples
    --------
    >>> axis_label("m_mumu"), axis_label("my_mass")
    ('$m_{\\\\mu\\\\mu}$ [GeV]', 'my_mass [GeV]')
    """
    written = symbol(name)
    unit = "" if name.split("_", maxsplit=1)[0] in _UNITLESS else " [GeV]"
    return f"${written}${unit}" if written else f"{name} [GeV]"
