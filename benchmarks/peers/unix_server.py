"""A server process of a peer, listening on a Unix socket in a directory of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
START_S = 20.0
STOP_S = 5.0


class UnixServer:
    """Runs ``serve(path)`` of the module ``module``, both importable, until it is stopped."""

    def __init__(self, module: str) -> None:
        self.directory = tempfile.mkdtemp(prefix="peer-")
        self.path = f"{self.directory}/s"
        code = f"from {module} import serve; serve({self.path!r})"
        self.process = subprocess.Popen([sys.executable, "-c", code])

    def connect(self, attempt: Callable[[str], T], not_yet: type[Exception]) -> T:
        """The first result of ``attempt(path)`` that does not raise ``not_yet``.

        Raises TimeoutError if there is none within ``START_S``.
        """
        end = time.monotonic() + START_S
        while True:
            try:
                return attempt(self.path)
            except not_yet as error:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise TimeoutError(f"no server at {self.path}") from error
            time.sleep(0.001)

    def stop(self) -> None:
        """End the process and remove the directory."""
        self.process.terminate()
        self.process.wait(STOP_S)
        shutil.rmtree(self.directory, ignore_errors=True)
