// Every native operation, one schema a line. The module itself is empty: importing it registers them.

#include <pybind11/pybind11.h>
#include <torch/library.h>
#include <torch/version.h>

// Read from the file, before it is loaded, to tell whether it was built for the torch that is installed.
extern "C" __attribute__((used, visibility("default"))) const char intone_built_for[] =
    "intone-built-for-torch=" TORCH_VERSION;

TORCH_LIBRARY(intone, m) {
  m.def("snake(Tensor x, Tensor alpha) -> Tensor");
  m.def("snake_beta(Tensor x, Tensor alpha, Tensor beta, int before, int after) -> Tensor");
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {}
