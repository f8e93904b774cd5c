"""The worker process: the main thread serves the data channel, a thread serves control.

Its life hangs on its kernel's, in three layers, because each one fails somewhere: the end of the
stream (not seen while busy, nor while a forked sibling of the kernel holds the descriptor), a
thread that watches the kernel's pid (not while C code holds the GIL), and a lifeline, a pipe that
makes the operating system send SIGKILL to the whole process group when the kernel's end closes, be
it stopped or not. However it ends, it takes its process group with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from _socket import socket  # `socket.socket` adds nothing that is needed here, and takes 2 ms
from time import sleep

from ..errors import ProtocolError
from ..wire import own
from ..wire.channel import Channel
from ..wire.codec import pack
from ..wire.framing import Kind, pool
from ..wire.heads import DISPLAY_MARK
from ..wire.limits import PROTOCOL_VERSION
from ..wire.loading import plain
from ..wire.segments import abandon, attach
from ..wire.spinning import Spin
from . import hooks
from .asking import Asker, no_call
from .control import Control
from .dispatcher import Dispatcher, Host
from .environment import set_environment
from .idling import Idling
from .lines import Lines, flush
from .printing import LIVE, Printing
from .rest import Rest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from ..wire.framing import Frame
    from .asking import Callback
    from .serving import Serving

_PARENT_POLL = 0.5
"""Seconds between looks at the parent's pid where the system has no pidfd."""
_LONG = 0.02
"""Seconds after which a call may have kept the control thread from hearing what was said."""
_HEARING = 0.1
"""Seconds that it then gets at most; it needs well under a millisecond."""


def main(
    data_fd: int, control_fd: int, lifeline_fd: int, kernel_pid: int, segments: list[int]
) -> None:
    """Serve until the kernel says goodbye, or is gone.

    Args:
        data_fd: connected socket of the data channel.
        control_fd: connected socket of the control channel.
        lifeline_fd: read end of a pipe whose only write end the kernel holds.
        kernel_pid: the process to live for.
        segments: descriptors of shared memory: those that the kernel writes, then ours.
    """
    for fd in (data_fd, control_fd, lifeline_fd, *segments):
        os.set_inheritable(fd, False)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # what the kernel's thread blocked is its own
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # and so is this: else no exit code is known
    _tie_lifeline(lifeline_fd)
    threading.Thread(
        target=_watch_kernel, args=(kernel_pid,), name="bridge-kernel-watch", daemon=True
    ).start()
    data_socket = socket(fileno=data_fd)
    data = Channel(data_socket, Spin(data_socket))
    control = Channel(socket(fileno=control_fd))
    attach(data, segments, ours=1)
    Worker(data, control, lifeline_fd).run()


def _tie_lifeline(fd: int) -> None:
    import fcntl

    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpgrp())
    with contextlib.suppress(AttributeError, OSError):  # elsewhere it is SIGIO
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)  # which nothing blocks, not even SIGSTOP
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_ASYNC | os.O_NONBLOCK)


def _watch_kernel(pid: int) -> None:
    try:
        fd = os.pidfd_open(pid)
    except AttributeError:
        while os.getppid() == pid:
            sleep(_PARENT_POLL)
        die()
    except OSError:
        die()
    if os.getppid() == pid:  # else the pid may already be another process's
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.poll()
    die()


def _greeting() -> dict[str, Any]:
    python = list(sys.version_info[:3])
    return {"protocol_version": PROTOCOL_VERSION, "pid": os.getpid(), "python": python}


def die() -> NoReturn:
    """End this process and its whole group, now."""
    os.killpg(0, signal.SIGKILL)
    os._exit(1)  # not reached; for the type checker


