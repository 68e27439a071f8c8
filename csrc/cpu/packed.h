// The packed tensors of a part of a model, by name: saved to a file, and loaded to build the part without packing.

#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

namespace intone {

using Packed = std::map<std::string, at::Tensor>;

// The tensor of this name. Throws c10::Error where there is none, or where its dtype, shape or device differs.
inline at::Tensor part_of(const Packed& packed, const std::string& name, at::ScalarType type, at::IntArrayRef shape) {
  const auto found = packed.find(name);
  TORCH_CHECK(found != packed.end(), "found no ", name, " among the packed tensors");
  const at::Tensor& tensor = found->second;
  TORCH_CHECK(tensor.scalar_type() == type && tensor.sizes() == shape && tensor.device().is_cpu(), "packed ", name,
              " is ", tensor.sizes(), " ", tensor.scalar_type(), " on ", tensor.device(), ", expected ", shape, " ",
              type, " on cpu");
  return tensor.contiguous();
}

// The tensors whose names begin with `prefix` and a dot; both are removed from the names.
inline Packed inner(const Packed& packed, const std::string& prefix) {
  Packed found;
  const std::string begin = prefix + ".";
  for (auto at = packed.lower_bound(begin); at != packed.end() && at->first.compare(0, begin.size(), begin) == 0;
       ++at) {
    found.emplace(at->first.substr(begin.size()), at->second);
  }
  return found;
}

// Adds `part` to `all` under `prefix`, where `inner` finds it.
inline void put(Packed& all, const std::string& prefix, const Packed& part) {
  for (const auto& [name, tensor] : part) all.emplace(prefix + "." + name, tensor);
}

}  // namespace intone
