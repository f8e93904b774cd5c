"""A worker process: how it is started, watched and ended.

It is started with a bootstrap that keeps the working directory off `sys.path` until all of ours is
imported, so that a `types.py` or `msgpack.py` beside the notebook hurts nobody. It has a session
of its own, so that a signal to the kernel's process group does not reach it and an exited worker
never delays the kernel's shutdown. It is buried only after its group was killed: until then its
pid, which is also its group's id, cannot be another's.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from importlib.machinery import PathFinder

from ..wire.own import search_path
from ..wire.segments import create
from .base import Deadline, Death

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeVar

    T = TypeVar("T", int, socket.socket)

_BOOT = (
    "import sys; sys.path += [p for p in {roots!r} if p not in sys.path]; "
    "from bridge_ext.kernel.worker.main import main; main{args!r}"
)
_DROPPED = ("MPLBACKEND",)
_DROPPED_PREFIX = "JPY_"
_NAP = 0.02
"""Seconds between looks at a process where the system has no pidfd."""


def roots() -> list[str]:
    """The directories that hold the packages a worker is made of."""
    files = [os.path.dirname(os.path.dirname(os.path.dirname(__file__)))]
    for name in ("msgpack", "cloudpickle"):
        spec = PathFinder.find_spec(name, search_path())
        if spec is not None and spec.origin is not None:
            files.append(os.path.dirname(spec.origin))
    return [os.path.dirname(os.path.abspath(f)) for f in dict.fromkeys(files)]


def environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    """The worker's environment: this process's, less what ipykernel adds for itself."""
    env = {
        k: v
        for k, v in os.environ.items()
        if k not in _DROPPED and not k.startswith(_DROPPED_PREFIX)
    }
    env["MPLBACKEND"] = "Agg"
    env.update(extra or {})
    return env


class WorkerProcess:
    """One worker process with its descriptors on our side.

    Attributes:
        data, control: connected sockets.
        segments: descriptors of shared memory: those that we write, then the worker's.
        out, err: read ends of its stdout and stderr, not blocking.
        why: what to call its death, if the signal is not the whole story.
    """

    def __init__(self, env: Mapping[str, str] | None) -> None:
        with ExitStack() as undo, ExitStack() as theirs:
            _take_standard(theirs)
            self.data, data = _ends(socket.socketpair(), undo, theirs)
            self.control, control = _ends(socket.socketpair(), undo, theirs)
            self._lifeline, lifeline = _ends(os.pipe()[::-1], undo, theirs)
            self.out, out = _ends(os.pipe(), undo, theirs)
            self.err, err = _ends(os.pipe(), undo, theirs)
            self.segments = create()
            for segment in self.segments:
                undo.callback(os.close, segment)
            fds = (data.fileno(), control.fileno(), lifeline)
            self._popen = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-c",
                    _BOOT.format(roots=roots(), args=(*fds, os.getpid(), self.segments)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=(*fds, *self.segments),
                start_new_session=True,
                env=environment(env),
            )
            undo.pop_all()
        self.pid = self._popen.pid
        self._lock = threading.Lock()
        self._freed = self._missed = False
        self.why = ""
        self.death: Death | None = None
        self.pidfd = _pidfd(self.pid)
        for fd in (self.out, self.err):
            os.set_blocking(fd, False)
            _widen(fd)

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, error: object, *more: object) -> None:
        """End it if the block, which was to serve it, has failed."""
        if error is not None:
            self.kill()
            self.bury()
            self.close()

    def wait(self, deadline: Deadline, at_most: float) -> bool:
        """Wait until the process has exited (it is not buried by that)."""
        if self.death is not None:
            return True
        if self.pidfd is not None:
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            return bool(poll.poll(deadline.left(at_most) * 1000))
        end = Deadline(deadline.left(at_most))
        nap = threading.Event()
        while True:
            flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
            try:
                if os.waitid(os.P_PID, self.pid, flags) is not None:
                    return True
            except ChildProcessError:
                return True
            if end.passed:
                return False
            nap.wait(_NAP)

    def bury(self) -> Death:
        """After its exit: end what is left of its group, reap it, and say how it died."""
        with self._lock:
            if self.death is None:
                self._kill_group()
                self.death = Death(self.why or self._reap())
            return self.death

    def _reap(self) -> str:
        """Wait for its end; how it was. Its group was killed before."""
        code = self._popen.wait()
        if self._missed:
            return "has ended (how is unknown: SIGCHLD is ignored here, or others waited for it)"
        return _how(code)

    def _look_for(self) -> None:
        """Note whether it was waited for by others: then Popen would say that it exited with 0."""
        if self._popen.returncode is None and hasattr(os, "waitid"):
            try:
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            except ChildProcessError:
                self._missed = True

    def kill(self) -> None:
        """End the process and its group now."""
        with self._lock:
            if self.death is None:
                self._kill_group()

    def _kill_group(self) -> None:
        if self._freed:
            return  # it is not ours any more, or never was: this is a forked child
        self._look_for()
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # nothing is left of it
        if self._popen.returncode is None:
            self._popen.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Give the descriptors back, once; the process is buried."""
        with self._lock:
            freed, self._freed = self._freed, True
        if not freed:
            self._close()

    def abandon(self) -> None:
        """In a forked child of this process, which is not the worker's parent: close its copies."""
        if not self._freed:
            self._freed = True
            self._popen.returncode = 0  # there is nothing to wait for
            self._close()

    def _close(self) -> None:
        self.data.close()
        self.control.close()
        fds = [self._lifeline, self.out, self.err, *self.segments]
        if self.pidfd is not None:
            fds.append(self.pidfd)
        for fd in fds:
            os.close(fd)


def _take_standard(until: ExitStack) -> None:
    """Take the numbers 0 to 2 if they are free: a new process gets its own streams there."""
    while (fd := os.open(os.devnull, os.O_RDONLY)) <= 2:
        until.callback(os.close, fd)
    os.close(fd)


def _ends(pair: tuple[T, T], undo: ExitStack, theirs: ExitStack) -> tuple[T, T]:
    """Our end and the worker's, which are closed if it does not start, and in any case."""
    for end, stack in zip(pair, (undo, theirs), strict=True):
        stack.callback(os.close, end) if isinstance(end, int) else stack.callback(end.close)
    return pair


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _widen(fd: int) -> None:
    """Give a pipe room for 1 MiB, where the system lets us: fewer stops of a chatty worker."""
    try:
        import fcntl

        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 1 << 20)
    except (ImportError, AttributeError, OSError):
        pass


def _how(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "an unknown signal"
    return f"was ended by {name} (signal {-code})"
