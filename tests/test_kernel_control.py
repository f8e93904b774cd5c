"""A real kernel: interrupts that stop a call and nothing else, and output where it belongs."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path

import pytest
from conftest import eventually
from kernels import Kernel
from steering import AT_ONCE, GRACE, PROMISED, STUCK, Growing

pytestmark = pytest.mark.timeout(90)
HERE = str(Path(__file__).parent)
LOAD = f"""
%load_ext bridge_ext
import asyncio, contextlib, io, os, sys, threading, time
sys.path.insert(0, {HERE!r})
import steered
from bridge_ext.kernel.backends import stopping
bridge.call("steered.same", 0)
def refs_are_there():
    return bridge.fetch(named) == ["named"] and bridge.fetch(auto) == ["auto"] and (
        bridge.status().pid == worker and bridge.status().busy is None)
"""
REFS = """
with bridge.session("named"):
    named = bridge.put(["named"])
auto = bridge.put(["auto"])
worker = bridge.status().pid
"""
number = itertools.count()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One kernel for all tests."""
    kernel = Kernel(tmp_path_factory.mktemp("kernel"))
    kernel.run(LOAD)
    kernel.run(REFS)
    kernel.other = kernel.subshell()
    try:
        yield kernel
    finally:
        kernel.close()


@pytest.fixture
def kernel(shared):
    yield shared
    shared.run("for name in [n for n in globals() if n.startswith('t_')]: del globals()[name]")


@pytest.fixture
def own(kernel):
    """The kernel, whose worker the test may end."""
    yield kernel
    kernel.run(REFS)


@pytest.fixture
def quick(kernel):
    """The grace is short, for what does not depend on its length."""
    kernel.run("stopping.GRACE = 0.5")
    yield
    kernel.run(f"stopping.GRACE = {GRACE}")


@pytest.fixture
def growing(kernel):
    """What `steered.stall` writes to, here and in the worker."""
    file = Growing(kernel.directory / f"growing-{next(number)}")
    kernel.run(f"path = {str(file)!r}\nsteered.arm(path)\nbridge.call('steered.arm', path)")
    return file


@pytest.fixture
def file(kernel):
    """A function that gives the path of a fresh file."""
    turn = next(number)
    return lambda name: kernel.directory / f"{name}-{turn}"


def check(kernel, growing=None):
    """The next cell runs at once, every ref is there, and nothing runs any more."""
    start = time.monotonic()
    assert kernel.get("refs_are_there()") is True
    assert time.monotonic() - start < AT_ONCE
    if growing is not None:
        size = growing.size
        kernel.run("bridge.call('time.sleep', 0.03)")
        assert growing.size == size


def interrupted(kernel, code, begun, interrupt=None, **options):
    """Interrupt a cell, once `begun()` is true; another waits behind it. The cell."""
    cell = kernel.send(code, **options)
    queued = kernel.send("print('must not run')", **options)
    kernel.until(begun, f"the moment to interrupt {code!r}")
    cell.took = time.monotonic()
    (interrupt or kernel.interrupt)()
    kernel.wait(cell, STUCK)
    cell.took = time.monotonic() - cell.took
    kernel.wait(queued, STUCK)
    assert cell.status == "error", cell
    if interrupt is None or cell.error is not None:
        # One that comes while IPython shows the last has it show nothing: that is IPython's.
        assert cell.error["ename"] in ends(code), cell.traceback
    assert queued.status == "aborted"
    return cell


def ends(code):
    """What may end an interrupted cell; ipykernel cancels the task of one that awaits."""
    return [
        "KeyboardInterrupt",
        *(["CancelledError"] if "await" in code or "async " in code else ()),
    ]


