// What a terminal shows and a file does not: colours, and curves of one line.
#pragma once

#include <string>
#include <vector>

namespace fedclock::tools {

// Whether standard error is a terminal whose lines can be written over: not where TERM is dumb.
bool is_terminal();

// Whether it shows colours too: not where NO_COLOR is set (https://no-color.org).
bool shows_colours();

// In bold, or faint, where colours are shown.
std::string bold(const std::string& text, bool colours);
std::string faint(const std::string& text, bool colours);

// The last so many values as bars of eight heights, from the least of them to the largest.
std::string sparkline(const std::vector<double>& values, size_t most);

}  // namespace fedclock::tools
