"""A real HTTP server that speaks the chat-completions protocol as badly as it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD = '{"steps": [], "first_error": 1, "why": "so"}'


def chat(text: Any, **usage: Any) -> dict[str, Any]:
    """The body of a well-formed reply."""
    return {
        "choices": [{"message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, **usage},
    }


class ChatServer:
    """`with ChatServer(script) as server:`, at `server.url`. script(n, request body) says what the
    n-th request (from 0) gets: a number is a status, bytes are a body with status 200, ("wait",
    seconds) is silence and then a good reply, (status, headers) or (status, headers, body) is just
    that, "hang up" closes the connection, anything else is sent as JSON. Keeps `requests` (body,
    headers, time) and `most_at_once`.
    """

    def __init__(self, script: Callable[[int, dict[str, Any]], Any]):
        self.script, self.requests, self.lock = script, [], threading.Lock()
        self.now = self.most_at_once = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    n = len(outer.requests)
                    outer.requests.append(
                        {
                            "body": body,
                            "headers": dict(self.headers),
                            "path": self.path,
                            "time": time.monotonic(),
                        }
                    )
                    outer.now += 1
                    outer.most_at_once = max(outer.most_at_once, outer.now)
                try:
                    self.reply(outer.script(n, body))
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client gave up waiting, as it should
                finally:
                    with outer.lock:
                        outer.now -= 1

            def reply(self, what: Any) -> None:
                status, headers, data = 200, {}, b""
                if isinstance(what, tuple) and what[0] == "wait":
                    time.sleep(what[1])
                    what = chat(GOOD)
                if what == "hang up":
                    self.close_connection = True
                    self.connection.close()
                    return
                if isinstance(what, tuple):
                    status, headers, *body = what
                    data = json.dumps(body[0]).encode() if body else b""
                elif isinstance(what, int):
                    status = what
                else:
                    data = what if isinstance(what, bytes) else json.dumps(what).encode()
                self.send_response(status)
                for name, value in {
                    "Content-Type": "application/json",
                    "Content-Length": str(len(data)),
                    **headers,
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Requests are kept, not printed."""

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Connections we closed ourselves are no news."""

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def __enter__(self) -> ChatServer:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def in_turn(*replies):
    """A script that gives these replies one after the other, and the last one for ever."""
    return lambda n, body: replies[min(n, len(replies) - 1)]
