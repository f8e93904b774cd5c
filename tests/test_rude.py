"""Rude environments: each of them works, or says what is wrong and what to do.

Scripts and kernels are real, in processes of their own, so that descriptors, limits, signals and
locales are the system's.
"""

from __future__ import annotations

import ast
import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import eventually
from kernels import Kernel, all_gone
from test_layout import modules_under

import bridge_ext

ROOT = Path(__file__).parent.parent
PROBE = """
import os, sys
from pathlib import Path
import bridge_ext

bridge = bridge_ext.Bridge()
assert bridge.call("math.sqrt", 4) == 2.0
bridge.call("builtins.print", "said é€")
assert bridge.call("builtins:str.upper", "straße é") == "STRASSE É"
ref = bridge.put({"é€": [1, 2]})
assert list(ref) == ["é€"]
large = bytearray(os.urandom(3_000_000))
assert bridge.fetch(bridge.put(large)) == large
try:
    bridge.call("math.sqrt", -1)
except ValueError:
    pass
try:
    bridge.options(timeout=0.1).call("time.sleep", 60)
except bridge_ext.CallTimeoutError as error:
    assert error.stopped, error
assert len(ref) == 1
report = bridge.doctor()
assert bridge.restart().pid
assert bridge.call("math.sqrt", 4) == 2.0
bridge.close()
Path(sys.argv[1]).write_text("\\n".join(["well", *report.findings]), encoding="utf-8")
"""
"""Uses what matters of a bridge, and leaves what its doctor has found in a file."""


class Script:
    """Runs `source` in a fresh Python."""

    def __init__(self, folder, python_path):
        self.folder, self.python_path = folder, python_path

    def run(self, source=PROBE, *, python=(), before="", setup=None, **environment):
        """Run it; `before` comes first in it, `setup` in the process before it is Python."""
        path = self.folder / "probe.py"
        path.write_text(textwrap.dedent(before) + textwrap.dedent(source), encoding="utf-8")
        self.left = self.folder / "left"
        self.left.unlink(missing_ok=True)
        return subprocess.run(
            [sys.executable, *python, str(path), str(self.left)],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": self.python_path} | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
            preexec_fn=setup,
        )

    def works(self, source=PROBE, **how):
        """Run it to a good end; what its doctor has found."""
        done = self.run(source, **how)
        assert done.returncode == 0, done.stderr
        self.out, self.err = done.stdout, done.stderr
        well, *findings = self.left.read_text(encoding="utf-8").split("\n")
        assert well == "well"
        return findings


@pytest.fixture
def script(tmp_path):
    return Script(tmp_path, str(ROOT))


def test_nothing_is_found_in_a_polite_environment(script):
    assert script.works() == []
    assert script.out == "said é€\n"
    assert script.err == ""


# ---------------------------------------------------------------- flags and variables of Python
FLAGS = {
    "-I": ["-I"],
    "-E": ["-E"],
    "-s": ["-s"],
    "-W error": ["-W", "error"],
    "-X dev": ["-X", "dev", "-W", "error"],
    "-X utf8=0": ["-X", "utf8=0"],
    "-B": ["-B"],
    "-u": ["-u"],
}
ITS_OWN_PATH = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
"""For a Python that reads no variables."""


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
def test_a_flag_of_python_harms_nothing(script, flags):
    assert script.works(python=flags, before=ITS_OWN_PATH) == []
    assert script.out == "said é€\n"
    assert script.err == ""


def test_without_site_the_dependencies_are_found_where_the_path_says(script):
    path = f"import sys; sys.path[:0] = {[str(ROOT), *filter(None, sys.path)]!r}\n"
    assert script.works(python=["-S"], before=path) == []


@pytest.mark.parametrize("flag", ["-O", "-OO"])
def test_a_flag_that_the_worker_does_not_have_is_said(script, flag):
    (finding,) = script.works(PROBE.replace("assert ", "_ = "), python=[flag])
    assert "`assert` may count on one side only" in finding


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYTHONWARNINGS", "error"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONHASHSEED", "random"),
        ("PYTHONUNBUFFERED", "1"),
        ("PYTHONASYNCIODEBUG", "1"),
        ("PYTHONSAFEPATH", "1"),
        ("PYTHONNOUSERSITE", "1"),
        ("PYTHONMALLOC", "debug"),
        ("PYTHONINSPECT", ""),
    ],
)
def test_a_variable_of_python_harms_nothing(script, name, value):
    assert script.works(**{name: value}) == []
    assert script.out == "said é€\n"


