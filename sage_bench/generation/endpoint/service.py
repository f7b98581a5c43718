"""Calling an endpoint: many calls together, each with its tries."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import httpx

from sage_bench.generation.endpoint.ledger import Ledger
from sage_bench.generation.endpoint.options import Options, read_options
from sage_bench.generation.endpoint.replies import Failure, NoTextError, read_reply, retry_after
from sage_bench.types import Completion

CHAT, PLAIN = "/chat/completions", "/completions"  # what is called below base_url
RETRY = {408, 409, 425, 429, 500, 502, 503, 504, 529}
GARBAGE = (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError)
MOST_BYTES = 1 << 26  # of one reply; a server that sends more is broken
SLOW = "the reply came too slowly"
Payload = dict[str, Any]


def endpoint(options: Mapping[str, Any], *, name: str, path: str = CHAT) -> Endpoint:
    """An endpoint from the options a user gave (`Options`). name: of its files, and in errors.
    Raises `UsageError` naming the option."""
    chosen = read_options(options, name)
    return Endpoint(chosen, os.environ.get(chosen.key_env, ""), name, path)


class Endpoint:
    """The service. What it was asked is in its `Ledger`."""

    def __init__(self, options: Options, key: str, name: str = "service", path: str = CHAT):
        self.options = options
        self.name = name
        self.secret = key
        self.url = options.base_url.rstrip("/") + path
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.ledger = Ledger(name, options.prices)
        self.lock = threading.Lock()
        self.failed_in_a_row = 0

    def open(self, folder: Path | None) -> None:
        """Ledger and cache go to the run folder (the cache elsewhere if a path was given)."""
        self.ledger.open(folder, self.options.cache)

    def log_to(self, file: Path) -> None:
        """Keep the ledger there, and no cache (for `stream`)."""
        self.ledger.calls_to(file)

    def answer(self, payloads: list[Payload]) -> list[str | None]:
        """Each reply's text, or None for a call that failed for good. Equal payloads are asked
        once."""
        self.failed_in_a_row = 0
        bodies = {self.key(p): p for p in payloads}
        with ThreadPoolExecutor(self.options.parallel) as pool, self._client() as client:
            texts = list(pool.map(lambda item: self._cached(client, *item), bodies.items()))
        replies = dict(zip(bodies, texts, strict=True))
        return [replies[self.key(p)] for p in payloads]

    def stream(self, payloads: Sequence[Payload]) -> Iterator[tuple[int, Completion | Failure]]:
        """(index, reply) as calls end, `parallel` at a time. No cache: equal payloads are separate
        calls.

        Closing the iterator gives up what has not begun; calls under way end by themselves, in
        threads nobody waits for.
        """
        todo: SimpleQueue[tuple[int, Payload]] = SimpleQueue()
        done: SimpleQueue[tuple[int, Completion | Failure | Exception]] = SimpleQueue()
        for item in enumerate(payloads):
            todo.put(item)
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                try:
                    i, payload = todo.get_nowait()
                except Empty:
                    return
                try:
                    done.put((i, self._call(client, self.key(payload), payload, stop=stop)))
                except Exception as error:  # noqa: BLE001  # raised again by who waits
                    done.put((i, error))

        with self._client() as client:
            for _ in range(min(self.options.parallel, len(payloads))):
                threading.Thread(target=work, daemon=True).start()
            try:
                for _ in payloads:
                    i, reply = done.get()
                    if isinstance(reply, Exception):
                        raise reply
                    yield i, reply
            finally:
                stop.set()

    def key(self, payload: Mapping[str, Any]) -> str:
        """What the cache knows a call by: address, payload, further fields."""
        parts = [self.url, payload]
        if self.options.body:
            parts.append(self.options.body)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _client(self) -> httpx.Client:
        return httpx.Client(
            timeout=self.options.timeout,
            headers=self.headers,
            # as many as there are threads that call; one that was given up may still hold its own
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=self.options.parallel
            ),
        )

    def _cached(self, client: httpx.Client, key: str, payload: Payload) -> str | None:
        if key in self.ledger.known:
            self.ledger.write(key, status="cached")
            return self.ledger.known[key]
        if self.failed_in_a_row >= self.options.patience:
            self.ledger.write(key, status="not tried", gave_up=True)
            return None
        reply = self._call(client, key, payload, remember=True)
        with self.lock:
            self.failed_in_a_row = self.failed_in_a_row + 1 if isinstance(reply, Failure) else 0
        return None if isinstance(reply, Failure) else reply.text

    def _call(
        self,
        client: httpx.Client,
        key: str,
        payload: Payload,
        *,
        remember: bool = False,
        stop: threading.Event | None = None,
    ) -> Completion | Failure:
        """One call with its tries. remember: its text goes into the cache; a reply without a text
        then counts as garbage. stop: nobody waits any more."""
        body = {k: v for k, v in {**payload, **self.options.body}.items() if v is not None}
        for attempt in range(1, self.options.tries + 1):
            began = time.monotonic()
            reply = self._try(client, body)
            if stop and stop.is_set():
                return Failure("stopped")  # its connection was closed under it: no try that counts
            if remember and isinstance(reply, Completion) and reply.text is None:
                reply = Failure("garbage (content is NoneType)")
            seconds = time.monotonic() - began
            if isinstance(reply, Completion):
                self.ledger.write(
                    key,
                    reply.text if remember else None,
                    status="ok",
                    attempt=attempt,
                    seconds=seconds,
                    gave_up=False,
                    tokens=(reply.prompt_tokens, reply.counted),
                )
                return reply
            last = attempt == self.options.tries or not reply.retry
            self.ledger.write(
                key,
                status=reply.status,
                attempt=attempt,
                seconds=seconds,
                gave_up=last,
                explanation=reply.explanation,
            )
            if last:
                return reply
            self._wait(reply, attempt)
        raise AssertionError("unreachable: the last try returns")

    def _wait(self, failure: Failure, attempt: int) -> None:
        back_off = self.options.pause * 2 ** (attempt - 1)
        most = min(self.options.timeout, self.options.longest_wait)
        time.sleep(min(max(failure.wait, back_off), most))

    def _try(self, client: httpx.Client, body: Payload) -> Completion | Failure:
        try:
            response, content = self._post(client, body)
        except httpx.TimeoutException:
            return Failure("timeout")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict) as error:
            return Failure(f"{type(error).__name__}: {error}")
        if response.status_code != 200:
            return self._refusal(response, content)
        if len(content) > MOST_BYTES:
            return Failure(f"garbage (more than {MOST_BYTES >> 20} MiB)")
        try:
            return read_reply(json.loads(content))
        except GARBAGE as error:
            reason = error if isinstance(error, NoTextError) else type(error).__name__
            return Failure(f"garbage ({reason})")

    def _post(self, client: httpx.Client, body: Payload) -> tuple[httpx.Response, bytes]:
        """The response and its content, `timeout` seconds after the request at the latest.

        httpx's own time-out begins anew with each byte, so a server that drips would never be given
        up; it is read in a thread that nobody waits for any longer than that.
        """
        done: SimpleQueue[tuple[httpx.Response, bytes] | Exception] = SimpleQueue()

        def work() -> None:
            try:
                done.put(self._read(client, body))
            except Exception as error:  # noqa: BLE001  # raised again by who waits
                done.put(error)

        threading.Thread(target=work, daemon=True).start()
        try:
            found = done.get(timeout=self.options.timeout)
        except Empty:
            raise httpx.ReadTimeout(SLOW) from None
        if isinstance(found, Exception):
            raise found
        return found

    def _read(self, client: httpx.Client, body: Payload) -> tuple[httpx.Response, bytes]:
        deadline = time.monotonic() + self.options.timeout
        content = bytearray()
        with client.stream("POST", self.url, json=body) as response:
            for piece in response.iter_bytes():
                content += piece
                if time.monotonic() > deadline:
                    # half a reply: who waits may be a moment later than this thread
                    raise httpx.ReadTimeout(SLOW)
                if len(content) > MOST_BYTES:
                    break
        return response, bytes(content)

    def _refusal(self, response: httpx.Response, content: bytes) -> Failure:
        code = response.status_code
        explanation = " ".join(content.decode("utf-8", "replace").split())[:300]
        if self.secret:  # servers like to repeat the key they refuse
            explanation = explanation.replace(self.secret, "***")
        wait = retry_after(response.headers.get("retry-after"))
        return Failure(f"http {code}", code in RETRY, wait, code, explanation)
