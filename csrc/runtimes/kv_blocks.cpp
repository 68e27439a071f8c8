#include "runtimes/kv_blocks.h"

#include <algorithm>
#include <cmath>

#include "cpu/clones.h"
#include "cpu/lanes.h"

namespace intone {
namespace {

constexpr int64_t kPositions = 64;  // in a block

// Keys lie with their positions side by side, so that scores of a block are sums of whole vectors.
INTONE_CLONES void score_block(const float* keys, const float* query, int64_t head_dim, float scale, float* scores) {
  for (int64_t p = 0; p < kPositions; ++p) scores[p] = 0.0f;
  for (int64_t d = 0; d < head_dim; ++d) {
    for (int64_t p = 0; p < kPositions; ++p) scores[p] += query[d] * keys[d * kPositions + p];
  }
  for (int64_t p = 0; p < kPositions; ++p) scores[p] *= scale;
}

INTONE_CLONES void to_powers(float* shares, int64_t count, float top) {
  for (int64_t p = 0; p < count; ++p) shares[p] = exponential(shares[p] - top);
}

INTONE_CLONES void mix_block(const float* values, const float* shares, int64_t count, int64_t head_dim, float* mixed) {
  for (int64_t p = 0; p < count; ++p) {
    for (int64_t d = 0; d < head_dim; ++d) mixed[d] += shares[p] * values[p * head_dim + d];
  }
}

}  // namespace

void KvBlocks::reserve(int64_t length) {
  const int64_t needed = (length + kPositions - 1) / kPositions;
  while (static_cast<int64_t>(blocks_.size()) < needed) {
    // Zeros: a block is scored whole, and what is in it must be numbers.
    blocks_.push_back(std::make_unique<float[]>(layers_ * heads_ * 2 * kPositions * head_dim_));
  }
}

float* KvBlocks::of(int64_t block, int64_t layer, int64_t head) const {
  return blocks_[block].get() + (layer * heads_ + head) * 2 * kPositions * head_dim_;
}

void KvBlocks::write(int64_t layer, int64_t position, const float* key, const float* value) {
  const int64_t place = position % kPositions;
  for (int64_t head = 0; head < heads_; ++head) {
    float* keys = of(position / kPositions, layer, head);
    float* values = keys + kPositions * head_dim_;
    for (int64_t d = 0; d < head_dim_; ++d) keys[d * kPositions + place] = key[head * head_dim_ + d];
    std::copy_n(value + head * head_dim_, head_dim_, values + place * head_dim_);
  }
}

void KvBlocks::attend(int64_t layer, int64_t head, int64_t length, const float* query, float* mixed) const {
  const int64_t blocks = (length + kPositions - 1) / kPositions;
  std::vector<float> shares(blocks * kPositions);
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim_));
  for (int64_t block = 0; block < blocks; ++block) {
    score_block(of(block, layer, head), query, head_dim_, scale, shares.data() + block * kPositions);
  }
  const float top = *std::max_element(shares.begin(), shares.begin() + length);
  double total = 0.0;
  to_powers(shares.data(), length, top);
  for (int64_t p = 0; p < length; ++p) total += shares[p];
  std::fill_n(mixed, head_dim_, 0.0f);
  for (int64_t block = 0; block < blocks; ++block) {
    const float* values = of(block, layer, head) + kPositions * head_dim_;
    mix_block(values, shares.data() + block * kPositions, std::min(kPositions, length - block * kPositions), head_dim_,
              mixed);
  }
  const float inverse = static_cast<float>(1.0 / total);
  for (int64_t d = 0; d < head_dim_; ++d) mixed[d] *= inverse;
}

}  // namespace intone
