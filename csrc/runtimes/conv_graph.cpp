#include "runtimes/conv_graph.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <limits>

#include "cpu/team.h"

namespace intone {
namespace {

constexpr int64_t kUnknown = std::numeric_limits<int64_t>::max() / 4;  // end of a stream that has not ended
constexpr int64_t kMaxInput = int64_t{1} << 20;                        // rows of input in a call
// Floats of a signal that a pass of a group computes for a stream, so that its rows stay in a cache; layers that are
// not narrow read large matrices in each pass. The same for any number of threads and streams: tiles begin where a pass
// does.
constexpr int64_t kNarrowFloats = int64_t{1} << 18, kWideFloats = int64_t{1} << 20;

int64_t ceil_div(int64_t count, int64_t by) { return (count + by - 1) / by; }

int64_t floor_div(int64_t count, int64_t by) { return count >= 0 ? count / by : -ceil_div(-count, by); }

}  // namespace

// A stream during a call. Of each signal: the rows after the call that are final, those that the call computes, and
// those that exist.
struct ConvGraph::Stream {
  std::vector<SignalRows> signals;
  std::vector<int64_t> final_end, stop, total;
};

ConvGraph::ConvGraph(const std::vector<GraphLayerWeights>& layers, const std::string& isa)
    : kernels_(tiled_conv_kernels(isa_named(isa))) {
  TORCH_CHECK(!layers.empty(), "a graph has at least one layer");
  for (size_t i = 0; i < layers.size(); ++i) add(GraphLayer(layers[i], kernels_, i));
  // A signal's lag grows from its sources'; rates are exact, so it is counted in its own rows.
  std::vector<int64_t> lags(rates_.size());
  for (const GraphLayer& layer : layers_) {
    int64_t lag = 0;
    for (const int64_t source : layer.sources) lag = std::max(lag, lags[source]);
    lag = (lag + layer.right() + layer.reach()) * layer.up + layer.shift();
    if (layer.residual >= 0) lag = std::max(lag, lags[layer.residual]);
    lags[layer.target] = lag_ = lag;
  }
}

void ConvGraph::add(const GraphLayer& layer) {
  const size_t index = layers_.size(), target = index + 1;
  if (layers_.empty()) {
    rates_ = {1};
    channels_ = {layer.channels};
    widths_ = {layer.width};
    made_in_ = used_in_ = {0};
  }
  TORCH_CHECK(layer.target == static_cast<int64_t>(target), "layer ", index, " makes signal ", layer.target,
              ", expected ", target);
  std::vector<int64_t> read = layer.sources;
  if (layer.residual >= 0) read.push_back(layer.residual);
  for (const int64_t signal : read) {
    TORCH_CHECK(0 <= signal && signal < layer.target, "layer ", index, " reads signal ", signal, ", expected 0 to ",
                layer.target - 1);
  }
  const int64_t rate = rates_[layer.sources[0]];
  for (const int64_t source : layer.sources) {
    TORCH_CHECK(channels_[source] == layer.channels && rates_[source] == rate, "layer ", index, " reads signal ",
                source, " of ", channels_[source], " channels, expected ", layer.channels,
                " and the same rate as its other sources");
  }
  TORCH_CHECK(layer.residual < 0 ||
                  (channels_[layer.residual] == layer.out_channels && rates_[layer.residual] == rate && layer.up == 1),
              "layer ", index, ": its residual differs in shape from its target");
  TORCH_CHECK(rate * layer.up <= kMaxInput, "layer ", index, " makes ", rate * layer.up,
              " rows for one of input, expected at most ", kMaxInput);
  if (groups_.empty() || layer.up > 1) groups_.push_back(index);
  rates_.push_back(rate * layer.up);
  channels_.push_back(layer.out_channels);
  widths_.push_back(layer.out_width);
  made_in_.push_back(groups_.size());
  used_in_.push_back(groups_.size());
  for (const int64_t signal : read) used_in_[signal] = groups_.size();
  layers_.push_back(layer);
}

int64_t ConvGraphState::bytes() const {
  int64_t floats = 0;
  for (const SignalRows& signal : signals_) floats += (signal.end - signal.start) * signal.width();
  return floats * static_cast<int64_t>(sizeof(float));
}

ConvGraphState ConvGraph::new_state() const {
  ConvGraphState state;
  for (const int64_t width : widths_) state.signals_.emplace_back(width);
  return state;
}

int64_t ConvGraph::weight_bytes() const {
  int64_t bytes = 0;
  for (const GraphLayer& layer : layers_) bytes += static_cast<int64_t>(layer.matrix.nbytes());
  return bytes;
}

ConvGraph::Stream ConvGraph::opened(const at::Tensor& input, const at::Tensor& following, const ConvGraphState& state,
                                    bool last, bool provisional) const {
  TORCH_CHECK(state.signals_.size() == widths_.size(), "the state is of another graph");
  TORCH_CHECK(!state.ended_, "nothing follows the last input");
  for (const at::Tensor* tensor : {&input, &following}) {
    TORCH_CHECK(tensor->dim() == 2 && tensor->size(0) == channels_[0] && tensor->size(1) <= kMaxInput &&
                    tensor->scalar_type() == at::kFloat && tensor->device().is_cpu(),
                "the input is ", tensor->sizes(), " ", tensor->scalar_type(), " on ", tensor->device(), ", expected [",
                channels_[0], ", at most ", kMaxInput, "] Float on cpu");
  }
  TORCH_CHECK(!last || (following.size(1) == 0 && !provisional), "nothing follows the last input");
  Stream stream;
  stream.signals.resize(widths_.size());
  const int64_t rows = state.rows_ + input.size(1), all = rows + following.size(1);
  for (size_t s = 0; s < widths_.size(); ++s) {
    stream.total.push_back(last || provisional ? all * rates_[s] : kUnknown);
    stream.signals[s] = state.signals_[s].part(state.signals_[s].start, state.signals_[s].end);
  }
  stream.final_end = {rows};
  for (const GraphLayer& layer : layers_) {
    int64_t end = kUnknown;
    for (const int64_t source : layer.sources) end = std::min(end, stream.final_end[source]);
    end = last ? stream.total[layer.target]
               : std::max(state.signals_[layer.target].end,
                          layer.up * (end - layer.right() - layer.reach()) - layer.shift());
    stream.final_end.push_back(std::max<int64_t>(end, 0));
  }
  // The provisional rows that are wanted: those of the given input.
  stream.stop = stream.final_end;
  if (provisional) stream.stop.back() = rows * rate();
  for (size_t i = layers_.size(); provisional && i-- > 0;) {
    const GraphLayer& layer = layers_[i];
    const int64_t products = ceil_div(stream.stop[layer.target] + layer.shift(), layer.up);
    const auto want = [&](int64_t signal, int64_t end) {
      stream.stop[signal] = std::max(stream.stop[signal], std::min(end, stream.total[signal]));
    };
    for (const int64_t source : layer.sources) want(source, products + layer.right() + layer.reach());
    if (layer.residual >= 0) want(layer.residual, stream.stop[layer.target]);
  }
  SignalRows& first = stream.signals[0];
  const int64_t given = std::max(rows, std::min(stream.stop[0], all));
  stream.stop[0] = given;
  first.reserve(given);
  at::Tensor joined = at::cat({input, following}, 1).slice(1, 0, given - state.rows_).t();
  joined = at::constant_pad_nd(joined, {0, widths_[0] - channels_[0]}).contiguous();
  if (joined.numel()) std::copy_n(joined.const_data_ptr<float>(), joined.numel(), first.at(first.end));
  first.end = given;
  return stream;
}

// The first row of a signal that rows which are not computed or not final depend on.
int64_t ConvGraph::needed_from(size_t signal, const Stream& stream) const {
  int64_t from = stream.signals[signal].end;
  from = std::min(from, stream.final_end[signal]);
  for (const GraphLayer& layer : layers_) {
    const int64_t next = std::min(stream.signals[layer.target].end, stream.final_end[layer.target]);
    if (layer.residual == static_cast<int64_t>(signal)) from = std::min(from, next);
    if (std::find(layer.sources.begin(), layer.sources.end(), static_cast<int64_t>(signal)) == layer.sources.end()) {
      continue;
    }
    from = std::min(from, floor_div(next + layer.shift(), layer.up) - layer.left() - layer.reach());
  }
  return std::max<int64_t>(0, from);
}

// Adds the parts of the next pass of a group for a stream, at most `rows` of its last signal. False where all is done.
bool ConvGraph::advance(size_t first, size_t last, int64_t rows, Stream& stream,
                        std::vector<std::vector<LayerPart>>& parts) const {
  std::vector<int64_t> stop = stream.stop;
  const size_t output = layers_[last - 1].target;
  const int64_t reached = stream.signals[output].end;
  bool some = false;
  if (stream.stop[output] - reached > rows) {
    for (size_t i = first; i < last; ++i) stop[layers_[i].target] = 0;
    // Every branch of the group goes as far: its signals that no layer of the group reads are its outputs.
    for (size_t i = first; i < last; ++i) {
      const size_t target = layers_[i].target;
      if (used_in_[target] > made_in_[target] || target == output) {
        stop[target] = std::min(stream.stop[target], reached + rows);
      }
    }
    for (size_t i = last; i-- > first;) {
      const GraphLayer& layer = layers_[i];
      const int64_t products = ceil_div(stop[layer.target] + layer.shift(), layer.up);
      const auto want = [&](int64_t signal, int64_t end) {
        if (made_in_[signal] == made_in_[layer.target]) {
          stop[signal] = std::min(stream.stop[signal], std::max(stop[signal], end));
        }
      };
      for (const int64_t source : layer.sources) want(source, products + layer.right() + layer.reach());
      if (layer.residual >= 0) want(layer.residual, stop[layer.target]);
    }
  }
  for (size_t i = first; i < last; ++i) {
    const GraphLayer& layer = layers_[i];
    SignalRows& target = stream.signals[layer.target];
    const int64_t end = std::max(target.end, stop[layer.target]);
    parts[i - first].push_back({&stream.signals, stream.total[layer.sources[0]], target.end, end});
    some = some || end > target.end;
    target.reserve(end);
    target.end = end;
  }
  return some;
}

void ConvGraph::run_group(size_t first, size_t last, std::vector<Stream>& streams, int threads) const {
  bool narrow = true;
  std::vector<const GraphLayer*> layers;
  for (size_t i = first; i < last; ++i) {
    layers.push_back(&layers_[i]);
    narrow = narrow && (is_narrow(layers_[i]) || layers_[i].up > 1);
  }
  const int64_t rows = std::max<int64_t>(64, (narrow ? kNarrowFloats : kWideFloats) / layers_[last - 1].out_width);
  for (;;) {
    std::vector<std::vector<LayerPart>> parts(last - first);
    bool some = false;
    for (Stream& stream : streams) some = advance(first, last, rows, stream, parts) || some;
    if (!some) return;
    run_layers(layers, kernels_, parts, threads);
    for (Stream& stream : streams) {
      for (size_t i = first; i < last; ++i) {
        const size_t target = layers_[i].target;
        if (used_in_[target] == made_in_[target] && i + 1 < layers_.size()) {
          stream.signals[target].drop_before(needed_from(target, stream));
        }
      }
    }
  }
}

std::vector<ConvGraph::Result> ConvGraph::run(const std::vector<at::Tensor>& inputs,
                                              const std::vector<at::Tensor>& following,
                                              const std::vector<ConvGraphState*>& states, bool last,
                                              bool provisional) const {
  TORCH_CHECK(inputs.size() == states.size() && following.size() == states.size(), "found ", states.size(),
              " states for ", inputs.size(), " inputs and ", following.size(), " that follow");
  std::vector<Stream> streams;
  for (size_t i = 0; i < inputs.size(); ++i) {
    TORCH_CHECK(states[i] != nullptr, "a state is None");
    TORCH_CHECK(std::find(states.begin(), states.begin() + i, states[i]) == states.begin() + i,
                "a state is given twice");
    streams.push_back(opened(inputs[i], following[i], *states[i], last, provisional));
  }
  if (streams.empty()) return {};
  const int threads = Team::available_threads();
  for (size_t group = 0; group < groups_.size(); ++group) {
    run_group(groups_[group], group + 1 < groups_.size() ? groups_[group + 1] : layers_.size(), streams, threads);
  }
  std::vector<Result> results;
  for (size_t i = 0; i < streams.size(); ++i) {
    Stream& stream = streams[i];
    const SignalRows& output = stream.signals.back();
    const int64_t channels = channels_.back(), begin = output.start, split = stream.final_end.back();
    const auto rows = [&](int64_t from, int64_t to) {
      at::Tensor made = at::empty({channels, std::max<int64_t>(0, to - from)}, at::kFloat);
      for (int64_t c = 0; c < channels; ++c) {
        float* row = made.mutable_data_ptr<float>() + c * made.size(1);
        for (int64_t at = from; at < to; ++at) *row++ = output.at(at)[c];
      }
      return made;
    };
    results.emplace_back(rows(begin, split), rows(split, output.end));
    ConvGraphState after;
    for (size_t s = 0; s < widths_.size(); ++s) {
      const int64_t end = std::min(stream.signals[s].end, stream.final_end[s]);
      after.signals_.push_back(stream.signals[s].part(std::min(end, needed_from(s, stream)), end));
    }
    after.rows_ = states[i]->rows_ + inputs[i].size(1);
    after.ended_ = last;
    *states[i] = std::move(after);
  }
  return results;
}

}  // namespace intone