def test_a_hash_seed_that_the_worker_does_not_have_is_said(script):
    (finding,) = script.works(PYTHONHASHSEED="0")
    assert "PYTHONHASHSEED=0 holds here and not in the worker" in finding
    assert "Sort them" in finding


def test_an_empty_environment_harms_nothing(script):
    assert script.works(before=ITS_OWN_PATH + "import os; os.environ.clear()\n") == []


# ---------------------------------------------------------------- locales
@pytest.mark.parametrize("locale", ["C", "POSIX", "tr_TR.UTF-8", "ja_JP.eucJP", "xx_XX.nothing"])
def test_any_locale_will_do(script, locale):
    """Where the system lacks one, it is that of a user whose container lacks it."""
    script.works(LC_ALL=locale, PYTHONIOENCODING="utf-8")
    assert script.out == "said é€\n"


def test_text_that_the_kernels_stdout_cannot_hold_is_spelled_out(script):
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    findings = script.works(**ascii_only)
    assert script.out == "said \\xe9\\u20ac\n"
    assert any("encoding of files is" in f and "C.UTF-8" in f for f in findings)


# ---------------------------------------------------------------- descriptors
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)])
def test_closed_standard_streams_harm_nothing(script, closed):
    """Else the sockets of a worker get these numbers, where it has its own streams."""

    def close():
        for fd in closed:
            os.close(fd)

    assert script.works(setup=close) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_behind_stdout_fails_no_call(script):
    full = "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1)\n"
    assert script.works(before=full) == []


def limit(which, most):
    """Sets a limit, in the process that is started."""

    def setup():
        resource.setrlimit(which, (most, most))

    return setup


def test_64_descriptors_are_enough_and_are_said_to_be_few(script):
    (finding,) = script.works(setup=limit(resource.RLIMIT_NOFILE, 64))
    assert "of 64 descriptors" in finding
    assert "ulimit -n" in finding


TOO_FEW = """
import gc, os, resource, sys
import bridge_ext

def opened():
    return len(os.listdir("/proc/self/fd"))

def leave(number):
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, 256))

bridge_ext.Bridge().close()
before, worked, failed = opened(), [], []
for room in range(40):
    leave(before + room)
    bridge = bridge_ext.Bridge()
    try:
        assert bridge.call("math.sqrt", 4) == 2.0
        assert bridge.fetch(bridge.put(bytearray(1_000_000))) == bytearray(1_000_000)
        worked.append(room)
    except bridge_ext.WorkerStartError as error:
        said = str(error)
        assert "Too many open files" in said and "bridge.doctor()" in said, said
        failed.append(room)
        findings = bridge.doctor().findings
        leave(256)
        assert bridge.call("math.sqrt", 4) == 2.0, "and then it goes on"
    leave(256)
    bridge.close()
    assert opened() == before, f"{opened() - before} descriptors were left open with {room}"
assert failed[:8] == [*range(8)] and max(worked) == 39, (failed, worked)
print("well")
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="there is no /proc")
def test_too_few_descriptors_are_said_and_none_is_lost(script):
    done = script.run(TOO_FEW)
    assert done.stdout == "well\n", done.stderr


def test_that_descriptors_are_few_is_found_where_no_worker_starts(script):
    source = """
        import bridge_ext, resource
        bridge = bridge_ext.Bridge()
        bridge.doctor()
        bridge.close()
        bridge = bridge_ext.Bridge()
        resource.setrlimit(resource.RLIMIT_NOFILE, (12, 64))
        print(*bridge.doctor().findings, sep="\\n")
    """
    told = script.run(source).stdout
    assert "No worker can be started" in told
    assert "ulimit -n" in told


def test_shared_memory_that_is_refused_is_done_without(script):
    """No file may have any size: a memfd is a file."""
    source = PROBE.replace("report =", 'assert bridge.status().transport == "socket"\nreport =')
    source = source.partition("Path(sys.argv[1])")[0] + "print('well')"
    done = script.run(source, setup=limit(resource.RLIMIT_FSIZE, 0))
    assert done.stdout.endswith("well\n"), done.stderr


def test_a_refused_memfd_is_found(script):
    gone = "import os; del os.memfd_create\n"
    (finding,) = script.works(before=gone)
    assert "memfd_create" in finding
    assert "socket" in finding


def test_an_address_space_that_ends_soon_is_enough(script):
    assert script.works(setup=limit(resource.RLIMIT_AS, 600 << 20)) == []


# ---------------------------------------------------------------- signals
def block_all():
    signal.pthread_sigmask(signal.SIG_BLOCK, {*signal.Signals} - {signal.SIGKILL, signal.SIGSTOP})


def ignore(*numbers):
    def setup():
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    return setup


SIGNALS = {
    "SIGINT blocked": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}),
    "all blocked": block_all,
    "SIGINT ignored": ignore(signal.SIGINT),
    "SIGIO ignored": ignore(signal.SIGIO),
    "SIGCHLD ignored": ignore(signal.SIGCHLD),
    "SIGHUP ignored": ignore(signal.SIGHUP),
}


@pytest.mark.parametrize("setup", SIGNALS.values(), ids=SIGNALS)
def test_signals_that_the_kernel_does_not_want_reach_its_worker(script, setup):
    """The timeout in the probe stops its call by one."""
    assert script.works(setup=setup) == []


DIES = """
import subprocess, sys
import bridge_ext

