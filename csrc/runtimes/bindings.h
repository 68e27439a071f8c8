// Each function adds the Python bindings of one runtime to the module.

#pragma once

#include <pybind11/pybind11.h>

namespace intone {

void bind_gpt(pybind11::module_& m);
void bind_decoder_stack(pybind11::module_& m);
void bind_conv_chain(pybind11::module_& m);
void bind_conv_graph(pybind11::module_& m);
void bind_mel_flow(pybind11::module_& m);

}  // namespace intone
