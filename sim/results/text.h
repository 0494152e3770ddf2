// Durations and amounts as people read them, and tables of text.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace fedclock::results {

// "1 h 02 min 03 s", "4 min 05 s", "6.7 s".
std::string duration_text(double seconds);
// "1.23 GB", "45.6 kB": powers of 1000.
std::string bytes_text(double bytes);
// The same in joules.
std::string joules_text(double joules);

// Cells of text, the first `left` columns flush left, the others flush right.
struct TextTable {
  std::vector<std::string> header;
  size_t left = 1;
  std::vector<std::vector<std::string>> rows = {};
};
// In columns, for a terminal.
std::string aligned(const TextTable& table);
std::string markdown(const TextTable& table);

}  // namespace fedclock::results
