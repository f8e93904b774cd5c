"""The worker process: how it starts, serves, dies and ends, and what the caller is told."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

import bridge_ext
from bridge_ext import (
    BridgeClosedError,
    BridgeError,
    BridgeUsageError,
    CallTimeoutError,
    Released,
    RemoteError,
    SessionLostError,
    WorkerBusyError,
    WorkerDiedError,
)
from bridge_ext.kernel.backends.answers import NO_REQUEST
from bridge_ext.kernel.backends.base import NEVER
from bridge_ext.kernel.backends.flights import Flight

ROOT = Path(bridge_ext.__file__).resolve().parent.parent

THINGS = """
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time


def touch(path):
    with open(path, "a") as stream:
        stream.write("x")


def segfault():
    ctypes.string_at(0)


def exit_with(code, *held):
    os._exit(code)


def kill_itself(number):
    os.kill(os.getpid(), number)


def die_once(path):
    if os.path.exists(path):
        return 7
    touch(path)
    os._exit(1)


def die_always(path, *held):
    touch(path)
    os._exit(1)


def hang(how, started):
    touch(started)
    if how == "sleep":
        time.sleep(600)
    elif how == "GIL":
        ctypes.PyDLL(None).sleep(600)
    while True:
        pass


def wait_for(gate, started):
    touch(started)
    with open(gate) as stream:
        return stream.read()


def hang_hard(started):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    hang("loop", started)


def identity(value):
    return value


def say(text, end="\\n"):
    print(text, end=end)
    return 5


def say_and_fail(text):
    print(text)
    raise ValueError(text)


def say_and_die(text):
    print(text, flush=True)
    os._exit(1)


def complain(text):
    print(text, file=sys.stderr)


def log(text):
    import logging

    logging.getLogger("life").warning(text)


def write(*chunks):
    for chunk in chunks:
        os.write(1, chunk)


def write_all(data):
    while data:
        data = data[os.write(1, data) :]


def write_error(chunk):
    os.write(2, chunk)


def puts(text):
    libc = ctypes.CDLL(None)
    libc.puts(text)
    libc.fflush(None)


def run(*command):
    return subprocess.run(command, check=True).returncode


def say_in_thread(text):
    thread = threading.Thread(target=print, args=(text,))
    thread.start()
    thread.join()


def close_output():
    os.close(1)
    os.close(2)


def lose_output():
    sys.stdout = sys.stderr = None


def fork_and_return():
    child = os.fork()
    if child == 0:
        return "child"
    return ["parent", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]


def fork_and_raise():
    child = os.fork()
    if child == 0:
        raise ValueError("child")
    return ["parent", os.waitpid(child, 0)[0] == child]


def fork_a_sleeper():
    child = os.fork()
    if child == 0:
        time.sleep(600)
        os._exit(0)
    return child


def fork_a_sleeper_and_die(path):
    child = fork_a_sleeper()
    with open(path, "w") as stream:
        stream.write(str(child))
    os._exit(3)


def pool(method):
    import multiprocessing

    with multiprocessing.get_context(method).Pool(2) as workers:
        return workers.map(abs, [-1, 2, -3])


def process():
    import multiprocessing

    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=queue.put, args=("from the child",))
    child.start()
    text = queue.get()
    child.join()
    return [text, child.exitcode]


def executor():
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1) as workers:
        return workers.submit(abs, -5).result()


def recurse():
    return recurse()


def close_everything():
    os.closerange(3, 256)


def read_stdin():
    return sys.stdin.read()


def finish_slowly(seconds, path):
    import atexit

    atexit.register(lambda: (time.sleep(seconds), touch(path)))
"""


@pytest.fixture(scope="module", autouse=True)
def things(tmp_path_factory):
    folder = tmp_path_factory.mktemp("things")
    (folder / "life_things.py").write_text(THINGS)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def started(tmp_path):
    """A file that the worker makes when a call has begun."""
    return tmp_path / "started"


def gone(pid):
    """Whether a process has ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def works(bridge):
    return bridge.call("math.sqrt", 4) == 2.0


@contextlib.contextmanager
def in_thread(fn, *args):
    """A Future of `fn(*args)`, run in another thread, which has ended if the block ends well."""
    future = Future()

    def run():
        try:
            future.set_result(fn(*args))
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield future
    thread.join(10)
    assert not thread.is_alive()


@contextlib.contextmanager
def lost_sessions(bridge):
    """A function that waits until a session is told to be lost."""
    lost, changed = set(), threading.Condition()

    def note(event):
        if isinstance(event, bridge_ext.SessionLost):
            with changed:
                lost.add(event.session_id)
                changed.notify_all()

    def wait(session):
        with changed:
            assert changed.wait_for(lambda: session in lost, 10), f"{session} was not lost"

    stop = bridge.subscribe(note)
    try:
        yield wait
    finally:
        stop()


