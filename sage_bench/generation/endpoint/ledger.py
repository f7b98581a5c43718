"""The files of an endpoint in the run folder: what was called, and the replies for a second run."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from sage_bench.utils.files import Appender, read_jsonl
from sage_bench.utils.progress import stderr


class Ledger:
    """`<name>_calls.jsonl`, one row a try (time, key of the payload, status, attempt, gave_up,
    seconds, tokens, cost), and `<name>_cache.jsonl`, the replies, from which a second run is
    answered without a call. Written by many threads."""

    def __init__(self, name: str, prices: tuple[float, float]):
        self.name = name
        self.prices = prices
        self.lock = threading.Lock()
        self.known: dict[str, str] = {}
        self.warned: set[str] = set()
        self.calls: Appender | None = None
        self.cache: Appender | None = None

    def open(self, folder: Path | None, cache: str | None) -> None:
        """Ledger and cache go to the run folder (the cache elsewhere if a path was given)."""
        if self.calls is not None:
            return
        if cache is not None:
            file = Path(cache)
        elif folder is not None:
            file = folder / f"{self.name}_cache.jsonl"
        else:
            return
        self.known |= {row["key"]: row["text"] for row in read_jsonl(file)}
        self.cache = Appender(file)
        self.calls = Appender((folder or file.parent) / f"{self.name}_calls.jsonl")

    def calls_to(self, file: Path) -> None:
        """Keep the rows there, and no cache."""
        self.calls = self.calls or Appender(file)

    def write(
        self,
        key: str,
        text: str | None = None,
        *,
        tokens: tuple[int, int] = (0, 0),
        seconds: float = 0.0,
        explanation: str = "",
        **row: Any,
    ) -> None:
        """One row; the text, if there is one, into the cache. explanation: what a server wrote when
        it refused. Warns once for each status with which calls fail for good."""
        if explanation:
            row["explanation"] = explanation
        with self.lock:
            if text is not None:
                self.known[key] = text
                if self.cache:
                    self.cache.write({"key": key, "text": text})
            if self.calls:
                cost = sum(t * p for t, p in zip(tokens, self.prices, strict=True)) / 1e6
                self.calls.write(
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
            if row.get("gave_up"):
                self._warn(row["status"], explanation)

    def _warn(self, status: str, explanation: str) -> None:
        if status in self.warned:
            return
        self.warned.add(status)
        place = f", see {self.calls.path}" if self.calls else ""
        reason = f': "{explanation}"' if explanation else ""
        stderr().print(
            f"warning: {self.name}: a call failed for good ({status}){reason}{place}; told once for"
            " each reason",
            markup=False,
        )
