#include "runtimes/gpt.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>

namespace intone {
namespace {

constexpr float kNormEps = 1e-5f;

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
  PackedLinear linear(const std::string& name) const {
    return PackedLinear(get(name + ".weight", 2), get(name + ".bias", 1));
  }

 private:
  const std::map<std::string, at::Tensor>& tensors_;
};

}  // namespace

Gpt::Gpt(const GptSizes& sizes, const std::map<std::string, at::Tensor>& named)
    : sizes_(sizes),
      codes_(Tensors(named).get("mel_embedding.weight", 2).contiguous().clone()),
      positions_(Tensors(named).get("mel_pos_embedding.emb.weight", 2).contiguous().clone()),
      head_(Tensors(named).get("mel_head.weight", 2).t(), Tensors(named).get("mel_head.bias", 1)),
      width_(codes_.size(1)) {
  const Tensors tensors(named);
  const auto norm = [&](const std::string& name) {
    return Norm{tensors.get(name + ".weight", 1).contiguous().clone(),
                tensors.get(name + ".bias", 1).contiguous().clone()};
  };
  TORCH_CHECK(sizes.heads > 0 && width_ % sizes.heads == 0, "a width of ", width_, " cannot be cut into ", sizes.heads,
              " heads");
  TORCH_CHECK(head_.out() == codes_.size(0) && head_.in() == width_,
              "mel_head.weight does not fit mel_embedding.weight");
  for (int64_t layer = 0; layer < sizes.layers; ++layer) {
    const std::string name = "gpt.h." + std::to_string(layer) + ".";
    blocks_.push_back({norm(name + "ln_1"), tensors.linear(name + "attn.c_attn"), tensors.linear(name + "attn.c_proj"),
                       norm(name + "ln_2"), tensors.linear(name + "mlp.c_fc"), tensors.linear(name + "mlp.c_proj")});
  }
  end_norms_ = {norm("gpt.ln_f"), norm("final_norm")};
}

void Gpt::Norm::apply(const float* x, float* y, int64_t rows) const {
  const int64_t width = weight.size(0);
  const float *gain = weight.const_data_ptr<float>(), *shift = bias.const_data_ptr<float>();
  for (int64_t row = 0; row < rows; ++row, x += width, y += width) {
    double sum = 0.0, squares = 0.0;
    for (int64_t d = 0; d < width; ++d) sum += x[d];
    const float mean = static_cast<float>(sum / width);
    for (int64_t d = 0; d < width; ++d) squares += static_cast<double>(x[d] - mean) * (x[d] - mean);
    const float scale = 1.0f / std::sqrt(static_cast<float>(squares / width) + kNormEps);
    for (int64_t d = 0; d < width; ++d) y[d] = (x[d] - mean) * scale * gain[d] + shift[d];
  }
}

void Gpt::embed(int64_t code, int64_t position, float* x) const {
  const float* of_code = codes_.const_data_ptr<float>() + code * width_;
  const float* of_position = positions_.const_data_ptr<float>() + position * width_;
  for (int64_t d = 0; d < width_; ++d) x[d] = of_code[d] + of_position[d];
}

// Both norms stand in the trained model, one after the other.
void Gpt::end_norms(const float* x, float* hidden) const {
  std::vector<float> once(width_);
  end_norms_[0].apply(x, once.data(), 1);
  end_norms_[1].apply(once.data(), hidden, 1);
}

// x [rows, D]: embeddings become what the last block makes of them. Rows of one unit come in the order of positions.
void Gpt::read(const std::vector<Row>& rows, std::vector<float>& x) const {
  const int64_t count = rows.size();
  for (const Row& row : rows) row.cache->reserve(row.position + 1);
  std::vector<float> normed(count * width_), qkv(count * 3 * width_), mixed(count * width_), wide(count * 4 * width_);
  for (size_t layer = 0; layer < blocks_.size(); ++layer) {
    const Block& block = blocks_[layer];
    block.norm_1.apply(x.data(), normed.data(), count);
    block.qkv.apply(normed.data(), qkv.data(), count, Finish::kStore);
    attend(layer, rows, qkv.data(), mixed.data());
    block.out.apply(mixed.data(), x.data(), count, Finish::kAdd);
    block.norm_2.apply(x.data(), normed.data(), count);
    block.up.apply(normed.data(), wide.data(), count, Finish::kGelu);
    block.down.apply(wide.data(), x.data(), count, Finish::kAdd);
  }
}

// Stores keys and values of all rows, then lets each look at its own unit's positions up to itself.
void Gpt::attend(int64_t layer, const std::vector<Row>& rows, const float* qkv, float* mixed) const {
  const int64_t heads = sizes_.heads, head_dim = width_ / heads, count = rows.size();
  int64_t longest = 0;
  for (int64_t row = 0; row < count; ++row) {
    const float* of_row = qkv + row * 3 * width_;
    rows[row].cache->write(layer, rows[row].position, of_row + width_, of_row + 2 * width_);
    longest = std::max(longest, rows[row].position + 1);
  }
  const int64_t grain = std::max<int64_t>(1, 16384 / (longest * head_dim));
  at::parallel_for(0, count * heads, grain, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t row = task / heads, head = task % heads;
      rows[row].cache->attend(layer, head, rows[row].position + 1, qkv + row * 3 * width_ + head * head_dim,
                              mixed + row * width_ + head * head_dim);
    }
  });
}

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
  std::vector<float> states, scores(drafts.size() * head_.out());
  for (const Draft* draft : drafts) states.insert(states.end(), draft->unit->hidden.begin(), draft->unit->hidden.end());
  head_.apply(states.data(), scores.data(), drafts.size(), Finish::kStore);
  for (size_t i = 0; i < drafts.size(); ++i) {
    Draft& draft = *drafts[i];
    GptUnit& unit = *draft.unit;
    const int64_t barred = unit.made < unit.least_codes ? sizes_.stop_code : -1;
    const int64_t code = unit.sampler.draw(scores.data() + i * head_.out(), *draft.uniforms++, barred);
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
