// Pickles in tests.
#pragma once

#include <cstddef>
#include <string>

namespace fedclock::test {

// A literal with its zero bytes.
template <std::size_t n>
std::string bytes(const char (&literal)[n]) {
  return {literal, n - 1};
}

}  // namespace fedclock::test
