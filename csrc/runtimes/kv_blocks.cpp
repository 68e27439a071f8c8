#include "runtimes/kv_blocks.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>

namespace intone {
namespace {

constexpr int64_t kPositions = 64;  // in a block

int64_t blocks_of(int64_t length) { return (length + kPositions - 1) / kPositions; }

// Positions that are scored of a block, of which `length` are in use: whole vectors.
int64_t scored_of(int64_t length) { return std::min(kPositions, (length + kLanes - 1) / kLanes * kLanes); }

}  // namespace

int64_t KvBlocks::block_floats() const { return layers_ * heads_ * 2 * kPositions * head_dim_; }

void KvBlocks::check_shape(int64_t layers, int64_t heads, int64_t head_dim) const {
  TORCH_CHECK(layers_ == layers && heads_ == heads && head_dim_ == head_dim, "found a cache of ", layers_, " layers, ",
              heads_, " heads of ", head_dim_, ", expected ", layers, ", ", heads, " of ", head_dim);
}

KvBlocks KvBlocks::fork(int64_t length) const {
  KvBlocks other(layers_, heads_, head_dim_);
  const int64_t full = length / kPositions, rest = length % kPositions;
  other.blocks_.assign(blocks_.begin(), blocks_.begin() + full);
  other.reserve(length);
  for (int64_t plane = 0; rest > 0 && plane < layers_ * heads_; ++plane) {
    const float* from = keys_of(full, 0, plane);
    float* to = other.keys_of(full, 0, plane);
    for (int64_t d = 0; d < head_dim_; ++d) std::copy_n(from + d * kPositions, rest, to + d * kPositions);
    const int64_t values = kPositions * head_dim_;
    std::copy_n(from + values, rest * head_dim_, to + values);
  }
  return other;
}

void KvBlocks::reserve(int64_t length) {
  while (static_cast<int64_t>(blocks_.size()) < blocks_of(length)) {
    // Zeros: positions that are not in use are scored too, so every value in them must be finite.
    blocks_.push_back(std::shared_ptr<float[]>(new float[block_floats()]()));
  }
}

float* KvBlocks::keys_of(int64_t block, int64_t layer, int64_t head) const {
  return blocks_[block].get() + (layer * heads_ + head) * 2 * kPositions * head_dim_;
}

void KvBlocks::write(int64_t layer, int64_t position, const float* key, const float* value) {
  const int64_t slot = position % kPositions;
  for (int64_t head = 0; head < heads_; ++head) {
    float* keys = keys_of(position / kPositions, layer, head);
    float* values = keys + kPositions * head_dim_;
    for (int64_t d = 0; d < head_dim_; ++d) keys[d * kPositions + slot] = key[head * head_dim_ + d];
    std::copy_n(value + head * head_dim_, head_dim_, values + slot * head_dim_);
  }
}

int64_t KvBlocks::scratch_floats(int64_t length, int64_t count) { return count * blocks_of(length) * kPositions; }

void KvBlocks::attend(const VectorKernels& kernels, int64_t layer, int64_t head, int64_t length, const float* queries,
                      float* attn_out, int64_t count, float* probs) const {
  const int64_t blocks = blocks_of(length), room = blocks * kPositions;
  std::fill_n(probs, count * room, 0.0f);
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t begin = block * kPositions;
    kernels.multiply({queries, count, head_dim_, head_dim_, keys_of(block, layer, head), scored_of(length - begin),
                      kPositions, probs + begin, room});
  }
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim_));
  const int64_t scored = (length + kLanes - 1) / kLanes * kLanes;
  float inverses[kQueries];
  for (int64_t query = 0; query < count; ++query) {
    float* scores = probs + query * room;
    std::fill(scores + length, scores + scored, -INFINITY);  // exp gives 0
    inverses[query] = 1.0f / kernels.exp_scores(scores, scored, scale);
  }
  std::fill_n(attn_out, count * head_dim_, 0.0f);
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t begin = block * kPositions;
    kernels.multiply({probs + begin, count, room, std::min(kPositions, length - begin),
                      keys_of(block, layer, head) + kPositions * head_dim_, head_dim_, head_dim_, attn_out, head_dim_});
  }
  for (int64_t query = 0; query < count; ++query, attn_out += head_dim_) {
    for (int64_t d = 0; d < head_dim_; ++d) attn_out[d] *= inverses[query];
  }
}

}  // namespace intone
