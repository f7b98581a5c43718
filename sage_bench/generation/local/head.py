"""The LM head on hidden states of which only one token's probability is wanted: no logits are kept.

Logits are made a few rows at a time, used while they lie in the processor's cache, and made again
in the backward, where their gradient takes their place. Autograd would keep them all and their
gradient besides: for 8,192 tokens of a vocabulary of 8,000 a gibibyte, filled and read several
times.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

# logits made at once: what a processor's cache holds; on a GPU enough for its largest products
AT_ONCE = {"cpu": 1 << 21}
AT_ONCE_ELSEWHERE = 1 << 26
LEAST_ROWS = 64  # with fewer rows a product reads the head's weights too often


def is_plain(head: nn.Module) -> bool:
    """Whether the head is a matrix that lies here whole: no adapters, no shards, no hooks that
    bring its weights when it is called."""
    if type(head) is not nn.Linear or type(head.weight) is not nn.Parameter:
        return False
    hooked = head._forward_hooks or head._forward_pre_hooks or head._backward_hooks
    return not hooked and head.weight.shape == (head.out_features, head.in_features)


def plain_scores(
    head: nn.Linear, hidden: Tensor, target: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """(logp (N,), entropy (N,)) of target tokens (N,) from hidden states (N, H), float32 or wider.

    temperature divides the logits. Gradients flow through logp to hidden states and head, none
    through the entropy.

    >>> head = nn.Linear(2, 3, bias=False)
    >>> _ = head.weight.data.zero_()
    >>> logp, entropy = plain_scores(head, torch.ones(1, 2), torch.tensor([2]), 1.0)
    >>> bool(torch.allclose(logp.exp(), torch.tensor(1 / 3))), round(entropy.exp().item(), 4)
    (True, 3.0)
    """
    logits = AT_ONCE.get(hidden.device.type, AT_ONCE_ELSEWHERE)
    rows = max(LEAST_ROWS, logits // head.out_features)
    scores: tuple[Tensor, Tensor] = _Scores.apply(  # type: ignore[no-untyped-call]  # torch's
        hidden, head.weight, head.bias, target, temperature, rows
    )
    return scores


class _Scores(torch.autograd.Function):
    """`plain_scores`, `rows` rows at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        temperature: float,
        rows: int,
    ) -> tuple[Tensor, Tensor]:
        found = []
        wide, wide_bias = _wide(weight), _wide(bias)
        for here in _slices(len(hidden), rows):
            logits = _logits(_wide(hidden[here]), wide, wide_bias, temperature)
            chosen = logits.gather(-1, target[here, None])[:, 0]
            top = logits.amax(-1, keepdim=True)
            shares = (logits - top).exp_()
            total = shares.sum(-1)
            norm = top[:, 0] + total.log()
            entropy = norm - shares.mul_(logits).sum(-1) / total
            found.append(torch.stack([chosen - norm, entropy, norm]))
        logp, entropy, norm = torch.cat(found, 1)
        ctx.save_for_backward(hidden, weight, bias, target, norm)
        ctx.temperature, ctx.rows = temperature, rows
        ctx.mark_non_differentiable(entropy)
        return logp, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """slope: (N,), of the loss with respect to logp."""
        hidden, weight, bias, target, norm = ctx.saved_tensors
        wide, wide_bias = _wide(weight), _wide(bias)
        to_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        to_weight = torch.zeros_like(wide) if ctx.needs_input_grad[1] else None
        to_bias = torch.zeros_like(wide_bias) if ctx.needs_input_grad[2] else None
        for here in _slices(len(hidden), ctx.rows):
            h = _wide(hidden[here])
            own = slope[here, None] / ctx.temperature
            # d logp / d logits: one at the token, less the probabilities
            grad = _logits(h, wide, wide_bias, ctx.temperature)
            grad.sub_(norm[here, None]).exp_().mul_(-own)
            grad.scatter_add_(-1, target[here, None], own.to(grad.dtype))
            if to_hidden is not None:
                to_hidden[here] = (grad @ wide).to(hidden.dtype)
            if to_weight is not None:
                to_weight.addmm_(grad.T, h)
            if to_bias is not None:
                to_bias += grad.sum(0)
        return (
            to_hidden,
            None if to_weight is None else to_weight.to(weight.dtype),
            None if to_bias is None else to_bias.to(bias.dtype),
            None,
            None,
            None,
        )


def _slices(count: int, rows: int) -> Iterator[slice]:
    """So many rows at a time."""
    return (slice(at, at + rows) for at in range(0, count, rows))


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float) -> Tensor:
    logits = functional.linear(hidden, weight, bias)
    return logits if temperature == 1.0 else logits.div_(temperature)


def _wide(x: Any) -> Any:
    """float32 where it is narrower; None stays None."""
    return x if x is None or x.dtype == torch.float64 else x.float()
