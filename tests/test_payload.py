import pytest

from bridge_ext import BridgeUsageError, ProtocolError
from bridge_ext.kernel.wire import payload as p
from bridge_ext.kernel.wire.loading import plain

EXAMPLES = {
    "function": {"python_module": "math", "function": "sqrt", "args": [4], "kwargs": {}},
    "dynamic": {"module_path": "math", "function": "sqrt", "args": [4], "kwargs": {}},
    "class": {"python_module": "fractions", "function": "Fraction", "args": [], "kwargs": {}},
    "method": {"instance": [1, "s", 1], "function": "f", "args": [], "kwargs": {}},
    "get_attr": {"instance": [1, "s", 1], "attr": "x"},
    "set_attr": {"instance": [1, "s", 1], "attr": "x", "args": [1]},
    "module_attr": {"module_path": "math", "attr": "pi"},
    "helper": {"helper": "h", "args": [], "kwargs": {}},
    "stream": {"python_module": "builtins", "function": "range", "args": [3], "kwargs": {}},
    "stream_next": {"stream_ref": [1, "s", 1], "args": [10, 0]},
    "callback": {"instance": [1, "s", 1], "args": [], "kwargs": {}},
    **{name: {"args": [1] * p.COUNTS.get(name, 3)} for name in (
        "put", "fetch", "keep", "kept", "move", "describe", "display", "batch", "release_ref",
        "release_session")},
}  # fmt: skip


def good(call_type):
    return {**p.base(call_type, "s"), **EXAMPLES[call_type]}


@pytest.fixture(params=[c.value for c in p.CallType])
def call_type(request):
    return request.param


def test_every_call_type_has_its_fields():
    assert p.FIELDS.keys() == {c.value for c in p.CallType} == EXAMPLES.keys()


def test_a_well_formed_payload_passes_twice(call_type):
    for _ in range(2):  # the second time its shape is known
        assert p.check(good(call_type)) == call_type


def test_each_field_is_required(call_type):
    for field in [*p.COMMON, *(EXAMPLES[call_type].keys() - p.OPTIONAL)]:
        bad = good(call_type)
        del bad[field]
        with pytest.raises(ProtocolError, match=field):
            p.check(bad)


def test_unknown_fields_are_named(call_type):
    with pytest.raises(ProtocolError, match="'colour'"):
        p.check({**good(call_type), "colour": 1})


def test_types_of_fields_are_checked(call_type):
    for field, wrong in {"session_id": 5, "args": "x", "kwargs": [], "function": 1}.items():
        if field in good(call_type):
            with pytest.raises(ProtocolError, match=field):
                p.check({**good(call_type), field: wrong})


def test_an_empty_session_id_is_refused(call_type):
    for _ in range(2):
        with pytest.raises(ProtocolError, match="no default session"):
            p.check({**good(call_type), "session_id": ""})


@pytest.mark.parametrize("value", [None, 1, [], "x", {}, {1: 2}, {"call_type": []}])
def test_what_is_no_payload_is_refused(value):
    with pytest.raises(ProtocolError):
        p.check(value)


def test_an_unknown_call_type_is_refused_with_the_known_ones():
    with pytest.raises(ProtocolError, match=r"'teleport'.*'dynamic'"):
        p.check({**good("dynamic"), "call_type": "teleport"})


@pytest.mark.parametrize(
    ("theirs", "least", "fits"),
    [(1, 1, True), (2, 1, True), (2, 2, False), (0, 0, False), ("1", 1, False)],
)
def test_versions_fit_or_are_refused_with_both_numbers(theirs, least, fits):
    value = {**good("dynamic"), "protocol_version": theirs, "min_supported_version": least}
    if fits:
        assert p.check(value) == "dynamic"
    else:
        with pytest.raises(ProtocolError, match=r"this side speaks 1 to 1"):
            p.check(value)


@pytest.mark.parametrize("call_type", ["dynamic", "class", "stream", "module_attr"])
def test_a_module_is_named_in_exactly_one_way(call_type):
    both = {**good(call_type), "module_path": "a", "python_module": "b"}
    neither = {k: v for k, v in both.items() if k not in ("module_path", "python_module")}
    for bad in (both, neither):
        with pytest.raises(ProtocolError, match="python_module or by module_path"):
            p.check(bad)


def test_parts_join_to_one_payload():
    packed = p.join(
        [p.start("dynamic", {"module_path": "m", "function": "f"}), p.part({"session_id": "s"}),
         p.call_part([1], {"k": 2})]
    )  # fmt: skip
    assert p.check(plain.load(packed)) == "dynamic"
    assert plain.load(packed)["kwargs"] == {"k": 2}


@pytest.mark.parametrize("good_id", ["a", "a:b", "A.b_c-d:9", "x" * 128])
def test_session_ids(good_id):
    assert p.check_id(good_id) == good_id


@pytest.mark.parametrize("bad_id", ["", " ", "a b", "ä", "a/b", "x" * 129, None, 5, b"x", "a\n"])
def test_bad_session_ids_are_shown(bad_id):
    with pytest.raises(BridgeUsageError, match="is no session id: give 1 to 128"):
        p.check_id(bad_id)
