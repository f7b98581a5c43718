"""What a run needs and how long it takes on given GPUs, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sage_bench.config.nesting import flatten, nest
from sage_bench.config.schema import RunConfig
from sage_bench.training import hours as time
from sage_bench.training import memory
from sage_bench.training.architectures import Architecture, architecture_of
from sage_bench.training.checkpoint import RESUMABLE
from sage_bench.training.gpus import Gpus
from sage_bench.training.memory import GIB, Batch, Settings

SPARE = 0.05  # of a GPU's memory, for fragments and what grows unseen
RUNTIME = 1.0 * GIB  # CUDA's context and the libraries' workspaces
MEAN_SHARE = 0.3  # of sampling.max_tokens: how long completions are unless somebody says
MEAN_PROMPT = 256
NUMBERS = {"float64": 8, "float32": 4, "bfloat16": 2}


@dataclass(frozen=True, slots=True)
class Outlook:
    """A plan. memory: GiB on each device by part, each at its largest; phases: GiB of what exists
    together. peak, limit, host: GiB. hours, seconds: None where the GPUs' speed is not known.
    """

    model: str
    gpus: Gpus
    engine: str
    devices: int
    parameters: int
    learning: int
    memory: dict[str, float]
    phases: dict[str, float]
    host: float
    limit: float
    tokens: dict[str, float]
    seconds: dict[str, float] | None
    hours: float | None
    disk: dict[str, float]
    assumptions: list[str]

    @property
    def peak(self) -> float:
        return max(self.phases.values())

    @property
    def fits(self) -> bool:
        return self.peak <= self.limit


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of a completion and of a prompt, in the mean. None: by `MEAN_SHARE`, `MEAN_PROMPT`."""

    completion: float | None = None
    prompt: float | None = None


def look(
    config: RunConfig,
    gpus: Gpus,
    *,
    group_size: int,
    samples: bool = True,
    lengths: Lengths | None = None,
    half: bool = True,
) -> Outlook:
    """The plan of a configuration. group_size: completions a prompt. samples: whether the method
    samples at all. half: dtype `auto` is bfloat16. Raises `UsageError` for an unknown model."""
    arch = architecture_of(config.model.path)
    devices = gpus.count if config.engine.name == "trl" else 1
    settings = settings_of(config, devices, half)
    step = memory.train_step(arch, batch_of(config), settings)
    parts = dict(step.parts)
    phases = dict(step.phases)
    sampling, share = _sampling(arch, config, settings, gpus)
    base = memory.weights(arch, settings)
    if not settings.offload:
        base += memory.optimizer(arch, settings)
    if samples:
        parts |= sampling
        whole = settings.number * arch.parameters if devices > 1 and not share else 0.0
        phases["sampling"] = base + sum(sampling.values()) + whole
    if share and config.engine.vllm.sleep_level == 0:
        for phase in ("learning", "optimizer"):
            phases[phase] += share
    parts["runtime"] = RUNTIME
    work = work_of(arch, config, group_size, samples, lengths or Lengths(), share, settings)
    duration = time.step(arch, work, settings, gpus, devices)
    total = config.train.steps if config.train.epochs is None else None
    hours = duration.seconds * total / 3600 if duration is not None and total else None
    return Outlook(
        model=config.model.path,
        gpus=gpus,
        engine=config.engine.name,
        devices=devices,
        parameters=arch.parameters,
        learning=memory.learning_parameters(arch, settings),
        memory={name: size / GIB for name, size in parts.items()},
        phases={name: (size + RUNTIME) / GIB for name, size in phases.items()},
        host=step.host / GIB,
        limit=gpus.memory * (1 - SPARE),
        tokens=tokens_of(work, total),
        seconds=None if duration is None else duration.parts,
        hours=hours,
        disk=disk_of(arch, config, settings),
        assumptions=assumed(config, gpus, devices, duration),
    )


