#include "runtimes/gpt.h"

#include <ATen/Functions.h>

#include <algorithm>

namespace intone {
namespace {

at::Tensor checked_table(const char* name, const at::Tensor& table, int64_t width) {
  TORCH_CHECK(table.dim() == 2 && table.size(0) > 0 && table.size(1) == width && table.scalar_type() == at::kFloat &&
                  table.device().is_cpu(),
              name, " is ", table.sizes(), " ", table.scalar_type(), " on ", table.device(), ", expected [.., ", width,
              "] Float on cpu");
  return table.contiguous().clone();
}

}  // namespace

Gpt::Gpt(std::shared_ptr<DecoderStack> stack, const Linear& head, const at::Tensor& codes, const at::Tensor& positions,
         const GptCodes& special)
    : stack_(std::move(stack)),
      head_(head),
      codes_(checked_table("codes", codes, stack_->width())),
      positions_(checked_table("positions", positions, stack_->width())),
      special_(special) {
  TORCH_CHECK(head.in() == stack_->width() && head.out() == codes_.size(0) && !head.gated(), "the head maps ",
              head.in(), " to ", head.out(), ", expected ", stack_->width(), " to ", codes_.size(0));
  for (const int64_t code : {special.start, special.stop}) {
    TORCH_CHECK(0 <= code && code < codes_.size(0), "found start or stop code ", code, ", expected 0 to ",
                codes_.size(0) - 1);
  }
  TORCH_CHECK(0 <= special.skipped_positions && special.skipped_positions < positions_.size(0), "skipped_positions is ",
              special.skipped_positions, ", expected 0 to ", positions_.size(0) - 1);
}

at::Tensor Gpt::embedded(int64_t code, int64_t position) const { return codes_[code].add(positions_[position]); }

std::shared_ptr<GptUnit> Gpt::begin(const at::Tensor& prefix, int64_t max_codes, const SamplingSettings& settings,
                                    const std::vector<int64_t>& seen, int64_t min_codes,
                                    const std::shared_ptr<DecoderCache>& before) const {
  TORCH_CHECK(prefix.dim() == 2 && prefix.size(1) == stack_->width() && prefix.scalar_type() == at::kFloat &&
                  prefix.device().is_cpu(),
              "the prefix is ", prefix.sizes(), " ", prefix.scalar_type(), " on ", prefix.device(), ", expected [S, ",
              stack_->width(), "] Float on cpu");
  TORCH_CHECK(1 <= max_codes && max_codes <= this->max_codes(), "max_codes is ", max_codes, ", expected 1 to ",
              this->max_codes());
  const int64_t rows = prefix.size(0) + 1, known = before ? before->length : 0, limit = known + rows + max_codes;
  if (before) stack_->check_cache(*before);
  auto unit = std::make_shared<GptUnit>(GptUnit{before ? before->fork(known, limit) : stack_->new_cache(limit),
                                                CodeSampler(settings, codes_.size(0), seen), max_codes, min_codes});
  const at::Tensor x = at::cat({prefix, embedded(special_.start, 0).unsqueeze(0)});
  unit->hidden = stack_->prefill(x, *unit->cache, rows - 1);
  return unit;
}

void Gpt::check_unit(const GptUnit& unit) const {
  stack_->check_cache(*unit.cache);
  TORCH_CHECK(unit.sampler.codes() == codes_.size(0) && unit.max_codes <= max_codes(), "found a unit of ",
              unit.sampler.codes(), " codes, at most ", unit.max_codes, " of them, expected ", codes_.size(0),
              ", at most ", max_codes());
}

std::vector<Gpt::Generated> Gpt::generate(const std::vector<std::shared_ptr<GptUnit>>& units, int64_t count,
                                          const at::Tensor& uniforms) const {
  const int64_t batch = units.size();
  TORCH_CHECK(count >= 0 && uniforms.sizes() == at::IntArrayRef({batch, count}) && uniforms.is_contiguous() &&
                  uniforms.scalar_type() == at::kDouble && uniforms.device().is_cpu(),
              "uniforms are ", uniforms.sizes(), " ", uniforms.scalar_type(), " on ", uniforms.device(), ", expected [",
              batch, ", ", count, "] Double, contiguous, on cpu");
  std::vector<Draft> drafts;
  for (int64_t i = 0; i < batch; ++i) {
    TORCH_CHECK(units[i], "a unit is None");
    check_unit(*units[i]);
    TORCH_CHECK(std::count(units.begin(), units.end(), units[i]) == 1, "a unit is in the batch twice");
    drafts.push_back({units[i].get(), uniforms.const_data_ptr<double>() + i * count, {}, {}});
  }
  for (int64_t step = 0; step < count; ++step) {
    std::vector<Draft*> live;
    for (Draft& draft : drafts) {
      if (!draft.unit->ended) live.push_back(&draft);
    }
    if (live.empty()) break;
    generate_next(live);
  }
  std::vector<Generated> generated;
  for (const Draft& draft : drafts) {
    const at::Tensor hidden =
        draft.hidden.empty() ? at::empty({0, stack_->width()}, at::kFloat) : at::cat(draft.hidden);
    generated.push_back({at::tensor(draft.codes, at::kLong), hidden, draft.unit->ended});
  }
  return generated;
}

// Generates one more code of each.
void Gpt::generate_next(const std::vector<Draft*>& drafts) const {
  forward_pending_codes(drafts);
  std::vector<at::Tensor> states;
  for (const Draft* draft : drafts) states.push_back(draft->unit->hidden);
  const at::Tensor scores = head_(at::cat(states));  // [units, V]
  for (size_t i = 0; i < drafts.size(); ++i) {
    Draft& draft = *drafts[i];
    GptUnit& unit = *draft.unit;
    const int64_t excluded = unit.made < unit.min_codes ? special_.stop : -1;
    const int64_t code =
        unit.sampler.draw(scores.const_data_ptr<float>() + i * head_.out(), *draft.uniforms++, excluded);
    unit.ended = code == special_.stop;
    if (unit.ended) continue;
    draft.codes.push_back(code);
    draft.hidden.push_back(unit.hidden);
    unit.pending_code = code;
    unit.ended = ++unit.made == unit.max_codes;
  }
}

// Feeds the last code of each to the model, which updates `hidden`.
void Gpt::forward_pending_codes(const std::vector<Draft*>& drafts) const {
  std::vector<GptUnit*> behind;
  std::vector<at::Tensor> rows;
  std::vector<std::shared_ptr<DecoderCache>> caches;
  for (const Draft* draft : drafts) {
    GptUnit& unit = *draft->unit;
    if (unit.pending_code < 0) continue;
    behind.push_back(&unit);
    rows.push_back(embedded(unit.pending_code, unit.made + special_.skipped_positions));
    caches.push_back(unit.cache);
  }
  if (behind.empty()) return;
  const at::Tensor hidden = stack_->step(at::stack(rows), caches);
  for (size_t i = 0; i < behind.size(); ++i) {
    behind[i]->hidden = hidden.narrow(0, i, 1);
    behind[i]->pending_code = -1;
  }
}

}  // namespace intone
