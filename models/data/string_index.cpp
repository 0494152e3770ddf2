#include "models/data/string_index.h"

#include <xxhash.h>

namespace fedclock::data {

namespace {

uint64_t hash_of(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }
uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }

}  // namespace

// The slot that holds the text, or the free slot where it belongs.
size_t StringIndex::slot_of(std::string_view text, uint64_t hash) const {
  const size_t mask = slots_.size() - 1;
  for (size_t i = hash & mask;; i = (i + 1) & mask) {
    const Slot& slot = slots_[i];
    if (slot.number < 0 || (slot.tag == tag_of(hash) && strings_[slot.number] == text)) return i;
  }
}

void StringIndex::grow() {
  slots_.assign(slots_.empty() ? 64 : 2 * slots_.size(), Slot{});
  const size_t mask = slots_.size() - 1;
  for (int32_t number = 0; number < size(); ++number) {
    const uint64_t hash = hash_of(strings_[number]);
    size_t i = hash & mask;
    while (slots_[i].number >= 0) i = (i + 1) & mask;
    slots_[i] = {tag_of(hash), number};
  }
}

int32_t StringIndex::insert(std::string_view text) {
  if (2 * (strings_.size() + 1) > slots_.size()) grow();
  const uint64_t hash = hash_of(text);
  Slot& slot = slots_[slot_of(text, hash)];
  if (slot.number < 0) {
    slot = {tag_of(hash), size()};
    strings_.emplace_back(text);
  }
  return slot.number;
}

int32_t StringIndex::find(std::string_view text) const {
  if (slots_.empty()) return -1;
  return slots_[slot_of(text, hash_of(text))].number;
}

}  // namespace fedclock::data
