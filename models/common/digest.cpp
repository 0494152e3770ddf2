#include "models/common/digest.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <bit>

#include "models/common/error.h"

namespace fedclock {

static_assert(std::endian::native == std::endian::little);

std::string Digest::hex() const { return fmt::format("{:016x}{:016x}", high, low); }

struct DigestBuilder::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
  void update(const void* data, size_t size) {
    ensure(XXH3_128bits_update(xxh, data, size) == XXH_OK, "xxHash failed");
  }
};

DigestBuilder::DigestBuilder() : state_(std::make_unique<State>()) {
  ensure(state_->xxh != nullptr && XXH3_128bits_reset(state_->xxh) == XXH_OK, "xxHash failed");
}
DigestBuilder::~DigestBuilder() = default;

DigestBuilder& DigestBuilder::add(std::span<const std::byte> bytes) {
  const uint64_t size = bytes.size();
  state_->update(&size, sizeof size);
  state_->update(bytes.data(), bytes.size());
  return *this;
}

DigestBuilder& DigestBuilder::add(std::string_view text) {
  return add(std::as_bytes(std::span(text.data(), text.size())));
}

DigestBuilder& DigestBuilder::add(uint64_t value) {
  return add(std::as_bytes(std::span(&value, 1)));
}

DigestBuilder& DigestBuilder::add(double value) { return add(std::bit_cast<uint64_t>(value)); }

Digest DigestBuilder::finish() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_->xxh);
  return {hash.high64, hash.low64};
}

}  // namespace fedclock
