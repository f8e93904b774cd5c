"""Refs in pickles: the same ref in this process while it lives, and a clear error anywhere else."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import traceback

import cloudpickle
import pytest

import bridge_ext
from bridge_ext import EncodeError, InvalidRefError, RefNotFoundError, SessionLostError
from bridge_ext.kernel import tokens
from bridge_ext.kernel.tokens import handle_of

NAMES_FETCH = r"bridge\.fetch\(ref\)"
POOLS = """
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

import bridge_ext


def show(name, action):
    try:
        print(name, "gave", action())
    except Exception as error:
        print(name, type(error).__name__, str(error), type(error.__cause__).__name__,
              "bridge.fetch(ref)" in f"{error} {error.__cause__}")


def in_pool(ref):
    with context.Pool(1) as pool:
        return pool.apply(repr, (ref,))


def in_process(ref):
    process = context.Process(target=print, args=(ref,))
    process.start()
    process.join()


def in_executor(ref):
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(repr, ref).result()


def in_joblib(ref):
    import joblib
    return joblib.Parallel(2)(joblib.delayed(repr)(ref) for _ in range(2))


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with bridge_ext.Bridge("memory") as bridge:
        ref = bridge.put([1])
        for name in sys.argv[1:]:
            show(name, lambda: globals()[name](ref))
