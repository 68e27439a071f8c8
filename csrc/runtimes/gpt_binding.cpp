// Python bindings of `Gpt`. Methods release the GIL, so a unit may only be in one call at a time.

#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include "runtimes/bindings.h"
#include "runtimes/gpt.h"

namespace intone {

void bind_gpt(pybind11::module_& m) {
  namespace py = pybind11;
  using Unlocked = py::call_guard<py::gil_scoped_release>;

  py::class_<SamplingSettings>(m, "SamplingSettings")
      .def(py::init([](float temperature, int64_t top_k, float top_p, float penalty, int64_t min_tokens_to_keep) {
             return SamplingSettings{temperature, top_k, top_p, penalty, min_tokens_to_keep};
           }),
           py::kw_only(), py::arg("temperature"), py::arg("top_k"), py::arg("top_p"), py::arg("penalty"),
           py::arg("min_tokens_to_keep"));
  py::class_<GptUnit, std::shared_ptr<GptUnit>>(m, "GptUnit")
      .def_readonly("made", &GptUnit::made)
      .def_readonly("ended", &GptUnit::ended);
  py::class_<Gpt::Generated>(m, "GptGenerated")
      .def_readonly("codes", &Gpt::Generated::codes)
      .def_readonly("hidden", &Gpt::Generated::hidden)
      .def_readonly("ended", &Gpt::Generated::ended);
  py::class_<Gpt>(m, "Gpt")
      .def(py::init([](int64_t layers, int64_t heads, int64_t start_code, int64_t stop_code, int64_t skipped_positions,
                       const std::map<std::string, at::Tensor>& tensors, const std::string& type) {
             return Gpt({layers, heads, start_code, stop_code, skipped_positions}, tensors, weight_type_named(type));
           }),
           py::kw_only(), py::arg("layers"), py::arg("heads"), py::arg("start_code"), py::arg("stop_code"),
           py::arg("skipped_positions"), py::arg("tensors"), py::arg("type"), Unlocked())
      .def("begin", &Gpt::begin, py::arg("prefix"), py::arg("max_codes"), py::arg("settings"), py::arg("seen"),
           py::arg("min_codes") = 0, Unlocked())
      .def("generate", &Gpt::generate, py::arg("units"), py::arg("count"), py::arg("uniforms"), Unlocked());
}

}  // namespace intone
