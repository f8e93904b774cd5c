"""Numbers as people read them."""

from __future__ import annotations

_MORE = 1.02
"""How much more than its size an object has to keep in memory for that to be said."""
_UNITS = ("B", "kB", "MB", "GB", "TB")


def size(nbytes: int | None, estimated: bool = False) -> str:
    """Bytes as people read them: "1.5 MB", "~48 B"."""
    if nbytes is None:
        return "?"
    value = float(nbytes)
    unit = 0
    while value >= 999.5 and unit + 1 < len(_UNITS):
        value /= 1000
        unit += 1
    number = f"{value:.0f}" if unit == 0 or value >= 99.5 else f"{value:.3g}"
    return f"{'~' if estimated else ''}{number} {_UNITS[unit]}"


def count(number: int, noun: str) -> str:
    """How many there are: "1 ref", "1,200 refs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def extent(shape: tuple[int, ...] | None, length: int | None) -> str:
    """How large it is in items: "1,000 × 3", "5 items", "" if that is not known."""
    if shape is not None:
        return " × ".join(f"{n:,}" for n in shape)
    return "" if length is None else count(length, "item")


def listed(names: list[str], most: int = 3) -> str:
    """Names in a sentence: "df", "df and model", "df, model, x and 4 more"."""
    shown = names[:most]
    rest = len(names) - len(shown)
    if rest:
        return f"{', '.join(shown)} and {rest:,} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def keeps(nbytes: int, retained: int) -> str:
    """A word about an object that keeps more memory than its size: " (keeps 80 MB)"."""
    return f" (keeps {size(retained)})" if retained > _MORE * nbytes + 1000 else ""


def duration(seconds: float) -> str:
    """Seconds as people read them: "12 s", "3 min", "2 h 5 min", "3 d"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{hours // 24} d"
