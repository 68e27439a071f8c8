// A stack of transformer layers as the language models of our engines have them: root-mean-square norms, rotated
// positions, query heads that share key heads, a gated feed-forward part. Owns packed weights; what was read stands in
// caches that belong to the caller. CPU, activations float, weights int8, bfloat16 or float.
//
// H is the width, D the size of a head. A row's result does not depend on its company, nor on the number of threads.

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
  Linear qkv;                 // to queries, keys, values of all heads
  Linear out;
  at::Tensor mlp_norm;  // [H]
  Linear gate_up;       // gated
  Linear down;
};

struct TransformerSizes {
  int64_t heads, kv_heads, head_dim;
  float norm_eps;
};

// Positions that one sequence has read. One thread at a time.
struct TransformerCache {
  KvBlocks blocks;
  int64_t limit;       // positions that it may ever hold
  int64_t length = 0;  // positions in every layer

  // A cache of its own, for at most `most` positions, that begins with the first `count` of this one. It may be used
  // while this one is.
  std::shared_ptr<TransformerCache> fork(int64_t count, int64_t most) const;
};

class Transformer {
 public:
  // What the layers write into on their way, for up to a number of rows.
  struct Workspace {
    std::vector<float> qkv, mixed, wide, kept;
    PackedRows packed;
  };

  // Sequences of one length that do not see each other; of the result only rows `first` to `last` - 1 are wanted.
  struct Sequences {
    int64_t count, length, first, last;
  };

  // cos and sin [positions, D], the first half of sin negated; or nothing, for a stack without positions.
  Transformer(const TransformerSizes& sizes, std::vector<std::shared_ptr<TransformerLayer>> layers,
              const at::Tensor& norm, const std::optional<at::Tensor>& cos, const std::optional<at::Tensor>& sin);

  std::shared_ptr<TransformerCache> new_cache(int64_t limit) const;

  // Every position sees every other: x [B, T, H] to [B, last - first, H].
  at::Tensor bidirectional(const at::Tensor& x, int64_t first, int64_t last) const;

  // A sequence [T, H] after what `cache` holds; rows `first` and on of the result, [T - first, H].
  at::Tensor prefill(const at::Tensor& x, TransformerCache& cache, int64_t first) const;

  // One position for each of B sequences: [B, H] to [B, H].
  at::Tensor step(const at::Tensor& x, const std::vector<std::shared_ptr<TransformerCache>>& caches) const;

  // For runtimes: `bidirectional` on a team that is under way. x [count * length, H] is used up; y as above.
  Workspace workspace(int64_t rows) const;
  void see_all(Team& team, Workspace& work, const Sequences& sequences, float* x, float* y) const;

  int64_t width() const { return norm_.size(0); }

 private:
  // One position of one sequence.
  struct Row {
    TransformerCache* cache;
    int64_t position;
  };

  void read(const std::vector<Row>& rows, int64_t first, float* x, float* y) const;
  void project(Team& team, Workspace& work, const TransformerLayer& layer, const float* x, int64_t rows) const;
  void finish(Team& team, Workspace& work, const TransformerLayer& layer, float* x, int64_t rows) const;
  void attend_all(Team& team, Workspace& work, const Sequences& sequences, int64_t first, int64_t last) const;
  void attend_before(Team& team, Workspace& work, const std::vector<Row>& rows, int64_t layer, int64_t first) const;
  void rotate(float* qkv, int64_t position) const;
  void pack_normed(Team& team, PackedRows& packed, const Linear& into, const at::Tensor& norm, const float* x,
                   int64_t rows) const;
  void check_input(const at::Tensor& x, int64_t dim) const;

  TransformerSizes sizes_;
  std::vector<std::shared_ptr<TransformerLayer>> layers_;
  at::Tensor norm_;
  at::Tensor cos_, sin_;  // [0] for a stack without positions
};

}  // namespace intone
