"""An OpenAI-compatible chat endpoint: timeouts, retries with back-off, a cache on disk, a ledger of
calls and cost."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isfinite
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sage_bench.utils.errors import UsageError, did_you_mean
from sage_bench.utils.files import Appender, read_jsonl
from sage_bench.utils.progress import stderr

CHAT, PLAIN = "/chat/completions", "/completions"  # what is called below base_url
RETRY = {408, 409, 425, 429, 500, 502, 503, 504, 529}


@dataclass(frozen=True, slots=True)
class Reply:
    """What the service said. text: None when all of it is a thought. thought: reasoning it keeps
    apart from the text. finish: its `finish_reason`. tokens: (prompt, completion), 0 where it does
    not say."""

    text: str | None
    thought: str
    finish: str
    tokens: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Failure:
    """A try, or a call after its last try, that brought nothing. code: the HTTP status, None
    without one. said: what came with it.
    wait: seconds the server asks to wait."""

    status: str
    retry: bool = True
    wait: float = 0.0
    code: int | None = None
    said: str = ""


class Options(BaseModel):
    """What a user may say about an endpoint. The key is read from an environment variable and never
    written anywhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = Field(
        pattern=r"^https?://[^@\s]+$",
        description="up to and including `/v1`, without a name and password",
    )
    key_env: str = Field(
        "OPENAI_API_KEY",
        description="environment variable that holds the key; unset = no key is sent",
    )
    timeout: float = Field(60.0, gt=0, description="seconds for one try")
    tries: int = Field(
        4,
        ge=1,
        description="of one call; after timeouts, broken replies and statuses that may pass",
    )
    parallel: int = Field(16, ge=1, description="calls under way together")
    pause: float = Field(
        0.5,
        ge=0,
        description=(
            "seconds before the second try, doubled for each further one; a Retry-After is honoured"
            " up to `timeout`"
        ),
    )
    patience: int = Field(
        32,
        ge=1,
        description="calls in a row that may fail for good before the rest of a round is not tried",
    )
    cache: str | None = Field(
        None, description="file of the cache, instead of one in the run folder"
    )
    prices: tuple[float, float] = Field(
        (0.0, 0.0), description="per million prompt and completion tokens, for the ledger"
    )
    body: dict[str, Any] = Field(
        default_factory=dict, description="further fields of the request; null takes one away"
    )


def endpoint(options: Mapping[str, Any], *, name: str, path: str = CHAT) -> Endpoint:
    """An endpoint from the options a user gave (`Options`). name: of its files, and in errors.
    Raises `UsageError` naming the option."""
    known = Options.model_fields
    try:
        chosen = Options.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        what = (
            f"unknown option; {did_you_mean(key, known)}".rstrip("; ")
            if first["type"] == "extra_forbidden"
            else first["msg"]
        )
        secret = (
            "the key belongs into the environment variable that `key_env` names; "
            if "key" in key and key != "key_env"
            else ""
        )
        raise UsageError(
            what, where=f"{name}: {key}", remedy=f"{secret}options: {', '.join(known)}"
        ) from None  # the cause would show the value
    if "key_env" in options and not os.environ.get(chosen.key_env):
        raise UsageError(
            f"the environment variable `{chosen.key_env}` is not set",
            where=f"{name}: key_env",
            remedy="export the key, or leave key_env out where none is needed",
        )
    return Endpoint(chosen, os.environ.get(chosen.key_env, ""), name, path)


