// One walk of some rows of some streams through all stages of a chain, on all threads side by side.

#pragma once

#include <cstdint>
#include <vector>

#include "runtimes/audio_vae_stage.h"

namespace intone {

// What a pass takes of one stream, and where it leaves what comes of it.
struct StreamPart {
  const float* input;                // [rows, Cin of the first stage]
  int64_t rows;                      // whole frames
  float* output;                     // [.., Cout of the last stage]
  std::vector<const float*> before;  // of each stage its tail [tail_rows, Cin]
  std::vector<float*> after;         // may be the same memory
};

// Adds to `stage_ms` the milliseconds that each stage takes, where it is given.
void run_pass(const std::vector<Stage>& stages, const ConvKernels& kernels, const std::vector<StreamPart>& streams,
              std::vector<double>* stage_ms);

}  // namespace intone
