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
  py::class_<Gpt, std::shared_ptr<Gpt>>(m, "Gpt")
      .def(py::init([](std::shared_ptr<DecoderStack> stack, const Linear& head, const at::Tensor& codes,
                       const at::Tensor& positions, int64_t start_code, int64_t stop_code, int64_t skipped_positions) {
             return std::make_shared<Gpt>(std::move(stack), head, codes, positions,
                                          GptCodes{start_code, stop_code, skipped_positions});
           }),
           py::kw_only(), py::arg("stack").none(false), py::arg("head"), py::arg("codes"), py::arg("positions"),
           py::arg("start_code"), py::arg("stop_code"), py::arg("skipped_positions"))
      .def(
          "begin",
          [](const Gpt& gpt, const at::Tensor& prefix, int64_t max_codes, const SamplingSettings& settings,
             const std::vector<int64_t>& seen, int64_t min_codes, std::optional<std::shared_ptr<DecoderCache>> before) {
            return gpt.begin(prefix, max_codes, settings, seen, min_codes, before.value_or(nullptr));
          },
          py::arg("prefix"), py::arg("max_codes"), py::arg("settings"), py::arg("seen"), py::arg("min_codes") = 0,
          py::arg("before") = py::none(), Unlocked())
      .def("generate", &Gpt::generate, py::arg("units"), py::arg("count"), py::arg("uniforms"), Unlocked());
}

}  // namespace intone
