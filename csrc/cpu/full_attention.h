// Attention of blocks of queries to all positions of a sequence, by the kernels of linear layers: keys are the weights
// of one layer, whose outputs are the scores, values those of another. CPU, float.
//
// T positions, D numbers per head. Packed, as `linear.h` shows it for weights of type float:
//
//   keys    columns are positions, steps are numbers:    [T / 64, 4, D, 16]
//   values  columns are numbers, steps are positions:    [D / 64, 4, T, 16]
//
// both with columns rounded up to blocks of 64. A query's result does not depend on the others, bit for bit.

#pragma once

#include <cstdint>
#include <vector>

#include "cpu/linear_block.h"

namespace intone {

// Keys and values of one head of one sequence.
class HeadMemory {
 public:
  HeadMemory(int64_t positions, int64_t head_dim);

  // Stores the key and the value [D] of one position. Positions may be stored by different threads.
  void store(int64_t position, const float* key, const float* value);

  // The first `count` positions, a multiple of kPanel, to bfloat16, and back into a memory of any number of positions.
  void copy_to(int64_t count, uint16_t* words) const;
  void copy_from(int64_t count, const uint16_t* words);
  static int64_t copied_words(int64_t count, int64_t head_dim);

  int64_t positions() const { return positions_; }
  int64_t head_dim() const { return head_dim_; }
  const uint32_t* keys() const { return keys_.data(); }
  const uint32_t* values() const { return values_.data(); }

 private:
  int64_t positions_, head_dim_;
  std::vector<uint32_t> keys_, values_;  // zeros beyond the last column
};

class FullAttention {
 public:
  // Memory of one thread for up to kBlockRows queries.
  struct Scratch {
    Scratch(int64_t positions, int64_t head_dim);

    std::vector<uint32_t> queries, probabilities;  // packed rows
    std::vector<float> scores;                     // [blocks of positions, queries, kBlockColumns]
  };

  explicit FullAttention(Isa isa);

  // Queries [count, D], `stride` apart, count up to kBlockRows, to the sums of values weighted by
  // softmax(query · key / √D), [count, D], `stride` apart.
  void attend(const HeadMemory& memory, const float* queries, int64_t count, int64_t stride, Scratch& scratch,
              float* attn_out) const;

 private:
  LinearKernel kernel_;
};

}  // namespace intone
