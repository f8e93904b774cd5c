"""A worker's output: two pipes, whose bytes are shown where the call was made."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import struct
import sys
from contextvars import ContextVar, copy_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_ext.kernel.backends import output
from bridge_ext.kernel.backends.output import Output
from bridge_ext.kernel.wire.heads import DISPLAY_MARK

place = ContextVar("place", default="nowhere")


def context(name):
    """A context in which `place` has that value."""
    made = copy_context()
    made.run(place.set, name)
    return made


class Screen:
    """Notes what is written, and where."""

    def __init__(self):
        self.written, self.flushed = [], 0

    def write(self, text):
        self.written.append((place.get(), text))

    def flush(self):
        self.flushed += 1

    @property
    def text(self):
        return "".join(text for _, text in self.written)

    @property
    def parts(self):
        """What was written, joined where the place stays the same."""
        out = []
        for where, text in self.written:
            if out and out[-1][0] == where:
                out[-1] = (where, out[-1][1] + text)
            else:
                out.append((where, text))
        return out


class Pipes:
    """Both pipes, with a screen at their end."""

    def __init__(self):
        (out, self.to_out), (err, self.to_err) = os.pipe(), os.pipe()
        self._open = {out, err, self.to_out, self.to_err}
        for fd in (out, err):
            os.set_blocking(fd, False)
        self.output = Output(out, err)
        self.out, self.err = Screen(), Screen()
        self._alone = 1_000  # ids that no test uses itself

    def write(self, data, fd=None):
        """Write bytes and show them."""
        os.write(self.to_out if fd is None else fd, data)
        return self.show()

    @contextlib.contextmanager
    def screens(self):
        with contextlib.redirect_stdout(self.out), contextlib.redirect_stderr(self.err):
            yield

    def show(self):
        with self.screens():
            return self.output.show()

    def until(self, display):
        with self.screens():
            self.output.show_until(display)

    def after(self, display):
        with self.screens():
            self.output.show_after(display)

    def alone(self, where):
        """A call is sent while no other is in flight."""
        self._alone += 1
        self.output.sent(self._alone, where, alone=True)

    def queued(self, call_id, where):
        """A call is sent while others are in flight."""
        self.output.sent(call_id, where, alone=False)

    def mark(self, call_id):
        return self.output.token + struct.pack("<Q", call_id)

    def end(self, fd):
        self._open.discard(fd)
        os.close(fd)

    def close(self):
        for fd in self._open:
            os.close(fd)


@pytest.fixture
def pipes():
    made = Pipes()
    yield made
    made.close()


# ---------------------------------------------------------------- one call at a time
def test_bytes_are_shown_as_text_in_the_calls_context(pipes):
    pipes.alone(context("cell 1"))
    assert pipes.write("héllo\n".encode())
    assert pipes.out.written == [("cell 1", "héllo\n")]
    assert pipes.out.flushed == 1
    assert pipes.err.written == []


def test_each_pipe_has_its_stream(pipes):
    pipes.alone(context("cell 1"))
    pipes.write(b"oops", pipes.to_err)
    pipes.write(b"fine", pipes.to_out)
    assert (pipes.out.text, pipes.err.text) == ("fine", "oops")


def test_nothing_there_shows_nothing(pipes):
    assert not pipes.show()
    assert pipes.out.written == pipes.err.written == []


def test_the_next_call_has_its_own_context(pipes):
    for name in ("cell 1", "cell 2"):
        pipes.alone(context(name))
        pipes.write(b"x")
    assert pipes.out.parts == [("cell 1", "x"), ("cell 2", "x")]


def test_without_a_context_output_is_shown_all_the_same(pipes):
    pipes.write(b"early")
    assert pipes.out.written == [("nowhere", "early")]


def test_a_context_may_be_in_use_already(pipes):
    cell = context("cell 1")
    pipes.alone(cell)
    cell.run(pipes.write, b"x")
    assert pipes.out.written == [("cell 1", "x")]


def test_what_a_stream_sets_stays_in_a_copy_of_the_context(pipes):
    cell = context("cell 1")

    class Setting(Screen):
        def write(self, text):
            super().write(text)
            place.set("changed by the stream")

    pipes.out = Setting()
    pipes.alone(cell)
    pipes.write(b"x")
    pipes.write(b"y")
    assert pipes.out.written == [("cell 1", "x"), ("cell 1", "y")]
    assert cell[place] == "cell 1"


def test_output_goes_where_stdout_goes_now(pipes):
    pipes.alone(None)
    for _ in range(2):
        captured = io.StringIO()
        os.write(pipes.to_out, b"x")
        with contextlib.redirect_stdout(captured):
            pipes.output.show()
        assert captured.getvalue() == "x"
    assert output.sys_stdout() is sys.stdout
    assert output.sys_stderr() is sys.stderr


# ---------------------------------------------------------------- text that is cut, or none
def test_a_character_cut_in_two_is_shown_whole(pipes):
    data = "a€b".encode()
    for i in range(len(data)):
        pipes.write(data[i : i + 1])
    assert pipes.out.text == "a€b"


def test_invalid_bytes_are_replaced_and_the_rest_shown(pipes):
    pipes.write(b"a\xff\xfeb\xe2\x82")
    pipes.write(b"c")
    assert pipes.out.text == "a\ufffd\ufffdb\ufffdc"


def test_the_pipes_decode_apart(pipes):
    pipes.write(b"\xe2\x82", pipes.to_out)
    pipes.write(b"\xc3", pipes.to_err)
    pipes.write(b"\xac", pipes.to_out)
    pipes.write(b"\xa9", pipes.to_err)
    assert (pipes.out.text, pipes.err.text) == ("€", "é")


@given(st.binary(max_size=400), st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_any_bytes_are_shown_as_one_decoding_would(data, cuts):
    with contextlib.closing(Pipes()) as pipes:
        for chunk in cut(data, cuts):
            pipes.write(chunk)
        # What may still become a character is held back.
        assert data.decode("utf-8", "replace").startswith(pipes.out.text)
        pipes.write(b"end")
        assert pipes.out.text == (data + b"end").decode("utf-8", "replace")


def cut(data, sizes):
    """The data in pieces of these sizes, over and over."""
    at, turn = 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        yield data[at : at + size]
        at, turn = at + size, turn + 1


# ---------------------------------------------------------------- calls that queue
def test_marks_say_whose_output_follows(pipes):
    pipes.alone(context("cell 1"))
    pipes.queued(2, context("cell 2"))
    pipes.queued(3, context("cell 3"))
    pipes.write(b"one" + pipes.mark(2) + b"two" + pipes.mark(3) + b"three")
    assert pipes.out.parts == [("cell 1", "one"), ("cell 2", "two"), ("cell 3", "three")]


def test_marks_hold_for_each_pipe(pipes):
    pipes.alone(context("cell 1"))
    pipes.queued(2, context("cell 2"))
    pipes.write(pipes.mark(2) + b"two", pipes.to_err)
    pipes.write(b"one", pipes.to_out)
    assert pipes.err.parts == [("cell 2", "two")]
    assert pipes.out.parts == [("cell 1", "one")]


def test_a_mark_of_an_unknown_call_is_not_shown_and_changes_nothing(pipes):
    pipes.alone(context("cell 1"))
    pipes.queued(2, context("cell 2"))
    pipes.write(b"a" + pipes.mark(99) + b"b")
    assert pipes.out.parts == [("cell 1", "ab")]


def test_once_a_call_is_alone_the_marks_of_before_are_forgotten(pipes):
    pipes.alone(context("cell 1"))
    pipes.queued(2, context("cell 2"))
    pipes.write(pipes.mark(2) + b"two")
    pipes.alone(context("cell 3"))
    pipes.write(b"three")
    assert pipes.out.parts == [("cell 2", "two"), ("cell 3", "three")]


def test_the_beginning_of_a_token_is_held_back_until_it_is_none(pipes):
    pipes.alone(context("cell 1"))
    pipes.queued(2, context("cell 2"))
    for size in range(1, len(pipes.output.token)):
        del pipes.out.written[:]
        beginning = b"-" + pipes.output.token[:size]
        pipes.write(beginning)
        assert pipes.out.text == "-"
        pipes.write(b"no")
        assert pipes.out.text == (beginning + b"no").decode("utf-8", "replace")
        assert {where for where, _ in pipes.out.written} == {"cell 1"}


def test_what_was_held_back_is_shown_when_the_next_call_is_alone(pipes):
    pipes.alone(context("cell 1"))
    pipes.queued(2, context("cell 2"))
    beginning = pipes.output.token[:1]
    pipes.write(b"a" + beginning)
    pipes.alone(context("cell 3"))
    pipes.write(b"b")
    assert pipes.out.text == (b"a" + beginning + b"b").decode("utf-8", "replace")


def test_a_token_cut_anywhere_is_never_shown(pipes):
    for at in range(1, len(pipes.mark(2))):
        pipes.alone(context("cell 1"))
        pipes.queued(2, context("cell 2"))
        del pipes.out.written[:]
        pipes.write(b"one" + pipes.mark(2)[:at])
        assert pipes.out.parts == [("cell 1", "one")]
        pipes.write(pipes.mark(2)[at:] + b"two")
        assert pipes.out.parts == [("cell 1", "one"), ("cell 2", "two")]


texts = st.text(st.characters(codec="utf-8"), max_size=40)


@given(
    st.lists(st.tuples(st.integers(0, 3), texts), max_size=12),
    st.lists(st.integers(1, 60), min_size=1, max_size=20),
)
def test_interleaved_marks_may_be_cut_at_any_byte(calls, cuts):
    with contextlib.closing(Pipes()) as pipes:
        pipes.alone(context("cell 0"))
        expected, stream, now = [], b"", "cell 0"
        for call_id, text in calls:
            if call_id:
                pipes.queued(call_id, context(f"cell {call_id}"))
                stream += pipes.mark(call_id)
                now = f"cell {call_id}"
            stream += text.encode()
            expected.append((now, text))
        if not calls or not any(call_id for call_id, _ in calls):
            pipes.queued(9, context("cell 9"))
        for chunk in cut(stream, cuts):
            pipes.write(chunk)
        pipes.write(pipes.mark(1))  # so that nothing is held back as the beginning of a mark
        wanted = Screen()
        wanted.written = [(where, text) for where, text in expected if text]
        assert pipes.out.parts == wanted.parts


# ---------------------------------------------------------------- displays
def display_mark(pipes, number):
    return pipes.mark(DISPLAY_MARK | number)


def test_what_is_behind_a_display_waits_for_it(pipes):
    pipes.alone(context("cell 1"))
    pipes.write(b"before" + display_mark(pipes, 1) + b"behind")
    assert pipes.out.text == "before"
    assert pipes.output.holds
    pipes.until(1)
    assert pipes.out.text == "before"
    pipes.after(1)
    assert pipes.out.text == "beforebehind"
    assert not pipes.output.holds


def test_what_is_before_a_display_is_shown_when_it_comes(pipes):
    pipes.alone(context("cell 1"))
    os.write(pipes.to_out, b"before" + display_mark(pipes, 1) + b"behind")
    os.write(pipes.to_err, b"oops" + display_mark(pipes, 1))
    pipes.until(1)
    assert (pipes.out.text, pipes.err.text) == ("before", "oops")
    pipes.after(1)
    assert pipes.out.text == "beforebehind"


def test_displays_come_one_by_one(pipes):
    pipes.alone(context("cell 1"))
    marks = [display_mark(pipes, n) for n in (1, 2, 3)]
    os.write(pipes.to_out, b"a" + marks[0] + b"b" + marks[1] + marks[2] + b"c")
    for number, text in ((1, "a"), (2, "ab"), (3, "ab")):
        pipes.until(number)
        assert pipes.out.text == text
        pipes.after(number)
    assert pipes.out.text == "abc"


def test_a_display_that_never_came_is_passed_by_the_next(pipes):
    pipes.alone(context("cell 1"))
    os.write(pipes.to_out, display_mark(pipes, 1) + b"a" + display_mark(pipes, 2) + b"b")
    pipes.until(2)
    assert pipes.out.text == "a"
    pipes.after(2)
    assert pipes.out.text == "ab"


def test_a_display_without_a_mark_is_shown_at_once(pipes):
    pipes.alone(context("cell 1"))
    os.write(pipes.to_out, b"a")
    pipes.until(1)
    pipes.after(1)
    assert pipes.out.text == "a"
    pipes.write(display_mark(pipes, 1) + b"b")
    assert pipes.out.text == "ab", "its mark comes late, and holds nothing"


def test_what_waits_is_let_go_when_no_display_can_come(pipes):
    pipes.alone(context("cell 1"))
    pipes.write(b"a" + display_mark(pipes, 1) + b"b" + display_mark(pipes, 2))
    pipes.write(b"c", pipes.to_err)
    for _ in range(2):
        with pipes.screens():
            pipes.output.show(last=True)
    assert (pipes.out.text, pipes.err.text) == ("ab", "c")
    pipes.write(b"d")
    assert pipes.out.text == "abd"


def test_what_waits_is_shown_where_it_was_written(pipes):
    pipes.alone(context("cell 1"))
    pipes.write(display_mark(pipes, 1) + b"one")
    with pipes.screens():
        pipes.alone(context("cell 2"))
    pipes.write(b"two")
    assert pipes.out.parts == [("cell 1", "one"), ("cell 2", "two")]


def test_not_all_the_memory_waits_for_a_display(pipes, monkeypatch):
    monkeypatch.setattr(output, "_MOST", 3_000)
    pipes.alone(context("cell 1"))
    pipes.write(display_mark(pipes, 1))
    for _ in range(4):
        pipes.write(b"x" * 1_000)
    assert len(pipes.out.text) == 4_000


def test_calls_and_displays_are_marked_alike(pipes):
    pipes.alone(context("cell 1"))
    pipes.queued(2, context("cell 2"))
    first, second = display_mark(pipes, 1), display_mark(pipes, 2)
    os.write(pipes.to_out, b"a" + first + b"b" + pipes.mark(2) + b"c" + second + b"d")
    for number in (1, 2):
        pipes.until(number)
        pipes.after(number)
    assert pipes.out.parts == [("cell 1", "ab"), ("cell 2", "cd")]
    assert pipes.output.context_of(2)[place] == "cell 2"
    assert pipes.output.context_of(99)[place] == "cell 1"


@given(
    st.lists(st.one_of(texts, st.none()), max_size=12),
    st.lists(st.integers(1, 60), min_size=1, max_size=20),
)
def test_text_and_displays_keep_their_order_however_they_arrive(items, cuts):
    with contextlib.closing(Pipes()) as pipes:
        pipes.alone(context("cell 1"))
        stream, number = b"", 0
        for item in items:
            if item is None:
                number += 1
                stream += display_mark(pipes, number)
            else:
                stream += item.encode()
        for chunk in cut(stream, cuts):
            pipes.write(chunk)
        for n in range(1, number + 1):
            pipes.until(n)
            pipes.out.written.append(("cell 1", f"<{n}>"))
            pipes.after(n)
        shown = iter(range(1, number + 1))
        wanted = "".join(f"<{next(shown)}>" if item is None else item for item in items)
        assert pipes.out.text == wanted


# ---------------------------------------------------------------- streams that fail
class Broken(Screen):
    """A stream that cannot be written."""

    error: type[BaseException] = OSError

    def write(self, text):
        super().write(text)
        raise self.error("no")


@pytest.mark.parametrize("error", [OSError, ValueError, RuntimeError])
def test_a_stream_that_raises_is_not_fatal(pipes, caplog, error):
    pipes.out = Broken()
    pipes.out.error = error
    with caplog.at_level(logging.WARNING, "bridge_ext.output"):
        assert pipes.write("é".encode())
    assert "could not be written" in caplog.text
    assert error.__name__ in caplog.text
    pipes.out = Screen()
    pipes.write(b"on")
    assert pipes.out.text == "on"


@pytest.mark.parametrize("stream", [None, object()])
def test_a_stream_that_is_none_is_not_fatal(pipes, caplog, stream):
    pipes.out = stream
    assert pipes.write(b"x")
    pipes.out = Screen()
    pipes.write(b"on")
    assert pipes.out.text == "on"


def test_a_stream_that_raises_does_not_keep_the_other_from_being_shown(pipes, caplog):
    pipes.out = Broken()
    os.write(pipes.to_out, b"x")
    pipes.write(b"oops", pipes.to_err)
    assert pipes.err.text == "oops"


# ---------------------------------------------------------------- pipes that end, or never do
def test_a_pipe_that_was_closed_is_not_looked_at_again(pipes):
    pipes.write(b"last")
    pipes.end(pipes.to_out)
    assert not pipes.show()
    assert not pipes.output.poll(0)
    pipes.write(b"on", pipes.to_err)
    assert (pipes.out.text, pipes.err.text) == ("last", "on")


def test_what_a_pipe_holds_at_its_end_is_shown(pipes):
    os.write(pipes.to_out, b"last words")
    pipes.end(pipes.to_out)
    pipes.show()
    assert pipes.out.text == "last words"


def test_a_full_pipe_is_shown_in_one_go(pipes):
    size = 60_000
    os.write(pipes.to_out, b"x" * size)
    os.write(pipes.to_err, b"y" * size)
    pipes.show()
    assert (pipes.out.text, pipes.err.text) == ("x" * size, "y" * size)


def test_a_writer_that_never_stops_does_not_hold_the_reader(pipes, monkeypatch):
    monkeypatch.setattr(output, "_MOST", 3_000)

    class Feeding(Screen):
        def write(self, text):
            super().write(text)
            os.write(pipes.to_out, b"x" * 1_000)

    pipes.out = Feeding()
    assert pipes.write(b"x" * 1_000)
    assert len(pipes.out.text) == 3_000


def test_tokens_cannot_be_guessed(pipes):
    with contextlib.closing(Pipes()) as other:
        assert pipes.output.token != other.output.token
    assert len(pipes.output.token) >= 16
