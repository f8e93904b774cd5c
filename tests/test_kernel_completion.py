"""Tab, `?` and Shift+Tab at a real kernel, with jedi and without."""

from __future__ import annotations

import re

import pytest
from kernels import Kernel, plain

THINGS = '''
"""Things that tell when somebody runs them."""

ran = []


def seen():
    return list(ran)


def numbers():
    while True:
        ran.append("next")
        yield 1


class Descriptor:
    def __get__(self, instance, owner):
        ran.append("descriptor")
        return 1


class Part:
    def __init__(self):
        self.leaf = 1

    def inner(self, depth=0):
        """Goes in."""


class Thing:
    """A thing.

    With more to say.
    """

    shared = {"a": 1}
    described = Descriptor()

    def __init__(self):
        self.own_value = 1
        self.part = Part()

    @property
    def size(self):
        """How big it is."""
        ran.append("size")
        return "text"

    def method(self, alpha, beta=2, *, gamma="x"):
        """Does it.

        At length.
        """

    def __getattr__(self, name):
        ran.append("getattr " + name)
        raise AttributeError(name)

    def _loud(self, *args):
        ran.append("loud")
        return 1

    __iter__ = __len__ = __bool__ = __eq__ = __getitem__ = __add__ = __str__ = __repr__ = _loud
    __format__ = __contains__ = __lt__ = _loud
    __hash__ = object.__hash__


def use(thing, alpha, beta=2):
    """Uses it."""
    return alpha
'''
UNIMPORTED = "raise RuntimeError('imported')\ndef first(): pass\nclass Second: pass\n"
SETUP = """
t_thing = bridge.new("things.Thing")
t_frame = bridge.call("pandas.DataFrame", {"zone": [1], "two words": [2]})
t_dict = bridge.put({"alpha": 1, "beta": 2, 3: 4})
t_stream = bridge.call("things.numbers")
t_function = bridge.attr("things.use")
t_numpy = bridge.module("numpy")
t_norm = t_numpy.linalg.norm
t_other = bridge.module("unimported")
class T_Box:
    pass
t_box = T_Box()
t_box.frame = t_frame
bridge.create_session("shared-one")
bridge.create_session("shared-two")
bridge.call("things.ran.clear")
"""
FRAME = re.compile(r"Ref on pandas(\.core\.frame)?\.DataFrame")


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """One kernel for all tests, with things to look at."""
    kernel = Kernel(tmp_path_factory.mktemp("completion"))
    (kernel.directory / "things.py").write_text(THINGS)
    (kernel.directory / "unimported.py").write_text(UNIMPORTED)
    try:
        kernel.run("%load_ext bridge_ext\n" + SETUP)
        yield kernel
    finally:
        kernel.close()


@pytest.fixture(params=["jedi", "plain"])
def kernel(ready, request):
    """The kernel with jedi on or off; what ran because of a test fails it."""
    ready.run(f"%config IPCompleter.use_jedi = {request.param == 'jedi'}")
    before = ready.get("bridge.status().calls")
    yield ready
    assert ready.get("bridge.status().calls") == before, "no call was made"
    assert ready.get("bridge.call('things.seen')") == []


@pytest.fixture
def own(tmp_path):
    """A kernel that a test may change, without the extension."""
    kernel = Kernel(tmp_path)
    try:
        yield kernel
    finally:
        kernel.close()


def complete(kernel, code):
    """The last names of what completes the code."""
    return {match.rpartition(".")[2] for match in kernel.ask("complete", code)["matches"]}


def told(kernel, code):
    """What Shift+Tab shows."""
    return plain(kernel.ask("inspect", code)["data"].get("text/plain", ""))


# --- Tab on handles ---------------------------------------------------------------------------


def test_a_ref_completes_to_its_members_and_its_own_names(kernel):
    names = complete(kernel, "t_thing.")
    assert {"method", "size", "shared", "described", "own_value", "part"} <= names
    assert not any(name.startswith("_") for name in names)
    assert complete(kernel, "t_thing.own") == {"own_value"}
    assert complete(kernel, "t_frame.groupb") == {"groupby"}
    assert complete(kernel, "t_frame.zo") == {"zone"}
    assert complete(kernel, "t_box.frame.groupb") == {"groupby"}


def test_types_and_signatures_come_from_the_stubs(ready):
    ready.run("%config IPCompleter.use_jedi = True")
    metadata = ready.ask("complete", "t_thing.meth")["metadata"]
    (found,) = metadata["_jupyter_types_experimental"]
    assert found["type"] == "function"
    assert found["signature"] == "(alpha, beta=2, *, gamma='x')"


