// The map between bytes and printable characters of byte-level BPE's files (bpe.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fedclock::data {

// The printable character of a byte, in UTF-8.
const std::string& printable_of_byte(uint8_t byte);

// All bytes in the order of their printable characters: '!' first.
std::vector<uint8_t> bytes_in_printable_order();

// The bytes of a piece that is spelt in printable characters; nullopt where a character stands for
// no byte.
std::optional<std::string> bytes_of_printable(std::string_view piece);

// A piece in printable characters.
std::string printable_of_bytes(std::string_view bytes);

}  // namespace fedclock::data
