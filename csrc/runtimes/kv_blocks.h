// The keys and values of one sequence, in blocks that never move. float32. Forks share the full blocks of their common
// prefix.
//
//   a block, of each layer and head      keys                    values
//                          dimension 0   p0 p1 ... p63           position p0   0 1 ... head_dim - 1
//                          dimension 1   p0 p1 ... p63           position p1   0 1 ... head_dim - 1
//                          ...                                   ...
//
// So the scores of a query are sums of whole vectors of positions, and so are its results of dimensions.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "cpu/vector_kernels.h"

namespace intone {

class KvBlocks {
 public:
  static constexpr int64_t kQueries = Product::kMaxRows;  // computed at a time, to hide the latency of one

  KvBlocks(int64_t layers, int64_t heads, int64_t head_dim) : layers_(layers), heads_(heads), head_dim_(head_dim) {}

  // Throws c10::Error where this cache was made for a model of another shape.
  void check_shape(int64_t layers, int64_t heads, int64_t head_dim) const;

  // A new sequence with the first `length` positions of this one. Full blocks are shared: neither sequence may write to
  // a position before `length` afterwards.
  KvBlocks fork(int64_t length) const;

  // Allocates blocks for positions up to `length` - 1.
  void reserve(int64_t length);

  // Stores key and value [heads, head_dim] of one position.
  void write(int64_t layer, int64_t position, const float* key, const float* value);

  // Attention of `count` query heads, 1 to kQueries, that share a key head, over the first `length` positions: queries
  // [count, head_dim] to attn_out. Independent of the others. `probs` is scratch.
  void attend(const VectorKernels& kernels, int64_t layer, int64_t head, int64_t length, const float* queries,
              float* attn_out, int64_t count, float* probs) const;

  // Floats of scratch that `attend` needs.
  static int64_t scratch_floats(int64_t length, int64_t count);

 private:
  int64_t block_floats() const;
  // Of a layer and head in a block; the values follow the keys.
  float* keys_of(int64_t block, int64_t layer, int64_t head) const;

  int64_t layers_, heads_, head_dim_;
  std::vector<std::shared_ptr<float[]>> blocks_;
};

}  // namespace intone
