"""A vLLM server that draws for training: requests by its completions endpoint, weights by its
weight-transfer API.

The server is started by the user (`server_command` is what to type) on GPUs of its own; its
development endpoints must be on, since those take weights. Weights travel as files of a folder both
sides see (`files`, by the engine that `vllm_plugin` registers in the server), or over NCCL between
GPUs (`nccl`, vLLM's own).
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import torch
from safetensors.torch import save_file
from torch import Tensor

from sage_bench.generation.live.adapter_sync import AdapterSync, new_folder, room_for
from sage_bench.generation.live.engines import EngineLostError, Weights
from sage_bench.generation.live.requests import room_of, sampling_options
from sage_bench.generation.live.transfer import FILES_BACKEND, NcclTransfer, Transfer
from sage_bench.types import Completion, Sample
from sage_bench.utils.errors import SageBenchError, UsageError

SHARD = 1 << 32  # bytes of weights in one file


def server_command(model: str, dtype: str, transfer: str, scaled: bool, rank: int = 0) -> str:
    """What starts a server that takes weights, or adapters of a rank where one is given.

    >>> print(server_command("MODEL", "bfloat16", "files", False))
    SAGE_BENCH_TRAINS=1 VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --dtype bfloat16 \
--weight-transfer-config '{"backend": "sage_bench_files"}' --logprobs-mode raw_logprobs
    >>> print(server_command("MODEL", "bfloat16", "files", False, rank=32))
    VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --dtype bfloat16 \
