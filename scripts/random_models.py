"""Models of the three architectures with random weights, at any size, and steps on them.

For `plan_check.py` and `gpu_check.py`: no tokenizer, no Hub, no data. Needs torch and transformers;
peft for adapters. pydantic may be missing (`settings_without_pydantic`).
"""

from __future__ import annotations

import importlib.util
import sys
import types
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

EOS = 1


def settings_without_pydantic() -> bool:
    """Where pydantic is not installed, put a stand-in there: settings without checks.

    Our settings are plain values with defaults; a measurement sets them in code, where nothing has
    to be checked. Returns whether the stand-in is used.
    """
    if importlib.util.find_spec("pydantic") is not None:
        return False

    class BaseModel:
        def __init__(self, **values: Any):
            for base in reversed(type(self).__mro__):
                for name in vars(base).get("__annotations__", {}):
                    default = getattr(base, name, None)
                    if isinstance(default, Default):
                        default = default.value()
                    object.__setattr__(self, name, values.pop(name, default))
            if values:
                raise TypeError(f"unknown settings: {sorted(values)}")

        def model_copy(self, *, update: dict[str, Any]) -> Any:
            return type(self)(**{**self.__dict__, **update})

    class Default:
        def __init__(self, default: Any = None, default_factory: Any = None, **_: Any):
            self.value = default_factory or (lambda: default)

    def decorator(*_: Any, **__: Any) -> Any:
        return lambda function: function

    def others(name: str) -> Any:
        """Decorators do nothing; types are empty."""
        if name.startswith("__"):
            raise AttributeError(name)
        if name.endswith(("_validator", "_serializer", "with_config")):
            return decorator
        return type(name, (), {})

    module, core = types.ModuleType("pydantic"), types.ModuleType("pydantic_core")
    schema = types.ModuleType("pydantic_core.core_schema")
    given = {"BaseModel": BaseModel, "Field": Default, "PrivateAttr": Default, "ConfigDict": dict}
    vars(module).update(given, __getattr__=others)
    vars(core).update(core_schema=schema, __getattr__=others)
    sys.modules |= {"pydantic": module, "pydantic_core": core}
    sys.modules["pydantic_core.core_schema"] = schema
    return True


class Tokens:
    """The one thing a policy asks of a tokenizer that nobody writes text with."""

    eos_token_id = EOS
    pad_token_id = 0


@dataclass(frozen=True)
class Case:
    """A step to measure. adapters: their rank, 0 = all weights learn."""

    model: str
    batch: dict[str, int]
    checkpointing: bool = False
    adapters: int = 0
    optimizer: str = "adamw"
    offload: bool = False
    dtype: str = "float32"
    prompt_once: bool = False

    @property
    def label(self) -> str:
        words = ["adapters" if self.adapters else "all weights"]
        words += ["checkpointed"] * self.checkpointing + ["prompt once"] * self.prompt_once
        words += [self.optimizer] * (self.optimizer != "adamw") + ["offload"] * self.offload
        return ", ".join(words)


def build(arch: Any, dtype: Any, device: str = "cpu", seed: int = 0) -> Any:
    """A policy with random weights in the sizes of `sage_bench.training.architectures`."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

    from sage_bench.generation.local.policy import Policy

    kinds = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}
    sizes = dict(
        vocab_size=arch.vocabulary,
        hidden_size=arch.hidden,
        intermediate_size=arch.intermediate,
        num_hidden_layers=arch.layers,
        num_attention_heads=arch.heads,
        num_key_value_heads=arch.kv_heads,
        tie_word_embeddings=arch.tied,
        max_position_embeddings=min(arch.context, 32768),
        eos_token_id=EOS,
        bos_token_id=None,
        pad_token_id=0,
    )
    if arch.family != "qwen2":
        sizes["head_dim"] = arch.head_dim
    torch.manual_seed(seed)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(kinds[arch.family](**sizes), dtype=dtype)
    return Policy(model.eval(), Tokens(), f"random {arch.family}")


def rows(batch: Any, vocabulary: int, seed: int = 0, batches: int = 1) -> list[Any]:
    """Random rows of some batches: groups that share a prompt, every token with an advantage."""
    import torch

    from sage_bench.types import Row

    generator = torch.Generator().manual_seed(seed)

    def tokens(count: int) -> tuple[int, ...]:
        drawn = torch.randint(2, vocabulary, (count,), generator=generator)
        return tuple(drawn.tolist())

    out = []
    for group in range(batch.prompts * batches):
        prompt = tokens(batch.prompt_tokens)
        for _ in range(batch.rows // batch.prompts):
            completion = tokens(batch.completion_tokens)
            advantage = torch.randn(len(completion), generator=generator)
            out.append(Row(prompt, completion, advantage, f"g{group}"))
    return out


def learner(policy: Any, case: Case, seed: int = 0) -> Any:
    """The learner of the local engine, set up for a case, whose batch is one micro-batch."""
    from sage_bench.config.schema import OptimConfig
    from sage_bench.engines.local.learner import Learner
    from sage_bench.generation import adapters

    if case.adapters:
        adapters.add(
            policy.model,
            rank=case.adapters,
            alpha=32.0,
            targets=adapters.ALL,
            dropout=0.0,
            seed=seed,
        )
    if case.checkpointing:
        policy.model.gradient_checkpointing_enable()
    settings = OptimConfig(name=case.optimizer, offload=case.offload, lr=1e-6)
    prompts = case.batch["prompts"]
    completions = case.batch["rows"] * case.batch["completion_tokens"]
    return Learner(
        policy,
        settings,
        micro_tokens=prompts * case.batch["prompt_tokens"] + completions,
        total=10,
        prompt_once=case.prompt_once,
        gradient_checkpointing=case.checkpointing,
    )


def planned(arch: Any, case: Case, on_cpu: bool = False) -> Any:
    """What `sage-bench plan` would say of a case on a GPU, or on a processor."""
    from sage_bench.generation.local import head
    from sage_bench.training.memory import Batch, Settings, train_step

    half = case.dtype == "bfloat16"
    at_once = head.AT_ONCE["cpu"] if on_cpu else head.AT_ONCE_ELSEWHERE
    settings = Settings(
        number=2 if half else 4,
        master=4 if half or case.offload else 0,
        optimizer=case.optimizer,
        offload=case.offload,
        rank=case.adapters,
        prompt_once=case.prompt_once,
        checkpointing=case.checkpointing,
        head_logits=at_once,
    )
    return train_step(arch, Batch(**case.batch), settings)


def small(arch: Any, **sizes: int) -> Any:
    """The same architecture at other sizes."""
    return replace(arch, **sizes)


__all__ = [
    "Case",
    "asdict",
    "build",
    "learner",
    "planned",
    "rows",
    "settings_without_pydantic",
    "small",
]
