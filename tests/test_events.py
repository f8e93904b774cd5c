"""What `subscribe` tells, the spans that are made of it, and the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
import threading

import pytest
from conftest import DEADLINE
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import bridge_ext
from bridge_ext import (
    BridgeUsageError,
    CallEnded,
    CallStarted,
    SessionCreated,
    SessionLost,
    SessionReleased,
    WorkerDiedError,
    telemetry,
)


@pytest.fixture
def heard(bridge):
    events = []
    stop = bridge.subscribe(events.append)
    yield events
    stop()


def calls(events):
    """The pairs of a call's start and end."""
    ends = {e.number: e for e in events if type(e) is CallEnded}
    return [(e, ends.get(e.number)) for e in events if type(e) is CallStarted]


def test_a_call_is_told_of_when_it_starts_and_when_it_ends(bridge, heard):
    assert bridge.call("math.sqrt", 4) == 2.0
    ((start, end),) = calls(heard)
    assert (start.call, start.cell, end.error) == ("math.sqrt", "thread MainThread", None)
    assert end.session_id == bridge.current_session()
    assert end.seconds >= 0
    kinds = [type(e) for e in heard]
    assert kinds.index(CallStarted) < kinds.index(SessionCreated) < kinds.index(CallEnded)


def test_a_call_that_raises_ends_with_its_error(bridge, heard):
    with pytest.raises(ValueError, match="math domain"):
        bridge.call("math.sqrt", -1)
    assert calls(heard)[0][1].error == "ValueError: math domain error"


def test_a_call_that_is_refused_is_told_of_as_well(bridge, heard):
    with pytest.raises(bridge_ext.EncodeError):
        bridge.call("len", threading.Lock())
    assert calls(heard)[0][1].error.startswith("EncodeError: args[0]")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda b, r: r.append(1), "list.append"),
        (lambda b, r: b.get(r, "append"), "list.append"),
        (lambda b, r: b.attr("math.pi"), "math.pi"),
        (lambda b, r: b.fetch(r), "fetch(<ref list of 0>)"),
        (lambda b, r: r * 2, "mul(<ref list of 0>)"),
        (lambda b, r: next(b.stream("range", 3)), "next(<ref range_iterator>)"),
        (lambda b, r: b.submit("math.sqrt", 4).result(DEADLINE), "math.sqrt"),
        (lambda b, r: asyncio.run(b.acall("math.sqrt", 4)), "math.sqrt"),
    ],
)
def test_every_kind_of_call_is_told_of(bridge, heard, eventually, make, text):
    ref = bridge.new("list")
    heard.clear()
    make(bridge, ref)
    eventually(lambda: calls(heard)[-1][1], "the end of the call")
    assert calls(heard)[-1][0].call == text
    assert len(calls(heard)) == 1 + (text.startswith("next"))


def test_a_batch_is_told_of_as_one_call(bridge, heard):
    with bridge.batch() as batch:
        batch.call("math.sqrt", 4)
        batch.call("math.sqrt", 9)
    assert [start.call for start, _ in calls(heard)] == ["a batch of 2 calls"]


def test_a_cancelled_future_ends_once(local, eventually):
    events = []
    local.subscribe(events.append)
    future = local.submit("time.sleep", 60)
    assert future.cancel()
    eventually(lambda: not local._remote.incarnation.connection.in_flight, "the end of it")
    eventually(lambda: calls(events)[0][1], "being told of it")
    ((_, end),) = calls(events)
    assert end.error.startswith("CancelledError")


def test_a_future_that_cannot_be_sent_ends_with_its_error(bridge, heard):
    with pytest.raises(bridge_ext.EncodeError):
        bridge.submit("len", threading.Lock())
    ((_, end),) = calls(heard)
    assert end.error.startswith("EncodeError: args[0]")


def test_sessions_are_told_of(bridge, heard):
    bridge.session("shared")
    bridge.release("shared")
    assert [e for e in heard if type(e) in (SessionCreated, SessionReleased)] == [
        SessionCreated("shared", "named"),
        SessionReleased("shared", "session released", 0, 0),
    ]


def test_a_death_is_told_of(local):
    events = []
    local.subscribe(events.append)
    with pytest.raises(WorkerDiedError):
        local.call("os._exit", 3)
    lost = [e for e in events if type(e) is SessionLost]
    assert lost[0].why == "its worker exited with code 3"
    assert calls(events)[-1][1].error.startswith("WorkerDiedError")


def test_after_unsubscribing_nothing_is_told(bridge):
    events = []
    bridge.subscribe(events.append)()
    bridge.call("math.sqrt", 4)
    assert events == []


def test_a_subscriber_that_raises_harms_nobody(bridge, heard, caplog):
    stop = bridge.subscribe(lambda event: 1 / 0)
    try:
        assert bridge.call("math.sqrt", 4) == 2.0
    finally:
        stop()
    assert calls(heard)
    assert "a subscriber raised" in caplog.text


# ---------------------------------------------------------------- OpenTelemetry
@pytest.fixture
def tracer():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("test"), exporter.get_finished_spans
    provider.shutdown()


def test_each_call_is_a_span(bridge, tracer):
    tracer, spans = tracer
    stop = telemetry.trace(bridge, tracer)
    with tracer.start_as_current_span("cell") as outer:
        bridge.call("math.sqrt", 4)
    with contextlib.suppress(ValueError):
        bridge.call("math.sqrt", -1)
    stop()
    bridge.call("math.sqrt", 9)
    good, _, bad = spans()
    assert (good.name, good.parent.span_id) == ("math.sqrt", outer.context.span_id)
    assert good.attributes["bridge.session"] == bridge.current_session()
    assert good.attributes["bridge.cell"] == "thread MainThread"
    assert good.status.status_code is StatusCode.UNSET
    assert (bad.status.status_code, bad.status.description) == (
        StatusCode.ERROR,
        "ValueError: math domain error",
    )


def test_spans_of_calls_that_still_run_end_with_the_tracing(local, tracer):
    tracer, spans = tracer
    stop = telemetry.trace(local, tracer)
    future = local.submit("time.sleep", 60)
    stop()
    assert [span.name for span in spans()] == ["time.sleep"]
    future.cancel()


def test_without_opentelemetry_the_error_says_what_to_install(bridge, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(BridgeUsageError, match=r"pip install 'bridge-ext\[otel\]'"):
        telemetry.trace(bridge)


# ---------------------------------------------------------------- the log
def test_the_log_is_silent_unless_it_is_set_up():
    code = (
        "import bridge_ext, os\n"
        "with bridge_ext.Bridge() as b:\n"
        "    b.subscribe(lambda e: 1 / 0)\n"
        "    try: b.call('os._exit', 1)\n"
        "    except bridge_ext.WorkerDiedError: pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_log_tells_of_the_workers(local, caplog):
    caplog.set_level(logging.DEBUG, "bridge_ext")
    with pytest.raises(WorkerDiedError):
        local.call("os._exit", 3)
    assert "worker 1 started" in caplog.text
    assert "worker 1 exited with code 3" in caplog.text
