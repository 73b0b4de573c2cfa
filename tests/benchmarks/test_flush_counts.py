"""What the registry costs where the disk is slow, and where it is not asked: in turn with MLflow, and with the least
that any registry can do, one flush of one block. Nothing here asserts a time: see README.md."""

from __future__ import annotations

import contextlib
import os
import warnings

import pytest
from test_registry import Ours, Theirs, model

import mlflowish as mf

__all__ = ["model"]  # the fixture


class OursUnflushed(Ours):
    """Survives the death of the process, not that of the machine."""

    def open(self, folder):
        return mf.Store(folder / "unflushed", fsync="never")


class TheirsUnflushed(Theirs):
    """SQLite without flushes."""

    def __init__(self, folder, model):
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        def unflushed(connection, _):
            connection.execute("PRAGMA synchronous=OFF")

        event.listen(Engine, "connect", unflushed)
        try:
            super().__init__(folder, model)
        finally:
            event.remove(Engine, "connect", unflushed)


class Floor:
    """The same block of a file that has its size, written and flushed, which needs no change of the file system; and a
    new file under a new name, which is what a record of the catalog is."""

    def __init__(self, folder):
        self.folder, self.turn = folder, iter(range(10**9))
        self.fd = os.open(folder / "floor", os.O_CREAT | os.O_RDWR)
        os.write(self.fd, bytes(4096))
        os.fsync(self.fd)

    def flush(self):
        os.pwrite(self.fd, os.urandom(4096), 0)
        os.fdatasync(self.fd)

    def new_file(self):
        path = self.folder / f"new-{next(self.turn)}"
        fd = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.write(fd, os.urandom(4096))
        os.fsync(fd)
        os.close(fd)
        fd = os.open(self.folder, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


PAIRS = {"flushed": (Ours, Theirs), "not flushed": (OursUnflushed, TheirsUnflushed)}


@pytest.mark.nightly
@pytest.mark.skipif(not hasattr(os, "fdatasync"), reason="needs fdatasync")
@pytest.mark.parametrize("operation", ["register", "promote", "store_and_register"])
@pytest.mark.parametrize("durability", PAIRS)
def test_the_registry_in_turn_with_mlflow_and_with_the_disk(tmp_path, figures, model, operation, durability):
    group = f"{operation}, {durability}, in turn"
    with contextlib.ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own
        peers = [make(tmp_path, model) for make in PAIRS[durability]]
        for peer in peers:
            stack.callback(peer.close)
        floor, turn = Floor(tmp_path), iter(range(10**9))
        ours, theirs = (_bound(peer, operation, turn) for peer in peers)
        runners = {"mlflowish": ours, "mlflow sqlite": theirs}
        if durability == "flushed":
            runners |= {"one block flushed": floor.flush, "one new file flushed": floor.new_file}
        figures.race(group, runners, rounds=8 if operation == "store_and_register" else 25)
        figures.add(group, "mlflowish, flushes", _flushes(ours), "flushes")


def _bound(peer, operation, turn):
    if operation == "promote":
        return lambda: peer.promote(1 + next(turn) % 3)
    return getattr(peer, operation)


def _flushes(function):
    """How often the operation flushes; MLflow's are SQLite's own, see README.md."""
    noted, flush = [], os.fsync
    os.fsync = lambda fd: (noted.append(fd), flush(fd))[1]
    try:
        function()
    finally:
        os.fsync = flush
    return len(noted)
