"""Groups of training steps, to be read: prompt, hint, completions and their rewards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sage_bench.data.schema import COMPLETIONS
from sage_bench.reporting.page.chunks import Chunks, by_size

CHUNK = 1_000_000  # characters in one file, about


def write_groups(folder: Path, name: str, chunks: Chunks) -> dict[str, int]:
    """Write NAME.js, one entry a group that the run kept, and NAME/CHUNK.js, their texts; returns
    how many groups there are, and how many of them had a hint.

    Raises `DataError` where the file is damaged.
    """
    rows = list(COMPLETIONS.read(folder / "completions.jsonl"))
    sized = ((_size(row), row) for row in rows)
    entries: list[dict[str, Any]] = []
    for number, group in enumerate(by_size(sized, CHUNK)):
        chunks.write(f"{name}/{number}", [_texts(row) for row in group])
        entries += [_entry(row) | {"chunk": number, "row": i} for i, row in enumerate(group)]
    if entries:
        chunks.write(name, entries)
    return {"groups": len(entries), "hinted": sum(e["level"] > 0 for e in entries)}


def _size(row: Mapping[str, Any]) -> int:
    return len(row["prompt"]) + sum(len(c["text"]) for c in row["completions"])


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    rewards = [c["reward"] for c in row["completions"]]
    return {
        "step": row["step"],
        "uid": str(row["uid"]),
        "level": row["level"],
        "right": sum(r > 0 for r in rewards),
        "of": len(rewards),
    }


def _texts(row: Mapping[str, Any]) -> dict[str, Any]:
    keep = ("text", "finish", "reward")
    return {
        "prompt": row["prompt"],
        "hint": row.get("hint"),
        "answer": row["answer"],
        "completions": [{k: c.get(k) for k in keep} for c in row["completions"]],
    }
