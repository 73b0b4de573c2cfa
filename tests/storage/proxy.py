"""A proxy on loopback between a client and an object store, which loses answers or headers on purpose."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Proxy:
    """Forwards to `endpoint`. `lose_answers`: how many conditional writes are carried out and not answered;
    `answer_instead`: a status (409, 503) that as many of them get without being forwarded; `drop_condition`: the
    server never sees that a write is conditional; `is_down`: every connection is closed without an answer.
    """

    def __init__(self, endpoint: str) -> None:
        self.target = urlsplit(endpoint).netloc
        self.lose_answers = 0
        self.answer_instead: list[int] = []
        self.drop_condition = False
        self.is_down = False
        self.fails_with = 0
        self.requests: list[str] = []
        self.asked: list[str] = []  # the same with paths
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_any(self) -> None:
            proxy.requests.append(self.command)
            proxy.asked.append(f"{self.command} {self.path}")
            if proxy.is_down:
                self.close_connection = True
                return None
            body = self._body()
            if proxy.fails_with:
                return self._refuse(proxy.fails_with)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
            headers["Content-Length"] = str(len(body))
            is_conditional = "If-None-Match" in headers
            if proxy.drop_condition:
                headers.pop("If-None-Match", None)
            if is_conditional and proxy.answer_instead:
                return self._refuse(proxy.answer_instead.pop(0))
            connection = http.client.HTTPConnection(proxy.target, timeout=30)
            try:
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            finally:
                connection.close()
            if is_conditional and proxy.lose_answers > 0:
                proxy.lose_answers -= 1
                self.close_connection = True
                return None
            return self._answer(answer.status, answer.getheaders(), content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_any

        def _body(self) -> bytes:
            if self.headers.get("Expect", "").lower() == "100-continue":
                self.send_response_only(100)
                self.end_headers()
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                pieces = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    pieces.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(pieces)
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _refuse(self, status: int) -> None:
            code = {400: "InvalidRequest", 409: "ConditionalRequestConflict", 500: "InternalError", 503: "SlowDown"}[
                status
            ]
            content = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>planned</Message></Error>".encode()
            self._answer(status, [("Content-Type", "application/xml")], content)

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response_only(status)
            length = dict(headers).get("Content-Length", str(len(content))) if self.command == "HEAD" else len(content)
            for name, value in headers:
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            """Not in the output of the tests."""

    return Handler
