// The solver of VoxCPM's flow matching with its diffusion transformer (LocDiT): noise to patch in one call. Euler
// steps, classifier-free guidance with the optimised scale of CFG-Zero* (arXiv 2503.18886). CPU, float activations.
//
// B patches of P frames of D numbers; H is the transformer's width.

#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "runtimes/decoder_stack.h"

namespace intone {

class LocalFlow {
 public:
  // `frames_in` from D to H, `frames_out` from H to D.
  LocalFlow(std::shared_ptr<DecoderStack> stack, Linear frames_in, Linear frames_out);

  // noise [B, P, D] to patches [B, P, D]. `condition` [B, C, H], from the language models, and the embedded `previous`
  // patch [B, P, H] are the same in every evaluation. Evaluation e has the time embedding `times[e]` of `times` [E, H],
  // which is added to the condition if C is 1 and is a token of its own otherwise, and the step `lengths[e]`.
  // `guidance` [B] is the weight of the condition; nothing means 1 for all.
  at::Tensor solve(const at::Tensor& noise, const at::Tensor& condition, const at::Tensor& previous,
                   const at::Tensor& times, const std::vector<double>& lengths,
                   const std::optional<at::Tensor>& guidance) const;

 private:
  // Sizes and inputs of a call, all contiguous.
  struct Given {
    int64_t patches, frames, condition_tokens;
    int64_t rows;    // twice the patches with guidance
    int64_t length;  // tokens of a row
    const float *condition, *previous, *guidance;
  };

  void place_tokens(Team& team, const Given& given, const float* time, const float* frames, float* tokens) const;
  void advance(Team& team, const Given& given, const float* velocity, float length, float* x) const;

  std::shared_ptr<DecoderStack> stack_;
  Linear frames_in_, frames_out_;
};

}  // namespace intone
