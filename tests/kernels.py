"""A real kernel for tests: every wait has a deadline, every message is filed with its cell."""

from __future__ import annotations

import ast
import contextlib
import os
import queue
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
from conftest import eventually
from jupyter_client.manager import KernelManager
from jupyter_core.utils import ensure_event_loop

import bridge_ext

ensure_event_loop()  # the one that jupyter_client would make, and keep, within the first test

PATIENCE = 20.0
"""Seconds that a kernel may take to start, or a cell to run."""
ROOT = str(Path(bridge_ext.__file__).parent.parent)
TRACKED = '''
"""What the tests call in the worker; it speaks to them through files in its directory."""

import ctypes
import os
import subprocess
import sys
import time

alive = []


class Thing:
    """Says when it is made and when it is freed."""

    def __init__(self, name):
        self.name = name
        alive.append(name)

    def __del__(self):
        alive.remove(self.name)
        touch(f"freed-{self.name}")


def touch(name):
    with open(name, "w"):
        pass


def wait_for(name, seconds=20):
    end = time.monotonic() + seconds
    while not os.path.exists(name):
        if time.monotonic() > end:
            raise TimeoutError(name)
        time.sleep(0.005)


def meet(mine, other):
    touch(mine)
    wait_for(other)
    return mine


def block(started):
    touch(started)
    time.sleep(60)


def loop(started):
    touch(started)
    while True:
        pass


def hold_gil(started):
    touch(started)
    ctypes.PyDLL(None).sleep(60)


def child(seconds=60):
    process = subprocess.Popen(["sleep", str(seconds)])
    alive.append(process)
    return process.pid


def shout(text, stream="stdout"):
    getattr(sys, stream).write(text)


def write(descriptor, data):
    os.write(descriptor, data)


def fail(text="from the worker"):
    raise ValueError(text)
'''


def plain(text):
    """Text without terminal colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def gone(pid):
    """Whether a process has ended; one that waits to be reaped by others has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def all_gone(*pids, within):
    """Wait until all of these processes have ended; how many seconds it took."""
    start = time.monotonic()
    eventually(lambda: all(map(gone, pids)), f"the end of {pids}", within)
    return time.monotonic() - start


HISTORY = re.compile(r"ERROR! Session/line number was not unique in database\..*?\n\n?")
"""What IPython 8 says of its own history when two subshells store a cell at once."""


class Cell:
    """One execution of a cell, and what it has brought so far.

    Attributes:
        reply: the content of the execute reply, or None.
        results: MIME bundles of execute results; displays: of display data.
        messages: what was shown, in order: `(kind, content)`.
        error: the content of the error output, or None.
    """

    def __init__(self, code):
        self.code = code
        self.reply = None
        self.idle = False
        self.stdout = self.stderr = ""
        self.results, self.displays = [], []
        self.messages = []
        self.error = None

    @property
    def done(self):
        return self.idle and self.reply is not None

    @property
    def status(self):
        return self.reply["status"]

    @property
    def count(self):
        """The execution count."""
        return self.reply["execution_count"]

    @property
    def result(self):
        """The one execute result."""
        (bundle,) = self.results
        return bundle

    @property
    def traceback(self):
        return plain("\n".join(self.error["traceback"]))

    @property
    def told(self):
        """Everything that the user reads in an error: the traceback and what went to stderr."""
        return self.traceback + "\n" + plain(self.stderr)

    def take(self, kind, content):
        if kind not in ("status", "execute_input"):
            self.messages.append((kind, content))
        if kind == "stream":
            text = HISTORY.sub("", content["text"])
            setattr(self, content["name"], getattr(self, content["name"]) + text)
        elif kind == "execute_result":
            self.results.append(content["data"])
        elif kind == "display_data":
            self.displays.append(content["data"])
        elif kind == "error":
            self.error = content
        elif kind == "status" and content["execution_state"] == "idle":
            self.idle = True

    def __repr__(self):
        shown = self.stdout, self.stderr, self.results, self.displays
        error = self.error and (self.error["ename"], self.error["evalue"])
        return (
            f"<{self.code!r:.500}: {self.reply and self.status}, {shown!r:.1000}, {error!r:.500}>"
        )


