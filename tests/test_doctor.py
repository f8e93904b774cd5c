"""`bridge.doctor()`: what it finds, what it leaves out, and that nothing stops it."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading
import time

import msgpack
import pytest
from conftest import DEADLINE, eventually

import bridge_ext
from bridge_ext import WorkerStartError
from bridge_ext.kernel import checkup, machine, surveys
from bridge_ext.kernel.differences import differences
from bridge_ext.kernel.shadows import shadows
from bridge_ext.kernel.wire.survey import survey

PARTS = ["versions", "paths", "worker", "front end", "limits", "settings", "environment"]


# ---------------------------------------------------------------- the report
def test_a_report_has_its_parts_in_their_order(bridge):
    text = str(bridge.doctor())
    assert text.startswith(f"bridge_ext {bridge_ext.__version__}: ")
    heads = [line for line in text.splitlines() if line and not line.startswith(" ")][1:]
    assert [head.split(" that ")[0].split(":")[0] for head in heads] == PARTS


def test_a_report_shows_as_it_is_and_has_its_findings_beside(local, monkeypatch):
    local.call("math.sqrt", 4)
    monkeypatch.setenv("OF_THIS_TEST", "secret-value")
    report = local.doctor()
    assert repr(report) == str(report) == report
    assert len(report.findings) >= 1
    assert [f"  {n}. {s}" for n, s in enumerate(report.findings, 1)] == report.splitlines()[
        1 : 1 + len(report.findings)
    ]


def test_nothing_is_found_where_nothing_is_wrong(local, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert local.doctor().findings == ()
    assert "all well" in local.doctor()


def test_the_worker_says_its_own_versions_and_pid(local):
    report = local.doctor()
    pid = local.status().pid
    assert f"kernel {os.getpid()}, worker {pid}" in report
    python = ".".join(map(str, sys.version_info[:3]))
    assert [line.split() for line in report.splitlines() if line.startswith("  python ")] == [
        ["python", python, python]
    ]


def test_a_bridge_that_has_no_worker_gets_one(local):
    assert local.status().pid is None
    assert "worker none" not in local.doctor()
    assert local.status().pid is not None


def test_only_settings_that_are_not_the_default_are_listed():
    with bridge_ext.Bridge(max_refs=7, env={"TOKEN": "secret-value"}) as made:
        report = made.doctor()
    part = report.partition("settings that are not the default\n")[2].partition("\n\n")[0]
    assert [line.split() for line in part.splitlines()] == [["env", "TOKEN"], ["max_refs", "7"]]
    with bridge_ext.Bridge() as made:
        assert "settings that are not the default: none" in made.doctor()


def test_no_value_of_the_environment_shows_but_what_is_known_to_be_harmless(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-value")
    monkeypatch.setenv("TZ", "Europe/Paris")
    with bridge_ext.Bridge(env={"TOKEN": "secret-value"}) as made:
        monkeypatch.setenv("API_KEY", "secret-value")
        report = made.doctor()
        monkeypatch.setenv("API_KEY", "secret-other")
        again = made.doctor()
    for text in (report, again):
        assert "secret" not in text
        assert "Europe/Paris" in text
    assert any("API_KEY" in finding for finding in again.findings)


def test_the_home_directory_shows_as_a_tilde(local, monkeypatch, tmp_path):
    home = tmp_path / "ana"
    (home / "work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "work")
    monkeypatch.syspath_prepend(str(home / "lib"))
    report = local.doctor()
    assert str(home) not in report
    assert "~/work" in report
    assert "~/lib" in report


def test_a_name_that_begins_like_the_home_directory_is_left_alone(local, monkeypatch, tmp_path):
    (tmp_path / "ana-2").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "ana"))
    monkeypatch.chdir(tmp_path / "ana-2")
    assert str(tmp_path / "ana-2") in local.doctor()


def test_a_report_is_inert(local, monkeypatch):
    monkeypatch.setenv("TZ", "\x1b[31mred\u202e\r\x07")
    report = local.doctor()
    assert not set(report) & {"\x1b", "\u202e", "\r", "\x07"}


# ---------------------------------------------------------------- it never raises
def test_a_closed_bridge_is_said_to_be_closed():
    made = bridge_ext.Bridge()
    made.close()
    assert "it was closed" in made.doctor().findings[0]
    assert "limits" in made.doctor()


def test_a_worker_that_cannot_be_started_is_a_finding(local, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    (finding,) = local.doctor().findings
    assert "No worker can be started" in finding
    assert "/nowhere/python" in finding
    with pytest.raises(WorkerStartError, match=r"/nowhere/python.*bridge\.doctor\(\)"):
        local.call("math.sqrt", 4)
    monkeypatch.undo()
    assert local.call("math.sqrt", 4) == 2.0


def test_a_worker_that_ends_at_its_start_is_a_finding(local, monkeypatch, tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    start = time.monotonic()
    findings = local.doctor().findings
    assert any("exited with code 3" in f and "stderr" in f for f in findings), findings
    assert time.monotonic() - start < checkup.PATIENCE


def test_a_worker_that_is_stopped_is_said_to_be(local, monkeypatch):
    monkeypatch.setattr(checkup, "PATIENCE", 0.2)
    local.call("math.sqrt", 4)
    pid = local.status().pid
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: machine.silence(pid))
        (finding,) = local.doctor().findings
    finally:
        os.kill(pid, signal.SIGCONT)
    assert f"kill -CONT {pid}" in finding
    assert local.doctor().findings == ()


def test_a_worker_in_c_code_that_keeps_the_lock_is_named_by_its_call(local, monkeypatch, tmp_path):
    monkeypatch.setattr(checkup, "PATIENCE", 0.2)
    (tmp_path / "held_by.py").write_text(
        "import ctypes, pathlib\ndef hold(at):\n"
        "    pathlib.Path(at).touch()\n    ctypes.PyDLL(None).usleep(1_500_000)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    future = local.submit("held_by.hold", str(tmp_path / "began"))
    eventually((tmp_path / "began").exists)
    (finding,) = local.doctor().findings
    assert "held_by.hold" in finding
    future.result(DEADLINE)


def test_a_busy_worker_is_not_waited_for(local):
    future = local.submit("time.sleep", 60)
    eventually(lambda: local.status().busy == "time.sleep")
    start = time.monotonic()
    report = local.doctor()
    assert time.monotonic() - start < 2.0
    assert report.findings == ()
    (runs,) = (line for line in report.splitlines() if line.startswith("  runs "))
    assert "time.sleep, for " in runs
    future.cancel()


def test_a_thread_may_ask_while_others_call(local):
    local.call("math.sqrt", 4)
    reports = []
    threads = [threading.Thread(target=lambda: reports.append(local.doctor())) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert [local.call("math.sqrt", 4) for _ in range(50)] == [2.0] * 50
    for thread in threads:
        thread.join(DEADLINE)
    assert [report.findings for report in reports] == [()] * 4


def test_a_part_that_fails_says_so_in_its_place(local, monkeypatch):
    def broken(*args):
        raise RuntimeError("of this test")

    monkeypatch.setattr(machine, "memory", broken)
    monkeypatch.setattr(machine, "has", broken)
    report = local.doctor()
    assert report.count("not known (RuntimeError: of this test)") == 2
    assert "could be found out (RuntimeError: of this test)" in report.findings[-1]
    assert "encoding of files" in report, "the parts after it stand"


def test_a_process_whose_survey_fails_has_a_report_all_the_same(local, monkeypatch):
    def broken():
        raise OSError("of this test")

    monkeypatch.setattr(checkup, "here", broken)
    report = local.doctor()
    assert "OSError: of this test" in report.findings[0]
    assert "limits" in report


def test_the_text_of_a_failure_is_inert(local, monkeypatch):
    def broken(*args):
        raise OSError("\x1b]0;x\x07\r\u202e")

    monkeypatch.setattr(checkup, "here", broken)
    monkeypatch.setattr(machine, "cores", broken)
    assert not set(local.doctor()) & {"\x1b", "\x07", "\r", "\u202e"}


def test_a_worker_that_cannot_be_served_is_ended(local, monkeypatch):
    """The guard on every test sees whether it is."""

    def broken():
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr("bridge_ext.kernel.backends.local.Wake", broken)
        with pytest.raises(WorkerStartError, match="Too many open files"):
            local.call("math.sqrt", 4)
    assert local.call("math.sqrt", 4) == 2.0


def test_a_directory_that_is_gone_is_a_finding(local, monkeypatch, tmp_path):
    local.call("math.sqrt", 4)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    os.rmdir(tmp_path / "gone")
    assert any("of the kernel is gone" in f for f in local.doctor().findings)


# ---------------------------------------------------------------- what a process says
def test_what_a_process_says_is_taken_whole():
    told = surveys.taken(survey(surveys.PACKAGES))
    assert told.pid == os.getpid()
    assert told.version("msgpack") == ".".join(map(str, msgpack.version))
    assert told.version("pytest") == "", "it was not asked for"


def test_an_installed_package_is_found_without_an_import(tmp_path, monkeypatch):
    for name in ("Some_Thing-2.1.dist-info", "other.egg-info", "tail-1.0-py3.11.egg-info"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), "/nowhere"])
    found = survey(["some_thing", "some-thing", "other", "tail"])["found"]
    assert found == {"some_thing": "2.1", "some-thing": "2.1", "tail": "1.0"}


def test_a_lazy_or_strange_module_is_not_touched(monkeypatch):
    class Strange:
        def __getattr__(self, name):
            raise AssertionError(name)

    monkeypatch.setitem(sys.modules, "strange_one", Strange())
    assert "strange_one" not in survey(["strange_one"])["loaded"]


GOOD = survey(surveys.PACKAGES)
BAD = {
    "none": None,
    "a list": [],
    "a field that is missing": {k: v for k, v in GOOD.items() if k != "path"},
    "a number for a text": {**GOOD, "python": 3},
    "a text for a number": {**GOOD, "pid": "1"},
    "an environment of numbers": {**GOOD, "environment": {"TZ": 1}},
    "a mapping of lists": {**GOOD, "loaded": {"numpy": [1]}},
    "too much": {**GOOD, "path": ["x"] * 10_000},
    "a flag that is none": {**GOOD, "flags": {"optimize": "yes"}},
}


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD)
def test_an_answer_that_is_none_is_a_finding(local, monkeypatch, answer):
    with pytest.raises(bridge_ext.ProtocolError):
        surveys.taken(answer)
    local.call("math.sqrt", 4)
    asked = local._client.ask
    monkeypatch.setattr(
        local._client,
        "ask",
        lambda verb, *a, **k: answer if verb == "survey" else asked(verb, *a, **k),
    )
    assert len(local.doctor().findings) == 1


# ---------------------------------------------------------------- differences
HERE = surveys.taken(GOOD)
UNLOADED = {name: version for name, version in HERE.loaded.items() if name != "numpy"}


def changed(**fields):
    return dataclasses.replace(HERE, **fields)


def said(there, here=HERE, *, follows=True, added=()):
    return list(differences(here, there, follows=follows, added=added))


def test_two_that_are_the_same_differ_in_nothing():
    assert said(HERE) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"python": "3.9.1"}, ["3.9.1", "Restart the kernel"]),
        ({"loaded": {**HERE.loaded, "numpy": "1.26.4"}}, ["numpy", "1.26.4", "array", "Restart"]),
        ({"loaded": UNLOADED, "found": {**HERE.found, "numpy": "2.99"}}, ["numpy", "2.99"]),
        ({"loaded": {**HERE.loaded, "cloudpickle": "0.1"}}, ["cloudpickle 3", "0.1", "functions"]),
        ({"cwd": "/elsewhere"}, ["/elsewhere", "next call"]),
        ({"cwd": None}, ["gone", "restart()"]),
        ({"path": (*HERE.path, "/only/there")}, ["/only/there only in the worker", "sys.path"]),
        ({"path": HERE.path[:-1]}, [HERE.path[-1] + " only here"]),
        ({"checksums": {**HERE.checksums, "NEW": 1}}, ["NEW", "restart()"]),
        ({"encodings": {**HERE.encodings, "files": "ascii"}}, ["files", "ascii", "encoding="]),
        ({"flags": {**HERE.flags, "optimize": 2}}, ["-O", "assert"]),
        ({"editable": ("mine",)}, ["'mine'", "in the worker", "sys.path"]),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_a_difference_is_one_sentence_with_a_next_step(fields, words):
    (sentence,) = said(changed(**fields))
    for word in words:
        assert word in sentence


def test_what_is_known_on_one_side_alone_counts_if_it_is_used():
    found = {name: v for name, v in HERE.found.items() if name != "pyarrow"}
    loaded = {name: v for name, v in HERE.loaded.items() if name != "pyarrow"}
    lacks = changed(found=found, loaded=loaded)
    has = changed(found=found, loaded={**loaded, "pyarrow": "15.0"})
    assert said(lacks, lacks) == []
    (sentence,) = said(lacks, has)
    assert "pyarrow 15.0 is found here and not in the worker" in sentence


def test_a_directory_that_was_given_is_said_to_be():
    (sentence,) = said(changed(cwd="/elsewhere"), follows=False)
    assert "Bridge(cwd=…)" in sentence


def test_paths_that_lead_to_the_same_place_are_the_same():
    here = changed(path=("", "/a/b", "lib"), cwd="/c")
    assert said(changed(path=("/c", "/a/./b", "/c/lib"), cwd="/c"), here) == []


def test_a_variable_that_was_given_to_the_worker_is_no_finding():
    there = changed(checksums={**HERE.checksums, "GIVEN": 1, "MPLBACKEND": 2})
    assert said(there, added=("GIVEN",)) == []


def test_many_names_are_not_all_listed():
    there = changed(checksums={**HERE.checksums, **{f"V{n:02}": 1 for n in range(30)}})
    (sentence,) = said(there)
    assert "V07 and 22 more" in sentence
    assert "V08" not in sentence


def test_a_hash_seed_that_was_asked_for_and_is_not_there_is_said():
    here = changed(variables={"PYTHONHASHSEED": "0"}, hash="1")
    assert "PYTHONHASHSEED=0" in said(changed(hash="2"), here)[0]
    assert said(changed(hash="1"), here) == []
    assert said(changed(hash="2"), changed(variables={}, hash="1")) == []


# ---------------------------------------------------------------- files beside a notebook
def test_a_file_that_hides_a_module_is_named(tmp_path):
    other = tmp_path / "site"
    other.mkdir()
    (other / "installed_one.py").touch()
    beside = tmp_path / "beside"
    beside.mkdir()
    for name in ("random", "types", "installed_one", "my_own", "sys", "os"):
        (beside / f"{name}.py").touch()
    (beside / "msgpack").mkdir()
    (beside / "msgpack" / "__init__.py").touch()
    (beside / "folder").mkdir()
    path = [str(beside), *sys.path, str(other)]
    found = {s.split("'")[1]: s for s in shadows(str(beside), path)}
    assert found.keys() >= {"random.py", "installed_one.py", "msgpack/"}
    assert found.keys() <= {"random.py", "installed_one.py", "msgpack/", "types.py"}
    assert "Python's own" in found["random.py"]
    assert "whatever imports it first gets yours" in found["installed_one.py"]
    assert "loaded here before" in found["random.py"]
    assert all("another name" in s for s in found.values())


def test_a_file_that_is_loaded_in_place_of_a_module_is_said_to_be(tmp_path, monkeypatch):
    (tmp_path / "colorsys.py").write_text("x = 1")
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    import colorsys

    assert colorsys.x == 1
    (sentence,) = shadows(str(tmp_path), sys.path)
    monkeypatch.delitem(sys.modules, "colorsys")
    assert "yours is loaded here in its place" in sentence


def test_a_file_that_comes_after_what_it_is_called_like_hides_nothing(tmp_path):
    (tmp_path / "msgpack.py").touch()
    assert list(shadows(str(tmp_path), [*sys.path, str(tmp_path)])) == []
    (tmp_path / "random.py").touch()
    (sentence,) = shadows(str(tmp_path), [*sys.path, str(tmp_path)])
    assert "'random.py'" in sentence
    assert "not start" in sentence
    assert list(shadows(str(tmp_path), sys.path)) == [], "nothing is imported from there"


def test_nothing_is_imported_to_find_out(tmp_path):
    (tmp_path / "random.py").write_text("raise AssertionError")
    (tmp_path / "mine.py").write_text("raise AssertionError")
    before = set(sys.modules)
    assert len(list(shadows(str(tmp_path), [str(tmp_path), *sys.path]))) == 1
    assert set(sys.modules) == before


# ---------------------------------------------------------------- the machine
def test_few_descriptors_are_a_finding(monkeypatch):
    monkeypatch.setattr(machine, "descriptors", lambda: (50, 64))
    assert any("50 of 64 descriptors" in s and "ulimit" in s for s in machine.findings())
    monkeypatch.setattr(machine, "descriptors", lambda: (50, 1024))
    assert not any("descriptors" in s for s in machine.findings())


def test_little_memory_is_a_finding(monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda: (10**8, 10**10))
    assert any("0.1 of 10.0 GB" in s for s in machine.findings())


def test_a_call_that_the_system_lacks_is_a_finding(monkeypatch):
    def refused():
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setitem(machine.CALLS, "memfd_create", refused)
    monkeypatch.setitem(machine.CALLS, "pidfd_open", refused)
    found = "\n".join(machine.findings())
    assert "memfd_create: no (PermissionError" in found
    assert "pidfd_open: no (PermissionError" in found
    assert machine.has("process_vm_readv") == "yes"


def test_what_the_system_tells_is_told():
    free, whole = machine.memory()
    assert 0 < free <= whole
    opened, most = machine.descriptors()
    assert 0 < opened < most
    assert machine.limit("RLIMIT_NOFILE").replace(",", "")[0].isdigit()
    assert machine.silence(os.getpid()) == ""
    assert machine.silence(2**22 + 1) == ""
