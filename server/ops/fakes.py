"""Shape functions of the operations, for tensors without values (`torch.library.register_fake`)."""

from collections.abc import Callable

import torch
from torch import Tensor


def register() -> None:
    """Register them, once."""
    for name, function in _FAKES.items():
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


def _decode_attention(
    queries: Tensor, keys: Tensor, values: Tensor, tables: Tensor, lengths: Tensor, page: int
) -> Tensor:
    batch, heads, size = queries.shape
    _check(
        keys.shape == values.shape and keys.shape[2] == size, "decode_attention: keys and values are not [places, K, D]"
    )
    _check(heads % keys.shape[1] == 0, f"decode_attention: {heads} heads over {keys.shape[1]} key heads")
    _check(tables.dim() == 2 and tables.shape[0] == batch, "decode_attention: tables are not [B, n]")
    _check(lengths.shape == (batch,), "decode_attention: lengths are not [B]")
    return queries.new_empty(batch, heads * size)


def _sample_codes(
    logits: Tensor, seen: Tensor, settings: Tensor, excluded: Tensor, uniforms: Tensor, max_top_k: int
) -> Tensor:
    batch = logits.shape[0]
    _check(seen.shape == logits.shape, f"sample_codes: seen is {tuple(seen.shape)}, logits {tuple(logits.shape)}")
    _check(settings.shape == (batch, 5), f"sample_codes: settings are {tuple(settings.shape)}, expected [B, 5]")
    _check(excluded.shape == uniforms.shape == (batch,), "sample_codes: excluded and uniforms are not [B]")
    return logits.new_empty(batch, dtype=torch.int64)


def _check(condition: bool, message: str) -> None:
    torch._check(condition, lambda: message)


_FAKES: dict[str, Callable[..., Tensor]] = {
    "snake": _snake,
    "snake_beta": _snake_beta,
    "add_rms_norm": _add_rms_norm,
    "silu_mul": _silu_mul,
    "rope": _rope,
    "rope_append": _rope_append,
    "decode_attention": _decode_attention,
    "sample_codes": _sample_codes,
}
