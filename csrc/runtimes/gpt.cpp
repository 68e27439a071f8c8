#include "runtimes/gpt.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>

#include "cpu/attributes.h"
#include "cpu/lanes.h"

namespace intone {
namespace {

constexpr float kNormEps = 1e-5f;
constexpr int64_t kMlpFactor = 4;         // width of the feed-forward part, in D
constexpr int64_t kAttentionPieces = 16;  // that attention is divided into: few to claim, and a short wait for the last

INTONE_CLONES void normalize(const float* x, const float* gain, const float* shift, int64_t width, float* y) {
  Lanes sums = {}, squares = {}, lanes;
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    load_lanes(x + i, lanes);
    sums += lanes;
  }
  float mean = sum_of(sums);
  for (; i < width; ++i) mean += x[i];
  mean /= static_cast<float>(width);
  for (i = 0; i + kLanes <= width; i += kLanes) {
    load_lanes(x + i, lanes);
    lanes -= mean;
    squares += lanes * lanes;
  }
  float square = sum_of(squares);
  for (; i < width; ++i) square += (x[i] - mean) * (x[i] - mean);
  const float scale = 1.0f / std::sqrt(square / static_cast<float>(width) + kNormEps);
  for (int64_t d = 0; d < width; ++d) y[d] = (x[d] - mean) * scale * gain[d] + shift[d];
}

// GELU in the tanh form, x · (1 + tanh(u)) / 2, written as x / (1 + exp(-2u)). In place.
INTONE_CLONES void gelu(float* x, int64_t count) {
  constexpr float kTwiceRoot2OverPi = 1.5957691216f;
  for (int64_t i = 0; i < count; ++i) {
    x[i] /= 1.0f + exponential(-kTwiceRoot2OverPi * (x[i] + 0.044715f * x[i] * x[i] * x[i]));
  }
}

class Tensors {
 public:
  explicit Tensors(const std::map<std::string, at::Tensor>& tensors) : tensors_(tensors) {}

  at::Tensor get(const std::string& name, int64_t dim) const {
    const auto found = tensors_.find(name);
    TORCH_CHECK(found != tensors_.end(), name, " is missing");
    const at::Tensor& tensor = found->second;
    TORCH_CHECK(tensor.dim() == dim && tensor.scalar_type() == at::kFloat && tensor.device().is_cpu(), name, " is ",
                tensor.sizes(), " ", tensor.scalar_type(), " on ", tensor.device(), ", expected ", dim,
                " dimensions of Float on cpu");
    return tensor;
  }
  // GPT-2 stores its matrices [in, out].
  Linear linear(const std::string& name, WeightType type) const {
    return Linear(get(name + ".weight", 2).t(), get(name + ".bias", 1), type, best_isa());
  }

 private:
  const std::map<std::string, at::Tensor>& tensors_;
};

}  // namespace

Gpt::Gpt(const GptSizes& sizes, const std::map<std::string, at::Tensor>& named, WeightType type)
    : sizes_(sizes),
      codes_(Tensors(named).get("mel_embedding.weight", 2).contiguous().clone()),
      positions_(Tensors(named).get("mel_pos_embedding.emb.weight", 2).contiguous().clone()),
      head_(Tensors(named).get("mel_head.weight", 2), Tensors(named).get("mel_head.bias", 1), type, best_isa()),
      width_(codes_.size(1)) {
  const Tensors tensors(named);
  const auto row = [&](const std::string& name) {
    const at::Tensor found = tensors.get(name, 1);
    TORCH_CHECK(found.size(0) == width_, name, " is ", found.sizes(), ", expected [", width_, "]");
    return found.contiguous().clone();
  };
  const auto norm = [&](const std::string& name) { return Norm{row(name + ".weight"), row(name + ".bias")}; };
  TORCH_CHECK(sizes.layers > 0, "found ", sizes.layers, " layers, expected at least 1");
  for (const int64_t code : {sizes.start_code, sizes.stop_code}) {
    TORCH_CHECK(0 <= code && code < codes_.size(0), "found start or stop code ", code, ", expected 0 to ",
                codes_.size(0) - 1);
  }
  TORCH_CHECK(positions_.size(1) == width_, "mel_pos_embedding.emb.weight is ", positions_.sizes(), ", expected [P, ",
              width_, "]");
  TORCH_CHECK(0 <= sizes.skipped_positions && sizes.skipped_positions < positions_.size(0), "skipped_positions is ",
              sizes.skipped_positions, ", expected 0 to ", positions_.size(0) - 1);
  TORCH_CHECK(sizes.heads > 0 && width_ % sizes.heads == 0, "a width of ", width_, " cannot be divided into ",
              sizes.heads, " heads");
  TORCH_CHECK(head_.out() == codes_.size(0) && head_.in() == width_,
              "the shape of mel_head.weight does not match mel_embedding.weight");
  for (int64_t layer = 0; layer < sizes.layers; ++layer) {
    const std::string name = "gpt.h." + std::to_string(layer) + ".";
    const auto linear = [&](const char* part) { return tensors.linear(name + part, type); };
    blocks_.push_back({norm(name + "ln_1"), linear("attn.c_attn"), linear("attn.c_proj"), norm(name + "ln_2"),
                       linear("mlp.c_fc"), linear("mlp.c_proj")});
    const Block& block = blocks_.back();
    TORCH_CHECK(block.qkv.in() == width_ && block.qkv.out() == 3 * width_ && block.out.in() == width_ &&
                    block.out.out() == width_ && block.up.in() == width_ && block.up.out() == kMlpFactor * width_ &&
                    block.down.in() == kMlpFactor * width_ && block.down.out() == width_,
                "the shapes of ", name, "* do not match each other");
  }
  final_norms_ = {norm("gpt.ln_f"), norm("final_norm")};
}

