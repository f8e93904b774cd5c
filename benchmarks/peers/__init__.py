"""All that is measured, by name; each in a module of its own.

Importing a peer's module does not import the peer's library: that is timed, in ``load``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.peers.base import Subject

OURS = "bridge"
FLOOR = "msgpack"
MEMCPY = "memcpy"
FLOORS = ("socket", FLOOR, MEMCPY)
BEST = "best peer"
"""Stands for whichever peer is best at a metric."""

# in the order they run: what ours is compared with runs next to it
SUBJECTS = {
    "socket": "benchmarks.floor:Socket",
    "msgpack": "benchmarks.floor:SocketMsgpack",
    MEMCPY: "benchmarks.large:Memcpy",
    "bridge": "benchmarks.peers.bridge:BridgePeer",
    "managers": "benchmarks.peers.managers:Managers",
    "notebook": "benchmarks.notebook:Notebook",
    "rpyc": "benchmarks.peers.rpyc:Rpyc",
    "pyro5": "benchmarks.peers.pyro5:Pyro5",
    "pool": "benchmarks.peers.pool:Pool",
    "loky": "benchmarks.peers.pool:Loky",
    "ipyparallel": "benchmarks.peers.ipyparallel:IPyParallel",
    "dask": "benchmarks.peers.dask:Dask",
    "ray": "benchmarks.peers.ray:Ray",
}


def load(name: str) -> type[Subject]:
    """The class of the subject ``name``."""
    module, _, attribute = SUBJECTS[name].partition(":")
    found: type[Subject] = getattr(import_module(module), attribute)
    return found
