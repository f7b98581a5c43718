"""How weights get to a vLLM server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor

from sage_bench.generation.live.engines import Weights

FILES_BACKEND = "sage_bench_files"  # the name `vllm_plugin` registers in the server


class Transfer(Protocol):
    """begin: once for every server process, before the first `send`. send: all weights, between
    the server's start and end of an update."""

    def begin(self, weights: Weights) -> None: ...
    def send(self, weights: Weights) -> None: ...
    def close(self) -> None: ...


class NcclTransfer:
    """vLLM's own transfer between GPUs, of the learner's process and of the server's workers.

    Written against the public classes of vLLM 0.30 (`vllm.distributed.weight_transfer`). It needs
    GPUs on both sides and has not been run.
    """

    def __init__(self, url: str):
        self.url = url
        self.trainer: Any = None

    def begin(self, weights: Weights) -> None:
        import httpx
        from vllm.distributed.weight_transfer.clients import HTTPVLLMWeightSyncClient
        from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory
        from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

        class UpdateOnly(HTTPVLLMWeightSyncClient):  # type: ignore[misc]  # vLLM is untyped here
            """The update is begun and ended by `VllmServer`, for both kinds of transfer."""

            def start_weight_update(self) -> None:
                return None

            def finish_weight_update(self, weight_version: str | None = None) -> None:
                return None

        workers = httpx.get(f"{self.url}/get_world_size", timeout=30).json()["world_size"]
        address, port = free_address(self.url)
        about = NCCLTrainerInitInfo(
            master_address=address, master_port=port, world_size=int(workers) + 1, rank=0
        )
        self.trainer = WeightTransferTrainerFactory.trainer_init(
            about, client=UpdateOnly(self.url), source=weight_source(weights)
        )

    def send(self, weights: Weights) -> None:
        self.trainer.send_weights()

    def close(self) -> None:
        self.trainer = None


def weight_source(weights: Weights) -> Any:
    """vLLM's re-iterable stream of weights."""
    from vllm.distributed.weight_transfer.base import ParamMeta, WeightSource

    class Source(WeightSource):  # type: ignore[misc]  # vLLM is untyped here
        def metadata(self) -> list[Any]:
            return [ParamMeta(name, t.dtype, tuple(t.shape)) for name, t in weights()]

        def __iter__(self) -> Iterator[tuple[str, Tensor]]:
            for name, tensor in weights():
                yield name, tensor.detach()

    return Source()


def free_address(url: str) -> tuple[str, int]:
    """This machine as the server sees it, and a port nobody listens on."""
    import httpx

    target = httpx.URL(url)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((target.host, target.port or 80))  # sends nothing
        address: str = probe.getsockname()[0]
    with socket.socket() as listener:
        listener.bind(("", 0))
        port: int = listener.getsockname()[1]
    return address, port
