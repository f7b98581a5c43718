"""vLLM in the process of the learner, on the same device.

On a GPU it sleeps while the learner updates the weights and has its share of the memory back when
it draws. In one process its schedule is deterministic, so a run that was killed and started again
draws the same tokens.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import distributed

from sage_bench.generation.live.adapter_sync import AdapterSync
from sage_bench.generation.live.engines import EngineLostError, Weights
from sage_bench.generation.live.requests import room_of, sampling_options
from sage_bench.generation.vllm_worker import engine_options
from sage_bench.types import Completion, Sample
from sage_bench.utils.errors import SageBenchError, UsageError


def check_installed(where: str) -> None:
    """Raise `UsageError` where there is no vLLM."""
    if find_spec("vllm") is None:
        raise UsageError(
            "vLLM is not installed here",
            where=where,
            remedy=(
                "`pip install 'sage-bench[vllm]'` on a machine with a GPU;"
                " scripts/vllm_cpu_env.sh without one; or engine.rollouts=local"
            ),
        )


class ColocatedVllm:
    """One `vllm.LLM` in this process. It starts with the first request.

    model, revision, dtype: what the learner began with; the weights are replaced by `take`.
    scaled: log-probabilities are wanted at a temperature other than 1. memory: share of the GPU's
    memory it may use (`gpu_memory_utilization`). sleep_level: 1 keeps the weights in host memory
    while the learner works, 2 drops them, 0 does not sleep. adapters: what learns, where vLLM keeps
    the weights of the base model. options: further keywords of `vllm.LLM`.
    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        dtype: str = "auto",
        context: int | None = None,
        stop_ids: Sequence[int] = (),
        on_cpu: bool = False,
        scaled: bool = False,
        memory: float = 0.4,
        kv_cache_gb: int = 1,
        max_num_seqs: int = 256,
        sleep_level: int = 1,
        adapters: AdapterSync | None = None,
        options: Mapping[str, Any] | None = None,
    ):
        check_installed("engine.rollouts: vllm")
        self.model, self.dtype, self.on_cpu = model, dtype, on_cpu
        self.context = context
        self.stop_ids = list(stop_ids)
        self.kv_cache_gb = kv_cache_gb
        self.sleep_level = 0 if on_cpu else sleep_level
        engine: dict[str, Any] = {
            "max_num_seqs": max_num_seqs,
            # raw ones are those of temperature 1; processed ones are divided by it
            "logprobs_mode": "processed_logprobs" if scaled else "raw_logprobs",
        }
        if not on_cpu:
            engine |= {
                "gpu_memory_utilization": memory,
                "enable_sleep_mode": self.sleep_level > 0,
            }
        self.adapters = adapters
        self.taken = 0  # versions of the adapters
        if adapters is not None:
            engine |= adapters.engine_options()
        config = {
            "model": model,
            "revision": revision,
            "dtype": dtype,
            "max_model_len": context,
            "engine": engine | dict(options or {}),
        }
        self.options = engine_options(config, on_cpu)
        self.llm: Any = None
        self.version: str | None = None
        self.adapted: Any = None  # vLLM's name of the adapters it holds

    def draw(self, units: Sequence[Sample]) -> list[Completion]:
        llm = self._running()
        prompts = [{"prompt_token_ids": list(unit.prompt)} for unit in units]
        params = [self._params(unit) for unit in units]
        try:
            # what a round draws hangs on the weights and the round, not on what is cached
            llm.reset_prefix_cache()
            outputs = llm.generate(prompts, params, use_tqdm=False, lora_request=self.adapted)
        except SageBenchError:
            raise
        except Exception as error:
            raise lost(error) from error
        return [completion_of(output.outputs[0]) for output in outputs]

    def _params(self, unit: Sample) -> Any:
        import vllm

        return vllm.SamplingParams(
            **sampling_options(unit, self.stop_ids, room_of(unit, self.context)),
            detokenize=bool(unit.params.stop),
        )

    def take(self, weights: Weights, version: str) -> None:
        llm = self._running()
        try:
            if self.adapters is None:
                named = ((name, tensor.detach()) for name, tensor in weights())
                llm.collective_rpc("reload_weights", kwargs={"weights_iterator": named})
            else:
                self._take_adapters(self.adapters, llm.llm_engine)
            llm.reset_prefix_cache()
        except SageBenchError:
            raise
        except Exception as error:
            raise lost(error) from error
        self.version = version

    def _take_adapters(self, sync: AdapterSync, engine: Any) -> None:
        from vllm.lora.request import LoRARequest

        if self.adapted is not None:
            engine.remove_lora(self.adapted.lora_int_id)
        self.taken += 1
        with sync.written() as folder:
            self.adapted = LoRARequest(f"update {self.taken}", self.taken, str(folder))
            engine.add_lora(self.adapted)

    def holds(self, version: str) -> bool:
        return self.version == version

    def sleep(self) -> None:
        if self.llm is not None and self.sleep_level:
            self.llm.sleep(level=self.sleep_level)

    def wake(self) -> None:
        if self.llm is not None and self.sleep_level:
            try:
                self.llm.wake_up()
            except Exception as error:
                raise lost(error) from error
            if self.sleep_level > 1:
                self.version = None  # the weights were dropped

    def restart(self) -> None:
        self.close()

    def close(self) -> None:
        self.llm = self.version = self.adapted = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def describe(self) -> dict[str, Any]:
        return {"sampler": "vllm, colocated", "dtype": self.dtype, "max_model_len": self.context}

    def _running(self) -> Any:
        if self.llm is None:
            self.llm = self._start()
        return self.llm

    def _start(self) -> Any:
        env = {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_LOGGING_LEVEL": "WARNING",
            # the last line of standard output is the checkpoint
            "VLLM_LOGGING_STREAM": "ext://sys.stderr",
        }
        if self.on_cpu:
            # the learner has the cores, too: no binding
            env |= {
                "VLLM_CPU_KVCACHE_SPACE": str(self.kv_cache_gb),
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            }
        for name, value in env.items():
            os.environ.setdefault(name, value)
        import vllm

        # on a CPU vLLM sets the threads of the process to one and takes the function away
        threads, set_threads = torch.get_num_threads(), torch.set_num_threads
        if self.on_cpu:
            keep_weights_loadable()
        options = dict(self.options)
        if distributed.is_initialized() and distributed.get_world_size() > 1:
            # one engine in each of the learner's processes, in the group they have
            options.setdefault("distributed_executor_backend", "external_launcher")
        try:
            return vllm.LLM(**options)
        except Exception as error:
            raise SageBenchError(
                f"vLLM does not start: {type(error).__name__}: {error}",
                where="engine.rollouts: vllm",
                remedy="lower engine.vllm.memory; engine.vllm.options has keywords of vllm.LLM",
            ) from error
        finally:
            torch.set_num_threads = set_threads
            torch.set_num_threads(threads)


