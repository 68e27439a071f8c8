// The runtimes as Python sees them, one function each.

#pragma once

#include <pybind11/pybind11.h>

namespace intone {

void bind_gpt(pybind11::module_& m);

}  // namespace intone
