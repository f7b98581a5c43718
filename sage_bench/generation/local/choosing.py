"""Choosing a token from logits: temperature, top-p, the inverse of the distribution function."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 128  # tokens whose probabilities are summed together
BLOCKS_FROM = 4096  # the smallest vocabulary that is summed by blocks
HEADS = (64, 1024)  # top-p sorts so many most probable tokens before it sorts the whole vocabulary


def choose(logits: Tensor, temperature: float, top_p: float, u: Tensor) -> tuple[Tensor, Tensor]:
    """Pick one token a row by inverting the distribution function at u.

    logits: (R, V) float32; u: (R,) in [0, 1). Returns (tokens (R,), log-probability (R,) at this
    temperature, before top-p). Temperature 0 is the argmax, its log-probability taken at
    temperature 1.

    >>> logits = torch.tensor([[0.0, 0.0, -30.0]])
    >>> [choose(logits, 1.0, 1.0, torch.tensor([u]))[0].item() for u in (0.4, 0.6)]
    [0, 1]
    """
    scaled = logits if temperature in (0, 1) else logits / temperature
    if temperature == 0 or logits.shape[-1] < BLOCKS_FROM:
        logp = scaled.log_softmax(-1)
        tokens = logp.argmax(-1) if temperature == 0 else drawn(logp.exp(), 1.0, top_p, u)
        return tokens, logp.gather(-1, tokens[:, None])[:, 0]
    # of a large vocabulary one copy is made, not four: new memory costs more than the arithmetic
    top = scaled.amax(-1, keepdim=True)
    p = (logits - top if scaled is logits else scaled.sub_(top)).exp_()
    total = p.sum(-1, keepdim=True)
    tokens = drawn(p, total, top_p, u)
    return tokens, (p.gather(-1, tokens[:, None]) / total).log()[:, 0]


def drawn(p: Tensor, total: Tensor | float, top_p: float, u: Tensor) -> Tensor:
    """Tokens (R,) from probabilities p (R, V) that sum to total (R, 1)."""
    if top_p >= 1:
        return inverse(p, u.to(p.device))[:, 0]
    p, order = nucleus(p, top_p * total)
    return order.gather(-1, inverse(p, u.to(p.device)))[:, 0]


def inverse(p: Tensor, u: Tensor) -> Tensor:
    """The inverse distribution function: the first token at which the sum of p (R, V) passes u (R,)
    in [0, 1), float64. Returns (R, 1) int64.

    Sums are float64. Over a large vocabulary whole blocks are summed first, and single tokens only
    in the block where u falls.

    >>> inverse(torch.tensor([[0.25, 0.5, 0.25]]), torch.tensor([0.3], dtype=torch.float64)).item()
    1
    """
    last = p.shape[-1] - 1
    if last < BLOCKS_FROM:
        cdf = p.double().cumsum(-1)
        return torch.searchsorted(cdf, (u * cdf[:, -1])[:, None], right=True).clamp(max=last)
    whole = p.shape[-1] // BLOCK * BLOCK
    sums = p[:, :whole].view(len(p), -1, BLOCK).sum(-1, dtype=torch.float64)
    if whole <= last:
        sums = torch.cat([sums, p[:, whole:].sum(-1, keepdim=True, dtype=torch.float64)], -1)
    cdf = sums.cumsum(-1)
    at = (u * cdf[:, -1])[:, None]
    block = torch.searchsorted(cdf, at, right=True).clamp(max=sums.shape[-1] - 1)
    before = cdf.gather(-1, block) - sums.gather(-1, block)
    tokens = block * BLOCK + torch.arange(BLOCK, device=p.device)
    inside = p.gather(-1, tokens.clamp(max=last)).double().cumsum(-1)
    step = torch.searchsorted(inside, at - before, right=True).clamp(max=BLOCK - 1)
    return (block * BLOCK + step).clamp(max=last)


def nucleus(p: Tensor, top_p: Tensor | float) -> tuple[Tensor, Tensor]:
    """The smallest set of tokens whose probability reaches top_p (Holtzman et al. 2020).

    p: (R, V). top_p: one number, or (R, 1). Returns (their probabilities in descending order, zeros
    behind them; their tokens), (R, K) both. Only the head of the vocabulary is put in order, where
    it holds the set.

    >>> [x.tolist() for x in nucleus(torch.tensor([[0.125, 0.5, 0.125, 0.25]]), 0.7)]
    [[[0.5, 0.25, 0.0, 0.0]], [[1, 3, 0, 2]]]
    """
    for size in HEADS:
        if p.shape[-1] <= 2 * size:
            break
        head, order = p.topk(size, dim=-1)
        before = head.cumsum(-1) - head
        if bool((before[:, -1:] + head[:, -1:] >= top_p).all()):
            return head.masked_fill(before >= top_p, 0.0), order
    p, order = p.sort(-1, descending=True)
    return p.masked_fill(p.cumsum(-1) - p >= top_p, 0.0), order
