// Vectors of floats in plain C++, for kernels that are compiled for several instruction sets.

#pragma once

#include "cpu/attributes.h"

namespace intone {

// `W` unaligned floats: one register where the instruction set has registers of that width.
template <int W>
struct VectorOf {
  typedef float Type __attribute__((vector_size(4 * W), aligned(4), may_alias));
};
template <int W>
using Vector = typename VectorOf<W>::Type;

template <int W>
INTONE_INLINE Vector<W> load(const float* from) {
  return *reinterpret_cast<const Vector<W>*>(from);
}

template <int W>
INTONE_INLINE void store(float* to, const Vector<W>& value) {
  *reinterpret_cast<Vector<W>*>(to) = value;
}

}  // namespace intone
