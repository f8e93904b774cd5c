"""One rule resolves the session of every call path, for the payload and for the route."""

import itertools
from functools import partial

import pytest

import bridge_ext
from bridge_ext import BridgeUsageError, SessionMismatchError
from bridge_ext.kernel.backends.base import Backend
from bridge_ext.kernel.configuration import make_backend
from bridge_ext.kernel.resolution import resolve
from bridge_ext.kernel.wire.loading import Loading
from bridge_ext.kernel.wire.marks import Ext
from bridge_ext.kernel.wire.payload import CallType

OPEN = Loading(dict.fromkeys((Ext.REF, Ext.REF_ARG, Ext.PICKLE, Ext.MODULE, Ext.CALLBACK), bytes))


@pytest.mark.parametrize(
    ("option", "target", "in_force"),
    list(itertools.product(["option", None], ["target", None], ["in force", None])),
)
def test_the_rule(option, target, in_force):
    expected = option or target or in_force or "auto"
    assert resolve(option, target, in_force, lambda: "auto") == expected


class SpyBackend(Backend):
    """A backend, noting each payload and where it was routed."""

    name = "spy"

    def __init__(self, inner):
        self.inner, self.lacks = inner, inner.lacks
        self.seen = []

    def open(self, incarnation, config):
        connection = self.inner.open(incarnation, config)
        call, control, listen = connection.call, connection.control, connection.listen

        def spied_call(request, outgoing, deadline, finish):
            self.note(request.body, request.session)
            return call(request, outgoing, deadline, finish)

        def spied_control(body, deadline):
            self.note(body, None)
            return control(body, deadline)

        def spied_listen(take_types, answer, *others):
            def spied_answer(request, frame):
                self.note(frame.body, None)
                return answer(request, frame)

            listen(take_types, spied_answer, *others)

        connection.call, connection.control = spied_call, spied_control
        connection.listen = spied_listen
        return connection

    def note(self, body, route):
        payload = OPEN.load(body)
        if payload.get("call_type") == "batch":  # each of its calls is one, resolved by itself
            starts, items = payload["args"]
            for number, *args in items:
                self.seen.append(({**starts[number], "args": args}, None))
            route = None
        if "call_type" in payload and payload["session_id"] != "none":
            self.seen.append((payload, route))


@pytest.fixture(params=["memory", "local"])
def spy(request):
    backend = SpyBackend(make_backend(request.param, None))
    with bridge_ext.Bridge(backend) as bridge:
        bridge.register_helper(lambda x=None: x, "same")
        yield bridge, backend.seen


def in_a_batch(bridge, path, *args):
    with bridge.batch() as batch:
        future = batch.call(path, *args)
    return future.result()


# What each call type looks like at the surface, without a target and on one.
BY_PATH = {
    CallType.FUNCTION: lambda b: b.module("math").sqrt(4.0),
    CallType.DYNAMIC: lambda b: b.call("math.sqrt", 4.0),
    CallType.CLASS: lambda b: b.new("list"),
    CallType.MODULE_ATTR: lambda b: b.attr("math.pi"),
    CallType.HELPER: lambda b: b.helper("same"),
    CallType.STREAM: lambda b: b.stream("range", 3),
    CallType.PUT: lambda b: b.put([1]),
    CallType.KEPT: lambda b: b.kept(),
    CallType.BATCH: lambda b: in_a_batch(b, "math.sqrt", 4.0),
    CallType.CALLBACK: lambda b: b.call("functools.reduce", b.callback(max), [1, 2]),
}
ON_REF = {
    CallType.FUNCTION: lambda b, r: r == 3,
    CallType.METHOD: lambda b, r: b.method(r, "f"),
    CallType.GET_ATTR: lambda b, r: b.get(r, "x"),
    CallType.SET_ATTR: lambda b, r: b.set(r, "x", 5),
    CallType.STREAM_NEXT: lambda b, r: next(b.method(r, "__iter__")),
    CallType.FETCH: lambda b, r: b.fetch(r),
    CallType.KEEP: lambda b, r: b.keep(r, "name"),
    CallType.DESCRIBE: lambda b, r: b.info(r),
    CallType.DISPLAY: lambda b, r: r._repr_mimebundle_(),
    CallType.RELEASE_REF: lambda b, r: b.release(r),
}
ELSEWHERE = {CallType.MOVE, CallType.RELEASE_SESSION}  # these name their session themselves


def test_no_call_type_is_left_out():
    assert BY_PATH.keys() | ON_REF.keys() | ELSEWHERE == set(CallType)


def last(seen, call_type):
    return [(p, route) for p, route in seen if p["call_type"] == call_type.value][-1]


def expect(seen, call_type, session_id):
    payload, route = last(seen, call_type)
    assert payload["session_id"] == session_id
    if route is not None:
        assert (route.id, route.generation) == (session_id, payload["generation"])


class Sample:
    """An object on which every call type can be made."""

    def __init__(self):
        self.x = 1

    def f(self):
        return 1

    def __iter__(self):
        return iter([1])

    def __eq__(self, other):
        return False

    __hash__ = None


def sample(bridge):
    return bridge.put(Sample())


