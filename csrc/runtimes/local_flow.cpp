#include "runtimes/local_flow.h"

#include <algorithm>

namespace intone {

LocalFlow::LocalFlow(std::shared_ptr<Transformer> stack, Linear frames_in, Linear frames_out)
    : stack_(std::move(stack)), frames_in_(std::move(frames_in)), frames_out_(std::move(frames_out)) {
  TORCH_CHECK(frames_in_.out() == stack_->width() && frames_out_.in() == stack_->width() &&
                  frames_in_.in() == frames_out_.out(),
              "the projections do not fit the stack");
}

// The tokens of every row; rows beyond the patches are those without a wish.
void LocalFlow::place_tokens(Team& team, const Given& given, const float* time, const float* frames,
                             float* tokens) const {
  const int64_t width = stack_->width(), lead = given.length - 2 * given.frames;
  team.split(given.rows * given.length, 4, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      const int64_t row = index / given.length, token = index % given.length, patch = row % given.patches;
      float* to = tokens + index * width;
      if (token >= lead) {
        const int64_t frame = token - lead;
        const float* from = frame < given.frames ? given.before + (patch * given.frames + frame) * width
                                                 : frames + (patch * given.frames + frame - given.frames) * width;
        std::copy_n(from, width, to);
        continue;
      }
      std::fill_n(to, width, 0.0f);
      if (token < given.wishes && row < given.patches) {
        std::copy_n(given.wish + (patch * given.wishes + token) * width, width, to);
      }
      if (token == lead - 1) {  // the last of the lead tells the time, alone or beside the only wish
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
      const float *wished = velocity + patch * size, *plain = wished + given.patches * size;
      float* of_patch = x + patch * size;
      if (given.guidance == nullptr) {
        for (int64_t i = 0; i < size; ++i) of_patch[i] -= length * wished[i];
        continue;
      }
      double overlap = 0.0, square = 0.0;
      for (int64_t i = 0; i < size; ++i) overlap += static_cast<double>(wished[i]) * plain[i];
      for (int64_t i = 0; i < size; ++i) square += static_cast<double>(plain[i]) * plain[i];
      const float scale = static_cast<float>(overlap / (square + 1e-8)), weight = given.guidance[patch];
      for (int64_t i = 0; i < size; ++i) {
        const float base = scale * plain[i];
        of_patch[i] -= length * (base + weight * (wished[i] - base));
      }
    }
  });
}

at::Tensor LocalFlow::solve(const at::Tensor& noise, const at::Tensor& wish, const at::Tensor& before,
                            const at::Tensor& times, const std::vector<double>& lengths,
                            const std::optional<at::Tensor>& guidance) const {
  TORCH_CHECK(noise.dim() == 3 && wish.dim() == 3 && wish.size(1) >= 1 && noise.size(2) == frames_in_.in(), "noise is ",
              noise.sizes(), ", wish is ", wish.sizes());
  const int64_t patches = noise.size(0), frames = noise.size(1), wishes = wish.size(1), width = stack_->width();
  const int64_t evaluations = lengths.size();
  TORCH_CHECK(wish.sizes() == at::IntArrayRef({patches, wishes, width}) &&
                  before.sizes() == at::IntArrayRef({patches, frames, width}) &&
                  times.sizes() == at::IntArrayRef({evaluations, width}) &&
                  (!guidance || guidance->sizes() == at::IntArrayRef({patches})),
              "wish is ", wish.sizes(), ", before ", before.sizes(), ", times ", times.sizes(),
              ": they do not fit noise ", noise.sizes());
  for (const at::Tensor& tensor : {noise, wish, before, times, guidance.value_or(noise)}) {
    TORCH_CHECK(tensor.scalar_type() == at::kFloat && tensor.device().is_cpu(), "expected Float on cpu");
  }
  const at::Tensor wish_rows = wish.contiguous(), before_rows = before.contiguous(), time_rows = times.contiguous();
  const at::Tensor weights = guidance ? guidance->contiguous() : noise;
  const int64_t rows = guidance ? 2 * patches : patches, length = (wishes == 1 ? 1 : wishes + 1) + 2 * frames;
  const Given given{patches,
                    frames,
                    wishes,
                    rows,
                    length,
                    wish_rows.const_data_ptr<float>(),
                    before_rows.const_data_ptr<float>(),
                    guidance ? weights.const_data_ptr<float>() : nullptr};
  const at::Tensor x = noise.contiguous().clone();
  float* state = x.mutable_data_ptr<float>();
  std::vector<float> embedded(patches * frames * width), tokens(rows * length * width), hidden(rows * frames * width),
      velocity(rows * frames * frames_in_.in());
  PackedRows packed;
  packed.reserve(rows * frames, std::max(frames_in_.row_words(), frames_out_.row_words()));
  Transformer::Workspace work = stack_->workspace(rows * length);
  Team::run([&](Team& team) {
    for (int64_t index = 0; index < evaluations; ++index) {
      frames_in_.pack_all(team, state, packed, patches * frames);
      frames_in_.apply(team, packed, patches * frames, embedded.data(), Ending::kStore);
      place_tokens(team, given, time_rows.const_data_ptr<float>() + index * width, embedded.data(), tokens.data());
      stack_->see_all(team, work, {rows, length, length - frames, length}, tokens.data(), hidden.data());
      frames_out_.pack_all(team, hidden.data(), packed, rows * frames);
      frames_out_.apply(team, packed, rows * frames, velocity.data(), Ending::kStore);
      advance(team, given, velocity.data(), static_cast<float>(lengths[index]), state);
    }
  });
  return x;
}

}  // namespace intone
