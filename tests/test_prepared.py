"""Prepared calls: what is called again and again travels as a number, and means the same."""

from __future__ import annotations

import math
import threading

import pytest
from conftest import eventually
from hypothesis import given, settings
from hypothesis import strategies as st
from test_walls import fake, fooled, recovers, reply  # noqa: F401

import bridge_ext
from bridge_ext import ProtocolError, RefNotFoundError
from bridge_ext.kernel import context
from bridge_ext.kernel.wire.codec import pack
from bridge_ext.kernel.wire.limits import MAX_PREPARED
from bridge_ext.kernel.worker.prepared import PreparedCalls

KEPT = "[o for o in __import__('gc').get_objects() if type(o).__name__ == 'PreparedCalls'"
KEPT += " and type(o).__module__.startswith('bridge_ext.kernel.worker')]"


class Sent:
    """What a bridge's requests were: True for each that went as a number."""

    def __init__(self, bridge, monkeypatch):
        bridge.call("math.sqrt", 1)
        self.log = []
        connection = bridge._remote.incarnation.connection
        call = connection.call

        def noted(request, *args):
            self.log.append(request.prepared is not None)
            return call(request, *args)

        monkeypatch.setattr(connection, "call", noted)

    def of(self, fn):
        """Those of a function."""
        self.log.clear()
        fn()
        return list(self.log)


@pytest.fixture
def sent(bridge, monkeypatch):
    return Sent(bridge, monkeypatch)


def forget(bridge):
    """Have the worker forget all prepared calls."""
    bridge.call("builtins.eval", f"[o._calls.clear() for o in {KEPT}]")


# ---------------------------------------------------------------- when
def test_from_the_third_time_on_only_the_number_travels(bridge, sent):
    def run():
        assert [bridge.call("math.gcd", 12, n) for n in (8, 9, 10, 11)] == [4, 3, 2, 1]

    assert sent.of(run) == [False, False, True, True]


def test_each_function_session_and_label_is_prepared_by_itself(bridge, sent):
    def run():
        for _ in range(3):
            bridge.call("math.gcd", 12, 8)
        bridge.call("math.lcm", 12, 8)
        with bridge.session("named"):
            bridge.call("math.gcd", 12, 8)

    assert sent.of(run) == [False, False, True, False, False]


@pytest.mark.parametrize(
    "args",
    [("t" * 1001,), ([1],), ((),), (b"t" * 1001,), (1j,), ({},)],
    ids=lambda a: type(a[0]).__name__,
)
def test_arguments_that_are_neither_numbers_nor_short_travel_whole(bridge, sent, args):
    def run():
        for _ in range(4):
            bridge.call("builtins.repr", *args)

    assert sent.of(run) == [False] * 4


def test_so_do_keywords_and_calls_with_options(bridge, sent):
    def run():
        for _ in range(4):
            assert bridge.call("builtins.int", 3.5) == 3
        for _ in range(4):
            bridge.call("builtins.round", number=3.5)
        with bridge.options(fetch=False):
            for _ in range(4):
                assert isinstance(bridge.call("builtins.int", 3.5), bridge_ext.Ref)

    assert sent.of(run) == [False, False, True, True] + [False] * 8


def test_instances_methods_and_functions_of_modules_are_prepared_too(bridge, sent):
    ref = bridge.new("collections.deque")
    gcd = bridge.module("math").gcd

    def run():
        for n in range(4):
            ref.append(n)
        for n in range(4):
            assert gcd(12, n) == math.gcd(12, n)
        made = [bridge.new("builtins.float", n) for n in range(4)]
        assert [made[n].real for n in range(4)] == [0.0, 1.0, 2.0, 3.0]

    log = sent.of(run)
    assert log[:8] == [False, False, True, True] * 2
    assert log[8:12] == [False, False, True, True]
    assert list(ref) == [0, 1, 2, 3]


# ---------------------------------------------------------------- and means the same
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(st.characters(codec=None, categories=["L", "N", "Cs", "So"]), max_size=40),
    st.binary(max_size=40),
)


@pytest.fixture(scope="module")
def shared():
    with bridge_ext.Bridge("memory") as made:
        made.call("math.sqrt", 4)
        yield made


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["repr", "type", "bool"]), VALUES), max_size=30))
def test_what_comes_is_what_the_function_gives(shared, calls):
    for name, x in calls:
        found = shared.call(f"builtins.{name}", x)
        if name == "type":
            assert shared.get(found, "__name__") == type(x).__name__
        else:
            assert found == (repr(x) if name == "repr" else bool(x))


def test_errors_and_results_of_every_kind_come_as_ever(bridge):
    for n in range(5):
        with pytest.raises(ZeroDivisionError):
            bridge.call("operator.truediv", n, 0)
        assert isinstance(bridge.call("builtins.object"), bridge_ext.Ref)
        assert bridge.call("builtins.divmod", n, 3) == divmod(n, 3)
        assert bridge.call("builtins.print", n) is None


def test_what_is_patched_in_the_worker_counts_at_once(local):
    assert [local.call("math.floor", 1.5) for _ in range(4)] == [1] * 4
    local.call("builtins.exec", "import math; math.floor = lambda x: 'patched'")
    assert local.call("math.floor", 1.5) == "patched"


