"""Shape functions of the operations, for tensors without values (`torch.library.register_fake`)."""

from collections.abc import Callable

import torch
from torch import Tensor


def register() -> None:
    """Register them, once."""
    for name, function in _FAKES.items():
        if hasattr(torch.ops.intone, name):  # an extension in a checkout may have been built before it was added
            torch.library.register_fake(f"intone::{name}", function)


def _snake(x: Tensor, alpha: Tensor) -> Tensor:
    _check(x.dim() == 3, f"snake: x has {x.dim()} dimensions, expected 3")
    _check(alpha.shape == x.shape[1:2], f"snake: alpha is {tuple(alpha.shape)}, expected [C] of x")
    _check(alpha.dtype == x.dtype, f"snake: alpha is {alpha.dtype}, expected {x.dtype} as x")
    return torch.empty_like(x)


def _snake_beta(x: Tensor, alpha: Tensor, beta: Tensor, before: int, after: int) -> Tensor:
    _check(x.dim() == 3, f"snake_beta: x has {x.dim()} dimensions, expected 3")
    for name, vector in (("alpha", alpha), ("beta", beta)):
        _check(vector.shape == x.shape[1:2], f"snake_beta: {name} is {tuple(vector.shape)}, expected [C] of x")
        _check(vector.dtype == x.dtype, f"snake_beta: {name} is {vector.dtype}, expected {x.dtype} as x")
    return x.new_empty(x.shape[0], x.shape[1], x.shape[2] - before - after)


def _add_rms_norm(x: Tensor, delta: Tensor, weight: Tensor, eps: float) -> Tensor:
    _check(x.dim() == 2 and delta.shape == x.shape, f"add_rms_norm: x is {tuple(x.shape)}, delta {tuple(delta.shape)}")
    _check(weight.shape == x.shape[1:], f"add_rms_norm: weight is {tuple(weight.shape)}, expected [H] of x")
    return x.new_empty(2, *x.shape)


def _add_norm(x: Tensor, delta: Tensor, weight: Tensor, bias: Tensor, eps: float, centred: bool) -> Tensor:
    _check(x.dim() == 2 and delta.shape == x.shape, f"add_norm: x is {tuple(x.shape)}, delta {tuple(delta.shape)}")
    _check(x.dtype == torch.float32, f"add_norm: x is {x.dtype}, expected float32")
    _check(weight.shape == bias.shape == x.shape[1:], "add_norm: weight and bias are not [H] of x")
    return torch.empty_like(delta)


