// What callers of `Gpt` see: a prefix in, codes out, many units at a time.

#include <ATen/ops/empty.h>

#include <algorithm>

#include "runtimes/gpt.h"

namespace intone {

std::shared_ptr<GptUnit> Gpt::begin(const at::Tensor& prefix, int64_t most_codes, const SamplingSettings& settings,
                                    const std::vector<int64_t>& seen, int64_t least_codes) const {
  TORCH_CHECK(prefix.dim() == 2 && prefix.size(1) == width_ && prefix.scalar_type() == at::kFloat, "the prefix is ",
              prefix.sizes(), " ", prefix.scalar_type(), ", expected [S, ", width_, "] Float");
  const int64_t room = positions_.size(0) - 1 - sizes_.skipped_positions;
  TORCH_CHECK(most_codes >= 1 && most_codes <= room, "at most ", most_codes, " codes, expected 1 to ", room);
  auto unit = std::make_shared<GptUnit>(GptUnit{KvBlocks(sizes_.layers, sizes_.heads, width_ / sizes_.heads),
                                                CodeSampler(settings, codes_.size(0), seen), most_codes, least_codes});
  const at::Tensor before = prefix.contiguous();
  unit->length = prefix.size(0) + 1;
  std::vector<float> x(unit->length * width_);
  std::copy_n(before.const_data_ptr<float>(), prefix.numel(), x.data());
  embed(sizes_.start_code, 0, x.data() + prefix.numel());
  std::vector<Row> rows;
  for (int64_t position = 0; position < unit->length; ++position) rows.push_back({&unit->cache, position});
  read(rows, x);
  unit->hidden.resize(width_);
  end_norms(x.data() + prefix.numel(), unit->hidden.data());
  return unit;
}

std::vector<Gpt::Written> Gpt::generate(const std::vector<std::shared_ptr<GptUnit>>& units, int64_t count,
                                        const at::Tensor& uniforms) const {
  const int64_t batch = units.size();
  TORCH_CHECK(count >= 0 && uniforms.sizes() == at::IntArrayRef({batch, count}) && uniforms.is_contiguous(),
              "uniforms are ", uniforms.sizes(), ", expected [", batch, ", ", count, "] contiguous");
  std::vector<Draft> drafts;
  for (int64_t i = 0; i < batch; ++i) {
    TORCH_CHECK(std::count(units.begin(), units.end(), units[i]) == 1, "a unit is there twice");
    drafts.push_back({units[i].get(), uniforms.const_data_ptr<double>() + i * count, {}, {}});
  }
  for (int64_t step = 0; step < count; ++step) {
    std::vector<Draft*> live;
    for (Draft& draft : drafts) {
      if (!draft.unit->ended) live.push_back(&draft);
    }
    if (live.empty()) break;
    write_next(live);
  }
  std::vector<Written> written;
  for (const Draft& draft : drafts) {
    const int64_t made = draft.codes.size();
    Written each{at::empty({made}, at::kLong), at::empty({made, width_}, at::kFloat), draft.unit->ended};
    std::copy(draft.codes.begin(), draft.codes.end(), each.codes.mutable_data_ptr<int64_t>());
    std::copy(draft.hidden.begin(), draft.hidden.end(), each.hidden.mutable_data_ptr<float>());
    written.push_back(std::move(each));
  }
  return written;
}

// One code more of each.
void Gpt::write_next(const std::vector<Draft*>& drafts) const {
  read_last_codes(drafts);
  const int64_t count = drafts.size();
  at::Tensor states = at::empty({count, width_}, at::kFloat);
  for (int64_t i = 0; i < count; ++i) {
    std::copy_n(drafts[i]->unit->hidden.data(), width_, states.mutable_data_ptr<float>() + i * width_);
  }
  const at::Tensor scores = head_(states);  // [units, V]
  for (int64_t i = 0; i < count; ++i) {
    Draft& draft = *drafts[i];
    GptUnit& unit = *draft.unit;
    const int64_t barred = unit.made < unit.least_codes ? sizes_.stop_code : -1;
    const int64_t code = unit.sampler.draw(scores.const_data_ptr<float>() + i * head_.out(), *draft.uniforms++, barred);
    unit.ended = code == sizes_.stop_code;
    if (unit.ended) continue;
    draft.codes.push_back(code);
    draft.hidden.insert(draft.hidden.end(), unit.hidden.begin(), unit.hidden.end());
    unit.unread = code;
    unit.ended = ++unit.made == unit.most_codes;
  }
}

// Brings `hidden` up to the last code of each.
void Gpt::read_last_codes(const std::vector<Draft*>& drafts) const {
  std::vector<GptUnit*> behind;
  for (const Draft* draft : drafts) {
    if (draft->unit->unread >= 0) behind.push_back(draft->unit);
  }
  if (behind.empty()) return;
  std::vector<float> x(behind.size() * width_);
  std::vector<Row> rows;
  for (size_t i = 0; i < behind.size(); ++i) {
    embed(behind[i]->unread, behind[i]->made + sizes_.skipped_positions, x.data() + i * width_);
    rows.push_back({&behind[i]->cache, behind[i]->length});
  }
  read(rows, x);
  for (size_t i = 0; i < behind.size(); ++i) {
    end_norms(x.data() + i * width_, behind[i]->hidden.data());
    behind[i]->length += 1;
    behind[i]->unread = -1;
  }
}

}  // namespace intone
