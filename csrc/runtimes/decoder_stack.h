// A stack of pre-norm transformer layers, as in MiniCPM4 (VoxCPM) and in GPT-2 (IndexTTS). Owns packed weights; the KV
// caches belong to the caller. CPU, activations float, weights int8, bfloat16 or float.
//
//   x + attention(norm(x)), then x + down(mlp(up(norm(x)))), in every layer; one or more norms at the end
//
//   norm        LayerNorm where it has a bias, else RMS norm
//   positions   rotary with tables of cos and sin, else none: the caller adds learned ones to the input
//   attention   grouped queries: each key head serves heads / kv_heads query heads
//   mlp         SwiGLU where `up` is gated, else GELU in the tanh form
//   bias        of each linear layer that has one
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

struct Norm {
  at::Tensor weight;  // [H]
  at::Tensor bias;    // [H], of a LayerNorm; undefined for an RMS norm
};

struct DecoderLayer {
  Norm attention_norm;
  Linear qkv;  // to queries, keys and values of all heads
  Linear out;
  Norm mlp_norm;
  Linear up;  // gated, or followed by GELU
  Linear down;

  // The packed tensors of the parts under their names, not copies; and the layer from a copy of them.
  Packed packed() const;
  static DecoderLayer of_packed(const Packed& packed, WeightType type, Isa isa);
};

struct StackSizes {
  int64_t heads, kv_heads, head_dim;
  float norm_eps;
};

// The KV cache of one sequence. Used by one thread at a time.
struct DecoderCache {
  KvBlocks blocks;
  int64_t limit;       // positions that it may hold
  int64_t length = 0;  // positions in every layer
  int64_t max_limit;   // positions that the stack has

  // An independent cache for at most `limit` positions that starts with the first `count` of this one.
  std::shared_ptr<DecoderCache> fork(int64_t count, int64_t limit) const;
};

class DecoderStack {
 public:
  // Activations of the layers, for up to a number of rows, and scratch for a team of `threads`.
  struct Workspace {
    std::vector<float> qkv, attn_out, mlp, selected;
    PackedRows packed;
    std::vector<KvBlocks> sequences;  // keys and values of one layer, of bidirectional sequences
    int threads;
    Scratch scratch;
  };

  // Independent sequences of equal length; the result has rows `first` to `last` - 1 of each.
  struct Sequences {
    int64_t count, length, first, last;
  };

  // cos and sin [positions, D], the first half of sin negated; nothing for a stack without rotary positions.
  DecoderStack(const StackSizes& sizes, std::vector<std::shared_ptr<DecoderLayer>> layers,
               std::vector<Norm> final_norms, const std::optional<at::Tensor>& cos,
               const std::optional<at::Tensor>& sin);

  std::shared_ptr<DecoderCache> new_cache(int64_t limit) const;

  // Throws c10::Error where `cache` is not one of a stack of this shape.
  void check_cache(const DecoderCache& cache) const;

  // Bidirectional attention: x [B, T, H] to [B, last - first, H].
  at::Tensor bidirectional(const at::Tensor& x, int64_t first, int64_t last) const;

  // Appends a sequence [T, H] to `cache`; returns rows `first` and on of the result, [T - first, H].
  at::Tensor prefill(const at::Tensor& x, DecoderCache& cache, int64_t first) const;

  // Appends one position to each of B sequences: [B, H] to [B, H].
  at::Tensor step(const at::Tensor& x, const std::vector<std::shared_ptr<DecoderCache>>& caches) const;

  // `bidirectional` inside a running team. x [count * length, H] is overwritten; y as above. The caller checks
  // positions.
  Workspace workspace(const Sequences& sequences) const;
  void forward_bidirectional(Team& team, Workspace& work, const Sequences& sequences, float* x, float* y) const;

  // Throws c10::Error where `count` positions exceed cos and sin.
  void check_positions(int64_t count) const;

  int64_t width() const { return width_; }
  Isa isa() const { return layers_.front()->qkv.isa(); }

 private:
  // One position of one sequence, which attends to the first `visible` positions of `keys`.
  struct Row {
    KvBlocks* keys;
    int64_t position, visible;
  };
  // The rows of a pass, and those of the result: in the last layer the others only need keys and values.
  struct Rows {
    std::vector<Row> all;
    std::vector<int64_t> wanted;
    bool one_layer;  // `keys` holds one layer, which is overwritten by the next
  };

  Workspace workspace(int64_t rows, int64_t positions) const;
  Rows rows_of(Workspace& work, const Sequences& sequences) const;
  void forward(Team& team, Workspace& work, const Rows& rows, float* x, float* y) const;
  void append(const std::vector<Row>& rows, int64_t first, float* x, float* y) const;
  void attend(Team& team, Workspace& work, const Rows& rows, int64_t layer, const std::vector<int64_t>& wanted) const;
  void normalize(const Norm& norm, const float* x, float* y) const;
  void normalize_and_pack(Team& team, Workspace& work, const Linear& into, const Norm& norm, const float* x,
                          int64_t rows) const;
  void finish_layer(Team& team, Workspace& work, const DecoderLayer& layer, float* x, int64_t rows) const;
  void check_layers() const;
  void check_input(const at::Tensor& x, int64_t dim) const;
  int64_t max_positions() const;

  StackSizes sizes_;
  std::vector<std::shared_ptr<DecoderLayer>> layers_;
  std::vector<Norm> final_norms_;
  int64_t width_;
  at::Tensor cos_, sin_;  // [0] for a stack without rotary positions
  int64_t row_words_;     // of the widest packed row
};

}  // namespace intone
