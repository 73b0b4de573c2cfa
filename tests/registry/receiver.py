"""A server that receives webhooks, on loopback: it remembers what came, and answers as it is told."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], int]


@dataclass(frozen=True)
class Received:
    """One request: its path, headers, raw and parsed body."""

    path: str
    headers: dict[str, str]
    body: bytes
    document: dict[str, Any] = field(default_factory=dict)


class Receiver:
    """`answer` is a status, or a function that gives one; `received` is what came, answered or not.

    `bound`: a socket that has the address already, so that nobody else can have taken it meanwhile.
    """

    def __init__(self, answer: int | Answer = 200, bound: socket.socket | None = None) -> None:
        self.answer = answer
        self.received: list[Received] = []
        self._changed = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._receive(self)

            def do_GET(self) -> None:
                receiver._receive(self)

            def log_message(self, *_: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                return  # a client that hangs up is what some tests are about

        self._server = Server(("127.0.0.1", 0), Handler, bind_and_activate=bound is None)
        if bound is not None:
            self._server.socket.close()
            self._server.socket, self._server.server_address = bound, bound.getsockname()
            self._server.server_activate()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return url_at(self._server.socket)

    def wait_for(self, count: int, timeout_s: float = 120.0) -> list[Received]:
        """What came, as soon as there is so much of it."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= count, timeout_s), self.received
            return list(self.received)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def give_up_address(self) -> socket.socket:
        """Its socket, for another one: who is not served yet is hung up on."""
        self._server.shutdown()
        self._thread.join()
        listening = self._server.socket
        listening.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                listening.accept()[0].close()
        listening.setblocking(True)
        return listening

    def _receive(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        document = json.loads(body) if body else {}
        with self._changed:
            self.received.append(Received(handler.path, dict(handler.headers), body, document))
            self._changed.notify_all()
        status = self.answer if isinstance(self.answer, int) else self.answer(handler)
        if status:
            handler.send_response(status)
            handler.send_header("Content-Length", "0")
            if 300 <= status < 400:
                handler.send_header("Location", url_at(self._server.socket, "elsewhere"))
            handler.end_headers()


def url_at(bound: socket.socket, path: str = "hook") -> str:
    """Where a server with this socket is reached."""
    return f"http://127.0.0.1:{bound.getsockname()[1]}/{path}"


def dripping(handler: BaseHTTPRequestHandler) -> int:
    """An answer that comes byte by byte, for ever."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while True:
        handler.wfile.write(b".")
        time.sleep(0.05)


def hanging_up(handler: BaseHTTPRequestHandler) -> int:
    """No answer at all: the connection ends."""
    handler.close_connection = True
    return 0
