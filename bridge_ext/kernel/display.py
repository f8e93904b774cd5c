"""What a worker shows, as far as this process lets it: an allow-list of MIME types, and no script.

It comes as the answer to the display of a ref, or by itself while a call runs. None of it is
trusted: each content is checked for what it says it is, and markup is cleaned (see `markup`).
"""

from __future__ import annotations

import binascii
import re
import sys
from typing import TYPE_CHECKING, Any

from .errors import ProtocolError
from .log import warn
from .wire import mimes
from .wire.loading import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    Bundle = tuple[dict[str, Any], dict[str, Any]]

_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


class _Told:
    """A message of a worker; two are equal that say the same; `dataclasses` is slow to import."""

    __slots__: tuple[str, ...] = ()

    __hash__ = None  # type: ignore[assignment]  # what it holds has none

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __repr__(self) -> str:
        fields = (f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({', '.join(fields)})"


class Shown(_Told):
    """Something that the worker's code shows.

    Attributes:
        data, metadata: as in Jupyter's messages, pictures in base64.
        display_id: by which it can be updated.
        update: whether it takes the place of what was shown under that id.
    """

    __slots__ = ("data", "metadata", "display_id", "update")  # noqa: RUF023 - as it is shown

    def __init__(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any],
        display_id: str | None = None,
        update: bool = False,
    ) -> None:
        self.data, self.metadata = data, metadata
        self.display_id, self.update = display_id, update


class Cleared(_Told):
    """The worker's code clears what the cell shows; `wait`: when the next is shown."""

    __slots__ = ("wait",)

    def __init__(self, wait: bool) -> None:
        self.wait = wait


Message = Shown | Cleared


def wanted(include: Any, exclude: Any) -> dict[str, list[str]]:
    """Which MIME types are asked for, as a worker is told."""
    given = {"include": include, "exclude": exclude}
    return {name: [*map(str, types)] for name, types in given.items() if types}


def allowed(data: Any, metadata: Any) -> Bundle:
    """The part of a worker's MIME bundle that is shown."""
    if type(data) is not dict:
        return {}, {}
    found = {}
    for mime, value in data.items():
        taken = mimes.content(mime, value)
        if taken is None or not mimes.fits(taken):
            continue
        inert = _inert(mime, taken)
        if inert is not None:
            found[mime] = inert
    return found, mimes.settings(metadata, found)


def _inert(mime: str, value: Any) -> Any:
    """A content as it may be shown, or None."""
    if mime in mimes.PICTURES:
        return _base64(value)
    if type(value) is not str:
        return value
    text = value.encode("utf-8", "replace").decode("utf-8")  # lone surrogates are no text
    if mime == "text/plain":
        return text
    from . import markup  # not needed before something is shown

    if mime == "text/html":
        return markup.clean_html(text)
    if mime == "image/svg+xml":
        return markup.clean_svg(text)
    inert = markup.inert_markdown if mime == "text/markdown" else markup.inert_latex
    return text if inert(text) else None


def _base64(picture: str | bytes) -> str | None:
    """A picture in base64, and nothing else."""
    if isinstance(picture, bytes):
        return binascii.b2a_base64(picture, newline=False).decode("ascii")
    text = "".join(picture.split())
    return text if len(text) % 4 == 0 and _BASE64.fullmatch(text) else None


def message(body: bytes | bytearray) -> Message:
    """A message of the worker's `publishing`.

    Raises:
        ProtocolError: it is something else.
    """
    fields = plain.load(body)
    shape = [type(field) for field in fields] if type(fields) is list else []
    if shape == [str, bool] and fields[0] == "clear":
        return Cleared(fields[1])
    if shape[:3] + shape[4:] == [str, dict, dict, bool] and fields[0] == "display":
        _, data, metadata, display_id, update = fields
        if display_id is None or type(display_id) is str:
            return Shown(*allowed(data, metadata), display_id, update)
    raise ProtocolError(f"this is nothing to show: {fields!r:.200}")


def told(show: Callable[[Message], None], something: Message) -> None:
    """Hand a message to whoever shows it; what that raises harms nobody else."""
    try:
        show(something)
    except Exception:
        warn("bridge_ext.display", "what the worker shows could not be shown")


def to_stdout(something: Message) -> None:
    """Show a message where there is no notebook: its text, on a line of stdout."""
    if isinstance(something, Shown) and "text/plain" in something.data:
        sys.stdout.write(f"{something.data['text/plain']}\n")
        sys.stdout.flush()