void Gpt::Norm::apply(const float* x, float* y) const {
  normalize(x, weight.const_data_ptr<float>(), bias.const_data_ptr<float>(), weight.size(0), y);
}

void Gpt::embed(int64_t code, int64_t position, float* x) const {
  const float* of_code = codes_.const_data_ptr<float>() + code * width_;
  const float* of_position = positions_.const_data_ptr<float>() + position * width_;
  for (int64_t d = 0; d < width_; ++d) x[d] = of_code[d] + of_position[d];
}

// The trained model has both norms, one after the other.
void Gpt::final_norms(const float* x, float* hidden) const {
  std::vector<float> once(width_);
  final_norms_[0].apply(x, once.data());
  final_norms_[1].apply(once.data(), hidden);
}

// x [rows, D], in place: embeddings to the output of the last block. Rows of one unit are in the order of positions.
void Gpt::forward(const std::vector<Row>& rows, std::vector<float>& x) const {
  const int64_t count = rows.size(), wide_width = kMlpFactor * width_;
  int64_t positions = 0;
  for (const Row& row : rows) {
    positions = std::max(positions, row.position + 1);
    row.cache->reserve(row.position + 1);
  }
  std::vector<float> qkv(count * 3 * width_), attn_out(count * width_), wide(count * wide_width);
  PackedRows packed;
  packed.reserve(count, blocks_.front().down.row_words());  // the widest
  const int threads = Team::available_threads();
  Scratch scratch(threads, std::max(width_, KvBlocks::scratch_floats(positions, 1)));
  Team::run(threads, [&](Team& team) {
    const auto pack_normed = [&](const Norm& norm, const Linear& into) {
      team.split(count, 1, [&](int64_t begin, int64_t end) {
        float* normed = scratch.of(team);
        for (int64_t row = begin; row < end; ++row) {
          norm.apply(x.data() + row * width_, normed);
          into.pack(normed, packed, row, count);
        }
      });
    };
    for (size_t layer = 0; layer < blocks_.size(); ++layer) {
      const Block& block = blocks_[layer];
      pack_normed(block.norm_1, block.qkv);
      block.qkv.apply(team, packed, count, qkv.data(), Epilogue::kStore);
      attend(team, scratch, layer, rows, qkv.data(), attn_out.data());
      block.out.pack_all(team, attn_out.data(), packed, count);
      block.out.apply(team, packed, count, x.data(), Epilogue::kAccumulate);
      pack_normed(block.norm_2, block.up);
      block.up.apply(team, packed, count, wide.data(), Epilogue::kStore);
      team.split(count, 1, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          gelu(wide.data() + row * wide_width, wide_width);
          block.down.pack(wide.data() + row * wide_width, packed, row, count);
        }
      });
      block.down.apply(team, packed, count, x.data(), Epilogue::kAccumulate);
    }
  });
}

// Stores keys and values of all rows, then computes causal attention of each row over its own unit.
void Gpt::attend(Team& team, Scratch& scratch, int64_t layer, const std::vector<Row>& rows, const float* qkv,
                 float* attn_out) const {
  const int64_t heads = sizes_.heads, head_dim = width_ / heads, tasks = rows.size() * heads;
  team.split(rows.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* of_row = qkv + row * 3 * width_;
      rows[row].cache->write(layer, rows[row].position, of_row + width_, of_row + 2 * width_);
    }
  });
  team.split(tasks, std::max<int64_t>(1, tasks / kAttentionPieces), [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t row = task / heads, head = task % heads;
      rows[row].cache->attend(layer, head, rows[row].position + 1, qkv + row * 3 * width_ + head * head_dim,
                              attn_out + row * width_ + head * head_dim, 1, scratch.of(team));
    }
  });
}

