"""The TRL engine: answers requests like the local one, and lets TRL's trainer apply the rows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType
from trl import GRPOConfig

from sage_bench.config.schema import OptimConfig
from sage_bench.engines.base import RolloutBatch, Stats, TrainingProgram
from sage_bench.engines.local.budget import reason_of
from sage_bench.engines.local.engine import LocalEngine
from sage_bench.engines.local.learner import PLAIN, Tally, Weighted
from sage_bench.engines.local.optim import learning_rate, write_tensors
from sage_bench.engines.ranks import Ranks
from sage_bench.engines.trl import zero3
from sage_bench.engines.trl.learner import OptimizerStep, RankLearner
from sage_bench.engines.trl.ranks import TorchRanks, is_lost
from sage_bench.engines.trl.sharding import (
    Sharding,
    finite,
    local_part,
    optimizer_tensors,
    restore_optimizer,
    second_names,
    whole_on_cpu,
    whole_weights,
)
from sage_bench.engines.trl.trainer import RowTrainer
from sage_bench.generation import adapters
from sage_bench.generation.local.policy import Policy
from sage_bench.methods.hooks import UpdateHooks
from sage_bench.methods.objective import Objective
from sage_bench.types import Answer, Request, Row
from sage_bench.utils.errors import TrainingError, UsageError


class TrlEngine(LocalEngine):
    """Requests are answered on this rank's weights; updates are TRL's.

    TRL has the loop: `follow` runs it, and its callbacks ask the training program for the next
    rollout batch. Every rank is given all rows of a batch and trains its share of the groups.
    """

    learner_type = RankLearner
    learner: RankLearner

    def __init__(
        self,
        policy: Policy,
        optim: OptimConfig,
        *,
        ranks: Ranks,
        arguments: GRPOConfig,
        **options: Any,
    ):
        super().__init__(policy, optim, **options)
        self.ranks = ranks
        self.learner.ranks = ranks
        self.trainer = RowTrainer(self, arguments)
        self.learner.forward = self.trainer.log_probs
        self.sharding = sharding_of(self.trainer, optim)
        if self.sharding == "zero3":
            zero3.load_whole()  # the trainer's accelerator has said otherwise
        check_precision(self.trainer)
        self.learner.sharded = self.sharding != "none"
        self.program: TrainingProgram | None = None
        self.batch = RolloutBatch([], Objective(), PLAIN)
        self.waiting: list[list[Row]] = []  # optimiser steps of the batch that are still to come
        self.taken = 0  # and how many were begun
        self.left_out = False
        self.step = OptimizerStep([], 0, 0)  # the one that is taken now
        self.tally = Tally()
        self.step_tally = Tally()
        self.kl: Stats = {}
        self.is_wrapped = False
        self.resumed_from: Path | None = None
        self.finer: dict[str, torch.Tensor] = {}  # ZeRO-3: this rank's float32 weights

    def any(self, flag: bool) -> bool:
        return self.ranks.any(flag)

    def run(self, asks: list[Request]) -> list[Answer]:
        # weights are gathered once a round: within it, ranks have different numbers of requests
        with whole_weights(self.trainer.model, self.sharding):
            with self.trainer.accelerator.autocast():
                return self.sampler.round(partial(super().run, asks))

    def weights_digest(self) -> str:
        """Collective: every rank calls it."""
        with whole_weights(self.trainer.model, self.sharding):
            return super().weights_digest()

    # ---- the update, driven by TRL --------------------------------------------------------------
    def follow(self, program: TrainingProgram) -> None:
        """Let TRL's loop work through a training program (see `engines.base.follow`)."""
        self.program = program
        try:
            if self._next_batch(None):
                if self.sharding == "zero3":
                    zero3.about_to_spread(self.trainer.accelerator)
                self.trainer.train()
        except torch.OutOfMemoryError as error:
            raise self._full(reason_of(error)) from error
        except RuntimeError as error:
            # a gradient that waited for a rank; the training program's own waits say it themselves
            if isinstance(self.ranks, TorchRanks) and is_lost(error):
                raise self.ranks.lost(error) from error
            raise

    def _full(self, reason: str) -> TrainingError:
        """The error of a device that is full where no smaller micro-batch can be tried."""
        tokens = self.learner.budget.tokens
        if not self.learner.sharded:
            return TrainingError(
                f"rank {self.ranks.rank} is out of memory outside of a micro-batch ({reason})",
                remedy=(
                    "`sage-bench plan` says what needs the memory; optim.offload=true or"
                    " optim.name=adamw8bit need less for the optimiser's state"
                ),
            )
        return TrainingError(
            f"rank {self.ranks.rank} is out of memory ({reason}); the others are in the same"
            " forward of weights that are spread over all, so the step cannot begin anew",
            where=f"engine.micro_tokens={tokens}",
            remedy=(
                f"engine.micro_tokens={max(1, tokens // 2)}: the same command with it goes on from"
                " the last checkpoint. `sage-bench plan` says what needs the memory"
            ),
        )

    def update(
        self, rows: Sequence[Row], objective: Objective, hooks: UpdateHooks = PLAIN
    ) -> Stats:
        raise NotImplementedError("TRL has the loop: `follow` a program")

    def _next_batch(self, stats: Stats | None) -> bool:
        """Hand back what an update came to, and take the next batch that has rows."""
        assert self.program is not None
        self.policy.model.eval()
        while True:
            try:
                # a generator is started by sending None
                batch = self.program.send(stats)  # type: ignore[arg-type]
            except StopIteration:
                return False
            if batch.rows:
                break
            stats = {}
        self.sampler.rest()
        self.batch, self.tally, self.taken = batch, Tally(), 0
        with whole_weights(self.trainer.model, self.sharding):
            self.kl = self._kl_to_start(batch.rows)
        self.waiting = self.learner.steps(batch.rows)
        return True

    def next_step(self) -> OptimizerStep:
        """The optimiser step TRL is about to take."""
        self.step = self.learner.planned(
            self.waiting.pop(0), self.batch.objective, self.batch.hooks
        )
        self.taken += 1
        self.begin_anew()
        self._set_rate()
        return self.step

    def _set_rate(self) -> None:
        """Of the step to come. DeepSpeed takes it within the backward, before TRL's callbacks."""
        learner = self.learner
        learner.last_lr = learning_rate(learner.optim.config, learner.step, learner.total)
        for group in self.trainer.optimizer.param_groups:
            group["lr"] = learner.last_lr

    def begin_anew(self) -> None:
        """No gradient, and no sum for the log, is there of the optimiser step."""
        for parameter in self.trainer.model.parameters():
            parameter.grad = None
        self.learner.fault = None
        self.step_tally = Tally()
        if self.ranks.first:  # these are of all ranks, whose tallies are summed
            self.step_tally.totals["trained_rows"] = len(self.step.live)
            self.step_tally.totals["skipped_rows"] = self.step.left_out
            self.step_tally.totals["trained_tokens"] = self.step.trained_tokens

    def loss(self, micro: Sequence[Weighted]) -> Any:
        return self.learner.loss(micro, self.batch.objective, self.step_tally, self.batch.hooks)

    def before_step(self) -> None:
        """Leave the step out, on all ranks alike, where one of them met a number that is not
        finite."""
        parameters = list(self.trainer.model.parameters())
        gradients = [p.grad for p in parameters if p.grad is not None]
        fault = self.learner.fault
        if fault is None and not finite(gradients):
            fault = ("the gradient is not finite", [])
        self.left_out = self.learner.left_out(self.ranks.gather(fault))
        if self.left_out:
            for parameter in parameters:
                parameter.grad = None  # AdamW passes over parameters without a gradient

    def check_weights(self) -> None:
        """Raise `TrainingError` on every rank when a weight is not finite after a step."""
        broken = [
            name for name, p in self.trainer.model.named_parameters() if not finite([local_part(p)])
        ]
        found = [name for names in self.ranks.gather(broken) for name in names]
        if found:
            raise TrainingError(
                f"`{found[0]}` (one of {len(set(found))} tensors) is not finite after update"
                f" {self.learner.optim.taken + 1}",
                remedy=(
                    "lower optim.lr (train.accept_change=[optim.lr] goes on in this folder from its"
                    " last checkpoint)"
                ),
            )

    def after_step(self, norm: float) -> bool:
        """Count the step TRL has taken. Returns whether there is another one."""
        self.learner.step += 1
        if self.left_out:
            self.tally.totals["skipped_steps"] += self.ranks.first
        else:
            self.learner.optim.taken += 1
            self.step_tally.totals["loss"] /= self.learner.updates
            self.step_tally.totals["grad_norm"] += norm * self.ranks.first
            self.tally.add(self.step_tally)
        if self.waiting:
            return True
        total = Tally()
        for tally in self.ranks.gather(self.tally):
            total.add(tally)
        self.sampler.weights_changed()
        stats = self.learner.logged(total, self.taken) | self.kl | self.sampler.measured()
        return self._next_batch(stats)

    # ---- checkpoints ----------------------------------------------------------------------------
    def save(self, folder: Path) -> None:
        """As the local engine; collective where weights are sharded. Rank 0 writes."""
        if self.sharding == "none" or not self.is_wrapped:
            if self.ranks.first:
                super().save(folder)
            return
        trainer, model, keep = self.trainer, self.policy.model, self.ranks.first
        moments = optimizer_tensors(self._learning(), trainer.optimizer, self.sharding, keep=keep)
        if self.sharding == "zero3":
            # the float32 weights: those of the model are bfloat16 on GPUs
            own = zero3.masters(model, keep=keep)
            if self.adapted:
                own = {adapters.name_in_file(name): tensor for name, tensor in own.items()}
        elif self.adapted:
            own = whole_on_cpu(adapters.adapter_tensors(model))
        else:
            # gathered, a table that serves twice is two tensors
            second = second_names(model)
            gathered = trainer.accelerator.get_state_dict(trainer.model_wrapped)
            own = {name: tensor for name, tensor in gathered.items() if name not in second}
        if self.ranks.first:
            self._write(folder, own, moments)

    def _write(
        self, folder: Path, weights: dict[str, torch.Tensor], moments: dict[str, torch.Tensor]
    ) -> None:
        """The files that the local engine writes, from tensors that were gathered."""
        model: Any = self.policy.model
        if self.adapted:
            adapters.save(model, folder, base=self.policy.path, tensors=weights)
        else:
            model.save_pretrained(folder, state_dict=weights)
        self.policy.tokenizer.save_pretrained(folder)
        write_tensors(folder / "optimizer.safetensors", moments)
        self.write_progress(folder)

    def _learning(self) -> list[torch.nn.Parameter]:
        """The parameters that learn, in the order of the optimiser's file."""
        return [p for p in self.trainer.model.parameters() if p.requires_grad]

    def load(self, folder: Path) -> None:
        if self.sharding != "none":
            self.resumed_from = folder
        super().load(folder)
        if self.sharding == "zero3":
            self.finer = zero3.parts(self.policy.model)

    def wrapped(self) -> None:
        """Called when accelerate has wrapped model and optimiser: sharded state is given out."""
        self.is_wrapped = True
        if self.learner.sharded:
            self.learner.optim.let_go()  # whole weights would stay on every device beside the parts
        if self.resumed_from is not None:
            self.trainer.optimizer.state.clear()  # of the parameters as they were before
            restore_optimizer(
                self.resumed_from / "optimizer.safetensors",
                self._learning(),
                self.trainer.optimizer,
                self.sharding,
            )
        if self.sharding == "zero3":
            zero3.restore_masters(self.policy.model, self.finer)
            self.finer = {}

    def describe(self) -> dict[str, Any]:
        accelerator = self.trainer.accelerator
        return super().describe() | {
            "processes": self.ranks.size,
            "distributed": str(accelerator.distributed_type.value),
            "mixed_precision": accelerator.mixed_precision,
        }

    def close(self) -> None:
        """Remove the folder TRL wanted."""
        shutil.rmtree(self.trainer.args.output_dir, ignore_errors=True)


