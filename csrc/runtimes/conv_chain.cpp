#include "runtimes/conv_chain.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "runtimes/conv_chain_pass.h"

namespace intone {
namespace {

constexpr int64_t kMaxFrames = 16;                   // of all streams in one pass: bounds its memory
constexpr int64_t kMaxFrameRows = int64_t{1} << 20;  // so that products of sizes do not overflow

// A stream and the frames that further passes must compute.
struct PendingStream {
  StreamPart part;
  int64_t frames_left;
};

}  // namespace

ConvChain::ConvChain(const std::vector<StageWeights>& stages, const std::string& isa)
    : kernels_(conv_kernels(isa_named(isa))) {
  TORCH_CHECK(!stages.empty(), "a chain has at least one stage");
  for (size_t i = 0; i < stages.size(); ++i) add(Stage(stages[i], i, stages.size()));
}

ConvChain::ConvChain(const Packed& packed, const std::string& isa) : kernels_(conv_kernels(isa_named(isa))) {
  std::vector<Packed> stages;
  for (Packed stage = inner(packed, "0"); !stage.empty(); stage = inner(packed, std::to_string(stages.size()))) {
    stages.push_back(stage);
  }
  TORCH_CHECK(!stages.empty(), "a packed chain has at least one stage");
  for (size_t i = 0; i < stages.size(); ++i) add(Stage(stages[i], i, stages.size()));
}

Packed ConvChain::packed() const {
  Packed all;
  for (size_t i = 0; i < stages_.size(); ++i) put(all, std::to_string(i), stages_[i].packed());
  return all;
}

void ConvChain::add(const Stage& stage) {
  if (stages_.empty()) {
    TORCH_CHECK(!stage.alpha.defined() && !stage.scale.defined() && !stage.residual,
                "the first stage has no alpha, no scale and no residual");
  } else {
    const int64_t channels = stages_.back().out_channels;
    TORCH_CHECK(stage.channels == channels, "stage ", stages_.size(), " takes ", stage.channels, " channels, expected ",
                channels);
  }
  rows_in_ *= stage.stride;
  rows_out_ *= stage.up;
  TORCH_CHECK(rows_in_ <= kMaxFrameRows && rows_out_ <= kMaxFrameRows, "a frame has ", rows_in_, " rows of input and ",
              rows_out_, " of output, expected at most ", kMaxFrameRows);
  stages_.push_back(stage);
}

std::vector<std::pair<int64_t, int64_t>> ConvChain::tail_shapes() const {
  std::vector<std::pair<int64_t, int64_t>> shapes;
  for (const Stage& stage : stages_) shapes.emplace_back(stage.tail_rows, stage.channels);
  return shapes;
}

void ConvChain::check(const at::Tensor& input, const Tails& tails) const {
  const int64_t channels = stages_[0].channels;
  TORCH_CHECK(input.dim() == 2 && input.size(0) > 0 && input.size(0) % rows_in_ == 0 && input.size(1) == channels,
              "the input is ", input.sizes(), ", expected [a multiple of ", rows_in_, ", ", channels, "]");
  TORCH_CHECK(input.scalar_type() == at::kFloat && input.device().is_cpu(), "the input is ", input.scalar_type(),
              " on ", input.device(), ", expected Float on cpu");
  TORCH_CHECK(tails.size() == stages_.size(), "found ", tails.size(), " tails, expected ", stages_.size());
  for (size_t i = 0; i < tails.size(); ++i) {
    const Stage& stage = stages_[i];
    TORCH_CHECK(tails[i].sizes() == at::IntArrayRef({1, stage.tail_rows, stage.channels}) && tails[i].is_contiguous() &&
                    tails[i].scalar_type() == at::kFloat && tails[i].device().is_cpu(),
                "tail ", i, " is ", tails[i].sizes(), " ", tails[i].scalar_type(), ", expected [1, ", stage.tail_rows,
                ", ", stage.channels, "] Float, contiguous, on cpu");
  }
}

ConvChain::Result ConvChain::empty_result(int64_t frames) const {
  int64_t floats = 0;
  for (const Stage& stage : stages_) floats += stage.tail_rows * stage.channels;
  Result result{at::empty({frames * rows_out_, stages_.back().out_channels}, at::kFloat), {}};
  const at::Tensor all = at::empty(floats, at::kFloat);
  int64_t at = 0;
  for (const Stage& stage : stages_) {
    const int64_t size = stage.tail_rows * stage.channels;
    result.tails.push_back(all.narrow(0, at, size).view({1, stage.tail_rows, stage.channels}));
    at += size;
  }
  return result;
}

std::vector<double> ConvChain::stage_ms(const std::vector<at::Tensor>& inputs, const std::vector<Tails>& tails) const {
  std::vector<double> sums(stages_.size());
  run(inputs, tails, &sums);
  return sums;
}

std::vector<ConvChain::Result> ConvChain::run(const std::vector<at::Tensor>& inputs, const std::vector<Tails>& tails,
                                              std::vector<double>* stage_ms) const {
  TORCH_CHECK(inputs.size() == tails.size(), "found ", tails.size(), " states for ", inputs.size(), " streams");
  std::vector<Result> results;
  std::vector<at::Tensor> contiguous_inputs;  // alive until all is done
  std::vector<PendingStream> pending;
  for (size_t i = 0; i < inputs.size(); ++i) {
    check(inputs[i], tails[i]);
    contiguous_inputs.push_back(inputs[i].contiguous());
    const int64_t frames = inputs[i].size(0) / rows_in_;
    results.push_back(empty_result(frames));
    PendingStream stream{
        {contiguous_inputs[i].const_data_ptr<float>(), 0, results[i].output.mutable_data_ptr<float>(), {}, {}}, frames};
    for (const at::Tensor& tail : tails[i]) stream.part.before.push_back(tail.const_data_ptr<float>());
    for (const at::Tensor& tail : results[i].tails) stream.part.after.push_back(tail.mutable_data_ptr<float>());
    pending.push_back(std::move(stream));
  }
  for (size_t first = 0; first < pending.size();) {
    std::vector<StreamPart> parts;
    int64_t room = kMaxFrames;
    for (size_t i = first; i < pending.size() && room > 0; ++i) {
      const int64_t frames = std::min(room, pending[i].frames_left);
      room -= frames;
      parts.push_back(pending[i].part);
      parts.back().rows = frames * rows_in_;
    }
    run_pass(stages_, kernels_, parts, stage_ms);
    for (const StreamPart& part : parts) {
      PendingStream& stream = pending[first];
      const int64_t frames = part.rows / rows_in_;
      stream.frames_left -= frames;
      if (stream.frames_left == 0) {
        ++first;
        continue;
      }
      stream.part.input += part.rows * stages_[0].channels;
      stream.part.output += frames * rows_out_ * stages_.back().out_channels;
      stream.part.before.assign(part.after.begin(), part.after.end());
    }
  }
  return results;
}

}  // namespace intone
