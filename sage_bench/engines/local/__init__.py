"""The local engine: our own sampler and learner on torch and transformers, on a CPU or one GPU."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, TypeVar

import torch

from sage_bench.config.schema import RunConfig
from sage_bench.engines.local.engine import LocalEngine
from sage_bench.engines.ranks import ALONE, Ranks
from sage_bench.engines.registry import register_engine
from sage_bench.engines.rollouts import rollout_sampler
from sage_bench.engines.rollouts.registry import LearningPolicy
from sage_bench.generation import adapters
from sage_bench.generation.local.forward import score
from sage_bench.generation.local.policy import Policy, load_policy
from sage_bench.generation.model_folders import template_options_of
from sage_bench.generation.samplers.base import Sampler
from sage_bench.generation.samplers.hf import Hf
from sage_bench.generation.weights import policy_digest
from sage_bench.utils.errors import UsageError

Built = TypeVar("Built", bound=LocalEngine)


def plain_weights(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """All weights by their plain names, adapters merged in."""
    if adapters.has_adapters(model):
        yield from adapters.merged_tensors(model)
    else:
        yield from model.named_parameters()


@register_engine("local")
def local(config: RunConfig, optimizer_steps: int) -> LocalEngine:
    """Sampler and learner of our own, on a CPU or one GPU. optimizer_steps: of the whole run, for
    the schedule."""
    return build(LocalEngine, config, optimizer_steps)


def build(
    engine_type: type[Built],
    config: RunConfig,
    optimizer_steps: int,
    *,
    rollout_dtype: str | None = None,
    **more: Any,
) -> Built:
    """An engine on a policy of transformers. rollout_dtype: number type of a sampler with weights
    of its own, by default the policy's. more: what its type needs beyond the configuration."""
    engine = config.engine
    policy, sampler = load(config, rollout_dtype, more.get("ranks", ALONE))
    return engine_type(
        policy,
        config.optim,
        seed=config.train.seed,
        sampler=sampler,
        kl_rows=config.log.kl_rows,
        updates=config.train.updates_per_step,
        total=optimizer_steps,
        micro_tokens=engine.micro_tokens,
        temperature=config.sampling.temperature,
        skip_dead=engine.skip_dead,
        prompt_once=engine.prompt_once and not engine.gradient_checkpointing,
        gradient_checkpointing=engine.gradient_checkpointing,
        dropout_seed=config.train.seed if engine.lora.dropout else None,
        **more,
    )


def load(
    config: RunConfig, rollout_dtype: str | None = None, ranks: Ranks = ALONE
) -> tuple[Policy, Sampler]:
    """The policy and who draws its completions: an engine without its learner."""
    settings, engine = config.model, config.engine
    if engine.threads:
        torch.set_num_threads(engine.threads)
    policy = load_policy(
        settings.path,
        device=settings.device,
        dtype=settings.dtype,
        revision=settings.revision,
        trust_remote_code=settings.trust_remote_code,
    )
    _check_context(config, policy.context)
    if engine.lora.rank:
        adapters.add(
            policy.model,
            rank=engine.lora.rank,
            alpha=engine.lora.alpha,
            targets=engine.lora.targets,
            dropout=engine.lora.dropout,
            seed=config.train.seed,
        )
    if engine.gradient_checkpointing:
        policy.model.gradient_checkpointing_enable()
    own = Hf.of(
        policy,
        wave_tokens=engine.wave_tokens,
        cuda_graphs=engine.cuda_graphs,
        template_options=template_options_of(settings.path, settings.template_options),
    )
    sampler = rollout_sampler(
        LearningPolicy(
            config,
            own,
            renderer=own.renderer,
            weights=partial(plain_weights, policy.model),
            digest=partial(policy_digest, policy.model),
            score=partial(score, policy),
            dtype=rollout_dtype or str(policy.dtype).removeprefix("torch."),
            context=policy.context,
            stop_ids=sorted(policy.eos_ids),
            on_cpu=policy.device.type == "cpu",
            save_adapters=(
                partial(adapters.save, policy.model, base=settings.path)
                if engine.lora.rank
                else None
            ),
            ranks=ranks,
        )
    )
    return policy, sampler


def _check_context(config: RunConfig, context: int) -> None:
    """Raise `UsageError` where a prompt and what is written after it do not fit the model."""
    need = config.sampling.max_prompt_tokens + max(
        config.sampling.max_tokens, config.sampling.hint_max_tokens
    )
    if need > context:
        raise UsageError(
            f"prompts and completions may take {need} tokens, the model's context has {context}",
            where="sampling",
            remedy=(
                "lower sampling.max_prompt_tokens, sampling.max_tokens or sampling.hint_max_tokens"
            ),
        )
