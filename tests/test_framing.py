import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_ext import ProtocolError
from bridge_ext.kernel.wire import limits
from bridge_ext.kernel.wire.framing import (
    HEADER,
    MAGIC,
    Frame,
    FrameParser,
    Kind,
    build,
    small,
    whole,
)

VERSION = limits.PROTOCOL_VERSION


def bytes_of(*args):
    return b"".join(bytes(piece) for piece in build(*args))


def parse(chunks):
    """All frames of a stream that arrives in these chunks, however its reader reads it."""
    parser = FrameParser()
    frames = []
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            room = parser.room()
            if room is not None:
                n = min(len(room), len(rest))
                room[:n] = rest[:n]
                parser.filled(n)
                rest = rest[n:]
            else:
                parser.feed(bytes(rest))
                rest = rest[len(rest) :]
            while (frame := parser.next()) is not None:
                frames.append(frame)
    return frames, parser


def same(frame: Frame, kind, head, body, buffers):
    assert frame.kind == kind
    assert bytes(frame.head) == head
    assert bytes(frame.body) == body
    assert [bytes(b) for b in frame.buffers] == buffers


frames = st.tuples(
    st.sampled_from(sorted(Kind.ALL)),
    st.binary(max_size=60),
    st.binary(max_size=300),
    st.lists(st.binary(max_size=200), max_size=4),
)


@given(st.lists(frames, max_size=5), st.lists(st.integers(1, 200), min_size=1, max_size=40))
def test_frames_survive_any_cut_of_the_stream(sent, cuts):
    stream = b"".join(bytes_of(*frame) for frame in sent)
    chunks, start, turn = [], 0, 0
    while start < len(stream):
        size = cuts[turn % len(cuts)]
        chunks.append(stream[start : start + size])
        start, turn = start + size, turn + 1
    received, parser = parse(chunks)
    assert len(received) == len(sent)
    for frame, expected in zip(received, sent, strict=True):
        same(frame, *expected)
    assert not parser.midway


def test_one_small_frame_is_read_whole():
    data = small(Kind.REPLY, b"head", b"body")
    same(whole(data), Kind.REPLY, b"head", b"body", [])


@pytest.mark.parametrize("cut", [0, 1, HEADER.size - 1, HEADER.size, -1])
def test_part_of_a_frame_is_not_read_whole(cut):
    assert whole(small(Kind.REPLY, b"head", b"body")[:cut]) is None


def test_two_frames_at_once_are_not_read_whole():
    assert whole(small(Kind.REPLY, b"", b"1") * 2) is None


def test_large_frames_are_received_in_place():
    body, buffer = b"b" * 200_000, b"c" * 300_000
    stream = bytes_of(Kind.REQUEST, b"h", body, [buffer])
    parser = FrameParser()
    parser.feed(stream[:65536])
    assert parser.next() is None
    received = 65536
    while (room := parser.room()) is not None:
        n = min(len(room), 50_000)
        room[:n] = stream[received : received + n]
        parser.filled(n)
        received += n
    same(parser.next(), Kind.REQUEST, b"h", body, [buffer])


def test_received_buffers_are_writable_memory_of_the_receiver():
    (frame,), _ = parse([bytes_of(Kind.REPLY, b"", b"x", [b"abc"])])
    frame.buffers[0][0] = 0
    assert bytes(frame.buffers[0]) == b"\0bc"


def header(magic=MAGIC, version=VERSION, kind=Kind.REPLY, head=0, body=0, count=0):
    return HEADER.pack(magic, version, kind, head, body, count)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (header(magic=b"HT"), "begins with b'HT'"),
        (header(version=99), "version 99, expected 1"),
        (header(kind=77), "unknown kind 77"),
        (header(head=limits.MAX_HEAD + 1), f"{limits.MAX_HEAD:,}"),
        (header(body=limits.MAX_BODY + 1), f"{limits.MAX_BODY:,}"),
        (header(count=limits.MAX_BUFFERS + 1), f"{limits.MAX_BUFFERS:,}"),
        (header(count=1) + struct.pack("<Q", limits.MAX_BUFFER + 1), f"{limits.MAX_BUFFER:,}"),
    ],
)
def test_a_lying_header_is_refused_with_both_numbers(bad, says):
    parser = FrameParser()
    assert whole(bad) is None
    parser.feed(bad)
    with pytest.raises(ProtocolError, match=says.replace("(", r"\(")):
        parser.next()


@given(st.binary(max_size=400))
def test_garbage_is_a_frame_or_incomplete_or_refused(data):
    parser = FrameParser()
    parser.feed(data)
    try:
        parser.next()
    except ProtocolError:
        pass


def test_a_frame_beyond_the_limits_is_not_built(monkeypatch):
    monkeypatch.setattr(limits, "MAX_BODY", 10)
    with pytest.raises(ProtocolError, match="exceeds the limits"):
        build(Kind.REQUEST, b"", b"x" * 11)
    monkeypatch.setattr(limits, "MAX_BUFFERS", 2)
    with pytest.raises(ProtocolError, match="3 buffers"):
        build(Kind.REQUEST, b"", b"", [b"a", b"b", b"c"])
