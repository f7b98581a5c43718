"""One more token of every row: what decoding does most of the time, in three ways.

`WholeModel` asks the model itself, whatever it is; so does `Places`, in tensors of fixed size.
`TokenStep` applies the weights of a known body
directly: half of a processor's time otherwise goes into general masks, an attention kernel made for
many queries and wrappers around every layer. It also keeps the keys and values of a prompt once for
all rows that continue it, so that a group reads them once a token and not once a row. The sums are
the same in another order.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from sage_bench.generation.local.cache import GrowingLayer, drop_rows, padded_left, repeat_rows
from sage_bench.generation.local.places import Places
from sage_bench.generation.local.policy import Policy
from sage_bench.generation.local.prefill import Prefill
from sage_bench.utils.errors import UsageError

# a body is taken apart only where its source is known; a subclass may compute something else
KNOWN = {
    ("transformers.models.llama.modeling_llama", "LlamaModel"),
    ("transformers.models.qwen2.modeling_qwen2", "Qwen2Model"),
    ("transformers.models.qwen3.modeling_qwen3", "Qwen3Model"),
}


class Body(Protocol):
    """R rows that continue their prompts."""

    def hidden(self, tokens: Tensor, position: Tensor) -> Tensor:
        """(R, H) of the last layer after one more token. tokens: (R,); position: (R, 1)."""

    def drop(self, keep: Tensor) -> None:
        """Forget all rows but these, (K,) int64."""

    def join(self, start: Prefill) -> None:
        """Rows that continue other prompts, behind those there are. Only where `dense_masks`."""


def body_of(policy: Policy, start: Prefill, limit: int, fixed: bool = False) -> Body:
    """limit: most tokens a row will have. fixed: rows keep their places, and a GPU records a step
    once. Raises `UsageError` for a model whose keys cannot have places."""
    if fixed:
        if policy.dense_masks:
            return Places(policy, start, limit)
        raise UsageError(
            "this model forgets keys (sliding windows), or its attention takes no mask of ours",
            where="engine.cuda_graphs",
            remedy="set it to false",
        )
    if applies(policy):
        return TokenStep(policy, start)
    return WholeModel(policy, start, limit)


def applies(policy: Policy) -> bool:
    """Whether `TokenStep` computes what this policy does: plain layers of a known body in
    float32 on a processor (no adapters, no quantised weights)."""
    body = policy.model.base_model
    return (
        (type(body).__module__, type(body).__name__) in KNOWN
        and policy.split
        and policy.dense_masks
        and policy.device.type == "cpu"
        and policy.dtype == torch.float32
        and body.config.hidden_act == "silu"
        and all(type(linear) is nn.Linear for layer in body.layers for linear in _linears(layer))
    )


def _linears(layer: Any) -> list[nn.Module]:
    own, mlp = layer.self_attn, layer.mlp
    return [
        *(own.q_proj, own.k_proj, own.v_proj, own.o_proj),
        *(mlp.gate_proj, mlp.up_proj, mlp.down_proj),
    ]


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """(R, 1, 1, T) to add to scores, from a mask (R, T) of ones where attention is allowed."""
    zeros = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return zeros.masked_fill(mask == 0, torch.finfo(dtype).min)[:, None, None]


class WholeModel:
    """The model's own forward over a cache that holds every row's prompt and completion.

    `seen`, (R, T) bool: which positions of the cache are a row's own.
    """

    def __init__(self, policy: Policy, start: Prefill, limit: int):
        self.policy = policy
        self.limit = limit
        self.cache = repeat_rows(start.cache, start.rows)
        self._see(start.mask[start.rows] != 0)

    def _see(self, seen: Tensor) -> None:
        """These positions, and all that are written from now on."""
        self.seen = torch.cat([seen, seen.new_ones(len(seen), self.limit)], 1)
        self.length = seen.shape[1]
        # an additive mask, sliced at every token, is half the time of one derived anew
        dense = self.policy.dense_masks
        self.mask = additive(self.seen, self.policy.dtype) if dense else self.seen.long()

    def hidden(self, tokens: Tensor, position: Tensor) -> Tensor:
        self.length += 1
        states = self.policy.hidden(
            tokens[:, None],
            attention_mask=self.mask[..., : self.length],
            position_ids=position,
            cache=self.cache,
        )
        return states[:, -1]

    def drop(self, keep: Tensor) -> None:
        self.seen = self.seen[keep]
        unused = int(self.seen.any(0).int().argmax()) if self.policy.dense_masks else 0
        drop_rows(self.cache, keep, unused)
        self.seen, self.mask = self.seen[:, unused:], self.mask[keep][..., unused:]
        self.length -= unused

    def join(self, start: Prefill) -> None:
        new = repeat_rows(start.cache, start.rows)
        for layer, theirs in zip(self.cache.layers, new.layers, strict=True):
            layer.join(theirs.keys, theirs.values)
        own, other = self.seen[:, : self.length], start.mask[start.rows] != 0
        width = max(own.shape[1], other.shape[1])
        self._see(torch.cat([functional.pad(x, (width - x.shape[1], 0)) for x in (own, other)]))


class TokenStep:
    """The body of a policy for which `applies` holds.

    P prompts lie in `prompt_keys` and `prompt_values`, a pair a layer, (P, K, width, D) with K
    heads of keys; completions in `own`, (R, K, tokens, D). Row i continues prompt `rows[i]`, is
    number `slot[i]` of its rows and begins in column `begin[i]` of `own`: not in the first where it
    joined later.
    """

    def __init__(self, policy: Policy, start: Prefill):
        self.body = policy.model.base_model
        self.eps: float = self.body.config.rms_norm_eps
        self.prompts = [(layer.keys, layer.values) for layer in start.cache.layers]
        self.mask = additive(start.mask, policy.dtype)
        self.own = [
            GrowingLayer(*(x[:, :, :0].index_select(0, start.rows) for x in pair))
            for pair in self.prompts
        ]
        self._begin(torch.zeros_like(start.rows))
        self._arrange(start.rows)

    def _begin(self, begin: Tensor) -> None:
        self.begin = begin
        columns = torch.arange(int(begin.max()))
        self.before = additive(columns >= begin[:, None], self.mask.dtype)

    def _arrange(self, rows: Tensor) -> None:
        """Number the rows of every prompt, and forget prompts that no row continues."""
        used, rows, counts = torch.unique(rows, return_inverse=True, return_counts=True)
        if len(used) < len(self.mask):
            self.prompts = [
                (keys.index_select(0, used), values.index_select(0, used))
                for keys, values in self.prompts
            ]
            self.mask = self.mask[used]
        order = torch.argsort(rows, stable=True)
        first = counts.cumsum(0) - counts
        self.rows, self.most = rows, int(counts.max())
        self.slot = torch.empty_like(rows)
        self.slot[order] = torch.arange(len(rows)) - first[rows[order]]
        # as a batch begins: as many rows of every prompt, in order; nothing has to be looked up
        in_order = torch.arange(len(used)).repeat_interleave(self.most)
        self.even = torch.equal(rows, in_order)

    def drop(self, keep: Tensor) -> None:
        begin = self.begin[keep]
        unused = int(begin.min())
        for layer in self.own:
            layer.keep(keep, unused)
        self._begin(begin - unused)
        self._arrange(self.rows[keep])

    def join(self, start: Prefill) -> None:
        width = max(self.mask.shape[-1], start.mask.shape[1])
        for i, layer in enumerate(start.cache.layers):
            new = layer.keys, layer.values
            keys, values = (
                torch.cat([padded_left(x, width) for x in pair])
                for pair in zip(self.prompts[i], new, strict=True)
            )
            self.prompts[i] = keys, values
            self.own[i].join(*(x[:, :, :0].index_select(0, start.rows) for x in new))
        rows = len(self.mask) + start.rows
        masks = self.mask, additive(start.mask, self.mask.dtype)
        least = torch.finfo(self.mask.dtype).min
        self.mask = torch.cat(
            [functional.pad(m, (width - m.shape[-1], 0), value=least) for m in masks]
        )
        self._begin(torch.cat([self.begin, torch.full_like(rows, self.own[0].length)]))
        self._arrange(torch.cat([self.rows, rows]))

    def hidden(self, tokens: Tensor, position: Tensor) -> Tensor:
        body = self.body
        x = body.embed_tokens(tokens)
        cos, sin = (part[:, 0, None] for part in body.rotary_emb(x[:, None], position))
        for i, layer in enumerate(body.layers):
            normed = self._norm(x, layer.input_layernorm)
            x = x + self._attention(i, layer.self_attn, normed, cos, sin)
            normed = self._norm(x, layer.post_attention_layernorm)
            mlp = layer.mlp
            wide = functional.silu(mlp.gate_proj(normed), inplace=True).mul_(mlp.up_proj(normed))
            x = x + mlp.down_proj(wide)
        return self._norm(x, body.norm)

    def _norm(self, x: Tensor, layer: Any) -> Tensor:
        return functional.rms_norm(x, x.shape[-1:], layer.weight, self.eps)

    def _attention(self, i: int, layer: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """(R, H) of layer i from x (R, H); cos and sin (R, 1, D)."""
        size = layer.head_dim
        query, key, value = (
            linear(x).view(len(x), -1, size)
            for linear in (layer.q_proj, layer.k_proj, layer.v_proj)
        )
        if hasattr(layer, "q_norm"):
            query, key = self._norm(query, layer.q_norm), self._norm(key, layer.k_norm)
        query, key = rotated(query * layer.scaling, cos, sin), rotated(key, cos, sin)
        # heads that share keys become queries of one product: (R, K, queries, D)
        query = query.view(len(x), key.shape[1], -1, size)
        prompt_keys, prompt_values = self.prompts[i]
        keys, values = self.own[i].update(key[:, :, None], value[:, :, None])
        before = torch.matmul(self._to_prompts(query), prompt_keys.transpose(-1, -2)) + self.mask
        now = torch.matmul(query, keys.transpose(-1, -2))
        if self.before.shape[-1]:
            now[..., : self.before.shape[-1]] += self.before
        share = torch.cat([self._to_rows(before), now], -1).softmax(-1)
        width = prompt_keys.shape[2]
        mixed = self._to_rows(torch.matmul(self._to_prompts(share[..., :width]), prompt_values))
        mixed = mixed + torch.matmul(share[..., width:], values)
        out: Tensor = layer.o_proj(mixed.reshape(len(x), -1))
        return out

    def _to_prompts(self, x: Tensor) -> Tensor:
        """(P, K, rows of a prompt x queries, N) from (R, K, queries, N); zeros where a prompt has
        fewer rows than another."""
        _, heads, queries, n = x.shape
        if self.even:
            grid = x.reshape(len(self.mask), self.most, heads, queries, n)
        else:
            grid = x.new_zeros(len(self.mask), self.most, heads, queries, n)
            grid[self.rows, self.slot] = x
        return grid.transpose(1, 2).reshape(len(grid), heads, -1, n)

    def _to_rows(self, x: Tensor) -> Tensor:
        """`_to_prompts` undone: (R, K, queries, N)."""
        prompts, heads, _, n = x.shape
        grid = x.view(prompts, heads, self.most, -1, n)
        if self.even:
            return grid.transpose(1, 2).reshape(prompts * self.most, heads, -1, n)
        return grid[self.rows, :, self.slot]


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of x (R, heads, D) by halves; cos and sin (R, 1, D).

    >>> quarter = torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[1.0, 1.0]]])
    >>> rotated(torch.tensor([[[3.0, 4.0]]]), *quarter).tolist()
    [[[-4.0, 3.0]]]
    """
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return torch.addcmul(x * cos, turned, sin)
