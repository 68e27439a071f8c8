// Python bindings of `MelFlow`.

#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include "runtimes/bindings.h"
#include "runtimes/mel_flow.h"

namespace intone {

void bind_mel_flow(pybind11::module_& m) {
  namespace py = pybind11;
  using Unlocked = py::call_guard<py::gil_scoped_release>;

  py::class_<CachedFrames>(m, "CachedFrames")
      .def_property_readonly("frames", &CachedFrames::frames)
      .def_property_readonly("nbytes", &CachedFrames::nbytes);

  py::class_<MelFlow>(m, "MelFlow")
      .def(py::init([](int64_t heads, const std::vector<int64_t>& dilations,
                       const std::map<std::string, at::Tensor>& tensors, const std::string& type,
                       const std::string& wavenet_type, const std::string& isa) {
             return MelFlow(heads, dilations, tensors, {weight_type_named(type), weight_type_named(wavenet_type)},
                            isa_named(isa));
           }),
           py::kw_only(), py::arg("heads"), py::arg("dilations"), py::arg("tensors"), py::arg("type"),
           py::arg("wavenet_type"), py::arg("isa") = "best", Unlocked())
      .def(
          "solve",
          [](const MelFlow& flow, const at::Tensor& noise, const at::Tensor& rows, double guidance,
             const at::Tensor& norms, const at::Tensor& last_norm, const at::Tensor& gates,
             const std::vector<double>& lengths, const MelFlow::Cached& cached) {
            return flow.solve(noise, rows, guidance, {norms, last_norm, gates, lengths}, cached);
          },
          py::arg("noise"), py::arg("rows"), py::arg("guidance"), py::kw_only(), py::arg("norms"), py::arg("last_norm"),
          py::arg("gates"), py::arg("lengths"), py::arg("cached") = MelFlow::Cached(), Unlocked())
      .def("cache", &MelFlow::cache, py::arg("rows"), py::arg("frames"), py::kw_only(), py::arg("norms"), Unlocked());
}

}  // namespace intone
