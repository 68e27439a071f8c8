"""Scaled dot-product attention with grouped queries (GQA, arXiv 2305.13245)."""

import torch
from torch import Tensor
from torch.nn import functional


def attend(queries: Tensor, keys: Tensor, values: Tensor, *, causal: bool, visible: Tensor | None = None) -> Tensor:
    """Attention over whole sequences.

    `queries` `[B, T, heads, D]`, `keys` and `values` `[B, S, kv_heads, D]`, result `[B, T, heads · D]`. Consecutive
    query heads share a key head. With `causal`, the T queries are at the last of the S positions.
    `visible` `[S]`, bool, hides the other positions; not with `causal`.
    """
    count, before = queries.shape[1], keys.shape[1] - queries.shape[1]
    mask = None if visible is None else visible.expand(count, -1)
    if causal and before > 0:
        mask = torch.ones(count, before + count, dtype=torch.bool, device=queries.device).tril(before)
    attn_out = functional.scaled_dot_product_attention(
        queries.transpose(1, 2),
        keys.transpose(1, 2),
        values.transpose(1, 2),
        attn_mask=mask,
        is_causal=causal and mask is None,
        enable_gqa=True,
    )
    return attn_out.transpose(1, 2).flatten(2)


def attend_one(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of one position over S others: `[heads, D]` and twice `[kv_heads, S, D]` → `[heads · D]`."""
    kv_heads, _, size = keys.shape
    # Heads that share a key head are passed as positions of one sequence, which avoids a copy of the keys.
    grouped = query.reshape(1, kv_heads, -1, size)
    return functional.scaled_dot_product_attention(grouped, keys.unsqueeze(0), values.unsqueeze(0)).flatten()
