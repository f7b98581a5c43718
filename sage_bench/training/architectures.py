"""Sizes of models, from a table or a config.json: what memory and time are planned from.

The numbers of the three models of the SAGE paper stand here, so that a plan needs neither the Hub
nor their weights. Source: config.json of each repository on the Hub, as its model card and
technical report give them (Llama 3.2: meta-llama/Llama-3.2-3B-Instruct; Qwen2.5 technical report,
arXiv 2412.15115, table 1; Qwen3 technical report, arXiv 2505.09388, table 1). A test builds each
with transformers and counts its parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sage_bench.generation.model_folders import model_path
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import read_json

FAMILIES = ("llama", "qwen2", "qwen3")


@dataclass(frozen=True, slots=True)
class Architecture:
    """A decoder of the Llama family by its sizes.

    family: `model_type` of transformers. tied: the LM head is the embedding. bias: of the query,
    key and value projections. qk_norm: queries and keys are normalised head by head.
    """

    family: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool
    context: int
    bias: bool = False
    qk_norm: bool = False

    @property
    def queries(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Width of all key heads together; that of the values is the same."""
        return self.kv_heads * self.head_dim

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) of the linear layers of one decoder layer, by their names."""
        return {
            "q_proj": (self.hidden, self.queries),
            "k_proj": (self.hidden, self.keys),
            "v_proj": (self.hidden, self.keys),
            "o_proj": (self.queries, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def layer_parameters(self) -> int:
        """Parameters of one decoder layer."""
        count = sum(inputs * outputs for inputs, outputs in self.linears.values())
        count += 2 * self.hidden
        if self.bias:
            count += self.queries + 2 * self.keys
        if self.qk_norm:
            count += 2 * self.head_dim
        return count

    @property
    def embedding(self) -> int:
        """Parameters of the embedding, or of the LM head: the largest tensors there are."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All of them.

        >>> ARCHITECTURES["meta-llama/Llama-3.2-3B-Instruct"].parameters
        3212749824
        """
        tables = 1 if self.tied else 2
        return tables * self.embedding + self.layers * self.layer_parameters + self.hidden

    def adapter_parameters(self, rank: int, targets: str | list[str]) -> int:
        """Parameters of low-rank adapters of a rank on the named layers (or `all-linear`).

        >>> small = ARCHITECTURES["Qwen/Qwen2.5-7B-Instruct"]
        >>> small.adapter_parameters(8, ["q_proj", "v_proj"]) == 28 * 8 * (3584 * 2 + 3584 + 512)
        True
        """
        chosen = self.linears if targets == "all-linear" else list(targets)
        sizes = [self.linears[name] for name in chosen if name in self.linears]
        return self.layers * rank * sum(inputs + outputs for inputs, outputs in sizes)


ARCHITECTURES = {
    "meta-llama/Llama-3.2-3B-Instruct": Architecture(
        "llama", 28, 3072, 24, 8, 128, 8192, 128256, tied=True, context=131072
    ),
    "Qwen/Qwen2.5-7B-Instruct": Architecture(
        "qwen2", 28, 3584, 28, 4, 128, 18944, 152064, tied=False, context=32768, bias=True
    ),
    "Qwen/Qwen2.5-14B-Instruct": Architecture(
        "qwen2", 48, 5120, 40, 8, 128, 13824, 152064, tied=False, context=32768, bias=True
    ),
    "Qwen/Qwen3-4B-Instruct-2507": Architecture(
        "qwen3", 36, 2560, 32, 8, 128, 9728, 151936, tied=True, context=262144, qk_norm=True
    ),
}


def architecture_of(path: str) -> Architecture:
    """The sizes of a model folder or of a Hub id of the table. Raises `UsageError` for others."""
    if path in ARCHITECTURES:
        return ARCHITECTURES[path]
    file = Path(model_path(path)) / "config.json"
    if not file.is_file():
        raise UsageError(
            "the sizes of this model are not known here",
            where=path,
            remedy="give a folder with its config.json (weights are not needed), or one of "
            + ", ".join(ARCHITECTURES),
        )
    return from_config(read_json(file), str(file))


def from_config(config: Mapping[str, Any], where: str) -> Architecture:
    """Sizes from the values of a config.json. Raises `UsageError` for a family that is none of
    `FAMILIES`: its memory would be guessed."""
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        raise UsageError(
            f"no plan can be made of the architecture `{family}`",
            where=where,
            remedy=f"plans know {', '.join(FAMILIES)}",
        )
    heads = config["num_attention_heads"]
    return Architecture(
        family=family,
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        intermediate=config["intermediate_size"],
        vocabulary=config["vocab_size"],
        tied=bool(config.get("tie_word_embeddings", False)),
        context=config.get("max_position_embeddings", 2048),
        bias=family == "qwen2",
        qk_norm=family == "qwen3",
    )
