"""Opening a kernel's pickles; imported with the first of them."""

from __future__ import annotations

import pickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Unpickler(pickle.Unpickler):
    """An unpickler whose persistent ids are refs and modules."""

    def __init__(self, file: Any, buffers: Any, persistent: Any) -> None:
        super().__init__(file, buffers=buffers)
        self._persistent = persistent

    def persistent_load(self, pid: Any) -> Any:
        """What stands for a persistent id."""
        return self._persistent(pid)
