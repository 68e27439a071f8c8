// The runtimes as Python sees them, one function each.

#pragma once

#include <pybind11/pybind11.h>

namespace intone {

void bind_gpt(pybind11::module_& m);
void bind_transformer(pybind11::module_& m);
void bind_audio_vae(pybind11::module_& m);

}  // namespace intone
