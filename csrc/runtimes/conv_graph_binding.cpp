// Python bindings of `ConvGraph`. Methods release the GIL; `run` changes the states only.

#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include "runtimes/bindings.h"
#include "runtimes/conv_graph.h"

namespace intone {

void bind_conv_graph(pybind11::module_& m) {
  namespace py = pybind11;
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  using Optional = std::optional<at::Tensor>;

  py::class_<GraphLayerWeights>(m, "GraphLayerWeights")
      .def(py::init([](std::vector<int64_t> sources, int64_t target, std::optional<int64_t> residual, at::Tensor weight,
                       Optional bias, Optional alpha, Optional beta, int64_t dilation, int64_t up, double gain) {
             return GraphLayerWeights{sources, target, residual, weight, bias, alpha, beta, dilation, up, gain};
           }),
           py::kw_only(), py::arg("sources"), py::arg("target"), py::arg("residual"), py::arg("weight"),
           py::arg("bias"), py::arg("alpha"), py::arg("beta"), py::arg("dilation"), py::arg("up"), py::arg("gain"));
  py::class_<ConvGraphState>(m, "ConvGraphState")
      .def_property_readonly("rows", &ConvGraphState::rows)
      .def_property_readonly("ended", &ConvGraphState::ended)
      .def_property_readonly("bytes", &ConvGraphState::bytes);
  py::class_<ConvGraph>(m, "ConvGraph")
      .def(py::init<const std::vector<GraphLayerWeights>&, const std::string&>(), py::kw_only(), py::arg("layers"),
           py::arg("isa") = "best", Unlocked())
      .def("new_state", &ConvGraph::new_state)
      .def("run", &ConvGraph::run, py::arg("inputs"), py::arg("following"), py::arg("states"), py::kw_only(),
           py::arg("last"), py::arg("provisional"), Unlocked())
      .def_property_readonly("rate", &ConvGraph::rate)
      .def_property_readonly("lag", &ConvGraph::lag)
      .def_property_readonly("weight_bytes", &ConvGraph::weight_bytes);
}

}  // namespace intone
