// SPDX-License-Identifier: MIT
// Compiles emitted gates and layers without the library and compares what they do with what it did.
// What is emitted comes first: it has to include what it uses.
#include "gates.hpp"

#include <cstdio>
#include <cstring>
#include <limits>

namespace {

int failures = 0;

void expect(bool holds, const char* gate, const char* what, int sample) {
  if (holds) return;
  std::printf("%s: sample %d: %s\n", gate, sample, what);
  ++failures;
}

template <class S>
bool same_bits(const S* a, const S* b, int size) {
  return std::memcmp(a, b, static_cast<std::size_t>(size) * sizeof(S)) == 0;
}

#define CHECK_GATE(gate)                                                                       \
  {                                                                                            \
    constexpr int samples = static_cast<int>(sizeof(gate##_cases::offsets) / sizeof(int)) - 1; \
    std::int32_t experts[gate::max_entries];                                                   \
    gate::Scalar weights[gate::max_entries];                                                   \
    for (int b = 0; b < samples; ++b) {                                                        \
      const int begin = gate##_cases::offsets[b];                                              \
      const int expected = gate##_cases::offsets[b + 1] - begin;                               \
      const int size = gate::route(gate##_cases::x + b * gate::input_dim, experts, weights);   \
      expect(size == expected, #gate, "number of entries", b);                                 \
      if (size != expected) continue;                                                          \
      expect(same_bits(experts, gate##_cases::experts + begin, size), #gate, "experts", b);    \
      expect(same_bits(weights, gate##_cases::weights + begin, size), #gate, "weights", b);    \
    }                                                                                          \
    gate::Scalar x[gate::input_dim] = {};                                                      \
    x[gate::input_dim - 1] = std::numeric_limits<gate::Scalar>::quiet_NaN();                   \
    expect(gate::route(x, experts, weights) == -1, #gate, "takes nan", 0);                     \
    expect(samples == 40, #gate, "number of samples", samples);                                \
  }

#define CHECK_LAYER(layer)                                                                     \
  {                                                                                            \
    constexpr int samples =                                                                    \
        static_cast<int>(sizeof(layer##_cases::x) / sizeof(layer::Scalar)) / layer::input_dim; \
    layer::Scalar y[layer::num_tasks * layer::output_dim];                                     \
    for (int b = 0; b < samples; ++b) {                                                        \
      const int asked = layer::predict(layer##_cases::x + b * layer::input_dim, y);            \
      expect(asked >= layer::num_tasks, #layer, "number of experts", b);                       \
      for (int t = 0; t < layer::num_tasks; ++t)                                               \
        expect(same_bits(y + t * layer::output_dim,                                            \
                         layer##_cases::y + (t * samples + b) * layer::output_dim,             \
                         layer::output_dim),                                                   \
               #layer, "mixture", b);                                                          \
    }                                                                                          \
    layer::Scalar x[layer::input_dim] = {};                                                    \
    x[0] = std::numeric_limits<layer::Scalar>::infinity();                                     \
    expect(layer::predict(x, y) == -1, #layer, "takes infinity", 0);                           \
    expect(samples == 40, #layer, "number of samples", samples);                               \
  }

}  // namespace

int main() {
  CHECK_ALL
  const int table[] = {4, 0, 3, 3, 1};
  for (int id = 0; id < 5; ++id) expect(tables::hash::route(id) == table[id], "hash", "expert", id);
  expect(tables::hash::route(5) == -1 && tables::hash::route(-1) == -1, "hash", "unknown id", 5);
  if (failures == 0) std::puts("all gates and layers give the same bits");
  return failures == 0 ? 0 : 1;
}
