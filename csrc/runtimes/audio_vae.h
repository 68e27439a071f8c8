// A chain of causal convolutions over rows of channels, which is what the encoder and the decoder of an audio VAE are.
// Knows neither recordings nor voices. float32.
//
// A stage keeps the rows of past that its next call needs, its tail, zeros at first. Any way of cutting the input gives
// the same output to the bit, and so does any company of other streams.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtimes/audio_vae_stage.h"

namespace intone {

class ConvChain {
 public:
  // `isa` as `isa_named` has it.
  ConvChain(const std::vector<StageWeights>& stages, const std::string& isa);

  // As another one was packed for this instruction set, from a copy of what its `packed` gave.
  ConvChain(const Packed& packed, const std::string& isa);

  // What its stages packed, each under its number. Not copies.
  Packed packed() const;

  using Tails = std::vector<at::Tensor>;  // of each stage [1, tail_rows, Cin]
  struct Result {
    at::Tensor output;  // [T · rows_out / rows_in, Cout]
    Tails tails;        // all in one piece of memory
  };

  // Goes on with every stream: its input [T, Cin], T a multiple of `rows_in`, and its tails, which stay as they are.
  std::vector<Result> run(const std::vector<at::Tensor>& inputs, const std::vector<Tails>& tails) const {
    return run(inputs, tails, nullptr);
  }

  // Milliseconds that each stage of that takes.
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
  int64_t rows_in_ = 1, rows_out_ = 1;  // of a frame: so many that every stage makes whole rows of them
};

}  // namespace intone
