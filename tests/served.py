"""A kernel that a real Jupyter server has started, as its user's browser would ask for it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

from conftest import eventually
from jupyter_client.blocking import BlockingKernelClient
from kernels import PATIENCE, Kernel, gone

TOKEN = "of-the-tests"


class ServedKernel(Kernel):
    """The same as a kernel by itself, but its parent is a server."""

    def _start(self):
        self._runtime = self.directory / "runtime"
        own = {"JUPYTER_RUNTIME_DIR": str(self._runtime), "JUPYTER_TOKEN": TOKEN}
        command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"]
        options = ["--ip=127.0.0.1", "--port=0", f"--ServerApp.root_dir={self.directory}"]
        self.server = subprocess.Popen(
            command + options,
            cwd=self.directory,
            env={**self._environment, **own},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._pid = None
        try:
            self._connect(eventually(self._ask_for_a_kernel, "a kernel of the server", PATIENCE))
        except BaseException:
            self.close()
            raise

    def _address(self):
        assert self.server.poll() is None, "the server has ended"
        for file in self._runtime.glob("jpserver-*.json"):
            with contextlib.suppress(ValueError):  # half written
                return json.loads(file.read_text())["url"]
        return None

    def _ask_for_a_kernel(self):
        url = self._address()
        if url is None:
            return None
        headers = {"Authorization": f"token {TOKEN}"}
        request = urllib.request.Request(f"{url}api/kernels", b"{}", headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                return json.loads(reply.read())["id"]
        except urllib.error.URLError as error:
            if isinstance(error.reason, ConnectionRefusedError):
                return None  # it says where it will listen before it does
            raise

    def _connect(self, kernel_id):
        file = self._runtime / f"kernel-{kernel_id}.json"
        self.client = BlockingKernelClient(connection_file=str(file))
        self.client.load_connection_file()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)
        self._pid = self.get("__import__('os').getpid()")

    @property
    def pid(self):
        return self._pid

    def kill_server(self):
        """The end that a server has for want of memory, and that its kernels see a second later."""
        self.server.kill()
        self.server.wait()

    def close(self):
        if hasattr(self, "client"):
            self.client.stop_channels()
        if self._pid is not None and not gone(self._pid):
            os.kill(self._pid, signal.SIGKILL)
        self.kill_server()
