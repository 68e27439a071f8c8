#include "runtimes/gpt.h"

#include <algorithm>
#include <cmath>

#include "cpu/clones.h"
#include "cpu/lanes.h"

namespace intone {
namespace {

constexpr float kNormEps = 1e-5f;
constexpr int64_t kWiden = 4;    // of the feed-forward part
constexpr int64_t kPieces = 16;  // that attention is shared out in: few to take, and nobody waits long for the last

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
INTONE_CLONES void bend(float* x, int64_t count) {
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
  // GPT-2 keeps its matrices [in, out].
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
  const auto norm = [&](const std::string& name) {
    return Norm{tensors.get(name + ".weight", 1).contiguous().clone(),
                tensors.get(name + ".bias", 1).contiguous().clone()};
  };
  TORCH_CHECK(sizes.layers > 0, "found ", sizes.layers, " layers, expected some");
  TORCH_CHECK(sizes.heads > 0 && width_ % sizes.heads == 0, "a width of ", width_, " cannot be cut into ", sizes.heads,
              " heads");
  TORCH_CHECK(head_.out() == codes_.size(0) && head_.in() == width_,
              "mel_head.weight does not fit mel_embedding.weight");
  for (int64_t layer = 0; layer < sizes.layers; ++layer) {
    const std::string name = "gpt.h." + std::to_string(layer) + ".";
    const auto linear = [&](const char* part) { return tensors.linear(name + part, type); };
    blocks_.push_back({norm(name + "ln_1"), linear("attn.c_attn"), linear("attn.c_proj"), norm(name + "ln_2"),
                       linear("mlp.c_fc"), linear("mlp.c_proj")});
    const Block& block = blocks_.back();
    TORCH_CHECK(block.qkv.in() == width_ && block.qkv.out() == 3 * width_ && block.out.in() == width_ &&
                    block.out.out() == width_ && block.up.in() == width_ && block.up.out() == kWiden * width_ &&
                    block.down.in() == kWiden * width_ && block.down.out() == width_,
                "the parts of ", name, " do not fit each other");
  }
  end_norms_ = {norm("gpt.ln_f"), norm("final_norm")};
}

void Gpt::Norm::apply(const float* x, float* y) const {
  normalize(x, weight.const_data_ptr<float>(), bias.const_data_ptr<float>(), weight.size(0), y);
}

void Gpt::embed(int64_t code, int64_t position, float* x) const {
  const float* of_code = codes_.const_data_ptr<float>() + code * width_;
  const float* of_position = positions_.const_data_ptr<float>() + position * width_;
  for (int64_t d = 0; d < width_; ++d) x[d] = of_code[d] + of_position[d];
}

// Both norms stand in the trained model, one after the other.
void Gpt::end_norms(const float* x, float* hidden) const {
  std::vector<float> once(width_);
  end_norms_[0].apply(x, once.data());
  end_norms_[1].apply(once.data(), hidden);
}

// x [rows, D]: embeddings become what the last block makes of them. Rows of one unit come in the order of positions.
void Gpt::read(const std::vector<Row>& rows, std::vector<float>& x) const {
  const int64_t count = rows.size(), wide_width = kWiden * width_;
  for (const Row& row : rows) row.cache->reserve(row.position + 1);
  std::vector<float> qkv(count * 3 * width_), mixed(count * width_), wide(count * wide_width);
  PackedRows packed;
  packed.reserve(count, blocks_.front().down.row_words());  // the widest
  Team::run([&](Team& team) {
    const auto pack_normed = [&](const Norm& norm, const Linear& into) {
      team.split(count, 1, [&](int64_t begin, int64_t end) {
        std::vector<float> normed(width_);
        for (int64_t row = begin; row < end; ++row) {
          norm.apply(x.data() + row * width_, normed.data());
          into.pack(normed.data(), packed, row, count);
        }
      });
    };
    for (size_t layer = 0; layer < blocks_.size(); ++layer) {
      const Block& block = blocks_[layer];
      pack_normed(block.norm_1, block.qkv);
      block.qkv.apply(team, packed, count, qkv.data(), Ending::kStore);
      attend(team, layer, rows, qkv.data(), mixed.data());
      block.out.pack_all(team, mixed.data(), packed, count);
      block.out.apply(team, packed, count, x.data(), Ending::kAdd);
      pack_normed(block.norm_2, block.up);
      block.up.apply(team, packed, count, wide.data(), Ending::kStore);
      team.split(count, 1, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          bend(wide.data() + row * wide_width, wide_width);
          block.down.pack(wide.data() + row * wide_width, packed, row, count);
        }
      });
      block.down.apply(team, packed, count, x.data(), Ending::kAdd);
    }
  });
}

// Stores keys and values of all rows, then lets each look at its own unit's positions up to itself.
void Gpt::attend(Team& team, int64_t layer, const std::vector<Row>& rows, const float* qkv, float* mixed) const {
  const int64_t heads = sizes_.heads, head_dim = width_ / heads, tasks = rows.size() * heads;
  team.split(rows.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* of_row = qkv + row * 3 * width_;
      rows[row].cache->write(layer, rows[row].position, of_row + width_, of_row + 2 * width_);
    }
  });
  team.split(tasks, std::max<int64_t>(1, tasks / kPieces), [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t row = task / heads, head = task % heads;
      rows[row].cache->attend(layer, head, rows[row].position + 1, qkv + row * 3 * width_ + head * head_dim,
                              mixed + row * width_ + head * head_dim);
    }
  });
}

}  // namespace intone
