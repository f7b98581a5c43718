"""How long a run takes, from arithmetic alone; every number that is assumed says so.

Nothing here was measured on a GPU. The assumptions are the arguments of the formulas, and a plan
lists them all: replace them by what `scripts/gpu_check.py` measures on your machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sage_bench.training.architectures import Architecture
from sage_bench.training.gpus import Gpus
from sage_bench.training.memory import GIB, Settings, cache_bytes, learning_parameters

LEARNING_SHARE = 0.35  # of the peak FLOP/s, forward and backward of the learner
PREFILL_SHARE = 0.4
READING_SHARE = 0.6  # of the memory bandwidth, weights and cache while decoding
LAUNCH = {"local": 0.0007, "vllm": 0.00005}  # seconds a layer and token, whatever it computes
ADAPTER_LAUNCH = 2.0  # times as many kernels where adapters stand beside the weights
IDLE = 0.06  # share of our sampler's places whose rows have ended and not left yet
HOST_BANDWIDTH = 25e9  # bytes a second between host and GPU, and of AdamW on the host


@dataclass(frozen=True, slots=True)
class Work:
    """What a step asks for. rollouts: completions; completion_tokens: their mean length.

    longest: of a completion. rows: completions decoded together on one device.
    """

    rollouts: int
    prompts: int
    prompt_tokens: float
    completion_tokens: float
    longest: int
    rows: int
    updates: int
    sampler: str = "local"
    samples: bool = True


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds a step by part, and what was assumed."""

    parts: dict[str, float]
    assumptions: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(self.parts.values())


def forward_flops(arch: Architecture, tokens: float, seen: float) -> float:
    """Floating-point operations of a forward of `tokens` positions that see `seen` each."""
    return tokens * (2.0 * arch.parameters + 4.0 * arch.layers * arch.queries * seen)


def step(
    arch: Architecture, work: Work, settings: Settings, gpus: Gpus, devices: int
) -> Duration | None:
    """Seconds of a step on `devices` of some GPUs; None where their speed is not known."""
    if gpus.speed is None:
        return None
    flops, bandwidth = gpus.speed[0] * 1e12, gpus.speed[1] * 1e12
    parts = {"sampling": _sampling(arch, work, settings, flops, bandwidth, devices)}
    parts["learning"] = _learning(arch, work, settings, flops, devices)
    parts["optimizer"] = _optimizer(arch, work, settings, bandwidth)
    return Duration(parts, _assumed(work, settings))


def _sampling(
    arch: Architecture,
    work: Work,
    settings: Settings,
    flops: float,
    bandwidth: float,
    devices: int,
) -> float:
    if not work.samples:
        return 0.0
    rollouts = work.rollouts / devices
    prompts = forward_flops(arch, work.prompts / devices * work.prompt_tokens, 0.0)
    rows = max(1.0, min(work.rows, rollouts))
    launch = LAUNCH[work.sampler] * arch.layers
    if settings.rank and work.sampler == "local":
        launch *= ADAPTER_LAUNCH
    weights = settings.number * arch.parameters / (READING_SHARE * bandwidth)
    seen = work.prompt_tokens + work.completion_tokens / 2
    cache = cache_bytes(arch, settings.number) * seen / (READING_SHARE * bandwidth)
    compute = 2.0 * arch.parameters / (LEARNING_SHARE * flops)
    # a row that ends leaves its place to the next
    rows *= 1.0 if work.sampler == "vllm" else 1 - IDLE
    steps = rollouts / rows * work.completion_tokens
    decoding = steps * (launch + max(weights, rows * compute) + rows * cache)
    # the last rows end alone
    decoding += (work.longest - work.completion_tokens) * (launch + weights)
    return prompts / (PREFILL_SHARE * flops) + decoding


def _learning(
    arch: Architecture, work: Work, settings: Settings, flops: float, devices: int
) -> float:
    tokens = work.rollouts * (work.prompt_tokens + work.completion_tokens) / devices
    forward = forward_flops(arch, tokens, (work.prompt_tokens + work.completion_tokens) / 2)
    # backward: gradients of activations, and of weights where they learn
    passes = 2.0 if settings.rank else 3.0
    if settings.checkpointing:
        passes += 1.0  # the forward once more
    passes += (work.updates - 1) / work.updates  # log-probabilities before the first update
    return passes * forward / (LEARNING_SHARE * flops)


def _optimizer(arch: Architecture, work: Work, settings: Settings, bandwidth: float) -> float:
    learning = learning_parameters(arch, settings) / settings.shards
    if settings.offload:
        # gradients down, weights up, and AdamW reads and writes 24 bytes a parameter on the host
        return work.updates * learning * (2 * settings.number + 24) / HOST_BANDWIDTH
    return work.updates * learning * 28 / (READING_SHARE * bandwidth)


def _assumed(work: Work, settings: Settings) -> list[str]:
    lines = [
        f"completions have {work.completion_tokens:.0f} tokens in the mean, prompts"
        f" {work.prompt_tokens:.0f}",
        "no prompt is rolled out again: methods with hints or retries sample more",
        "every completion is trained; dead groups would be skipped",
        f"the learner reaches {LEARNING_SHARE:.0%} of the GPU's dense bfloat16 FLOP/s",
        "grading, judges, validation, checkpoints and start-up take no time",
    ]
    if work.samples:
        lines.append(
            f"decoding reads weights and cache at {READING_SHARE:.0%} of the bandwidth and needs"
            f" {LAUNCH[work.sampler] * 1e6:g} us a layer and token to start its kernels"
        )
        lines.append("of each step's completions one reaches the longest length and ends alone")
    if settings.offload:
        lines.append(
            f"{HOST_BANDWIDTH / 1e9:g} GB/s between host and GPU, and for AdamW on the host"
        )
    lines.append("none of these was measured on a GPU; scripts/gpu_check.py measures them")
    return lines


def vllm_rows(arch: Architecture, share: float, number: int, width: float, most: int) -> int:
    """Completions vLLM decodes together in `share` bytes with its own weights taken off."""
    room = share - number * arch.parameters - GIB
    return max(1, min(most, int(room / (cache_bytes(arch, number) * width))))