# ---------------------------------------------------------------- every way to make a call
CELLS = {
    "sync": "bridge.call('steered.stall')",
    "magic": "%bridge call steered.stall",
    "assigned magic": "t_x = %bridge call steered.stall",
    "session": "%%session named\nbridge.call('steered.stall')",
    "time": "%%time\nbridge.call('steered.stall')",
    "timed": "with bridge.options(timeout=60): bridge.call('steered.stall')",
    "async": "await asyncio.sleep(0)\nbridge.call('steered.stall')",
    "acall": "await bridge.acall('steered.stall')",
    "acall in a session": "%%session named\nawait bridge.acall('steered.stall')",
    "acall in a task": "await asyncio.create_task(bridge.acall('steered.stall'))",
    "gather": "await asyncio.gather(*(bridge.acall('steered.stall') for _ in range(3)))",
    "to_thread behind": "await asyncio.to_thread(time.sleep, 0)\nbridge.call('steered.stall')",
    "stream": "for _ in bridge.stream('steered.Items', 0): pass",
    "async stream": "async for _ in bridge.stream('steered.Items', 0): pass",
    "callback": "bridge.call('steered.call_back', bridge.callback(steered.stall))",
    "after a callback": "bridge.call('steered.call_back', bridge.callback(int), after='after-cb')",
    "call in a callback": (
        "bridge.call('steered.call_back', bridge.callback(lambda: bridge.call('steered.stall')))"
    ),
    "callback in an async cell": (
        "await asyncio.sleep(0)\nbridge.call('steered.call_back', bridge.callback(steered.stall))"
    ),
    "callback of an acall": (
        "await bridge.acall('steered.call_back', bridge.callback(steered.stall))"
    ),
    "batch": "with bridge.batch() as b: b.call('steered.same', 1), b.call('steered.stall')",
    "display": "bridge.new('steered.LateRepr')",
    "display call": "display(bridge.new('steered.LateRepr'))",
    "print": "print(bridge.new('steered.LateRepr'))",
    "put": "bridge.put(steered.LateLoad())",
    "pickling here": "bridge.call('steered.same', steered.LatePickle(path))",
    "fetch": "bridge.fetch(bridge.new('steered.Late'))",
    "loading here": "bridge.fetch(bridge.new('steered.LateLoad', path))",
    "operator": "bridge.new('steered.Late') + 1",
    "truth": "if bridge.new('steered.Late'): pass",
    "large argument": (
        "t = bytes(30_000_000)\nsteered.touch(path)\nwhile True: bridge.call('len', t)"
    ),
    "large result": (
        "t = bridge.call('numpy.zeros', 60_000_000, 'u1')\nsteered.touch(path)\n"
        "while True: bridge.fetch(t)"
    ),
    "many small calls": "steered.touch(path)\nwhile True: bridge.call('math.sqrt', 4)",
    "many awaited calls": "steered.touch(path)\nwhile True: await bridge.acall('math.sqrt', 4)",
}


@pytest.mark.parametrize("case", CELLS)
def test_an_interrupt_of_a_cell_stops_its_call_and_nothing_else(kernel, growing, case):
    cell = interrupted(kernel, CELLS[case], growing.begun)
    assert cell.took < AT_ONCE
    assert cell.stderr == ""
    check(kernel, growing)


@pytest.mark.parametrize("case", ["sync", "acall", "stream", "call in a callback"])
def test_an_interrupt_of_a_cell_stops_it_within_half_a_second(kernel, case):
    took = []
    for _ in range(3):
        file = Growing(kernel.directory / f"growing-{next(number)}")
        kernel.run(f"bridge.call('steered.arm', {str(file)!r})")
        took.append(interrupted(kernel, CELLS[case], file.begun).took)
    assert min(took) < PROMISED, took


def test_an_interrupt_of_a_cell_leaves_the_call_of_a_thread_alone(kernel, growing, file):
    kernel.run(
        "t_seen = []\n"
        "def t_run(): t_seen.append(bridge.call("
        f"'steered.wait_for', {str(file('go'))!r}, {str(file('in-call'))!r}))\n"
        "t_thread = threading.Thread(target=t_run)\nt_thread.start()"
    )
    kernel.until(file("in-call").exists, "the thread's call")
    queued = f"steered.touch(path)\nbridge.call('steered.touch', {str(file('ran'))!r})"
    cell = interrupted(kernel, queued, lambda: growing.begun() and (time.sleep(0.2) or True))
    assert cell.took < AT_ONCE
    file("go").touch()
    kernel.run("t_thread.join(10)")
    assert kernel.get("t_seen") == ["waited"]
    check(kernel)
    assert not file("ran").exists(), "what waited behind the thread's call never starts"


