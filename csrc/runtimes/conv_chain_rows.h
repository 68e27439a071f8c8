// The buffers of a pass: where the rows of all streams are stored between the stages of a chain.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "runtimes/conv_chain_pass.h"
#include "runtimes/conv_chain_stage.h"

namespace intone {

// One stream at one stage. A product is one row times the stage's matrix: it makes `up` rows of output from `stride`
// rows of input.
struct Place {
  int64_t product, products;  // index of the first among all streams' products, and their number
  int64_t input, plain;       // offsets of its input and its output, in floats
};

// The input of a stage starts with its tail and is stored after the activation, which the stage before applies. The
// output is stored twice where needed: plain, for residual additions, and activated, as the next stage's input.
class Rows {
 public:
  Rows(const std::vector<Stage>& stages, const std::vector<StreamPart>& streams);

  size_t streams() const { return parts_.size(); }
  int64_t products(size_t stage) const { return places_[stage].back().product + places_[stage].back().products; }
  const Place& place(size_t stage, size_t stream) const { return places_[stage][stream]; }

  // The stage's input from its tail on; rows are `stages[stage].input_stride()` apart.
  float* input(size_t stage, size_t stream) const;
  // Where the next stage's input starts behind its tail; null after the last stage.
  float* next(size_t stage, size_t stream) const;
  // The plain output [products, columns]; null where it is not needed.
  float* plain(size_t stage, size_t stream) const;

  // Copies a stream's tail and input rows to the first stage.
  void begin(size_t stream) const;
  // Saves the end of a stage's input as its tail, and copies the next stage's tail in front of where this stage writes.
  void move_tails(size_t stage, size_t stream) const;
  // Copies the last stage's output to the streams, unless it is samples, which the stage writes there itself.
  void end() const;

 private:
  void put_tail(size_t stage, size_t stream) const;
  void keep_tail(size_t stage, size_t stream) const;

  const std::vector<Stage>& stages_;
  const std::vector<StreamPart>& parts_;
  std::vector<std::vector<Place>> places_;  // [stages][streams]
  at::Tensor input_[2], plain_;             // inputs of even and of odd stages; plain outputs
};

}  // namespace intone
