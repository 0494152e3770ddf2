// 128-bit names of values and files: XXH3 over a canonical byte sequence.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace fedclock {

struct Digest {
  uint64_t high = 0, low = 0;
  auto operator<=>(const Digest&) const = default;
  // 32 lower-case hexadecimal digits.
  std::string hex() const;
};

// Every piece is preceded by its length, so that different sequences of pieces never give the
// same bytes. Numbers are little-endian; doubles by their bits.
class DigestBuilder {
 public:
  DigestBuilder();
  ~DigestBuilder();
  DigestBuilder(const DigestBuilder&) = delete;
  DigestBuilder& operator=(const DigestBuilder&) = delete;

  DigestBuilder& add(std::string_view text);
  DigestBuilder& add(const char* text) { return add(std::string_view(text)); }
  DigestBuilder& add(std::span<const std::byte> bytes);
  DigestBuilder& add(uint64_t value);
  DigestBuilder& add(int64_t value) { return add(static_cast<uint64_t>(value)); }
  DigestBuilder& add(int value) { return add(static_cast<uint64_t>(value)); }
  DigestBuilder& add(bool value) { return add(static_cast<uint64_t>(value)); }
  DigestBuilder& add(double value);
  DigestBuilder& add(const Digest& digest) { return add(digest.high).add(digest.low); }
  Digest finish() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fedclock
