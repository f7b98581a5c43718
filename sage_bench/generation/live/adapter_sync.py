"""Adapters that learn, handed to vLLM alone: its weights stay those of the base model."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sage_bench.utils.errors import UsageError

MEMORY_DISK = Path("/dev/shm")  # files in memory, where the system has such a place
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # for which vLLM has room (0.30)


@dataclass(frozen=True)
class AdapterSync:
    """save: writes the adapters as they are now into a folder, as peft does. rank: theirs. folder:
    where files go that vLLM reads, by default in memory; for a server elsewhere a shared one."""

    save: Callable[[Path], None]
    rank: int
    folder: Path | None = None

    @contextmanager
    def written(self) -> Iterator[Path]:
        """A folder with the adapters of now, for as long as it is entered."""
        made = new_folder(self.folder)
        try:
            self.save(made)
            for path in (made, *made.iterdir()):
                path.chmod(0o755 if path.is_dir() else 0o644)  # a server may be another user
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def engine_options(self) -> dict[str, Any]:
        """Keywords of `vllm.LLM`.

        >>> AdapterSync(lambda folder: None, rank=4).engine_options()
        {'enable_lora': True, 'max_lora_rank': 8, 'max_loras': 1}
        """
        return {"enable_lora": True, "max_lora_rank": room_for(self.rank), "max_loras": 1}


def room_for(rank: int) -> int:
    """The smallest of vLLM's sizes that holds a rank. Raises `UsageError` where none does."""
    found = next((size for size in RANKS if size >= rank), None)
    if found is None:
        raise UsageError(
            f"vLLM takes adapters up to rank {RANKS[-1]}, these have {rank}",
            where="engine.vllm.sync: adapters",
            remedy="set engine.vllm.sync=merged, or a lower engine.lora.rank",
        )
    return found


def new_folder(inside: Path | None) -> Path:
    """An empty folder for what vLLM reads; in memory unless a place is given."""
    where = inside or (MEMORY_DISK if MEMORY_DISK.is_dir() else None)
    return Path(tempfile.mkdtemp(prefix="sage-bench-weights-", dir=where))
