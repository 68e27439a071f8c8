// Where the rows of all streams stand between the stages of a chain. Knows no arithmetic.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "runtimes/audio_vae_pass.h"
#include "runtimes/audio_vae_stage.h"

namespace intone {

// One stream at one stage. Products of the stage's matrix come in rows too: each makes `up` rows of output out of
// `stride` rows of input.
struct Place {
  int64_t product, products;  // the first among those of all streams, and how many
  int64_t seen, plain;        // floats before its input and before its output
};

// The input of a stage begins with its tail, and stands there as the activation before it left it: the stage before
// applies that. Its output stands there as it is, for whoever adds it, and as the next one's input.
class Rows {
 public:
  Rows(const std::vector<Stage>& stages, const std::vector<StreamPart>& streams);

  size_t streams() const { return parts_.size(); }
  int64_t products(size_t stage) const { return places_[stage].back().product + places_[stage].back().products; }
  const Place& place(size_t stage, size_t stream) const { return places_[stage][stream]; }

  // From the stage's tail on, `stages[stage].seen_stride()` apart.
  float* seen(size_t stage, size_t stream) const;
  // Behind the next stage's tail; null after the last stage.
  float* next(size_t stage, size_t stream) const;
  // [products, columns]; null where nobody needs it.
  float* plain(size_t stage, size_t stream) const;

  // Brings a stream's tail and rows before the first stage.
  void begin(size_t stream) const;
  // Keeps the end of a stage's input, and puts the next one's tail before where the stage writes.
  void move_tails(size_t stage, size_t stream) const;
  // Hands out what the last stage made, unless it made samples, which it hands out itself.
  void end() const;

 private:
  void put_tail(size_t stage, size_t stream) const;
  void keep_tail(size_t stage, size_t stream) const;

  const std::vector<Stage>& stages_;
  const std::vector<StreamPart>& parts_;
  std::vector<std::vector<Place>> places_;  // [stages][streams]
  at::Tensor seen_[2], plain_;              // inputs of even and of odd stages, and outputs
};

}  // namespace intone
