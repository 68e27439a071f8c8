#include "runtimes/code_sampler.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace intone {

CodeSampler::CodeSampler(const SamplingSettings& settings, int64_t codes, const std::vector<int64_t>& seen)
    : settings_(settings), seen_(codes) {
  TORCH_CHECK(std::isfinite(settings.temperature) && settings.temperature >= 0.0f, "temperature is ",
              settings.temperature, ", expected 0 and up");
  TORCH_CHECK(settings.top_k >= 0, "top_k is ", settings.top_k, ", expected 0 and up");
  TORCH_CHECK(0.0f < settings.top_p && settings.top_p <= 1.0f, "top_p is ", settings.top_p, ", expected over 0 to 1");
  TORCH_CHECK(std::isfinite(settings.penalty) && settings.penalty > 0.0f, "penalty is ", settings.penalty,
              ", expected over 0");
  TORCH_CHECK(settings.min_tokens_to_keep >= 1, "min_tokens_to_keep is ", settings.min_tokens_to_keep,
              ", expected 1 and up");
  for (const int64_t code : seen) {
    TORCH_CHECK(0 <= code && code < codes, "seen has code ", code, ", expected 0 to ", codes - 1);
    seen_[code] = 1;
  }
}

int64_t CodeSampler::draw(const float* logits, double uniform, int64_t excluded) {
  rank(logits, excluded);
  cut();
  const int64_t code = select(uniform);
  seen_[code] = 1;
  return code;
}

// The top_k candidates after penalty and temperature, best first.
void CodeSampler::rank(const float* logits, int64_t excluded) {
  const int64_t codes = seen_.size();
  const bool greedy = settings_.temperature == 0.0f;
  const float temperature = greedy ? 1.0f : settings_.temperature;
  candidates_.resize(codes);
  for (int64_t code = 0; code < codes; ++code) {
    float score = logits[code];
    if (seen_[code]) score = score < 0.0f ? score * settings_.penalty : score / settings_.penalty;
    TORCH_CHECK(!std::isnan(score), "the score of code ", code, " is not a number");
    candidates_[code] = {code == excluded ? -std::numeric_limits<float>::infinity() : score / temperature, code};
  }
  const int64_t top_k = settings_.top_k == 0 ? codes : std::min(settings_.top_k, codes);
  const int64_t count = greedy ? 1 : std::min(std::max(settings_.min_tokens_to_keep, top_k), codes);
  std::partial_sort(candidates_.begin(), candidates_.begin() + count, candidates_.end(),
                    [](const Candidate& a, const Candidate& b) {
                      return a.score > b.score || (a.score == b.score && a.code < b.code);
                    });
  candidates_.resize(count);
}

// Keeps the most probable candidates whose total probability is top_p. Summed from the least probable on, as in the
// reference.
void CodeSampler::cut() {
  double total = 0.0, tail = 0.0;
  for (const Candidate& each : candidates_) total += std::exp(each.score - candidates_.front().score);
  const double limit = 1.0f - settings_.top_p;
  int64_t count = candidates_.size();
  while (count > settings_.min_tokens_to_keep) {
    tail += std::exp(candidates_[count - 1].score - candidates_.front().score);
    if (tail / total > limit) break;
    --count;
  }
  candidates_.resize(count);
}

// Selects by cumulative probability in order of ids, which does not change when rounding swaps two candidates of nearly
// equal score.
int64_t CodeSampler::select(double uniform) {
  const float best = candidates_.front().score;
  std::sort(candidates_.begin(), candidates_.end(),
            [](const Candidate& a, const Candidate& b) { return a.code < b.code; });
  double total = 0.0;
  for (const Candidate& each : candidates_) total += std::exp(static_cast<double>(each.score) - best);
  double end = 0.0;
  for (const Candidate& each : candidates_) {
    end += std::exp(static_cast<double>(each.score) - best);
    if (end > uniform * total) return each.code;
  }
  return candidates_.back().code;
}

}  // namespace intone
