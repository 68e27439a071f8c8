#include "cpu/full_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/attributes.h"
#include "cpu/lanes.h"

namespace intone {
namespace {

constexpr int kTilesPerBlock = kBlockColumns / kTileWords;
static_assert(kTileWords == kLanes);

int64_t blocks_of(int64_t columns) { return (columns + kBlockColumns - 1) / kBlockColumns; }
int64_t tiles_of(int64_t words) { return (words + kTileWords - 1) / kTileWords; }

// What a float layer's kernel reads and does not use.
constexpr float kNoScales[kBlockColumns] = {};
constexpr int32_t kNoSums[kBlockRows] = {};

// x [count, size], rows `stride` apart, times `scale` as packed rows.
INTONE_CLONES void pack_rows(const float* x, int64_t count, int64_t size, int64_t stride, float scale, uint32_t* to) {
  for (int64_t row = 0; row < count; ++row) {
    for (int64_t begin = 0; begin < size; begin += kTileWords) {
      float scaled[kTileWords] = {};
      const int64_t here = std::min<int64_t>(kTileWords, size - begin);
      for (int64_t i = 0; i < here; ++i) scaled[i] = scale * x[row * stride + begin + i];
      std::memcpy(to + (begin / kTileWords * count + row) * kTileWords, scaled, sizeof(scaled));
    }
  }
}

// Scores [blocks, count, kBlockColumns] of row `row` to e^(score - maximum), packed; returns the sum. `positions` are
// valid; the packed row ends with zeros.
INTONE_CLONES float exponentials(const float* scores, int64_t row, int64_t count, int64_t positions, uint32_t* to) {
  const int64_t stride = count * kBlockColumns;
  const float* of_row = scores + row * kBlockColumns;
  float maxima[kBlockColumns];
  for (float& maximum : maxima) maximum = -INFINITY;
  for (int64_t begin = 0; begin < positions; begin += kBlockColumns) {
    const float* block = of_row + begin / kBlockColumns * stride;
    if (positions - begin >= kBlockColumns) {
      for (int64_t i = 0; i < kBlockColumns; ++i) maxima[i] = block[i] > maxima[i] ? block[i] : maxima[i];
    } else {
      for (int64_t i = 0; i < positions - begin; ++i) maxima[i] = block[i] > maxima[i] ? block[i] : maxima[i];
    }
  }
  const float maximum = *std::max_element(maxima, maxima + kBlockColumns);
  Lanes total = {}, lanes;
  for (int64_t tile = 0; tile * kTileWords < positions; ++tile) {
    const float* from = of_row + tile / kTilesPerBlock * stride + tile % kTilesPerBlock * kTileWords;
    float powers[kTileWords];
    for (int64_t i = 0; i < kTileWords; ++i) powers[i] = exponential(from[i] - maximum);
    for (int64_t i = positions - tile * kTileWords; i < kTileWords; ++i) powers[i] = 0.0f;
    load_lanes(powers, lanes);
    total += lanes;
    std::memcpy(to + (tile * count + row) * kTileWords, powers, sizeof(powers));
  }
  return sum_of(total);
}

// Floats to bfloat16, to nearest, ties to even; and back.
INTONE_CLONES void narrow(const uint32_t* from, int64_t count, uint16_t* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<uint16_t>((from[i] + 0x7fffu + (from[i] >> 16 & 1u)) >> 16);
}

INTONE_CLONES void widen(const uint16_t* from, int64_t count, uint32_t* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<uint32_t>(from[i]) << 16;
}

INTONE_CLONES void scale_row(const float* x, int64_t size, float scale, float* y) {
  for (int64_t i = 0; i < size; ++i) y[i] = x[i] * scale;
}

}  // namespace

HeadMemory::HeadMemory(int64_t positions, int64_t head_dim)
    : positions_(positions),
      head_dim_(head_dim),
      keys_(blocks_of(positions) * kBlockColumns * head_dim),
      values_(blocks_of(head_dim) * kBlockColumns * positions) {}

void HeadMemory::store(int64_t position, const float* key, const float* value) {
  uint32_t* to = keys_.data() + position / kPanel * head_dim_ * kPanel + position % kPanel;
  for (int64_t d = 0; d < head_dim_; ++d) std::memcpy(to + d * kPanel, key + d, sizeof(uint32_t));
  for (int64_t d = 0; d < head_dim_; d += kPanel) {
    std::memcpy(values_.data() + (d / kPanel * positions_ + position) * kPanel, value + d,
                std::min<int64_t>(kPanel, head_dim_ - d) * sizeof(uint32_t));
  }
}

int64_t HeadMemory::copied_words(int64_t count, int64_t head_dim) {
  return (head_dim + (head_dim + kPanel - 1) / kPanel * kPanel) * count;
}

void HeadMemory::copy_to(int64_t count, uint16_t* words) const {
  narrow(keys_.data(), count * head_dim_, words);
  words += count * head_dim_;
  for (int64_t d = 0; d < head_dim_; d += kPanel, words += count * kPanel) {
    narrow(values_.data() + d * positions_, count * kPanel, words);
  }
}

void HeadMemory::copy_from(int64_t count, const uint16_t* words) {
  widen(words, count * head_dim_, keys_.data());
  words += count * head_dim_;
  for (int64_t d = 0; d < head_dim_; d += kPanel, words += count * kPanel) {
    widen(words, count * kPanel, values_.data() + d * positions_);
  }
}

FullAttention::Scratch::Scratch(int64_t positions, int64_t head_dim)
    : queries(tiles_of(head_dim) * kBlockRows * kTileWords),
      probabilities(tiles_of(positions) * kBlockRows * kTileWords),
      scores(blocks_of(positions) * kBlockRows * kBlockColumns) {}

FullAttention::FullAttention(Isa isa) : kernel_(linear_kernel(WeightType::kFloat, isa)) {}

void FullAttention::attend(const HeadMemory& memory, const float* queries, int64_t count, int64_t stride,
                           Scratch& scratch, float* attn_out) const {
  const int64_t head_dim = memory.head_dim(), positions = memory.positions();
  const auto multiply = [&](const uint32_t* rows, const uint32_t* weights, int64_t steps, float* sums) {
    kernel_.sum({steps, weights, kNoScales, rows, kNoScales, kNoSums, static_cast<int>(count), sums});
  };
  pack_rows(queries, count, head_dim, stride, 1.0f / std::sqrt(static_cast<float>(head_dim)), scratch.queries.data());
  for (int64_t block = 0; block < blocks_of(positions); ++block) {
    multiply(scratch.queries.data(), memory.keys() + block * kBlockColumns * head_dim, head_dim,
             scratch.scores.data() + block * count * kBlockColumns);
  }
  float totals[kBlockRows];
  for (int64_t row = 0; row < count; ++row) {
    totals[row] = exponentials(scratch.scores.data(), row, count, positions, scratch.probabilities.data());
  }
  alignas(64) float sums[kBlockRows * kBlockColumns];
  for (int64_t block = 0; block < blocks_of(head_dim); ++block) {
    multiply(scratch.probabilities.data(), memory.values() + block * kBlockColumns * positions, positions, sums);
    const int64_t first = block * kBlockColumns, here = std::min<int64_t>(kBlockColumns, head_dim - first);
    for (int64_t row = 0; row < count; ++row) {
      scale_row(sums + row * kBlockColumns, here, 1.0f / totals[row], attn_out + row * stride + first);
    }
  }
}

}  // namespace intone
