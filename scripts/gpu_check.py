"""Planned against measured on one GPU, in at most eight minutes, with nothing but this checkout.

    python scripts/gpu_check.py --out results/gpu          # on a machine with a GPU
    python scripts/gpu_check.py --tiny --out check          # the same code on a CPU, at tiny width

Needs torch, transformers, accelerate and peft; no vLLM, no network, no weights. Models of the three
architectures of the paper get random weights at full width and, where it fits, at full depth.
Writes gpu.json and gpu.md: memory of a train step, tokens a second of sampling and learning, where
the time goes, what bfloat16 changes between two ways of computing the same, and whether two runs
agree. What cannot be measured here is named with its reason.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from random_models import Case, build, learner, planned, rows, settings_without_pydantic, small

GIB = 1 << 30
SECONDS = 450.0  # after which no further measurement is begun
ROOM = 0.92  # of the GPU's memory that a measurement may be planned to take
USES = {
    "pydantic": "settings are not checked (a stand-in is used)",
    "peft": "no adapters",
    "accelerate": "not needed here",
    "bitsandbytes": "no moments in 8 bits",
    "trl": "no comparison with TRL's gradients",
}
TINY = dict(layers=2, hidden=64, heads=4, kv_heads=2, head_dim=16, intermediate=128)
FULL_BATCH = dict(prompts=1, prompt_tokens=256, rows=8, completion_tokens=768)
TINY_BATCH = dict(prompts=1, prompt_tokens=8, rows=4, completion_tokens=12)
MOST_COMPARED = 1 << 28  # elements of a gradient that are compared: 1 GiB on the host
ATTENTION = ("flash", "fmha", "attention", "sdpa", "softmax")
MATMUL = ("gemm", "matmul", "::mm", "addmm", "cutlass", "nvjet", "cublas", "linear")


class Check:
    """One run of the kit: where it runs, what it found, and what it could not measure."""

    def __init__(self, tiny: bool, seconds: float):
        import torch

        self.torch = torch
        self.tiny = tiny
        self.device = "cpu" if tiny or not torch.cuda.is_available() else "cuda"
        self.batch = TINY_BATCH if tiny else FULL_BATCH
        self.end = time.monotonic() + seconds
        self.results: list[dict[str, Any]] = []
        self.skipped: list[str] = []
        self.capacity = float("inf")
        if self.device == "cuda":
            self.capacity = torch.cuda.mem_get_info()[1]

    # ---- keeping time and books ------------------------------------------------------------------
    def measure(self, what: str, model: str, work: Callable[[], dict[str, Any]]) -> None:
        """Do one measurement, unless there is no time or memory for it."""
        label = f"{model}: {what}"
        if time.monotonic() > self.end:
            self.skipped.append(f"{label}: no time left")
            return
        began = time.monotonic()
        try:
            found = work()
        except self.torch.OutOfMemoryError as error:
            self.skipped.append(f"{label}: out of memory ({str(error).splitlines()[0]})")
            return
        except Unavailable as reason:
            self.skipped.append(f"{label}: {reason}")
            return
        finally:
            self.clear()
        seconds = round(time.monotonic() - began, 1)
        self.results.append({"model": model, "what": what, **found, "took_s": seconds})
        print(f"{label}: {found} ({seconds} s)", file=sys.stderr, flush=True)

    def clear(self) -> None:
        gc.collect()
        if self.device == "cuda":
            self.torch.cuda.empty_cache()

    def wait(self) -> float:
        """The time, once the GPU has done what it was given."""
        if self.device == "cuda":
            self.torch.cuda.synchronize()
        return time.perf_counter()

    def begin_peak(self) -> float:
        self.clear()
        if self.device != "cuda":
            return 0.0
        self.torch.cuda.reset_peak_memory_stats()
        return float(self.torch.cuda.memory_allocated())

    def peak(self, before: float) -> float | None:
        """Bytes since `begin_peak`; None on a CPU, where `plan_check.py` measures processes."""
        if self.device != "cuda":
            return None
        return self.torch.cuda.max_memory_allocated() - before

    def fitting(self, arch: Any, case: Case) -> Any:
        """The architecture at the largest depth whose step is planned to fit."""
        depth = arch.layers
        while depth > 1 and planned(small(arch, layers=depth), case).peak > ROOM * self.capacity:
            depth -= 1
        return small(arch, layers=depth)

    # ---- measurements ----------------------------------------------------------------------------
    def train_step(self, arch: Any, case: Case) -> dict[str, Any]:
        """Memory and speed of two optimiser steps of two micro-batches each."""
        from sage_bench.methods.objective import Objective
        from sage_bench.training.memory import Batch

        if case.adapters and importlib.util.find_spec("peft") is None:
            raise Unavailable("peft is not installed")
        if case.optimizer != "adamw" and importlib.util.find_spec("bitsandbytes") is None:
            raise Unavailable("bitsandbytes is not installed")
        chosen = self.fitting(arch, case)
        batch = Batch(**case.batch)
        data = rows(batch, chosen.vocabulary, batches=2)
        before = self.begin_peak()
        own = learner(build(chosen, getattr(self.torch, case.dtype), self.device), case)
        own.update(data, Objective())
        took = self.timed(own.optim)
        began = self.wait()
        own.update(data, Objective())
        seconds = self.wait() - began
        measured, plan = self.peak(before), planned(chosen, case).peak
        trained = sum(len(row.prompt) + len(row.tokens) for row in data)
        return {
            "layers": f"{chosen.layers} of {arch.layers}",
            "planned_gib": round(plan / GIB, 4),
            "measured_gib": round(measured / GIB, 4) if measured else None,
            "planned_over_measured": round(plan / measured, 3) if measured else None,
            "tokens_per_s": round(trained / seconds, 1),
            "optimizer_share": round(sum(took) / seconds, 3),
        }

    def timed(self, optimizer: Any) -> list[float]:
        """The seconds of each step the optimiser takes from now on."""
        took: list[float] = []
        step = optimizer.step

        def watched(lr: float) -> Any:
            began = self.wait()
            found = step(lr)
            took.append(self.wait() - began)
            return found

        optimizer.step = watched
        return took

    def sampling(self, policy: Any) -> dict[str, Any]:
        """Tokens a second of our own decoder, as it is and with recorded steps (CUDA graphs), and
        whether two draws, and the two ways, agree token for token."""
        from sage_bench.generation.local.decode import Decoder
        from sage_bench.types import Sample, Sampling

        count, length = (4, 8) if self.tiny else (64, 128)
        prompt = tuple(range(2, 2 + self.batch["prompt_tokens"]))
        asks = [
            Sample(prompt, 1, Sampling(1.0, 1.0, length), key=("gpu", i)).units(0)[0]
            for i in range(count)
        ]
        found: dict[str, Any] = {"rows": count}
        drawn = {}
        for way, recorded in {"": False, "_recorded": True}.items():
            decoder = Decoder(policy, wave_tokens=1 << 24, cuda_graphs=recorded)
            first = [c.tokens for c in decoder.draw(asks)]
            began = self.wait()
            drawn[way] = [c.tokens for c in decoder.draw(asks)]
            seconds = self.wait() - began
            found[f"tokens_per_s{way}"] = round(sum(map(len, drawn[way])) / seconds, 1)
            found[f"same_tokens{way}"] = first == drawn[way]
        return {**found, "same_tokens_both_ways": drawn[""] == drawn["_recorded"]}

    def gradient(self, policy: Any, case: Case) -> Any:
        """The gradient of the case's batch, flat and in float32 on the host: all of it, or evenly
        spaced elements of a large one."""
        from sage_bench.methods.objective import Objective
        from sage_bench.training.memory import Batch

        policy.model.zero_grad()
        own = self.gradient_learner(policy, case)
        own.gradient(rows(Batch(**case.batch), policy.model.config.vocab_size), Objective())
        count = sum(p.numel() for p in policy.model.parameters())
        every = max(1, count // MOST_COMPARED)
        parts = [p.grad.flatten()[::every].float().cpu() for p in policy.model.parameters()]
        policy.model.zero_grad()
        return self.torch.cat(parts)

    def gradient_learner(self, policy: Any, case: Case) -> Any:
        """A learner that is asked for gradients only: its optimiser gets one small tensor."""
        from sage_bench.config.schema import OptimConfig
        from sage_bench.engines.local.learner import Learner

        # the masters of all parameters would take memory that a gradient does not need
        parameters = list(policy.model.parameters())
        smallest = min(parameters, key=lambda p: p.numel())
        for parameter in parameters:
            parameter.requires_grad_(parameter is smallest)
        own = Learner(policy, OptimConfig(), micro_tokens=1 << 40, prompt_once=case.prompt_once)
        for parameter in parameters:
            parameter.requires_grad_(True)
        return own

    def agreement(self, policy: Any) -> dict[str, Any]:
        """Two runs of one gradient, and prompt-once against separate rows, in bfloat16."""
        short = replace(
            Case("", {**self.batch, "rows": min(4, self.batch["rows"])}), dtype="bfloat16"
        )
        apart = self.gradient(policy, short)
        again = self.gradient(policy, short)
        once = self.gradient(policy, replace(short, prompt_once=True))
        return {
            "same_gradient_twice": bool(self.torch.equal(apart, again)),
            "prompt_once_relative_difference": float((once - apart).norm() / apart.norm()),
        }

    def shares(self, policy: Any) -> dict[str, Any]:
        """Share of a gradient's time by kernel, and of the LM head, timed by itself."""
        torch = self.torch
        case = Case("", self.batch, dtype="bfloat16")
        self.gradient(policy, case)
        kinds = [torch.profiler.ProfilerActivity.CPU]
        if self.device == "cuda":
            kinds.append(torch.profiler.ProfilerActivity.CUDA)
        began = self.wait()
        with torch.profiler.profile(activities=kinds) as profile:
            self.gradient(policy, case)
        seconds = self.wait() - began
        found = by_kernel(profile, self.device)
        return {**found, "head_of_gradient": round(self.head(policy, case) / seconds, 3)}

    def head(self, policy: Any, case: Case) -> float:
        """Seconds of the LM head alone, forward and backward, on the batch's completion tokens."""
        from sage_bench.generation.local.head import plain_scores

        torch, batch = self.torch, case.batch
        count = batch["rows"] * batch["completion_tokens"]
        hidden = torch.randn(
            count, policy.model.config.hidden_size, device=self.device, dtype=policy.dtype
        )
        hidden.requires_grad_(True)
        target = torch.zeros(count, dtype=torch.long, device=self.device)
        began = self.wait()
        plain_scores(policy.model.get_output_embeddings(), hidden, target, 1.0)[0].sum().backward()
        seconds = self.wait() - began
        policy.model.zero_grad()
        return seconds

    # ---- together --------------------------------------------------------------------------------
    def architecture(self, name: str, arch: Any) -> None:
        """Everything about one model."""
        plain = Case(name, self.batch, checkpointing=True, dtype="bfloat16")
        ways = {
            "train step, all weights": plain,
            "train step, adapters": replace(plain, adapters=32),
            "train step, 8-bit moments": replace(plain, optimizer="adamw8bit"),
            "train step, state on the host": replace(plain, offload=True),
        }
        self.on_one_policy(name, self.fitting(arch, replace(plain, adapters=32)))
        self.clear()
        for what, case in ways.items():
            self.measure(what, name, lambda case=case: self.train_step(arch, case))

    def on_one_policy(self, name: str, arch: Any) -> None:
        if time.monotonic() > self.end:
            self.skipped.append(f"{name}: sampling, agreement and shares: no time left")
            return
        policy = build(arch, self.torch.bfloat16, self.device)
        self.measure("sampling", name, lambda: self.sampling(policy))
        self.measure("agreement", name, lambda: self.agreement(policy))
        self.measure("shares of a gradient", name, lambda: self.shares(policy))

    def trl(self) -> None:
        """Local against TRL's gradients, where TRL is: the rows of every backend from both."""
        label, script = "local against TRL gradients", "engine_conformance.py"
        left = self.end - time.monotonic()
        if importlib.util.find_spec("trl") is None:
            self.skipped.append(f"{label}: trl is not installed")
        elif self.tiny or left < 60:
            reason = "not at tiny width" if self.tiny else "no time left"
            self.skipped.append(f"{label}: {reason}; `python scripts/{script}` compares them")
        else:
            command = [sys.executable, str(Path(__file__).with_name(script))]
            self.measure(label, "tiny", lambda: run_script(command, left))

    def environment(self) -> dict[str, Any]:
        import transformers

        torch = self.torch
        name = torch.cuda.get_device_name() if self.device == "cuda" else "CPU"
        return {
            "device": name,
            "memory_gib": None if self.device == "cpu" else round(self.capacity / GIB, 1),
            "tiny": self.tiny,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "missing": missing(),
        }