--enable-lora --max-lora-rank 32 --logprobs-mode raw_logprobs
    """
    backend = FILES_BACKEND if transfer == "files" else transfer
    mode = "processed_logprobs" if scaled else "raw_logprobs"
    if rank:
        return (
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 VLLM_SERVER_DEV_MODE=1"
            f" vllm serve {model} --dtype {dtype} --enable-lora --max-lora-rank {room_for(rank)}"
            f" --logprobs-mode {mode}"
        )
    return (
        f"SAGE_BENCH_TRAINS=1 VLLM_SERVER_DEV_MODE=1 vllm serve {model} --dtype {dtype}"
        f' --weight-transfer-config \'{{"backend": "{backend}"}}\' --logprobs-mode {mode}'
    )


class VllmServer:
    """A running server. Raises `UsageError` where it cannot be reached or takes no weights.

    url: without `/v1`. parallel: requests under way at once. folder: where weights are put for it,
    by default in memory (`/dev/shm`); on another machine a shared one. wait_minutes: how long a
    server that went away is waited for. adapters: what learns, where the server keeps the weights
    of the base model. start: what to type to start one, for errors.
    """

    def __init__(
        self,
        url: str,
        *,
        start: str,
        stop_ids: Sequence[int] = (),
        transfer: str = "files",
        parallel: int = 256,
        folder: str | None = None,
        adapters: AdapterSync | None = None,
        wait_minutes: float = 10.0,
        seconds: float = 3600.0,
    ):
        self.start = start
        self.url = url.rstrip("/")
        if not self.url:
            raise self._unusable("no server is named", "engine.vllm.url=http://localhost:8000")
        self.stop_ids = list(stop_ids)
        self.parallel = parallel
        self.wait_minutes = wait_minutes
        limits = httpx.Limits(max_connections=parallel + 4)
        self.client = httpx.Client(base_url=self.url, timeout=seconds, limits=limits)
        self.model, self.context = self._served()
        self.adapters = adapters
        self.adapted: str | None = None  # the name of the adapters it holds
        self.transfer: Transfer = (
            NcclTransfer(self.url)
            if transfer == "nccl"
            else FileTransfer(self._post, Path(folder) if folder else None)
        )
        self.begun = False  # the transfer, with the server that runs now

    # ---- what is asked of it ----
    def draw(self, units: Sequence[Sample]) -> list[Completion]:
        # what a round draws hangs on the weights and the round, not on what is cached
        self._post("/reset_prefix_cache")
        given_up = threading.Event()

        def one(unit: Sample) -> Completion:
            # after the first failure the others need not wait for their own
            if given_up.is_set():
                return Completion(failed="the server was lost")
            try:
                return self._complete(unit)
            except SageBenchError:
                given_up.set()
                raise

        with ThreadPoolExecutor(self.parallel) as pool:
            return list(pool.map(one, units))

    def take(self, weights: Weights, version: str) -> None:
        if self.adapters is not None:
            self._take_adapters(self.adapters, version)
            return
        if not self.begun:
            self.transfer.begin(weights)
            self.begun = True
        self._post("/start_weight_update")
        self.transfer.send(weights)
        self._post("/finish_weight_update", {"weight_version": version})
        self._post("/reset_prefix_cache")

    def _take_adapters(self, sync: AdapterSync, version: str) -> None:
        with sync.written() as folder:
            self._post("/v1/load_lora_adapter", {"lora_name": version, "lora_path": str(folder)})
        if self.adapted in self._names():
            self._post("/v1/unload_lora_adapter", {"lora_name": self.adapted})
        self.adapted = version

    def follow(self, version: str) -> None:
        """Draw from a version that another process handed over."""
        if self.adapters is not None:
            self.adapted = version

    def holds(self, version: str) -> bool:
        if self.adapters is not None:
            return version in self._names()
        found = self._reply("GET", "/weight_info").get("weight_version")
        if found != version:
            self.begun = False  # it is another server, or the same one started anew
        return bool(found == version)

    def sleep(self) -> None:
        """It has devices of its own."""

    def wake(self) -> None:
        """It never slept."""

    def restart(self) -> None:
        """Wait until it answers again: it was not started here."""
        self.begun = False
        deadline = time.monotonic() + self.wait_minutes * 60
        while not self._healthy():
            if time.monotonic() > deadline:
                raise SageBenchError(
                    f"the vLLM server did not come back within {self.wait_minutes:g} minutes",
                    where=self.url,
                    remedy=(
                        f"start it again (`{self.start}`); the same command goes on from the last"
                        " checkpoint. engine.vllm.wait_minutes waits longer"
                    ),
                )
            time.sleep(0.5)

    def close(self) -> None:
        self.transfer.close()
        self.client.close()

    def describe(self) -> dict[str, Any]:
        return {"sampler": "vllm, server", "model": self.model, "max_model_len": self.context}

    # ---- how ----
    def _complete(self, unit: Sample) -> Completion:
        body = {
            "model": self.adapted or self.model,
            "prompt": list(unit.prompt),
            "n": 1,
            "return_token_ids": True,
            **sampling_options(unit, self.stop_ids, room_of(unit, self.context)),
        }
        reply = self._reply("POST", "/v1/completions", body)
        (choice,) = reply["choices"]
        if choice["finish_reason"] not in {"stop", "length"}:
            return Completion(failed=f"vLLM ended it with `{choice['finish_reason']}`")
        tokens = tuple(choice["token_ids"])
        logp = torch.tensor(choice["logprobs"]["token_logprobs"])
        if logp.shape != (len(tokens),):
            raise SageBenchError(
                f"{len(tokens)} tokens came with {len(logp)} log-probabilities", where=self.url
            )
        return Completion(tokens, logp, choice["finish_reason"])

    def _names(self) -> list[str]:
        """Of the base model and of the adapters that the server holds."""
        return [entry["id"] for entry in self._reply("GET", "/v1/models")["data"]]

    def _served(self) -> tuple[str, int | None]:
        try:
            models = self.client.get("/v1/models", timeout=30).raise_for_status().json()["data"]
            development = self.client.get("/weight_info", timeout=30).status_code
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise self._unusable(
                f"no vLLM server answers: {error or type(error).__name__}", "start it, or mend"
            ) from error
        if development != 200:
            raise self._unusable(
                "the server takes no weights (its development endpoints are off)", "start it as"
            )
        return str(models[0]["id"]), models[0].get("max_model_len")

    def _unusable(self, what: str, do: str) -> UsageError:
        remedy = f"{do} engine.vllm.url; a server is started with `{self.start}`"
        if not self.url:
            remedy = f"give {do}; a server is started with `{self.start}`"
        return UsageError(what, where=f"engine.vllm.url: {self.url or 'not set'}", remedy=remedy)

    def _healthy(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return self.client.get("/health", timeout=10).status_code == 200
        return False

    def _post(self, path: str, body: dict[str, Any] | None = None) -> None:
        self._reply("POST", path, body)

    def _reply(self, how: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            reply = self.client.request(how, path, json=body)
        except httpx.HTTPError as error:
            raise self._lost(f"{path}: {error or type(error).__name__}") from error
        if reply.status_code >= 500:
            raise self._lost(f"{path}: status {reply.status_code}: {reply.text[:200]}")
        if reply.status_code != 200:
            raise SageBenchError(
                f"{path}: status {reply.status_code}: {reply.text[:500]}",
                where=self.url,
                remedy=f"a server for training is started with `{self.start}`",
            )
        as_json = "json" in reply.headers.get("content-type", "")
        answer: dict[str, Any] = reply.json() if as_json and reply.content else {}
        return answer

    def _lost(self, what: str) -> EngineLostError:
        return EngineLostError(
            what,
            where=self.url,
            remedy=(
                "see the server's own log; the same command goes on from the last checkpoint once"
                " it runs"
            ),
        )


class FileTransfer:
    """Weights as safetensors files in a folder that the server reads."""

    def __init__(self, post: Any, folder: Path | None):
        self.post = post
        self.folder = new_folder(folder)

    def begin(self, weights: Weights) -> None:
        self.post("/init_weight_transfer_engine", {"init_info": {}})

    def send(self, weights: Weights) -> None:
        for number, shard in enumerate(shards(weights(), SHARD)):
            file = self.folder / f"{number}.safetensors"
            save_file(shard, file)
            # for a server that runs as another user
            self.folder.chmod(0o755)
            try:
                self.post("/update_weights", {"update_info": {"file": str(file)}})
            finally:
                file.unlink()

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def shards(named: Iterable[tuple[str, Tensor]], most: int) -> Iterator[dict[str, Tensor]]:
    """Consecutive tensors of at most so many bytes together, at least one, on the host.

    >>> named = [(name, torch.zeros(2)) for name in "abc"]
    >>> [list(shard) for shard in shards(named, 16)]
    [['a', 'b'], ['c']]
    """
    shard: dict[str, Tensor] = {}
    size = 0
    for name, tensor in named:
        if shard and size + tensor.nbytes > most:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor.detach().cpu().contiguous()
        size += tensor.nbytes
    if shard:
        yield shard
