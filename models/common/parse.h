// Numbers in text.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>

namespace fedclock {

// The number that the whole text is, in the C locale; nothing otherwise. `base`: of whole numbers.
template <typename Number, typename... Base>
std::optional<Number> number_in(std::string_view text, Base... base) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base...);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace fedclock