@pytest.mark.parametrize(
    "code",
    [
        "t_thing.size.",
        "t_thing.described.",
        "t_thing.shared.",
        "t_thing[0].",
        "(t_thing + 1).",
        "(t_thing == 1).",
        "(t_thing if t_thing else 1).",
        "for x in t_thing:\n    x.",
        "if t_thing:\n    t_thing.o",
        "if t_thing == 1 and t_thing > 2:\n    t_thing.o",
        "a, b = t_thing\na.",
        "first, second = t_stream\nfirst.",
        "for x in t_stream:\n    x.",
        "[y for y in t_stream][0].",
        "t_thing.method(",
        "t_thing.method().",
        "t_thing.size(",
        "len(t_thing).",
        "str(t_thing).",
        "f'{t_thing.si",
        "t_thing['",
        "with t_thing as y:\n    y.",
        "x = t_thing.size\ny = x\ny.",
        "t_numpy.linalg.",
        "t_numpy.pi.",
        "t_norm.",
        "t_norm(",
    ],
)
def test_no_code_of_the_users_runs_because_of_tab(kernel, code):
    kernel.ask("complete", code)
    kernel.ask("inspect", code.rstrip(".("))


def test_what_lies_in_an_attribute_is_completed(kernel):
    assert complete(kernel, "t_thing.part.") == {"inner", "leaf"}
    assert complete(kernel, "x = 1\nt_thing.part.lea") == {"leaf"}


def test_keys_are_completed(kernel):
    def keys(code):
        return {m.strip("'\"[]") for m in kernel.ask("complete", code)["matches"]}

    assert {"zone", "two words"} <= keys("t_frame['")
    assert keys("t_frame['zo") == {"zone"}
    assert {"alpha", "beta"} <= keys('t_dict["')
    assert keys("t_dict['al") == {"alpha"}


def test_modules_are_completed(kernel):
    assert {"linalg", "linspace"} <= complete(kernel, "t_numpy.lin")
    assert "norm" in complete(kernel, "t_numpy.linalg.no")
    assert {"first", "Second"} == complete(kernel, "t_other.")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("t_thing.method(gam", "gamma="),
        ("t_thing.method(1, gamma=len([1, 2]), be", "beta="),
        ("x = [t_thing.method(", "alpha="),
        ("t_frame.groupby(le", "level="),
        ("t_function(1, al", "alpha="),
        ("t_norm(keep", "keepdims="),
        ("t_numpy.linalg.norm([3, 4], ax", "axis="),
        ("t_box.frame.groupby(so", "sort="),
        ("t_thing.part.inner(", "depth="),
    ],
)
def test_arguments_of_what_is_remote_are_completed(kernel, code, expected):
    assert expected in kernel.ask("complete", code)["matches"]


def test_what_a_cell_evaluates_is_read_as_ever(ready):
    expressions = {"size": "t_frame.shape", "first": "t_dict['alpha']", "count": "len(t_dict)"}
    cell = ready.run("t_frame.shape, eval('t_frame.shape')", user_expressions=expressions)
    assert cell.result["text/plain"] == "((1, 2), (1, 2))"
    shown = {k: v["data"]["text/plain"] for k, v in cell.reply["user_expressions"].items()}
    assert shown == {"size": "(1, 2)", "first": "1", "count": "3"}
    assert ready.run("get_ipython().ev('t_frame.shape')").result["text/plain"] == "(1, 2)"


# --- Shift+Tab and ? --------------------------------------------------------------------------


def test_help_on_a_ref_tells_of_the_object_and_not_of_the_handle(kernel):
    text = told(kernel, "t_thing")
    assert "Ref on things.Thing" in text
    assert "<ref Thing>" in text
    assert "With more to say." in text
    assert "things.py" in text
    for ours in ("handles.py", "bridge_ext", "operators.py"):
        assert ours not in text
    assert "1×2" in told(kernel, "t_frame")
    assert FRAME.search(told(kernel, "t_box.frame"))


def test_help_on_members_tells_signature_and_docstring(kernel):
    text = told(kernel, "t_thing.method(")
    assert "t_thing.method(alpha, beta=2, *, gamma='x')" in text
    assert "At length." in text
    assert "method of things.Thing" in text
    assert "How big it is." in told(kernel, "t_thing.size")
    assert "property of things.Thing" in told(kernel, "t_thing.size")
    assert "things.Part, an attribute" in told(kernel, "t_thing.part")
    assert "t_thing.part.inner(depth=0)" in told(kernel, "t_thing.part.inner")
    assert "descriptor" in told(kernel, "t_thing.described").lower()


