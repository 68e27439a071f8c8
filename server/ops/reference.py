"""The native operations in plain PyTorch, for any dtype and device: the reference that tests compare with."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.ops.streaming_reference import causal_taps as causal_taps
from intone.server.ops.streaming_reference import causal_to_one as causal_to_one
from intone.server.ops.streaming_reference import causal_windows as causal_windows


def snake(x: Tensor, alpha: Tensor) -> Tensor:
    """Periodic activation `x + sin²(αx) / (α + 1e-9)`.

    Args:
        x: `[B, C, T]`.
        alpha: `[C]`.

    Returns:
        `[B, C, T]`.

    From "Neural Networks Fail to Learn Periodic Functions and How to Fix It" (Liu, Hartwig, Ueda 2020), with one α per
    channel and the guard against division by zero of the Descript Audio Codec.
    """
    a = alpha[:, None]  # [C, 1]
    return x + torch.sin(a * x).square() / (a + 1e-9)


def snake_beta(x: Tensor, alpha: Tensor, beta: Tensor, before: int, after: int) -> Tensor:
    """Periodic activation `x + sin²(αx) / (β + 1e-9)`, applied at twice the rate to suppress aliasing.

    Args:
        x: `[B, C, T]`; its first and last sample are repeated beyond the ends, and so are those of the doubled signal.
        alpha, beta: `[C]`.
        before, after: outputs dropped at either end.

    Returns:
        `[B, C, T - before - after]`.

    From BigVGAN (Lee et al. 2023, arXiv 2206.04658), with the anti-aliasing of StyleGAN3 (Karras et al. 2021).
    """
    length, channels = x.shape[2], x.shape[1]
    if channels == 0 or before + after == length:
        return x[:, :, before : length - after]
    taps = anti_alias_filter().to(x)
    kernel = taps.expand(channels, 1, -1)
    side = len(taps) // 2 - 1
    doubled = functional.conv_transpose1d(_extended(x, side, side), 2 * kernel, stride=2, groups=channels)
    cut = 3 * side
    doubled = doubled[:, :, cut : cut + 2 * length]
    activated = doubled + torch.sin(alpha[:, None] * doubled).square() / (beta[:, None] + 1e-9)
    downsampled = functional.conv1d(_extended(activated, side, side + 1), kernel, stride=2, groups=channels)
    return downsampled[:, :, before : length - after]


def add_rms_norm(x: Tensor, delta: Tensor, weight: Tensor, eps: float) -> Tensor:
    """A residual sum and its root mean square norm: `s = x + delta` and `s / √(mean(s²) + eps) · weight`.

    Args:
        x, delta: `[N, H]`.
        weight: `[H]`.

    Returns:
        `[2, N, H]`, sum and norm.

    From "Root Mean Square Layer Normalization" (Zhang, Sennrich 2019).
    """
    total = _wide(x) + _wide(delta)
    return torch.stack((total, functional.rms_norm(total, weight.shape, _wide(weight), eps))).to(x.dtype)


def add_norm(x: Tensor, delta: Tensor, weight: Tensor, bias: Tensor, eps: float, centred: bool) -> Tensor:
    """Add to a residual stream in place, and norm the sum: layer norm, or root mean square norm with a bias.

    Args:
        x: `[N, H]`, float32, changed in place.
        delta: `[N, H]`.
        weight, bias: `[H]`, float32.
        centred: whether the mean is taken away first, as in layer norm (Ba, Kiros, Hinton 2016).

    Returns:
        `[N, H]`, in the dtype of `delta`.
    """
    x.add_(delta)
    if centred:
        normed = functional.layer_norm(x, weight.shape, weight, bias, eps)
    else:
        normed = functional.rms_norm(x, weight.shape, weight, eps) + bias
    return normed.to(delta.dtype)


def silu_mul(x: Tensor) -> Tensor:
    """`SiLU(gate) · up` of rows `[N, 2F]`, gate first: `[N, F]`. From "GLU Variants Improve Transformer" (2020)."""
    gate, up = _wide(x).chunk(2, dim=1)
    return (functional.silu(gate) * up).to(x.dtype)


def rope(x: Tensor, heads: int, cos: Tensor, sin: Tensor, positions: Tensor) -> Tensor:
    """Rotary position embedding of the first `heads` heads of rows.

    Args:
        x: `[N, A, D]`, A at least `heads`; D even.
        cos, sin: `[P, D]`, float32; the first half of a row of `sin` is negated, as in `nn.rope.RopeTable`.
        positions: `[N]`, int64, the row of the tables for each row.

    Returns:
        `[N, heads, D]`.

    From "RoFormer" (Su et al. 2021, arXiv 2104.09864).
    """
    wide = _wide(x[:, :heads])
    first, second = wide.chunk(2, dim=2)
    turned = wide * cos[positions].unsqueeze(1) + torch.cat((second, first), dim=2) * sin[positions].unsqueeze(1)
    return turned.to(x.dtype)


def rope_append(
    x: Tensor,
    heads: int,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
    places: Tensor,
    keys: Tensor,
    values: Tensor,
) -> Tensor:
    """`rope` of queries and keys, and both keys and values stored.

    Args:
        x: `[N, heads + 2 · K, D]`: queries, keys, values.
        heads: of the queries.
        places: `[N]`, int64, the row of `keys` and `values` that each row is stored in. Rows with the same place must
            not be read.
        keys, values: `[places, K, D]`, changed in place.

    Returns:
        `[N, heads + K, D]`, rotated queries and keys.
    """
    kv_heads = keys.shape[1]
    rotated = rope(x, heads + kv_heads, cos, sin, positions)
    keys.index_copy_(0, places, rotated[:, heads:])
    values.index_copy_(0, places, x[:, heads + kv_heads :])
    return rotated


def local_attention(x: Tensor, heads: int, cos: Tensor, sin: Tensor, count: int) -> Tensor:
    """Attention among the rows of short sequences, which all see each other, after `rope` of queries and keys.

    Args:
        x: `[S · count, heads + 2 · K, D]`: queries, keys, values of S sequences of `count` rows, at positions 0, 1, ….
        heads: of the queries; consecutive `heads / K` share a key head (GQA, arXiv 2305.13245).
        cos, sin: `[count or more, D]`, float32, as in `rope`.

    Returns:
        `[S · count, heads · D]`.
    """
    kv_heads = (x.shape[1] - heads) // 2
    wide = _wide(x)
    positions = torch.arange(count, device=x.device).repeat(x.shape[0] // count)
    rotated = rope(wide, heads + kv_heads, cos, sin, positions)
    parts = (rotated[:, :heads], rotated[:, heads:], wide[:, heads + kv_heads :])
    queries, keys, values = (part.unflatten(0, (-1, count)).transpose(1, 2) for part in parts)
    attended = functional.scaled_dot_product_attention(queries, keys, values, enable_gqa=True)
    return attended.transpose(1, 2).reshape(x.shape[0], -1).to(x.dtype)


def append_attention(
    x: Tensor,
    heads: int,
    cos: Tensor | None,
    sin: Tensor | None,
    keys: Tensor,
    values: Tensor,
    tables: Tensor,
    lengths: Tensor,
    page: int,
) -> Tensor:
    """Append a position to each of B sequences whose keys and values are in pages, and attend from it to all of them.

    Args:
        x: `[B, heads + 2 · K, D]`: queries, key, value; D even.
        heads: of the queries; consecutive `heads / K` share a key head (GQA, arXiv 2305.13245).
        cos, sin: `[P, D]`, float32, as in `rope`; None for no rotation.
        keys, values: `[places, K, D]`, changed in place.
        tables: `[B, n]`, int32: position j of row b is at place `tables[b, j // page] · page + j % page`. Rows that
            append at the same place must not be read.
        lengths: `[B]`, int64, positions so far, fewer than n · page.

    Returns:
        `[B, heads · D]`.
    """
    batch, _, size = x.shape
    kv_heads = keys.shape[1]
    at = tables.gather(1, (lengths // page).unsqueeze(1)).squeeze(1).long() * page + lengths % page
    if cos is None or sin is None:
        queries = x[:, :heads]
        keys.index_copy_(0, at, x[:, heads : heads + kv_heads])
        values.index_copy_(0, at, x[:, heads + kv_heads :])
    else:
        queries = rope_append(x, heads, cos, sin, lengths, at, keys, values)[:, :heads]
    if lengths.device.type == "cpu":  # reading the lengths waits for a device
        tables = tables[:, : int(lengths.max()) // page + 1]
    offsets = torch.arange(page, device=keys.device)
    places = (tables.long().unsqueeze(2) * page + offsets).flatten(1)  # [B, n · page]
    visible = torch.arange(places.shape[1], device=keys.device) <= lengths.unsqueeze(1)
    stored_keys, stored_values = (part[places].transpose(1, 2) for part in (keys, values))  # [B, K, n · page, D]
    # Places beyond the length may hold anything, even NaN, which a weight of zero would not remove.
    stored_values = torch.where(visible[:, None, :, None], stored_values, 0)
    grouped = queries.reshape(batch, kv_heads, heads // kv_heads, size)
    mask = visible[:, None, None, :]
    return functional.scaled_dot_product_attention(grouped, stored_keys, stored_values, attn_mask=mask).flatten(1)


def guided_step(x: Tensor, velocity: Tensor, guidance: Tensor, length: Tensor) -> Tensor:
    """A step of the Euler solver, with the guidance and optimised scale of CFG-Zero* (arXiv 2503.18886).

    Args:
        x: `[B, P, D]`, float32.
        velocity: `[2 · B, P, D]`, the conditional ones first.
        guidance, length: `[B]`, float32, weight of the condition and size of the step.

    Returns:
        `[B, P, D]`, float32.
    """
    conditional, plain = _wide(velocity).chunk(2)
    overlap, square = ((part * plain).sum((1, 2), keepdim=True) for part in (conditional, plain))
    plain = plain * (overlap / (square + 1e-8))
    return x - length.view(-1, 1, 1) * (plain + guidance.view(-1, 1, 1) * (conditional - plain))


def draw_codes(
    logits: Tensor,
    slots: Tensor,
    seen: Tensor,
    settings: Tensor,
    counters: Tensor,
    uniforms: Tensor,
    column: Tensor,
    stop_code: int,
    max_top_k: int,
) -> Tensor:
    """Draw the next code of each of B units in slots, as `sample_codes` does, and keep what follows for them.

    Args:
        logits: `[B, V]`, float32.
        slots: `[B]`, int64, rows of the next three; a slot that several rows name must have ended.
        seen: `[slots, V]`, bool, changed in place: the drawn code is seen.
        settings: `[slots, 5]`, as in `sample_codes`.
        counters: `[slots, 6]`, int64, changed in place: last code, codes made, positions, least and greatest number of
            codes (`stop_code` is not drawn before the least), and 1 where the unit has ended.
        uniforms: `[B, C]`, float64 in [0, 1).
        column: `[1]`, int64, which of the C numbers to use.
        max_top_k: 1 to V.

    Returns:
        `[B]`, int64, the code, or -1 where `stop_code` was drawn or the unit had ended.
    """
    code, made, length, fewest, most, ended = counters[slots].unbind(1)
    barred = torch.where(made < fewest, stop_code, -1)
    numbers = uniforms.index_select(1, column)[:, 0]
    drawn = sample_codes(logits, seen[slots], settings[slots], barred, numbers, max_top_k)
    going = ended == 0
    kept = going & (drawn != stop_code)
    seen[slots, drawn] = seen[slots, drawn] | going
    made = made + kept
    over = torch.where(going, (kept.logical_not() | (made >= most)).long(), ended)
    counters[slots] = torch.stack((torch.where(kept, drawn, code), made, length + going, fewest, most, over), 1)
    return torch.where(kept, drawn, -1)


def sample_codes(
    logits: Tensor, seen: Tensor, settings: Tensor, excluded: Tensor, uniforms: Tensor, max_top_k: int
) -> Tensor:
    """Draw a code for each row: repetition penalty, temperature, top-k and top-p in this order, then the draw.

    The cumulative distribution is inverted in the order of codes, not of scores, so that rounding which swaps two codes
    of nearly equal score does not change the draw.

    Args:
        logits: `[B, V]`, float32.
        seen: `[B, V]`, bool, codes that the penalty applies to.
        settings: `[B, 5]`, float32: temperature (over 0), top-k (1 to `max_top_k`), top-p, penalty, and the number of
            codes that top-p always keeps.
        excluded: `[B]`, int64, a code that cannot be drawn; -1 for none.
        uniforms: `[B]`, float64 in [0, 1).
        max_top_k: 1 to V.

    Returns:
        `[B]`, int64.
    """
    temperature, top_k, top_p, penalty, kept = settings.unsqueeze(2).unbind(1)  # [B, 1] each
    scores = torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)
    barred = torch.arange(logits.shape[1], device=logits.device) == excluded.unsqueeze(1)
    best, codes = (scores.masked_fill(barred, -math.inf) / temperature).topk(max_top_k, dim=1)
    ranks = torch.arange(max_top_k, device=logits.device)
    best = best.masked_fill(ranks >= top_k, -math.inf)
    up_to_here = best.softmax(1).flip(1).cumsum(1).flip(1)  # summed from the unlikely end
    best = best.masked_fill((up_to_here <= 1 - top_p) & (ranks >= kept), -math.inf)
    ids, order = codes.sort(dim=1)
    ends = best.gather(1, order).double().softmax(1).cumsum(1)
    rank = (ends <= uniforms.unsqueeze(1) * ends[:, -1:]).sum(1, keepdim=True).clamp_max(max_top_k - 1)
    return ids.gather(1, rank)[:, 0]


def int8_linear(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """`x @ (scale · weight)ᵀ + bias`.

    Args:
        x: `[M, K]`.
        weight: `[N, K]`, int8.
        scale: `[N]`, float32.
        bias: `[N]`, dtype of `x`, or None.

    Returns:
        `[M, N]`.
    """
    wide = _wide(x)
    y = functional.linear(wide, weight.to(wide.dtype)) * scale
    return (y if bias is None else y + bias).to(x.dtype)


def anti_alias_filter() -> Tensor:
    """Taps of the low-pass filter for resampling by two, `[12]`, float64: a Kaiser-windowed sinc of sum 1.

    Cutoff 1/4 and transition 0.3 of the higher rate. The window's beta follows from the attenuation of 51 dB that
    Kaiser's formula gives for 12 taps and this transition.
    """
    taps, cutoff, transition = 12, 0.25, 0.3
    attenuation_db = 2.285 * (taps // 2 - 1) * math.pi * 4 * transition + 7.95
    shape = 0.1102 * (attenuation_db - 8.7)
    window = torch.kaiser_window(taps, periodic=False, beta=shape, dtype=torch.float64)
    time = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    ideal = window * torch.sinc(2 * cutoff * time)
    return ideal / ideal.sum()


def _wide(x: Tensor) -> Tensor:
    """In float32 at least, which results are rounded from once."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _extended(x: Tensor, left: int, right: int) -> Tensor:
    """`x` with its first value repeated `left` times in front, and its last `right` times at the end."""
    return torch.cat((x[:, :, :1].expand(-1, -1, left), x, x[:, :, -1:].expand(-1, -1, right)), 2)
