"""The sum of what objects weigh that may share memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge_ext.kernel.worker.ledger import Ledger
from bridge_ext.kernel.worker.sizing import Size


def test_a_block_that_two_have_counts_once():
    ledger = Ledger()
    whole, view = Size(80, False, ((1, 80),)), Size(8, False, ((1, 80),))
    ledger.add(whole)
    ledger.add(view)
    assert ledger.nbytes == 80
    ledger.remove(whole)
    assert ledger.nbytes == 80, "the view keeps it"
    ledger.remove(view)
    assert ledger.nbytes == 0


def test_own_bytes_of_each_count():
    ledger = Ledger()
    ledger.add(Size(110, False, ((1, 100),)))
    ledger.add(Size(5))
    assert ledger.nbytes == 115


def test_the_same_size_may_be_in_twice():
    ledger, size = Ledger(), Size(30, False, ((1, 20),))
    ledger.add(size)
    ledger.add(size)
    assert ledger.nbytes == 40
    ledger.remove(size)
    assert ledger.nbytes == 30


def test_of_two_words_about_a_block_the_larger_holds():
    ledger = Ledger()
    small, large = Size(0, False, ((1, 10),)), Size(0, False, ((1, 70),))
    ledger.add(small)
    assert ledger.nbytes == 10
    ledger.add(large)
    assert ledger.nbytes == 70
    ledger.remove(large)
    assert ledger.nbytes == 70, "as long as it is held"
    ledger.remove(small)
    ledger.add(small)
    assert ledger.nbytes == 10, "what was said before is forgotten with it"


nbytes = st.integers(0, 1000)
sizes = st.builds(
    lambda own, blocks: Size(own + sum(blocks.values()), False, tuple(blocks.items())),
    nbytes,
    st.dictionaries(st.integers(0, 5), nbytes, max_size=4),
)


@given(
    st.lists(sizes, min_size=1, max_size=8), st.lists(st.tuples(st.booleans(), st.integers(0, 7)))
)
def test_any_order_gives_own_bytes_and_each_block_that_is_held_once(known, steps):
    ledger, held, largest = Ledger(), [], {}
    for adds, number in steps:
        if adds:
            size = known[number % len(known)]
            ledger.add(size)
            held.append(size)
            for key, nbytes in size.buffers:
                largest[key] = max(nbytes, largest.get(key, 0))
        elif held:
            ledger.remove(held.pop(number % len(held)))
        keys = {key for size in held for key, _ in size.buffers}
        largest = {key: largest[key] for key in keys}
        assert ledger.nbytes == sum(size.own for size in held) + sum(largest.values())
    for size in held:
        ledger.remove(size)
    assert ledger.nbytes == 0