def settings_of(config: RunConfig, devices: int, half: bool) -> Settings:
    """What of a configuration decides the memory."""
    dtype = config.model.dtype
    if dtype == "auto":
        dtype = "bfloat16" if half else "float32"
    number = NUMBERS[dtype]
    engine, optim = config.engine, config.optim
    # narrow weights that learn have a float32 copy on engine `local`; those of `trl` are float32
    float32 = engine.name == "trl"
    copied = optim.offload or not (float32 or number >= 4)
    master = 4 if copied and devices == 1 else 0
    return Settings(
        number=number,
        master=master,
        optimizer=optim.name,
        offload=optim.offload,
        shards=devices,
        float32=float32,
        rank=engine.lora.rank,
        targets=engine.lora.targets,
        prompt_once=engine.prompt_once and not (engine.gradient_checkpointing or float32),
        checkpointing=engine.gradient_checkpointing,
    )


def batch_of(config: RunConfig) -> Batch:
    """The largest micro-batch: completions of full length that share the longest prompt."""
    sampling = config.sampling
    prompt, completion = sampling.max_prompt_tokens, sampling.max_tokens
    rows = max(1, (config.engine.micro_tokens - prompt) // completion)
    return Batch(1, prompt, rows, completion)


def _sampling(
    arch: Architecture, config: RunConfig, settings: Settings, gpus: Gpus
) -> tuple[dict[str, float], float]:
    """(parts of the sampler, vLLM's share of the GPU)."""
    if config.engine.rollouts == "vllm":
        share = config.engine.vllm.memory * gpus.memory * GIB
        return {"vllm": share}, share
    if config.engine.rollouts == "vllm-server":
        return {}, 0.0
    width = config.sampling.max_prompt_tokens + config.sampling.max_tokens
    rows = max(1, config.engine.wave_tokens // width)
    cache = rows * width * memory.cache_bytes(arch, settings.number) * memory.CACHE_GROWTH
    prompts, longest = rows, config.sampling.max_prompt_tokens
    moving = memory.drawing(arch, rows, prompts, longest, settings.number)
    return {"kv_cache": cache, "drawing": moving}, 0.0


def work_of(
    arch: Architecture,
    config: RunConfig,
    group_size: int,
    samples: bool,
    lengths: Lengths,
    share: float,
    settings: Settings,
) -> time.Work:
    sampling, train = config.sampling, config.train
    completion = lengths.completion or MEAN_SHARE * sampling.max_tokens
    prompt = lengths.prompt or min(MEAN_PROMPT, sampling.max_prompt_tokens)
    width = sampling.max_prompt_tokens + sampling.max_tokens
    recorded = config.engine.rollouts.startswith("recorded")
    own = recorded or config.engine.rollouts == "local"
    rows = max(1, config.engine.wave_tokens // width)
    if share:
        most = config.engine.vllm.max_num_seqs
        rows = time.vllm_rows(arch, share, settings.number, prompt + completion, most)
    elif not own:
        rows = config.engine.vllm.max_num_seqs
    return time.Work(
        rollouts=train.prompts_per_step * (group_size if samples else 1),
        prompts=train.prompts_per_step,
        prompt_tokens=prompt,
        completion_tokens=completion,
        longest=sampling.max_tokens,
        rows=rows,
        updates=train.updates_per_step,
        sampler="local" if own else "vllm",
        samples=samples and not recorded,
    )


def tokens_of(work: time.Work, steps: int | None) -> dict[str, float]:
    """Tokens sampled and trained, a step and in the whole run."""
    sampled = work.rollouts * work.completion_tokens if work.samples else 0.0
    trained = work.rollouts * work.completion_tokens
    found = {"sampled_per_step": sampled, "trained_per_step": trained}
    if steps:
        found |= {"sampled": sampled * steps, "trained": trained * steps}
    return found


def disk_of(arch: Architecture, config: RunConfig, settings: Settings) -> dict[str, float]:
    """GiB of checkpoints: weights of each, optimiser state of the newest ones, all together."""
    learning = memory.learning_parameters(arch, settings)
    a_checkpoint = 4 * learning if settings.rank else memory.held(settings) * arch.parameters
    state = memory.optimizer(arch, settings) * settings.shards
    every = config.train.save_every
    count = 1 + -(-config.train.steps // every)  # one is written before the first step
    kept = min(count, config.train.keep or count)
    total = kept * a_checkpoint + min(kept, RESUMABLE) * state
    return {
        "weights": a_checkpoint / GIB,
        "optimizer": state / GIB,
        "checkpoints": kept,
        "total": total / GIB,
    }


def assumed(
    config: RunConfig, gpus: Gpus, devices: int, duration: time.Duration | None
) -> list[str]:
    lines = [
        f"{SPARE:.0%} of each GPU stay free for fragments, {RUNTIME / GIB:g} GiB are CUDA's own",
        "the largest micro-batch has completions of full length behind the longest prompt",
    ]
    if devices > 1:
        lines.append("FSDP2 spreads float32 weights, gradients and moments over all GPUs")
        lines.append("activations and logits on each GPU are counted as those of the local engine")
        if config.optim.name != "adamw" or config.optim.offload:
            lines.append("FSDP2 refuses optim.name and optim.offload: such a run does not begin")
    elif gpus.count > 1:
        lines.append(f"engine `{config.engine.name}` uses one of the {gpus.count} GPUs")
    if config.train.epochs is not None:
        lines.append("train.epochs: the number of steps hangs on the data, so there are no hours")
    if duration is None:
        lines.append("the speed of these GPUs is not known, so there are no hours")
        return lines
    return lines + duration.assumptions


# ---- what would make it fit ----------------------------------------------------------------------
def with_words(config: RunConfig, words: Mapping[str, Any]) -> RunConfig:
    """The configuration with some dotted keys changed."""
    return RunConfig.model_validate(nest({**dict(flatten(config.model_dump())), **words}))


def candidates(config: RunConfig, *, alone: bool) -> list[dict[str, Any]]:
    """Settings that need less memory, those that change least first. alone: the run has one device,
    over which nothing is spread."""
    width = config.sampling.max_prompt_tokens + config.sampling.max_tokens
    found: list[dict[str, Any]] = [{"engine.gradient_checkpointing": True}]
    for key in ("wave_tokens", "micro_tokens"):
        size = getattr(config.engine, key) // 2
        while size >= width:
            found.append({f"engine.{key}": size})
            size //= 2
    found.append({"engine.vllm.memory": 0.3})
    if alone:
        found += [
            {"optim.name": "paged_adamw8bit"},
            {"optim.name": "adamw", "optim.offload": True},
            {"engine.lora.rank": 32, "optim.offload": False, "optim.name": "adamw"},
        ]
    return found


def advice(config: RunConfig, gpus: Gpus, **how: Any) -> list[str]:
    """`key=value` words that make a run fit, as few as do; a sentence where none do."""
    found = look(config, gpus, **how)
    if found.fits:
        return []
    peak, options = found.peak, candidates(config, alone=found.devices == 1)
    chosen: dict[str, Any] = {}
    # twice: what limited the first time hides what limits next
    for words in [*options, *options]:
        tried = {**chosen, **words}
        found = look(with_words(config, tried), gpus, **how)
        if found.peak < peak:
            chosen, peak = tried, found.peak
        if found.fits:
            return _fewest(config, gpus, tried, how)
    return [_beyond(config, gpus, chosen, how)]


def _fewest(
    config: RunConfig, gpus: Gpus, words: dict[str, Any], how: Mapping[str, Any]
) -> list[str]:
    """Without those that turned out not to be needed."""
    before = dict(flatten(config.model_dump()))
    needed = {key: value for key, value in words.items() if before.get(key) != value}
    for key in list(needed):
        fewer = {k: v for k, v in needed.items() if k != key}
        if look(with_words(config, fewer), gpus, **how).fits:
            needed = fewer
    return [f"{key}={_word(value)}" for key, value in needed.items()]


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _beyond(config: RunConfig, gpus: Gpus, chosen: dict[str, Any], how: Mapping[str, Any]) -> str:
    """How many GPUs would do, where no setting does."""
    for count in (2, 4, 8, 16, 32, 64):
        more = Gpus(count * gpus.count, gpus.name, gpus.memory, gpus.speed)
        spread = with_words(config, {**chosen, "engine.name": "trl"})
        plain = {"optim.offload": False, "optim.name": "adamw", "engine.lora.rank": 0}
        if look(with_words(spread, plain), more, **how).fits:
            return f"no setting makes it fit; engine.name=trl on {more} does"
    return "no setting makes it fit; take GPUs with more memory, or lower sampling.max_tokens"