class Unavailable(Exception):
    """A measurement that this machine has no library for."""


def run_script(command: list[str], seconds: float) -> dict[str, Any]:
    """How a script of ours ended, and what it printed last."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"not done in {seconds:.0f} s") from error
    printed = done.stdout if done.returncode == 0 else done.stderr
    return {"exit_code": done.returncode, "printed": printed.splitlines()[-30:]}


def missing() -> dict[str, str]:
    """Libraries that are not here, and what that means for this kit."""
    found = {}
    for name, meaning in USES.items():
        module = sys.modules.get(name)
        stands_in = module is not None and not hasattr(module, "__file__")
        if stands_in or importlib.util.find_spec(name) is None:
            found[name] = meaning
    return found


def by_kernel(profile: Any, device: str) -> dict[str, Any]:
    """Shares of the time by what kernels are called."""
    sums = {"attention": 0.0, "matmul": 0.0, "other": 0.0}
    for event in profile.key_averages():
        if device == "cuda":
            took = event.self_device_time_total
        else:
            took = event.self_cpu_time_total
        name = event.key.lower()
        if any(word in name for word in ATTENTION):
            sums["attention"] += took
        elif any(word in name for word in MATMUL):
            sums["matmul"] += took
        else:
            sums["other"] += took
    total = sum(sums.values()) or 1.0
    return {f"{name}_share": round(value / total, 3) for name, value in sums.items()}


def markdown(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = ["# GPU check", "", "Written by `python scripts/gpu_check.py`.", ""]
    for name, value in report["environment"].items():
        lines.append(f"- {name}: {value}")
    for what in dict.fromkeys(row["what"] for row in report["results"]):
        own = [row for row in report["results"] if row["what"] == what]
        keys = [key for key in own[0] if key != "what"]
        lines += ["", f"## {what}", "", "| " + " | ".join(keys) + " |", "|---" * len(keys) + "|"]
        lines += ["| " + " | ".join(str(row[key]) for key in keys) + " |" for row in own]
    lines += ["", "## Not measured", ""]
    lines += [f"- {line}" for line in report["skipped"]] or ["Nothing was left out."]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="on a CPU, at tiny width")
    parser.add_argument("--out", type=Path, required=True, help="folder of gpu.json and gpu.md")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="begin nothing after so many seconds"
    )
    options = parser.parse_args()
    settings_without_pydantic()
    from sage_bench.training.architectures import ARCHITECTURES

    check = Check(options.tiny, options.seconds)
    if check.device == "cpu" and not options.tiny:
        print("there is no GPU here; --tiny runs the same on a CPU", file=sys.stderr)
        return 2
    began = time.monotonic()
    for name, arch in ARCHITECTURES.items():
        chosen = small(arch, **TINY, vocabulary=512) if options.tiny else arch
        check.architecture(name.rsplit("/", 1)[-1], chosen)
    check.trl()
    report = {
        "environment": check.environment(),
        "seconds": round(time.monotonic() - began, 1),
        "results": check.results,
        "skipped": check.skipped,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (options.out / "gpu.md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
