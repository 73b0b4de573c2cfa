"""Codec items: a generator is drained in bounded memory and read back as often as one likes; nothing is lost."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflowish.codecs import Items, decode, drain, encode
from mlflowish.errors import CapabilityError, IntegrityError, UncacheableError
from mlflowish.hashing import digest


class Parts(list):
    """Stores parts in order, as an entry would list them."""

    def __init__(self, reader):
        self.reader = reader

    def store(self, part):
        self.append(self.reader(part))
        return self[-1]


@pytest.fixture
def parts(store_part):
    return Parts(store_part)


def read_back(encoded, parts, **options):
    assert encoded.parts == ()
    return decode(encoded.codec, encoded.head, list(parts), **options)


def test_a_generator_can_be_read_again_and_again(parts):
    items, encoded = drain((n * n for n in range(10)), parts.store)
    assert not parts
    for each in (items, read_back(encoded, parts)):
        assert isinstance(each, Items)
        assert list(each) == list(each) == [n * n for n in range(10)]
        assert (len(each), each[3], each[-1], each[2:5], each[::-4]) == (10, 9, 81, [4, 9, 16], [81, 25, 1])
        assert 49 in each
    with pytest.raises(IndexError):
        items[10]


def test_no_items_are_items_too(parts):
    items, encoded = drain(iter(()), parts.store)
    assert list(items) == list(read_back(encoded, parts)) == []
    assert not items


def test_many_items_are_chunks_of_about_a_mebibyte(parts):
    items, encoded = drain((f"row {n} " + "x" * 100 for n in range(50_000)), parts.store)
    assert 4 < len(parts) < 20
    assert max(part.size_bytes for part in parts) < 2 << 20
    assert len(encoded.head) < 2000
    assert items[49_999] == read_back(encoded, parts)[49_999] == "row 49999 " + "x" * 100


def test_a_long_list_of_chunks_is_a_part_itself(parts):
    items, encoded = drain(range(600_000), parts.store, inline_limit=100)
    assert encoded.head == b""
    assert sum(read_back(encoded, parts)) == sum(items) == sum(range(600_000))


def test_arrays_and_frames_are_parts_of_their_own_codec(parts):
    arrays = [np.full(20_000, n) for n in range(3)]
    items, encoded = drain(itertools.chain(arrays, [pd.DataFrame({"a": [1]})]), parts.store)
    assert bytes(parts[0].buffer()) == b"".join(encode(arrays[0]).parts[0].chunks())
    back = list(read_back(encoded, parts, allow_pickle=False))
    assert all(np.array_equal(a, b) for a, b in zip(arrays, back, strict=False))
    assert type(back[3]) is pd.DataFrame
    assert len(items) == 4


def test_a_generator_that_yields_the_same_array_again_is_read_as_it_was_at_each_time(parts):
    def walk():
        state = np.zeros(2)
        for _ in range(4):
            state += 1
            yield state

    items, _ = drain(walk(), parts.store)
    assert [item.tolist() for item in items] == [[1, 1], [2, 2], [3, 3], [4, 4]]


def test_each_reading_gives_new_objects(parts):
    items, _ = drain(([n] for n in range(3)), parts.store)
    for item in items:
        item.append("changed")
    assert list(items) == [[0], [1], [2]]


def item_digest(item):
    return digest(item)


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.one_of(st.integers(), st.text(), st.lists(st.integers(), max_size=2)), max_size=10))
def test_the_digest_is_that_of_the_items_in_their_order(store_part, values):
    def drained(values):
        parts = Parts(store_part)
        items, encoded = drain(iter(values), parts.store, digest_item=item_digest)
        assert digest(items) == digest(read_back(encoded, parts))
        return digest(items)

    assert drained(values) == drained(pickle.loads(pickle.dumps(values)))
    if values != values[::-1]:
        assert drained(values) != drained(values[::-1])


def test_the_digest_does_not_depend_on_how_items_are_chunked_or_shared(store_part):
    text = "x" * 1000
    shared = [[text, text] for _ in range(10)]
    copies = [["x" * 1000, "y" + "x" * 999] for _ in range(10)]
    for row in copies:
        row[1] = "x" + row[1][1:]
    digests = {
        digest(drain(iter(values), Parts(store_part).store, digest_item=item_digest, inline_limit=limit)[0])
        for values in (shared, copies)
        for limit in (100, 1 << 16)
    }
    assert len(digests) == 1


def test_without_digests_of_the_items_the_same_code_gives_the_same_digest(store_part):
    one, other = (digest(drain((n for n in range(50_000)), Parts(store_part).store)[0]) for _ in range(2))
    assert one == other
    assert one != digest(drain((n for n in range(50_001)), Parts(store_part).store)[0])


def test_what_the_generator_raises_passes_through(parts):
    def failing():
        yield 1
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        drain(failing(), parts.store)


def test_an_item_that_cannot_be_stored_is_named_and_nothing_is_lost(parts):
    values = [*range(40_000), [1, (n for n in [])], "last"]
    with pytest.raises(UncacheableError) as caught:
        drain(iter(values), parts.store)
    assert caught.value.path == "result[40000][1]"
    rescued = list(caught.value.rescued)
    assert rescued[:40_000] == values[:40_000]
    assert rescued[40_000] is values[40_000]
    assert rescued[40_001:] == ["last"]


def test_a_store_that_fails_half_way_loses_nothing(store_part):
    stored = []

    def store(part):
        if len(stored) == 2:
            raise OSError("full")
        stored.append(store_part(part))
        return stored[-1]

    with pytest.raises(OSError, match="full") as caught:
        drain(range(100_000), store)
    assert list(caught.value.rescued) == list(range(100_000))


def test_objects_make_it_a_pickle_that_policy_can_refuse(parts):
    items, encoded = drain(iter([{1}, print]), parts.store)
    assert encoded.executes_code
    assert list(items) == [{1}, print]
    with pytest.raises(CapabilityError):
        read_back(encoded, parts, allow_pickle=False)


def test_items_can_be_the_result_of_another_step(parts, load):
    items, _ = drain(range(100_000), parts.store)
    encoded = encode({"rows": items})
    assert not encoded.executes_code
    back = load(encoded)["rows"]
    assert isinstance(back, Items)
    assert sum(back) == sum(range(100_000))
    assert digest(back) == digest(items)


def test_items_travel_to_other_processes(parts):
    items, _ = drain(range(5), parts.store)
    assert list(pickle.loads(pickle.dumps(items))) == [0, 1, 2, 3, 4]


def test_it_shows_what_it_is_without_reading_it(parts):
    items, _ = drain(range(100_000), parts.store)
    assert repr(items) == "Items(100,000 items in 7 chunks)"


def test_memory_does_not_grow_with_the_items(store_part):
    import tracemalloc

    class Nowhere:
        size_bytes = 0

    tracemalloc.start()
    drain((bytes(1000) for _ in range(60_000)), lambda part: Nowhere())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 << 20


def test_damage_is_refused(parts):
    _, encoded = drain(range(50_000), parts.store)
    for head, wrong in ((encoded.head, parts[1:]), (b"N.", parts), (b"", []), (encoded.head[:-4], parts)):
        with pytest.raises(IntegrityError):
            decode("items", head, list(wrong))
    with pytest.raises(IntegrityError):
        list(decode("items", encoded.head, parts[::-1]))
