// A linear layer for few rows at a time, with weights packed once as int8, bfloat16 or float, computed by the best
// instructions of the processor. Called by all threads of a team together.
//
// K inputs, N outputs. Batch-invariant, bit for bit; independent of the number of threads.
//
// How weights [N, K] and rows [M, K] are packed, for int8, where a word holds 4 inputs (bfloat16: 2, float: 1):
//
//   a block of 64 columns        panel 0              panel 1         panel 2         panel 3      word s.c: inputs
//                      step 0    0.0  0.1 ... 0.15    0.16 ... 0.31   0.32 ... 0.47   0.48 ...     4s to 4s + 3
//                      step 1    1.0  1.1 ... 1.15    1.16 ... 1.31   1.32 ... 1.47   1.48 ...     of column c
//
//   In memory: all steps of panel 0, of panel 1, ...; then the next block. A step of a panel fills an AVX-512 register,
//   and a kernel reads a panel from end to end. Zeros beyond input K and output N.
//
//   a block of R rows  tile 0    row 0: words 0 to 15    row 1: words 0 to 15    ...    row R - 1
//                      tile 1    row 0: words 16 to 31   row 1: words 16 to 31   ...    row R - 1
//
// A processor that does not multiply bfloat16, or has no dot product of int8, has its rows wider, two words to a step:
// word s of the picture is then words 2s and 2s + 1, see `LinearKernel`.
//
// For AVX-512 an int8 weight is stored as w + 128, unsigned for vpdpbusd; the kernel starts its sum at -128 · Σx. In a
// gated layer the first 32 columns of a block are gates, and the other 32 are the values that they multiply.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cpu/linear_block.h"
#include "cpu/packed.h"
#include "cpu/team.h"
#include "cpu/vector_kernels.h"

namespace intone {

// "int8", "bf16" or "fp32". Throws c10::Error for another name.
WeightType weight_type_named(const std::string& name);

// Packed rows of input. Reused from layer to layer; one owner.
struct PackedRows {
  std::vector<uint32_t> words;  // blocks of up to kBlockRows rows, [tiles, rows of the block, kTileWords] each
  std::vector<float> scales;    // [rows]
  std::vector<int32_t> sums;    // [rows], sums of the int8 inputs

  // Allocates. Call before a team starts: the vectors may move.
  void reserve(int64_t rows, int64_t row_words);
};

// How a sum is stored.
enum class Epilogue {
  kStore,       // y = sum
  kAccumulate,  // y += sum
  kSwiGlu,      // y = SiLU(gate sum) · up sum
  kGelu,        // y = GELU(sum), in the tanh form
};

class Linear {
 public:
  // `weight` [N, K] float or bfloat16, `bias` [N] or nothing; both are copied. `gated`: the layer is only used with
  // kSwiGlu; the first N / 2 outputs are the gate, and there is no bias.
  Linear(const at::Tensor& weight, const std::optional<at::Tensor>& bias, WeightType type, Isa isa, bool gated = false);

  // From a copy of the tensors of `packed`, of a layer with the same type, instruction set and `gated`.
  Linear(const Packed& packed, WeightType type, Isa isa, bool gated = false);

  // The packed tensors, not copies: "sizes" [2], inputs and outputs, "weights", "scales" and "bias" as below.
  Packed packed() const;

  int64_t in() const { return in_; }
  int64_t out() const { return gated_ ? out_ / 2 : out_; }  // columns of y
  bool gated() const { return gated_; }
  Isa isa() const { return isa_; }
  int64_t weight_bytes() const { return weights_.nbytes(); }

  // Words of a packed row.
  int64_t row_words() const { return (steps_ * kernel_.row_words + kTileWords - 1) / kTileWords * kTileWords; }

  // Packs x [K] as row `row` of `count`. Rows may be packed by different threads.
  void pack(const float* x, PackedRows& rows, int64_t row, int64_t count) const;

  // Packs all rows of x [count, K].
  void pack_all(Team& team, const float* x, PackedRows& rows, int64_t count) const;

  // The first `count` rows to y [count, out()].
  void apply(Team& team, const PackedRows& rows, int64_t count, float* y, Epilogue epilogue) const;

  // Packs and applies on a team of its own: x [M, K] float to [M, out()].
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  const VectorKernels& vectors() const { return vector_kernels(isa_); }
  void set_steps();
  int64_t columns() const;
  int64_t column_of(int64_t output) const;
  void store_sums(const float* sums, int64_t block, int64_t first, int64_t count, float* y, Epilogue epilogue) const;

  int64_t in_, out_, steps_;
  WeightType type_;
  Isa isa_;
  LinearKernel kernel_;
  bool gated_;
  at::Tensor weights_;  // [blocks * kBlockColumns, steps] words: [blocks, kPanels, steps, kPanel]
  at::Tensor scales_;   // [blocks * kBlockColumns]
  at::Tensor bias_;     // [blocks * kBlockColumns], zeros where there is none
};

}  // namespace intone
