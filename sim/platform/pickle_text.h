// The texts in a pickle: as Python escapes them, and as a terminal may show them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fedclock::platform {

// What comes from a file nobody trusts goes to a terminal as letters only.
std::string printable(std::string_view text);

// Python's "raw-unicode-escape": a byte is its code point, \uXXXX and \UXXXXXXXX are others.
// Nothing where an escape is cut or is no character.
std::optional<std::string> raw_unicode(std::string_view raw);

// A Python 2 string as its repr(): in quotes, with the escapes that repr() writes. Nothing where it
// is none.
std::optional<std::string> unquoted(std::string_view quoted);

}  // namespace fedclock::platform
