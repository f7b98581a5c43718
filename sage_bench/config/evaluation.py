"""What an evaluation is made of: one pydantic section a topic.

The sections are filled from the same layers as a training run's (`sage_bench.config.layers`):
defaults < model preset < `--config` files < `SAGE_BENCH_EVAL__SAMPLING__SEED=3` < the command line.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from sage_bench.config.schema import Section


class EvalModel(Section):
    path: str = Field(
        "", description="checkpoint folder, preset, Hub id, a server's name for it, or fake:P"
    )
    revision: str | None = Field(None, description="Hub revision")
    dtype: str = Field("auto", description="auto, float32 or bfloat16")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, ...")
    chat_template: str = Field(
        "auto", description="auto: the tokenizer's own; none: plain text; or a Jinja file"
    )
    template_options: dict[str, Any] = Field(
        default_factory=dict, description="passed to the chat template (enable_thinking, ...)"
    )
    trust_remote_code: bool = Field(
        False, description="run the Python code that a model folder may bring (`auto_map`)"
    )


class EvalSampling(Section):
    """null: as the task files say."""

    n: int | None = Field(None, ge=1, description="samples a question where `tasks` does not say")
    temperature: float | None = Field(None, ge=0, description="instead of the tasks' own")
    top_p: float | None = Field(None, ge=0, le=1, description="instead of the tasks' own")
    max_tokens: int | None = Field(None, ge=1, description="longest completion")
    seed: int = Field(0, description="base of the sampling seeds")
    limit: int | None = Field(None, ge=1, description="first questions of each task only")


class EvalData(Section):
    files: tuple[str, ...] = Field(
        (), description="TASK=FILE instead of the Hub, or folders of files called like the tasks"
    )
    offline: bool = Field(False, description="the cache of this machine and `files` only")
    gated: Literal["skip", "fail"] = Field(
        "skip", description="what to do about data whose terms are not accepted"
    )
    gold_corrections: Literal["on", "off"] = Field(
        "on", description="on: listed corrections apply; off: golds exactly as the source has them"
    )

    accept_other_data: bool = Field(
        False,
        description="evaluate rows that are not those of the benchmark, marked in every table",
    )

    @field_validator("gold_corrections", mode="before")
    @classmethod
    def _yaml_switch(cls, value: Any) -> Any:
        """YAML reads an unquoted on or off as true or false."""
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

    @field_validator("files", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class EvalSampler(Section):
    name: str = Field(
        "auto",
        description="`sage-bench ls samplers`; auto: vllm where it runs on a GPU, else hf",
    )
    threads: int | None = Field(None, ge=1, description="torch threads; null = torch's choice")
    options: dict[str, Any] = Field(
        default_factory=dict, description="of the sampler, e.g. {tensor_parallel: 2}"
    )


class EvalCost(Section):
    """What `--dry-run` reckons with."""

    tokens_per_second: float = Field(2000.0, ge=1, description="what one GPU is taken to generate")
    gpu_price: float | None = Field(None, ge=0, description="price of one GPU hour")


class EvalConfig(Section):
    """An evaluation, resolved."""

    model: EvalModel = Field(default_factory=EvalModel)
    tasks: tuple[str, ...] = Field(
        (), description="tasks and groups with samples a question (tiny:4), or @profiles"
    )
    sampling: EvalSampling = Field(default_factory=EvalSampling)
    data: EvalData = Field(default_factory=EvalData)
    sampler: EvalSampler = Field(default_factory=EvalSampler)
    grader: str | None = Field(
        None, description="for all tasks, instead of the one each of them names"
    )
    label: str | None = Field(
        None, description="method name for the tables; checkpoints of ours know theirs"
    )
    model_name: str | None = Field(
        None, description="what tables call the model; null = what it is or was trained from"
    )
    cost: EvalCost = Field(default_factory=EvalCost)

    @field_validator("tasks", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value
