#include "tools/fedclock/terminal.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string_view>

namespace fedclock::tools {

bool is_terminal() {
  const char* term = std::getenv("TERM");
  const bool dumb = term == nullptr || std::string_view(term) == "dumb";
  return isatty(STDERR_FILENO) == 1 && !dumb;
}

bool shows_colours() {
  const char* no_color = std::getenv("NO_COLOR");
  const bool refused = no_color != nullptr && *no_color != '\0';
  return is_terminal() && !refused;
}

std::string bold(const std::string& text, bool colours) {
  return colours ? "\033[1m" + text + "\033[0m" : text;
}
std::string faint(const std::string& text, bool colours) {
  return colours ? "\033[2m" + text + "\033[0m" : text;
}

std::string sparkline(const std::vector<double>& values, size_t most) {
  constexpr const char* kBars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  constexpr double kHighest = 7;
  const size_t first = values.size() - std::min(values.size(), most);
  double low = INFINITY, high = -INFINITY;
  for (size_t i = first; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) continue;
    low = std::min(low, values[i]);
    high = std::max(high, values[i]);
  }
  std::string bars;
  for (size_t i = first; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      bars += " ";
      continue;
    }
    const double height = high > low ? (values[i] - low) / (high - low) * kHighest : 0;
    bars += kBars[static_cast<size_t>(std::lround(height))];
  }
  return bars;
}

}  // namespace fedclock::tools
