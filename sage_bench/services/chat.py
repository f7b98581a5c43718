"""An OpenAI-compatible chat endpoint: timeouts, retries with back-off, a cache on disk, a ledger of calls and cost."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from sage_bench.errors import UsageError
from sage_bench.files import Appender, read_jsonl

RETRY = {408, 409, 425, 429, 500, 502, 503, 504}


def endpoint(
    base_url: str, *, key_env: str = "OPENAI_API_KEY", timeout: float = 60.0, tries: int = 4, parallel: int = 16, cache: str | None = None,
    prices: Sequence[float] = (0.0, 0.0), name: str = "service",
) -> Endpoint:
    """An endpoint from the options a user gives. base_url: up to and including `/v1`. The key is read from the environment
    variable `key_env` and never written anywhere. prices: per million prompt and completion tokens. Raises `UsageError`."""
    if not base_url.startswith(("http://", "https://")):
        raise UsageError(f"`{base_url}` is no base_url", where=name, remedy="it begins with http:// or https:// and ends in /v1")
    return Endpoint(
        base_url.rstrip("/") + "/chat/completions", os.environ.get(key_env, ""), timeout=timeout, tries=tries, parallel=parallel,
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

    def _call(self, client: httpx.Client, payload: dict[str, Any]) -> str | None:
        key = hashlib.sha256(json.dumps([self.url, payload], sort_keys=True).encode()).hexdigest()
        if key in self.known:
            self._write(key, status="cached")
            return self.known[key]
        for attempt in range(1, self.tries + 1):
            began, wait = time.monotonic(), self.pause * 2 ** (attempt - 1)
            try:
                response = client.post(self.url, json=payload)
                if response.status_code == 200:
                    body = response.json()
                    text = str(body["choices"][0]["message"]["content"])
                    usage = body.get("usage") or {}
                    tokens = (int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0)))
                    self._write(key, text, status="ok", attempt=attempt, seconds=time.monotonic() - began, tokens=tokens)
                    return text
                status, retry = f"http {response.status_code}", response.status_code in RETRY
                wait = max(wait, _retry_after(response))
            except httpx.TimeoutException:
                status, retry = "timeout", True
            except httpx.HTTPError as error:
                status, retry = f"{type(error).__name__}: {error}", True
            except (ValueError, KeyError, IndexError, TypeError) as error:
                status, retry = f"garbage ({type(error).__name__})", True
            last = attempt == self.tries or not retry
            self._write(key, status=status, attempt=attempt, seconds=time.monotonic() - began, gave_up=last)
            if last:
                return None
            time.sleep(min(wait, self.timeout))
        return None

    def _write(self, key: str, text: str | None = None, *, tokens: tuple[int, int] = (0, 0), seconds: float = 0.0, **row: Any) -> None:
        with self.lock:
            if text is not None:
                self.known[key] = text
                if self.cache:
                    self.cache.write({"key": key, "text": text})
            if self.ledger:
                cost = sum(t * p for t, p in zip(tokens, self.prices, strict=False)) / 1e6
                self.ledger.write({
                    "time": round(time.time(), 3), "key": key[:12], **row, "seconds": round(seconds, 3), "prompt_tokens": tokens[0], "completion_tokens": tokens[1], "cost": cost,
                })


def _retry_after(response: httpx.Response) -> float:
    try:
        return float(response.headers.get("retry-after", 0))
    except ValueError:
        return 0.0  # a date: our own back-off will do
