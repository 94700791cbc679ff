"""How numbers are written for readers."""

from __future__ import annotations

import math
from typing import Any

from resonaut.stats.windows import interval_text

__all__ = ("compact", "interval", "number", "p_text", "seconds", "signed", "z_text")

NONE = "–"
_HIGH = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def p_text(p: float | None) -> str:
    """A p-value as a reader wants it: three digits, in powers of ten when small.

    Examples
    --------
    >>> p_text(0.1234), p_text(1.16e-18), p_text(None)
    ('0.123', '1.2 × 10⁻¹⁸', 'no fit')
    """
    if p is None:
        return "no fit"
    if p >= 1e-3:
        return f"{p:.3f}"
    if p <= 0:
        return "< 10⁻³⁰⁰"
    digits, exponent = f"{p:.1e}".split("e")
    return f"{digits} × 10{str(int(exponent)).translate(_HIGH)}"


def z_text(z: float | None) -> str:
    """A significance with its sign.

    Examples
    --------
    >>> z_text(2.345), z_text(None)
    ('+2.35', '–')
    """
    return NONE if z is None else f"{z:+.2f}"


def number(value: float | None, digits: int = 1) -> str:
    """A number with separators of thousands.

    Examples
    --------
    >>> number(12345.678), number(5, 0), number(None)
    ('12,345.7', '5', '–')
    """
    return NONE if value is None else f"{value:,.{digits}f}"


def compact(value: float | None) -> str:
    """Three significant digits.

    Examples
    --------
    >>> compact(1234.5), compact(12.345), compact(0.001234), compact(None)
    ('1,230', '12.3', '0.00123', '–')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    return f"{rounded:,.{max(digits, 0)}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """A number with its sign."""
    return NONE if value is None else f"{value:+.{digits}f}"


def seconds(value: float | None) -> str:
    """A duration.

    Examples
    --------
    >>> seconds(4.2), seconds(143.0), seconds(7300.0)
    ('4.2 s', '2 min 23 s', '2 h 2 min')
    """
    if value is None:
        return NONE
    if value < 60:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(value / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def interval(entry: dict[str, Any]) -> str:
    """The signal region of an entry, GeV without the unit."""
    return interval_text(entry["low"], entry["high"])
