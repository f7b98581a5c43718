"""An OpenAI-compatible chat endpoint: timeouts, retries with back-off, a cache on disk, a ledger of calls and cost."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import httpx

from sage_bench.errors import UsageError
from sage_bench.files import Appender, read_jsonl

RETRY = {408, 409, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Reply:
    """What the service said. text: None when all it said is a thought; thought: reasoning it keeps apart from the text, "" if none.
    finish: its `finish_reason`; token counts 0 where it does not report them."""

    text: str | None
    thought: str
    finish: str
    prompt_tokens: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed for good. status: the HTTP status, None when there was no whole answer."""

    reason: str
    status: int | None


def endpoint(
    base_url: str, *, key_env: str = "OPENAI_API_KEY", timeout: float = 60.0, tries: int = 4, parallel: int = 16, cache: str | None = None,
    prices: Sequence[float] = (0.0, 0.0), name: str = "service", path: str = "/chat/completions",
) -> Endpoint:
    """An endpoint from the options a user gives. base_url: up to and including `/v1`. The key is read from the environment
    variable `key_env` and never written anywhere. prices: per million prompt and completion tokens. Raises `UsageError`."""
    if not base_url.startswith(("http://", "https://")):
        raise UsageError(f"`{base_url}` is no base_url", where=name, remedy="it begins with http:// or https:// and ends in /v1")
    return Endpoint(
        base_url.rstrip("/") + path, os.environ.get(key_env, ""), timeout=timeout, tries=tries, parallel=parallel,
        cache=Path(cache) if cache else None, prices=tuple(prices), name=name,
    )


class Endpoint:
    """The service. answer(payloads) returns each reply's text, or None for a call that failed for good."""

    def __init__(self, url: str, key: str, *, timeout: float, tries: int, parallel: int, cache: Path | None, prices: tuple[float, ...], name: str = "service", pause: float = 0.5):
        self.url, self.timeout, self.tries, self.parallel, self.prices, self.pause = url, timeout, tries, parallel, prices, pause
        self.name = name
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.cache_file, self.known, self.lock = cache, {}, threading.Lock()
        self.ledger: Appender | None = None
        self.cache: Appender | None = None

    def open(self, folder: Path | None) -> None:
        """Ledger and cache go to the run folder (the cache elsewhere if a path was given)."""
        if self.ledger is not None or (folder is None and self.cache_file is None):
            return
        file = self.cache_file or folder / f"{self.name}_cache.jsonl"  # type: ignore[operator]
        self.known = {row["key"]: row["text"] for row in read_jsonl(file)}
        self.cache, self.ledger = Appender(file), Appender((folder or file.parent) / f"{self.name}_calls.jsonl")

    def answer(self, payloads: list[dict[str, Any]]) -> list[str | None]:
        with ThreadPoolExecutor(self.parallel) as pool, httpx.Client(timeout=self.timeout, headers=self.headers) as client:
            return list(pool.map(lambda p: self._call(client, p), payloads))

    def log_to(self, file: Path) -> None:
        """Keep the ledger there, and no cache."""
        self.ledger = self.ledger or Appender(file)

    def stream(self, payloads: Sequence[dict[str, Any]]) -> Iterator[tuple[int, Reply | Failure]]:
        """(index, reply) as calls end, `parallel` at a time, without the cache: equal payloads are separate calls.

        Closing the iterator gives up what has not begun; what is under way is left to end by itself (daemon threads)."""
        todo: SimpleQueue[tuple[int, dict[str, Any]]] = SimpleQueue()
        done: SimpleQueue[tuple[int, Reply | Failure | Exception]] = SimpleQueue()
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
                    done.put((i, self._ask(client, payload, self._key(payload))))
                except Exception as error:  # noqa: BLE001  raised again where the iterator is read
                    done.put((i, error))

        with httpx.Client(timeout=self.timeout, headers=self.headers, limits=httpx.Limits(max_connections=self.parallel)) as client:
            for _ in range(min(self.parallel, len(payloads))):
                threading.Thread(target=work, daemon=True).start()
            try:
                for _ in payloads:
                    i, reply = done.get()
                    if isinstance(reply, Exception):
                        raise reply
                    yield i, reply
            finally:
                stop.set()

    def _key(self, payload: dict[str, Any]) -> str:
        return hashlib.sha256(json.dumps([self.url, payload], sort_keys=True).encode()).hexdigest()

    def _call(self, client: httpx.Client, payload: dict[str, Any]) -> str | None:
        key = self._key(payload)
        if key in self.known:
            self._write(key, status="cached")
            return self.known[key]
        reply = self._ask(client, payload, key)
        if isinstance(reply, Failure) or reply.text is None:
            return None
        with self.lock:
            self.known[key] = reply.text
            if self.cache:
                self.cache.write({"key": key, "text": reply.text})
        return reply.text

    def _ask(self, client: httpx.Client, payload: dict[str, Any], key: str) -> Reply | Failure:
        """One call with its retries; every attempt is a line of the ledger."""
        for attempt in range(1, self.tries + 1):
            began, wait, code = time.monotonic(), self.pause * 2 ** (attempt - 1), None
            try:
                response = client.post(self.url, json=payload)
                if response.status_code == 200:
                    reply = _read(response.json())
                    self._write(key, status="ok", attempt=attempt, seconds=time.monotonic() - began, tokens=(reply.prompt_tokens, reply.tokens))
                    return reply
                code, status, retry = response.status_code, f"http {response.status_code}", response.status_code in RETRY
                said = " ".join(response.text.split())[:300]
                wait = max(wait, _retry_after(response))
            except httpx.TimeoutException:
                status, said, retry = "timeout", "", True
            except httpx.HTTPError as error:
                status, said, retry = f"{type(error).__name__}: {error}", "", True
            except (ValueError, KeyError, IndexError, TypeError) as error:
                status, said, retry = f"garbage ({type(error).__name__})", "", True
            last = attempt == self.tries or not retry
            self._write(key, status=status, attempt=attempt, seconds=time.monotonic() - began, gave_up=last)
            if last:
                break
            time.sleep(min(wait, self.timeout))
        return Failure(self._hide(f"{status} {said}".strip()), code)

    def _hide(self, text: str) -> str:
        """Servers like to repeat the key they refuse."""
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return text.replace(key, "***") if key else text

    def _write(self, key: str, *, tokens: tuple[int, int] = (0, 0), seconds: float = 0.0, **row: Any) -> None:
        with self.lock:
            if self.ledger:
                cost = sum(t * p for t, p in zip(tokens, self.prices, strict=False)) / 1e6
                self.ledger.write({
                    "time": round(time.time(), 3), "key": key[:12], **row, "seconds": round(seconds, 3), "prompt_tokens": tokens[0], "completion_tokens": tokens[1], "cost": cost,
                })


def _read(body: dict[str, Any]) -> Reply:
    """The reply in a body of `/chat/completions` or `/completions`. Raises what `Endpoint` takes for garbage."""
    choice, usage = body["choices"][0], body.get("usage") or {}
    message = {"content": choice["text"]} if "text" in choice else choice["message"]
    text, thought = message.get("content"), message.get("reasoning_content") or message.get("reasoning") or ""
    if not (isinstance(text, str) or (text is None and thought)):
        raise TypeError("no text")
    return Reply(text, thought, str(choice.get("finish_reason") or "stop"), int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))


def _retry_after(response: httpx.Response) -> float:
    try:
        return float(response.headers.get("retry-after", 0))
    except ValueError:
        return 0.0  # a date: our own back-off will do
