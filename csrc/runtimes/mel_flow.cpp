#include "runtimes/mel_flow.h"

#include <algorithm>
#include <cmath>

#include "cpu/attributes.h"
#include "cpu/lanes.h"
#include "runtimes/mel_flow_work.h"

namespace intone {
namespace {

constexpr float kNormEps = 1e-5f, kLastNormEps = 1e-6f;

// RMS norm (layer norm if `centred`) of x [width]; `norm` is scale and shift, [2, width].
INTONE_CLONES void modulate(const float* x, const float* norm, bool centred, float eps, int64_t width, float* y) {
  Lanes sums = {}, squares = {}, lanes;
  int64_t i = 0;
  float mean = 0.0f;
  if (centred) {
    for (; i + kLanes <= width; i += kLanes) {
      load_lanes(x + i, lanes);
      sums += lanes;
    }
    mean = sum_of(sums);
    for (; i < width; ++i) mean += x[i];
    mean /= static_cast<float>(width);
  }
  for (i = 0; i + kLanes <= width; i += kLanes) {
    load_lanes(x + i, lanes);
    lanes -= mean;
    squares += lanes * lanes;
  }
  float square = sum_of(squares);
  for (; i < width; ++i) square += (x[i] - mean) * (x[i] - mean);
  const float scale = 1.0f / std::sqrt(square / static_cast<float>(width) + eps);
  for (int64_t d = 0; d < width; ++d) y[d] = (x[d] - mean) * scale * norm[d] + norm[width + d];
}

// Rotates the heads of one row.
INTONE_CLONES void rotate(float* x, int64_t heads, int64_t head_dim, const float* cos, const float* sin) {
  const int64_t half = head_dim / 2;
  for (int64_t head = 0; head < heads; ++head, x += head_dim) {
    for (int64_t d = 0; d < half; ++d) {
      const float low = x[d], high = x[half + d];
      x[d] = low * cos[d] + high * sin[d];
      x[half + d] = high * cos[half + d] + low * sin[half + d];
    }
  }
}

// tanh(a) · sigmoid(b) of the halves of x + gate, [2 · width], with e^-2a and e^-b.
INTONE_CLONES void gated(const float* x, const float* gate, int64_t width, float* y) {
  for (int64_t d = 0; d < width; ++d) {
    // Beyond 20, tanh is ±1, and the square of the power would overflow.
    const float a = x[d] + gate[d], b = x[width + d] + gate[width + d];
    const float limited = a < -20.0f ? -20.0f : a > 20.0f ? 20.0f : a;
    const float first = exponential(-2.0f * limited), second = exponential(b < -40.0f ? 40.0f : -b);
    y[d] = (1.0f - first) / ((1.0f + first) * (1.0f + second));
  }
}

INTONE_CLONES void euler(const float* velocity, int64_t count, float length, float* x) {
  for (int64_t i = 0; i < count; ++i) x[i] += length * velocity[i];
}

INTONE_CLONES void blend(const float* unconditional, int64_t count, float weight, float* velocity) {
  for (int64_t i = 0; i < count; ++i) {
    velocity[i] = unconditional[i] + weight * (velocity[i] - unconditional[i]);
  }
}

// A layer's work on rows that the calling thread has packed, all of it by this thread.
void apply(const Linear& layer, const PackedRows& packed, int64_t count, float* y, Epilogue epilogue) {
  Team::run(1, [&](Team& alone) { layer.apply(alone, packed, count, y, epilogue); });
}

void pack(const Linear& layer, const float* x, int64_t stride, int64_t count, PackedRows& packed) {
  for (int64_t row = 0; row < count; ++row) layer.pack(x + row * stride, packed, row, count);
}

}  // namespace

void MelFlow::check_inputs(const at::Tensor& noise, const at::Tensor& rows, const Times& times) const {
  const int64_t evaluations = times.lengths.size(), norms = 2 * layers_.size() + 1, convs = convs_.size();
  TORCH_CHECK(noise.dim() == 2 && noise.size(1) == bands_ && rows.dim() == 3 &&
                  (rows.size(0) == 1 || rows.size(0) == 2) && rows.size(1) >= noise.size(0) && rows.size(2) == width_,
              "noise is ", noise.sizes(), " and rows are ", rows.sizes(), ", expected [N, ", bands_,
              "] and [1 or 2, T, ", width_, "] with T at least N");
  TORCH_CHECK(times.norms.sizes() == at::IntArrayRef({evaluations, norms, 2, width_}) &&
                  times.last_norm.sizes() == at::IntArrayRef({evaluations, 2, width_}) &&
                  times.gates.sizes() == at::IntArrayRef({evaluations, convs, 2 * width_}),
              "norms are ", times.norms.sizes(), ", last_norm is ", times.last_norm.sizes(), ", gates are ",
              times.gates.sizes(), ", which do not match ", evaluations, " steps");
  for (const at::Tensor& tensor : {noise, rows, times.norms, times.last_norm, times.gates}) check_float(tensor);
}

MelFlow::Work::Work(const MelFlow& flow, const at::Tensor& noise, const at::Tensor& rows, double guidance,
                    int64_t cached)
    : sequences(rows.size(0)),
      cached(cached),
      frames(cached + rows.size(1)),
      known(cached + rows.size(1) - noise.size(0)),
      width(flow.width_),
      threads(Team::available_threads()),
      condition(rows.const_data_ptr<float>()),
      weight(static_cast<float>(1.0 + guidance)),
      x(noise.mutable_data_ptr<float>()) {
  const GatedConv& conv = flow.convs_.front();
  first = std::max<int64_t>(0, known - conv.padding - conv.padding_after);
  const int64_t computed = sequences * (frames - cached);
  const int64_t shared = (computed / (4 * threads) + kBlockRows - 1) / kBlockRows * kBlockRows;
  block_rows = std::clamp(shared, kMinBlockRows, kMaxBlockRows);
  const size_t size = computed * width;
  for (auto* buffer : {&hidden, &queries, &attn_out, &wave, &next_wave, &total}) buffer->resize(size);
  for (const Layer& layer : flow.layers_) skips.emplace_back(layer.is_taken ? size : 0);
  const int64_t head_dim = width / flow.heads_;
  memories.assign(sequences * flow.heads_, HeadMemory(frames, head_dim));
  int64_t words = std::max({flow.frames_in_.row_words(), flow.wavenet_in_.row_words(), flow.frames_out_.row_words()});
  int64_t row = 2 * width + flow.bands_;  // frames_in and out, wavenet_in, skip
  for (const Layer& layer : flow.layers_) {
    words = std::max({words, layer.qkv.row_words(), layer.out.row_words(), layer.down.row_words(),
                      layer.skip ? layer.skip->row_words() : 0});
  }
  for (const GatedConv& each : flow.convs_) {
    words = std::max({words, each.conv.row_words(), each.skip.row_words()});
    row = std::max(row, each.conv.in());
  }
  const int64_t wide = std::max({3 * width, flow.feed_forward_, 2 * flow.bands_});
  for (int thread = 0; thread < threads; ++thread) {
    own.push_back({{},
                   std::vector<float>(kMaxBlockRows * wide),
                   std::vector<float>(row),
                   FullAttention::Scratch(frames, head_dim)});
    own.back().packed.reserve(kMaxBlockRows, words);
  }
}

// Packs rows x [count, D] through an adaptive norm.
void MelFlow::Work::pack_modulated(int thread, const float* norm, const Linear& into, const float* x, int64_t count) {
  for (int64_t row = 0; row < count; ++row) {
    modulate(x + row * width, norm, false, kNormEps, width, own[thread].row.data());
    into.pack(own[thread].row.data(), own[thread].packed, row, count);
  }
}

// Frames with their condition.
void MelFlow::embed(Work& work, const Block& block) const {
  const int64_t noisy = std::max(block.first, work.known), count = block.first + block.count - noisy;
  float* hidden = work.of(work.hidden, block.sequence, block.first);
  std::copy_n(work.condition + work.place_of(block.sequence, block.first), block.count * width_, hidden);
  if (count <= 0) return;
  PackedRows& packed = work.own[block.thread].packed;
  pack(frames_in_, work.x + (noisy - work.known) * bands_, bands_, count, packed);
  apply(frames_in_, packed, count, hidden + (noisy - block.first) * width_, Epilogue::kAccumulate);
}

// A layer up to its attention: the skip, the norm, and queries, keys and values.
void MelFlow::project(Work& work, const Step& step, size_t index, const Block& block) const {
  const Layer& layer = layers_[index];
  Work::Own& own = work.own[block.thread];
  float* hidden = work.of(work.hidden, block.sequence, block.first);
  if (layer.skip) {
    const float* earlier = work.of(work.skips[layer.skipped_from], block.sequence, block.first);
    for (int64_t row = 0; row < block.count; ++row) {
      std::copy_n(hidden + row * width_, width_, own.row.data());
      std::copy_n(earlier + row * width_, width_, own.row.data() + width_);
      layer.skip->pack(own.row.data(), own.packed, row, block.count);
    }
    apply(*layer.skip, own.packed, block.count, hidden, Epilogue::kStore);
  }
  work.pack_modulated(block.thread, step.norms + 4 * index * width_, layer.qkv, hidden, block.count);
  apply(layer.qkv, own.packed, block.count, own.wide.data(), Epilogue::kStore);
  const int64_t head_dim = width_ / heads_;
  for (int64_t row = 0; row < block.count; ++row) {
    const int64_t position = block.first + row;
    float *queries = own.wide.data() + row * 3 * width_, *keys = queries + width_, *values = keys + width_;
    const int64_t at = position * head_dim;
    rotate(queries, 2 * heads_, head_dim, cos_.const_data_ptr<float>() + at, sin_.const_data_ptr<float>() + at);
    std::copy_n(queries, width_, work.of(work.queries, block.sequence, position));
    for (int64_t head = 0; head < heads_; ++head) {
      work.memories[block.sequence * heads_ + head].store(position, keys + head * head_dim, values + head * head_dim);
    }
  }
}

// Of rows `first` and on.
void MelFlow::attend(Team& team, Work& work, int64_t first) const {
  const int64_t blocks = (work.frames - first + kBlockRows - 1) / kBlockRows, head_dim = width_ / heads_;
  const int64_t size = (work.frames - first + blocks - 1) / blocks;
  team.split(work.sequences * heads_ * blocks, 2, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t row = first + task % blocks * size, count = std::min(size, work.frames - row);
      if (count <= 0) continue;
      const int64_t memory = task / blocks, sequence = memory / heads_, column = memory % heads_ * head_dim;
      attention_.attend(work.memories[memory], work.of(work.queries, sequence, row) + column, count, width_,
                        work.own[team.index()].attention, work.of(work.attn_out, sequence, row) + column);
    }
  });
}

