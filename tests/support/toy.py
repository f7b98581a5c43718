"""The linear causal toy of the recorded OAR values: logits_l = W sum_{s <= l} c_s e_s, called as a
policy is."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Layer:
    """Weighted embeddings (R, 1, P, H) of what was read."""

    def __init__(self, read: Tensor):
        self.keys = self.values = read


class Cache:
    def __init__(self) -> None:
        self.layers: list[Layer] = []


class Embeddings(nn.Module):
    def __init__(self, table: Tensor):
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(table, freeze=False)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embedding


class ToyPolicy:
    """table: (ids, H) embeddings; weights: (positions,) c; head: (V, H) W. Has the calls of
    `Policy` that saliency uses."""

    def __init__(self, table: Tensor, weights: Tensor, head: Tensor):
        self.model, self.weights, self.head = Embeddings(table), weights, head
        self.device, self.dtype, self.pad_id = table.device, table.dtype, 0

    def new_cache(self) -> Cache:
        return Cache()

    def hidden(
        self,
        input_ids: Tensor | None,
        *,
        embeddings: Tensor | None = None,
        attention_mask: Tensor,
        position_ids: Tensor,
        cache: Cache | None = None,
    ) -> Tensor:
        e = self.model.embedding(input_ids) if embeddings is None else embeddings
        valid = attention_mask[:, -e.shape[1] :, None].to(e)
        read = (valid * self.weights[position_ids.clamp(max=len(self.weights) - 1)][..., None] * e)[
            :, None
        ]
        if cache is not None:
            if cache.layers:
                read = torch.cat([cache.layers[0].keys, read], 2)
            cache.layers = [Layer(read)]
        return read[:, 0].cumsum(1)[:, -e.shape[1] :]

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden @ self.head.T