std::shared_ptr<GptUnit> Gpt::begin(const at::Tensor& prefix, int64_t max_codes, const SamplingSettings& settings,
                                    const std::vector<int64_t>& seen, int64_t min_codes) const {
  TORCH_CHECK(
      prefix.dim() == 2 && prefix.size(1) == width_ && prefix.scalar_type() == at::kFloat && prefix.device().is_cpu(),
      "the prefix is ", prefix.sizes(), " ", prefix.scalar_type(), " on ", prefix.device(), ", expected [S, ", width_,
      "] Float on cpu");
  TORCH_CHECK(1 <= max_codes && max_codes <= this->max_codes(), "max_codes is ", max_codes, ", expected 1 to ",
              this->max_codes());
  auto unit = std::make_shared<GptUnit>(GptUnit{KvBlocks(sizes_.layers, sizes_.heads, width_ / sizes_.heads),
                                                CodeSampler(settings, codes_.size(0), seen), max_codes, min_codes});
  const at::Tensor before = prefix.contiguous();
  unit->length = prefix.size(0) + 1;
  std::vector<float> x(unit->length * width_);
  std::copy_n(before.const_data_ptr<float>(), prefix.numel(), x.data());
  embed(sizes_.start_code, 0, x.data() + prefix.numel());
  std::vector<Row> rows;
  for (int64_t position = 0; position < unit->length; ++position) rows.push_back({&unit->cache, position});
  forward(rows, x);
  unit->hidden.resize(width_);
  final_norms(x.data() + prefix.numel(), unit->hidden.data());
  return unit;
}

void Gpt::check_unit(const GptUnit& unit) const {
  unit.cache.check_shape(sizes_.layers, sizes_.heads, width_ / sizes_.heads);
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
    const int64_t made = draft.codes.size();
    Generated each{at::empty({made}, at::kLong), at::empty({made, width_}, at::kFloat), draft.unit->ended};
    std::copy(draft.codes.begin(), draft.codes.end(), each.codes.mutable_data_ptr<int64_t>());
    std::copy(draft.hidden.begin(), draft.hidden.end(), each.hidden.mutable_data_ptr<float>());
    generated.push_back(std::move(each));
  }
  return generated;
}

// Generates one more code of each.
void Gpt::generate_next(const std::vector<Draft*>& drafts) const {
  forward_pending_codes(drafts);
  const int64_t count = drafts.size();
  at::Tensor states = at::empty({count, width_}, at::kFloat);
  for (int64_t i = 0; i < count; ++i) {
    std::copy_n(drafts[i]->unit->hidden.data(), width_, states.mutable_data_ptr<float>() + i * width_);
  }
  const at::Tensor scores = head_(states);  // [units, V]
  for (int64_t i = 0; i < count; ++i) {
    Draft& draft = *drafts[i];
    GptUnit& unit = *draft.unit;
    const int64_t excluded = unit.made < unit.min_codes ? sizes_.stop_code : -1;
    const int64_t code =
        unit.sampler.draw(scores.const_data_ptr<float>() + i * head_.out(), *draft.uniforms++, excluded);
    unit.ended = code == sizes_.stop_code;
    if (unit.ended) continue;
    draft.codes.push_back(code);
    draft.hidden.insert(draft.hidden.end(), unit.hidden.begin(), unit.hidden.end());
    unit.pending_code = code;
    unit.ended = ++unit.made == unit.max_codes;
  }
}

// Feeds the last code of each to the model, which updates `hidden`.
void Gpt::forward_pending_codes(const std::vector<Draft*>& drafts) const {
  std::vector<GptUnit*> behind;
  for (const Draft* draft : drafts) {
    if (draft->unit->pending_code >= 0) behind.push_back(draft->unit);
  }
  if (behind.empty()) return;
  std::vector<float> x(behind.size() * width_);
  std::vector<Row> rows;
  for (size_t i = 0; i < behind.size(); ++i) {
    embed(behind[i]->pending_code, behind[i]->made + sizes_.skipped_positions, x.data() + i * width_);
    rows.push_back({&behind[i]->cache, behind[i]->length});
  }
  forward(rows, x);
  for (size_t i = 0; i < behind.size(); ++i) {
    final_norms(x.data() + i * width_, behind[i]->hidden.data());
    behind[i]->length += 1;
    behind[i]->pending_code = -1;
  }
}

}  // namespace intone