def test_an_interrupt_while_a_future_is_waited_for_leaves_its_call_alone(kernel, growing, file):
    kernel.run(
        "t_future = bridge.submit("
        f"'steered.wait_for', {str(file('go'))!r}, {str(file('in-call'))!r})"
    )
    kernel.until(file("in-call").exists, "the call")
    cell = interrupted(kernel, "steered.touch(path)\nt_future.result()", growing.begun)
    assert cell.took < AT_ONCE
    file("go").touch()
    assert kernel.get("t_future.result(10)") == "waited"
    check(kernel)


def test_a_cell_that_deals_with_its_interrupt_goes_on(kernel, growing):
    cell = kernel.send(
        "try:\n    bridge.call('steered.stall')\nexcept KeyboardInterrupt:\n"
        "    print('stopped', bridge.call('steered.same', 7))"
    )
    kernel.until(growing.begun, "the call")
    kernel.interrupt()
    kernel.wait(cell, STUCK)
    assert (cell.status, cell.stdout) == ("ok", "stopped 7\n")
    check(kernel, growing)


@pytest.mark.parametrize("case", ["sync", "acall", "many small calls"])
def test_interrupts_in_quick_succession_are_as_one(kernel, growing, case):
    def thrice():
        for _ in range(3):
            kernel.interrupt()

    cell = interrupted(kernel, CELLS[case], growing.begun, thrice)
    assert cell.took < AT_ONCE
    # what IPython says where the second comes while it shows the traceback of the first
    assert cell.stderr.strip() in ("", "KeyboardInterrupt")
    check(kernel, growing)


def test_an_interrupt_with_no_call_does_nothing(kernel):
    kernel.interrupt()
    assert kernel.run("print(bridge.interrupt())").stdout == "False\n"
    kernel.run("%bridge interrupt")
    check(kernel)


# ---------------------------------------------------------------- code that does not stop
def hold(file):
    """The arguments of a call that does not stop."""
    return f"'steered.hold_gil', 20, {str(file('started'))!r}"


COST = re.compile(r"steered\.hold_gil has not stopped.*again.*lost: \d+ refs in .*'named'")
LOST = re.compile(r"ended the worker during .*Lost: \d+ refs in .*'named'")


def test_the_cell_is_told_and_a_second_interrupt_ends_its_worker(own, file):
    cell = own.send(f"bridge.call({hold(file)})")
    queued = own.send("print('must not run')")
    own.until(file("started").exists, "the call")
    start = time.monotonic()
    own.interrupt()
    own.watch(lambda: cell.stderr, "what a second interrupt would cost", STUCK)
    assert GRACE - 0.1 < time.monotonic() - start < GRACE + AT_ONCE
    assert COST.search(cell.stderr)
    start = time.monotonic()
    own.interrupt()
    own.wait(cell, STUCK)
    own.wait(queued, STUCK)
    assert time.monotonic() - start < AT_ONCE
    assert (cell.error["ename"], queued.status) == ("KeyboardInterrupt", "aborted")
    assert LOST.search(cell.stderr)
    assert own.run("print(bridge.call('math.sqrt', 4))").stdout == "2.0\n"
    assert own.fail("len(named)").error["ename"] == "SessionLostError"


@pytest.mark.usefixtures("quick")
def test_so_is_an_async_cell(own, file):
    cell = own.send(f"await asyncio.sleep(0)\nbridge.call({hold(file)})")
    own.until(file("started").exists, "the call")
    own.interrupt()
    own.watch(lambda: cell.stderr, "what a second interrupt would cost", STUCK)
    own.interrupt()
    own.wait(cell, STUCK)
    assert cell.error["ename"] == "KeyboardInterrupt"
    assert COST.search(cell.stderr)
    assert LOST.search(cell.stderr)
    assert own.run("print(bridge.call('math.sqrt', 4))").stdout == "2.0\n"


