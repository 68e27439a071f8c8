// Keys and values of the positions that one sequence has seen, in blocks that never move. float32. Sequences that begin
// alike share the blocks of what they have in common.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace intone {

class KvBlocks {
 public:
  static constexpr int64_t kQueries = 4;  // at once: their sums fill the waits of one

  KvBlocks(int64_t layers, int64_t heads, int64_t head_dim) : layers_(layers), heads_(heads), head_dim_(head_dim) {}

  // Another sequence that begins with the first `length` positions of this one. Full blocks are shared: from then on
  // neither may write to a position before `length`.
  KvBlocks fork(int64_t length) const;

  // Room for positions up to `length` - 1.
  void reserve(int64_t length);

  // Stores key and value [heads, head_dim] of one position.
  void write(int64_t layer, int64_t position, const float* key, const float* value);

  // Attention of `count` query heads, 1 to kQueries, that share a key head over the first `length` positions: queries
  // and mixed [count, head_dim]. A query's result does not depend on the others.
  void attend(int64_t layer, int64_t head, int64_t length, const float* queries, float* mixed, int64_t count = 1) const;

 private:
  int64_t block_numbers() const;
  // Of a layer and head in a block: keys [head_dim, kPositions], then values [kPositions, head_dim].
  float* of(int64_t block, int64_t layer, int64_t head) const;

  int64_t layers_, heads_, head_dim_;
  std::vector<std::shared_ptr<float[]>> blocks_;
};

}  // namespace intone
