"""A real HTTP server on this machine that speaks the OpenAI protocol as a test tells it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[
    [dict[str, Any], int], tuple[int, Any]
]  # (body of the call, number of the call) -> (status, JSON or text)


def completion(text: str | None, finish: str = "stop", **message: Any) -> dict[str, Any]:
    """The body of a good answer."""
    return {
        "choices": [
            {"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 5},
    }


class Server:
    """Context manager. calls: (path, body, headers) of every call; most: calls under way at a time;
    answered: replies sent."""

    def __init__(self, answer: Answer):
        self.calls: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.now = self.most = self.answered = 0
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    outer.calls.append((self.path, body, dict(self.headers)))
                    number = len(outer.calls) - 1
                    outer.now += 1
                    outer.most = max(outer.most, outer.now)
                try:
                    status, said = answer(body, number)
                    data = (said if isinstance(said, str) else json.dumps(said)).encode()
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                    with outer.lock:
                        outer.answered += status == 200
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                finally:
                    with outer.lock:
                        outer.now -= 1

            def log_message(self, *words: Any) -> None:
                """Not on the test's stderr."""

        class Http(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self.http = Http(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def __enter__(self) -> Server:
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def wait_for(self, calls: int, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while len(self.calls) < calls:
            assert time.monotonic() < end, f"{len(self.calls)} calls after {seconds} s"
            time.sleep(0.01)


def free_port() -> int:
    """A port nobody listens on just now."""
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
