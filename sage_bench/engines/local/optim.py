"""AdamW on float32 master weights, gradient clipping, learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sage_bench.config.schema import OptimConfig
from sage_bench.utils.errors import SageBenchError


def learning_rate(config: OptimConfig, step: int, total: int) -> float:
    """Rate of optimiser step `step` (0-based) of `total`.

    The SFT recipe of SAGE, 71 of 702 steps warm-up:

    >>> c = OptimConfig(lr=5e-5, schedule="cosine", warmup_ratio=0.1, min_lr_ratio=0.1)
    >>> [f"{learning_rate(c, s, 702):.4g}" for s in (0, 35, 71, 701)]
    ['0', '2.465e-05', '5e-05', '5e-06']
    """
    warmup = math.ceil(config.warmup_ratio * total)
    if step < warmup:
        return config.lr * step / warmup
    if config.schedule == "constant" or total <= warmup:
        return config.lr
    done = min(1.0, (step - warmup) / (total - warmup))
    shape = 1 - done if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return config.lr * (config.min_lr_ratio + (1 - config.min_lr_ratio) * shape)


class MasterAdamW:
    """AdamW whose parameters are float32 (or wider) copies of the model's; identical objects where
    the model already is.

    bf16 weights round small updates away (at lr 1e-6 nearly all of them), so the sum is kept in the
    masters and the model gets it rounded.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], config: OptimConfig):
        self.config = config
        self.model_parameters = [p for p in parameters if p.requires_grad]
        narrow = torch.finfo(self.model_parameters[0].dtype).bits < 32
        self.masters = (
            [nn.Parameter(p.detach().float().clone()) for p in self.model_parameters]
            if narrow
            else self.model_parameters
        )
        self.adam = torch.optim.AdamW(
            self.masters,
            lr=config.lr,
            betas=config.betas,
            eps=config.eps,
            weight_decay=config.weight_decay,
            foreach=True,
        )

    def zero_grad(self) -> None:
        for p in self.model_parameters:
            p.grad = None

    def step(self, lr: float) -> tuple[float, bool]:
        """One update from the gradients on the model's parameters. Returns (gradient norm, whether
        the step was taken)."""
        for master, p in zip(self.masters, self.model_parameters, strict=True):
            if p.grad is None:
                # a batch without signal still moves along the momentum, as if it had been run
                p.grad = torch.zeros_like(p)
            if master is not p:
                master.grad = p.grad.to(master.dtype)
        norm = torch.nn.utils.clip_grad_norm_(self.masters, self.config.grad_clip)
        taken = bool(norm.isfinite())
        if taken:
            for group in self.adam.param_groups:
                group["lr"] = lr
            self.adam.step()
            with torch.no_grad():
                for master, p in zip(self.masters, self.model_parameters, strict=True):
                    if master is not p:
                        p.copy_(master)
        self.zero_grad()
        for master in self.masters:
            master.grad = None
        return float(norm), taken

    def save(self, file: Path) -> None:
        tensors: dict[str, Tensor] = {}
        for i, master in enumerate(self.masters):
            state = self.adam.state.get(master)
            if state:
                tensors |= {
                    f"exp_avg.{i}": state["exp_avg"],
                    f"exp_avg_sq.{i}": state["exp_avg_sq"],
                    f"step.{i}": state["step"],
                }
            if master is not self.model_parameters[i]:
                tensors[f"master.{i}"] = master.detach()
        save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, file)

    def load(self, file: Path) -> None:
        tensors = load_file(file)
        for i, master in enumerate(self.masters):
            if f"exp_avg.{i}" in tensors:
                if tensors[f"exp_avg.{i}"].shape != master.shape:
                    raise SageBenchError(
                        "optimiser state does not fit the model",
                        where=str(file),
                        remedy="resume with the model the run began with",
                    )
                state = self.adam.state[master]
                state["exp_avg"] = tensors[f"exp_avg.{i}"].to(master)
                state["exp_avg_sq"] = tensors[f"exp_avg_sq.{i}"].to(master)
                state["step"] = tensors[f"step.{i}"]
            with torch.no_grad():
                if f"master.{i}" in tensors:
                    master.copy_(tensors[f"master.{i}"])
