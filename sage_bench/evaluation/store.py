"""The sample store: one append-only file a task, one row a (question, sample). It is the source of
truth and the cache."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from sage_bench.data.schema import SAMPLES, SampleRow
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import Appender

Key = tuple[int, int, str]  # (doc_id, sample, prompt_hash)
# seconds; a killed process loses nothing that was written, a machine without power this much
SYNC_EVERY = 1.0


def key_of(row: SampleRow) -> Key:
    return row["doc_id"], row["sample"], row["prompt_hash"]


class SampleStore:
    """samples/<task>.jsonl of a run folder, read once and appended to.

    Reading keeps the first row of a key, so that a later duplicate can never change a score. Raises
    `DataError` naming file and line when the file is damaged.
    """

    def __init__(self, folder: Path, task: str):
        self.task = task
        self.file = folder / "samples" / f"{task}.jsonl"
        self.rows: dict[Key, SampleRow] = {}
        for row in SAMPLES.read(self.file):
            self.rows.setdefault(key_of(row), row)
        self._appender: Appender | None = None
        self._synced = 0.0

    def __contains__(self, key: Key) -> bool:
        return key in self.rows

    def append(self, rows: Iterable[SampleRow]) -> int:
        """Write the rows that are not there yet and say how many.

        They outlive the process when this returns. Raises `SageBenchError` when the disk is full;
        what was stored before stays whole.
        """
        new: dict[Key, SampleRow] = {}
        for row in rows:
            key = key_of(row)
            if key not in self.rows:
                new.setdefault(key, row)
        if not new:
            return 0
        self._appender = self._appender or Appender(self.file)
        SAMPLES.append(self._appender, new.values())
        self.rows.update(new)
        if time.monotonic() - self._synced > SYNC_EVERY:
            self._appender.sync()
            self._synced = time.monotonic()
        return len(new)

    def check_prompts(self, wanted: Iterable[Key]) -> None:
        """Raise `UsageError` when stored samples were drawn with another prompt than is asked now.

        The fingerprint covers all that is known to decide a prompt. What it cannot see (a template
        that writes today's date) must not put answers to two prompts into one score.
        """
        known = {(doc_id, sample) for doc_id, sample, _ in self.rows}
        changed = {k[0] for k in wanted if k not in self.rows and k[:2] in known}
        if changed:
            raise UsageError(
                f"the rendered prompts of {len(changed)} questions are not those that the stored"
                " samples answer (does the chat template write a date?)",
                where=f"{self.file}, question {min(changed)}",
                remedy="--overwrite draws all samples anew (the old ones go to .trash)",
            )

    def close(self) -> None:
        if self._appender:
            self._appender.sync()
            self._appender.close()
            self._appender = None
