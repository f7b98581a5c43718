"""The sample store: one append-only file a task, one row a (question, sample). It is the source of truth and the cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sage_bench.files import Appender, read_jsonl

Key = tuple[int, int, str]  # (doc_id, sample, prompt_hash)


class SampleStore:
    """samples/<task>.jsonl of a run folder. Rows: task, doc_id, sample, seed, prompt_hash, text, finish, prompt_tokens, tokens, time.

    Reading keeps the first row of a key, so that a later duplicate can never change a score.
    """

    def __init__(self, folder: Path, task: str):
        self.task, self.file = task, folder / "samples" / f"{task}.jsonl"
        self.rows: dict[Key, dict[str, Any]] = {}
        for row in read_jsonl(self.file):
            self.rows.setdefault((row["doc_id"], row["sample"], row["prompt_hash"]), row)
        self._appender: Appender | None = None

    def __contains__(self, key: Key) -> bool:
        return key in self.rows

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows that are not there yet; on disk when this returns."""
        new = [dict(r) for r in rows if (r["doc_id"], r["sample"], r["prompt_hash"]) not in self.rows]
        if new:
            self._appender = self._appender or Appender(self.file)
            self._appender.write(*new)
            self._appender.sync()
            self.rows.update({(r["doc_id"], r["sample"], r["prompt_hash"]): r for r in new})

    def close(self) -> None:
        if self._appender:
            self._appender.close()
            self._appender = None
