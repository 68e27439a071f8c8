// One pass through layers of a graph: some rows of some streams, on all threads.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "runtimes/conv_graph_layer.h"

namespace intone {

// Rows of one signal of one stream: positions `start` to `end` - 1.
class SignalRows {
 public:
  SignalRows() = default;
  explicit SignalRows(int64_t width) : width_(width) {}

  int64_t start = 0, end = 0;

  int64_t width() const { return width_; }
  float* at(int64_t position) { return data_.mutable_data_ptr<float>() + (position - start) * width_; }
  const float* at(int64_t position) const { return data_.const_data_ptr<float>() + (position - start) * width_; }

  // Makes room for positions up to `stop` - 1; their rows are not set.
  void reserve(int64_t stop);
  void drop_before(int64_t position);
  // A copy of positions `first` to `stop` - 1 in memory of its size.
  SignalRows part(int64_t first, int64_t stop) const;

 private:
  int64_t width_ = 0;
  at::Tensor data_;  // [.., width]
};

// What a layer computes for one stream: rows `begin` to `end` - 1 of its target.
struct LayerPart {
  std::vector<SignalRows>* signals;  // of the stream
  int64_t total;                     // rows of the sources that exist
  int64_t begin, end;
};

// Computes the layers one after another, each for its parts. The targets have room for their rows.
void run_layers(const std::vector<const GraphLayer*>& layers, const TiledConvKernels& kernels,
                const std::vector<std::vector<LayerPart>>& parts, int threads);

// Whether threads divide a layer's rows among them, each with all its columns.
bool is_narrow(const GraphLayer& layer);

}  // namespace intone