def test_help_on_what_is_not_there_finds_nothing(kernel):
    for code in ("t_thing.nothing", "t_thing.size.real", "t_numpy.nothing", "t_thing.part.nothing"):
        assert kernel.ask("inspect", code)["found"] is False, code


def test_help_on_functions_and_modules(kernel):
    text = told(kernel, "t_function(")
    assert "t_function(thing, alpha, beta=2)" in text
    assert "function things.use" in text
    assert "Uses it." in text
    norm = "t_numpy.linalg.norm(x, ord=None, axis=None, keepdims=False)"
    assert norm in told(kernel, "t_numpy.linalg.norm(")
    assert "t_norm(x, ord=None" in told(kernel, "t_norm(")
    assert "module numpy in the worker" in told(kernel, "t_numpy")
    assert "module numpy.linalg in the worker" in told(kernel, "t_numpy.linalg")


def test_a_module_that_was_not_imported_says_so(kernel):
    assert "has not imported" in told(kernel, "t_other")
    assert "has not imported" in told(kernel, "t_other.first")


def test_help_on_the_users_own_things_is_as_before(kernel):
    assert "t_box" not in told(kernel, "t_box.nothing")
    assert "T_Box" in told(kernel, "t_box")
    assert "Return the number of items" in told(kernel, "len")
    assert "bridge.call(path" in told(kernel, "bridge.call")


def test_two_question_marks_show_the_source(ready):
    def paged(code):
        return plain(ready.run(code).reply["payload"][0]["data"]["text/plain"])

    assert "self.own_value = 1" in paged("t_thing??")
    assert 'ran.append("size")' in paged("t_thing.size??")
    assert "return alpha" in paged("t_function??")
    assert "How big it is." in paged("t_thing.size?")
    assert "With more to say." in paged("?t_thing")
    assert ready.get("bridge.call('things.seen')") == []


def test_the_magics_of_help_know_handles(ready):
    assert "t_thing.method(alpha, beta=2, *, gamma='x')" in ready.run("%pdef t_thing.method").stdout
    assert "self.own_value = 1" in ready.run("%psource t_thing").stdout
    assert "things.py" in ready.run("%pfile t_thing").stdout
    assert "No source found" in ready.run("%psource t_norm.nothing\n%psource t_dict").stdout
    others = ready.run("import textwrap\n%psource textwrap.dedent").reply["payload"]
    assert "def dedent" in plain(others[0]["data"]["text/plain"])
    assert ready.get("bridge.call('things.seen')") == []


def test_help_outlives_a_change_of_colours(ready):
    before = ready.get("get_ipython().colors")
    ready.run("%colors nocolor")
    assert "Ref on things.Thing" in told(ready, "t_thing")
    ready.run(f"%colors {before}")
    assert "Ref on things.Thing" in told(ready, "t_thing")


def test_a_list_of_all_names_runs_nothing(kernel):
    shown = kernel.run("%whos Ref").stdout
    assert "<ref Thing>" in shown
    assert "<ref DataFrame 1×2>" in shown


# --- The words of the magics ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("%bridge ", {"call", "new", "attr", "refs", "release", "sessions", "status"}),
        ("%bridge ca", {"call"}),
        ("%bridge doc", {"doctor"}),
        ("x = 1\n%bridge rel", {"release"}),
        ("x = %bridge ca", {"call"}),
        ("%bridge call pand", {"pandas"}),
        ("%bridge call thin", {"things"}),
        ("%bridge call pandas.read_c", {"pandas.read_csv", "pandas.read_clipboard"}),
        ("%bridge call things.us", {"things.use"}),
        ("%bridge new things:Thi", {"things:Thing"}),
        ("%bridge call things:Thing.me", {"things:Thing.method"}),
        ("%bridge call things.Thing.me", {"things.Thing.method"}),
        ("%bridge call numpy.linalg.no", {"numpy.linalg.norm"}),
        ("%bridge attr unimported.", {"unimported.first", "unimported.Second"}),
        ("%bridge call sorte", {"sorted"}),
        ("%bridge call --se", {"--session"}),
        ("%bridge call -", {"-s", "--session", "-t", "--timeout", "-f", "--fetch"}),
        ("%bridge call -s ", {"shared-one", "shared-two"}),
        ("%bridge call -f --session shared-o", {"shared-one"}),
        ("%bridge call --session=shared-t", {"--session=shared-two"}),
        ("%bridge call -s shared-one things.us", {"things.use"}),
        ("%bridge call things.use t_th", {"t_thing"}),
        ("%bridge call things.use al", {"alpha="}),
        ("%bridge call things.use alpha=t_th", {"alpha=t_thing"}),
        ("y = %bridge call -t 5 things.use t_fr", {"t_frame"}),
        ("%bridge release t_f", {"t_frame", "t_function"}),
        ("%bridge release shar", {"shared-one", "shared-two"}),
        ("%bridge release t_frame --", {"--all"}),
        ("%bridge refs shared-", {"shared-one", "shared-two"}),
        ("%session ", {"shared-one", "shared-two"}),
        ("%session --", {"--clear", "--ttl", "--max-refs", "--release"}),
        ("%%session shared-o", {"shared-one"}),
        ("%%session shared-one --overflow ", {"error", "evict"}),
        ("%%session shared-one --over", {"--overflow"}),
    ],
)
def test_words_of_the_magics_are_completed(kernel, code, expected):
    found = set(kernel.ask("complete", code)["matches"])
    assert expected <= found
    word = code.rpartition(" ")[2]
    assert all(match.startswith(word) for match in found), "and nothing else is mixed in"
    assert "--cell" not in found