// The rest of a layer.
void MelFlow::finish(Work& work, const Step& step, size_t index, const Block& block) const {
  const Layer& layer = layers_[index];
  Work::Own& own = work.own[block.thread];
  float* hidden = work.of(work.hidden, block.sequence, block.first);
  pack(layer.out, work.of(work.attn_out, block.sequence, block.first), width_, block.count, own.packed);
  apply(layer.out, own.packed, block.count, hidden, Epilogue::kAccumulate);
  work.pack_modulated(block.thread, step.norms + (4 * index + 2) * width_, layer.gate_up, hidden, block.count);
  apply(layer.gate_up, own.packed, block.count, own.wide.data(), Epilogue::kSwiGlu);
  pack(layer.down, own.wide.data(), feed_forward_, block.count, own.packed);
  apply(layer.down, own.packed, block.count, hidden, Epilogue::kAccumulate);
  if (layer.is_taken) {
    std::copy_n(hidden, block.count * width_, work.of(work.skips[index], block.sequence, block.first));
  }
}

// The last norm, and the input of the WaveNet and what is added to its result, both also of the noisy frames.
void MelFlow::enter_wavenet(Work& work, const Step& step, const Block& block) const {
  Work::Own& own = work.own[block.thread];
  for (int64_t row = 0; row < block.count; ++row) {
    const int64_t frame = block.first + row - work.known;
    modulate(work.of(work.hidden, block.sequence, block.first + row), step.norms + 4 * layers_.size() * width_, false,
             kNormEps, width_, own.row.data());
    if (frame < 0) {
      std::fill_n(own.row.data() + width_, bands_, 0.0f);
    } else {
      std::copy_n(work.x + frame * bands_, bands_, own.row.data() + width_);
    }
    wavenet_in_.pack(own.row.data(), own.packed, row, block.count);
  }
  apply(wavenet_in_, own.packed, block.count, work.of(work.wave, block.sequence, block.first), Epilogue::kStore);
  apply(around_wavenet_, own.packed, block.count, work.of(work.total, block.sequence, block.first), Epilogue::kStore);
}

