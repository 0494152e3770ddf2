#include "models/data/bpe_bytes.h"

#include <array>

#include "models/data/utf8.h"

namespace fedclock::data {

namespace {

// Printable Latin-1 characters other than the blank and the soft hyphen stand for themselves.
bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
}

struct ByteMap {
  std::array<char32_t, 256> codes{};
  std::array<std::string, 256> printable;
  std::array<int, 0x180> bytes{};  // of a code; -1: none

  ByteMap() {
    bytes.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      codes[byte] = stands_for_itself(byte) ? static_cast<char32_t>(byte) : next++;
      append_utf8(printable[byte], codes[byte]);
      bytes[codes[byte]] = byte;
    }
  }
};

const ByteMap& byte_map() {
  static const ByteMap map;
  return map;
}

}  // namespace

const std::string& printable_of_byte(uint8_t byte) { return byte_map().printable[byte]; }

std::vector<uint8_t> bytes_in_printable_order() {
  std::vector<uint8_t> order;
  for (const int byte : byte_map().bytes) {
    if (byte >= 0) order.push_back(static_cast<uint8_t>(byte));
  }
  return order;
}

std::optional<std::string> bytes_of_printable(std::string_view piece) {
  const ByteMap& map = byte_map();
  std::string bytes;
  while (!piece.empty()) {
    const Utf8Character character = first_character(piece);
    if (character.bytes == 0 || character.code >= map.bytes.size()) return std::nullopt;
    const int byte = map.bytes[character.code];
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
    piece.remove_prefix(character.bytes);
  }
  return bytes;
}

std::string printable_of_bytes(std::string_view bytes) {
  std::string piece;
  for (const char byte : bytes) piece += printable_of_byte(static_cast<uint8_t>(byte));
  return piece;
}

}  // namespace fedclock::data
