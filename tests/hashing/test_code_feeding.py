"""A container that code only adds to does not count by its content; one that anything reads does."""

from __future__ import annotations

import collections

import pytest

from mlflowish.hashing.fingerprint import fingerprint

LIST: list = []
SET: set = set()
TABLE: dict = {}
COUNTS: collections.Counter = collections.Counter()
QUEUE: collections.deque = collections.deque()


def appends(x):
    LIST.append(x)
    return x


def adds(x):
    SET.add(x)
    return x


def sets(x):
    TABLE[x] = x
    return x


def counts(x):
    COUNTS[x] += 1
    return x


def queues(x):
    QUEUE.appendleft(x)
    return x


@pytest.mark.parametrize("function", [appends, adds, sets, counts, queues])
def test_feeding_a_container_changes_nothing(function):
    found = fingerprint(function)
    function(1)
    function(2)
    assert found.holds()
    assert fingerprint(function).digest == found.digest


def reads_what_it_feeds(x):
    LIST.append(x)
    return len(LIST)


def uses_the_result(x):
    return TABLE.setdefault(x, 1)


def calls_a_reader(x):
    LIST.append(x)
    return reader()


def reader():
    return len(LIST)


@pytest.mark.parametrize(
    ("function", "feed"),
    [
        (reads_what_it_feeds, lambda: LIST.append(5)),
        (uses_the_result, lambda: TABLE.update(new=2)),
        (calls_a_reader, lambda: LIST.append(6)),
    ],
)
def test_what_is_read_counts_although_it_is_fed(function, feed):
    found = fingerprint(function)
    feed()
    assert not found.holds()
    assert fingerprint(function).digest != found.digest


class Recorder:
    def __init__(self):
        self.items = []

    def append(self, item):
        self.items.append(item)


RECORDER = Recorder()


def feeds_an_object_of_its_own(x):
    RECORDER.append(x)
    return x


def test_only_builtin_containers_are_known_to_keep_to_themselves():
    found = fingerprint(feeds_an_object_of_its_own)
    RECORDER.items.append(1)
    assert fingerprint(feeds_an_object_of_its_own).digest != found.digest


def test_another_container_under_the_name_is_seen(monkeypatch):
    found = fingerprint(appends)
    monkeypatch.setitem(globals(), "LIST", RECORDER)
    assert not found.holds()
    assert fingerprint(appends).digest != found.digest


def test_it_matters_whether_what_is_fed_is_what_is_read(monkeypatch):
    namespace = {"fed": LIST, "read": LIST}
    source = "def f(x):\n    fed.append(x)\n    return len(read)\n"
    exec(source, namespace)
    same = fingerprint(namespace["f"]).digest
    namespace["read"] = list(LIST)
    assert fingerprint(namespace["f"]).digest != same


def test_closures_feed_too():
    log = []

    def f(x):
        log.append(x)
        return x

    found = fingerprint(f)
    log.append(1)
    assert found.holds()