@pytest.mark.parametrize(
    "code",
    [
        "%bridge status ",
        "%bridge doctor ",
        "%bridge nothing ",
        "%bridge call -t ",
        "%session shared-one ",
    ],
)
def test_where_nothing_of_ours_fits_nothing_of_ours_is_offered(kernel, code):
    found = set(kernel.ask("complete", code)["matches"])
    assert not {"shared-one", "call", "things", "--fetch"} & found


def test_a_path_is_completed_before_there_is_a_worker(own):
    own.run("%load_ext bridge_ext")
    assert set(own.ask("complete", "%bridge call statisti")["matches"]) == {"statistics"}
    names = set(own.ask("complete", "%bridge call statistics.me")["matches"])
    assert {"statistics.mean", "statistics.median"} <= names
    assert own.get("bridge.status().pid") is None, "none was started for it"


# --- Loading and unloading --------------------------------------------------------------------

OURS = (
    "[len(ip.Completer.custom_matchers), type(ip.inspector).__module__, "
    "ip.inspector_class.__module__, '_object_find' in vars(ip), "
    "sorted(k for k in ip.strdispatchers['complete_command'].strs if 'bridge' in str(k))]"
)


def test_load_adds_one_of_each_and_unload_takes_it_away(own):
    own.run("ip = get_ipython()")
    before = own.get(OURS)
    own.run("%load_ext bridge_ext")
    loaded = own.get(OURS)
    assert loaded != before
    assert loaded[0] == before[0] + 3
    own.run("%reload_ext bridge_ext")
    assert own.get(OURS) == loaded
    assert set(own.ask("complete", "%bridge ca")["matches"]) == {"call"}
    own.run("%unload_ext bridge_ext")
    assert own.get(OURS) == before
    assert "call" not in own.ask("complete", "%bridge ca")["matches"]
    own.run("%load_ext bridge_ext")
    assert own.get(OURS) == loaded


# --- A worker that does not answer ------------------------------------------------------------


@pytest.mark.parametrize("jedi", [True, False])
def test_tab_waits_for_nobody(own, jedi):
    own.run(
        "%load_ext bridge_ext\nimport threading\n"
        f"%config IPCompleter.use_jedi = {jedi}\n"
        "t_frame = bridge.call('pandas.DataFrame', {'zone': [1]})\n"
        "def held():\n"
        "    try:\n"
        "        bridge.call('tracked.hold_gil', 'held')\n"
        "    except Exception as error:\n"
        "        return error\n"
        "t_thread = threading.Thread(target=held)\n"
        "t_thread.start()"
    )
    own.until_file("held")
    own.until(lambda: "zone" not in complete(own, "t_frame."), "the lock to be held")
    assert complete(own, "t_frame.groupb") == {"groupby"}
    assert "t_frame.groupby(" in told(own, "t_frame.groupby")
    assert FRAME.search(told(own, "t_frame"))
    assert set(own.ask("complete", "%bridge call statisti")["matches"]) == {"statistics"}
    own.ask("complete", "t_frame['")
    assert own.get("t_thread.is_alive()"), "all this came while the call ran"
    own.run("bridge.interrupt()\nt_thread.join(10)")
    assert complete(own, "t_frame.groupb") == {"groupby"}, "of a ref that is lost too"