def test_refs_are_made_where_the_cell_is(bridge):
    """A number stands for one cell: the same call in another cell is another call."""
    with bridge.session("named"):
        made = []
        for label in ("cell [1]", "cell [2]", "cell [1]"):
            scope = context.Scope(label)
            token = context.current.set(scope)
            try:
                made.append([bridge.call("builtins.iter", ()) for _ in range(1)])
                made.append([bridge.new("collections.deque") for _ in range(4)])
            finally:
                context.current.reset(token)
    cells = {ref.id: ref.cell for ref in bridge.refs()}
    for handles, cell in zip(made[1::2], ("cell [1]", "cell [2]", "cell [1]"), strict=True):
        assert {cells[h._bridge_state.id] for h in handles} == {cell}


def test_a_session_that_ended_is_made_again_for_a_number_too(bridge):
    with bridge.session("named"):
        assert [bridge.call("math.sqrt", 4) for _ in range(4)] == [2.0] * 4
        bridge.release("named")
        assert [bridge.call("math.sqrt", 4) for _ in range(4)] == [2.0] * 4


def test_a_method_of_a_ref_that_was_released_says_so(bridge):
    ref = bridge.new("collections.deque")
    for n in range(4):
        ref.append(n)
    bridge.release(ref)
    with pytest.raises(RefNotFoundError):
        ref.append(5)


def test_a_fresh_worker_is_told_anew(local):
    for _ in range(2):
        assert [local.call("math.sqrt", 4) for _ in range(4)] == [2.0] * 4
        local.restart()


# ---------------------------------------------------------------- bounds
def test_more_calls_than_are_kept_go_on(bridge, sent):
    paths = [f"operator:{name}" for name in ("add", "sub", "mul", "lt", "gt")]
    values = []

    def run():
        for n in range(MAX_PREPARED):
            ref = bridge.new("collections.deque", ())
            for _ in range(3):
                ref.append(n)
            values.append(ref)
        for path in paths * 4:
            bridge.call(path, 1, 2)

    log = sent.of(run)
    assert any(log)
    assert all(list(ref) == [n] * 3 for n, ref in enumerate(values))
    for n, ref in enumerate(values):
        ref.append(n)
        assert len(ref) == 4


def test_a_worker_keeps_the_newest():
    kept = PreparedCalls()
    body = pack(
        {
            "protocol_version": 1,
            "min_supported_version": 1,
            "call_type": "dynamic",
            "session_id": "s",
            "module_path": "math",
            "function": "sqrt",
            "args": [],
            "kwargs": {},
        }
    )
    for number in range(MAX_PREPARED + 10):
        kept.keep(number, body, "")
    assert len(kept._calls) == MAX_PREPARED
    assert kept.get(9) is None
    assert kept.get(10) is not None


@pytest.mark.parametrize(
    "details", [("1", b"", ""), (1, b"\xc1", ""), (1, b"\x80", ""), (1, b"", 5)]
)
def test_what_is_no_prepared_call_is_a_protocol_error(details):
    with pytest.raises(ProtocolError):
        PreparedCalls().keep(*details)


def test_a_number_that_the_worker_has_forgotten_is_sent_whole_and_prepared_again(bridge, sent):
    bridge.session("s")
    for _ in range(3):
        assert bridge.call("math.sqrt", 4) == 2.0
    forget(bridge)

    def run():
        assert [bridge.call("math.sqrt", 9) for _ in range(3)] == [3.0] * 3

    assert sent.of(run)[:2] == [True, False], "the number first, and then the whole call"


def test_also_where_nobody_waits_in_a_thread(bridge):
    for _ in range(3):
        assert bridge.call("math.sqrt", 4) == 2.0
    forget(bridge)
    assert bridge.submit("math.sqrt", 9).result(10) == 3.0


def test_a_worker_that_never_knows_a_number_is_told_off(fake, fooled):  # noqa: F811
    fake.answer = lambda call_id, payload: reply(call_id, [4])
    with pytest.raises(ProtocolError, match="whole call"):
        fooled.call("math.sqrt", 4)
    recovers(fake, fooled)


# ---------------------------------------------------------------- at once
def test_threads_that_call_at_once_get_their_own_results(local):
    wrong = []

    def work(seed):
        for n in range(150):
            a, b = seed * 1000 + n, n % 7
            for path, expected in (
                ("operator.add", a + b), ("operator.mul", a * b), ("operator.sub", a - b),
            ):  # fmt: skip
                if local.call(path, a, b) != expected:
                    wrong.append((path, a, b))

    with local.session("shared"):
        threads = [
            threading.Thread(target=context.bind(work), args=(seed,)) for seed in range(4)
        ] + [threading.Thread(target=work, args=(seed,)) for seed in range(4, 8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not wrong
    eventually(lambda: local._remote.incarnation.connection.in_flight == 0, "all to end")


def test_within_callbacks_too(local):
    gcd = local.callback(lambda a, b: local.call("math.gcd", a, b))
    values = local.put([12, 8, 6])
    for _ in range(5):
        assert local.call("functools.reduce", gcd, values) == 2


def test_a_text_beyond_the_inline_limit_is_a_ref_however_short():
    with bridge_ext.Bridge("memory", inline_limit=100) as narrow:
        for _ in range(4):
            assert narrow.call("builtins.chr", 65) == "A"
            assert isinstance(narrow.call("builtins.str", "x" * 200), bridge_ext.Ref)
