"""Memory of a training step, from sizes and settings alone: nothing is loaded.

What autograd keeps of a layer is counted tensor by tensor, as the models of transformers compute it
(`layer_activations`); tests compare with what it keeps, and with the peak memory of real steps on a
CPU. All sizes are bytes unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sage_bench.engines.local.optim import PART
from sage_bench.generation.local.forward import HEAD_LOGITS, KEPT_LOGITS
from sage_bench.generation.local.head import AT_ONCE_ELSEWHERE, LEAST_ROWS
from sage_bench.generation.local.prefill import FORWARD_TOKENS
from sage_bench.training.architectures import Architecture

GIB = 1 << 30
# copies of the logits of one chunk that exist together in the backward of the LM head: the logits,
# the gradient of the gathered ones, and three of the log-sum-exp (difference, exponential, product)
LOGIT_COPIES = 5
# where logits are made again in the backward, their gradient takes their place; in the forward
# there are the logits and their exponentials
LOGIT_COPIES_MADE_AGAIN = 2
# bytes a logit takes while a token is drawn: float32 logits and probabilities, and where top-p puts
# all in order, the ordered ones, their tokens (int64), their sums, and the sums before each
DRAW_BYTES = 28
# a cache that grows takes up to half again as much as it holds
CACHE_GROWTH = 1.5
# of the moments of AdamW: float32, or 8 bits and a scale for 256 of them
MOMENTS = {"adamw": 8.0, "adamw8bit": 2 + 8 / 256, "paged_adamw8bit": 2 + 8 / 256}


@dataclass(frozen=True, slots=True)
class Batch:
    """What one forward of the learner runs. prompts: distinct ones; rows: completions."""

    prompts: int
    prompt_tokens: int
    rows: int
    completion_tokens: int

    @property
    def width(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Settings:
    """What of a configuration decides the memory.

    number: bytes of a number of the weights (2 or 4). master: bytes of the optimiser's own copy of
    a learning weight; 0 where it works on the weights. shards: devices the weights, gradients and
    optimiser state are spread over. rank: of adapters, 0 where all weights learn. head_logits: how
    many the local engine makes at once.
    """

    number: int = 2
    master: int = 4
    optimizer: str = "adamw"
    offload: bool = False
    shards: int = 1
    float32: bool = False
    rank: int = 0
    targets: str | list[str] = "all-linear"
    prompt_once: bool = False
    checkpointing: bool = True
    accumulates: bool = True
    head_logits: int = AT_ONCE_ELSEWHERE


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by part, and which parts exist together. host: in the memory of the machine.

    parts: the largest a part becomes. phases: sum of what exists in each phase.
    """

    parts: dict[str, float]
    phases: dict[str, float]
    host: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def peak(self) -> float:
        return max(self.phases.values())


# ---- activations ---------------------------------------------------------------------------------
def norm_bytes(width: int, settings: Settings, heads: int = 1) -> float:
    """What an RMS norm over `width` keeps of a token: its input in float32, the factor, and, where
    its weight learns, the normalised input."""
    learned = 0 if settings.rank else settings.number
    return 4 * width + 4 * heads + learned * width


def layer_activations(arch: Architecture, batch: Batch, settings: Settings) -> float:
    """Bytes autograd keeps of one decoder layer for the backward."""
    if not settings.prompt_once:
        return _layer(arch, batch.rows, batch.width, batch.width, settings)
    prompts = _layer(arch, batch.prompts, batch.prompt_tokens, batch.prompt_tokens, settings)
    # the completions see the prompt's keys and values, repeated for each of them
    return prompts + _layer(arch, batch.rows, batch.completion_tokens, batch.width, settings)


def _layer(arch: Architecture, rows: int, tokens: int, seen: int, settings: Settings) -> float:
    """rows sequences of `tokens` new positions that attend to `seen` positions."""
    number = settings.number
    a_token = 2 * norm_bytes(arch.hidden, settings)
    if arch.qk_norm:
        a_token += norm_bytes(arch.queries, settings, arch.heads)
        a_token += norm_bytes(arch.keys, settings, arch.kv_heads)
    # queries, attention output, its log-sum-exp; gate, its activation, up
    a_token += 2 * number * arch.queries + 4 * arch.heads + 3 * number * arch.intermediate
    a_token += _linear_inputs(arch, settings)
    # keys and values are repeated to the query heads, and the mask becomes numbers
    a_row = seen * 2 * number * arch.queries + tokens * seen * number
    return rows * (tokens * a_token + a_row)


def _linear_inputs(arch: Architecture, settings: Settings) -> float:
    """Inputs of linear layers that nothing else keeps, a token."""
    if not settings.rank:
        return settings.number * (2 * arch.hidden + arch.intermediate)
    chosen = arch.linears if settings.targets == "all-linear" else list(settings.targets)
    own = [name for name in chosen if name in arch.linears]
    kept = 4.0 * settings.rank * len(own)
    if settings.number < 4:
        # each adapter casts its own input to float32
        return kept + sum(4 * arch.linears[name][0] for name in own)
    attention = {"q_proj", "k_proj", "v_proj"} & set(own)
    widened = {"gate_proj", "up_proj"} & set(own)
    kept += 4 * arch.hidden * (bool(attention) + bool(widened))
    return kept + 4 * arch.intermediate * ("down_proj" in own)


