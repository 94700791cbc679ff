"""A compiled reader of lines of the Dark Machines challenge, byte by byte.

A line is `event ID; process ID; weight; MET; METphi; obj1,E1,pt1,eta1,phi1; ...` with energies in MeV. Every line gets a
status: 0 if it is good, else what is wrong with it first, a place in `REASONS`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from resonaut.compiled import kernel

__all__ = ("COLLISION_ENERGY", "REASONS", "lines_end", "pack_names", "parse_lines")

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]

REASONS = (
    "",
    "malformed line",
    "unknown object code",
    "energy or pT not finite or not positive",
    "weight, MET or direction not finite or out of range",
    "no objects",
    "too many objects",
    "energy below pT",
    "energy beyond the collision energy",
)
"""What can be wrong with a line, by its status."""

MALFORMED, UNKNOWN_CODE, BAD_ENERGY, BAD_VALUE, EMPTY, TOO_MANY, BELOW, BEYOND = range(1, 9)
SPACE, TAB, RETURN, NEWLINE, SEMICOLON, COMMA = 32, 9, 13, 10, 59, 44
MEV = 1000.0  # MeV in a GeV
COLLISION_ENERGY = 14_000.0  # GeV, the highest that the LHC was built for
ROUNDING = 0.99  # an energy may be this much of the pT, which it cannot be below, as both were rounded
MOST_ETA = 20.0
MOST_PHI = 6.2832  # azimuths come as -pi..pi or 0..2 pi, rounded
EXACT = 2**53
POWERS = 10.0 ** np.arange(23)  # all exact as doubles
CODES = np.array([[106, 0], [98, 0], [101, 45], [101, 43], [109, 45], [109, 43], [103, 0]], np.uint8)  # j b e- ... g


@kernel
def _trim(data: Bytes, start: int, stop: int) -> tuple[int, int]:
    """The same range without blanks at its ends."""
    while start < stop and (data[start] == SPACE or data[start] == TAB):
        start += 1
    while stop > start and (data[stop - 1] == SPACE or data[stop - 1] == TAB or data[stop - 1] == RETURN):
        stop -= 1
    return start, stop


@kernel
def _word(data: Bytes, at: int, stop: int) -> tuple[float, bool]:
    """NaN or infinity where a number could not be: their size only, and whether it is one of them."""
    if stop - at < 3:
        return 0.0, False
    a, b, c = data[at] | 32, data[at + 1] | 32, data[at + 2] | 32
    if a == 110 and b == 97 and c == 110:
        return math.nan, True
    if a == 105 and b == 110 and c == 102:
        return math.inf, True
    return 0.0, False


@kernel
def _scaled(mantissa: int, power: int) -> float:
    """`mantissa` times ten to `power`: correctly rounded up to 15 digits, else to one unit in the last place or two."""
    if mantissa == 0:
        return 0.0
    value = float(mantissa)
    if mantissa <= EXACT and -22 <= power <= 22:
        ten = float(POWERS[abs(power)])
        return value / ten if power < 0 else value * ten
    if power < -290:
        return value * math.pow(10.0, power + 100) * 1e-100
    return value * math.pow(10.0, power)


@kernel
def _number(data: Bytes, start: int, stop: int) -> tuple[float, bool]:
    """A decimal number and whether it is one."""
    at, stop = _trim(data, start, stop)
    if at == stop:
        return 0.0, False
    sign = -1.0 if data[at] == 45 else 1.0
    if data[at] == 45 or data[at] == 43:
        at += 1
    mantissa, digits, power, seen, fraction = 0, 0, 0, False, False
    while at < stop:
        byte = data[at]
        if 48 <= byte <= 57:
            seen = True
            if digits < 18:
                mantissa = mantissa * 10 + (byte - 48)
                digits += mantissa > 0
                power -= fraction
            else:
                power += not fraction
        elif byte == 46 and not fraction:
            fraction = True
        else:
            break
        at += 1
    if not seen:
        value, known = _word(data, at, stop)
        return sign * value, known and not fraction
    if at < stop:
        if data[at] | 32 != 101 or stop - at > 6:
            return 0.0, False
        exponent, known = _integer(data, at + 1, stop)
        if not known:
            return 0.0, False
        power += exponent
    return sign * _scaled(mantissa, power), True


@kernel
def _integer(data: Bytes, start: int, stop: int) -> tuple[int, bool]:
    """An integer of up to 18 digits and whether it is one."""
    at, stop = _trim(data, start, stop)
    sign = -1 if at < stop and data[at] == 45 else 1
    if at < stop and (data[at] == 45 or data[at] == 43):
        at += 1
    if at == stop or stop - at > 18:
        return 0, False
    value = 0
    for i in range(at, stop):
        if not 48 <= data[i] <= 57:
            return 0, False
        value = value * 10 + (data[i] - 48)
    return sign * value, True


@kernel
def _event_number(data: Bytes, start: int, stop: int) -> tuple[int, bool]:
    """An event's number, which some writers give as 1e+06 or 17.0."""
    value, known = _integer(data, start, stop)
    if known:
        return value, True
    number, known = _number(data, start, stop)
    if known and abs(number) < EXACT and number == math.floor(number):
        return int(number), True
    return 0, False


@kernel
def _code(data: Bytes, start: int, stop: int) -> int:
    """Code of a kind of object, 0 if there is no such kind."""
    start, stop = _trim(data, start, stop)
    if not 1 <= stop - start <= 2:
        return 0
    second = data[start + 1] if stop - start == 2 else 0
    for i in range(len(CODES)):
        if data[start] == CODES[i, 0] and second == CODES[i, 1]:
            return i + 1
    return 0