@pytest.mark.usefixtures("quick")
def test_a_cell_is_told_of_its_awaited_call_and_an_interrupt_of_the_next_ends_its_worker(
    own, file, growing
):
    """The cell that awaits ends with its task; what it left running is in the way of the next."""
    cell = interrupted(own, f"await bridge.acall({hold(file)})", file("started").exists)
    own.watch(lambda: cell.stderr, "what a second interrupt would cost", STUCK)
    assert COST.search(cell.stderr)
    code = "steered.touch(path)\nbridge.call('math.sqrt', 4)"
    cell = interrupted(own, code, lambda: growing.begun() and (time.sleep(0.2) or True))
    assert cell.took < AT_ONCE
    assert LOST.search(cell.stderr)
    assert own.run("print(bridge.call('math.sqrt', 4))").stdout == "2.0\n"


@pytest.mark.usefixtures("quick")
def test_a_call_that_ends_late_by_itself_costs_nothing(kernel, file):
    code = f"bridge.call('steered.swallow', 1.0, {str(file('started'))!r})"
    cell = interrupted(kernel, code, file("started").exists)
    assert "steered.swallow" in cell.stderr
    check(kernel)


# ---------------------------------------------------------------- subshells
STOPS = ["bridge.interrupt()", "%bridge interrupt"]
SUBSHELL = [
    "sync",
    "magic",
    "session",
    "acall",
    "stream",
    "call in a callback",
    "batch",
    "display",
    "fetch",
    "large result",
    "many small calls",
]


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("where", ["main", "subshell"])
def test_a_call_is_stopped_from_another_shell(kernel, growing, stop, where):
    mine, other = (None, kernel.other) if where == "main" else (kernel.other, None)
    cell = interrupted(
        kernel,
        CELLS["sync"],
        growing.begun,
        lambda: kernel.execute(stop, subshell=other),
        subshell=mine,
    )
    assert cell.took < AT_ONCE
    assert cell.stderr == ""
    check(kernel, growing)


def stop_what_runs(kernel):
    """Interrupt from the main shell; again, if no call ran at that moment: a copy was made here."""

    def stopped():
        return kernel.execute("print(bridge.interrupt())").stdout == "True\n"

    eventually(stopped, "a call to interrupt")


@pytest.mark.parametrize("case", SUBSHELL)
def test_every_call_of_a_subshell_is_stopped_from_the_main_one(kernel, growing, case):
    cell = interrupted(
        kernel,
        CELLS[case],
        growing.begun,
        lambda: stop_what_runs(kernel),
        subshell=kernel.other,
    )
    assert cell.took < AT_ONCE
    assert cell.stderr == ""
    check(kernel, growing)


def test_an_interrupt_of_the_main_shell_leaves_a_subshells_call_alone(kernel, growing, file):
    waiting = kernel.send(
        f"bridge.call('steered.wait_for', {str(file('go'))!r}, {str(file('in-call'))!r})",
        subshell=kernel.other,
    )
    kernel.until(file("in-call").exists, "the subshell's call")
    code = f"steered.touch(path)\nbridge.call('steered.touch', {str(file('ran'))!r})"
    cell = interrupted(kernel, code, lambda: growing.begun() and (time.sleep(0.2) or True))
    assert cell.took < AT_ONCE
    file("go").touch()
    kernel.wait(waiting, STUCK)
    assert waiting.result["text/plain"] == "'waited'"
    check(kernel)
    assert not file("ran").exists()


def test_interrupt_stops_the_call_that_runs_and_the_other_shells_runs_next(kernel, growing):
    first = kernel.send("bridge.call('steered.stall')", subshell=kernel.other)
    kernel.until(growing.begun, "the subshell's call")
    second = kernel.send("bridge.call('steered.same', 7)")
    kernel.run("%bridge interrupt", subshell=kernel.subshell())
    kernel.wait(first, STUCK)
    kernel.wait(second, STUCK)
    assert first.error["ename"] == "KeyboardInterrupt"
    assert second.result["text/plain"] == "7"
    check(kernel, growing)


