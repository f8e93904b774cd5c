"""One rule for the session of every call path, and one for the walls between sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from .errors import SessionMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .session import Session

T = TypeVar("T")


def resolve(option: T | None, target: T | None, in_force: T | None, auto: Callable[[], T]) -> T:
    """The session of an operation.

    Args:
        option: given with the call, or by `with bridge.options(session=)`.
        target: the session of the ref that the operation is on.
        in_force: the named session in force.
        auto: makes (or finds) the auto-session of the scope.
    """
    if option is not None:
        return option
    if target is not None:
        return target
    if in_force is not None:
        return in_force
    return auto()


def check_target(ref: str, home: Session, session: Session, isolate: bool) -> None:
    """Whether a call in `session` may be made on a ref that lives in `home`.

    A named session's ref is called in that session only; an auto-session's is borrowed.

    Raises:
        SessionMismatchError: the option contradicts the target.
    """
    if home is not session and (isolate or not home.auto):
        raise SessionMismatchError(ref, session.id, home.id)


def check_argument(
    ref: str, home: Session, session: Session, in_force: str | None, isolate: bool
) -> None:
    """Whether a ref that lives in `home` may be an argument of a call in `session`.

    Raises:
        SessionMismatchError: it is behind a wall.
    """
    if home is session or (home.auto and not isolate) or home.id == in_force:
        return
    raise SessionMismatchError(ref, session.id, home.id)
