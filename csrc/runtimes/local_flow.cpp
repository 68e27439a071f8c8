#include "runtimes/local_flow.h"

#include <algorithm>

namespace intone {

LocalFlow::LocalFlow(std::shared_ptr<DecoderStack> stack, Linear frames_in, Linear frames_out)
    : stack_(std::move(stack)), frames_in_(std::move(frames_in)), frames_out_(std::move(frames_out)) {
  TORCH_CHECK(frames_in_.out() == stack_->width() && frames_out_.in() == stack_->width() &&
                  frames_in_.in() == frames_out_.out(),
              "the shapes of the projections do not match the stack");
}

// Writes the tokens of every row; rows beyond the patches are the unconditional ones.
void LocalFlow::place_tokens(Team& team, const Given& given, const float* time, const float* frames,
                             float* tokens) const {
  const int64_t width = stack_->width(), lead = given.length - 2 * given.frames;
  team.split(given.rows * given.length, 4, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      const int64_t row = index / given.length, token = index % given.length, patch = row % given.patches;
      float* to = tokens + index * width;
      if (token >= lead) {
        const int64_t frame = token - lead;
        const float* from = frame < given.frames ? given.previous + (patch * given.frames + frame) * width
                                                 : frames + (patch * given.frames + frame - given.frames) * width;
        std::copy_n(from, width, to);
        continue;
      }
      std::fill_n(to, width, 0.0f);
      if (token < given.condition_tokens && row < given.patches) {
        std::copy_n(given.condition + (patch * given.condition_tokens + token) * width, width, to);
      }
      if (token == lead - 1) {  // the last token of the lead has the time, alone or added to the only condition
        for (int64_t d = 0; d < width; ++d) to[d] += time[d];
      }
    }
  });
}

// One Euler step. velocity [rows, P, D].
void LocalFlow::advance(Team& team, const Given& given, const float* velocity, float length, float* x) const {
  const int64_t size = given.frames * frames_in_.in();
  team.split(given.patches, 1, [&](int64_t begin, int64_t end) {
    for (int64_t patch = begin; patch < end; ++patch) {
      const float* conditional = velocity + patch * size;
      float* of_patch = x + patch * size;
      if (given.guidance == nullptr) {
        for (int64_t i = 0; i < size; ++i) of_patch[i] -= length * conditional[i];
        continue;
      }
      const float* plain = conditional + given.patches * size;  // without the condition
      double overlap = 0.0, square = 0.0;
      for (int64_t i = 0; i < size; ++i) overlap += static_cast<double>(conditional[i]) * plain[i];
      for (int64_t i = 0; i < size; ++i) square += static_cast<double>(plain[i]) * plain[i];
      const float scale = static_cast<float>(overlap / (square + 1e-8)), weight = given.guidance[patch];
      for (int64_t i = 0; i < size; ++i) {
        const float base = scale * plain[i];
        of_patch[i] -= length * (base + weight * (conditional[i] - base));
      }
    }
  });
}

at::Tensor LocalFlow::solve(const at::Tensor& noise, const at::Tensor& condition, const at::Tensor& previous,
                            const at::Tensor& times, const std::vector<double>& lengths,
                            const std::optional<at::Tensor>& guidance) const {
  TORCH_CHECK(noise.dim() == 3 && condition.dim() == 3 && condition.size(1) >= 1 && noise.size(2) == frames_in_.in(),
              "noise is ", noise.sizes(), ", condition is ", condition.sizes());
  const int64_t patches = noise.size(0), frames = noise.size(1), condition_tokens = condition.size(1),
                width = stack_->width();
  const int64_t evaluations = lengths.size();
  TORCH_CHECK(condition.sizes() == at::IntArrayRef({patches, condition_tokens, width}) &&
                  previous.sizes() == at::IntArrayRef({patches, frames, width}) &&
                  times.sizes() == at::IntArrayRef({evaluations, width}) &&
                  (!guidance || guidance->sizes() == at::IntArrayRef({patches})),
              "condition is ", condition.sizes(), ", previous ", previous.sizes(), ", times ", times.sizes(),
              ", which do not match noise ", noise.sizes());
  for (const at::Tensor& tensor : {noise, condition, previous, times, guidance.value_or(noise)}) {
    TORCH_CHECK(tensor.scalar_type() == at::kFloat && tensor.device().is_cpu(), "expected Float on cpu");
  }
  const at::Tensor condition_rows = condition.contiguous(), previous_rows = previous.contiguous(),
                   time_rows = times.contiguous();
  const at::Tensor weights = guidance ? guidance->contiguous() : noise;
  const int64_t rows = guidance ? 2 * patches : patches;
  const int64_t length = (condition_tokens == 1 ? 1 : condition_tokens + 1) + 2 * frames;
  TORCH_CHECK(frames > 0, "noise is ", noise.sizes(), ", expected at least one frame");
  stack_->check_positions(length);
  const Given given{patches,
                    frames,
                    condition_tokens,
                    rows,
                    length,
                    condition_rows.const_data_ptr<float>(),
                    previous_rows.const_data_ptr<float>(),
                    guidance ? weights.const_data_ptr<float>() : nullptr};
  const at::Tensor x = noise.contiguous().clone();
  float* state = x.mutable_data_ptr<float>();
  std::vector<float> embedded(patches * frames * width), tokens(rows * length * width), hidden(rows * frames * width),
      velocity(rows * frames * frames_in_.in());
  PackedRows packed;
  packed.reserve(rows * frames, std::max(frames_in_.row_words(), frames_out_.row_words()));
  const DecoderStack::Sequences sequences{rows, length, length - frames, length};
  DecoderStack::Workspace work = stack_->workspace(sequences);
  Team::run(work.threads, [&](Team& team) {
    for (int64_t index = 0; index < evaluations; ++index) {
      frames_in_.pack_all(team, state, packed, patches * frames);
      frames_in_.apply(team, packed, patches * frames, embedded.data(), Epilogue::kStore);
      place_tokens(team, given, time_rows.const_data_ptr<float>() + index * width, embedded.data(), tokens.data());
      stack_->forward_bidirectional(team, work, sequences, tokens.data(), hidden.data());
      frames_out_.pack_all(team, hidden.data(), packed, rows * frames);
      frames_out_.apply(team, packed, rows * frames, velocity.data(), Epilogue::kStore);
      advance(team, given, velocity.data(), static_cast<float>(lengths[index]), state);
    }
  });
  return x;
}

}  // namespace intone
