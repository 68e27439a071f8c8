// Reads the weights of `MelFlow`.

#include "runtimes/mel_flow.h"

namespace intone {
namespace {

constexpr int64_t kMaxDilation = int64_t{1} << 20;

void check_layer(const std::string& name, const Linear& layer, int64_t out, int64_t in) {
  TORCH_CHECK(layer.out() == out && layer.in() == in, name, " has ", layer.in(), " inputs and ", layer.out(),
              " outputs, expected ", in, " and ", out);
}

}  // namespace

// The named tensors of a model.
class MelFlow::Tensors {
 public:
  Tensors(const std::map<std::string, at::Tensor>& tensors, Isa isa) : tensors_(tensors), isa_(isa) {}

  bool has(const std::string& name) const { return tensors_.count(name) > 0; }
  at::Tensor get(const std::string& name) const {
    const auto found = tensors_.find(name);
    TORCH_CHECK(found != tensors_.end(), name, " is missing");
    TORCH_CHECK(found->second.scalar_type() == at::kFloat && found->second.device().is_cpu(), name, " is ",
                found->second.scalar_type(), " on ", found->second.device(), ", expected Float on cpu");
    return found->second;
  }
  Linear plain(const std::string& name, WeightType type, bool gated = false) const {
    return Linear(get(name), std::nullopt, type, isa_, gated);
  }
  Linear affine(const std::string& name, WeightType type) const {
    return Linear(get(name + ".weight"), get(name + ".bias"), type, isa_);
  }

 private:
  const std::map<std::string, at::Tensor>& tensors_;
  Isa isa_;
};

MelFlow::MelFlow(int64_t heads, const std::vector<int64_t>& dilations, const std::map<std::string, at::Tensor>& named,
                 const MelFlowTypes& types, Isa isa)
    : heads_(heads),
      frames_in_(Tensors(named, isa).plain("frames_in", WeightType::kFloat)),
      cos_(Tensors(named, isa).get("cos").contiguous()),
      sin_(Tensors(named, isa).get("sin").contiguous()),
      wavenet_in_(Tensors(named, isa).affine("wavenet_in", WeightType::kFloat)),
      around_wavenet_(Tensors(named, isa).affine("around_wavenet", WeightType::kFloat)),
      frames_out_(Tensors(named, isa).affine("frames_out", WeightType::kFloat)),
      attention_(isa) {
  const Tensors tensors(named, isa);
  width_ = frames_in_.out();
  bands_ = frames_in_.in();
  TORCH_CHECK(heads > 0 && width_ % heads == 0 && width_ / heads % 2 == 0, "a width of ", width_,
              " cannot be divided into ", heads, " heads of even size");
  check_layer("wavenet_in", wavenet_in_, width_, width_ + bands_);
  check_layer("around_wavenet", around_wavenet_, width_, width_ + bands_);
  check_layer("frames_out", frames_out_, bands_, width_);
  TORCH_CHECK(cos_.dim() == 2 && cos_.size(1) == width_ / heads && sin_.sizes() == cos_.sizes(), "cos and sin are ",
              cos_.sizes(), " and ", sin_.sizes(), ", expected [positions, ", width_ / heads, "]");
  read_layers(tensors, types.transformer);
  read_convs(tensors, dilations, types.wavenet);
}

void MelFlow::read_layers(const Tensors& tensors, WeightType type) {
  std::vector<int64_t> open;  // layers whose result a later one may take, the last one first
  for (int64_t index = 0;; ++index) {
    const std::string name = "layers." + std::to_string(index);
    if (!tensors.has(name + ".qkv")) break;
    Layer layer{tensors.plain(name + ".qkv", type),
                tensors.plain(name + ".out", type),
                tensors.plain(name + ".gate_up", type, true),
                tensors.plain(name + ".down", type),
                std::nullopt,
                0,
                false};
    check_layer(name + ".qkv", layer.qkv, 3 * width_, width_);
    check_layer(name + ".out", layer.out, width_, width_);
    if (index == 0) feed_forward_ = layer.down.in();
    check_layer(name + ".gate_up", layer.gate_up, feed_forward_, width_);
    check_layer(name + ".down", layer.down, width_, feed_forward_);
    if (tensors.has(name + ".skip.weight")) {
      layer.skip = tensors.affine(name + ".skip", type);
      check_layer(name + ".skip", *layer.skip, width_, 2 * width_);
    }
    layers_.push_back(std::move(layer));
  }
  TORCH_CHECK(!layers_.empty(), "layers.0.qkv is missing");
  // The layers of the first half end one after the other in the last layers, the last of them first.
  int64_t next = static_cast<int64_t>(layers_.size()) / 2;
  for (Layer& layer : layers_) {
    if (!layer.skip) continue;
    TORCH_CHECK(next > 0, "more than ", layers_.size() / 2, " of ", layers_.size(), " layers have a skip");
    layer.skipped_from = --next;
    TORCH_CHECK(layer.skipped_from < &layer - layers_.data(), "layer ", &layer - layers_.data(),
                " has a skip from layer ", next);
    layers_[next].is_taken = true;
  }
}

void MelFlow::read_convs(const Tensors& tensors, const std::vector<int64_t>& dilations, WeightType type) {
  TORCH_CHECK(!dilations.empty(), "found 0 dilations, expected at least 1");
  for (size_t index = 0; index < dilations.size(); ++index) {
    const std::string name = "wavenet." + std::to_string(index);
    GatedConv layer{tensors.plain(name + ".conv", type),
                    std::nullopt,
                    tensors.affine(name + ".skip", type),
                    dilations[index],
                    0,
                    0};
    const int64_t taps = layer.conv.in() / width_;
    TORCH_CHECK(taps % 2 == 1 && 0 < layer.dilation && layer.dilation <= kMaxDilation, name, " has ", taps,
                " taps and dilation ", layer.dilation, ", expected an odd number and 1 to ", kMaxDilation);
    check_layer(name + ".conv", layer.conv, 2 * width_, taps * width_);
    check_layer(name + ".skip", layer.skip, width_, width_);
    if (index + 1 < dilations.size()) {
      layer.residual = tensors.affine(name + ".residual", type);
      check_layer(name + ".residual", *layer.residual, width_, width_);
    }
    layer.padding = (taps - 1) / 2 * layer.dilation;
    for (GatedConv& earlier : convs_) earlier.padding_after += layer.padding;
    convs_.push_back(std::move(layer));
  }
}

}  // namespace intone
