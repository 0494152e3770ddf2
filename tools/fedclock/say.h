// Messages for people, on standard error. A terminal that went away ends no run: fmt::print would
// throw.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string>

namespace fedclock::tools {

template <typename... Arguments>
void say(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
  std::fputs(fmt::format(text, std::forward<Arguments>(arguments)...).c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace fedclock::tools
