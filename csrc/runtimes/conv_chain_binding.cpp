// Python bindings of `ConvChain`. Methods release the GIL and do not change their arguments.

#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include "runtimes/bindings.h"
#include "runtimes/conv_chain.h"

namespace intone {

void bind_conv_chain(pybind11::module_& m) {
  namespace py = pybind11;
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  using Streams = std::vector<at::Tensor>;
  using States = std::vector<ConvChain::Tails>;
  using Optional = std::optional<at::Tensor>;

  py::class_<StageWeights>(m, "StageWeights")
      .def(py::init([](Optional alpha, Optional scale, Optional shift, Optional taps, Optional taps_bias,
                       Optional taps_alpha, at::Tensor weight, at::Tensor bias, int64_t dilation, int64_t window,
                       int64_t stride, int64_t up, int64_t tail_rows, bool residual) {
             return StageWeights{alpha, scale,    shift,  taps,   taps_bias, taps_alpha, weight,
                                 bias,  dilation, window, stride, up,        tail_rows,  residual};
           }),
           py::kw_only(), py::arg("alpha"), py::arg("scale"), py::arg("shift"), py::arg("taps"), py::arg("taps_bias"),
           py::arg("taps_alpha"), py::arg("weight"), py::arg("bias"), py::arg("dilation"), py::arg("window"),
           py::arg("stride"), py::arg("up"), py::arg("tail_rows"), py::arg("residual"));
  py::class_<ConvChain::Result>(m, "ConvResult")
      .def_readonly("output", &ConvChain::Result::output)
      .def_readonly("tails", &ConvChain::Result::tails);
  py::class_<ConvChain>(m, "ConvChain")
      .def(py::init<const std::vector<StageWeights>&, const std::string&>(), py::kw_only(), py::arg("stages"),
           py::arg("isa"), Unlocked())
      .def_static(
          "of_packed", [](const Packed& packed, const std::string& isa) { return ConvChain(packed, isa); },
          py::arg("packed"), py::kw_only(), py::arg("isa"), Unlocked())
      .def("packed", &ConvChain::packed)
      .def("run", py::overload_cast<const Streams&, const States&>(&ConvChain::run, py::const_), py::arg("inputs"),
           py::arg("tails"), Unlocked())
      .def("stage_ms", &ConvChain::stage_ms, py::arg("inputs"), py::arg("tails"), Unlocked())
      .def_property_readonly("tail_shapes", &ConvChain::tail_shapes);
}

}  // namespace intone
