// A graph of centred convolutions over rows of channels with anti-aliased activations: the vocoder BigVGAN. CPU,
// float32.
//
// Streaming: a row of a signal is computed as soon as all rows that it depends on are known, and each signal keeps the
// last rows that later ones depend on. So any chunking gives the same output, up to rounding: tiles start where a chunk
// does. Batch-invariant, bit for bit.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtimes/conv_graph_layer.h"
#include "runtimes/conv_graph_pass.h"

namespace intone {

// The state of one stream. In one call at a time.
class ConvGraphState {
 public:
  int64_t rows() const { return rows_; }
  bool ended() const { return ended_; }
  int64_t bytes() const;  // of the rows that it keeps

 private:
  friend class ConvGraph;
  std::vector<SignalRows> signals_;
  int64_t rows_ = 0;  // of input
  bool ended_ = false;
};

class ConvGraph {
 public:
  // Layers in an order in which each one's sources and residual are targets of earlier ones, or 0. The last one's
  // target is the output. `isa` as for `isa_named`.
  ConvGraph(const std::vector<GraphLayerWeights>& layers, const std::string& isa);

  ConvGraphState new_state() const;

  // Output rows of a stream [Cout, n]: those that have become final, and those that have not, as they would be if
  // `following` were the last input.
  using Result = std::pair<at::Tensor, at::Tensor>;

  // Continues every stream by its input [Cin, n], n any number; `following` [Cin, r], empty with `last`.
  std::vector<Result> run(const std::vector<at::Tensor>& inputs, const std::vector<at::Tensor>& following,
                          const std::vector<ConvGraphState*>& states, bool last, bool provisional) const;

  // Rows of output for a row of input, and how many of the last ones are not final.
  int64_t rate() const { return rates_.back(); }
  int64_t lag() const { return lag_; }
  // Bytes of the packed weights.
  int64_t weight_bytes() const;

 private:
  struct Stream;
  void add(const GraphLayer& layer);
  Stream opened(const at::Tensor& input, const at::Tensor& following, const ConvGraphState& state, bool last,
                bool provisional) const;
  void run_group(size_t first, size_t last, std::vector<Stream>& streams, int threads) const;
  bool advance(size_t first, size_t last, int64_t rows, Stream& stream,
               std::vector<std::vector<LayerPart>>& parts) const;
  int64_t needed_from(size_t signal, const Stream& stream) const;

  std::vector<GraphLayer> layers_;
  const TiledConvKernels& kernels_;
  std::vector<int64_t> rates_, widths_, channels_;  // of each signal: rows per row of input, padded and real channels
  std::vector<size_t> groups_;                      // index of the first layer of each
  std::vector<size_t> made_in_, used_in_;  // of each signal: the group that makes it, the last one that reads it
  int64_t lag_ = 0;
};

}  // namespace intone