class Kernel:
    """A Jupyter kernel in a directory of its own, which holds the module `tracked`.

    It has this process's environment, and what is given.
    """

    def __init__(self, directory, **environment):
        self.directory = directory
        (directory / "tracked.py").write_text(TRACKED)
        self._cells = {}
        self.comms = []
        path = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))
        own = {"PYTHONPATH": path, "IPYTHONDIR": str(directory / "ip")}
        self._environment = {**os.environ, **own, **environment}
        self._start()

    def _start(self):
        self.manager = KernelManager()
        self.manager.start_kernel(
            cwd=str(self.directory),
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._connect()
        except BaseException:
            self.manager.shutdown_kernel(now=True)
            raise

    def _connect(self):
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)

    @property
    def pid(self):
        return self.manager.provisioner.pid

    # ------------------------------------------------------------ cells
    def send(self, code, *, subshell=None, store_history=True, user_expressions=None, cell_id=None):
        """Start a cell; `wait` waits for it."""
        content = {
            "code": code,
            "silent": False,
            "store_history": store_history,
            "user_expressions": user_expressions or {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        message = self.client.session.msg("execute_request", content)
        if cell_id is not None:
            message["metadata"]["cellId"] = cell_id
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        cell = self._cells[message["header"]["msg_id"]] = Cell(code)
        self.client.shell_channel.send(message)
        return cell

    def wait(self, cell, seconds=PATIENCE):
        """Wait until a cell has ended."""
        self._read_until(lambda: cell.done, f"the end of {cell.code!r}", seconds)
        return cell

    def watch(self, true, what, seconds=PATIENCE):
        """Read what cells bring until something is true of it."""
        self._read_until(true, what, seconds)

    def execute(self, code, *, seconds=PATIENCE, **options):
        """Run a cell, however it ends."""
        return self.wait(self.send(code, **options), seconds)

    def run(self, code, **options):
        """Run a cell that must succeed."""
        cell = self.execute(code, **options)
        assert cell.status == "ok", cell
        return cell

    def fail(self, code, **options):
        """Run a cell that must fail; both the reply and an error output must say so."""
        cell = self.execute(code, **options)
        assert cell.status == "error", cell
        assert cell.error is not None, cell
        return cell

    def get(self, expression, **options):
        """The value of an expression, which is plain data; it stays out of the history."""
        return ast.literal_eval(self.run(f"print(repr({expression}))", **options).stdout)

    def _read_until(self, true, what, seconds):
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                late = [cell for cell in self._cells.values() if not cell.done]
                raise AssertionError(f"{what} did not come within {seconds} s: {late}")
            self._read(self.client.shell_channel, 0)
            self._read(self.client.iopub_channel, 0.02)

    def _read(self, channel, timeout):
        try:
            message = channel.get_msg(timeout=timeout)
        except queue.Empty:
            return
        if message["msg_type"].startswith("comm_"):
            self.comms.append(message)
        cell = self._cells.get(message["parent_header"].get("msg_id"))
        if cell is None:
            return
        if message["msg_type"] == "execute_reply":
            cell.reply = message["content"]
        else:
            cell.take(message["msg_type"], message["content"])

    # ------------------------------------------------------------ more than cells
    def subshell(self):
        """Make a subshell; its id."""
        self.client.control_channel.send(self.client.session.msg("create_subshell_request", {}))
        reply = self.client.get_control_msg(timeout=PATIENCE)["content"]
        assert reply["status"] == "ok", reply
        return reply["subshell_id"]

    def ask(self, kind, code):
        """A complete or inspect request at the end of a line; the content of its reply."""
        content = {"code": code, "cursor_pos": len(code)}
        if kind == "inspect":
            content["detail_level"] = 0
        message = self.client.session.msg(f"{kind}_request", content)
        self.client.shell_channel.send(message)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            reply = self.client.get_shell_msg(timeout=PATIENCE)
            if reply["parent_header"]["msg_id"] == message["header"]["msg_id"]:
                return reply["content"]
        raise AssertionError(f"no answer to {kind} of {code!r}")

    def send_comm(self, target):
        """Open a comm, as a widget's message would."""
        content = {"comm_id": "of-a-test", "target_name": target, "data": {}}
        self.client.shell_channel.send(self.client.session.msg("comm_open", content))

    def send_custom(self, comm_id, message, *, subshell=None):
        """What a widget's front end sends for one thing that its user does."""
        content = {"comm_id": comm_id, "data": {"method": "custom", "content": message}}
        whole = self.client.session.msg("comm_msg", content)
        if subshell is not None:
            whole["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(whole)

    def file(self, name):
        """Whether the worker has touched a file."""
        return (self.directory / name).exists()

    def until(self, true, what, seconds=PATIENCE):
        """Wait until something is true outside of the messages; its value."""
        return eventually(true, what, seconds)

    def until_file(self, name, seconds=PATIENCE):
        self.until(lambda: self.file(name), name, seconds)

    def touch(self, name):
        (self.directory / name).touch()

    # ------------------------------------------------------------ life
    def interrupt(self):
        self.manager.interrupt_kernel()

    def restart(self):
        """Restart; seconds until the old kernel had ended and the new one was started."""
        self.client.stop_channels()
        start = time.monotonic()
        self.manager.restart_kernel(env=self._environment)
        took = time.monotonic() - start
        self._connect()
        return took

    def shutdown(self):
        """Shut down as a frontend does; how many seconds it took."""
        start = time.monotonic()
        self.manager.shutdown_kernel()
        return time.monotonic() - start

    def kill(self, number=signal.SIGKILL):
        """A signal to the kernel alone."""
        os.kill(self.pid, number)

    def close(self):
        """End it, whatever state it is in."""
        self.client.stop_channels()
        with contextlib.suppress(ProcessLookupError):
            self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()
