"""Marks: containers and records that msgpack has no form for, as lists with a marked first item.

A mark is a msgpack extension of one byte, which no user data can look like.
"""

from __future__ import annotations

from struct import Struct

from .own import msgpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Ext:
    """Codes of the msgpack extension types."""

    INT = 1
    COMPLEX = 2
    BYTEARRAY = 3
    DECIMAL = 4
    UUID = 5
    MARK = 6
    NUMPY = 7
    REF = 8
    """worker to kernel: a new receipt of a ref."""
    REF_ARG = 9
    """kernel to worker: use this ref."""
    PICKLE = 10
    """An object by value, as a pickle; the kernel opens one only when asked to fetch."""
    MODULE = 11
    """kernel to worker: a module handle as an argument; worker to kernel: a module result."""
    CALLBACK = 12
    """kernel to worker: a function that runs in the kernel."""
    ARRAY = 13
    """A plain numpy array by value; the kernel makes one only when asked to fetch."""


class Mark:
    """First item of a marked list; one instance per kind."""

    __slots__ = ("build", "ext", "name")

    def __init__(self, name: str, build: Callable[[list[Any]], Any]) -> None:
        self.name = name
        self.build = build
        self.ext = msgpack.ExtType(Ext.MARK, bytes([len(MARKS)]))
        MARKS.append(self)


MARKS: list[Mark] = []
COMPLEX = Struct("<dd")
MARKED = bytes([0xD4, Ext.MARK])
"""How every mark begins on the wire (fixext 1 and its code): no such bytes, no marks."""


# ---------------------------------------------------------------- building from marked lists
def _build_dict(x: list[Any]) -> dict[Any, Any]:
    return dict(zip(x[1::2], x[2::2], strict=True))


def _build_datetime(x: list[Any]) -> Any:
    from datetime import datetime

    year, month, day, hour, minute, second, micro, fold, zone = x[1:]
    return datetime(year, month, day, hour, minute, second, micro, zone, fold=fold)


def _build_time(x: list[Any]) -> Any:
    from datetime import time

    hour, minute, second, micro, fold, zone = x[1:]
    return time(hour, minute, second, micro, zone, fold=fold)


def _build_date(x: list[Any]) -> Any:
    from datetime import date

    return date(*x[1:])


def _build_timedelta(x: list[Any]) -> Any:
    from datetime import timedelta

    return timedelta(*x[1:])


def _build_timezone(x: list[Any]) -> Any:
    from datetime import timezone

    return timezone(*x[1:])


def _build_zone(x: list[Any]) -> Any:
    from zoneinfo import ZoneInfo

    return ZoneInfo(x[1])


def _build_fraction(x: list[Any]) -> Any:
    from fractions import Fraction

    return Fraction(x[1], x[2])


# The order is the wire's: new kinds go to the end.
TUPLE = Mark("tuple", lambda x: tuple(x[1:]))
SET = Mark("set", lambda x: set(x[1:]))
FROZENSET = Mark("frozenset", lambda x: frozenset(x[1:]))
DICT = Mark("dict", _build_dict)
RANGE = Mark("range", lambda x: range(x[1], x[2], x[3]))
SLICE = Mark("slice", lambda x: slice(x[1], x[2], x[3]))
DATETIME = Mark("datetime", _build_datetime)
TIME = Mark("time", _build_time)
DATE = Mark("date", _build_date)
TIMEDELTA = Mark("timedelta", _build_timedelta)
TIMEZONE = Mark("timezone", _build_timezone)
ZONE = Mark("zone", _build_zone)
FRACTION = Mark("fraction", _build_fraction)
