// One pass of some rows of some streams through all stages of a chain, on all threads.

#pragma once

#include <cstdint>
#include <vector>

#include "runtimes/conv_chain_stage.h"

namespace intone {

// Input and output of a pass for one stream.
struct StreamPart {
  const float* input;                // [rows, Cin of the first stage]
  int64_t rows;                      // a whole number of frames
  float* output;                     // [.., Cout of the last stage]
  std::vector<const float*> before;  // tail of each stage, [tail_rows, Cin]
  std::vector<float*> after;         // tails after the pass; may be the memory of `before`
};

// Adds the milliseconds that each stage takes to `stage_ms`, unless it is null.
void run_pass(const std::vector<Stage>& stages, const ConvKernels& kernels, const std::vector<StreamPart>& streams,
              std::vector<double>* stage_ms);

}  // namespace intone