class Worker(Host):
    """The process around a dispatcher."""

    in_process = False

    def __init__(self, data: Channel, control: Channel, lifeline_fd: int) -> None:
        self._data, self._control, self._lifeline = data, control, lifeline_fd
        self._forked = self._hearing = False
        self._main, self._rest = threading.get_ident(), Rest()
        self._pipes = (os.dup(1), os.dup(2))  # user code may redirect the descriptors themselves
        self._publishing, self._published = threading.Lock(), 0
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_out, False)
        self._idling = Idling(data, self.wake_clock)

    def run(self) -> None:
        """Read the configuration, then serve."""
        hello = self._data.read()
        if hello is None:
            die()
        config = plain.load(hello.body)
        self._prepare(config)
        self._dispatcher = Dispatcher(config, self)
        running = self._dispatcher.main.running
        self._printing = Printing(config["output_token"], running, self.wake_clock)
        self._printing.install()
        self._lines = Lines(self._data, self._control, self._dispatcher.types)
        self._answers = Control(self._dispatcher)
        hooks.install(self._dispatcher.publisher)
        self._asker = Asker(self._dispatcher, self._lines, self._take)
        os.register_at_fork(after_in_child=self._after_fork)
        with self._data.send_lock:
            self._data.send(Kind.HELLO, pack([0, None]), pack(_greeting()))
        threading.Thread(target=self._serve_control, name="bridge-control", daemon=True).start()
        self._serve_data()

    def _prepare(self, config: dict[str, Any]) -> None:
        """Install what is the kernel's: its path, directory and memory limit."""
        signal.signal(signal.SIGINT, _ignore)
        limit = config.get("memory_limit")
        if limit is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
            pool.most = 0  # what is kept would count
        own.settle(sys.path)
        set_environment(config["cwd"], config["path"])

    # ------------------------------------------------------------ data channel
    def _serve_data(self) -> None:
        data = self._data
        serving = self._dispatcher.main
        try:
            while True:
                serving.running.take_signal()
                frame = self._asker.postponed() or data.read()
                if frame is None:
                    die()
                if frame.kind == Kind.GOODBYE:
                    return
                if frame.kind == Kind.ANSWER:
                    self._asker.heard(frame)  # too late: the call that asked was stopped meanwhile
                else:
                    self._take(frame, serving)
                frame = None
        except (OSError, ProtocolError) as error:
            if self._forked:
                self._leave_child()
            sys.stderr.write(f"bridge worker: the data channel broke: {error}\n")
            die()

    def _take(self, frame: Frame, serving: Serving) -> None:
        """Serve one frame of the data channel, and send its reply."""
        begun = time.monotonic()
        answer = serving.handle(frame)
        if self._forked:
            self._leave_child()
        if answer is None:
            return
        flush()
        call_id, body, buffers = answer
        self._lines.send_data(Kind.REPLY, [call_id], body, buffers)
        if self._rest.missing:
            self._rest.look(self._data.socket.fileno())
        if time.monotonic() - begun > _LONG:
            self._let_control_hear()

    def _let_control_hear(self) -> None:
        """After a call that may have kept the GIL: what came on control meanwhile is heard now.

        Else a call that was cancelled then would begin before that is known.
        """
        poll = select.poll()
        poll.register(self._control.socket.fileno(), select.POLLIN)
        end = time.monotonic() + _HEARING
        while (poll.poll(0) or self._hearing) and time.monotonic() < end:
            sleep(0.0002)  # lets go of the GIL

    # ------------------------------------------------------------ control channel
    def _serve_control(self) -> None:
        try:
            while True:
                frame = self._control.buffered()
                if frame is None:
                    self._hearing = False
                    self._wait_control()
                    self._hearing = True
                    frame = self._control.read()
                if frame is None:
                    die()
                if frame.kind == Kind.ANSWER or frame.kind == Kind.NESTED:
                    self._asker.heard(frame)
                    continue
                head, body = self._answers.answer(frame)
                with self._control.send_lock:
                    self._control.send(Kind.REPLY, head, body)
        except (OSError, ProtocolError) as error:
            sys.stderr.write(f"bridge worker: the control channel broke: {error}\n")
            die()

    def _wait_control(self) -> None:
        """Wait for a control frame; meanwhile end what has expired."""
        sock = self._control.socket
        while True:
            shared, now = self._dispatcher, time.monotonic()
            due = shared.store.next_timer()
            waits = (
                None if due is None else max(0.0, due - now),
                LIVE if self._printing.pending else None,
                self._idling.turn(now, shared.calls, shared.busy is not None),
                shared.remind(now),
            )
            timeout = min((wait for wait in waits if wait is not None), default=None)
            readable, _, _ = select.select([sock.fileno(), self._wake_in], [], [], timeout)
            if self._wake_in in readable:
                os.read(self._wake_in, 4096)
            shared.store.expire()
            self._printing.show_pending()
            if sock.fileno() in readable:
                return

    def freed(self, refs: int, nbytes: int) -> None:
        """Note it; the control thread gives it back once nothing runs."""
        self._idling.freed(refs, nbytes)

    def announce(self, event: str, details: list[Any]) -> None:
        """Send a notice on the control channel."""
        with self._control.send_lock:
            self._control.send(Kind.NOTICE, pack([event]), pack(details))

    def mark_output(self, call_id: int) -> None:
        """Write a mark into both pipes, behind all that was written before."""
        with self._printing.lock:
            self._mark(call_id)
            self._printing.strayed = False

    def _mark(self, number: int) -> None:
        flush()
        mark = self._printing.mark(number)
        for fd in self._pipes:
            os.write(fd, mark)

    def begin_output(self, call_id: int) -> None:
        """A call begins that no mark was asked for."""
        if self._printing.strayed:
            self.mark_output(call_id)

    def publish(self, message: list[Any]) -> None:
        """Send what user code shows, at its place between the text; from whatever thread."""
        if self._forked:  # the channel is the parent's, and the output is shared
            from .publishing import print_plain

            print_plain(message)
            return
        running = self._dispatcher.main.running
        window = running.window and threading.get_ident() == self._main
        if window:
            running.window = False  # a cancel would leave half a frame
        try:
            self._show(pack(message))
        finally:
            if window:
                running.open()

    def _show(self, body: bytes) -> None:
        with self._publishing:
            self._published += 1
            with self._printing.lock:
                self._mark(DISPLAY_MARK | self._published)
            head = pack(["display", self._printing.owner(), self._published])
            with self._data.send_lock:
                self._data.send(Kind.NOTICE, head, body)

    def ask(self, callback: Callback, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run a callback in the kernel, from whatever thread."""
        if self._forked:
            raise no_call(callback)
        return self._asker.ask(callback, args, kwargs)

    def wake_main(self) -> None:
        """A real signal, so that what sleeps in the main thread wakes."""
        signal.pthread_kill(self._main, signal.SIGINT)

    def wake_clock(self) -> None:
        """Make the control thread look at the clock."""
        with contextlib.suppress(BlockingIOError):  # it is full of wakes already
            os.write(self._wake_out, b"w")

    # ------------------------------------------------------------ fork
    def _after_fork(self) -> None:
        """In a forked child of the worker: its channels belong to the parent."""
        self._forked = True
        self._printing.forked()
        abandon(self._data)
        self._data.close()
        self._control.close()
        for fd in (self._lifeline, self._wake_in, self._wake_out, *self._pipes):
            os.close(fd)

    def _leave_child(self) -> NoReturn:
        """User code forked and came back here in the child: that is where the child ends."""
        flush()
        os._exit(0)


def _ignore(signum: int, frame: Any) -> None:
    """A stray SIGINT: interrupts reach a worker through its kernel only."""
