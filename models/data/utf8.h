// UTF-8, strictly: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace fedclock::data {

struct Utf8Character {
  char32_t code = 0;
  size_t bytes = 0;  // 0: no valid character
};

// The character that the text starts with.
Utf8Character first_character(std::string_view text);

// Bytes of the longest valid prefix.
size_t valid_utf8_bytes(std::string_view text);

// `code` must be a Unicode scalar value.
void append_utf8(std::string& text, char32_t code);

}  // namespace fedclock::data