@pytest.fixture
def script(tmp_path, things):
    """Run a script that may import bridge_ext and life_things, as a process of its own."""
    running = []

    def run(source, *args, cwd=None, **environment):
        folder = tmp_path / "script"
        folder.mkdir(exist_ok=True)
        path = folder / "script.py"
        path.write_text(textwrap.dedent(source))
        process = subprocess.Popen(
            [sys.executable, "-W", "error", str(path), *map(str, args)],
            cwd=cwd or folder,
            env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{things}"} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process, timeout=30):
    """What a script wrote, after it has ended well."""
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, err
    assert err == ""
    return out


# --- Being there ------------------------------------------------------------------------------


def test_the_worker_is_a_child_in_a_session_of_its_own(local):
    works(local)
    info = local.status()
    assert psutil.Process(info.pid).ppid() == os.getpid()
    assert os.getsid(info.pid) == os.getpgid(info.pid) == info.pid
    assert info.transport == "socket, shared memory"


def test_the_transport_is_the_socket_where_the_system_has_no_shared_memory(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    with bridge_ext.Bridge() as bridge:
        works(bridge)
        assert bridge.status().transport == "socket"


def test_no_worker_is_started_before_the_first_call(local):
    assert local.status().pid is None
    works(local)
    assert local.status().pid is not None
    assert local.status().incarnation == 1


def test_nothing_listens(local):
    works(local)
    assert psutil.Process(local.status().pid).net_connections("inet") == []


def test_two_bridges_have_two_workers():
    with bridge_ext.Bridge() as one, bridge_ext.Bridge() as two:
        assert one.call("os.getpid") != two.call("os.getpid")


def test_status_tells_what_runs(local, started, eventually):
    with in_thread(local.call, "life_things.hang", "sleep", str(started)) as running:
        eventually(started.exists)
        info = local.status()
        assert info.busy is not None
        assert info.pid is not None
        local.restart()
        with pytest.raises(BridgeError):
            running.result(10)
    assert works(local)
    assert local.status().busy is None


def test_an_interrupt_signal_at_the_worker_harms_nothing(local):
    ref = local.put([1])
    pid = local.status().pid
    os.kill(pid, signal.SIGINT)
    assert works(local)
    assert ref[0] == 1
    assert local.status().pid == pid


def test_a_worker_that_interrupts_itself_is_a_remote_error(local):
    with contextlib.suppress(RemoteError):
        local.call("life_things.kill_itself", signal.SIGINT)
    assert works(local)


def test_a_call_too_deep_is_a_recursion_error(local):
    with pytest.raises(RecursionError):
        local.call("life_things.recurse")
    assert works(local)


# --- Crashes ----------------------------------------------------------------------------------

CRASHES = {
    "exit": (("life_things.exit_with", 3), "3"),
    "clean exit": (("life_things.exit_with", 0), "0"),
    "segfault": (("life_things.segfault",), "SIGSEGV"),
    "abort": (("os.abort",), "SIGABRT"),
    "kill": (("life_things.kill_itself", signal.SIGKILL), "SIGKILL"),
    "terminate": (("life_things.kill_itself", signal.SIGTERM), "SIGTERM"),
}


@pytest.mark.parametrize(("call", "how"), CRASHES.values(), ids=CRASHES)
def test_a_crash_says_how_and_what_was_lost(local, call, how):
    with local.session("named"):
        refs = [local.put([1]), local.put([2])]
    refs.append(local.put([3]))
    auto = local.current_session()
    with pytest.raises(WorkerDiedError) as caught:
        local.call(*call)
    error = caught.value
    assert how in error.how
    assert call[0] in error.call
    assert set(error.sessions) == {"named", auto}
    assert error.refs == len(refs)
    for text in (error.how, error.call, "named"):
        assert text in str(error)


@pytest.mark.parametrize(("call", "how"), CRASHES.values(), ids=CRASHES)
def test_after_a_crash_the_next_call_works(local, call, how):
    with pytest.raises(WorkerDiedError):
        local.call(*call)
    assert works(local)
    assert local.status().incarnation == 2


def test_a_worker_killed_from_outside_during_a_call_is_told_to_the_call(local, started, eventually):
    with in_thread(local.call, "life_things.hang", "GIL", str(started)) as running:
        eventually(started.exists)
        os.kill(local.status().pid, signal.SIGKILL)
        with pytest.raises(WorkerDiedError, match="SIGKILL"):
            running.result(10)
    assert works(local)


def test_every_call_in_flight_is_told(local, started, eventually):
    works(local)
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(local.call, "life_things.hang", "sleep", str(started))]
        eventually(started.exists)
        running += [pool.submit(local.call, "math.sqrt", 4) for _ in range(3)]
        os.kill(local.status().pid, signal.SIGKILL)
        first, *others = [future.exception(10) for future in running]
    assert isinstance(first, WorkerDiedError)
    assert {type(error) for error in others} <= {WorkerDiedError, type(None)}
    assert works(local)


def test_a_worker_that_dies_idle_is_noticed_and_replaced(local):
    with lost_sessions(local) as wait:
        with local.session("named"):
            ref = local.put([1])
        os.kill(local.status().pid, signal.SIGKILL)
        wait("named")
    assert works(local)
    with pytest.raises(SessionLostError):
        ref.append(2)


def test_a_ref_of_a_dead_worker_is_lost_and_never_anothers(local):
    with local.session("named"):
        old = [local.put([n]) for n in range(3)]
    auto = local.put(["auto"])
    with pytest.raises(WorkerDiedError):
        local.call("life_things.exit_with", 1)
    with local.session("named"):
        new = [local.put(["new", n]) for n in range(3)]
    for ref in old:
        with pytest.raises(SessionLostError) as caught:
            ref.append(1)
        assert caught.value.session_id == "named"
    with pytest.raises(SessionLostError):
        auto.append(1)
    with local.session("named"), pytest.raises(SessionLostError):
        local.call("life_things.identity", [old[0]])
    with pytest.raises(SessionLostError):
        local.move(old[0], "elsewhere")
    with pytest.raises(SessionLostError):
        local.info(old[0])
    assert [local.fetch(ref) for ref in new] == [["new", n] for n in range(3)]


def test_dropping_and_releasing_lost_refs_leaves_the_fresh_worker_alone(local):
    with local.session("named"):
        old = [local.put([n]) for n in range(3)]
    with pytest.raises(WorkerDiedError):
        local.call("life_things.exit_with", 1)
    with local.session("named"):
        new = [local.put(["new", n]) for n in range(3)]
    assert local.release(old.pop()) == Released(0, 0)
    assert "list" in repr(old[0])
    old.clear()
    gc.collect()
    assert works(local)
    assert [local.fetch(ref) for ref in new] == [["new", n] for n in range(3)]


def test_the_sessions_of_a_dead_worker_are_lost(local):
    with local.session("named"):
        ref = local.put([1])
    with pytest.raises(WorkerDiedError):
        local.call("life_things.exit_with", 1)
    assert local.session_info("named").status is bridge_ext.Status.LOST
    assert local.refs() == []
    assert local.release("named") == Released(0, 0)
    assert local.release(ref) == Released(0, 0)


def test_what_had_been_released_was_not_lost(local):
    with local.session("named"):
        refs = [local.put([1])]
    refs.append(local.put([2]))
    local.release("named")
    local.release(refs[1])
    with pytest.raises(WorkerDiedError) as caught:
        local.call("life_things.exit_with", 1)
    assert caught.value.refs == 0


def test_a_fresh_worker_is_inspected_as_it_is(local):
    old = local.put([1])
    with pytest.raises(WorkerDiedError):
        local.call("life_things.exit_with", 1)
    ref = local.put([2])
    assert local.info(ref).length == 1
    assert len(local.refs()) == 1
    assert local.status().refs == 1
    with pytest.raises(SessionLostError):
        local.info(old)


def test_a_lost_session_in_force_is_made_again_with_its_limits(local):
    with local.session("named", max_refs=7, ttl_seconds=99):
        local.put([1])
        with pytest.raises(WorkerDiedError):
            local.call("life_things.exit_with", 1)
        ref = local.put([2])
        assert "in 'named'" in repr(ref)
    info = local.session_info("named")
    assert (info.max_refs, info.ttl_seconds, info.status) == (7, 99, bridge_ext.Status.ACTIVE)


def test_helpers_are_sent_to_a_fresh_worker(local):
    local.register_helper(lambda x: x + 1, "plus")
    assert local.helper("plus", 1) == 2
    with pytest.raises(WorkerDiedError):
        local.call("life_things.exit_with", 1)
    assert local.helper("plus", 2) == 3


def test_the_death_is_seen_though_a_forked_child_holds_the_socket(local, tmp_path, eventually):
    path = tmp_path / "child"
    with pytest.raises(WorkerDiedError):
        local.call("life_things.fork_a_sleeper_and_die", str(path))
    child = int(path.read_text())
    assert works(local)
    eventually(lambda: gone(child), deadline=2)


def test_closing_its_descriptors_costs_the_worker_its_life_only(local):
    with pytest.raises(WorkerDiedError):
        local.call("life_things.close_everything")
    assert works(local)


def test_many_crashes_leave_nothing_behind(local, eventually):
    pids = set()
    for _ in range(10):
        pids.add(local.call("os.getpid"))
        with pytest.raises(WorkerDiedError):
            local.call("life_things.exit_with", 1)
    assert len(pids) == 10
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids))


