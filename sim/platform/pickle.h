// Reads Python's pickles of plain data and runs nothing of them.
//
// A pickle is a program for a small stack machine (Python's Lib/pickletools.py describes every
// opcode; protocols 0 to 5). Python's own reader lets it import and call any function: opening a
// pickle is running it. This one knows only the opcodes that push, collect and remember values,
// and refuses those that name or call code. A numpy number needs a call, so it is refused too.
//
// Whatever the bytes are, the time and memory taken are in proportion to them: lengths are checked
// against what is left of the file before anything is allocated, what the memo repeats is shared,
// containers lie in each other at most kMaxPickleDepth deep, and none contains itself.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace fedclock::platform {

inline constexpr int kMaxPickleDepth = 100;

struct PickleValue {
  enum class Kind { kList, kTuple, kDict };
  struct None {};
  struct Text {
    std::shared_ptr<const std::string> utf8;
  };
  struct Bytes {
    std::shared_ptr<const std::string> bytes;
  };
  struct Container;

  std::variant<None, bool, int64_t, double, Text, Bytes, std::shared_ptr<Container>> data;

  // nullptr where the value is something else.
  const std::string* text() const;
  const std::vector<PickleValue>* sequence() const;  // of a list or a tuple
  const std::vector<PickleValue>* dict() const;      // key, value, key, value, ... as written
  // The value of a key that is a text; of several, the last, as in Python. nullptr: none, or no
  // dict.
  const PickleValue* at(std::string_view key) const;
  // As an error message shows it: "a list of 3", "-5", "the text 'fast'".
  std::string described() const;
};

// Values that hold the same container share it. Paths through it may be exponentially many: never
// walk all of them.
struct PickleValue::Container {
  Kind kind = Kind::kList;
  std::vector<PickleValue> items;
  int depth = 1;      // 1 where it holds no container
  bool held = false;  // by another one: from then on nothing is added to it
};

// `file` is the name that errors say. Throws InputError "file: byte N: problem: remedy" unless the
// bytes are one whole pickle of None, bool, int (64 bits), float, str, bytes, list, tuple and dict.
PickleValue read_pickle(std::string_view bytes, const std::string& file);

}  // namespace fedclock::platform
