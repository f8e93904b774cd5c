"""What a type is and derives from, asked by identity: none of its metaclass's code runs.

`in`, a set and a dictionary ask a type for its hash, or whether it is equal, and a metaclass may
answer with code of the user's.
"""

from __future__ import annotations

import sys

from ..wire.naming import mro_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def ids(*types: type) -> frozenset[int]:
    """These types as a set to ask with `id(t) in …`; they must be kept alive elsewhere."""
    return frozenset(map(id, types))


def derives(t: type, base: Any) -> bool:
    """Whether a class is the type or among its bases."""
    return any(cls is base for cls in mro_of(t))


def classes(module: str, *names: str) -> list[Any]:
    """Classes of a library, as far as it is imported and has them."""
    found = sys.modules.get(module)
    space = found.__dict__ if type(found) is type(sys) else {}
    return [space[name] for name in names if name in space]


def one_of(t: type, module: str, *names: str) -> bool:
    """Whether a type is one of these classes of a library."""
    return any(t is cls for cls in classes(module, *names))
