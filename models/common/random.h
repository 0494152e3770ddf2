// The one source of randomness: Philox4x32-10 (Salmon et al., SC'11), a counter-based generator.
// A stream is named by (seed, purpose, round, client) and depends on nothing else, so no draw
// depends on which other draws were made, on threads or on a global state. Use it with
// Boost.Random's distributions, whose output is the same everywhere, never with std:: ones.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace fedclock {

// One block: counter and key to four words.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

class Random {
 public:
  using result_type = uint32_t;

  // `purpose` says what the draws are for ("selection", "batches", "init"): different purposes
  // give unrelated streams.
  Random(uint64_t seed, std::string_view purpose, uint64_t round = 0, uint64_t client = 0);

  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return UINT32_MAX; }
  result_type operator()();

  uint64_t bits64();
  // Uniform in [0, 1), 53 bits.
  double uniform();
  // Uniform in {0, ..., bound - 1}, without bias; bound >= 1.
  uint64_t below(uint64_t bound);
  // Standard normal (Box-Muller).
  double normal();

  // Fisher-Yates.
  template <typename T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  void refill();

  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_{};
  int used_ = 4;
};

}  // namespace fedclock
