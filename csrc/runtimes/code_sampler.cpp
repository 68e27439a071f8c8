#include "runtimes/code_sampler.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace intone {

CodeSampler::CodeSampler(const SamplingSettings& settings, int64_t codes, const std::vector<int64_t>& seen)
    : settings_(settings), seen_(codes) {
  for (const int64_t code : seen) seen_.at(code) = 1;
}

int64_t CodeSampler::draw(const float* logits, double uniform, int64_t barred) {
  rank(logits, barred);
  cut();
  const int64_t code = pick(uniform);
  seen_[code] = 1;
  return code;
}

// The best codes after penalty and temperature, in falling order.
void CodeSampler::rank(const float* logits, int64_t barred) {
  const int64_t codes = seen_.size();
  const bool greedy = settings_.temperature == 0.0f;
  const float temperature = greedy ? 1.0f : settings_.temperature;
  kept_.resize(codes);
  for (int64_t code = 0; code < codes; ++code) {
    float score = logits[code];
    if (seen_[code]) score = score < 0.0f ? score * settings_.penalty : score / settings_.penalty;
    TORCH_CHECK(!std::isnan(score), "the score of code ", code, " is not a number");
    kept_[code] = {code == barred ? -std::numeric_limits<float>::infinity() : score / temperature, code};
  }
  const int64_t wanted = settings_.top_k == 0 ? codes : std::min(settings_.top_k, codes);
  const int64_t count = greedy ? 1 : std::min(std::max(settings_.least, wanted), codes);
  std::partial_sort(kept_.begin(), kept_.begin() + count, kept_.end(), [](const Candidate& a, const Candidate& b) {
    return a.score > b.score || (a.score == b.score && a.code < b.code);
  });
  kept_.resize(count);
}

// Leaves the likeliest codes that have the probability top_p together. Summed from the unlikely end, as the original
// is.
void CodeSampler::cut() {
  double total = 0.0, tail = 0.0;
  for (const Candidate& each : kept_) total += std::exp(each.score - kept_.front().score);
  const double limit = 1.0f - settings_.top_p;
  int64_t count = kept_.size();
  while (count > settings_.least) {
    tail += std::exp(kept_[count - 1].score - kept_.front().score);
    if (tail / total > limit) break;
    --count;
  }
  kept_.resize(count);
}

// Lays the codes side by side in the order of their ids, which does not change when two likely ones change places by
// rounding.
int64_t CodeSampler::pick(double uniform) {
  const float best = kept_.front().score;
  std::sort(kept_.begin(), kept_.end(), [](const Candidate& a, const Candidate& b) { return a.code < b.code; });
  double total = 0.0;
  for (const Candidate& each : kept_) total += std::exp(static_cast<double>(each.score) - best);
  double end = 0.0;
  for (const Candidate& each : kept_) {
    end += std::exp(static_cast<double>(each.score) - best);
    if (end > uniform * total) return each.code;
  }
  return kept_.back().code;
}

}  // namespace intone
