"""Ours only: what releasing a named session costs, small, large, and beside a large one."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Figures, Sizes, elapsed_ms, median

if TYPE_CHECKING:
    from benchmarks.peers.bridge import BridgePeer

ROOM = 2
"""A session is given room for this many times the refs it gets: the limit is not the subject."""


def release(peer: BridgePeer, sizes: Sizes) -> Figures:
    """Release a session alone in its worker, then the same beside one that holds far more."""
    alone = _release_times(peer.bridge, sizes)
    others = fill(peer.bridge, "others", sizes.other_refs, sizes.chunk)
    beside = _release_times(peer.bridge, sizes)
    if len(others) != sizes.other_refs:
        raise ValueError("the other session lost its refs")
    _release_timed(peer.bridge, "others", len(others))
    return {"alone_ms": median(alone), "beside_ms": median(beside)}


def release_many(peer: BridgePeer, sizes: Sizes) -> Figures:
    """Release one very large session."""
    handles: list[Any] = []
    made_ms = elapsed_ms(
        lambda: handles.extend(fill(peer.bridge, "many", sizes.many_refs, sizes.chunk))
    )
    release_ms = _release_timed(peer.bridge, "many", len(handles))
    return {"release_ms": release_ms, "make_us": made_ms * 1e3 / len(handles)}


def fill(bridge: Any, session: str, count: int, chunk: int) -> list[Any]:
    """``count`` refs in ``session``, made ``chunk`` at a time; returns their handles."""
    handles: list[Any] = []
    with bridge.session(session, max_refs=ROOM * count):
        while len(handles) < count:
            handles += bridge.call("benchmarks.remote.leaves", min(chunk, count - len(handles)))
    return handles


def _release_times(bridge: Any, sizes: Sizes) -> list[float]:
    times = []
    for _ in range(sizes.repeats):
        # the handles stay alive over the release: it frees the objects, not their finalizers
        handles = fill(bridge, "one", sizes.session_refs, sizes.chunk)
        times.append(_release_timed(bridge, "one", len(handles)))
    return times


def _release_timed(bridge: Any, session: str, refs: int) -> float:
    """Milliseconds that the release takes; raises if it did not free exactly ``refs``."""
    # what was left over from making the refs is not the release's to collect
    gc.collect()
    released: list[Any] = []
    took_ms = elapsed_ms(lambda: released.append(bridge.release(session)))
    if released[0].refs != refs:
        raise ValueError(f"releasing {session!r} freed {released[0].refs} refs of {refs}")
    return took_ms
