// Opcodes of pickles (Python's Lib/pickletools.py) that are refused, with the names that errors
// say.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace fedclock::platform {

struct Opcode {
  uint8_t code;
  const char* name;
};

// What names or calls code, or asks the program that reads for objects of its own.
inline constexpr Opcode kCode[] = {
    {'c', "GLOBAL"}, {'i', "INST"},       {'o', "OBJ"},          {'R', "REDUCE"}, {'b', "BUILD"},
    {'P', "PERSID"}, {'Q', "BINPERSID"},  {0x81, "NEWOBJ"},      {0x82, "EXT1"},  {0x83, "EXT2"},
    {0x84, "EXT4"},  {0x92, "NEWOBJ_EX"}, {0x93, "STACK_GLOBAL"}};

inline constexpr Opcode kOtherData[] = {{0x8f, "EMPTY_SET"},   {0x90, "ADDITEMS"},
                                        {0x91, "FROZENSET"},   {0x96, "BYTEARRAY8"},
                                        {0x97, "NEXT_BUFFER"}, {0x98, "READONLY_BUFFER"}};

template <std::size_t n>
const char* name_in(const Opcode (&opcodes)[n], uint8_t code) {
  const auto found = std::find_if(std::begin(opcodes), std::end(opcodes),
                                  [code](const Opcode& one) { return one.code == code; });
  return found == std::end(opcodes) ? nullptr : found->name;
}

}  // namespace fedclock::platform
