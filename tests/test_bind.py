"""`bridge.bind`: a function that runs in this scope, in whatever thread."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import DEADLINE, eventually
from test_backends import InThread


def session_of(bridge):
    return bridge.info(bridge.put([])).session_id


def test_a_bound_function_is_the_function(bridge):
    def fn(a, *rest, b=2, **named):
        """Do it."""
        return a, rest, b, named

    bound = bridge.bind(fn)
    assert bound(1, 3, b=4, c=5) == fn(1, 3, b=4, c=5)
    assert (bound.__name__, bound.__doc__, bound.__wrapped__) == ("fn", "Do it.", fn)


def test_a_thread_has_its_own_session_and_a_bound_function_this_one(bridge):
    mine = bridge.current_session()
    assert InThread(session_of, bridge).result() != mine
    assert InThread(bridge.bind(session_of), bridge).result() == mine
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(bridge.bind(session_of), [bridge] * 9)) == {mine}


def test_what_is_in_force_is_carried(bridge):
    with bridge.session("named"), bridge.options(fetch=False):
        bound = bridge.bind(lambda: bridge.call("math.sqrt", 4))
    ref = InThread(bound).result()
    assert bridge.info(ref).session_id == "named"
    with bridge.session("other"):
        assert bridge.info(bound()).session_id == "named", "what was in force, not what is"
    with bridge.options(session="option"):
        assert InThread(bridge.bind(session_of), bridge).result() == "option"


def test_what_it_enters_is_left_with_it(bridge):
    def fn():
        bridge.session("entered").__enter__()
        return bridge.current_session()

    bound, mine = bridge.bind(fn), bridge.current_session()
    assert bound() == "entered"
    assert bridge.current_session() == mine
    assert InThread(bound).result() == "entered"


def test_it_runs_in_several_threads_at_once_and_within_itself(bridge):
    together = threading.Barrier(4)

    def fn(depth=0):
        if depth < 3:
            return bound(depth + 1)
        together.wait(DEADLINE)
        return session_of(bridge)

    bound = bridge.bind(fn)
    callers = [InThread(bound) for _ in range(4)]
    assert {caller.result() for caller in callers} == {bridge.current_session()}


def test_variables_of_the_user_are_carried_as_they_were(bridge):
    mark = contextvars.ContextVar("mark", default=0)
    mark.set(1)
    bound = bridge.bind(mark.get)
    mark.set(2)
    assert bound() == 1
    assert InThread(bound).result() == 1
    mark.set(0)


def test_exceptions_come_out_of_it_as_themselves(bridge):
    mine = KeyError("mine")

    def fn():
        raise mine

    with pytest.raises(KeyError) as found:
        bridge.bind(fn)()
    assert found.value is mine
    with pytest.raises(ValueError, match="math domain"):
        InThread(bridge.bind(bridge.call), "math.sqrt", -1).result()


def test_it_is_a_callback_an_executors_job_and_a_done_callback(bridge):
    mine, seen = bridge.current_session(), []
    bound = bridge.bind(lambda *args: seen.append(bridge.current_session()))
    bridge.call("functools.reduce", bridge.callback(bound), [1, 2])
    bridge.submit("math.sqrt", 4).add_done_callback(bound)
    eventually(lambda: len(seen) == 2, "the callback")

    async def main():
        await asyncio.get_running_loop().run_in_executor(None, bound)

    asyncio.run(main())
    assert seen == [mine] * 3


def test_a_bound_function_holds_its_session_as_long_as_it_lives(bridge):
    kept = []

    def thread():
        kept.append(bridge.bind(session_of))
        return session_of(bridge)

    theirs = InThread(thread).result()
    gc.collect()
    assert kept[0](bridge) == theirs, "its thread has ended, and it goes on there"
    kept.clear()
    eventually(
        lambda: gc.collect() or theirs not in [s.id for s in bridge.sessions()], "the session's end"
    )