// One layer of the WaveNet. Beyond the ends, frames are reflected; a sequence too short for that ends with zeros.
void MelFlow::convolve(Work& work, const Step& step, size_t index, const Block& block) const {
  const GatedConv& layer = convs_[index];
  Work::Own& own = work.own[block.thread];
  auto &from = index % 2 == 0 ? work.wave : work.next_wave, &to = index % 2 == 0 ? work.next_wave : work.wave;
  const int64_t turn = std::max(work.frames, layer.padding + 1) - 1, taps = layer.conv.in() / width_;
  for (int64_t row = 0; row < block.count; ++row) {
    const int64_t begin = block.first + row - layer.padding;
    if (layer.dilation == 1 && begin >= 0 && begin + taps <= work.frames) {
      layer.conv.pack(work.of(from, block.sequence, begin), own.packed, row, block.count);
      continue;
    }
    for (int64_t tap = 0; tap < taps; ++tap) {
      const int64_t at = std::abs(begin + tap * layer.dilation), frame = at > turn ? 2 * turn - at : at;
      float* window = own.row.data() + tap * width_;
      if (frame < work.frames) {
        std::copy_n(work.of(from, block.sequence, frame), width_, window);
      } else {
        std::fill_n(window, width_, 0.0f);
      }
    }
    layer.conv.pack(own.row.data(), own.packed, row, block.count);
  }
  apply(layer.conv, own.packed, block.count, own.wide.data(), Epilogue::kStore);
  for (int64_t row = 0; row < block.count; ++row) {
    gated(own.wide.data() + row * 2 * width_, step.gates + 2 * index * width_, width_, own.row.data());
    layer.skip.pack(own.row.data(), own.packed, row, block.count);
  }
  apply(layer.skip, own.packed, block.count, work.of(work.total, block.sequence, block.first), Epilogue::kAccumulate);
  if (!layer.residual) return;
  float* next = work.of(to, block.sequence, block.first);
  std::copy_n(work.of(from, block.sequence, block.first), block.count * width_, next);
  apply(*layer.residual, own.packed, block.count, next, Epilogue::kAccumulate);
}