@kernel
def _find(data: Bytes, byte: int, start: int, stop: int) -> int:
    """Place of the first such byte, `stop` if there is none."""
    for i in range(start, stop):
        if data[i] == byte:
            return i
    return stop


@kernel
def _object(data: Bytes, start: int, stop: int, kind: Codes, four: Floats, at: int) -> int:
    """Read `code,E,pt,eta,phi` into place `at` of the outputs; returns the status."""
    end = _find(data, COMMA, start, stop)
    code = _code(data, start, end)
    if end == stop:
        return MALFORMED
    for i in range(4):
        begin = end + 1
        end = _find(data, COMMA, begin, stop)
        if (end == stop) != (i == 3):
            return MALFORMED
        four[at, i], known = _number(data, begin, end)
        if not known:
            return MALFORMED
    if code == 0:
        return UNKNOWN_CODE
    kind[at] = code
    for i in range(2):
        if not 0.0 < four[at, i] < math.inf:
            return BAD_ENERGY
        four[at, i] /= MEV
    if not (abs(four[at, 2]) <= MOST_ETA and abs(four[at, 3]) <= MOST_PHI):
        return BAD_VALUE
    if four[at, 0] > COLLISION_ENERGY or four[at, 1] > COLLISION_ENERGY:
        return BEYOND
    if four[at, 0] < ROUNDING * four[at, 1]:
        return BELOW
    return 0


@kernel
def _head(data: Bytes, start: int, stop: int, event: Ints, numbers: Floats, names: Ints, line: int) -> tuple[int, int]:
    """Read the five fields before the objects; returns where the objects begin and the status."""
    for i in range(5):
        end = _find(data, SEMICOLON, start, stop)
        if end == stop and i < 4:
            return stop, MALFORMED
        if i == 0:
            event[line], known = _event_number(data, start, end)
        elif i == 1:
            names[line, 0], names[line, 1] = _trim(data, start, end)
            known = names[line, 0] < names[line, 1]
            for k in range(names[line, 0], names[line, 1]):
                known = known and 32 <= data[k] <= 126
        else:
            numbers[line, i - 2], known = _number(data, start, end)
        if not known:
            return stop, MALFORMED
        start = end + 1
    numbers[line, 1] /= MEV
    if not (abs(numbers[line, 0]) < math.inf and 0.0 <= numbers[line, 1] < math.inf):
        return start, BAD_VALUE
    if not abs(numbers[line, 2]) <= MOST_PHI:
        return start, BAD_VALUE
    if numbers[line, 1] > COLLISION_ENERGY:
        return start, BEYOND
    return start, 0


@kernel
def _line(
    data: Bytes,
    start: int,
    stop: int,
    most: int,
    event: Ints,
    numbers: Floats,
    names: Ints,
    kind: Codes,
    four: Floats,
    line: int,
    first: int,
) -> tuple[int, int]:
    """Read one line, its objects from place `first` on; returns the place after them and the status."""
    at = first
    start, status = _head(data, start, stop, event, numbers, names, line)
    if status == MALFORMED:
        return first, status
    while start < stop:
        end = _find(data, SEMICOLON, start, stop)
        found = _object(data, start, end, kind, four, at)
        if found == MALFORMED:
            return first, found
        if status == 0:
            status = found
        at += 1
        start = end + 1
    if status == 0 and at == first:
        status = EMPTY
    if status == 0 and most >= 0 and at - first > most:
        status = TOO_MANY
    return (at if status == 0 else first), status


@kernel
def lines_end(data: Bytes, start: int, most: int) -> tuple[int, int, int]:
    """The byte after the next `most` lines that are not blank, their number if there are fewer, and that of all lines."""
    found, passed, begin = 0, 0, start
    while begin < data.size and found < most:
        end = _find(data, NEWLINE, begin, data.size)
        first, last = _trim(data, begin, end)
        found += first < last
        passed += 1
        begin = min(end + 1, data.size)
    return begin, found, passed


@kernel
def pack_names(data: Bytes, names: Ints, ends: Ints, out: Bytes) -> None:
    """Copy the bytes of each name behind one another, `ends` (lines + 1,) being where they go."""
    for i in range(len(names)):
        for k in range(names[i, 1] - names[i, 0]):
            out[ends[i] + k] = data[names[i, 0] + k]


@kernel
def parse_lines(
    data: Bytes,
    most: int,
    status: Codes,
    where: Ints,
    event: Ints,
    numbers: Floats,
    names: Ints,
    counts: Ints,
    kind: Codes,
    four: Floats,
) -> tuple[int, int]:
    """Read all lines of `data`, which ends with a whole line; blank ones do not count.

    Parameters
    ----------
    data : bytes.
    most : most objects that a line may have, -1 for any number.
    status : output (lines,), 0 or what is wrong.
    where : output (lines, 3), number of the line from 0, blank ones counted, and its first and last byte + 1.
    event, numbers, names : outputs (lines,), (lines, 3) of weight, MET in GeV, METphi, and (lines, 2) of the first and
        last byte + 1 of the process.
    counts : output (lines,), number of objects, 0 for a bad line.
    kind, four : outputs (objects,) and (objects, 4) of E, pT in GeV, eta, phi; with room for one object more.

    Returns
    -------
    Numbers of lines and objects that were written.
    """
    begin, number, line, first = 0, 0, 0, 0
    while begin < data.size:
        end = _find(data, NEWLINE, begin, data.size)
        start, stop = _trim(data, begin, end)
        if start < stop:
            where[line, 0], where[line, 1], where[line, 2] = number, start, stop
            after, status[line] = _line(data, start, stop, most, event, numbers, names, kind, four, line, first)
            counts[line] = after - first
            first = after
            line += 1
        number += 1
        begin = end + 1
    return line, first
