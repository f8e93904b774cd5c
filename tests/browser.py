"""A real JupyterLab and Notebook 7 in a real Chromium: fixtures `lab`, `notebook`, `inspector`.

A test module asks for them with `pytest_plugins = ["browser"]`, marks its tests with `browser`,
and imports nothing from here. What a notebook can do is in `pages.py`, and what an inspector can
in `inspectors.py`. A notebook is opened in JupyterLab unless a test says where, by a key of
`apps.APPS`:

    @pytest.mark.parametrize("notebook", ["lab", "notebook 7"], indirect=True)
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from contextlib import ExitStack, contextmanager

import chromium
import psutil
import pytest
from apps import APPS, LAB
from conftest import ARTIFACTS, eventually
from inspectors import Inspector
from kernels import ROOT, TRACKED
from pages import PATIENCE, Notebook

TOKEN = "of-the-tests"
VIEW = {"width": 1200, "height": 1600}

# Nothing that asks the internet or pops up; each cell in the page wherever it is scrolled; and
# what the kernel completes, however late (1 s otherwise) and without words from other cells.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
    "completer-extension/manager": {
        "providerTimeout": PATIENCE * 1000,
        "availableProviders": {"CompletionProvider:kernel": 1, "CompletionProvider:context": -1},
    },
}

THEME = "settings/@jupyterlab/apputils-extension/themes.jupyterlab-settings"


class Lab:
    """A server of JupyterLab and Notebook 7 with files of its own, and a Chromium.

    A context manager.
    """

    def __init__(self, directory):
        self._directory = directory
        self._root = directory / "root"

    def __enter__(self):
        with ExitStack() as stack:
            self._browser = stack.enter_context(_browser(self._directory / "profile"))
            self._server = self._start(stack)
            self._url = eventually(self._address, "the address of the server", PATIENCE)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        self._stack.close()

    def _start(self, stack):
        """Start the server; when the stack closes, it and all that it has started are gone."""
        self._configure()
        self._log = ARTIFACTS / f"{self._directory.name}-server.log"
        log = stack.enter_context(self._log.open("wb"))
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        options = [
            "--ip=127.0.0.1",
            "--port=0",
            f"--ServerApp.root_dir={self._root}",
            "--LabApp.expose_app_in_browser=True",
            "--JupyterNotebookApp.expose_app_in_browser=True",
        ]
        server = subprocess.Popen(
            command + options,
            cwd=self._root,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that Ctrl+C in a terminal reaches the tests alone
        )
        stack.callback(_end, server)
        return server

    def _environment(self):
        folders = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        paths = {name: str(self._directory / folder) for name, folder in folders.items()}
        return {**os.environ, **paths, "JUPYTER_TOKEN": TOKEN}

    def _configure(self):
        """A kernel that is this Python, with this tree; and the settings."""
        self._root.mkdir()
        kernel = {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": "This Python",
            "language": "python",
            "env": {"PYTHONPATH": ROOT},
        }
        files = {"data/kernels/this/kernel.json": kernel}
        for name, settings in SETTINGS.items():
            files[f"settings/@jupyterlab/{name}.jupyterlab-settings"] = settings
        for name, content in files.items():
            path = self._directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))

    def _address(self):
        """The server's address, once it listens; it writes that beside its pid."""
        assert self._server.poll() is None, self._log.read_text()
        try:
            file = self._directory / "runtime" / f"jpserver-{self._server.pid}.json"
            return json.loads(file.read_text())["url"]
        except (OSError, ValueError):  # not yet, or not yet in full
            return None

    def _ask(self, method, path, content=None):
        data = None if content is None else json.dumps(content).encode()
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
            return json.loads(reply.read() or "null")

    @contextmanager
    def notebook(self, name, app=LAB, content=None):
        """A notebook in a page of its own, empty if no content is given.

        Its kernel ends with the block.
        """
        directory = self._root / name
        directory.mkdir()
        (directory / "tracked.py").write_text(TRACKED)
        (directory / "notebook.ipynb").write_text(json.dumps(content or _empty()))
        with ExitStack() as stack:
            page = self._browser.new_page()
            notebook = Notebook(page, APPS[app], directory, self._url)
            stack.callback(self._end_kernel, notebook.path)
            stack.callback(page.close)
            stack.callback(notebook.screenshot, "end")
            stack.callback(self._forget_theme)
            self._start_kernel(notebook.path)
            address = APPS[app].page.format(name=name, path=notebook.path)
            notebook.open(f"{self._url}{address}?token={TOKEN}")
            yield notebook
        assert notebook.problems == []

    def _start_kernel(self, path):
        """Start a notebook's kernel, so that it does so while its page loads."""
        kernel = {"name": "this"}
        session = {"path": path, "name": path, "type": "notebook", "kernel": kernel}
        self._ask("POST", "api/sessions", session)

    def _forget_theme(self):
        """The next page has the theme that is the default."""
        (self._directory / THEME).unlink(missing_ok=True)

    def _end_kernel(self, path):
        for session in self._ask("GET", "api/sessions"):
            if session["path"] == path:
                self._ask("DELETE", f"api/sessions/{session['id']}")


def _empty():
    """A notebook of one empty cell, for the kernel that is this Python."""
    kernel = {"name": "this", "display_name": "This Python"}
    cell = {"cell_type": "code", "id": "first", "metadata": {}, "source": ""}
    return {
        "cells": [{**cell, "execution_count": None, "outputs": []}],
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


@contextmanager
def _browser(profile):
    """A browser that keeps what it has loaded and compiled for its next page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = chromium.launch(playwright, profile, viewport=VIEW)
        browser.set_default_timeout(PATIENCE * 1000)
        try:
            yield browser
        finally:
            browser.close()


def _end(server):
    """End a server and see that every process below it ends with it."""
    below = psutil.Process(server.pid).children(recursive=True) if server.poll() is None else []
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait(10)
    _, left = psutil.wait_procs(below, timeout=5)
    for process in left:
        process.kill()
    assert not left, f"outlived the server: {left}"


# ---------------------------------------------------------------- for pytest
@pytest.fixture(scope="module")
def lab(request, tmp_path_factory):
    """A server and a browser for the tests of one module.

    Not of the whole run: while Playwright is there, the main thread has a running event loop,
    in which other tests could not run theirs.
    """
    with Lab(tmp_path_factory.mktemp(request.module.__name__)) as lab:
        yield lab


@pytest.fixture
def notebook(lab, request):
    """A fresh notebook with a kernel of its own, in a page of its own."""
    app = getattr(request, "param", LAB)
    name = re.sub(r"\W+", "-", request.node.name.removeprefix("test_")).strip("-")
    with lab.notebook(name, app) as notebook:
        yield notebook


@pytest.fixture
def inspector(notebook):
    """The inspector of a notebook; its cell is done."""
    notebook.run("%load_ext bridge_ext")
    return Inspector(notebook, notebook.run("bridge.inspect()"))