// The end of the field, and the step of new frames.
void MelFlow::advance(Work& work, const Step& step, const Block& block) const {
  Work::Own& own = work.own[block.thread];
  float* velocity = own.wide.data();
  for (int64_t sequence = 0; sequence < work.sequences; ++sequence) {
    for (int64_t row = 0; row < block.count; ++row) {
      modulate(work.of(work.total, sequence, block.first + row), step.last_norm, true, kLastNormEps, width_,
               own.row.data());
      frames_out_.pack(own.row.data(), own.packed, row, block.count);
    }
    apply(frames_out_, own.packed, block.count, velocity + sequence * block.count * bands_, Epilogue::kStore);
  }
  const int64_t size = block.count * bands_;
  if (work.sequences == 2) blend(velocity + size, size, work.weight, velocity);
  euler(velocity, size, step.length, work.x + (block.first - work.known) * bands_);
}

at::Tensor MelFlow::solve(const at::Tensor& noise, const at::Tensor& rows, double guidance, const Times& times,
                          const Cached& cached) const {
  check_inputs(noise, rows, times);
  check_cached(noise, rows, times, cached);
  const at::Tensor x = noise.contiguous().clone(), given = rows.contiguous(), norms = times.norms.contiguous(),
                   last_norm = times.last_norm.contiguous(), gates = times.gates.contiguous();
  if (noise.size(0) == 0) return x;
  Work work(*this, x, given, guidance, cached.empty() ? 0 : cached.front()->frames());
  const size_t steps = times.lengths.size();
  const auto at = [](const at::Tensor& all, int64_t index) {
    return all.const_data_ptr<float>() + index * all.stride(0);
  };
  const auto known_at = [&](size_t index) {
    Cached found;
    for (size_t at = index; at < cached.size(); at += steps) found.push_back(cached[at]);
    return found;
  };
  Team::run(work.threads, [&](Team& team) {
    for (size_t index = 0; index < steps; ++index) {
      step(team, work,
           {at(norms, index), at(last_norm, index), at(gates, index), static_cast<float>(times.lengths[index]),
            known_at(index)});
    }
  });
  return x;
}

// The rows of all sequences from the end of the attention before to a layer's queries, keys and values.
void MelFlow::project_all(Team& team, Work& work, const Step& step, size_t layer) const {
  work.split(team, work.cached, work.frames, [&](const Block& block) {
    layer == 0 ? embed(work, block) : finish(work, step, layer - 1, block);
    project(work, step, layer, block);
  });
}

void MelFlow::step(Team& team, Work& work, const Step& step) const {
  const size_t last = layers_.size() - 1;
  for (size_t layer = 0; layer <= last; ++layer) {
    load_cached(team, work, step, layer);
    project_all(team, work, step, layer);
    // After the last attention, nothing depends on frames further back than the WaveNet's context.
    attend(team, work, layer == last ? work.first : work.cached);
  }
  work.split(team, work.first, work.frames, [&](const Block& block) {
    finish(work, step, last, block);
    enter_wavenet(work, step, block);
  });
  for (size_t layer = 0; layer < convs_.size(); ++layer) {
    const int64_t needed = std::max(work.first, work.known - convs_[layer].padding_after);
    work.split(team, needed, work.frames, [&](const Block& block) { convolve(work, step, layer, block); });
  }
  // A block of new frames is advanced by one thread, for both sequences.
  work.split(team, work.known, work.frames, [&](const Block& block) {
    if (block.sequence == 0) advance(work, step, block);
  });
}

}  // namespace intone
