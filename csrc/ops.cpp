// Every native operation, one schema a line: importing the module registers them. What the module itself holds are the
// runtimes: classes that own weights and a loop.

#include <pybind11/pybind11.h>
#include <torch/library.h>
#include <torch/version.h>

#include "runtimes/bindings.h"

// Read from the file, before it is loaded, to tell whether it was built for the torch that is installed.
extern "C" __attribute__((used, visibility("default"))) const char intone_built_for[] =
    "intone-built-for-torch=" TORCH_VERSION;

TORCH_LIBRARY(intone, m) {
  m.def("snake(Tensor x, Tensor alpha) -> Tensor");
  m.def("snake_beta(Tensor x, Tensor alpha, Tensor beta, int before, int after) -> Tensor");
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  intone::bind_gpt(m);
  intone::bind_transformer(m);
  intone::bind_audio_vae(m);
}
