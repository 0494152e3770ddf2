#include "sim/platform/pickle_text.h"

#include <algorithm>
#include <cstdint>

#include "models/common/parse.h"
#include "models/data/utf8.h"

namespace fedclock::platform {

std::string printable(std::string_view text) {
  constexpr std::size_t kMost = 40;
  std::string shown;
  for (const char c : text.substr(0, kMost)) shown += c >= ' ' && c <= '~' ? c : '?';
  return text.size() > kMost ? shown + "..." : shown;
}

std::optional<std::string> raw_unicode(std::string_view raw) {
  std::string text;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    const bool wide = raw.substr(i).starts_with("\\U");
    if (!wide && !raw.substr(i).starts_with("\\u")) {
      data::append_utf8(text, static_cast<uint8_t>(raw[i]));
      continue;
    }
    const std::size_t digits = wide ? 8 : 4;
    const std::string_view hex = raw.substr(i + 2, digits);
    const auto point = number_in<uint32_t>(hex, 16);
    if (hex.size() < digits || !point || *point > 0x10ffff) return std::nullopt;
    if (*point >= 0xd800 && *point < 0xe000) return std::nullopt;
    data::append_utf8(text, *point);
    i += 1 + digits;
  }
  return text;
}

std::optional<std::string> unquoted(std::string_view quoted) {
  if (quoted.size() < 2 || quoted.front() != quoted.back()) return std::nullopt;
  if (quoted.front() != '\'' && quoted.front() != '"') return std::nullopt;
  const std::string_view raw = quoted.substr(1, quoted.size() - 2);
  std::string text;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '\\') {
      text += raw[i];
      continue;
    }
    if (++i == raw.size()) return std::nullopt;
    constexpr std::string_view kEscapes = "\\'\"nrt", kMeanings = "\\'\"\n\r\t";
    if (const std::size_t escape = kEscapes.find(raw[i]); escape != kEscapes.npos) {
      text += kMeanings[escape];
      continue;
    }
    const std::string_view hex = raw.substr(std::min(i + 1, raw.size()), 2);
    const auto byte = number_in<uint8_t>(hex, 16);
    if (raw[i] != 'x' || hex.size() < 2 || !byte) return std::nullopt;
    text += static_cast<char>(*byte);
    i += 2;
  }
  return text;
}

}  // namespace fedclock::platform
