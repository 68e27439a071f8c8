// Argument checks of the dispatcher operations. Every message names the operation and the argument.

#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>

namespace intone {

// An argument with the names used in messages.
struct Arg {
  const char* op;
  const char* name;
  const at::Tensor& tensor;
};

inline void check_dim(const Arg& arg, int64_t dim) {
  TORCH_CHECK(arg.tensor.dim() == dim, arg.op, ": ", arg.name, " has ", arg.tensor.dim(), " dimensions, expected ",
              dim);
}

inline void check_size(const Arg& arg, int64_t axis, int64_t size) {
  TORCH_CHECK(arg.tensor.size(axis) == size, arg.op, ": ", arg.name, " has size ", arg.tensor.size(axis),
              " along axis ", axis, ", expected ", size);
}

inline void check_dtype(const Arg& arg, at::ArrayRef<at::ScalarType> supported) {
  const auto found = std::find(supported.begin(), supported.end(), arg.tensor.scalar_type());
  TORCH_CHECK(found != supported.end(), arg.op, ": ", arg.name, " is ", arg.tensor.scalar_type(), ", expected one of ",
              supported);
}

inline void check_same_dtype(const Arg& arg, const Arg& like) {
  TORCH_CHECK(arg.tensor.scalar_type() == like.tensor.scalar_type(), arg.op, ": ", arg.name, " is ",
              arg.tensor.scalar_type(), ", expected ", like.tensor.scalar_type(), " as ", like.name);
}

inline void check_cpu(const Arg& arg) {
  TORCH_CHECK(arg.tensor.device().is_cpu(), arg.op, ": ", arg.name, " is on ", arg.tensor.device(), ", expected cpu");
}

}  // namespace intone
