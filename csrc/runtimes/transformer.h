// A stack of transformer layers as in MiniCPM4: RMS norms, rotary positions, grouped-query attention, a SwiGLU
// feed-forward part. Owns packed weights; the KV caches belong to the caller. CPU, activations float, weights int8,
// bfloat16 or float.
//
// H is the width, D the size of a head. Batch-invariant, bit for bit; independent of the number of threads.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "cpu/linear.h"
#include "runtimes/kv_blocks.h"

namespace intone {

struct TransformerLayer {
  at::Tensor attention_norm;  // [H]
  Linear qkv;                 // to queries, keys and values of all heads
  Linear out;
  at::Tensor mlp_norm;  // [H]
  Linear gate_up;       // gated
  Linear down;
};

struct TransformerSizes {
  int64_t heads, kv_heads, head_dim;
  float norm_eps;
};

// The KV cache of one sequence. Used by one thread at a time.
struct TransformerCache {
  KvBlocks blocks;
  int64_t limit;       // positions that it may hold
  int64_t length = 0;  // positions in every layer
  int64_t max_limit;   // positions that the stack has

  // An independent cache for at most `limit` positions that starts with the first `count` of this one.
  std::shared_ptr<TransformerCache> fork(int64_t count, int64_t limit) const;
};

class Transformer {
 public:
  // Activations of the layers, for up to a number of rows, and scratch for a team of `threads`.
  struct Workspace {
    std::vector<float> qkv, attn_out, mlp, selected;
    PackedRows packed;
    int threads;
    Scratch scratch;
  };

  // Independent sequences of equal length; the result has rows `first` to `last` - 1 of each.
  struct Sequences {
    int64_t count, length, first, last;
  };

  // cos and sin [positions, D], the first half of sin negated; nothing for a stack without positional encoding.
  Transformer(const TransformerSizes& sizes, std::vector<std::shared_ptr<TransformerLayer>> layers,
              const at::Tensor& norm, const std::optional<at::Tensor>& cos, const std::optional<at::Tensor>& sin);

  std::shared_ptr<TransformerCache> new_cache(int64_t limit) const;

  // Bidirectional attention: x [B, T, H] to [B, last - first, H].
  at::Tensor bidirectional(const at::Tensor& x, int64_t first, int64_t last) const;

  // Appends a sequence [T, H] to `cache`; returns rows `first` and on of the result, [T - first, H].
  at::Tensor prefill(const at::Tensor& x, TransformerCache& cache, int64_t first) const;

  // Appends one position to each of B sequences: [B, H] to [B, H].
  at::Tensor step(const at::Tensor& x, const std::vector<std::shared_ptr<TransformerCache>>& caches) const;

  // `bidirectional` inside a running team. x [count * length, H] is overwritten; y as above. The caller checks
  // positions. A row attends to up to `positions`.
  Workspace workspace(int64_t rows, int64_t positions) const;
  void forward_bidirectional(Team& team, Workspace& work, const Sequences& sequences, float* x, float* y) const;

  // Throws c10::Error where `count` positions exceed cos and sin.
  void check_positions(int64_t count) const;

  int64_t width() const { return norm_.size(0); }

 private:
  // One position of one sequence.
  struct Row {
    TransformerCache* cache;
    int64_t position;
  };

  void forward(const std::vector<Row>& rows, int64_t first, float* x, float* y) const;
  void project(Team& team, Workspace& work, const TransformerLayer& layer, const float* x, int64_t rows) const;
  void finish(Team& team, Workspace& work, const TransformerLayer& layer, float* x, int64_t rows) const;
  void bidirectional_attention(Team& team, Workspace& work, const Sequences& sequences, int64_t first,
                               int64_t last) const;
  void causal_attention(Team& team, Workspace& work, const std::vector<Row>& rows, int64_t layer, int64_t first) const;
  void rotate(float* qkv, int64_t position) const;
  void pack_normed(Team& team, Workspace& work, const Linear& into, const at::Tensor& norm, const float* x,
                   int64_t rows) const;
  void check_sizes() const;
  void check_input(const at::Tensor& x, int64_t dim) const;
  void check_cache(const TransformerCache& cache) const;
  int64_t max_positions() const;
  int64_t cache_layers() const { return static_cast<int64_t>(layers_.size()); }

  TransformerSizes sizes_;
  std::vector<std::shared_ptr<TransformerLayer>> layers_;
  at::Tensor norm_;
  at::Tensor cos_, sin_;  // [0] for a stack without positional encoding
  int64_t row_words_;     // of the widest packed row
};

}  // namespace intone
