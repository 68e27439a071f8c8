// Python bindings of `Linear`, `Transformer` and `LocalFlow`. Methods release the GIL, so a cache may only be in one
// call at a time.

#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include "runtimes/bindings.h"
#include "runtimes/local_flow.h"
#include "runtimes/transformer.h"

namespace intone {
namespace {

namespace py = pybind11;
using Unlocked = py::call_guard<py::gil_scoped_release>;
using MaybeTensor = std::optional<at::Tensor>;

Linear linear_of(const at::Tensor& weight, const MaybeTensor& bias, const std::string& type, const std::string& isa,
                 bool gated) {
  return Linear(weight, bias, weight_type_named(type), isa_named(isa), gated);
}

std::shared_ptr<TransformerLayer> layer_of(const at::Tensor& attention_norm, const at::Tensor& qkv,
                                           const at::Tensor& out, const at::Tensor& mlp_norm, const at::Tensor& gate_up,
                                           const at::Tensor& down, const std::string& type, const std::string& isa) {
  // Not a guard of the whole call: pybind11 registers the object that is returned.
  const py::gil_scoped_release unlocked;
  const auto plain = [&](const at::Tensor& weight) { return linear_of(weight, std::nullopt, type, isa, false); };
  return std::make_shared<TransformerLayer>(
      TransformerLayer{attention_norm.contiguous().clone(), plain(qkv), plain(out), mlp_norm.contiguous().clone(),
                       linear_of(gate_up, std::nullopt, type, isa, true), plain(down)});
}

Packed packed_layer(const TransformerLayer& layer) {
  Packed all{{"attention_norm", layer.attention_norm}, {"mlp_norm", layer.mlp_norm}};
  put(all, "qkv", layer.qkv.packed());
  put(all, "out", layer.out.packed());
  put(all, "gate_up", layer.gate_up.packed());
  put(all, "down", layer.down.packed());
  return all;
}

std::shared_ptr<TransformerLayer> layer_of_packed(const Packed& packed, const std::string& type,
                                                  const std::string& isa) {
  const auto linear = [&](const char* name, bool gated) {
    return Linear(inner(packed, name), weight_type_named(type), isa_named(isa), gated);
  };
  Linear qkv = linear("qkv", false), out = linear("out", false), gate_up = linear("gate_up", true),
         down = linear("down", false);
  const auto norm = [&](const char* name) { return part_of(packed, name, at::kFloat, {qkv.in()}).clone(); };
  const at::Tensor attention_norm = norm("attention_norm"), mlp_norm = norm("mlp_norm");
  return std::make_shared<TransformerLayer>(
      TransformerLayer{attention_norm, std::move(qkv), std::move(out), mlp_norm, std::move(gate_up), std::move(down)});
}

}  // namespace

void bind_transformer(py::module_& m) {
  m.def("best_isa", [] { return name_of(best_isa()); });
  py::class_<Linear>(m, "Linear")
      .def(py::init(&linear_of), py::arg("weight"), py::arg("bias") = py::none(), py::kw_only(), py::arg("type"),
           py::arg("isa") = "best", py::arg("gated") = false, Unlocked())
      .def_property_readonly("weight_bytes", &Linear::weight_bytes)
      .def("__call__", &Linear::operator(), py::arg("x"), Unlocked());
  py::class_<TransformerLayer, std::shared_ptr<TransformerLayer>>(m, "TransformerLayer")
      .def(py::init(&layer_of), py::kw_only(), py::arg("attention_norm"), py::arg("qkv"), py::arg("out"),
           py::arg("mlp_norm"), py::arg("gate_up"), py::arg("down"), py::arg("type"), py::arg("isa") = "best")
      .def_static("of_packed", &layer_of_packed, py::arg("packed"), py::kw_only(), py::arg("type"),
                  py::arg("isa") = "best", Unlocked())
      .def("packed", &packed_layer);
  py::class_<TransformerCache, std::shared_ptr<TransformerCache>>(m, "TransformerCache")
      .def_readonly("length", &TransformerCache::length)
      .def("fork", &TransformerCache::fork, py::arg("count"), py::arg("limit"), Unlocked());
  py::class_<Transformer, std::shared_ptr<Transformer>>(m, "Transformer")
      .def(py::init([](int64_t heads, int64_t kv_heads, int64_t head_dim, float norm_eps,
                       std::vector<std::shared_ptr<TransformerLayer>> layers, const at::Tensor& norm,
                       const MaybeTensor& cos, const MaybeTensor& sin) {
             return std::make_shared<Transformer>(TransformerSizes{heads, kv_heads, head_dim, norm_eps},
                                                  std::move(layers), norm, cos, sin);
           }),
           py::kw_only(), py::arg("heads"), py::arg("kv_heads"), py::arg("head_dim"), py::arg("norm_eps"),
           py::arg("layers"), py::arg("norm"), py::arg("cos"), py::arg("sin"))
      .def("new_cache", &Transformer::new_cache, py::arg("limit"))
      .def("bidirectional", &Transformer::bidirectional, py::arg("x"), py::arg("first"), py::arg("last"), Unlocked())
      .def("prefill", &Transformer::prefill, py::arg("x"), py::arg("cache"), py::arg("first") = 0, Unlocked())
      .def("step", &Transformer::step, py::arg("x"), py::arg("caches"), Unlocked());
  py::class_<LocalFlow>(m, "LocalFlow")
      .def(py::init([](std::shared_ptr<Transformer> stack, const at::Tensor& in_weight, const at::Tensor& in_bias,
                       const at::Tensor& out_weight, const at::Tensor& out_bias) {
             const Isa isa = best_isa();
             return LocalFlow(std::move(stack), Linear(in_weight, in_bias, WeightType::kFloat, isa),
                              Linear(out_weight, out_bias, WeightType::kFloat, isa));
           }),
           py::kw_only(), py::arg("stack").none(false), py::arg("in_weight"), py::arg("in_bias"), py::arg("out_weight"),
           py::arg("out_bias"), Unlocked())
      .def("solve", &LocalFlow::solve, py::arg("noise"), py::arg("condition"), py::arg("previous"), py::arg("times"),
           py::arg("lengths"), py::arg("guidance"), Unlocked());
}

}  // namespace intone
