"""Reading what a server sends: completions, token counts, when to come again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from sage_bench.types import Completion

# what servers call a completion that was cut
LENGTH = {"length", "max_tokens"}


@dataclass(frozen=True, slots=True)
class Failure:
    """A try, or a call after its last try, that brought nothing. code: the HTTP status, None
    without one. explanation: what came with it. wait: seconds the server asks to wait."""

    status: str
    retry: bool = True
    wait: float = 0.0
    code: int | None = None
    explanation: str = ""


class NoTextError(TypeError):
    """A reply of the right shape that has no text."""


def read_reply(body: Any) -> Completion:
    """The completion in a body of `/chat/completions` or `/completions`. Raises what `Endpoint`
    takes for garbage.

    >>> message = {"content": None, "reasoning_content": "Hm"}
    >>> reply = read_reply({"choices": [{"message": message, "finish_reason": "length"}]})
    >>> reply.text, reply.thought, reply.finish
    (None, 'Hm', 'length')
    """
    choice = body["choices"][0]
    message = {"content": choice["text"]} if "text" in choice else choice["message"]
    text = message["content"]
    thought = message.get("reasoning_content") or message.get("reasoning")
    thought = thought if isinstance(thought, str) else ""
    if not (isinstance(text, str) or (text is None and thought)):
        raise NoTextError(f"content is {type(text).__name__}")
    prompt_tokens, counted = token_counts(body.get("usage"))
    return Completion(
        text=text,
        thought=thought,
        finish="length" if choice.get("finish_reason") in LENGTH else "stop",
        prompt_tokens=prompt_tokens,
        counted=counted,
    )


def token_counts(usage: Any) -> tuple[int, int]:
    """(prompt, completion) tokens as the server counted them; 0 where it does not say.

    >>> token_counts({"prompt_tokens": 7, "completion_tokens": 2.0})
    (7, 2)
    >>> token_counts({"prompt_tokens": None}), token_counts("many")
    ((0, 0), (0, 0))
    """
    if not isinstance(usage, dict):
        return 0, 0
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))


def _count(n: Any) -> int:
    return int(n) if isinstance(n, int | float) and isfinite(n) and n >= 0 else 0


def retry_after(value: str | None, now: float | None = None) -> float:
    """Seconds a `Retry-After` header asks for: a number or a date. 0 where it is missing or
    neither.

    >>> retry_after("3"), retry_after(None), retry_after("soon")
    (3.0, 0.0, 0.0)
    >>> retry_after("Thu, 01 Jan 1970 00:00:09 GMT", now=2.0)
    7.0
    """
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            then = parsedate_to_datetime(value).timestamp()
        except (ValueError, OverflowError):
            return 0.0  # neither a number nor a date: our own back-off will do
        seconds = then - (time.time() if now is None else now)
    return seconds if isfinite(seconds) and seconds > 0 else 0.0
