// The schema of every dispatcher operation. `server/ops/reference.py` defines them.

#pragma once

namespace intone {

constexpr const char* kSchemas[] = {
    "snake(Tensor x, Tensor alpha) -> Tensor",
    "snake_beta(Tensor x, Tensor alpha, Tensor beta, int before, int after) -> Tensor",
    "add_rms_norm(Tensor x, Tensor delta, Tensor weight, float eps) -> Tensor",
    "silu_mul(Tensor x) -> Tensor",
    "rope(Tensor x, int heads, Tensor cos, Tensor sin, Tensor positions) -> Tensor",
    "rope_append(Tensor x, int heads, Tensor cos, Tensor sin, Tensor positions, Tensor places, Tensor(a!) keys, "
    "Tensor(b!) values) -> Tensor",
    "decode_attention(Tensor queries, Tensor keys, Tensor values, Tensor tables, Tensor lengths, int page) -> Tensor",
    "sample_codes(Tensor logits, Tensor seen, Tensor settings, Tensor excluded, Tensor uniforms, int max_top_k) -> "
    "Tensor",
};

}  // namespace intone