# --- Retries ----------------------------------------------------------------------------------


def test_an_idempotent_call_is_tried_again_once(local, tmp_path):
    path = tmp_path / "tries"
    bound = local.options(idempotent=True)
    assert bound.call("life_things.die_once", str(path)) == 7


def test_an_idempotent_call_is_tried_again_no_more_than_once(local, tmp_path):
    path = tmp_path / "tries"
    with pytest.raises(WorkerDiedError), local.options(idempotent=True):
        local.call("life_things.die_always", str(path))
    assert path.read_text() == "xx"
    assert works(local)


def test_other_calls_are_not_tried_again(local, tmp_path):
    path = tmp_path / "tries"
    with pytest.raises(WorkerDiedError):
        local.call("life_things.die_always", str(path))
    assert path.read_text() == "x"


@pytest.mark.parametrize(
    "wrap", [lambda ref: ref, lambda ref: {"deep": [ref]}], ids=["bare", "deep"]
)
def test_a_call_that_holds_refs_is_not_tried_again(local, tmp_path, wrap):
    path = tmp_path / "tries"
    ref = local.put([1])
    with pytest.raises(WorkerDiedError):
        local.options(idempotent=True).call("life_things.die_always", str(path), wrap(ref))
    assert path.read_text() == "x"


# --- Timeouts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["sleep", "loop"])
def test_a_timeout_stops_the_call_and_keeps_the_rest(local, started, how):
    ref = local.put([1])
    pid = local.status().pid
    with pytest.raises(CallTimeoutError) as caught:
        local.options(timeout=0.3).call("life_things.hang", how, str(started))
    error = caught.value
    assert isinstance(error, TimeoutError)
    assert (error.timeout, error.stopped, error.ended, error.refs) == (0.3, True, False, 0)
    assert "0.3" in str(error)
    assert works(local)
    ref.append(2)
    assert local.fetch(ref) == [1, 2]
    assert local.status().pid == pid


def test_a_timeout_that_may_kill_ends_a_worker_that_does_not_stop(local, started, eventually):
    ref = local.put([1])
    pid = local.status().pid
    with pytest.raises(CallTimeoutError) as caught:
        local.options(timeout=0.3, kill=True).call("life_things.hang", "GIL", str(started))
    error = caught.value
    assert (error.timeout, error.ended, error.refs) == (0.3, True, 1)
    assert works(local)
    eventually(lambda: gone(pid))
    with pytest.raises(SessionLostError):
        ref.append(2)


def test_a_timeout_may_be_given_for_a_block(local, started):
    with local.options(timeout=0.3), pytest.raises(CallTimeoutError):
        local.call("life_things.hang", "sleep", str(started))
    assert works(local)


def test_a_call_within_its_timeout_changes_nothing(local):
    pid = local.call("os.getpid")
    with local.options(timeout=30, kill=True):
        assert works(local)
    assert local.call("os.getpid") == pid


