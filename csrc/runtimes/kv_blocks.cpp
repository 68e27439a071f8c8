#include "runtimes/kv_blocks.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>

#include "cpu/attributes.h"
#include "cpu/lanes.h"

namespace intone {
namespace {

constexpr int64_t kPositions = 64;  // in a block

// c [rows, columns] += a [rows, steps] · b [steps, columns]; rows of a and c are `a_stride` and `c_stride` apart.
struct Product {
  const float* a;
  int64_t rows, a_stride, steps;
  const float* b;
  int64_t columns;
  float* c;
  int64_t c_stride;
};

template <int Rows>
INTONE_INLINE void multiply_rows(const Product& p) {
  int64_t column = 0;
  for (; column + kLanes <= p.columns; column += kLanes) {
    Lanes sums[Rows], right;
    for (int row = 0; row < Rows; ++row) load_lanes(p.c + row * p.c_stride + column, sums[row]);
    for (int64_t step = 0; step < p.steps; ++step) {
      load_lanes(p.b + step * p.columns + column, right);
      for (int row = 0; row < Rows; ++row) sums[row] += p.a[row * p.a_stride + step] * right;
    }
    for (int row = 0; row < Rows; ++row) store_lanes(sums[row], p.c + row * p.c_stride + column);
  }
  for (; column < p.columns; ++column) {
    for (int row = 0; row < Rows; ++row) {
      float sum = p.c[row * p.c_stride + column];
      for (int64_t step = 0; step < p.steps; ++step) {
        sum += p.a[row * p.a_stride + step] * p.b[step * p.columns + column];
      }
      p.c[row * p.c_stride + column] = sum;
    }
  }
}

INTONE_CLONES void multiply(const Product& product) {
  switch (product.rows) {
    case 1:
      return multiply_rows<1>(product);
    case 2:
      return multiply_rows<2>(product);
    case 3:
      return multiply_rows<3>(product);
    default:
      return multiply_rows<KvBlocks::kQueries>(product);
  }
}

// In place: scores [count], a multiple of kLanes, to exp(scale · (score - maximum)). Returns their sum.
INTONE_CLONES float exp_scores(float* scores, int64_t count, float scale) {
  Lanes lanes, maxima = {}, sums = {};
  maxima -= INFINITY;
  for (int64_t p = 0; p < count; p += kLanes) {
    load_lanes(scores + p, lanes);
    lanes *= scale;
    store_lanes(lanes, scores + p);
    maxima = lanes > maxima ? lanes : maxima;
  }
  float each[kLanes], maximum = -INFINITY;
  store_lanes(maxima, each);
  for (int64_t i = 0; i < kLanes; ++i) maximum = each[i] > maximum ? each[i] : maximum;
  for (int64_t p = 0; p < count; ++p) scores[p] = exponential(scores[p] - maximum);
  for (int64_t p = 0; p < count; p += kLanes) {
    load_lanes(scores + p, lanes);
    sums += lanes;
  }
  return sum_of(sums);
}

int64_t blocks_of(int64_t length) { return (length + kPositions - 1) / kPositions; }

}  // namespace

int64_t KvBlocks::block_floats() const { return layers_ * heads_ * 2 * kPositions * head_dim_; }

void KvBlocks::check_shape(int64_t layers, int64_t heads, int64_t head_dim) const {
  TORCH_CHECK(layers_ == layers && heads_ == heads && head_dim_ == head_dim, "found a cache of ", layers_, " layers, ",
              heads_, " heads of ", head_dim_, ", expected ", layers, ", ", heads, " of ", head_dim);
}

KvBlocks KvBlocks::fork(int64_t length) const {
  KvBlocks other(layers_, heads_, head_dim_);
  const int64_t full = length / kPositions;
  other.blocks_.assign(blocks_.begin(), blocks_.begin() + full);
  if (length % kPositions > 0) {
    other.reserve(length);
    std::copy_n(blocks_[full].get(), block_floats(), other.blocks_[full].get());
  }
  return other;
}

void KvBlocks::reserve(int64_t length) {
  while (static_cast<int64_t>(blocks_.size()) < blocks_of(length)) {
    // Zeros: whole blocks are scored, so every value in them must be finite.
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

void KvBlocks::attend(int64_t layer, int64_t head, int64_t length, const float* queries, float* attn_out, int64_t count,
                      float* probs) const {
  const int64_t blocks = blocks_of(length), room = blocks * kPositions;
  std::fill_n(probs, count * room, 0.0f);
  for (int64_t block = 0; block < blocks; ++block) {
    // Keys are stored with positions contiguous, so that the scores of a block are sums of whole vectors.
    multiply({queries, count, head_dim_, head_dim_, keys_of(block, layer, head), kPositions, probs + block * kPositions,
              room});
  }
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim_));
  const int64_t scored = (length + kLanes - 1) / kLanes * kLanes;
  float inverses[kQueries];
  for (int64_t query = 0; query < count; ++query) {
    float* scores = probs + query * room;
    std::fill(scores + length, scores + scored, -INFINITY);  // exp gives 0
    inverses[query] = 1.0f / exp_scores(scores, scored, scale);
  }
  std::fill_n(attn_out, count * head_dim_, 0.0f);
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t begin = block * kPositions;
    multiply({probs + begin, count, room, std::min(kPositions, length - begin),
              keys_of(block, layer, head) + kPositions * head_dim_, head_dim_, attn_out, head_dim_});
  }
  for (int64_t query = 0; query < count; ++query, attn_out += head_dim_) {
    for (int64_t d = 0; d < head_dim_; ++d) attn_out[d] *= inverses[query];
  }
}

}  // namespace intone
