// A chain of causal convolutions over rows of channels: the encoder or the decoder of an audio VAE. CPU, float32.
//
// Each stage keeps a tail, the rows of past that its next call needs, zeros at first. Chunk-invariant and
// batch-invariant, bit for bit.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtimes/conv_chain_stage.h"

namespace intone {

class ConvChain {
 public:
  // `isa` as for `isa_named`.
  ConvChain(const std::vector<StageWeights>& stages, const std::string& isa);

  // From a copy of the tensors of `packed`, of a chain packed for the same instruction set.
  ConvChain(const Packed& packed, const std::string& isa);

  // The packed tensors of every stage under its index. Not copies.
  Packed packed() const;

  using Tails = std::vector<at::Tensor>;  // one per stage, [1, tail_rows, Cin]
  struct Result {
    at::Tensor output;  // [T · rows_out / rows_in, Cout]
    Tails tails;        // views of one allocation
  };

  // Continues every stream from its tails, which are not changed. Input [T, Cin], T a multiple of `rows_in`.
  std::vector<Result> run(const std::vector<at::Tensor>& inputs, const std::vector<Tails>& tails) const {
    return run(inputs, tails, nullptr);
  }

  // Milliseconds that each stage of `run` takes.
  std::vector<double> stage_ms(const std::vector<at::Tensor>& inputs, const std::vector<Tails>& tails) const;

  // [tail_rows, Cin] of each stage.
  std::vector<std::pair<int64_t, int64_t>> tail_shapes() const;

 private:
  std::vector<Result> run(const std::vector<at::Tensor>& inputs, const std::vector<Tails>& tails,
                          std::vector<double>* stage_ms) const;
  void add(const Stage& stage);
  void check(const at::Tensor& input, const Tails& tails) const;
  Result empty_result(int64_t frames) const;

  std::vector<Stage> stages_;
  const ConvKernels& kernels_;
  int64_t rows_in_ = 1,
          rows_out_ = 1;  // rows of a frame at the input and output: every stage takes and makes whole rows of it
};

}  // namespace intone
