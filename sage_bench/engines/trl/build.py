"""From a configuration to a `TrlEngine`: accelerate's processes first, then weights."""

from __future__ import annotations

import os
import tempfile
import warnings
from datetime import timedelta

import torch
from torch import distributed
from trl import GRPOConfig

from sage_bench.config.schema import RunConfig
from sage_bench.engines.local import build as build_on_policy
from sage_bench.engines.ranks import ALONE, Ranks
from sage_bench.engines.trl import zero3
from sage_bench.engines.trl.engine import TrlEngine
from sage_bench.engines.trl.ranks import TorchRanks
from sage_bench.utils.errors import UsageError

ROWS = 2  # completions TRL believes a device takes at once, and a group has; our rows replace them


def build(config: RunConfig, optimizer_steps: int) -> TrlEngine:
    """The engine in this process; every process of the run calls it. Raises `UsageError` for what
    accelerate's mixed precision cannot do."""
    on_cpu = config.model.device == "cpu" or not torch.cuda.is_available()
    check(config, on_cpu)
    if on_cpu and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # before accelerate does, which on a CPU gives it half an hour whatever was asked
        wait = timedelta(minutes=config.engine.rank_minutes)
        if not distributed.is_initialized():
            distributed.init_process_group("gloo", timeout=wait)
    arguments = trl_arguments(config, optimizer_steps, on_cpu)
    # asking for the device starts the process group, and chooses this process's GPU
    device = arguments.device
    if arguments.deepspeed_plugin is not None:
        zero3.clip_as(arguments.deepspeed_plugin, config.optim.grad_clip)
        zero3.load_whole()
    ranks: Ranks = ALONE
    if distributed.is_available() and distributed.is_initialized():
        ranks = TorchRanks(config.engine.rank_minutes)
    # weights that learn stay float32 and accelerate computes in bfloat16: the optimiser needs no
    # second copy. Those below adapters do not learn, and adapters are float32 on any
    narrow = config.engine.lora.rank > 0 and arguments.bf16
    dtype = "bfloat16" if narrow else "float32"
    model = config.model.model_copy(update={"device": str(device), "dtype": dtype})
    return build_on_policy(
        TrlEngine,
        config.model_copy(update={"model": model}),
        optimizer_steps,
        # a sampler of its own need not be wider than what accelerate computes in
        rollout_dtype="bfloat16" if arguments.bf16 else "float32",
        ranks=ranks,
        arguments=arguments,
    )


def check(config: RunConfig, on_cpu: bool) -> None:
    """Refuse what this engine cannot do, before anything is loaded."""
    if config.model.dtype == "bfloat16" and on_cpu:
        raise UsageError(
            "engine `trl` computes in float32 on a CPU",
            where="model.dtype",
            remedy="give auto or float32, or train with --engine local",
        )
    if config.model.dtype == "float64":
        raise UsageError(
            "engine `trl` computes in float32 or bfloat16",
            where="model.dtype",
            remedy="give auto, float32 or bfloat16, or train with --engine local",
        )
    if config.model.device not in ("auto", "cpu", "cuda"):
        raise UsageError(
            f"engine `trl` gives every process a device of its own, not {config.model.device}",
            where="model.device",
            remedy="give auto, and choose GPUs by CUDA_VISIBLE_DEVICES",
        )


def trl_arguments(config: RunConfig, optimizer_steps: int, on_cpu: bool) -> GRPOConfig:
    """TRL's settings. What our loop decides (batches, groups, checkpoints, logs) is set so that
    TRL's own part of it does nothing."""
    bf16 = not on_cpu and config.model.dtype in ("auto", "bfloat16")
    with warnings.catch_warnings():
        # one of `gradient_checkpointing`, whose newer name not all supported versions know
        warnings.simplefilter("ignore", FutureWarning)
        return GRPOConfig(
            output_dir=tempfile.mkdtemp(prefix="sage-bench-trl-"),
            use_cpu=on_cpu,
            bf16=bf16,
            seed=config.train.seed % (1 << 32),
            per_device_train_batch_size=ROWS,
            num_generations=ROWS,
            steps_per_generation=1,
            gradient_accumulation_steps=1,
            max_steps=optimizer_steps,
            learning_rate=config.optim.lr,
            lr_scheduler_type="constant",
            max_grad_norm=config.optim.grad_clip,
            temperature=config.sampling.temperature,
            beta=0.0,
            # the builder of the policy has switched it on where it is wanted
            gradient_checkpointing=False,
            # what adapters ask for; the models' own is off in their configurations
            disable_dropout=not config.engine.lora.dropout,
            ddp_find_unused_parameters=False,
            # a collective in a forward, which a rank that is out of memory may not come to; the
            # buffers are tables of positions, alike on all ranks
            ddp_broadcast_buffers=False,
            ddp_timeout=int(config.engine.rank_minutes * 60) or 1,
            logging_steps=1,
            logging_nan_inf_filter=False,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            dataloader_num_workers=0,
        )
