"""What a vLLM server needs to take weights while a policy learns, loaded by vLLM itself through the
entry-point group `vllm.general_plugins`.

It does nothing unless `SAGE_BENCH_TRAINS=1` is set where the server is started.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from sage_bench.generation.live.transfer import FILES_BACKEND

SWITCH = "SAGE_BENCH_TRAINS"


def register() -> None:
    """Called once in each of vLLM's processes, before a model is loaded there."""
    if os.environ.get(SWITCH) != "1":
        return
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
    from vllm.platforms import current_platform

    from sage_bench.generation.live.colocated import keep_weights_loadable

    if current_platform.is_cpu():
        keep_weights_loadable()
    if FILES_BACKEND not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(FILES_BACKEND, files_engine())


def files_engine() -> Any:
    """A weight-transfer engine of vLLM that reads safetensors files."""
    import torch
    from safetensors import safe_open
    from vllm.distributed.weight_transfer.base import (
        WeightTransferEngine,
        WeightTransferInitInfo,
        WeightTransferUpdateInfo,
    )
    from vllm.model_executor.model_loader.reload import (
        finalize_layerwise_reload,
        initialize_layerwise_reload,
    )

    @dataclass
    class Begin(WeightTransferInitInfo):  # type: ignore[misc]  # vLLM is untyped here
        """Nothing has to be agreed on."""

    @dataclass
    class Update(WeightTransferUpdateInfo):  # type: ignore[misc]
        """file: some of the tensors, named as transformers saves them."""

        file: str

    class Files(WeightTransferEngine[Begin, Update]):  # type: ignore[misc]
        """Loads what the learner wrote, as vLLM loads a checkpoint."""

        init_info_cls = Begin
        update_info_cls = Update
        supports_draft_weight_update = False

        def init_transfer_engine(self, init_info: Begin) -> None:
            return None

        def start_weight_update(self) -> None:
            initialize_layerwise_reload(self.model)

        def update_weights(self, update_info: dict[str, Any]) -> None:
            # as the base class has it, which asks for an accelerator
            self.receive_weights(self.parse_update_info(update_info))
            if torch.accelerator.is_available():
                torch.accelerator.synchronize()

        def receive_weights(self, update_info: Update) -> None:
            with safe_open(update_info.file, "pt") as saved:
                names = list(saved.keys())
                self.model.load_weights((name, saved.get_tensor(name)) for name in names)

        def finish_weight_update(self) -> None:
            finalize_layerwise_reload(self.model, self.model_config)

        def shutdown(self) -> None:
            return None

    return Files
