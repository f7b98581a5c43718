"""`engine.rollouts=vllm` and `vllm-server`: vLLM draws, with a copy of the learner's weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from sage_bench.config.schema import RunConfig
from sage_bench.engines.rollouts.local import in_parts
from sage_bench.engines.rollouts.registry import LearningPolicy, no_argument, register_rollouts
from sage_bench.engines.rollouts.shared import SharedRollouts
from sage_bench.generation.live.adapter_sync import AdapterSync
from sage_bench.generation.live.colocated import ColocatedVllm, check_installed
from sage_bench.generation.live.engines import LiveEngine
from sage_bench.generation.live.rollouts import Rollouts
from sage_bench.generation.live.server import VllmServer, server_command
from sage_bench.generation.samplers.base import Sampler
from sage_bench.utils.errors import UsageError


@register_rollouts("vllm")
def vllm(policy: LearningPolicy, argument: str) -> Sampler:
    """vLLM in the same process, with a copy of the weights."""
    return elsewhere(policy, "vllm", argument)


@register_rollouts("vllm-server")
def vllm_server(policy: LearningPolicy, argument: str) -> Sampler:
    """A vLLM server that is sent the weights."""
    return elsewhere(policy, "vllm-server", argument)


def elsewhere(policy: LearningPolicy, kind: str, argument: str) -> Sampler:
    """A sampler with a copy of the learner's weights. Raises `UsageError` for what cannot be drawn
    so."""
    config = policy.config
    no_argument(kind, argument)
    check_sampling(config)
    make: Callable[..., Rollouts] = Rollouts
    if kind == "vllm-server" and policy.ranks.size > 1:
        make = partial(SharedRollouts, ranks=policy.ranks)
    sampler = make(
        live_engine(policy, kind),
        policy.renderer,
        weights=policy.weights,
        score=policy.score,
        probe_rows=config.engine.probe_rows,
        max_gap=config.engine.max_logprob_gap,
    )
    return in_parts(policy, sampler)


def check_sampling(config: RunConfig) -> None:
    """vLLM's log-probabilities are those before temperature and top-p, or those after both; the
    update needs them after the temperature and before top-p."""
    settings = config.sampling
    if settings.temperature != 1 and settings.top_p != 1:
        raise UsageError(
            f"vLLM does not say the log-probabilities at temperature {settings.temperature:g}"
            f" before top-p {settings.top_p:g} cuts them",
            where="sampling",
            remedy="set sampling.temperature=1 or sampling.top_p=1, or engine.rollouts=local",
        )


def adapter_sync(policy: LearningPolicy) -> AdapterSync | None:
    """How adapters go over without the weights; None where all weights do. Raises `UsageError`
    where vLLM would not have the weights they belong to."""
    config = policy.config.engine
    if policy.save_adapters is None or config.vllm.sync == "merged":
        return None
    if config.vllm.sleep_level == 2:
        raise UsageError(
            "a vLLM that drops its weights would have adapters and nothing below them",
            where="engine.vllm.sleep_level: 2",
            remedy="set engine.vllm.sleep_level=1, or engine.vllm.sync=merged",
        )
    folder = Path(config.vllm.folder) if config.vllm.folder else None
    return AdapterSync(policy.save_adapters, config.lora.rank, folder)


def live_engine(policy: LearningPolicy, kind: str) -> LiveEngine:
    """The engine of a kind."""
    config = policy.config
    vllm, scaled = config.engine.vllm, config.sampling.temperature != 1
    adapters = adapter_sync(policy)
    if kind == "vllm":
        return ColocatedVllm(
            config.model.path,
            revision=config.model.revision,
            dtype=policy.dtype,
            context=policy.context,
            stop_ids=policy.stop_ids,
            on_cpu=policy.on_cpu,
            scaled=scaled,
            memory=vllm.memory,
            kv_cache_gb=vllm.kv_cache_gb,
            max_num_seqs=vllm.max_num_seqs,
            sleep_level=vllm.sleep_level,
            adapters=adapters,
            options=vllm.options,
        )
    if vllm.transfer == "nccl":
        check_installed("engine.vllm.transfer: nccl")
    rank = adapters.rank if adapters else 0
    return VllmServer(
        vllm.url,
        start=server_command(config.model.path, policy.dtype, vllm.transfer, scaled, rank),
        stop_ids=policy.stop_ids,
        transfer=vllm.transfer,
        parallel=vllm.max_num_seqs,
        folder=vllm.folder,
        adapters=adapters,
        wait_minutes=vllm.wait_minutes,
    )
