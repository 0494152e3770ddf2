// Distinct strings, numbered in the order in which they were inserted: a hash table with open
// addressing whose visible order does not depend on the hash.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fedclock::data {

class StringIndex {
 public:
  // Number of the string, which is added if it is new.
  int32_t insert(std::string_view text);
  // Number of the string; -1 if it is not there.
  int32_t find(std::string_view text) const;
  const std::string& operator[](int32_t number) const { return strings_[number]; }
  int32_t size() const { return static_cast<int32_t>(strings_.size()); }
  const std::vector<std::string>& strings() const { return strings_; }

 private:
  struct Slot {
    uint32_t tag = 0;
    int32_t number = -1;  // -1: free
  };
  size_t slot_of(std::string_view text, uint64_t hash) const;
  void grow();

  std::vector<std::string> strings_;
  std::vector<Slot> slots_;  // a power of two, at most half full
};

}  // namespace fedclock::data