@pytest.mark.usefixtures("quick")
def test_another_shell_is_told_of_nothing_but_the_cell_that_waits_is(own, file):
    cell = own.send(f"bridge.call({hold(file)})")
    own.until(file("started").exists, "the call")
    stop = own.run("print(bridge.interrupt())", subshell=own.other)
    own.watch(lambda: cell.stderr, "what a second interrupt would cost", STUCK)
    assert COST.search(cell.stderr)
    again = own.run("print(bridge.interrupt())", subshell=own.other)
    own.wait(cell, STUCK)
    assert cell.error["ename"] == "KeyboardInterrupt"
    assert LOST.search(cell.stderr)
    assert (stop.stdout, stop.stderr) == (again.stdout, again.stderr) == ("True\n", "")
    assert own.run("print(bridge.call('math.sqrt', 4))").stdout == "2.0\n"


def test_the_interrupt_button_while_only_a_subshell_runs_harms_nothing(kernel, growing):
    cell = kernel.send("bridge.call('steered.stall', 1.0)", subshell=kernel.other)
    kernel.until(growing.begun, "the subshell's call")
    kernel.interrupt()
    kernel.wait(cell, STUCK)
    assert cell.status == "ok" or cell.error["ename"] == "KeyboardInterrupt"
    check(kernel, growing)


# ---------------------------------------------------------------- timeouts
@pytest.mark.parametrize(
    "code",
    [
        "%bridge call -t 0.3 steered.stall",
        "%bridge call --timeout 0.3 steered.stall",
        "with bridge.options(timeout=0.3): bridge.call('steered.stall')",
        "await bridge.options(timeout=0.3).acall('steered.stall')",
        "bridge.options(timeout=0.3).submit('steered.stall').result()",
    ],
)
def test_a_timeout_is_an_error_of_the_cell_and_stops_the_call(kernel, growing, code):
    start = time.monotonic()
    cell = kernel.fail(code)
    assert time.monotonic() - start < 0.3 + AT_ONCE
    assert cell.error["ename"] == "CallTimeoutError"
    for text in ("0.3", "timeout", "-t", "was stopped"):
        assert text in cell.error["evalue"]
    check(kernel, growing)


def test_a_display_that_takes_long_is_the_inert_text(kernel, growing):
    start = time.monotonic()
    cell = kernel.run("bridge.new('steered.LateRepr')")
    assert time.monotonic() - start < 2.0 + AT_ONCE
    assert cell.result["text/plain"] == "<ref LateRepr>"
    assert cell.error is None
    check(kernel, growing)