with bridge_ext.Bridge() as bridge:
    code = bridge.call("subprocess.run", ["sh", "-c", "exit 3"]).returncode
    assert code == 3, "the worker's own children are waited for"
    try:
        bridge.call("os._exit", 7)
    except bridge_ext.WorkerDiedError as error:
        print(error.how)
"""


def test_how_a_worker_has_ended_is_not_made_up_where_it_cannot_be_known(script):
    assert script.run(DIES).stdout == "exited with code 7\n"
    done = script.run(DIES, setup=ignore(signal.SIGCHLD))
    assert "SIGCHLD is ignored" in done.stdout, done.stderr
    assert "code" not in done.stdout


FORSAKEN = """
import os, signal, sys, time
import bridge_ext

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO, signal.SIGTERM})
bridge = bridge_ext.Bridge()
bridge.call("math.sqrt", 4)
print(bridge.status().pid, flush=True)
bridge.call("builtins.exec", "import ctypes; ctypes.PyDLL(None).sleep(60)")
"""


def test_a_worker_in_c_code_ends_with_a_kernel_that_had_its_signal_blocked(script):
    path = script.folder / "forsaken.py"
    path.write_text(FORSAKEN)
    process = subprocess.Popen(
        [sys.executable, str(path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        pid = int(process.stdout.readline())
        stat = Path(f"/proc/{pid}/wchan")
        eventually(lambda: "nanosleep" in stat.read_text() or not os.access(stat, os.R_OK))
        process.kill()
        process.wait()
    all_gone(pid, within=5.0)


# ---------------------------------------------------------------- directories and rights
def test_a_working_directory_that_is_gone_is_said(script):
    gone = "import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
    (finding,) = script.works(before=gone)
    assert "working directory of the kernel is gone" in finding


def test_a_umask_that_leaves_no_rights_harms_nothing(script):
    def setup():
        os.umask(0o777)

    source = PROBE.partition("Path(sys.argv[1])")[0] + "print('well')"
    done = script.run(source, setup=setup)
    assert done.stdout.endswith("well\n"), done.stderr


def test_a_home_that_cannot_be_written_to_harms_nothing(script):
    nowhere = dict.fromkeys(("HOME", "IPYTHONDIR", "TMPDIR", "XDG_RUNTIME_DIR"), "/proc/nowhere")
    assert script.works(**nowhere) == []


def test_a_nice_process_has_a_nice_worker(script):
    def setup():
        os.nice(5)

    assert script.works(setup=setup) == []


# ---------------------------------------------------------------- streams of the user's
STREAMS = """
import io, logging, os, sys
import bridge_ext

class Broken:
    encoding = None
    def write(self, text): raise RuntimeError("broken")

closed = io.StringIO()
closed.close()
kept = io.StringIO()
with bridge_ext.Bridge() as bridge:
    for stream in (None, Broken(), closed, 5, kept):
        sys.stdout = sys.stderr = stream
        bridge.call("builtins.exec", "import sys; print('o'); print('e', file=sys.stderr)")
        bridge.call("builtins.exec", "display({1: 2})")
        assert bridge.call("math.sqrt", 4) == 2.0
        bridge.doctor()
    del sys.stdout, sys.stderr
    bridge.call("builtins.print", "o")
    assert bridge.call("math.sqrt", 4) == 2.0
