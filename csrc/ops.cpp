// The extension module. Importing it registers every dispatcher operation (`schemas.h`); the module itself holds the
// runtimes: classes that own packed weights and a loop. `server/ops/_C.pyi` describes those to Python.

#include <pybind11/pybind11.h>
#include <torch/library.h>
#include <torch/version.h>

#include "runtimes/bindings.h"
#include "schemas.h"

// Found in the file before it is loaded, to tell whether it was built for the torch that is installed.
extern "C" __attribute__((used, visibility("default"))) const char intone_built_for[] =
    "intone-built-for-torch=" TORCH_VERSION;

TORCH_LIBRARY(intone, m) {
  for (const char* schema : intone::kSchemas) m.def(schema);
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  intone::bind_decoder_stack(m);
  intone::bind_gpt(m);
  intone::bind_conv_chain(m);
  intone::bind_conv_graph(m);
  intone::bind_mel_flow(m);
}
