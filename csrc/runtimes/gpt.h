// The language model of IndexTTS with its sampling loop: a decoder stack between the embeddings of semantic codes and a
// head over them. Any number of units share it, each with its own settings and state. CPU.
//
// D is the width, V the number of codes. Batch-invariant, bit for bit; independent of the number of threads.

#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "cpu/linear.h"
#include "runtimes/code_sampler.h"
#include "runtimes/decoder_stack.h"

namespace intone {

struct GptCodes {
  int64_t start, stop;        // codes
  int64_t skipped_positions;  // between the start code's position and that of the first code
};

// The state of one unit. Used by one thread at a time.
struct GptUnit {
  std::shared_ptr<DecoderCache> cache;
  CodeSampler sampler;
  int64_t max_codes;
  int64_t min_codes;          // before which the stop code is excluded
  int64_t made = 0;           // codes generated, without the stop code
  int64_t pending_code = -1;  // the last code, until it has been fed to the model
  bool ended = false;         // no code follows
  at::Tensor hidden;          // [1, D], predicts the next code, once `pending_code` has been fed
};

class Gpt {
 public:
  // `codes` [V, D] and `positions` [P, D] are embeddings, float32, which are copied; `head` maps D to V.
  Gpt(std::shared_ptr<DecoderStack> stack, const Linear& head, const at::Tensor& codes, const at::Tensor& positions,
      const GptCodes& special);

  // A new unit: prefills prefix [S, D] and the start code, after the positions of `before` if it is there, which is not
  // changed. `seen` as for `CodeSampler`.
  std::shared_ptr<GptUnit> begin(const at::Tensor& prefix, int64_t max_codes, const SamplingSettings& settings,
                                 const std::vector<int64_t>& seen, int64_t min_codes,
                                 const std::shared_ptr<DecoderCache>& before) const;

  struct Generated {
    at::Tensor codes;   // [n], int64
    at::Tensor hidden;  // [n, D], each the state that predicted the code
    bool ended;         // by the stop code, which is not among `codes`, or at
                        // `max_codes`
  };

  // Up to `count` more codes of each unit. uniforms [units, count], float64 in [0, 1): one number for each draw.
  std::vector<Generated> generate(const std::vector<std::shared_ptr<GptUnit>>& units, int64_t count,
                                  const at::Tensor& uniforms) const;

 private:
  // What one call generates for one unit.
  struct Draft {
    GptUnit* unit;
    const double* uniforms;  // for the next draw
    std::vector<int64_t> codes;
    std::vector<at::Tensor> hidden;
  };

  void generate_next(const std::vector<Draft*>& drafts) const;
  void forward_pending_codes(const std::vector<Draft*>& drafts) const;
  int64_t max_codes() const { return positions_.size(0) - 1 - special_.skipped_positions; }
  void check_unit(const GptUnit& unit) const;
  at::Tensor embedded(int64_t code, int64_t position) const;

  std::shared_ptr<DecoderStack> stack_;
  Linear head_;
  at::Tensor codes_, positions_;
  GptCodes special_;
};

}  // namespace intone