def test_a_stopped_worker_does_not_stop_a_timeout(local, eventually):
    """It is told as a call that has not stopped, and serves again when it goes on."""
    ref = local.put([1])
    pid = local.status().pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(CallTimeoutError) as caught:
            local.options(timeout=0.3).call("math.sqrt", 4)
        assert (caught.value.stopped, caught.value.ended) == (False, False)
        with pytest.raises(WorkerBusyError, match=r"bridge\.restart\(\)"):
            works(local)
    finally:
        os.kill(pid, signal.SIGCONT)

    def serves():
        with contextlib.suppress(WorkerBusyError):
            return works(local)

    eventually(serves)
    assert ref[0] == 1
    assert local.status().pid == pid


def test_a_timeout_covers_methods_and_streams(local, started):
    with local.options(timeout=0.3), pytest.raises(CallTimeoutError):
        local.module("life_things").hang("sleep", str(started))
    lock = local.call("threading.Lock")
    lock.acquire()
    with local.options(timeout=0.3), pytest.raises(CallTimeoutError):
        lock.acquire()
    assert works(local)


# --- Interrupts -------------------------------------------------------------------------------

INTERRUPTED = """
    import sys
    import bridge_ext

    with bridge_ext.Bridge() as bridge:
        ref = bridge.put([1])
        first = bridge.status().pid
        try:
            bridge.call("life_things.hang", sys.argv[1], sys.argv[2])
        except KeyboardInterrupt:
            print("interrupted")
        print(bridge.call("math.sqrt", 4))
        try:
            ref.append(2)
            print("kept", len(ref))
        except bridge_ext.SessionLostError:
            print("lost")
        print(first == bridge.status().pid)
"""


@pytest.mark.parametrize("how", ["sleep", "loop"])
def test_an_interrupt_stops_the_call_and_keeps_the_rest(script, started, how, eventually):
    process = script(INTERRUPTED, how, started)
    eventually(started.exists)
    process.send_signal(signal.SIGINT)
    assert finish(process, 15).split() == ["interrupted", "2.0", "kept", "2", "True"]


def test_a_second_interrupt_ends_a_worker_that_does_not_stop(script, started, eventually):
    process = script(INTERRUPTED, "GIL", started)
    eventually(started.exists)
    process.send_signal(signal.SIGINT)
    told = process.stderr.readline()
    assert "life_things.hang has not stopped" in told
    assert "1 ref in 1 session" in told
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 0, err
    assert out.split() == ["interrupted", "2.0", "lost", "False"]
    assert "Lost: 1 ref in 1 session" in err


def test_an_interrupt_that_nobody_catches_ends_the_script_and_its_worker(
    script, started, eventually
):
    process = script(
        """
        import sys
        import bridge_ext

        bridge = bridge_ext.Bridge()
        print(bridge.call("os.getpid"), flush=True)
        bridge.call("life_things.hang", "loop", sys.argv[1])
        """,
        started,
    )
    worker = int(process.stdout.readline())
    eventually(started.exists)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in err
    eventually(lambda: gone(worker), deadline=2)


INTERRUPTED_ANYWHERE = """
    import os, signal, threading, time
    import bridge_ext

    with bridge_ext.Bridge() as bridge:
        for turn in range(12):
            go = threading.Event()

            def interrupt():
                go.wait()
                time.sleep(turn * 0.0007)
                os.kill(os.getpid(), signal.SIGINT)

            thread = threading.Thread(target=interrupt)
            thread.start()
            bridge.call("math.sqrt", 4)
            try:
                go.set()
                for number in range(1_000_000):
                    assert bridge.call("operator.add", number, 1) == number + 1
                raise SystemExit("the interrupt was swallowed")
            except KeyboardInterrupt:
                pass
            thread.join()
            assert bridge.call("operator.add", turn, 0) == turn
        print("right")
"""


def test_an_interrupt_at_any_moment_leaves_no_answer_to_another_call(script):
    assert finish(script(INTERRUPTED_ANYWHERE), timeout=60).split()[-1] == "right"


def test_interrupt_ends_a_call_of_another_thread(local, started, eventually):
    ref = local.put([1])
    with in_thread(local.call, "life_things.hang", "loop", str(started)) as running:
        eventually(started.exists)
        assert local.interrupt() is True
        assert isinstance(running.exception(10), KeyboardInterrupt)
    assert ref[0] == 1


def test_interrupt_of_an_idle_worker_changes_nothing(local):
    ref = local.put([1])
    pid = local.status().pid
    local.interrupt()
    assert works(local)
    assert ref[0] == 1
    assert local.status().pid == pid


def test_restart_starts_a_fresh_worker(local):
    ref = local.put([1])
    pid = local.status().pid
    info = local.restart()
    assert info.pid not in (pid, None)
    assert (info.incarnation, info.busy) == (2, None)
    assert gone(pid)
    with pytest.raises(SessionLostError):
        ref.append(2)
    assert works(local)


def test_a_worker_that_is_idle_may_finish_before_a_restart(local, tmp_path):
    """Longer than the bridge's own thread waits between two looks at what it can free."""
    done = tmp_path / "done"
    local.call("life_things.finish_slowly", 0.6, str(done))
    local.restart()
    assert done.exists()


@pytest.mark.parametrize(
    "use",
    [
        lambda: bridge_ext.Bridge("memory", memory_limit=10**9),
        lambda: in_memory(lambda bridge: bridge.options(timeout=5).call("math.sqrt", 4)),
        lambda: in_memory(lambda bridge: bridge.restart()),
    ],
    ids=["memory limit", "timeout", "restart"],
)
def test_in_this_process_what_needs_a_worker_process_is_a_usage_error(use):
    with pytest.raises(BridgeUsageError):
        use()


def in_memory(use):
    with bridge_ext.Bridge("memory") as bridge:
        use(bridge)


# --- Output -----------------------------------------------------------------------------------


def test_what_the_worker_prints_reaches_the_caller(local, capsys):
    assert local.call("life_things.say", "hello") == 5
    assert capsys.readouterr() == ("hello\n", "")


def test_errors_and_logging_reach_the_callers_stderr(local, capsys):
    local.call("life_things.complain", "oh")
    local.call("life_things.log", "careful")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["oh", "careful"]


