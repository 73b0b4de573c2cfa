"""What surrounds a call: context variables, thread-local data, the context of decimals, registered subclasses."""

from __future__ import annotations

import abc
import contextvars
import decimal
import http
import re
import signal
import socket
import threading

from mlflowish.hashing import fingerprint

PLAIN = contextvars.ContextVar("PLAIN", default=1)
EMPTY: contextvars.ContextVar[list[int]] = contextvars.ContextVar("EMPTY")
LOCAL = threading.local()


def test_a_context_variable_counts_by_what_it_holds() -> None:
    def f() -> int:
        return PLAIN.get()

    old = fingerprint(f)
    token = PLAIN.set(2)
    try:
        assert not old.holds()
        assert fingerprint(f).digest != old.digest
    finally:
        PLAIN.reset(token)
    assert old.holds()
    assert fingerprint(f).digest == old.digest


def test_a_list_in_a_context_variable_is_seen_to_change() -> None:
    def f() -> int:
        return len(EMPTY.get())

    empty = fingerprint(f)

    def inside() -> None:
        EMPTY.set([1])
        full = fingerprint(f)
        assert full.digest != empty.digest
        EMPTY.get().append(2)
        assert not full.holds()

    contextvars.copy_context().run(inside)
    assert empty.holds()


def test_thread_local_data_counts_by_the_plain_values_of_the_thread() -> None:
    def f() -> int:
        return int(LOCAL.value)

    LOCAL.value = 1
    old = fingerprint(f)
    seen = []

    def elsewhere() -> None:
        LOCAL.value = 2
        seen.append(old.holds())
        seen.append(fingerprint(f).digest == old.digest)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [False, False]
    assert old.holds()


def test_a_connection_kept_for_a_thread_changes_nothing() -> None:
    connections = threading.local()

    def f() -> object:
        if not hasattr(connections, "made"):
            connections.made = threading.Lock()
        return connections.made

    old = fingerprint(f)
    f()
    assert old.holds()
    assert old.uncacheable is None


def test_a_class_registered_with_an_abstract_base_counts() -> None:
    class Shape(abc.ABC):  # noqa: B024  what counts is who is registered
        pass

    class Square:
        pass

    def f() -> bool:
        return issubclass(Square, Shape)

    old = fingerprint(f)
    Shape.register(Square)
    assert not old.holds()
    assert fingerprint(f).digest != old.digest


def test_the_precision_of_decimals_counts_for_code_that_uses_them() -> None:
    def f() -> object:
        return decimal.Decimal(1) / 3

    old = fingerprint(f)
    with decimal.localcontext() as context:
        context.prec = 5
        assert not old.holds()
        assert fingerprint(f).digest != old.digest
    assert old.holds()


def test_members_of_enums_of_libraries_are_known_by_their_names() -> None:
    """Their class has a length, and they have none."""

    def f() -> list[object]:
        return [signal.SIGKILL, socket.AF_INET, re.IGNORECASE, http.HTTPStatus.OK, http.HTTPStatus.OK.phrase]

    def g() -> list[object]:
        return [signal.SIGTERM, socket.AF_INET, re.IGNORECASE, http.HTTPStatus.OK, http.HTTPStatus.OK.phrase]

    assert fingerprint(f).holds()
    assert fingerprint(f).digest == fingerprint(f).digest != fingerprint(g).digest