os.write(1, kept.getvalue().encode())
"""


def test_streams_that_the_user_has_replaced_fail_no_call(script):
    done = script.run(STREAMS)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split("\n")) == ["", "e", "o", "{1: 2}"]


HARMLESS = {
    "no stdout": "sys.stdout = None",
    "no streams": "sys.stdout = sys.stderr = None",
    "a closed stdout": "sys.stdout.close()",
    "closed descriptors": "os.close(0); os.close(1); os.close(2)",
    "a stdout that is none": "sys.stdout = 5",
    "deleted streams": "del sys.stdout, sys.stderr",
    "a full disk": "os.dup2(os.open('/dev/full', os.O_WRONLY), 1)",
    "ignored interrupts": "signal.signal(signal.SIGINT, signal.SIG_IGN)",
    "no rights": "os.umask(0o777)",
    "no directory": "os.mkdir('x'); os.chdir('x'); os.rmdir('../x')",
    "few descriptors": "resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))",
    "no modules": "sys.modules.clear()",
    "no path": "sys.path.clear(); sys.meta_path.clear()",
    "no environment": "os.environ.clear()",
    "no imports": "builtins.__import__ = None",
    "little recursion": "sys.setrecursionlimit(80)",
    "warnings as errors": "warnings.simplefilter('error')",
    "another locale": "locale.setlocale(locale.LC_ALL, 'C')",
    "no threads": "threading.Thread = None",
    "a clock that goes backwards": "time.time = lambda: -1e9",
    "no sleep": "time.sleep = None",
}
"""What code may do to the worker that it runs in."""


@pytest.mark.parametrize("code", HARMLESS.values(), ids=HARMLESS)
def test_what_code_does_to_its_worker_fails_no_other_call(local, tmp_path, monkeypatch, code):
    monkeypatch.chdir(tmp_path)
    modules = "sys, os, signal, resource, builtins, warnings, locale, threading, time"
    rest = "'bridge_ext.kernel.worker.buffers' in __import__('sys').modules"
    eventually(lambda: local.call("builtins.eval", rest), "the worker to be whole")
    local.call("builtins.exec", f"import {modules}\n{code}")
    pid = local.status().pid
    assert local.call("math.sqrt", 4) == 2.0
    assert len(local.put({"a": 1})) == 1
    large = bytearray(os.urandom(3_000_000))
    assert local.fetch(local.put(large)) == large
    with pytest.raises(ValueError, match="math domain error"):
        local.call("math.sqrt", -1)
    with pytest.raises(bridge_ext.CallTimeoutError) as caught:
        local.options(timeout=0.1).call("builtins.exec", "while True: pass")
    assert caught.value.stopped
    assert local.doctor().findings is not None
    assert local.status().pid == pid


# ---------------------------------------------------------------- clocks
WALL = {
    "bridge_ext.kernel.sessions",  # a part of an id, which is counted up where it is taken
    "bridge_ext.kernel.session",  # what is shown of a session
    "bridge_ext.kernel.telling",  # what an event says
    "bridge_ext.kernel.watching",  # what an inspector shows
    "bridge_ext.widgets.tables",
    "bridge_ext.kernel.worker.editing",  # compared with the times of files, which are of that clock
}
"""Modules that may ask for the time of day: to tell people, never to wait."""


def wall_clocks(source):
    """Where a source asks for the time of day."""
    return [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr)
        in {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "today")}
    ]


def test_only_what_people_read_asks_for_the_time_of_day():
    assert wall_clocks("import time\nx = time.time()")
    asks = {n for n, p in modules_under(ROOT).items() if wall_clocks(p.read_text("utf-8"))}
    assert asks == WALL


JUMPS = """
import itertools, time
steps = itertools.cycle([0, 86_400, -86_400, -10**9])
real = time.time
time.time = lambda: real() + next(steps)
import bridge_ext

bridge = bridge_ext.Bridge(ttl_seconds=30)
with bridge.session("a", ttl_seconds=30):
    ref = bridge.put([1])