def test_output_below_python_reaches_the_caller(local, capsys):
    local.call("life_things.write", b"written\n")
    local.call("life_things.puts", b"put")
    local.call("life_things.run", "echo", "run")
    assert capsys.readouterr().out.split() == ["written", "put", "run"]
    local.call("life_things.write_error", b"error\n")
    assert capsys.readouterr() == ("", "error\n")


def test_output_of_a_call_that_fails_arrives(local, capsys):
    with pytest.raises(ValueError, match="text"):
        local.call("life_things.say_and_fail", "text")
    assert capsys.readouterr().out == "text\n"


def test_the_last_words_of_a_worker_arrive(local, capsys):
    with pytest.raises(WorkerDiedError):
        local.call("life_things.say_and_die", "last words")
    assert capsys.readouterr().out == "last words\n"


def test_a_progress_bar_arrives_as_it_is(local, capsys):
    local.call("life_things.say", "10%\r20%\r", end="")
    local.call("life_things.say", "done")
    assert capsys.readouterr().out == "10%\r20%\rdone\n"


def test_characters_written_in_parts_arrive_whole(local, capsys):
    text = "é€😀"
    local.call("life_things.write", *[bytes([byte]) for byte in text.encode()])
    assert capsys.readouterr().out == text


def test_bytes_that_are_no_text_do_no_harm(local, capsys):
    local.call("life_things.write", b"\xff\xfe after\n")
    assert capsys.readouterr().out.endswith(" after\n")
    assert works(local)


def test_output_of_the_workers_threads_arrives(local, capsys):
    local.call("life_things.say_in_thread", "from a thread")
    assert capsys.readouterr().out == "from a thread\n"


@pytest.mark.parametrize("how", ["say", "write"])
def test_a_megabyte_of_output_arrives_and_does_not_block(local, capsys, how):
    text = "0123456789abcde\n" * 65_536
    if how == "say":
        local.call("life_things.say", text, end="")
    else:
        local.call("life_things.write_all", text.encode())
    assert capsys.readouterr().out == text


def test_output_of_calls_in_many_threads_arrives(local, capsys):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: local.call("life_things.say", f"line {n}"), range(20)))
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(f"line {n}" for n in range(20))


def test_a_surrogate_in_the_output_does_no_harm(local, capsys):
    with contextlib.suppress(UnicodeEncodeError):
        local.call("life_things.say", "\ud800")
    assert works(local)


@pytest.mark.parametrize("how", ["close_output", "lose_output"])
def test_a_worker_without_output_still_works(local, how):
    local.call(f"life_things.{how}")
    assert works(local)
    with contextlib.suppress(Exception):
        local.call("life_things.say", "into the void")
    assert works(local)


def test_input_raises_at_once_and_says_why(local):
    with pytest.raises(Exception, match=r"(?i)input") as caught:
        local.call("input", "name? ")
    assert not isinstance(caught.value, WorkerDiedError)
    assert works(local)


def test_the_workers_stdin_is_empty(local):
    with contextlib.suppress(OSError, EOFError, RuntimeError, BridgeError):
        assert local.options(timeout=10).call("life_things.read_stdin") == ""
    assert works(local)


# --- Forks ------------------------------------------------------------------------------------


