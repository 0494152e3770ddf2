// Properties of the passes of each vector width that this processor can run, over random sizes.
// Include after rapidcheck and Catch2.
#pragma once

#include <cmath>
#include <vector>

#include "models/common/random.h"

namespace fedclock::nn {

inline bool runs_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

template <typename Table>
std::vector<const Table*> tables_here(const Table& avx2, const Table& avx512) {
  std::vector<const Table*> all{&avx2};
  if (runs_avx512()) {
    all.push_back(&avx512);
  } else {
    WARN("the passes of AVX-512 are not tested: this processor has none");
  }
  return all;
}

// Whether a property(table, random) holds for each table, over random seeds.
template <typename Table, typename Property>
bool holds_for_each(const std::vector<const Table*>& tables, const Property& property) {
  for (const Table* table : tables) {
    const bool holds = rc::check([&] {
      Random random(*rc::gen::arbitrary<uint64_t>(), "test: passes");
      property(*table, random);
    });
    if (!holds) return false;
  }
  return true;
}

inline void near(double value, double expected, double tolerance = 1e-5) {
  RC_ASSERT(std::abs(value - expected) <= tolerance * (1 + std::abs(expected)));
}

}  // namespace fedclock::nn