# ---------------------------------------------------------------- output
WRITERS = {
    "stdout": ("bridge.call('steered.say_and_wait', 'text', {0}, {1})", "stdout"),
    "stderr": ("bridge.call('steered.say_and_wait', 'text', {0}, {1}, 'stderr')", "stderr"),
    "logging": ("bridge.call('steered.log_and_wait', 'text', {0}, {1})", "stderr"),
    "C": ("bridge.call('steered.puts_and_wait', 'text', {0}, {1})", "stdout"),
    "child": ("bridge.call('steered.echo_and_wait', 'text', {0}, {1})", "stdout"),
    "thread": ("bridge.call('steered.thread_says_and_wait', 'text', {0}, {1})", "stdout"),
    "acall": ("await bridge.acall('steered.say_and_wait', 'text', {0}, {1})", "stdout"),
    "submit": ("bridge.submit('steered.say_and_wait', 'text', {0}, {1}).result()", "stdout"),
    "batch": ("with bridge.batch() as b: b.call('steered.say_and_wait', 'text', {0}, {1})",
              "stdout"),
    "stream": ("list(bridge.stream('steered.say_and_wait', 'text', {0}, {1}))", "stdout"),
    "callback": (
        "bridge.call('steered.call_back', bridge.callback(lambda: bridge.call("
        "'steered.say_and_wait', 'text', {0}, {1})))",
        "stdout",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRITERS)
def test_output_appears_while_the_call_runs(kernel, file, case):
    code, stream = WRITERS[case]
    cell = kernel.send(code.format(repr(str(file("started"))), repr(str(file("go")))))
    kernel.watch(lambda: getattr(cell, stream), "the output", STUCK)
    assert getattr(cell, stream) == "text\n"
    assert not cell.done
    file("go").touch()
    kernel.wait(cell)
    assert cell.status == "ok", cell
    assert (cell.stdout, cell.stderr)[stream == "stderr"] == "text\n"
    assert (cell.stdout, cell.stderr)[stream == "stdout"] == ""


@pytest.mark.parametrize("case", [case for case in WRITERS if case != "acall"])  # no await there
def test_capture_takes_all_of_it(kernel, file, case):
    code, stream = WRITERS[case]
    file("go").touch()
    code = code.format(repr(str(file("started"))), repr(str(file("go"))))
    cell = kernel.run(f"%%capture t_out\n{code}")
    assert (cell.stdout, cell.stderr) == ("", "")
    assert kernel.get(f"t_out.{stream}") == "text\n"


def test_output_of_a_call_that_is_interrupted_is_complete(kernel, growing):
    cell = interrupted(
        kernel, "bridge.call('steered.talk_and_stall', 'begun', 'ended')", growing.begun
    )
    assert cell.stdout == "begun\nended\n"
    check(kernel, growing)


def test_the_last_words_of_a_worker_appear(own):
    cell = own.fail("bridge.call('steered.say_and_die', 'last words')")
    assert cell.error["ename"] == "WorkerDiedError"
    assert cell.stdout == "last words\n"


def test_output_of_both_sides_keeps_its_order(kernel):
    cell = kernel.run(
        "print('1 here')\n"
        "def t_say(): print('3 here'); bridge.call('steered.say', '4 there'); print('5 here')\n"
        "bridge.call('steered.say_around', bridge.callback(t_say), '2 there', '6 there')\n"
        "print('7 here')"
    )
    assert [line[0] for line in cell.stdout.splitlines()] == list("1234567")


def both(kernel, code):
    """Run a cell in both shells at once; the cells."""
    cells = [
        kernel.send(code.replace("WHO", "main")),
        kernel.send(code.replace("WHO", "sub"), subshell=kernel.other),
    ]
    for cell in cells:
        kernel.wait(cell)
        assert cell.status == "ok", cell
    return [cell.stdout for cell in cells]


@pytest.mark.parametrize(
    "call",
    [
        "bridge.call('steered.say', text)",
        "bridge.call('steered.write', 1, text.encode() + b'\\n')",
        "bridge.submit('steered.say', text).result()",
        "bridge.call('steered.call_back', "
        "bridge.callback(lambda: bridge.call('steered.say', text)))",
    ],
    ids=["print", "write", "submit", "callback"],
)
@pytest.mark.parametrize("size", [1, 9_000], ids=["short", "long"])
def test_output_of_two_shells_at_once_goes_to_each_its_own(kernel, call, size):
    code = (
        "def t_run_WHO():\n    for n in range(20):\n"
        f"        text = f'WHO {{n}} ' * {size}\n        {call}\nt_run_WHO()"
    )
    outputs = both(kernel, code)
    for who, output in zip(("main", "sub"), outputs, strict=True):
        assert output == "".join(f"{who} {n} " * size + "\n" for n in range(20))


def test_a_progress_bar_is_one_line_and_moves(kernel, file):
    cell = kernel.send(
        f"bridge.call('steered.bar', 10, {str(file('go'))!r}, {str(file('half'))!r})"
    )
    kernel.watch(lambda: "5/10" in cell.stderr, "half of the bar", STUCK)
    assert cell.stderr == "".join(f"\r{step}/10" for step in range(6))
    file("go").touch()
    kernel.wait(cell)
    assert cell.stderr == "".join(f"\r{step}/10" for step in range(11)) + "\n"


def test_a_bar_of_tqdm_is_one_line(kernel):
    pytest.importorskip("tqdm")
    cell = kernel.run("bridge.call('steered.tqdm_bar', 50)")
    assert cell.stdout == ""
    assert cell.stderr.count("\n") == 1
    assert cell.stderr.endswith("\n")
    first, *others = cell.stderr.split("\r")
    assert first == ""
    assert "100%" in others[-1]
    assert "50/50" in others[-1]


@pytest.mark.parametrize(
    "data",
    [
        "bytes(range(256)) * 40",
        "b'\\xff' * 100_000",
        "b'\\0\\x1b[31m\\xe2\\x82'",
        "b'\\xed\\xa0\\x80'",
    ],
    ids=["all", "long", "cut", "surrogate"],
)
def test_binary_garbage_is_shown_and_not_fatal(kernel, data):
    cell = kernel.run(f"t_data = {data}\nbridge.call('steered.write', 1, t_data)\n"
                      "bridge.call('steered.say', 'after')")  # fmt: skip
    assert cell.stdout.endswith("after\n")
    assert len(cell.stdout) > len("after\n")
    check(kernel)


FLOOD = """
class t_Sink(io.TextIOBase):
    size = 0
    def write(self, text):
        t_Sink.size += len(text)
        return len(text)
t_before = steered.peak()
with contextlib.redirect_stdout(t_Sink()):
    t_grown = bridge.call("steered.flood", 100)
t_mine = steered.peak() - t_before
"""


def test_a_hundred_megabytes_of_output_cost_no_memory(kernel):
    kernel.run(FLOOD)
    assert kernel.get("t_Sink.size") == 100 * 2**20
    worker, mine = kernel.get("(t_grown, t_mine)")
    assert worker < 20, "megabytes that the worker grew by"
    assert mine < 20, "megabytes that the kernel grew by"
    check(kernel)


def test_much_output_reaches_the_notebook_whole(kernel):
    cell = kernel.run("bridge.call('steered.flood', 5);")
    assert cell.stdout == "0123456789abcde\n" * (5 * 65_536)


# ---------------------------------------------------------------- output after a call
def later(kernel, file, **options):
    """A cell that started a thread in the worker, and has ended; it says "late" at a touch."""
    cell = kernel.run(
        f"bridge.call('steered.say_later', 'late', {str(file('speak'))!r}, {str(file('said'))!r})",
        **options,
    )
    assert cell.stdout == ""
    return cell


def test_output_after_a_call_goes_to_the_cell_that_made_it(kernel, file):
    cell = later(kernel, file)
    file("speak").touch()
    kernel.watch(lambda: cell.stdout, "the late output", STUCK)
    assert cell.stdout == "late\n"


@pytest.mark.parametrize("where", ["main", "subshell"])
def test_output_after_a_call_goes_there_while_another_cell_runs(kernel, file, where):
    cell = later(kernel, file, subshell=kernel.other if where == "subshell" else None)
    running = kernel.send(
        f"print('running')\nsteered.touch({str(file('running'))!r})\n"
        f"steered.wait_for({str(file('end'))!r}, os.devnull);"
    )
    kernel.until(file("running").exists, "the other cell")
    file("speak").touch()
    kernel.watch(lambda: cell.stdout, "the late output", STUCK)
    file("end").touch()
    kernel.wait(running)
    assert (cell.stdout, running.stdout) == ("late\n", "running\n")


@pytest.mark.parametrize("how", ["call", "acall", "submit"])
def test_output_after_a_call_goes_there_while_another_cells_call_runs(kernel, file, how):
    cell = later(kernel, file)
    call = {
        "call": "bridge.call({})",
        "acall": "await bridge.acall({})",
        "submit": "bridge.submit({}).result()",
    }[how]
    args = f"'steered.say_and_wait', 'running', {str(file('running'))!r}, {str(file('end'))!r}"
    running = kernel.send(call.format(args) + ";")
    kernel.watch(lambda: running.stdout, "the other call", STUCK)
    file("speak").touch()
    kernel.until(file("said").exists, "the late output")
    file("end").touch()
    kernel.wait(running)
    kernel.watch(lambda: cell.stdout, "the late output", STUCK)
    assert (cell.stdout, running.stdout) == ("late\n", "running\n")


def test_a_future_of_an_ended_cell_writes_there(kernel, file):
    cell = kernel.run(
        "t_future = bridge.submit('steered.say_and_wait', 'first', "
        f"{str(file('started'))!r}, {str(file('go'))!r})"
    )
    kernel.watch(lambda: cell.stdout, "the output of the future", STUCK)
    other = kernel.run("print('other')")
    file("go").touch()
    kernel.run("t_future.result(10)")
    assert (cell.stdout, other.stdout) == ("first\n", "other\n")
