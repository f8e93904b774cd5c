"""`?`, `??` and Shift+Tab on handles: what the remote object is, not what our handle of it is.

IPython would fetch each name on the way to what is asked for, and then ask the handle for its text
and length. It is given a `Subject` instead, and an inspector that knows what to show of one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from IPython.core.oinspect import Inspector, OInfo, object_info

from .subjects import Subject, find_subject, subject_of

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .subjects import Card

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class HandleInspector(Inspector):
    """An inspector that shows handles as what they stand for, and all else as before."""

    def info(self, obj: Any, oname: str = "", info: Any = None, detail_level: int = 0) -> Any:
        """The fields that `?` shows."""
        subject = obj if isinstance(obj, Subject) else subject_of(obj)
        if subject is None:
            return super().info(obj, oname, info, detail_level)
        card = subject.card(source=detail_level > 0)
        fields = {
            "definition": self._getdef(_called_like(card), oname) if card.signature else None,
            "type_name": card.type,
            "string_form": card.text or None,
            "namespace": info.namespace if info is not None else None,
            "length": f"{card.length:,}" if card.length is not None else None,
            "file": card.file or None,
            "source": card.source or None,
            "docstring": card.doc or "<no docstring>",
        }
        return {**object_info(name=oname, found=True), **fields}

    def psource(self, obj: Any, oname: str = "") -> None:
        """`%psource`."""
        self._show(obj, oname, "source", super().psource)

    def pdef(self, obj: Any, oname: str = "") -> None:
        """`%pdef`."""
        self._show(obj, oname, "definition", super().pdef)

    def pfile(self, obj: Any, oname: str = "") -> None:
        """`%pfile`."""
        self._show(obj, oname, "file", super().pfile)

    def _show(self, obj: Any, oname: str, field: str, otherwise: Any) -> None:
        """One field of a handle's, or what IPython shows of anything else."""
        if not isinstance(obj, Subject) and subject_of(obj) is None:
            otherwise(obj, oname)
            return
        text = self.info(obj, oname, None, 1)[field]
        if text is None:
            print(f"No {field} found for {oname}")  # noqa: T201 - as IPython does
        else:
            print(text)  # noqa: T201


def _called_like(card: Card) -> Any:
    """Something that has a card's signature."""

    def stand_in() -> None: ...

    stand_in.__signature__ = card.signature  # type: ignore[attr-defined]
    return stand_in


class Helper:
    """Gives a shell this help; `remove` takes it away."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._class_before = shell.inspector_class
        self._inspector_before = type(shell.inspector)
        self._find_before = shell._object_find
        bases = (HandleInspector, self._inspector_before)
        self._inspector = type("Inspector", bases, {})
        shell.inspector_class = self._inspector
        shell.inspector.__class__ = self._inspector  # its settings stay
        shell._object_find = self.find  # type: ignore[method-assign]

    def remove(self) -> None:
        """Put back what was there."""
        shell = self._shell
        if shell.__dict__.get("_object_find") == self.find:
            del shell._object_find
        if type(shell.inspector) is self._inspector:
            shell.inspector.__class__ = self._inspector_before
        if shell.inspector_class is self._inspector:
            shell.inspector_class = self._class_before

    def find(self, oname: str, namespaces: Any = None) -> OInfo:
        """What a name stands for; of a handle its subject, with nothing fetched."""
        name = oname.strip()
        if _NAME.fullmatch(name) is None:
            return self._find_before(oname, namespaces)
        spaces = [self._shell.user_ns] if namespaces is None else [ns for _, ns in namespaces]
        subject = find_subject(name.split("."), *spaces)
        if subject is None:
            return self._find_before(oname, namespaces)
        found = subject.exists()
        return OInfo(
            obj=subject if found else None,
            found=found,
            parent=None,
            ismagic=False,
            isalias=False,
            namespace="Interactive",
        )
