"""What an object weighs, by a walk that runs none of the user's code.

A walk reads types through `type`'s own descriptors, containers through the methods of the builtin
type that they are or derive from, and the attributes of an instance through the collector, which
knows what an object refers to. Numbers and ids are all that is left of it.

Bytes are of two kinds. Those of a *block* may be shared by objects that know nothing of each other
(an array and its views), so a block is counted once, by its key. All others are an object's *own*.
"""

from __future__ import annotations

import sys
import time

from .libraries import SAMPLES
from .parts import ATOMS, SIMPLE, rule_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .introspect import Facts

    Rule = Callable[["Walk", Any, float, int], None]

MOST = 2000
"""Objects that a walk looks at: with 64 samples on each of two levels it is at home in 1 ms."""
_EVERY = 16
"""Objects between looks at the clock, which costs as much as one of them."""
_SHARE = 12
"""Objects that each of many parts may look at, at least: enough to come to the bottom of one."""
_SHARED = 8
"""References to a sampled object from which on it is taken for one that many places share.

An object that most places hold counts once that way.
"""
_DEEPEST = 40
"""Levels of one descent; what is deeper is looked at after all else. A level is three frames."""
_OF_WALK = 6
"""References to an object that are the walk's own."""
_ORDER = (0, 4, 2, 6, 1, 5, 3, 7)
"""Samples are looked at every eighth first, so that the first few of them are spread as well."""


class Size:
    """What an object weighs.

    Attributes:
        nbytes: it and what it holds, as people mean it: of an array the bytes of its items.
        estimated: whether it was sampled, or not all of it was seen.
        buffers: `(key, nbytes)` of each block of memory that it keeps alive and others may share.
        own: the part of `nbytes` that is in none of the buffers.
    """

    __slots__ = ("buffers", "estimated", "nbytes", "own")

    def __init__(
        self,
        nbytes: int,
        estimated: bool = False,
        buffers: tuple[tuple[int, int], ...] = (),
        own: int | None = None,
    ) -> None:
        self.nbytes, self.estimated, self.buffers = nbytes, estimated, buffers
        self.own = max(0, nbytes - sum(n for _, n in buffers)) if own is None else own

    @property
    def retained(self) -> int:
        """Bytes that would be free without it, if nothing else had a part in its buffers."""
        return self.own + sum(nbytes for _, nbytes in self.buffers)

    def __repr__(self) -> str:
        about = "~" if self.estimated else ""
        return f"Size({about}{self.nbytes:,}, own {self.own:,}, retained {self.retained:,})"


def measure(obj: Any, facts: Facts, budget_seconds: float = 0.002) -> Size:
    """Weigh an object. It runs none of the user's code, and raises nothing.

    Args:
        obj: may be changed by other threads meanwhile.
        facts: what `introspect.facts` says of it, for want of anything better.
        budget_seconds: after about this the walk ends, and what was not seen is estimated. What
            one call into a library takes is beside it.
    """
    walk = Walk(budget_seconds)
    try:
        walk.run(obj)
        if not walk.failed:
            return walk.size()
    except Exception:
        pass  # nothing of an object is worth a result that does not arrive
    return Size(facts[2] or 0, True)


