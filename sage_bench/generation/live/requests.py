"""A `Sample` as vLLM's sampling parameters, in process or over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sage_bench.types import Sample
from sage_bench.utils.errors import SageBenchError


def sampling_options(unit: Sample, stop_ids: Sequence[int], room: int) -> dict[str, Any]:
    """Fields of a request that decide what is drawn, none left to a model's generation config
    (which may cut or penalise tokens). room: most new tokens.

    >>> from sage_bench.types import Sampling
    >>> unit = Sample((1, 2), 1, Sampling(max_tokens=8), seed=7)
    >>> options = sampling_options(unit, [3], room=5)
    >>> options["max_tokens"], options["seed"], options["top_k"], options["logprobs"]
    (5, 7, -1, 0)
    """
    params = unit.params
    return {
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "max_tokens": min(params.max_tokens, room),
        "seed": unit.seed,
        "stop": list(params.stop) or None,
        "stop_token_ids": list(stop_ids),
        # of the token that was drawn, and of no other
        "logprobs": 0,
    }


def room_of(unit: Sample, context: int | None) -> int:
    """New tokens the context leaves after the prompt. Raises `SageBenchError` where it is none."""
    room = unit.params.max_tokens if context is None else context - len(unit.prompt)
    if room < 1:
        raise SageBenchError(
            f"a prompt of {len(unit.prompt)} tokens leaves no room in the model's context of"
            f" {context}",
            remedy="lower `sampling.max_prompt_tokens`",
        )
    return room
