// The operations under a namespace of their own, so that the kernels can run beside those of the CPU.

#include <torch/csrc/stable/library.h>

#include "schemas.h"

STABLE_TORCH_LIBRARY(intone_emulated, m) {
  for (const char* schema : intone::kSchemas) m.def(schema);
}