class Walk:
    """One look at an object and what it holds.

    Rules for types add what they find: `rule(walk, obj, weight, floor)`. The weight says how many
    objects like this one it stands for, a sample of so many; the floor, how many objects must be
    left to look at when the rule is done.

    Attributes:
        own: bytes so far that are in no block.
        blocks: by key `[bytes seen of it, its size, bytes of others like it that own holds]`.
        estimated: whether something was sampled or left out.
        failed: whether what is weighed could not be looked at itself.
        left: objects still to be looked at.
        seen: ids of those that were.
        late: whether the time is up: then only what is at hand is looked at.
    """

    def __init__(self, budget_seconds: float) -> None:
        self.own = 0.0
        self.blocks: dict[int, list[float]] = {}
        self.estimated = False
        self.failed = False
        self.left = MOST
        self.seen: set[int] = set()
        self.late = False
        self._budget = budget_seconds
        self._deadline: float | None = None
        self._look = MOST - _EVERY
        self._root = 0
        self._depth = 0
        self._later: list[tuple[Any, float]] = []
        self._rules: dict[int, Rule] = {}

    def run(self, obj: Any) -> None:
        """Look at an object and all it holds, as far as the budget goes."""
        self._root = id(obj)
        self.visit(obj, 1.0, 0)
        while self._later and self.left > 0 and not self.late:
            self._depth = 0
            self.visit(*self._later.pop(), 0)
        if self._later:
            self.estimated = True

    def size(self) -> Size:
        """What the walk has found."""
        own = round(self.own)
        within = sum(min(seen, size) for seen, size, _ in self.blocks.values())
        blocks = tuple((key, int(block[1])) for key, block in self.blocks.items())
        return Size(own + round(within), self.estimated, blocks, own)

    # ------------------------------------------------------------ what rules use
    def add(self, nbytes: float, weight: float) -> None:
        """Count bytes that are the object's own."""
        self.own += weight * nbytes

    def block(self, key: int, size: int, seen: float, weight: float) -> None:
        """Count a block that is kept alive, and how many bytes of it the object shows.

        A block that no two samples share stands for others like it, which can have no key: their
        bytes are `own`.
        """
        block = self.blocks.get(key)
        if block is None:
            others = (weight - 1) * seen
            self.own += others
            self.blocks[key] = [seen, size, others]
            return
        self.own -= block[2]
        block[0] += block[2] + weight * seen
        block[1] = max(block[1], size)
        block[2] = 0

    def inner(self, obj: Any) -> bool:
        """Whether an object is a part of the one that is weighed."""
        return id(obj) != self._root

    def held(self, look: Callable[[], None]) -> float:
        """The own bytes that a look finds, which are then not counted as such."""
        before = self.own
        look()
        held, self.own = self.own - before, before
        return held

    def visit(self, obj: Any, weight: float, floor: int) -> None:
        """Look at an object, unless that was done."""
        key = id(obj)
        if key in self.seen:
            return
        if self._depth == _DEEPEST:
            self._later.append((obj, weight))
            return
        self.seen.add(key)
        self.left -= 1
        if weight > 1:
            weight = _distinct(obj, weight)
        t = type(obj)
        sizer = ATOMS.get(id(t))  # by id: a metaclass may have a hash of the user's
        if sizer is not None:
            self.own += weight * sizer(obj)
            return
        if self.left < self._look:
            self._look_at_clock()
        self._depth += 1
        try:
            self.rule(t)(self, obj, weight, floor)
        except Exception:  # changed by another thread, or a library with other insides
            self.estimated = True
            self.failed = self.failed or not self.inner(obj)
        finally:
            self._depth -= 1

    def _look_at_clock(self) -> None:
        """It is the thread's own: one that others keep from running has not looked at anything."""
        self._look = self.left - _EVERY
        now = time.thread_time()
        if self._deadline is None:  # most walks end before: they do not pay for the clock
            self._deadline = now + self._budget
        elif now > self._deadline:
            self.late = True

    def rule(self, t: type) -> Rule:
        """The rule for the instances of a type."""
        rule = self._rules.get(id(t))
        if rule is None:
            rule = self._rules[id(t)] = rule_of(t)
        return rule

    # ------------------------------------------------------------ parts of an object
    def atoms(self, parts: Sequence[Any], weight: float) -> bool:
        """Count parts, each once, if all are of one simple type; whether they are."""
        kinds = {id(t) for t in map(type, parts)}
        if len(kinds) != 1:
            return False
        sizer = ATOMS.get(kinds.pop())
        if sizer is None:
            return False
        self.own += weight * sum(map(sizer, dict(zip(map(id, parts), parts, strict=True)).values()))
        return True

    def whole(self, parts: Sequence[Any], weight: float, floor: int) -> None:
        """Look at all of a few parts, the simple ones first."""
        deep = []
        for part in parts:
            t = type(part)
            if id(t) in ATOMS or self.rule(t) in SIMPLE:
                self.visit(part, weight, floor)
            else:
                deep.append(part)
        self._each(deep, weight, floor)

    def places(self, count: int, floor: int) -> range:
        """Where to sample `count` parts: evenly spread, as many as can be looked at."""
        return range(0, count, -(-count // min(SAMPLES, max(_SHARE, self.left - floor))))

    def sampled(self, sample: Sequence[Any], count: int, weight: float, floor: int) -> None:
        """Look at a sample of `count` parts, evenly spread, and take it for all."""
        self.estimated = True
        scale = count / len(sample)
        parts = [part for first in _ORDER for part in sample[first::8]]
        self._each(parts, weight * scale, floor)

    def _each(self, parts: list[Any], weight: float, floor: int) -> None:
        """Look at parts, each with its share of what is left.

        Those not reached are taken to be as the others.
        """
        before, count = self.own, len(parts)
        for done, part in enumerate(parts):
            if self.left <= floor or (self.late and id(type(part)) not in ATOMS):
                self.estimated = True
                if done:
                    self.own += (self.own - before) * (count / done - 1)
                return
            share = max(_SHARE, (self.left - floor) // (count - done))
            self.visit(part, weight, max(floor, self.left - share))


def _distinct(obj: Any, weight: float) -> float:
    """How many objects one of so many stands for, when others have as many references as it."""
    references = sys.getrefcount(obj) - _OF_WALK
    return weight if references < _SHARED else max(1.0, weight / references)
