"""TensorBoard: event files in the run folder. On unless `log.tensorboard=false`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sage_bench.training.boards.registry import register_sink
from sage_bench.utils.files import writing


@register_sink("tensorboard")
class TensorBoard:
    """Points from the step on that the run goes on from are purged, and written again."""

    needs = "tensorboard"

    def __init__(self, folder: Path, step: int, config: Mapping[str, Any]):
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder / "tensorboard"
        with writing(self.folder):
            self.writer: Any = SummaryWriter(str(self.folder), purge_step=step)

    def scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        with writing(self.folder):
            for key, value in values.items():
                self.writer.add_scalar(f"{group}/{key}", value, step)

    def flush(self) -> None:
        with writing(self.folder):
            self.writer.flush()

    def close(self) -> None:
        with writing(self.folder):
            self.writer.close()
