"""What a kernel and its worker have, and what of it is left after their end."""

from __future__ import annotations

import os
import select
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

MARK = "BRIDGE_EXT_TEST_KERNEL"
"""A variable that a kernel is started with: all that it starts has it too, in whatever group."""
SHARED = Path("/dev/shm")


def marked(mark):
    """The pids of living processes that have a kernel's mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended, or is another user's
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                found.add(int(process.name))
    return found


def open_files(pid):
    """What a process has open that has an identity: pipes, sockets, shared memory, files."""
    found = {}
    for number in _numbers(pid):
        path = f"/proc/{pid}/fd/{number}"
        with suppress(OSError):
            name = os.readlink(path)
            if not name.startswith(("anon_inode:", "/dev/")):
                status = os.stat(path)
                found[status.st_dev, status.st_ino] = name
    return found


def descriptors(pid):
    """How many descriptors a process has."""
    return len(_numbers(pid))


def _numbers(pid):
    try:
        return os.listdir(f"/proc/{pid}/fd")
    except OSError:  # it ended, or is another user's
        return []


def mapped_memory(pid):
    """The shared memory without a name that a process has mapped, by inode."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return set()
    return {int(line.split()[4]) for line in lines if "/memfd:" in line}


def files_below(*folders):
    """All files, but for bytecode."""
    found = {path for folder in folders for path in folder.rglob("*")}
    return {path for path in found if "__pycache__" not in path.parts}


def abandoned_in_shared_memory():
    """Files there that no process holds."""
    held = {name for pid in _pids() for name in open_files(pid).values()}
    return {path for path in SHARED.glob("*") if str(path) not in held}


def _pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


class Exits:
    """Notes when each of some processes ends. A context manager."""

    def __init__(self, pids):
        self.at = {}
        self._stack = ExitStack()
        self._fds = {}
        for pid in pids:
            with suppress(ProcessLookupError):
                self._fds[os.pidfd_open(pid)] = pid
        for fd in self._fds:
            self._stack.callback(os.close, fd)
        self._quit, self._end = os.pipe()
        for fd in (self._quit, self._end):
            self._stack.callback(os.close, fd)
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        os.write(self._end, b"x")
        self._thread.join()
        self._stack.close()

    def _watch(self):
        poll = select.poll()
        for fd in (self._quit, *self._fds):
            poll.register(fd, select.POLLIN)
        while True:
            now_ready = [fd for fd, _ in poll.poll()]
            now = time.monotonic()
            if self._quit in now_ready:
                return
            for fd in now_ready:
                self.at[self._fds[fd]] = now
                poll.unregister(fd)


class Remains:
    """What there is before the end of a kernel: to be asked afterwards what of it is left.

    Args:
        mark: the kernel's.
        folders: all places where it may write.
        theirs: names of files that the user's code makes there.
    """

    def __init__(self, mark, folders, theirs=()):
        self._mark, self._folders = mark, folders
        self._files = files_below(*folders) | {f / name for f in folders for name in theirs}
        self._shared = abandoned_in_shared_memory()
        self._inodes = {}
        self.pids = set()

    def note(self):
        """Take down which processes there are, and what they hold that others do not."""
        self.pids = marked(self._mark)
        self._inodes = {}
        for pid in self.pids:
            self._inodes.update(open_files(pid))
        for inode in open_files(os.getpid()):
            self._inodes.pop(inode, None)

    def left(self, but=()):
        """What is left: processes, what they held, files; `but` for processes that shall live."""
        found = [f"process {pid}" for pid in marked(self._mark) - set(but)]
        memory = {inode for (_, inode), name in self._inodes.items() if "memfd:" in name}
        for pid in _pids():
            if pid in but:
                continue
            held = open_files(pid)
            found += [f"{held[i]} in {pid}" for i in held.keys() & self._inodes.keys()]
            found += [f"memory {i} in {pid}" for i in memory & mapped_memory(pid)]
        found += [str(path) for path in files_below(*self._folders) - self._files]
        found += [str(path) for path in abandoned_in_shared_memory() - self._shared]
        return found