def lost(error: Exception) -> EngineLostError:
    return EngineLostError(
        f"vLLM failed: {type(error).__name__}: {str(error).strip() or 'no message'}",
        where="engine.rollouts: vllm",
        remedy=(
            "the same command goes on from the last checkpoint; where memory ran out, lower"
            " engine.vllm.memory or engine.vllm.max_num_seqs"
        ),
    )


def completion_of(output: Any) -> Completion:
    """vLLM's output as a `Completion` of tokens and their log-probabilities."""
    if output.finish_reason not in {"stop", "length"}:
        return Completion(failed=f"vLLM ended it with `{output.finish_reason}`")
    tokens = tuple(output.token_ids)
    logp = [entry[token].logprob for entry, token in zip(output.logprobs, tokens, strict=True)]
    return Completion(tokens, torch.tensor(logp), output.finish_reason)


def keep_weights_loadable() -> None:
    """On a CPU vLLM packs the weights of linear layers and drops the originals, so that new ones
    have nowhere to go (seen in 0.30 and 0.31). Let it keep them and multiply by torch."""
    from vllm.model_executor.layers import utils

    packed = utils.dispatch_cpu_unquantized_gemm
    if getattr(packed, "keeps_weights", False):
        return

    def plain(layer: Any, remove_weight: bool) -> None:
        if layer.weight.ndim == 2:
            layer.cpu_linear = torch.nn.functional.linear
        else:
            packed(layer, remove_weight)

    plain.keeps_weights = True  # type: ignore[attr-defined]  # so that it is replaced once
    utils.dispatch_cpu_unquantized_gemm = plain