def in_forked_child(check):
    """The exit code of a forked child that ran `check`: 0 if it gave True."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork beside threads
        child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(20)
            code = 0 if check() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def closed(action):
    try:
        action()
    except BridgeClosedError:
        return True
    return False


def test_a_forked_child_is_refused_and_the_parent_goes_on(local):
    ref = local.put([1])
    pid = local.status().pid
    assert in_forked_child(lambda: closed(lambda: local.call("math.sqrt", 4))) == 0
    assert in_forked_child(lambda: closed(lambda: ref.append(2))) == 0
    assert works(local)
    assert local.fetch(ref) == [1]
    assert local.status().pid == pid


IN_A_CHILD = {
    "release": lambda b, ref: b.release(ref),
    "release a session": lambda b, ref: b.release("named"),
    "release_all": lambda b, ref: b.release_all(),
    "restart": lambda b, ref: b.restart(),
    "interrupt": lambda b, ref: b.interrupt(),
    "keep": lambda b, ref: b.keep(ref, "name"),
    "move": lambda b, ref: b.move(ref, "elsewhere"),
    "session": lambda b, ref: b.session("other"),
    "status": lambda b, ref: b.status(),
    "refs": lambda b, ref: b.refs(),
}


@pytest.mark.parametrize("use", IN_A_CHILD.values(), ids=IN_A_CHILD)
def test_a_forked_child_reaches_nothing_of_its_parents(local, use):
    with local.session("named"):
        ref = local.put([1])
    assert in_forked_child(lambda: closed(lambda: use(local, ref))) in (0, 2)
    assert local.fetch(ref) == [1]
    assert in_forked_child(lambda: closed(lambda: use(local, ref))) == 0


def test_a_forked_child_that_drops_and_closes_harms_nothing(local):
    refs = [local.put([n]) for n in range(3)]

    def drop_and_close():
        refs.clear()
        gc.collect()
        local.close()
        return True

    assert in_forked_child(drop_and_close) == 0
    assert works(local)
    assert [ref[0] for ref in refs] == [0, 1, 2]


def test_a_fork_during_a_call_harms_nothing(local, started, tmp_path, eventually):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with in_thread(local.call, "life_things.wait_for", str(gate), str(started)) as running:
        eventually(started.exists)
        try:
            assert in_forked_child(lambda: closed(lambda: local.call("math.sqrt", 4))) == 0
        finally:
            gate.write_text("go")
        assert running.result(10) == "go"


def test_a_forked_child_of_a_script_that_ends_normally_harms_nothing(script):
    process = script(
        """
        import os, sys
        import bridge_ext

        bridge = bridge_ext.Bridge()
        ref = bridge.put([1])
        child = os.fork()
        if child == 0:
            del ref
            sys.exit(5)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        print(ref[0], bridge.call("math.sqrt", 4), flush=True)
        """
    )
    assert finish(process).split() == ["5", "1", "2.0"]


def test_multiprocessing_in_a_script_harms_nothing(script):
    process = script(
        """
        import multiprocessing
        import bridge_ext

        bridge = bridge_ext.Bridge()
        ref = bridge.put([1])
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(abs, [-1, -2]))
        print(ref[0])
        bridge.close()
        """
    )
    assert finish(process).split() == ["[1,", "2]", "1"]


def test_a_forked_child_in_the_worker_that_returns_ends_quietly(local):
    pid = local.call("os.getpid")
    assert local.call("life_things.fork_and_return") == ["parent", 0]
    assert works(local)
    assert local.call("os.getpid") == pid


def test_a_forked_child_in_the_worker_that_raises_ends_too(local):
    assert local.call("life_things.fork_and_raise") == ["parent", True]
    assert works(local)


def test_a_forked_child_in_the_worker_does_not_print_twice(local, capsys):
    local.call("life_things.say", "once", end="")
    local.call("life_things.fork_and_return")
    assert capsys.readouterr().out == "once"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_works_in_the_worker(local, method):
    assert local.call("life_things.pool", method) == [1, 2, 3]
    assert works(local)


def test_processes_and_executors_work_in_the_worker(local):
    assert local.call("life_things.process") == ["from the child", 0]
    assert local.call("life_things.executor") == 5
    assert works(local)


# --- Ends -------------------------------------------------------------------------------------


def children_of(bridge):
    """Processes started and forked in the worker."""
    popen = bridge.call("subprocess.Popen", ["sleep", "600"])
    return [popen.pid, bridge.call("life_things.fork_a_sleeper")]


def test_close_ends_the_workers_children(eventually):
    with bridge_ext.Bridge() as bridge:
        pids = children_of(bridge)
        assert not any(map(gone, pids))
    eventually(lambda: all(map(gone, pids)), deadline=2)


def test_a_killed_worker_takes_its_children_along(local, eventually):
    with lost_sessions(local) as wait:
        session = local.current_session()
        pids = children_of(local)
        os.kill(local.status().pid, signal.SIGKILL)
        wait(session)
    eventually(lambda: all(map(gone, pids)), deadline=2)


def test_a_timeout_leaves_the_workers_children_alone_unless_it_kills(local, started, eventually):
    pids = children_of(local)
    with pytest.raises(CallTimeoutError):
        local.options(timeout=0.3).call("life_things.hang", "loop", str(started))
    assert works(local)
    assert not any(map(gone, pids))
    with pytest.raises(CallTimeoutError):
        local.options(timeout=0.3, kill=True).call("life_things.hang", "GIL", str(started))
    eventually(lambda: all(map(gone, pids)), deadline=2)


def test_close_returns_when_the_worker_is_reaped():
    bridge = bridge_ext.Bridge()
    pid = bridge.call("os.getpid")
    bridge.close()
    assert not psutil.pid_exists(pid)


def test_close_may_be_repeated_and_needs_no_worker():
    bridge = bridge_ext.Bridge()
    bridge.close()
    bridge.close()
    with bridge_ext.Bridge() as bridge:
        works(bridge)
        bridge.close()


def test_close_may_be_called_by_many_threads_at_once():
    bridge = bridge_ext.Bridge()
    pid = bridge.call("os.getpid")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: bridge.close(), range(4)))
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("how", ["sleep", "loop", "GIL"])
def test_close_ends_a_call_in_flight(started, how, eventually):
    with bridge_ext.Bridge() as bridge:
        pid = bridge.call("os.getpid")
        with in_thread(bridge.call, "life_things.hang", how, str(started)) as running:
            eventually(started.exists)
            begun = time.monotonic()
            bridge.close()
            assert time.monotonic() - begun < 5
            assert isinstance(running.exception(5), (BridgeClosedError, WorkerDiedError))
        assert not psutil.pid_exists(pid)


class Overtaken:
    """A channel's send lock, before which a call is sent while `close` waits for it."""

    def __init__(self, connection):
        self._connection, self._lock = connection, connection._data.send_lock
        connection._data.send_lock = self

    def __enter__(self):
        self._connection._data.send_lock = self._lock
        flight = Flight(NO_REQUEST, NEVER)
        flight.answering = 1  # so that nobody waits for its end
        self._connection._exchange.board.enter(flight)
        self._lock.acquire()

    def __exit__(self, *error):
        self._lock.release()


def test_close_waits_for_no_call_that_came_just_before_it(tmp_path):
    """A goodbye behind it would be read only after it."""
    done = tmp_path / "done"
    with bridge_ext.Bridge() as bridge:
        bridge.call("life_things.finish_slowly", 0.0, str(done))
        Overtaken(bridge._remote.incarnation.connection)
        bridge.close()
    assert not done.exists(), "the worker was asked to finish"


def test_close_ends_a_worker_that_ignores_signals(started, eventually):
    with bridge_ext.Bridge() as bridge:
        pid = bridge.call("os.getpid")
        with in_thread(bridge.call, "life_things.hang_hard", str(started)) as running:
            eventually(started.exists)
            bridge.close()
            assert running.exception(5) is not None
        assert not psutil.pid_exists(pid)


def test_close_ends_a_stopped_worker():
    with bridge_ext.Bridge() as bridge:
        pid = bridge.call("os.getpid")
        os.kill(pid, signal.SIGSTOP)
        bridge.close()
        assert not psutil.pid_exists(pid)