for _ in range(20):
    assert bridge.call("math.sqrt", 4) == 2.0
    assert bridge.options(timeout=20).call("math.sqrt", 4) == 2.0
    assert len(ref) == 1
    assert [bridge.put([n])[0] for n in range(3)] == [0, 1, 2]
    repr(bridge.inspect())
    bridge.status(), bridge.sessions(), bridge.refs()
assert bridge.submit("time.sleep", 0.01).result(20) is None
from bridge_ext.widgets.tables import refs_table, sessions_table
repr(sessions_table(bridge.sessions(), times=True)), repr(refs_table(bridge.refs(), {}, times=True))
bridge.close()
print("well")
"""


def test_a_clock_that_jumps_ends_no_session_and_no_call(script):
    done = script.run(JUMPS)
    assert (done.stdout, done.stderr) == ("well\n", "")


# ---------------------------------------------------------------- shells and kernels
def test_the_plain_terminal_shell_of_ipython_will_do(script):
    code = "%load_ext bridge_ext\nprint(bridge.call('math.sqrt', 4))\nprint(bridge.inspect())\n"
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "--simple-prompt", "-c", code],
        cwd=script.folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(script.folder / "ip")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2.0\n")
    assert "0 refs" in done.stdout


KERNELS = {
    "a home that cannot be written to": {"HOME": "/proc/nowhere"},
    "the C locale": {"LC_ALL": "C"},
    "the C locale, as it is": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "a hash seed": {"PYTHONHASHSEED": "0"},
    "no bytecode": {"PYTHONDONTWRITEBYTECODE": "1"},
    "the development mode": {"PYTHONDEVMODE": "1"},
}


@pytest.mark.parametrize("environment", KERNELS.values(), ids=KERNELS)
def test_a_kernel_in_a_rude_environment(tmp_path, environment):
    kernel = Kernel(tmp_path, **environment)
    try:
        kernel.run("%load_ext bridge_ext")
        assert kernel.run("%bridge call math.sqrt 4").result["text/plain"] == "2.0"
        assert kernel.run("bridge.call('tracked.shout', 'é€')").stdout == "é€"
        assert "ValueError" in kernel.fail("bridge.call('tracked.fail', 'é€')").traceback
        report = kernel.run("%bridge doctor").result["text/plain"]
        assert "ZMQInteractiveShell" in report
        assert "HASHSEED=0 holds here" in report or "PYTHONHASHSEED" not in environment
    finally:
        kernel.close()


FILES = ("kernel", "msgpack", "cloudpickle", "bridge", "bridge_ext_local", "worker", "widgets")


def test_files_beside_a_notebook_hurt_neither_side_and_are_told_of(tmp_path):
    for name in FILES:
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} was taken')\n")
    kernel = Kernel(tmp_path)
    for name in ("types", "random", "json", "threading"):  # a kernel would not start with these
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} was taken')\n")
    try:
        kernel.run("%load_ext bridge_ext")
        kernel.run("class Local: pass")
        kernel.run("ref = bridge.put(Local())")
        kernel.run("bridge.fetch(ref)")
        kernel.run("%bridge restart")
        assert kernel.run("%bridge call math.sqrt 4").result["text/plain"] == "2.0"
        report = kernel.run("%bridge doctor").result["text/plain"]
        for name in ("msgpack", "cloudpickle", "types", "random", "json", "threading"):
            assert f"'{name}.py'" in report, name
    finally:
        kernel.close()


def test_a_kernel_whose_streams_and_signals_were_taken_goes_on(tmp_path):
    kernel = Kernel(tmp_path)
    try:
        kernel.run("%load_ext bridge_ext")
        kernel.run(
            "import sys, signal, os; out = sys.stdout; sys.stdout = None\n"
            "bridge.call('tracked.shout', 'x'); sys.stdout = out"
        )
        kernel.run("signal.signal(signal.SIGCHLD, signal.SIG_IGN)")
        cell = kernel.fail("bridge.call('os._exit', 3)")
        assert "SIGCHLD is ignored" in cell.traceback
        kernel.run("os.mkdir('x'); os.chdir('x'); os.rmdir('../x')")
        assert kernel.run("bridge.call('builtins.print', 'y')").stdout == "y\n"
        cell = kernel.fail("bridge.call('tracke.shout', 'y')")
        assert "The worker finds no module 'tracke'" in cell.traceback
        assert (
            "directory of the kernel is gone" in kernel.run("%bridge doctor").result["text/plain"]
        )
    finally:
        kernel.close()
