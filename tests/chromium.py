"""A Chromium for the browser tests: which one they use, and how `make test` gets one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile

# Where Playwright keeps a browser of its own: beside its package, so that it goes with .venv.
os.environ.setdefault("PLAYWRIGHT_BROWSERS_PATH", "0")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # what is shown needs no internet
)
HELP = """\
The browser tests need a Chromium, and none was found that starts. Any of these helps:
  apt install chromium               (Debian; other systems: their package of it)
  make test CHROMIUM=/path/to/it     (Chromium or Chrome)
  .venv/bin/python tests/chromium.py (Playwright's own; if it lacks libraries, then also
                                      .venv/bin/python -m playwright install-deps chromium)
or leave these tests out: make test BROWSER=no"""


class NoChromiumError(Exception):
    """There is no Chromium, and how to get one."""


def works(path):
    """Whether this starts; some systems have a `chromium` that only says how to install it."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def find(environ=os.environ):
    """The path of a Chromium of this system, or None; the variable CHROMIUM comes first."""
    named = environ.get("CHROMIUM")
    if named:
        if path := shutil.which(named, path=environ.get("PATH")):
            return path
        raise NoChromiumError(f"CHROMIUM={named} is no program that can be run.\n\n{HELP}")
    paths = (shutil.which(name, path=environ.get("PATH")) for name in NAMES)
    return next((path for path in paths if path and works(path)), None)


def launch(playwright, profile, **options):
    """Start it with its files in a folder, or Playwright's own where this system has none.

    Raises:
        NoChromiumError: there is none, or it does not start; it says what to do.
    """
    from playwright.sync_api import Error

    options |= {"executable_path": find(), "args": list(FLAGS)}
    try:
        return playwright.chromium.launch_persistent_context(profile, **options)
    except Error as error:
        raise NoChromiumError(f"{HELP}\n\nWhat Playwright said: {error}") from None


def starts():
    """Whether `launch` would succeed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        try:
            launch(playwright, profile).close()
        except NoChromiumError:
            return False
    return True


def _apt():
    """Install the package `chromium`; whether there is one now."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    steps = (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", "chromium"],
    )
    done = (subprocess.run(step, env=quiet, check=False).returncode == 0 for step in steps)
    return all(done) and find() is not None


def install():
    """Get one: from the system's packages if we may, else Playwright's own."""
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") and _apt():
        return
    own = [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]
    subprocess.run(own, check=False)


def main():
    """Make sure that there is one; the exit status says whether there is."""
    if find() or starts():
        return
    install()
    if not starts():
        sys.exit(HELP)


if __name__ == "__main__":
    main()