AFTER_CLOSE = {
    "call": lambda b, r: b.call("math.sqrt", 4),
    "new": lambda b, r: b.new("list"),
    "attr": lambda b, r: b.attr("math.pi"),
    "module": lambda b, r: b.module("math").sqrt(4),
    "method": lambda b, r: b.method(r, "append", 1),
    "get": lambda b, r: b.get(r, "append"),
    "set": lambda b, r: b.set(r, "a", 1),
    "helper": lambda b, r: b.helper("plus", 1),
    "register_helper": lambda b, r: b.register_helper(lambda: 1, "one"),
    "helpers": lambda b, r: b.helpers(),
    "stream": lambda b, r: list(b.stream("range", 3)),
    "put": lambda b, r: b.put(1),
    "fetch": lambda b, r: b.fetch(r),
    "options": lambda b, r: b.options(timeout=5).call("math.sqrt", 4),
    "session": lambda b, r: b.session("named").__enter__(),
    "use": lambda b, r: b.use("named"),
    "current_session": lambda b, r: b.current_session(),
    "sessions": lambda b, r: b.sessions(),
    "session_info": lambda b, r: b.session_info("named"),
    "refs": lambda b, r: b.refs(),
    "info": lambda b, r: b.info(r),
    "create_session": lambda b, r: b.create_session("other"),
    "terminate_session": lambda b, r: b.terminate_session("named"),
    "register_owner": lambda b, r: b.register_owner("named", threading.current_thread()),
    "unregister_owner": lambda b, r: b.unregister_owner("named", threading.current_thread()),
    "release a ref": lambda b, r: b.release(r),
    "release a session": lambda b, r: b.release("named"),
    "release_all": lambda b, r: b.release_all(),
    "release_auto_session": lambda b, r: b.release_auto_session(),
    "clear_auto_session": lambda b, r: b.clear_auto_session(),
    "move": lambda b, r: b.move(r, "other"),
    "keep": lambda b, r: b.keep(r, "name"),
    "kept": lambda b, r: b.kept("named"),
    "subscribe": lambda b, r: b.subscribe(print),
    "status": lambda b, r: b.status(),
    "interrupt": lambda b, r: b.interrupt(),
    "restart": lambda b, r: b.restart(),
    "with": lambda b, r: b.__enter__(),
    "a method of a ref": lambda b, r: r.append(1),
    "an operator of a ref": lambda b, r: r * 2,
    "the length of a ref": lambda b, r: len(r),
}


@pytest.fixture(scope="module")
def closed_bridge():
    bridge = bridge_ext.Bridge()
    bridge.register_helper(lambda x: x, "plus")
    with bridge.session("named"):
        ref = bridge.put([1])
    bridge.close()
    return bridge, ref


@pytest.mark.parametrize("use", AFTER_CLOSE.values(), ids=AFTER_CLOSE)
def test_after_close_everything_says_that_it_is_closed(closed_bridge, use):
    with pytest.raises(BridgeClosedError):
        use(*closed_bridge)


def test_after_close_a_handle_can_still_be_looked_at(closed_bridge):
    _, ref = closed_bridge
    assert "list" in repr(ref)
    assert hash(ref) == hash(ref)


def test_a_script_that_forgets_to_close_ends_at_once_with_its_worker(script, eventually):
    process = script(
        """
        import bridge_ext

        bridge = bridge_ext.Bridge()
        ref = bridge.put([1])
        print(bridge.status().pid, flush=True)
        """
    )
    worker = int(process.stdout.readline())
    assert finish(process, timeout=5) == ""
    eventually(lambda: gone(worker), deadline=1)


KILLED = """
    import os, sys, threading, time
    import bridge_ext

    how, started = sys.argv[1:]
    bridge = bridge_ext.Bridge()
    worker, sleeper = bridge.call("os.getpid"), bridge.call("life_things.fork_a_sleeper")
    sibling = 0
    if how.startswith("sibling"):
        sibling = os.fork()
        if sibling == 0:
            time.sleep(60)
            os._exit(0)
    print(worker, sleeper, sibling, flush=True)
    how = how.removeprefix("sibling ")
    if how == "idle":
        open(started, "w").close()
        time.sleep(60)
    bridge.call("life_things.hang", how, started)
"""


