"""Scaled dot-product attention where query heads share key heads. Knows nothing of layers, caches or positions.

Grouped-query attention: arXiv 2305.13245.
"""

import torch
from torch import Tensor
from torch.nn import functional


def attend(queries: Tensor, keys: Tensor, values: Tensor, *, causal: bool) -> Tensor:
    """Attention over whole sequences.

    `queries` `[B, T, heads, D]`, `keys` and `values` `[B, S, kv_heads, D]`, result `[B, T, heads · D]`. Consecutive
    query heads share a key head. With `causal`, the T positions are the last of the S; each sees those up to itself.
    """
    count, before = queries.shape[1], keys.shape[1] - queries.shape[1]
    seen = None
    if causal and before > 0:
        seen = torch.ones(count, before + count, dtype=torch.bool, device=queries.device).tril(before)
    mixed = functional.scaled_dot_product_attention(
        queries.transpose(1, 2),
        keys.transpose(1, 2),
        values.transpose(1, 2),
        attn_mask=seen,
        is_causal=causal and seen is None,
        enable_gqa=True,
    )
    return mixed.transpose(1, 2).flatten(2)


def attend_one(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of one position over S others: `[heads, D]` and twice `[kv_heads, S, D]` → `[heads · D]`."""
    kv_heads, _, size = keys.shape
    # The heads that share a key head stand in for the positions of a sequence: no copy of the keys is needed.
    grouped = query.reshape(1, kv_heads, -1, size)
    return functional.scaled_dot_product_attention(grouped, keys.unsqueeze(0), values.unsqueeze(0)).flatten()