"""


@pytest.fixture(params=[pickle, cloudpickle], ids=["pickle", "cloudpickle"])
def through(request):
    """Pickle a value and take the pickle apart again."""
    return lambda value: pickle.loads(request.param.dumps(value))


def elsewhere(data):
    """What a fresh process says of a pickle."""
    code = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
    done = subprocess.run(
        [sys.executable, "-c", code], input=data, capture_output=True, check=False
    )
    assert done.returncode == 1
    return done.stderr.decode().splitlines()[-1]


def test_a_ref_is_the_same_ref_again(bridge, through):
    ref = bridge.put([1])
    assert through(ref) is ref
    first, second = through({"deep": [ref, ref]})["deep"]
    assert (first, second) == (ref, ref)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_has_refs(memory, protocol):
    ref = memory.put([1])
    assert pickle.loads(pickle.dumps(ref, protocol)) is ref


def test_a_stream_is_the_same_stream_again(bridge, through):
    stream = bridge.stream("builtins.range", 3)
    assert next(through(stream)) == 0
    assert list(stream) == [1, 2]


def test_a_function_that_closes_over_a_ref_has_it_again(bridge):
    ref = bridge.put([1])
    assert pickle.loads(cloudpickle.dumps(lambda: ref))() is ref


def test_pickling_makes_no_trip_and_runs_nothing_there(bridge, through):
    ref = bridge.put([1])
    before = bridge.status().calls
    through([ref] * 100)
    assert bridge.status().calls == before


def test_a_pickle_keeps_nothing_alive(bridge, eventually):
    ref = bridge.new("list")
    data = [pickle.dumps(ref) for _ in range(100)]
    del ref
    gc.collect()
    eventually(lambda: bridge.refs() == [])
    with pytest.raises(RefNotFoundError, match=NAMES_FETCH):
        pickle.loads(data[0])


def test_pickling_keeps_no_books_of_refs(memory):
    ref = memory.put([1])
    pickle.dumps(ref)
    before = len(gc.get_objects())
    for _ in range(1000):
        pickle.dumps(ref)
    assert len(gc.get_objects()) - before < 100


def test_a_ref_that_was_moved_is_still_that_ref(bridge):
    ref = bridge.put([1])
    data = pickle.dumps(ref)
    moved = bridge.move(ref, "named")
    assert pickle.loads(data) is ref
    assert pickle.loads(pickle.dumps(moved)) is moved


@pytest.mark.parametrize("how", ["released", "session released"])
def test_a_ref_that_has_ended_says_how(bridge, how):
    with bridge.session("named"):
        ref = bridge.put([1])
    data = pickle.dumps(ref)
    bridge.release(ref if how == "released" else "named")
    for pickled in (data, pickle.dumps(ref)):
        with pytest.raises(RefNotFoundError, match=NAMES_FETCH) as caught:
            pickle.loads(pickled)
        assert caught.value.reason == how


def test_another_object_of_the_same_number_is_never_given(local):
    data = pickle.dumps(local.put([1]))
    local.restart()
    other = local.put([2])
    with pytest.raises(RefNotFoundError, match=NAMES_FETCH):
        pickle.loads(data)
    ref = local.put([3])
    data = pickle.dumps(ref)
    local.restart()
    local.put([4])
    with pytest.raises(SessionLostError):
        pickle.loads(data)
    assert other is not ref


def test_a_closed_bridge_gives_no_refs(bridge):
    ref = bridge.put([1])
    data = pickle.dumps(ref)
    bridge.close()
    with pytest.raises(InvalidRefError, match=NAMES_FETCH):
        pickle.loads(data)
    with bridge_ext.Bridge("memory") as another:
        other = another.put([1])
        with pytest.raises(InvalidRefError, match=NAMES_FETCH):
            pickle.loads(data)
    assert other is not ref


def test_a_kept_ref_is_found_again_once_it_has_a_handle(bridge, eventually):
    with bridge.session("named"):
        ref = bridge.put([1])
    bridge.keep(ref, "mine")
    data = pickle.dumps(ref)
    del ref
    gc.collect()
    with pytest.raises(RefNotFoundError, match=r"bridge\.keep"):
        pickle.loads(data)
    kept = bridge.kept("named")["mine"]
    assert pickle.loads(data) is kept


def test_the_books_of_a_worker_end_with_it(memory):
    with bridge_ext.Bridge("memory") as bridge:
        pickle.dumps(bridge.put([1]))
        known = len(tokens._numbers._known)
    del bridge
    gc.collect()
    assert len(tokens._numbers._known) < known


def test_another_process_says_what_to_do(memory):
    with memory.session("named"):
        said = elsewhere(pickle.dumps(memory.put([1])))
    assert "InvalidRefError: <ref list of 1 in 'named'> is not a usable ref" in said
    assert f"process {os.getpid()}" in said
    assert "bridge.fetch(ref)" in said


def test_a_forked_child_is_another_process(memory, monkeypatch):
    ref = memory.put([1])
    data = pickle.dumps(ref)
    assert pickle.loads(data) is ref
    monkeypatch.setattr(os, "getpid", lambda: -5)
    with pytest.raises(InvalidRefError, match=NAMES_FETCH):
        pickle.loads(data)


def test_a_process_that_was_given_the_same_pid_is_another(memory, monkeypatch):
    data = pickle.dumps(memory.put([1]))
    monkeypatch.setattr(tokens, "_MARK", "00")
    with pytest.raises(InvalidRefError):
        pickle.loads(data)


def test_what_was_tampered_with_gives_nothing(memory):
    ref = memory.put([1])
    _, (mark, pid, number, ref_id, text) = ref.__reduce_ex__(5)
    assert handle_of(mark, pid, number, ref_id, text) is ref
    for bad in [(mark, pid, number, ref_id + 1), (mark, pid, number + 1, ref_id)]:
        with pytest.raises((InvalidRefError, RefNotFoundError)):
            handle_of(*bad, text)


def test_the_error_of_a_pickle_shows_the_users_frames_only(memory):
    ref = memory.put([1])
    data = pickle.dumps(ref)
    memory.release(ref)
    with pytest.raises(RefNotFoundError) as caught:
        pickle.loads(data)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    if sys.version_info < (3, 11):
        names.remove("handle_of")  # of our frames one stays
    assert names == ["test_the_error_of_a_pickle_shows_the_users_frames_only"]


def test_a_pool_refuses_a_ref_instead_of_waiting_for_a_child_that_has_ended(tmp_path):
    script = tmp_path / "pools.py"
    script.write_text(POOLS)
    names = ["in_pool", "in_process", "in_executor", "in_joblib"]
    done = subprocess.run(
        [sys.executable, str(script), *names],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line.split() for line in done.stdout.splitlines()]
    assert [(line[0], line[-1]) for line in said] == [(name, "True") for name in names], done
    assert [line[1] for line in said[:3]] == ["InvalidRefError"] * 3
    assert said[3][1] == "PicklingError"


# --- What the bridge itself pickles -----------------------------------------------------------


def test_refs_in_arguments_travel_as_refs_and_not_in_pickles(bridge):
    ref = bridge.put([1])
    other = bridge.put([2])

    class Local:
        def __init__(self, held):
            self.held = held

    bridge.register_helper(lambda x, f: [x.held["deep"][0], f()], "opened")
    first, second = bridge.helper("opened", Local({"deep": (ref,)}), lambda: other)
    assert (first, second) == ([1], [2])


def test_a_helper_holds_no_ref(bridge):
    ref = bridge.put([1])
    with pytest.raises(EncodeError, match="give it refs and callbacks as arguments"):
        bridge.register_helper(lambda: ref, "holds")