@pytest.mark.parametrize(
    "how",
    [
        "idle",
        "sleep",
        "loop",
        "GIL",
        "sibling idle",
        "sibling sleep",
        "sibling loop",
        "sibling GIL",
    ],
)
def test_after_a_kill_of_the_script_nothing_is_left_within_a_second(
    script, started, how, eventually
):
    process = script(KILLED, how, started)
    worker, sleeper, sibling = map(int, process.stdout.readline().split())
    eventually(started.exists)
    assert not gone(worker)
    process.kill()
    try:
        eventually(lambda: gone(worker), "the end of the worker", deadline=1)
        eventually(lambda: gone(sleeper), "the end of its child", deadline=1)
    finally:
        for pid in filter(None, (sibling, sleeper)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


# --- Where it starts --------------------------------------------------------------------------

SHADOWS = ["types", "msgpack", "kernel", "cloudpickle"]


@pytest.fixture
def shadowed(tmp_path):
    """A folder with modules that break whoever imports them for another's."""
    folder = tmp_path / "shadowed"
    folder.mkdir()
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(f"raise ImportError('{name} was shadowed')\n")
    (folder / "mine.py").write_text("def answer():\n    return 42\n")
    return folder


def test_files_in_the_working_directory_hurt_no_worker(script, shadowed):
    process = script(
        """
        import bridge_ext

        with bridge_ext.Bridge() as bridge:
            print(bridge.call("math.sqrt", 4))
            print(bridge.call("list", bridge.call("map", lambda x: x + 1, [1])))
        """,
        cwd=shadowed,
    )
    assert finish(process).split() == ["2.0", "[2]"]


@pytest.mark.parametrize("name", SHADOWS)
def test_a_file_beside_a_notebook_hurts_nobody(script, shadowed, name):
    for other in set(SHADOWS) - {name}:
        (shadowed / f"{other}.py").unlink()
    process = script(
        """
        import sys

        import IPython

        sys.path.insert(0, "")  # as ipykernel does
        import bridge_ext

        with bridge_ext.Bridge() as bridge:
            print(bridge.call("math.sqrt", 4))
            print(bridge.call("list", bridge.call("map", lambda x: x + 1, [1])))
            print(bridge.call("mine.answer"))
        """,
        cwd=shadowed,
    )
    assert finish(process).split() == ["2.0", "[2]", "42"]


def test_the_environment_of_the_first_call_travels(local, monkeypatch):
    monkeypatch.setenv("BRIDGE_EXT_TEST", "travels")
    assert local.call("os.environ.get", "BRIDGE_EXT_TEST") == "travels"


def test_variables_may_be_added():
    with bridge_ext.Bridge(env={"BRIDGE_EXT_TEST": "added"}) as bridge:
        assert bridge.call("os.environ.get", "BRIDGE_EXT_TEST") == "added"
        assert bridge.call("os.environ.get", "PATH") == os.environ["PATH"]
    assert "BRIDGE_EXT_TEST" not in os.environ


def test_what_ipykernel_adds_to_the_environment_stays_here(local, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    monkeypatch.setenv("JPY_SESSION_NAME", "name")
    assert local.call("os.environ.get", "MPLBACKEND", "agg").lower() == "agg"
    assert local.call("os.environ.get", "JPY_PARENT_PID") is None
    assert local.call("os.environ.get", "JPY_SESSION_NAME") is None


def test_a_change_of_directory_travels(local, tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert local.call("os.getcwd") == str(tmp_path / name)


def test_a_directory_that_was_given_stays(tmp_path, monkeypatch):
    given = tmp_path / "given"
    given.mkdir()
    with bridge_ext.Bridge(cwd=given) as bridge:
        assert bridge.call("os.getcwd") == str(given)
        monkeypatch.chdir(tmp_path)
        assert bridge.call("os.getcwd") == str(given)


def test_a_change_of_directory_in_the_worker_stays_until_the_next_one_here(
    local, tmp_path, monkeypatch
):
    (tmp_path / "here").mkdir()
    works(local)
    local.call("os.chdir", str(tmp_path))
    assert local.call("os.getcwd") == str(tmp_path)
    monkeypatch.chdir(tmp_path / "here")
    assert local.call("os.getcwd") == str(tmp_path / "here")


@pytest.mark.parametrize("when", ["before the first call", "after it"])
def test_a_directory_that_was_removed_hurts_nothing(local, tmp_path, monkeypatch, when):
    if when == "after it":
        works(local)
    doomed = tmp_path / "doomed"
    doomed.mkdir()
    monkeypatch.chdir(doomed)
    doomed.rmdir()
    assert works(local)
    monkeypatch.chdir(tmp_path)
    assert local.call("os.getcwd") == str(tmp_path)


def test_a_change_of_the_import_path_travels(local, tmp_path, monkeypatch):
    works(local)
    (tmp_path / "life_found.py").write_text("def answer():\n    return 42\n")
    (tmp_path / "life_hidden.py").write_text("")
    with pytest.raises(ModuleNotFoundError):
        local.call("life_found.answer")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert local.call("life_found.answer") == 42
    monkeypatch.undo()
    with pytest.raises(ModuleNotFoundError):
        local.call("life_hidden.answer")


def test_a_module_written_after_a_failed_import_is_found(local, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError):
        local.call("life_late.answer")
    (tmp_path / "life_late.py").write_text("def answer():\n    return 42\n")
    assert local.call("life_late.answer") == 42


# --- Many callers -----------------------------------------------------------------------------


def test_many_threads_get_their_own_results(local):
    def work(thread):
        return [local.call("operator.add", thread * 1000, n) for n in range(50)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))
    assert found == [[thread * 1000 + n for n in range(50)] for thread in range(8)]


def test_the_first_calls_of_many_threads_start_one_worker(local):
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: local.call("os.getpid"), range(8)))) == 1


def test_large_data_in_both_directions_does_not_block(local):
    def work(thread):
        data = bytes([thread]) * 3_000_000
        return all(local.call("life_things.identity", data) == data for _ in range(3))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [True] * 4


def test_errors_of_many_threads_are_their_own(local):
    def work(thread):
        with pytest.raises(ValueError, match=f"invalid literal.*'x{thread}'"):
            local.call("int", f"x{thread}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))


# --- Memory -----------------------------------------------------------------------------------


def test_a_memory_limit_turns_an_allocation_into_a_memory_error():
    with bridge_ext.Bridge(memory_limit=400 * 2**20) as bridge:
        pid = bridge.call("os.getpid")
        with pytest.raises(MemoryError):
            bridge.call("builtins.bytearray", 2 * 2**30)
        assert bridge.call("builtins.len", bridge.put(b"x" * 2**20)) == 2**20
        assert bridge.call("os.getpid") == pid


def test_with_a_memory_limit_no_memory_is_kept_for_later():
    with bridge_ext.Bridge(memory_limit=700 * 2**20) as bridge:
        numpy = pytest.importorskip("numpy")
        for _ in range(2):
            bridge.release(bridge.put(numpy.ones(50_000_000)))
            assert bridge.call("len", bridge.new("bytearray", 450 * 2**20)) == 450 * 2**20


@pytest.mark.parametrize("limit", [-1, 0, "much", 1.5], ids=repr)
def test_a_bad_memory_limit_is_a_usage_error(limit):
    with pytest.raises(BridgeUsageError):
        bridge_ext.Bridge(memory_limit=limit)


@pytest.mark.parametrize("backend", ["", "locla", 5, None], ids=repr)
def test_an_unknown_backend_is_a_usage_error(backend):
    with pytest.raises(BridgeUsageError):
        bridge_ext.Bridge(backend)
