"""The sample store: one append-only file a task, one row a (question, sample). It is the source of
truth and the cache."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sage_bench.utils.files import Appender, read_jsonl

Key = tuple[int, int, str]  # (doc_id, sample, prompt_hash)
# seconds; a killed process loses nothing that was written, a machine without power this much
SYNC_EVERY = 1.0


class SampleStore:
    """samples/<task>.jsonl of a run folder. Rows: task, doc_id, sample, seed, prompt_hash, text,
    finish, prompt_tokens, tokens, time.

    Reading keeps the first row of a key, so that a later duplicate can never change a score.
    """

    def __init__(self, folder: Path, task: str):
        self.task, self.file = task, folder / "samples" / f"{task}.jsonl"
        self.rows: dict[Key, dict[str, Any]] = {}
        for row in read_jsonl(self.file):
            self.rows.setdefault((row["doc_id"], row["sample"], row["prompt_hash"]), row)
        self._appender: Appender | None = None
        self._synced = 0.0

    def __contains__(self, key: Key) -> bool:
        return key in self.rows

    def append(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Write the rows that are not there yet and say how many. They outlive the process when
        this returns. Raises `SageBenchError` when the disk is full; what was stored before stays
        whole."""
        new: dict[Key, dict[str, Any]] = {}
        for r in rows:
            key = (r["doc_id"], r["sample"], r["prompt_hash"])
            if key not in self.rows:
                new.setdefault(key, dict(r))
        if new:
            self._appender = self._appender or Appender(self.file)
            self._appender.write(*new.values())
            self.rows.update(new)
            if time.monotonic() - self._synced > SYNC_EVERY:
                self._appender.sync()
                self._synced = time.monotonic()
        return len(new)

    def close(self) -> None:
        if self._appender:
            self._appender.sync()
            self._appender.close()
            self._appender = None