@pytest.mark.parametrize("call_type", BY_PATH, ids=lambda c: c.value)
def test_a_call_by_path_runs_in_the_auto_session_of_its_scope(spy, call_type):
    bridge, seen = spy
    BY_PATH[call_type](bridge)
    expect(seen, call_type, bridge.current_session())
    assert bridge.current_session().startswith("auto_")


@pytest.mark.parametrize("call_type", BY_PATH, ids=lambda c: c.value)
def test_a_call_by_path_runs_in_the_session_in_force(spy, call_type):
    bridge, seen = spy
    with bridge.session("named"):
        BY_PATH[call_type](bridge)
    expect(seen, call_type, "named")


@pytest.mark.parametrize("call_type", BY_PATH, ids=lambda c: c.value)
def test_an_option_beats_the_session_in_force(spy, call_type):
    bridge, seen = spy
    with bridge.session("named"), bridge.options(session="option"):
        BY_PATH[call_type](bridge)
    expect(seen, call_type, "option")


@pytest.mark.parametrize("call_type", ON_REF, ids=lambda c: c.value)
@pytest.mark.parametrize("home", ["auto", "named"])
def test_a_call_on_a_ref_runs_in_the_session_of_the_ref(spy, call_type, home):
    bridge, seen = spy
    if home == "auto":
        ref, expected = sample(bridge), bridge.current_session()
    else:
        with bridge.session("home"):
            ref, expected = sample(bridge), "home"
    with bridge.session("in-force"):
        ON_REF[call_type](bridge, ref)
    expect(seen, call_type, expected)


CALLS_ON_REF = ON_REF.keys() - {CallType.DESCRIBE, CallType.DISPLAY, CallType.RELEASE_REF}


@pytest.mark.parametrize("call_type", sorted(CALLS_ON_REF), ids=lambda c: c.value)
def test_under_an_option_an_auto_target_is_borrowed(spy, call_type):
    bridge, seen = spy
    ref = sample(bridge)
    with bridge.options(session="option"):
        if call_type is CallType.STREAM_NEXT:
            stream = bridge.options(session="option").method(ref, "__iter__")
            assert next(stream) == 1
        else:
            ON_REF[call_type](bridge, ref)
    expect(seen, call_type, "option")


@pytest.mark.parametrize("call_type", sorted(CALLS_ON_REF), ids=lambda c: c.value)
def test_an_option_that_contradicts_a_named_target_is_refused_before_anything_is_sent(
    spy, call_type
):
    bridge, seen = spy
    with bridge.session("home"):
        ref = sample(bridge)
        stream = bridge.method(ref, "__iter__")
    before = len(seen)
    streaming = call_type is CallType.STREAM_NEXT
    act = partial(next, stream) if streaming else partial(ON_REF[call_type], bridge, ref)
    within = (bridge.session("home"), bridge.options(session="option"))
    with within[0], within[1], pytest.raises(SessionMismatchError) as info:
        act()
    assert (info.value.expected, info.value.actual) == ("option", "home")
    assert len(seen) == before


def test_move_and_release_name_their_session_themselves(spy):
    bridge, seen = spy
    ref = sample(bridge)
    bridge.move(ref, "target")
    expect(seen, CallType.MOVE, "target")
    bridge.release("target")
    expect(seen, CallType.RELEASE_SESSION, "target")


def test_a_bad_session_option_is_refused(spy):
    bridge, _ = spy
    with pytest.raises(BridgeUsageError, match="is no session id"):
        bridge.options(session="")


MAKE = {
    CallType.FUNCTION: lambda b: b.module("collections").Counter("ab"),
    CallType.DYNAMIC: lambda b: b.call("collections.Counter", "ab"),
    CallType.CLASS: lambda b: b.new("list"),
    CallType.MODULE_ATTR: lambda b: b.attr("os.environ"),
    CallType.HELPER: lambda b: b.options(fetch=False).helper("same"),
    CallType.STREAM: lambda b: b.stream("range", 3),
    CallType.PUT: lambda b: b.put([1]),
}


@pytest.mark.parametrize("call_type", MAKE, ids=lambda c: c.value)
def test_the_worker_holds_what_was_made_in_the_session_that_resolved(spy, call_type):
    bridge, _ = spy
    auto = MAKE[call_type](bridge)
    assert bridge.info(auto).session_id == bridge.current_session()
    with bridge.session("named"):
        named = MAKE[call_type](bridge)
        with bridge.options(session="option"):
            option = MAKE[call_type](bridge)
    assert bridge.info(named).session_id == "named"
    assert bridge.info(option).session_id == "option"
    assert [r.session_id for r in bridge.refs("named")] == ["named"]


def test_an_argument_behind_a_wall_is_refused_before_anything_is_sent(spy):
    bridge, seen = spy
    with bridge.session("home"):
        ref = sample(bridge)
    before = len(seen)
    for argument in (ref, [ref], {"k": (ref,)}, lambda: ref):
        with pytest.raises(SessionMismatchError) as info:
            bridge.call("repr", argument)
        assert info.value.actual == "home"
    assert len(seen) == before
    with bridge.session("home"):
        assert bridge.call("len", [ref]) == 1