def sharding_of(trainer: RowTrainer, optim: OptimConfig) -> Sharding:
    """How the weights lie. Raises `UsageError` for what is not supported."""
    kind = trainer.accelerator.distributed_type
    if kind == DistributedType.DEEPSPEED:
        check_sharded(optim, "DeepSpeed")
        if optim.on_nonfinite == "skip":
            raise UsageError(
                "DeepSpeed takes the optimiser step within the backward, so none can be skipped",
                where="optim.on_nonfinite",
                remedy="give error, or launch with FSDP2",
            )
        return "zero3"
    if kind == DistributedType.FSDP:
        check_sharded(optim, "FSDP2")
        if not trainer.accelerator.is_fsdp2:
            raise UsageError(
                "accelerate's FSDP version 1 is not supported",
                where="accelerate's configuration",
                remedy="set fsdp_version: 2 (`sage-bench launch --config fsdp2-8gpu`)",
            )
        return "fsdp2"
    check_not_asked(str(kind.value))
    return "none"


def check_not_asked(kind: str) -> None:
    """Raise `UsageError` where sharding was asked for: accelerate goes on without, silently."""
    for variable, what in {"USE_FSDP": "FSDP2", "USE_DEEPSPEED": "DeepSpeed"}.items():
        if os.environ.get(f"ACCELERATE_{variable}", "").lower() == "true":
            raise UsageError(
                f"{what} is asked for, and accelerate trains without it here ({kind}): it spreads"
                " weights over GPUs alone",
                where=f"ACCELERATE_{variable}",
                remedy="start it with `torchrun`, or by `sage-bench launch` on GPUs",
            )


def check_precision(trainer: RowTrainer) -> None:
    """Raise `UsageError` where accelerate's configuration overrules `model.dtype`."""
    wanted = "bf16" if trainer.args.bf16 else "no"
    found = trainer.accelerator.mixed_precision
    if found != wanted:
        raise UsageError(
            f"accelerate was started with mixed_precision: {found}, and the weights' number type"
            f" asks for {wanted}",
            where="model.dtype",
            remedy=f"set mixed_precision: {wanted} in the file of --config, or another model.dtype",
        )


def check_sharded(optim: OptimConfig, what: str) -> None:
    """Raise `UsageError` for an optimiser whose state cannot be spread over ranks."""
    asked = {"optim.name": optim.name != "adamw", "optim.offload": optim.offload}
    for key, other in asked.items():
        if other:
            raise UsageError(
                f"{what} spreads the state of torch's AdamW over the ranks, and no other",
                where=key,
                remedy=(
                    "leave it at its default: every rank has its part of the state only. Or train"
                    " in one process, or by DDP (`sage-bench launch --config ddp-8gpu`)"
                ),
            )