class Endpoint:
    """The service. Files in the run folder: `<name>_calls.jsonl`, one row a try (time, key of the
    payload, status, attempt, gave_up, seconds, tokens, cost), and `<name>_cache.jsonl`, the
    replies, from which a second run is answered without a call.
    """

    def __init__(self, options: Options, key: str, name: str = "service", path: str = CHAT):
        self.options, self.name, self.secret = options, name, key
        self.url = options.base_url.rstrip("/") + path
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.known: dict[str, str] = {}
        self.lock = threading.Lock()
        self.failed_in_a_row = 0
        self.told: set[str] = set()
        self.ledger: Appender | None = None
        self.cache: Appender | None = None

    def open(self, folder: Path | None) -> None:
        """Ledger and cache go to the run folder (the cache elsewhere if a path was given)."""
        if self.ledger is not None or (folder is None and self.options.cache is None):
            return
        file = (
            Path(self.options.cache) if self.options.cache else folder / f"{self.name}_cache.jsonl"
        )  # type: ignore[operator]
        self.known |= {row["key"]: row["text"] for row in read_jsonl(file)}
        self.cache, self.ledger = (
            Appender(file),
            Appender((folder or file.parent) / f"{self.name}_calls.jsonl"),
        )

    def answer(self, payloads: list[dict[str, Any]]) -> list[str | None]:
        """Each reply's text, or None for a call that failed for good. Equal payloads are asked
        once."""
        self.failed_in_a_row = 0
        bodies = {self.key(p): p for p in payloads}
        with (
            ThreadPoolExecutor(self.options.parallel) as pool,
            httpx.Client(timeout=self.options.timeout, headers=self.headers) as client,
        ):
            replies = dict(
                zip(
                    bodies,
                    pool.map(lambda item: self._call(client, *item), bodies.items()),
                    strict=True,
                )
            )
        return [replies[self.key(p)] for p in payloads]

    def log_to(self, file: Path) -> None:
        """Keep the ledger there, and no cache (for `stream`)."""
        self.ledger = self.ledger or Appender(file)

    def stream(self, payloads: Sequence[dict[str, Any]]) -> Iterator[tuple[int, Reply | Failure]]:
        """(index, reply) as calls end, `parallel` at a time. No cache: equal payloads are separate
        calls.

        Closing the iterator gives up what has not begun; calls under way end by themselves, in
        threads nobody waits for.
        """
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
                    done.put(
                        (
                            i,
                            self._ask(
                                client, self.key(payload), payload, remember=False, stop=stop
                            ),
                        )
                    )
                except Exception as error:
                    done.put((i, error))

        limits = httpx.Limits(max_connections=self.options.parallel)
        with httpx.Client(
            timeout=self.options.timeout, headers=self.headers, limits=limits
        ) as client:
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
        return hashlib.sha256(
            json.dumps(
                (
                    [self.url, payload, self.options.body]
                    if self.options.body
                    else [self.url, payload]
                ),
                sort_keys=True,
            ).encode()
        ).hexdigest()

    def _call(self, client: httpx.Client, key: str, payload: dict[str, Any]) -> str | None:
        if key in self.known:
            self._write(key, status="cached")
            return self.known[key]
        if self.failed_in_a_row >= self.options.patience:
            self._write(key, status="not tried", gave_up=True)
            return None
        reply = self._ask(client, key, payload, remember=True)
        with self.lock:
            self.failed_in_a_row = self.failed_in_a_row + 1 if isinstance(reply, Failure) else 0
        return None if isinstance(reply, Failure) else reply.text

    def _ask(
        self,
        client: httpx.Client,
        key: str,
        payload: dict[str, Any],
        *,
        remember: bool,
        stop: threading.Event | None = None,
    ) -> Reply | Failure:
        """One call with its tries. remember: its text goes into the cache; a reply without a text
        is then none. stop: nobody waits any more."""
        body = {k: v for k, v in {**payload, **self.options.body}.items() if v is not None}
        for attempt in range(1, self.options.tries + 1):
            began = time.monotonic()
            reply = self._try(client, body)
            if stop and stop.is_set():
                return Failure("stopped")  # its connection was closed under it: no try that counts
            if remember and isinstance(reply, Reply) and reply.text is None:
                reply = Failure("garbage (content is NoneType)")
            if isinstance(reply, Reply):
                self._write(
                    key,
                    reply.text if remember else None,
                    status="ok",
                    attempt=attempt,
                    seconds=time.monotonic() - began,
                    gave_up=False,
                    tokens=reply.tokens,
                )
                return reply
            last = attempt == self.options.tries or not reply.retry
            self._write(
                key,
                status=reply.status,
                attempt=attempt,
                seconds=time.monotonic() - began,
                gave_up=last,
            )
            if last:
                return reply
            time.sleep(
                min(max(reply.wait, self.options.pause * 2 ** (attempt - 1)), self.options.timeout)
            )
        raise AssertionError("unreachable: the last try returns")

    def _try(self, client: httpx.Client, body: dict[str, Any]) -> Reply | Failure:
        try:
            response = client.post(self.url, json=body)
        except httpx.TimeoutException:
            return Failure("timeout")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict) as error:
            return Failure(f"{type(error).__name__}: {error}")
        if (code := response.status_code) != 200:
            said = " ".join(response.text.split())[:300]
            said = (
                said.replace(self.secret, "***") if self.secret else said
            )  # servers like to repeat the key they refuse
            return Failure(
                f"http {code}",
                code in RETRY,
                retry_after(response.headers.get("retry-after")),
                code,
                said,
            )
        try:
            return read_reply(response.json())
        except (
            ValueError,
            KeyError,
            IndexError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            return Failure(
                f"garbage ({error if isinstance(error, NoTextError) else type(error).__name__})"
            )

    def _write(
        self,
        key: str,
        text: str | None = None,
        *,
        tokens: tuple[int, int] = (0, 0),
        seconds: float = 0.0,
        **row: Any,
    ) -> None:
        with self.lock:
            if text is not None:
                self.known[key] = text
                if self.cache:
                    self.cache.write({"key": key, "text": text})
            if self.ledger:
                cost = sum(t * p for t, p in zip(tokens, self.options.prices, strict=True)) / 1e6
                self.ledger.write(
                    {
                        "time": round(time.time(), 3),
                        "key": key[:12],
                        **row,
                        "seconds": round(seconds, 3),
                        "prompt_tokens": tokens[0],
                        "completion_tokens": tokens[1],
                        "cost": cost,
                    }
                )
            if row.get("gave_up") and row["status"] not in self.told:
                self.told.add(row["status"])
                place = f", see {self.ledger.path}" if self.ledger else ""
                stderr().print(
                    f"warning: {self.name}: a call failed for good ({row['status']}){place}; told"
                    " once for each reason",
                    markup=False,
                )


class NoTextError(TypeError):
    """A reply of the right shape whose text is none."""


def read_reply(body: Any) -> Reply:
    """The reply in a body of `/chat/completions` or `/completions`. Raises what `Endpoint` takes
    for garbage.

    >>> read_reply({"choices": [{"message": {"content": None, "reasoning_content": "Hm"}, "finish_reason": "length"}]})
    Reply(text=None, thought='Hm', finish='length', tokens=(0, 0))
    """
    choice = body["choices"][0]
    message = {"content": choice["text"]} if "text" in choice else choice["message"]
    text, thought = message["content"], message.get("reasoning_content") or message.get("reasoning")
    thought = thought if isinstance(thought, str) else ""
    if not (isinstance(text, str) or (text is None and thought)):
        raise NoTextError(f"content is {type(text).__name__}")
    return Reply(
        text, thought, str(choice.get("finish_reason") or "stop"), token_counts(body.get("usage"))
    )


def token_counts(usage: Any) -> tuple[int, int]:
    """(prompt, completion) tokens as the server counted them; 0 where it does not say.

    >>> token_counts({"prompt_tokens": 7, "completion_tokens": 2.0}), token_counts({"prompt_tokens": None}), token_counts("many")
    ((7, 2), (0, 0), (0, 0))
    """
    found = [
        usage.get(k) if isinstance(usage, dict) else None
        for k in ("prompt_tokens", "completion_tokens")
    ]
    prompt, completion = (
        int(n) if isinstance(n, int | float) and isfinite(n) and n >= 0 else 0 for n in found
    )
    return prompt, completion


def retry_after(value: str | None, now: float | None = None) -> float:
    """Seconds a `Retry-After` header asks for: a number or a date. 0 where it is missing or
    neither.

    >>> retry_after("3"), retry_after(None), retry_after("soon"), retry_after("Thu, 01 Jan 1970 00:00:09 GMT", now=2.0)
    (3.0, 0.0, 0.0, 7.0)
    """
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - (
                time.time() if now is None else now
            )
        except (ValueError, OverflowError):
            return 0.0  # neither a number nor a date: our own back-off will do
    return seconds if isfinite(seconds) and seconds > 0 else 0.0
