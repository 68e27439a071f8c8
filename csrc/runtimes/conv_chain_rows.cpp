#include "runtimes/conv_chain_rows.h"

#include <ATen/ops/empty.h>

#include <algorithm>

namespace intone {
namespace {

// Copies rows between two strides; the padding between rows becomes zero.
void copy_rows(const float* source, int64_t source_stride, float* to, int64_t stride, int64_t rows, int64_t channels) {
  for (int64_t row = 0; row < rows; ++row, source += source_stride, to += stride) {
    std::copy_n(source, channels, to);
    std::fill(to + channels, to + stride, 0.0f);
  }
}

}  // namespace

Rows::Rows(const std::vector<Stage>& stages, const std::vector<StreamPart>& streams)
    : stages_(stages), parts_(streams) {
  std::vector<int64_t> rows;
  for (const StreamPart& stream : streams) rows.push_back(stream.rows);
  int64_t max_input[2] = {}, max_plain = 0;
  for (size_t s = 0; s < stages.size(); ++s) {
    const Stage& stage = stages[s];
    Place place{};
    places_.emplace_back();
    for (int64_t& count : rows) {
      place.products = count / stage.stride;
      places_[s].push_back(place);
      place.product += place.products;
      place.input += (stage.tail_rows + count) * stage.input_stride();
      place.plain += place.products * stage.columns;
      count = place.products * stage.up;
    }
    max_input[s % 2] = std::max(max_input[s % 2], place.input);
    max_plain = std::max(max_plain, place.plain);
  }
  for (int i = 0; i < 2; ++i) input_[i] = at::empty(max_input[i], at::kFloat);
  plain_ = at::empty(max_plain, at::kFloat);
}

float* Rows::input(size_t stage, size_t stream) const {
  return input_[stage % 2].mutable_data_ptr<float>() + places_[stage][stream].input;
}

float* Rows::next(size_t stage, size_t stream) const {
  if (stage + 1 == stages_.size()) return nullptr;
  const Stage& next = stages_[stage + 1];
  return input(stage + 1, stream) + next.tail_rows * next.input_stride();
}

float* Rows::plain(size_t stage, size_t stream) const {
  const bool last = stage + 1 == stages_.size();
  const bool needed = last || stages_[stage].residual || stages_[stage + 1].residual;
  return needed ? plain_.mutable_data_ptr<float>() + places_[stage][stream].plain : nullptr;
}

void Rows::begin(size_t stream) const {
  const Stage& stage = stages_[0];
  put_tail(0, stream);
  copy_rows(parts_[stream].input, stage.channels, input(0, stream) + stage.tail_rows * stage.input_stride(),
            stage.input_stride(), parts_[stream].rows, stage.channels);
}

void Rows::move_tails(size_t stage, size_t stream) const {
  keep_tail(stage, stream);
  if (stage + 1 < stages_.size()) put_tail(stage + 1, stream);
}

void Rows::end() const {
  const Stage& last = stages_.back();
  if (last.to_one) return;
  for (size_t stream = 0; stream < parts_.size(); ++stream) {
    copy_rows(plain(stages_.size() - 1, stream), last.out_width, parts_[stream].output, last.out_channels,
              places_.back()[stream].products * last.up, last.out_channels);
  }
}

void Rows::put_tail(size_t s, size_t stream) const {
  const Stage& stage = stages_[s];
  copy_rows(parts_[stream].before[s], stage.channels, input(s, stream), stage.input_stride(), stage.tail_rows,
            stage.channels);
}

void Rows::keep_tail(size_t s, size_t stream) const {
  const Stage& stage = stages_[s];
  const int64_t rows = places_[s][stream].products * stage.stride;  // of input; the tail ends with them
  copy_rows(input(s, stream) + rows * stage.input_stride(), stage.input_stride(), parts_[stream].after[s],
            stage.channels, stage.tail_rows, stage.channels);
}

}  // namespace intone
