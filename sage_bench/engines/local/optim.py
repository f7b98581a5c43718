"""AdamW on float32 master weights, gradient clipping, learning-rate schedules."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local import moments
from sage_bench.utils.errors import SageBenchError, TrainingError


def learning_rate(config: OptimConfig, step: int, total: int) -> float:
    """Rate of optimiser step `step` (0-based) of `total`.

    The SFT recipe of SAGE has 71 warm-up steps:

    >>> c = OptimConfig(lr=5e-5, schedule="cosine", warmup_ratio=0.1, min_lr_ratio=0.1)
    >>> [f"{learning_rate(c, step, 702):.4g}" for step in (0, 35, 71, 701)]
    ['0', '2.465e-05', '5e-05', '5e-06']

    `warmup_steps` does not hang on how long the run is:

    >>> c = OptimConfig(lr=1e-4, warmup_steps=8)
    >>> [f"{learning_rate(c, 2, total):.4g}" for total in (40, 800)]
    ['2.5e-05', '2.5e-05']
    """
    warmup = config.warmup_steps
    if warmup is None:
        warmup = math.ceil(config.warmup_ratio * total)
    if step < warmup:
        return config.lr * step / warmup
    if config.schedule == "constant" or total <= warmup:
        return config.lr
    done = min(1.0, (step - warmup) / (total - warmup))
    shape = 1 - done if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return config.lr * (config.min_lr_ratio + (1 - config.min_lr_ratio) * shape)


PART = 1 << 26  # elements one call of the optimiser works on: its temporaries take 4 bytes each


def parts(parameters: Sequence[nn.Parameter], size: int = PART) -> Iterator[list[nn.Parameter]]:
    """Consecutive parameters of `size` elements together, at least one.

    AdamW works through one part after the other, so that what it needs besides its state stays
    small; every element's arithmetic is the same however the parameters are parted.
    """
    part: list[nn.Parameter] = []
    for parameter in parameters:
        if part and sum(p.numel() for p in part) + parameter.numel() > size:
            yield part
            part = []
        part.append(parameter)
    if part:
        yield part


class MasterAdamW:
    """AdamW on float32 (or wider) copies of the model's parameters.

    bf16 weights round small updates away (at lr 1e-6 nearly all of them), so the sum is kept in
    the masters and the model gets it rounded. Where the model is float32 already, masters and
    parameters are the same objects, unless `optim.offload` wants them on the host.

    Gradients are widened, scaled and used one part after the other (`parts`): there is never a
    second copy of all of them.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        config: OptimConfig,
        names: Mapping[nn.Parameter, str] | None = None,
    ):
        self.config = config
        self.names = names or {}
        self.model_parameters = [p for p in parameters if p.requires_grad]
        self.taken = 0  # updates that were applied; skipped ones do not count
        self.masters = [self._master(p) for p in self.model_parameters]
        self.groups = list(parts(self.masters))
        self.adam = moments.make(config, self.groups)

    def _master(self, parameter: nn.Parameter) -> nn.Parameter:
        narrow = torch.finfo(parameter.dtype).bits < 32
        if self.config.offload:
            wide = torch.float32 if narrow else parameter.dtype
            return nn.Parameter(parameter.detach().to("cpu", wide, copy=True))
        return nn.Parameter(parameter.detach().float().clone()) if narrow else parameter

    def zero_grad(self) -> None:
        for p in self.model_parameters:
            p.grad = None

    def step(self, lr: float) -> tuple[float, bool]:
        """One update from the gradients on the model's parameters.

        Returns (gradient norm, whether the step was taken): a non-finite norm leaves everything as
        it was. Raises `TrainingError` when a weight is not finite afterwards.
        """
        for p in self.model_parameters:
            if p.grad is None:
                # a batch without signal still moves along the momentum, as if it had been run
                p.grad = torch.zeros_like(p)
        norm = self._norm()
        taken = bool(norm.isfinite())
        if taken:
            self._take_all(lr, norm)
            self.taken += 1
            self._check_weights()
            for masters, own in self._pairs():
                self._hand_over(masters, own)
        self.zero_grad()
        return float(norm), taken

    def step_clipped(self, lr: float) -> None:
        """One update from gradients that somebody else has clipped, and counts and checks."""
        self._take_all(lr, None)
        for masters, own in self._pairs():
            self._hand_over(masters, own)
        self.zero_grad()

    def let_go(self) -> None:
        """Keep no parameter in memory: others have taken their place in the optimiser, such as
        shards of them."""
        self.masters, self.model_parameters, self.groups = [], [], []
        self.names = {}

    def _take_all(self, lr: float, norm: Tensor | None) -> None:
        for group in self.adam.param_groups:
            group["lr"] = lr
        for masters, own in self._pairs():
            self._take(masters, own, norm)

    def _pairs(self) -> Iterator[tuple[list[nn.Parameter], list[nn.Parameter]]]:
        """Part by part: (masters, the model's parameters)."""
        at = 0
        for masters in self.groups:
            yield masters, self.model_parameters[at : at + len(masters)]
            at += len(masters)

    @torch.no_grad()
    def _norm(self) -> Tensor:
        """The norm of all gradients together, summed in float32 where they are narrower."""
        norms: list[Tensor] = []
        for masters, own in self._pairs():
            wide = [_grad(p).to(m.dtype) for m, p in zip(masters, own, strict=True)]
            norms += torch._foreach_norm(wide)
        total: Tensor = torch.linalg.vector_norm(torch.stack([n.to(norms[0]) for n in norms]))
        return total

    def _take(
        self, masters: list[nn.Parameter], own: list[nn.Parameter], norm: Tensor | None
    ) -> None:
        """Update one part of the masters; its gradients are gone afterwards. norm: of all
        gradients, which are clipped by it; None where they are."""
        for master, p in zip(masters, own, strict=True):
            if master is not p:
                master.grad = _grad(p).to(master.device, master.dtype)
                p.grad = None  # the narrow one is not needed any more: 2 bytes a parameter
        if norm is not None:
            torch.nn.utils.clip_grads_with_norm_(masters, self.config.grad_clip, norm)
        self._step_of(masters)
        for master in masters:
            master.grad = None

    def _step_of(self, masters: list[nn.Parameter]) -> None:
        """The optimiser's step on the group of these masters alone."""
        groups = self.adam.param_groups
        self.adam.param_groups = [g for g in groups if g["params"][0] is masters[0]]
        try:
            self.adam.step()
        finally:
            self.adam.param_groups = groups

    @torch.no_grad()
    def _hand_over(self, masters: list[nn.Parameter], own: list[nn.Parameter]) -> None:
        for master, p in zip(masters, own, strict=True):
            if master is not p:
                p.copy_(master)

    def _check_weights(self) -> None:
        # one number a tensor and one look at the device: cheap enough for every step
        norms = torch.stack(torch._foreach_norm([m.detach() for m in self.masters]))
        if bool(norms.isfinite().all()):
            return
        broken = [i for i, norm in enumerate(norms.tolist()) if not math.isfinite(norm)]
        first = self.names.get(self.model_parameters[broken[0]], f"parameter {broken[0]}")
        raise TrainingError(
            f"`{first}` (one of {len(broken)} tensors) is not finite after update {self.taken}",
            remedy=(
                "lower optim.lr (train.accept_change=[optim.lr] goes on in this folder from its"
                " last checkpoint)"
            ),
        )

    def save(self, file: Path) -> None:
        """Write masters and moments, one tensor at a time in host memory."""
        tensors: dict[str, Tensor] = {}
        for i, master in enumerate(self.masters):
            for key, value in moments.tensors(self.adam.state.get(master) or {}):
                tensors[f"{key}.{i}"] = value
            # float32 models are their own masters, and lie in model.safetensors already
            if master is not self.model_parameters[i]:
                tensors[f"master.{i}"] = master.detach()
        write_tensors(file, tensors)

    def load(self, file: Path, taken: int) -> None:
        """Read what `save` wrote. taken: updates that were applied when it did.

        Raises `SageBenchError` when the file does not hold exactly the state of these parameters:
        an Adam that starts again without a word would be another run.
        """
        with safe_open(file, "pt") as saved:
            self._check_state(file, saved, taken > 0)
            for i, master in enumerate(self.masters):
                if taken:
                    state = moments.begin(self.adam, master)
                    for key, _ in list(moments.tensors(state)):
                        moments.put(state, key, saved.get_tensor(f"{key}.{i}"))
                if master is not self.model_parameters[i]:
                    with torch.no_grad():
                        master.copy_(saved.get_tensor(f"master.{i}"))
        self.taken = taken

    def _check_state(self, file: Path, saved: Any, begun: bool) -> None:
        found = set(saved.keys())
        wanted: dict[str, list[int]] = {}
        for i, master in enumerate(self.masters):
            if begun:
                state = moments.begin(self.adam, master)
                wanted |= {f"{k}.{i}": list(v.shape) for k, v in moments.tensors(state)}
            if master is not self.model_parameters[i]:
                wanted[f"master.{i}"] = list(master.shape)
        wrong = sorted(found ^ wanted.keys())
        wrong += [k for k, v in wanted.items() if k in found and _shape(saved, k) != v]
        if wrong:
            raise SageBenchError(
                f"optimiser state does not fit the model ({', '.join(wrong[:3])})",
                where=str(file),
                remedy="resume with the model and the optim.name the run began with, or from"
                " another checkpoint",
            )


STATE = ("exp_avg", "exp_avg_sq", "step")  # what torch's AdamW keeps of a parameter
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.uint8: "U8",
}


def _grad(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        raise ValueError("a parameter without a gradient")
    return parameter.grad


def _shape(saved: Any, key: str) -> list[int]:
    return list(saved.get_slice(key).get_shape())


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, copying one tensor at a time to the host.

    `safetensors.torch.save_file` wants all of them there at once: with Adam's state and masters 12
    bytes a parameter.
    """
    # wide types first, as safetensors itself orders them: every tensor lies aligned
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, Any] = {}
    end = 0
    for name in names:
        tensor = tensors[name]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants the data to begin at a multiple of eight
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little"))
        out.write(text)
        for name in names:
            # through bytes, since numpy has no bfloat16
            flat = tensors[name].detach().cpu().contiguous().reshape(-1)
            out.write(flat.view(torch.uint8).numpy().data)
