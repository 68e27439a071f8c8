// Python bindings of `Linear`, `DecoderStack` and `LocalFlow`. Methods release the GIL, so a cache may only be in one
// call at a time.

#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include "runtimes/bindings.h"
#include "runtimes/decoder_stack.h"
#include "runtimes/local_flow.h"

namespace intone {
namespace {

namespace py = pybind11;
using Unlocked = py::call_guard<py::gil_scoped_release>;
using MaybeTensor = std::optional<at::Tensor>;

Linear linear_of(const at::Tensor& weight, const MaybeTensor& bias, const std::string& type, const std::string& isa,
                 bool gated) {
  return Linear(weight, bias, weight_type_named(type), isa_named(isa), gated);
}

Norm norm_of(const at::Tensor& weight, const MaybeTensor& bias) {
  return {weight.contiguous().clone(), bias ? bias->contiguous().clone() : at::Tensor()};
}

// Not guards of whole calls: pybind11 registers the object that is returned.

std::shared_ptr<DecoderLayer> layer_of(const at::Tensor& attention_norm, const at::Tensor& qkv, const at::Tensor& out,
                                       const at::Tensor& mlp_norm, const at::Tensor& up, const at::Tensor& down,
                                       const MaybeTensor& attention_norm_bias, const MaybeTensor& qkv_bias,
                                       const MaybeTensor& out_bias, const MaybeTensor& mlp_norm_bias,
                                       const MaybeTensor& up_bias, const MaybeTensor& down_bias, bool gated,
                                       const std::string& type, const std::string& isa) {
  const py::gil_scoped_release unlocked;
  return std::make_shared<DecoderLayer>(
      DecoderLayer{norm_of(attention_norm, attention_norm_bias), linear_of(qkv, qkv_bias, type, isa, false),
                   linear_of(out, out_bias, type, isa, false), norm_of(mlp_norm, mlp_norm_bias),
                   linear_of(up, up_bias, type, isa, gated), linear_of(down, down_bias, type, isa, false)});
}

std::shared_ptr<DecoderLayer> layer_of_packed(const Packed& packed, const std::string& type, const std::string& isa) {
  const py::gil_scoped_release unlocked;
  return std::make_shared<DecoderLayer>(DecoderLayer::of_packed(packed, weight_type_named(type), isa_named(isa)));
}

std::shared_ptr<DecoderStack> stack_of(int64_t heads, int64_t kv_heads, int64_t head_dim, float norm_eps,
                                       std::vector<std::shared_ptr<DecoderLayer>> layers,
                                       const std::vector<std::pair<at::Tensor, MaybeTensor>>& norms,
                                       const MaybeTensor& cos, const MaybeTensor& sin) {
  std::vector<Norm> final_norms;
  for (const auto& [weight, bias] : norms) final_norms.push_back({weight, bias.value_or(at::Tensor())});
  return std::make_shared<DecoderStack>(StackSizes{heads, kv_heads, head_dim, norm_eps}, std::move(layers),
                                        std::move(final_norms), cos, sin);
}

std::shared_ptr<LocalFlow> flow_of(std::shared_ptr<DecoderStack> stack, const at::Tensor& in_weight,
                                   const at::Tensor& in_bias, const at::Tensor& out_weight,
                                   const at::Tensor& out_bias) {
  const py::gil_scoped_release unlocked;
  const Isa isa = stack->isa();
  return std::make_shared<LocalFlow>(std::move(stack), Linear(in_weight, in_bias, WeightType::kFloat, isa),
                                     Linear(out_weight, out_bias, WeightType::kFloat, isa));
}

}  // namespace

void bind_decoder_stack(py::module_& m) {
  m.def("best_isa", [] { return name_of(best_isa()); });
  py::class_<Linear>(m, "Linear")
      .def(py::init(&linear_of), py::arg("weight"), py::arg("bias") = py::none(), py::kw_only(), py::arg("type"),
           py::arg("isa") = "best", py::arg("gated") = false, Unlocked())
      .def_static(
          "of_packed",
          [](const Packed& packed, const std::string& type, const std::string& isa, bool gated) {
            return Linear(packed, weight_type_named(type), isa_named(isa), gated);
          },
          py::arg("packed"), py::kw_only(), py::arg("type"), py::arg("isa") = "best", py::arg("gated") = false)
      .def("packed", &Linear::packed)
      .def_property_readonly("weight_bytes", &Linear::weight_bytes)
      .def("__call__", &Linear::operator(), py::arg("x"), Unlocked());
  py::class_<DecoderLayer, std::shared_ptr<DecoderLayer>>(m, "DecoderLayer")
      .def(py::init(&layer_of), py::kw_only(), py::arg("attention_norm"), py::arg("qkv"), py::arg("out"),
           py::arg("mlp_norm"), py::arg("up"), py::arg("down"), py::arg("attention_norm_bias") = py::none(),
           py::arg("qkv_bias") = py::none(), py::arg("out_bias") = py::none(), py::arg("mlp_norm_bias") = py::none(),
           py::arg("up_bias") = py::none(), py::arg("down_bias") = py::none(), py::arg("gated"), py::arg("type"),
           py::arg("isa") = "best")
      .def_static("of_packed", &layer_of_packed, py::arg("packed"), py::kw_only(), py::arg("type"),
                  py::arg("isa") = "best")
      .def("packed", &DecoderLayer::packed);
  py::class_<DecoderCache, std::shared_ptr<DecoderCache>>(m, "DecoderCache")
      .def_readonly("length", &DecoderCache::length)
      .def("fork", &DecoderCache::fork, py::arg("count"), py::arg("limit"), Unlocked());
  py::class_<DecoderStack, std::shared_ptr<DecoderStack>>(m, "DecoderStack")
      .def(py::init(&stack_of), py::kw_only(), py::arg("heads"), py::arg("kv_heads"), py::arg("head_dim"),
           py::arg("norm_eps"), py::arg("layers"), py::arg("norms"), py::arg("cos") = py::none(),
           py::arg("sin") = py::none())
      .def("new_cache", &DecoderStack::new_cache, py::arg("limit"))
      .def("bidirectional", &DecoderStack::bidirectional, py::arg("x"), py::arg("first"), py::arg("last"), Unlocked())
      .def("prefill", &DecoderStack::prefill, py::arg("x"), py::arg("cache"), py::arg("first") = 0, Unlocked())
      .def("step", &DecoderStack::step, py::arg("x"), py::arg("caches"), Unlocked());
  py::class_<LocalFlow, std::shared_ptr<LocalFlow>>(m, "LocalFlow")
      .def(py::init(&flow_of), py::kw_only(), py::arg("stack").none(false), py::arg("in_weight"), py::arg("in_bias"),
           py::arg("out_weight"), py::arg("out_bias"))
      .def("solve", &LocalFlow::solve, py::arg("noise"), py::arg("condition"), py::arg("previous"), py::arg("times"),
           py::arg("lengths"), py::arg("guidance"), Unlocked());
}

}  // namespace intone
