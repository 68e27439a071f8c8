// Keys and values of the positions that one sequence has seen, in blocks that never move. float32.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace intone {

class KvBlocks {
 public:
  KvBlocks(int64_t layers, int64_t heads, int64_t head_dim) : layers_(layers), heads_(heads), head_dim_(head_dim) {}

  // Room for positions up to `length` - 1.
  void reserve(int64_t length);

  // Stores key and value [heads, head_dim] of one position.
  void write(int64_t layer, int64_t position, const float* key, const float* value);

  // Attention of one head over the first `length` positions: query [head_dim] to mixed [head_dim].
  void attend(int64_t layer, int64_t head, int64_t length, const float* query, float* mixed) const;

 private:
  // Of a layer and head in a block: keys [head_dim, kPositions], then values [kPositions, head_dim].
  float* of(int64_t block, int64_t layer, int64_t head) const;

  int64_t layers_, heads_, head_dim_;
  std::vector<std::unique_ptr<float[]>> blocks_;
};

}  // namespace intone
