"""What a training run is made of: one pydantic section a topic.

Defaults are SAGE's where the paper or its code has one. How sections are filled from presets,
files, the environment and the command line: `sage_bench.config.layers`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sage_bench.methods.objective import Objective


class Section(BaseModel):
    """One topic of a configuration: unknown keys and numbers that are not finite are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelConfig(Section):
    path: str = Field(
        "",
        description="folder or Hub id of the initial policy (`sage-bench ls models` lists presets)",
    )
    revision: str | None = Field(None, description="Hub revision")
    dtype: Literal["auto", "float32", "bfloat16", "float64"] = Field(
        "auto", description="auto: bfloat16 on a GPU, float32 on a CPU"
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, ...")
    template_options: dict[str, Any] = Field(
        default_factory=dict, description="passed to the chat template (enable_thinking, ...)"
    )
    trust_remote_code: bool = Field(
        False, description="run the Python code that a model folder may bring (`auto_map`)"
    )


class DataConfig(Section):
    source: str = Field(
        "", description="registered dataset (`tiny`), or a .jsonl, .parquet or .csv file"
    )
    limit: int | None = Field(None, ge=1, description="use the first rows only")
    columns: dict[str, str] = Field(
        default_factory=dict, description="our name: the file's name, e.g. {question: problem}"
    )


class SamplingConfig(Section):
    """Rollouts (docs/design/sage.md 3.6)."""

    temperature: float = Field(1.0, gt=0, description="of the rollouts")
    top_p: float = Field(1.0, gt=0, le=1, description="of the rollouts")
    max_tokens: int = Field(8192, ge=1, description="longest completion")
    max_prompt_tokens: int = Field(
        2048, ge=1, description="longer prompts are quarantined; longer hinted prompts are not used"
    )
    hint_max_tokens: int = Field(
        8192, ge=1, description="longest text when the policy writes hints"
    )
    max_tokens_first: int | None = Field(
        None,
        ge=1,
        description=(
            "completions longer than this are cut there and continued together, under a seed of"
            " their own; none is dropped. null = drawn at once"
        ),
    )


class OptimConfig(Section):
    """AdamW (docs/design/sage.md 3.5)."""

    name: Literal["adamw", "adamw8bit", "paged_adamw8bit"] = Field(
        "adamw",
        description=(
            "adamw: moments in float32; adamw8bit: in 8 bits (bitsandbytes); paged_adamw8bit: those"
            " move to the host when the GPU is full"
        ),
    )
    offload: bool = Field(
        False, description="master weights and moments live in the memory of the host, not the GPU"
    )
    lr: float = Field(1e-6, gt=0, le=1e30, description="peak learning rate")
    betas: tuple[float, float] = Field((0.9, 0.999), description="AdamW betas")
    eps: float = Field(1e-8, gt=0, description="AdamW eps")
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay")
    grad_clip: float = Field(1.0, gt=0, description="gradients are scaled down to this global norm")
    schedule: Literal["constant", "linear", "cosine"] = Field(
        "constant", description="after warm-up: constant, or down to min_lr_ratio"
    )
    warmup_ratio: float = Field(
        0.0, ge=0, lt=1, description="share of all optimiser steps the rate rises over"
    )
    warmup_steps: int | None = Field(
        None,
        ge=0,
        description="instead of warmup_ratio: optimiser steps the rate rises over",
    )
    min_lr_ratio: float = Field(
        0.0, ge=0, le=1, description="floor of linear and cosine, as a share of lr"
    )
    on_nonfinite: Literal["error", "skip"] = Field(
        "error",
        description=(
            "a loss or gradient that is not finite: stop, or skip the step (recipe) and count it"
        ),
    )


class TrainConfig(Section):
    """Schedule (docs/design/sage.md 3.4, 3.7)."""

    steps: int = Field(500, ge=1, description="rollout batches")
    epochs: float | None = Field(None, gt=0, description="instead of steps: passes over the data")
    prompts_per_step: int = Field(128, ge=1, description="prompts of a rollout batch")
    updates_per_step: int = Field(
        2,
        ge=1,
        description=(
            "optimiser steps a rollout batch is cut into (128 prompts in mini-batches of 64)"
        ),
    )
    seed: int = Field(0, description="order of the data and every sampled token")
    save_every: int = Field(50, ge=1, description="steps between checkpoints")
    keep: int | None = Field(
        None,
        ge=1,
        description=(
            "checkpoints kept; null = all. Optimiser state is kept for the newest two, so that a"
            " damaged newest one can be passed over"
        ),
    )
    accept_change: list[str] = Field(
        default_factory=list,
        description=(
            "go on although this differs from what the run began with: data, prompts, method,"
            " template, tokenizer, weights, version, or a key of the configuration"
        ),
    )
    allow_degraded: bool = Field(
        False, description="train although the data lack columns the method reads"
    )
    max_rounds: int = Field(
        1000, ge=1, description="rounds of requests a problem may take before the run stops"
    )
    stall_minutes: float | None = Field(
        120,
        gt=0,
        description=(
            "longest time method, grader or judge may work between two signs of life before the"
            " run stops; null = no limit"
        ),
    )


class LoraConfig(Section):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): W + alpha / rank * B A."""

    rank: int = Field(0, ge=0, description="rank of the adapters; 0 = train all weights")
    alpha: float = Field(32.0, gt=0, description="the adapters' product counts alpha / rank times")
    targets: str | list[str] = Field(
        "all-linear",
        description=(
            "layers that get an adapter: all-linear (all but the LM head), or names such as"
            " [q_proj, v_proj]"
        ),
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout on what goes into an adapter")


class VllmConfig(Section):
    """vLLM as the sampler of rollouts (`engine.rollouts`)."""

    memory: float = Field(
        0.4, gt=0, le=1, description="share of the GPU's memory a colocated vLLM may use"
    )
    sleep_level: Literal[0, 1, 2] = Field(
        1,
        description=(
            "colocated, on a GPU, while the learner updates: 1 moves vLLM's weights to host memory,"
            " 2 drops them, 0 leaves everything where it is"
        ),
    )
    sync: Literal["adapters", "merged"] = Field(
        "adapters",
        description=(
            "what goes to vLLM after an update where adapters learn: they alone, applied by vLLM,"
            " or all weights with them merged in"
        ),
    )
    max_num_seqs: int = Field(256, ge=1, description="completions decoded together")
    kv_cache_gb: int = Field(1, ge=1, description="KV cache of a colocated vLLM on a CPU")
    options: dict[str, Any] = Field(
        default_factory=dict, description="further keywords of `vllm.LLM` (colocated)"
    )
    url: str = Field("", description="of the server, without /v1: http://localhost:8000")
    transfer: Literal["files", "nccl"] = Field(
        "files",
        description=(
            "how a server gets the weights: files in a folder both sides see, or vLLM's NCCL"
            " between GPUs (not run where this was written)"
        ),
    )
    folder: str | None = Field(
        None, description="where `files` go; null = memory of this machine (/dev/shm)"
    )
    wait_minutes: float = Field(
        10, ge=0, description="how long a server that went away is waited for"
    )


class RecordedConfig(Section):
    """Recorded groups as rollouts (`engine.rollouts=recorded:DIR`)."""

    match: Literal["key", "problem"] = Field(
        "key",
        description=(
            "which draws answer a request: those of the same batch, problem and number (key), or of"
            " the same problem and number in any batch, which lets several epochs train on one pass"
            " of groups (problem)"
        ),
    )
    missing: Literal["error", "live"] = Field(
        "error", description="what the record does not have: stop, or draw it from the policy"
    )
    live: str = Field(
        "local", description="kind of rollouts that draws live: validation, and `missing: live`"
    )
    other_weights: bool = Field(
        False, description="train another policy than the one that drew the groups"
    )


class EngineConfig(Section):
    name: str = Field("local", description="who samples and learns (`sage-bench ls engines`)")
    wave_tokens: int = Field(
        1 << 18,
        ge=256,
        description=(
            "tokens of KV cache: completions decoded together x (prompt + max_tokens); one that"
            " ends leaves its place to the next"
        ),
    )
    cuda_graphs: bool = Field(
        False,
        description="the sampler's rows have fixed places, and a GPU replays a recorded step",
    )
    micro_tokens: int = Field(
        1 << 14,
        ge=16,
        description="padded tokens of one forward of the learner; memory and speed only",
    )
    prompt_once: bool = Field(True, description="rows of a group share the forward of their prompt")
    skip_dead: bool = Field(
        True, description="rows with zero advantage are left out of the forward (same gradient)"
    )
    gradient_checkpointing: bool = Field(
        False, description="less memory, one more forward; switches prompt_once off"
    )
    lora: LoraConfig = Field(default_factory=LoraConfig)
    threads: int | None = Field(None, ge=1, description="torch threads; null = torch's choice")
    rollouts: str = Field(
        "local",
        description=(
            "who draws the completions: our own sampler on the learner's weights (local), vLLM in"
            " the same process (vllm), or a vLLM server (vllm-server); the latter two get the"
            " weights once an update. recorded:DIR takes those that were drawn before"
        ),
    )
    max_logprob_gap: float | None = Field(
        0.1,
        gt=0,
        description=(
            "bound on the mean difference between the log-probabilities (nats a token) of vLLM and"
            " of the learner, after every weight sync; beyond it the run stops. null = none"
        ),
    )
    probe_rows: int = Field(
        8, ge=0, description="completions the difference is taken on; 0 = it is not"
    )
    vllm: VllmConfig = Field(default_factory=VllmConfig)
    recorded: RecordedConfig = Field(default_factory=RecordedConfig)
    rank_minutes: float = Field(
        60,
        gt=0,
        description="several processes: longest wait of one for the others before the run stops",
    )


class ValidationConfig(Section):
    source: str | None = Field(
        None, description="dataset or file on which the un-hinted reward is measured while training"
    )
    every: int = Field(
        10, ge=1, description="steps between measurements (also at step 0 and at the end)"
    )
    samples: int = Field(4, ge=1, description="completions a question")
    limit: int | None = Field(64, ge=1, description="first questions only")


class LogConfig(Section):
    tensorboard: bool = Field(True, description="write tensorboard event files")
    sinks: list[str] = Field(
        default_factory=list,
        description="further sinks, such as wandb or trackio (`sage-bench ls sinks`)",
    )
    project: str = Field("sage-bench", description="project of a run in those sinks")
    kl_rows: int = Field(
        0,
        ge=0,
        description=(
            "rows a step on which KL to the initial policy is measured; keeps a second copy of the"
            " weights"
        ),
    )
    gap_rows: int = Field(
        8,
        ge=0,
        description=(
            "hinted completions a step whose log-probability is also taken without the hint (0 ="
            " off)"
        ),
    )
    completions: int = Field(
        2, ge=0, description="groups a step whose texts are kept in completions.jsonl"
    )
    groups: Literal["none", "all"] = Field(
        "none",
        description=(
            "all: keep every draw of the method in groups/, with tokens and log-probabilities, to"
            " be trained on again (engine.rollouts=recorded:DIR)"
        ),
    )


# a run without --backend
PLAIN = "grpo"


class RunConfig(Section):
    """A training run, resolved."""

    backend: str = Field(PLAIN, description="method (`sage-bench ls backends`)")
    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    sampling: SamplingConfig = Field(default_factory=SamplingConfig)
    method: dict[str, Any] = Field(
        default_factory=dict,
        description="switches of the backend (`sage-bench ls backends --verbose`)",
    )
    objective: Objective = Field(default_factory=Objective)
    optim: OptimConfig = Field(default_factory=OptimConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    engine: EngineConfig = Field(default_factory=EngineConfig)
    validation: ValidationConfig = Field(default_factory=ValidationConfig)
    log: LogConfig = Field(default_factory=LogConfig)
    grader: str = Field(
        "robust",
        description="verifier of the reward (`sage-bench ls graders`); SAGE's own is sage_train",
    )
    prompts: str | None = Field(None, description="YAML file that replaces prompt texts")
