// The schema of every dispatcher operation. `server/ops/reference.py` defines them.

#pragma once

namespace intone {

constexpr const char* kSchemas[] = {
    "snake(Tensor x, Tensor alpha) -> Tensor",
    "snake_beta(Tensor x, Tensor alpha, Tensor beta, int before, int after) -> Tensor",
    "add_rms_norm(Tensor x, Tensor delta, Tensor weight, float eps) -> Tensor",
    "add_norm(Tensor(a!) x, Tensor delta, Tensor weight, Tensor bias, float eps, bool centred) -> Tensor",
    "silu_mul(Tensor x) -> Tensor",
    "rope(Tensor x, int heads, Tensor cos, Tensor sin, Tensor positions) -> Tensor",
    "rope_append(Tensor x, int heads, Tensor cos, Tensor sin, Tensor positions, Tensor places, Tensor(a!) keys, "
    "Tensor(b!) values) -> Tensor",
    "local_attention(Tensor x, int heads, Tensor cos, Tensor sin, int count) -> Tensor",
    "append_attention(Tensor x, int heads, Tensor? cos, Tensor? sin, Tensor(a!) keys, Tensor(b!) values, Tensor "
    "tables, "
    "Tensor lengths, int page) -> Tensor",
    "draw_codes(Tensor logits, Tensor slots, Tensor(a!) seen, Tensor settings, Tensor(b!) counters, Tensor uniforms, "
    "Tensor column, int stop_code, int max_top_k) -> Tensor",
    "guided_step(Tensor x, Tensor velocity, Tensor guidance, Tensor length) -> Tensor",
    "int8_linear(Tensor x, Tensor weight, Tensor scale, Tensor? bias) -> Tensor",
    "causal_taps(Tensor x, Tensor? alpha, Tensor taps, Tensor bias, int dilation, Tensor? then_alpha, Tensor tails, "
    "Tensor slots, int first, Tensor(a!) after) -> Tensor",
    "causal_windows(Tensor x, Tensor? scale, Tensor? shift, Tensor? alpha, int past, Tensor tails, Tensor slots, "
    "int first, Tensor(a!) after) -> Tensor",
    "causal_to_one(Tensor x, Tensor alpha, Tensor weight, Tensor bias, Tensor tails, Tensor slots, int first, "
    "Tensor(a!) after) -> Tensor",
};

}  // namespace intone
