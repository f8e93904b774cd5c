"""What a bridge says and does about sessions and refs: make, list, keep, move, free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .calls import Calls, SessionBlock, state_of
from .kernel import context
from .kernel.custody import freed
from .kernel.errors import BridgeUsageError
from .kernel.options import Options
from .kernel.session import Limits
from .kernel.surface import surfaces

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .kernel.handles import Ref
    from .kernel.inspection import Holders
    from .kernel.model import RefInfo, Released, SessionInfo


@surfaces
class Sessions(Calls):
    """The part of a bridge that is about what it holds."""

    _holders: Holders

    # ------------------------------------------------------------ sessions
    def session(
        self,
        id: str | None = None,
        *,
        ttl_seconds: float | None = None,
        max_refs: int | None = None,
        overflow: str | None = None,
        tags: Mapping[str, str] | None = None,
        owner: object = None,
    ) -> SessionBlock:
        """A named session, made if there is none; a context manager that puts it in force.

        Limits not given are left as they are; those given change the session.

        Args:
            id: 1 to 128 ASCII letters, digits and `._:-`; None makes one.
            ttl_seconds: how long it may be idle with nobody holding its refs.
            max_refs: how many refs it may hold.
            overflow: "error" or "evict".
            tags: strings to strings, added to its tags.
            owner: an object that keeps it alive, in place of the kernel.

        Raises:
            BridgeUsageError: a bad id, limit or owner; or max_refs below what it holds.
        """
        limits = Limits(max_refs, ttl_seconds, overflow)
        return SessionBlock(self._remote, self._remote.name_session(id, limits, tags, owner))

    def create_session(
        self,
        id: str | None = None,
        *,
        ttl_seconds: float | None = None,
        max_refs: int | None = None,
        overflow: str | None = None,
        tags: Mapping[str, str] | None = None,
        owner: object = None,
    ) -> str:
        """Make a named session and return its id, putting nothing in force."""
        limits = Limits(max_refs, ttl_seconds, overflow)
        return self._remote.name_session(id, limits, tags, owner).id

    def use(self, id: str | None) -> None:
        """Put a named session in force until `use(None)`: for this shell, or this thread."""
        sticky = context.here().sticky.sessions
        if id is None:
            sticky.pop(self._remote.key, None)
        else:
            session = self._remote.sessions.named(id, cell=context.here().label)
            sticky[self._remote.key] = session

    def current_session(self) -> str:
        """The id of the session in force; makes the auto-session if it is that."""
        return self._remote.current_session()

    def sessions(self) -> list[SessionInfo]:
        """Every session that exists, in the order it was made."""
        from .kernel import inspection

        return inspection.sessions(self._remote)

    def session_info(self, id: str) -> SessionInfo:
        """One session, which may have ended.

        Raises:
            SessionNotFoundError: there never was one of that id.
        """
        from .kernel import inspection

        return inspection.session_info(self._remote, self._remote.sessions.find(id))

    def refs(self, session: str | None = None) -> list[RefInfo]:
        """The refs of one session, or of all, as the worker holds them."""
        if session is not None:
            self._remote.sessions.find(session)
        from .kernel import inspection

        return inspection.refs(self._remote, session, self._holders)

    def info(self, ref: Ref) -> RefInfo:
        """One ref.

        Raises:
            RefNotFoundError, SessionLostError: it has ended.
        """
        from .kernel import inspection

        return inspection.ref_info(self._remote, state_of(ref, self._remote), self._holders)

    def register_owner(self, id: str, owner: object) -> None:
        """Let an object or a thread keep the session alive; the first one replaces the kernel.

        The session ends when its last owner is gone: a thread within a second of its end, any
        other object when it is collected.

        Raises:
            BridgeUsageError: it cannot be weakly referenced.
            SessionNotFoundError: there is no such session.
        """
        self._remote.register_owner(id, owner)

    def unregister_owner(self, id: str, owner: object) -> None:
        """Take an owner away; the session is released only if it was the last."""
        if self._remote.sessions.unregister_owner(id, owner):
            self._remote.release_session(self._remote.sessions.find(id))

    def terminate_session(self, id: str) -> Released:
        """Release a session by its id."""
        return self._remote.release_session(self._remote.sessions.find(id))

    # ------------------------------------------------------------ freeing
    def release(self, x: Any) -> Released:
        """Free a ref, a session (what `session()` gave) or the session of an id.

        Returns:
            What was freed, acknowledged by the worker; `Released(0, 0)` for what had ended.

        Raises:
            SessionNotFoundError: there never was a session of that id.
            InvalidRefError: it is none of the three.
        """
        if isinstance(x, str):
            return self.terminate_session(x)
        if isinstance(x, SessionBlock):
            return self._remote.release_session(x._session)
        return self._remote.release_ref(state_of(x, self._remote))

    def release_all(self) -> Released:
        """Free everything this bridge holds."""
        ended = [self._remote.release_session(s) for s in self._remote.sessions.all()]
        return freed(sum(r.refs for r in ended), sum(r.nbytes for r in ended))

    def release_auto_session(self) -> Released:
        """Free what this cell (or thread) has made in its auto-session."""
        lease = context.here().leases.pop(self._remote.key, None)
        return self._remote.release_session(lease.session) if lease else freed(0, 0)

    def clear_auto_session(self) -> None:
        """Forget this cell's auto-session without freeing it; for tests."""
        lease = context.here().leases.pop(self._remote.key, None)
        if lease is not None:
            lease.disarm()

    def move(self, ref: Ref, session: str) -> Ref:
        """Re-home a ref in another session, without a copy, and return its handle.

        If the object is there already, its handle there is returned, and the old one stands for
        the same ref from now on.
        """
        state_of(ref, self._remote)
        self._remote.sessions.named(session, cell=context.here().label)
        return self._remote.move(ref, session)

    def keep(self, ref: Ref, name: str) -> None:
        """Name a ref in its session: it lives until it is released or the session ends."""
        if type(name) is not str or not 0 < len(name) <= 128:
            raise BridgeUsageError(f"keep(ref, {name!r}): the name is a string of 1 to 128")
        self._remote.keep(state_of(ref, self._remote), name)

    def kept(self, session: str | None = None) -> dict[str, Ref]:
        """Name to ref, of the session in force unless one is given.

        Raises:
            SessionNotFoundError: there never was one of that id.
        """
        if session is None:
            return self._remote.kept(None)
        if not self._remote.sessions.find(session).live:
            return {}
        return self._remote.kept(Options(session=session))
