// The generator against its published vectors, and the distributions built on it.
#include "models/common/random.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>

#include "models/common/digest.h"

namespace fedclock {
namespace {

TEST_CASE("Philox4x32-10 gives the published vectors") {
  // Random123's known answers (kat_vectors): counter, key -> block.
  CHECK(philox({0, 0, 0, 0}, {0, 0}) ==
        std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
        std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a stream is a function of its name alone") {
  const auto first = [](Random random) { return random.bits64(); };
  const uint64_t value = first(Random(1, "a", 2, 3));
  CHECK(first(Random(1, "a", 2, 3)) == value);
  CHECK(first(Random(2, "a", 2, 3)) != value);
  CHECK(first(Random(1, "b", 2, 3)) != value);
  CHECK(first(Random(1, "a", 3, 3)) != value);
  CHECK(first(Random(1, "a", 2, 2)) != value);
}

TEST_CASE("below is uniform, normal is standard") {
  Random random(5, "test");
  int counts[6] = {};
  for (int i = 0; i < 60000; ++i) ++counts[random.below(6)];
  // Each 10,000 with a standard deviation of 91: five of these are 456.
  for (const int count : counts) CHECK(std::abs(count - 10000) < 456);
  double sum = 0, squares = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.normal();
    sum += x;
    squares += x * x;
  }
  CHECK(std::abs(sum / kDraws) < 5 / std::sqrt(kDraws));
  CHECK(std::abs(squares / kDraws - 1) < 5 * std::sqrt(2.0 / kDraws));
}

TEST_CASE("shuffle keeps what it moves") {
  std::vector<int> items(100);
  for (int i = 0; i < 100; ++i) items[i] = i;
  std::vector<int> shuffled = items;
  Random(1, "test").shuffle(shuffled);
  CHECK(shuffled != items);
  std::sort(shuffled.begin(), shuffled.end());
  CHECK(shuffled == items);
}

TEST_CASE("digests tell apart what is joined differently") {
  const auto of = [](std::string_view a, std::string_view b) {
    return DigestBuilder().add(a).add(b).finish();
  };
  CHECK(of("ab", "c") != of("a", "bc"));
  CHECK(of("ab", "c") == of("ab", "c"));
  CHECK(DigestBuilder().add(1.0).finish() != DigestBuilder().add(2.0).finish());
  CHECK(of("a", "b").hex().size() == 32);
}

}  // namespace
}  // namespace fedclock