def _silu_mul(x: Tensor) -> Tensor:
    _check(x.dim() == 2 and x.shape[1] % 2 == 0, f"silu_mul: x is {tuple(x.shape)}, expected [N, 2F]")
    return x.new_empty(x.shape[0], x.shape[1] // 2)


def _rope(x: Tensor, heads: int, cos: Tensor, sin: Tensor, positions: Tensor) -> Tensor:
    _check(x.dim() == 3 and x.shape[1] >= heads, f"rope: x is {tuple(x.shape)}, expected [N, {heads} or more, D]")
    _check(cos.shape == sin.shape and cos.shape[1:] == x.shape[2:], f"rope: cos is {tuple(cos.shape)}, not [P, D]")
    _check(positions.shape == x.shape[:1], f"rope: positions are {tuple(positions.shape)}, expected [N] of x")
    return x.new_empty(x.shape[0], heads, x.shape[2])


def _rope_append(
    x: Tensor, heads: int, cos: Tensor, sin: Tensor, positions: Tensor, places: Tensor, keys: Tensor, values: Tensor
) -> Tensor:
    expected = (x.shape[0], heads + 2 * keys.shape[1], keys.shape[2])
    _check(x.shape == expected, f"rope_append: x is {tuple(x.shape)}, expected {expected}")
    _check(places.shape == x.shape[:1], f"rope_append: places are {tuple(places.shape)}, expected [N] of x")
    _check(values.shape == keys.shape, f"rope_append: values are {tuple(values.shape)}, keys {tuple(keys.shape)}")
    return _rope(x, heads + keys.shape[1], cos, sin, positions)


def _local_attention(x: Tensor, heads: int, cos: Tensor, sin: Tensor, count: int) -> Tensor:
    _check(x.dim() == 3 and x.shape[0] % count == 0, f"local_attention: x is {tuple(x.shape)}, sequences of {count}")
    _check(cos.shape == sin.shape and cos.shape[1:] == x.shape[2:], "local_attention: cos and sin are not [P, D]")
    _check(cos.shape[0] >= count, f"local_attention: cos has {cos.shape[0]} rows, expected {count} or more")
    return x.new_empty(x.shape[0], heads * x.shape[2])


def _append_attention(
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
    batch, kv_heads, size = x.shape[0], *keys.shape[1:]
    expected = (batch, heads + 2 * kv_heads, size)
    _check(x.shape == expected, f"append_attention: x is {tuple(x.shape)}, expected {expected}")
    _check(keys.shape == values.shape, "append_attention: keys and values are not [places, K, D]")
    _check(heads % kv_heads == 0, f"append_attention: {heads} heads over {kv_heads} key heads")
    _check(tables.dim() == 2 and tables.shape[0] == batch, "append_attention: tables are not [B, n]")
    _check(lengths.shape == (batch,), "append_attention: lengths are not [B]")
    return x.new_empty(batch, heads * size)


def _draw_codes(
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
    batch = logits.shape[0]
    _check(slots.shape == (batch,) == uniforms.shape[:1], "draw_codes: slots are not [B], or uniforms not [B, C]")
    _check(seen.shape[1:] == logits.shape[1:], f"draw_codes: seen is {tuple(seen.shape)}, logits {tuple(logits.shape)}")
    _check(settings.shape == (seen.shape[0], 5), f"draw_codes: settings are {tuple(settings.shape)}")
    _check(counters.shape == (seen.shape[0], 6), f"draw_codes: counters are {tuple(counters.shape)}")
    return torch.empty_like(slots)


def _guided_step(x: Tensor, velocity: Tensor, guidance: Tensor, length: Tensor) -> Tensor:
    _check(velocity.shape == (2 * x.shape[0], *x.shape[1:]), f"guided_step: velocity is {tuple(velocity.shape)}")
    _check(guidance.shape == length.shape == x.shape[:1], "guided_step: guidance and length are not [B]")
    return torch.empty_like(x)


def _int8_linear(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    _check(x.dim() == 2 and weight.shape[1:] == x.shape[1:], f"int8_linear: x is {tuple(x.shape)}, not [M, K]")
    _check(weight.dtype == torch.int8, f"int8_linear: weight is {weight.dtype}, expected int8")
    _check(scale.shape == weight.shape[:1], "int8_linear: scale is not [N] of weight")
    return x.new_empty(x.shape[0], weight.shape[0])


def _causal_taps(
    x: Tensor,
    alpha: Tensor | None,
    taps: Tensor,
    bias: Tensor,
    dilation: int,
    then_alpha: Tensor | None,
    tails: Tensor,
    slots: Tensor,
    first: int,
    after: Tensor,
) -> Tensor:
    _check_tails("causal_taps", x, dilation * (taps.shape[0] - 1), tails, slots, first, after)
    _check(taps.shape[1:] == bias.shape == x.shape[2:], "causal_taps: taps are not [K, C], bias not [C] of x")
    return torch.empty_like(x)


def _causal_windows(
    x: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    alpha: Tensor | None,
    past: int,
    tails: Tensor,
    slots: Tensor,
    first: int,
    after: Tensor,
) -> Tensor:
    _check_tails("causal_windows", x, past, tails, slots, first, after)
    return x.new_empty(x.shape[0] * x.shape[1], (past + 1) * x.shape[2])


def _causal_to_one(
    x: Tensor, alpha: Tensor, weight: Tensor, bias: Tensor, tails: Tensor, slots: Tensor, first: int, after: Tensor
) -> Tensor:
    _check_tails("causal_to_one", x, weight.shape[0] - 1, tails, slots, first, after)
    _check(weight.shape[1:] == alpha.shape == x.shape[2:], "causal_to_one: weight is not [K, C], alpha not [C] of x")
    return x.new_empty(x.shape[0], x.shape[1])


def _check_tails(op: str, x: Tensor, rows: int, tails: Tensor, slots: Tensor, first: int, after: Tensor) -> None:
    _check(x.dim() == 3, f"{op}: x has {x.dim()} dimensions, expected [B, T, C]")
    _check(slots.shape == x.shape[:1], f"{op}: slots are {tuple(slots.shape)}, expected [B] of x")
    _check(after.shape == (x.shape[0], tails.shape[1]), f"{op}: after is {tuple(after.shape)}, expected [B, W]")
    _check(0 <= first <= tails.shape[1] - rows * x.shape[2], f"{op}: {rows} rows of past from {first} on are not there")


def _check(condition: bool, message: str) -> None:
    torch._check(condition, lambda: message)


_FAKES: dict[str, Callable[..., Tensor]] = {
    "snake": _snake,
    "snake_beta": _snake_beta,
    "add_rms_norm": _add_rms_norm,
    "add_norm": _add_norm,
    "silu_mul": _silu_mul,
    "rope": _rope,
    "rope_append": _rope_append,
    "local_attention": _local_attention,
    "append_attention": _append_attention,
    "draw_codes": _draw_codes,
    "guided_step": _guided_step,
    "int8_linear": _int8_linear,
    "causal_taps": _causal_taps,
    "causal_windows": _causal_windows,
    "causal_to_one": _causal_to_one,
}
