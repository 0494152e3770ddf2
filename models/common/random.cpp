#include "models/common/random.h"

#include <cmath>
#include <numbers>

#include "models/common/digest.h"
#include "models/common/error.h"

namespace fedclock {

namespace {

// Multipliers and Weyl constants of Philox4x32 (Salmon et al., SC'11, table 2 and section 4).
constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;

}  // namespace

Random::Random(uint64_t seed, std::string_view purpose, uint64_t round, uint64_t client) {
  const Digest name = DigestBuilder().add(seed).add(purpose).add(round).add(client).finish();
  key_ = {static_cast<uint32_t>(name.high), static_cast<uint32_t>(name.high >> 32)};
  // The upper half of the counter separates streams further; the lower half counts blocks.
  counter_ = {0, 0, static_cast<uint32_t>(name.low), static_cast<uint32_t>(name.low >> 32)};
}

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  std::array<uint32_t, 4> x = counter;
  for (int i = 0; i < kRounds; ++i) {
    const uint64_t p0 = static_cast<uint64_t>(kMultiplier0) * x[0];
    const uint64_t p1 = static_cast<uint64_t>(kMultiplier1) * x[2];
    x = {static_cast<uint32_t>(p1 >> 32) ^ x[1] ^ key[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ x[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return x;
}

void Random::refill() {
  block_ = philox(counter_, key_);
  if (++counter_[0] == 0) ++counter_[1];
  used_ = 0;
}

Random::result_type Random::operator()() {
  if (used_ == 4) refill();
  return block_[used_++];
}

uint64_t Random::bits64() {
  const uint64_t low = (*this)();
  return low | static_cast<uint64_t>((*this)()) << 32;
}

double Random::uniform() { return static_cast<double>(bits64() >> 11) * 0x1p-53; }

uint64_t Random::below(uint64_t bound) {
  ensure(bound >= 1, "below() needs a bound of at least 1");
  // Values under 2^64 mod bound would be drawn once too often: draw again.
  const uint64_t reject_below = (0 - bound) % bound;
  uint64_t value;
  do value = bits64();
  while (value < reject_below);
  return value % bound;
}

double Random::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

}  // namespace fedclock
