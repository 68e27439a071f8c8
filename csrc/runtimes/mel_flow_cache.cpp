// Frames that a solve takes from a cache instead of computing them.

#include <ATen/ops/empty.h>

#include "runtimes/mel_flow.h"
#include "runtimes/mel_flow_work.h"

namespace intone {

void MelFlow::check_cached(const at::Tensor& noise, const at::Tensor& rows, const Times& times,
                           const Cached& cached) const {
  const int64_t wanted = rows.size(0) * times.lengths.size(), found = cached.size();
  TORCH_CHECK(found == 0 || found == wanted, "found ", found, " cached sequences, expected ", wanted, " or none");
  int64_t frames = 0;
  for (const CachedFrames* each : cached) {
    TORCH_CHECK(each != nullptr && each->frames_ == cached.front()->frames_ &&
                    each->layers_ == static_cast<int64_t>(layers_.size()) && each->heads_ == heads_ &&
                    each->each_ == HeadMemory::copied_words(each->frames_, width_ / heads_),
                "cached frames of another model or of different numbers");
    frames = each->frames_;
  }
  const GatedConv& conv = convs_.front();
  const int64_t context = conv.padding + conv.padding_after, known = rows.size(1) - noise.size(0);
  TORCH_CHECK(frames == 0 || known >= context, known, " known frames after the cached ones, expected ", context);
  TORCH_CHECK(frames + rows.size(1) <= cos_.size(0), frames + rows.size(1), " frames, expected at most ", cos_.size(0));
}

// Keys and values of cached frames.
void MelFlow::load_cached(Team& team, Work& work, const Step& step, size_t layer) const {
  if (step.cached.empty()) return;
  team.split(work.sequences * heads_, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      work.memories[task].copy_from(work.cached, step.cached[task / heads_]->of(layer, task % heads_));
    }
  });
}

CachedFrames MelFlow::cache(const at::Tensor& rows, int64_t frames, const at::Tensor& norms) const {
  const int64_t layers = static_cast<int64_t>(layers_.size());
  TORCH_CHECK(rows.dim() == 2 && rows.size(1) == width_ && rows.size(0) <= cos_.size(0) &&
                  norms.sizes() == at::IntArrayRef({2 * layers + 1, 2, width_}),
              "rows are ", rows.sizes(), " and norms are ", norms.sizes(), ", expected [at most ", cos_.size(0), ", ",
              width_, "] and [", 2 * layers + 1, ", 2, ", width_, "]");
  TORCH_CHECK(0 < frames && frames <= rows.size(0) && frames % kPanel == 0, frames, " of ", rows.size(0),
              " frames, expected a multiple of ", kPanel);
  for (const at::Tensor& tensor : {rows, norms}) check_float(tensor);
  const at::Tensor given = rows.contiguous().unsqueeze(0), scales = norms.contiguous();
  at::Tensor nothing = at::empty({0, bands_}, at::kFloat);
  Work work(*this, nothing, given, 0.0, 0);
  const Step step{scales.const_data_ptr<float>(), nullptr, nullptr, 0.0f, {}};
  CachedFrames found(frames, layers, heads_, HeadMemory::copied_words(frames, width_ / heads_));
  Team::run(work.threads, [&](Team& team) {
    for (int64_t layer = 0; layer < layers; ++layer) {
      project_all(team, work, step, layer);
      team.split(heads_, 1, [&](int64_t begin, int64_t end) {
        for (int64_t head = begin; head < end; ++head) work.memories[head].copy_to(frames, found.of(layer, head));
      });
      if (layer + 1 < layers) attend(team, work, 0);
    }
  });
  return found;
}

}  // namespace intone