def tokens_of(batch: Batch, settings: Settings) -> int:
    """Positions a layer computes."""
    if settings.prompt_once:
        return batch.prompts * batch.prompt_tokens + batch.rows * batch.completion_tokens
    return batch.rows * batch.width


def activations(arch: Architecture, batch: Batch, settings: Settings) -> tuple[float, float]:
    """(what all layers keep when the LM head begins, the most that exists while a layer is in its
    backward)."""
    tokens, number = tokens_of(batch, settings), settings.number
    states = tokens * number * arch.hidden
    ends = states + tokens * (norm_bytes(arch.hidden, settings) + number * arch.hidden)
    a_layer = layer_activations(arch, batch, settings)
    # gradients of the layer's widest tensors: product, gate and up, and the residual twice
    moving = tokens * number * (3 * arch.intermediate + 2 * arch.hidden)
    if settings.checkpointing:
        kept = arch.layers * states + ends
        return kept, kept + a_layer + moving
    kept = arch.layers * a_layer + ends
    return kept, kept + moving


def logits(arch: Architecture, batch: Batch, settings: Settings) -> float:
    """The LM head at work on one chunk of completion tokens: logits in float32 and their
    gradients; the head's weight in float32 where it is narrower, and its gradient."""
    tokens, copies = batch.rows * batch.completion_tokens, LOGIT_COPIES
    rows = max(1, HEAD_LOGITS // arch.vocabulary)
    # engine `trl` has TRL's head
    if not settings.float32 and tokens * arch.vocabulary > KEPT_LOGITS:
        rows = max(LEAST_ROWS, settings.head_logits // arch.vocabulary)
        copies = LOGIT_COPIES_MADE_AGAIN
    size = copies * 4.0 * min(tokens, rows) * arch.vocabulary
    if settings.number < 4:
        size += 4 * arch.embedding
    learns = not settings.rank
    if learns and (settings.number < 4 or settings.accumulates):
        size += 4 * arch.embedding
    return size


# ---- weights and optimiser -----------------------------------------------------------------------
def learning_parameters(arch: Architecture, settings: Settings) -> int:
    if settings.rank:
        return arch.adapter_parameters(settings.rank, settings.targets)
    return arch.parameters


def held(settings: Settings) -> int:
    """Bytes of a number of the model's own weights as they lie on the devices."""
    wide = (settings.float32 or settings.shards > 1) and not settings.rank
    return 4 if wide else settings.number


def weights(arch: Architecture, settings: Settings) -> float:
    size = held(settings) * arch.parameters / settings.shards
    if settings.rank:
        size += 4 * learning_parameters(arch, settings) / settings.shards
    return size


def gradients(arch: Architecture, settings: Settings) -> float:
    """Of what learns; those of adapters are float32."""
    own = 4 if settings.rank else held(settings)
    return own * learning_parameters(arch, settings) / settings.shards


def optimizer(arch: Architecture, settings: Settings) -> float:
    """Masters and moments."""
    master = 0 if settings.rank and not settings.offload else settings.master
    a_parameter = master + MOMENTS[settings.optimizer]
    return a_parameter * learning_parameters(arch, settings) / settings.shards


def optimizer_part(arch: Architecture, settings: Settings) -> float:
    """What the optimiser needs besides its state while it works on one part of the parameters: the
    root of the second moments, and gradients in float32 where there is a master copy."""
    learning = learning_parameters(arch, settings)
    largest = max(PART, arch.embedding) if not settings.rank else PART
    part = min(learning, largest)
    wide = settings.master > 0 and not settings.rank
    return 4.0 * part * (2 if wide else 1) / settings.shards


# ---- sampling ------------------------------------------------------------------------------------
def cache_bytes(arch: Architecture, number: int) -> int:
    """Keys and values of one token in all layers."""
    return 2 * arch.layers * arch.keys * number


def drawing(arch: Architecture, rows: int, prompts: int, prompt_tokens: int, number: int) -> float:
    """Prefill and the logits of one token of every row, whichever is more."""
    tokens = min(FORWARD_TOKENS, prompts * prompt_tokens)
    prefill = tokens * number * (3 * arch.intermediate + 4 * arch.hidden + 2 * arch.queries)
    prefill += tokens * prompt_tokens * number
    head = 4 * arch.embedding if number < 4 else 0
    return max(prefill, rows * arch.vocabulary * DRAW_BYTES + head)


# ---- together ------------------------------------------------------------------------------------
def train_step(arch: Architecture, batch: Batch, settings: Settings) -> Memory:
    """Memory of an optimiser step of the learner, without the sampler."""
    fixed = weights(arch, settings)
    state = optimizer(arch, settings)
    grads = gradients(arch, settings)
    kept, in_layers = activations(arch, batch, settings)
    head = logits(arch, batch, settings)
    part = optimizer_part(arch, settings)
    # FSDP: two layers are whole at a time, in the number type that computes, and the largest table
    whole = 0.0
    if settings.shards > 1:
        whole = settings.number * (2 * arch.layer_parameters + arch.embedding)
    on_device = 0.0 if settings.offload else state
    parts = {
        "weights": fixed + whole,
        "gradients": grads,
        "optimizer": on_device + (0.0 if settings.offload else part),
        "activations": in_layers,
        "logits": head,
    }
    steady = fixed + whole + grads + on_device
    phases = {
        "learning": steady + max(kept + head, in_layers),
        "optimizer": fixed + grads + on_device + (0.0 if settings.offload else part),
    }
    host = state + part if settings.offload else 0.0
    return Memory(parts, phases, host)
