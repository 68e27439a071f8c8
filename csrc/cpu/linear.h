// A linear layer whose weights are packed once, for few rows at a time: int8, bfloat16 or float, by the best
// instructions of the processor. Called by all threads of a team together.
//
// K inputs, N outputs. A row's result does not depend on the other rows, nor on the number of threads.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cpu/linear_block.h"
#include "cpu/packed.h"
#include "cpu/team.h"

namespace intone {

// "int8", "bf16" or "fp32". Throws c10::Error for another name.
WeightType weight_type_named(const std::string& name);

// Rows of input as the weights want them. Reused from layer to layer; one owner.
struct PackedRows {
  std::vector<uint32_t> words;  // blocks of up to kBlockRows rows, [tiles, rows of the block, kTile] each
  std::vector<float> scales;    // [rows]
  std::vector<int32_t> sums;    // [rows], of int8

  // Makes room. Before a team begins, because vectors move.
  void reserve(int64_t rows, int64_t row_words);
};

// What is done to a sum before it is stored.
enum class Ending {
  kStore,  // y = sum
  kAdd,    // y = y + sum
  kGate,   // y = SiLU(sum of the first half of the columns) · sum of the second half
};

class Linear {
 public:
  // `weight` [N, K] float or bfloat16, `bias` [N] or nothing; both are copied. `gated`: the only ending will be kGate;
  // no bias.
  Linear(const at::Tensor& weight, const std::optional<at::Tensor>& bias, WeightType type, Isa isa, bool gated = false);

  // As one of this type, instruction set and kind was packed, from a copy of what its `packed` gave.
  Linear(const Packed& packed, WeightType type, Isa isa, bool gated = false);

  // Everything that packing made: "sizes" [2], inputs and outputs, "weights", "scales" and "bias" as below. Not copies.
  Packed packed() const;

  int64_t in() const { return in_; }
  int64_t out() const { return gated_ ? out_ / 2 : out_; }  // columns of y
  int64_t weight_bytes() const { return weights_.nbytes(); }

  // Words that a packed row takes.
  int64_t row_words() const { return (steps_ + kTile - 1) / kTile * kTile; }

  // Packs x [K] as row number `row` of `count`. Rows may be packed by different threads.
  void pack(const float* x, PackedRows& rows, int64_t row, int64_t count) const;

  // Packs all rows of x [count, K].
  void pack_all(Team& team, const float* x, PackedRows& rows, int64_t count) const;

  // The first `count` rows to y [count, out()].
  void apply(Team& team, const PackedRows& rows, int64_t count, float* y, Ending ending) const;

  // The whole of it on a team of its own: x [M, K] float to [M, out()].
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  void measure();
  int64_t columns() const;
  int64_t column_of(int64_t output) const;
  void end(const float* sums, int64_t block, int64_t first, int64_t count, float* y, Ending ending) const;

  int64_t in_, out_, steps_;
  WeightType type_;
  LinearKernel kernel_;
  bool gated_;
  at::Tensor weights_;  // [blocks * kBlockColumns, steps] words, in them [blocks, kPanels, steps, kPanel]; zeros beyond
                        // the last input or column
  at::Tensor scales_;   // [blocks * kBlockColumns]
  at::Tensor bias_;     // [blocks * kBlockColumns], zeros where there is none
};

}  // namespace intone
