#include "sim/platform/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "models/common/error.h"
#include "models/common/parse.h"
#include "models/data/utf8.h"
#include "sim/platform/pickle_opcodes.h"
#include "sim/platform/pickle_text.h"

namespace fedclock::platform {

namespace {

using Kind = PickleValue::Kind;
using Container = PickleValue::Container;
using Node = std::shared_ptr<Container>;

constexpr const char* kPlain =
    "only plain data is read (None, bool, int, float, str, bytes, list, tuple, dict; a numpy value "
    "is none of these): where you trust the file, load it in Python and dump it again with plain "
    "values: int(x), float(x), x.tolist(), dict(x)";

class Reader {
 public:
  Reader(std::string_view bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  PickleValue read() {
    for (;;) {
      opcode_at_ = at_;
      const auto opcode = static_cast<uint8_t>(take(1)[0]);
      if (opcode == '.') return result();
      const bool known = read_number(opcode) || read_long(opcode) || read_text(opcode) ||
                         read_bytes(opcode) || collect(opcode) || make(opcode) ||
                         remember(opcode) || arrange(opcode);
      if (!known) refuse(opcode);
    }
  }

 private:
  [[noreturn]] void fail(std::string_view problem) const {
    throw InputError(fmt::format("{}: byte {}: {}", file_, opcode_at_, problem));
  }
  [[noreturn]] void fail_damaged(std::string_view problem) const {
    fail(fmt::format("{}: the file is damaged or no pickle: fetch it again", problem));
  }

  PickleValue result() {
    PickleValue value = pop();
    if (at_ == bytes_.size()) return value;
    fail(
        fmt::format("the pickle ends here and {} bytes follow: one pickle a file is read: write "
                    "it again with one pickle.dump",
                    bytes_.size() - at_));
  }

  // --- bytes -----------------------------------------------------------------------------------

  std::string_view take(uint64_t count) {
    const uint64_t left = bytes_.size() - at_;
    if (count > left) {
      fail(
          fmt::format("{} bytes should follow, the file has {} more: it is cut short or damaged: "
                      "fetch it again",
                      count, left));
    }
    at_ += count;
    return bytes_.substr(at_ - count, count);
  }

  // Up to the end of the line, without it.
  std::string_view take_line() {
    const std::size_t end = bytes_.find('\n', at_);
    if (end == bytes_.npos) {
      fail("a line does not end before the file does: it is cut short or damaged: fetch it again");
    }
    const std::string_view line = take(end + 1 - at_);
    return line.substr(0, line.size() - 1);
  }

  // Little-endian, without a sign.
  uint64_t take_number(int bytes) {
    uint64_t value = 0;
    int shift = 0;
    for (const char c : take(static_cast<uint64_t>(bytes))) {
      value |= static_cast<uint64_t>(static_cast<uint8_t>(c)) << shift;
      shift += 8;
    }
    return value;
  }

  // A length that the format writes with a sign.
  uint64_t take_signed_length() {
    const auto length = static_cast<int32_t>(take_number(4));
    if (length < 0) fail_damaged(fmt::format("a length of {}", length));
    return static_cast<uint64_t>(length);
  }

  // --- the stack -------------------------------------------------------------------------------

  template <typename Data>
  bool push(Data data) {
    stack_.push_back({std::move(data)});
    return true;
  }

  bool push_text(std::string text) {
    if (data::valid_utf8_bytes(text) != text.size()) {
      fail(
          "a text is not UTF-8: it is damaged, or bytes of Python 2: load it in Python with the "
          "right encoding and dump it again");
    }
    return push(PickleValue::Text{std::make_shared<const std::string>(std::move(text))});
  }

  bool push_escaped(const std::optional<std::string>& text, std::string_view raw) {
    if (!text)
      fail_damaged(fmt::format("the text {} has a broken escape or quote", printable(raw)));
    return push_text(*text);
  }

  // Where the values after the last mark begin; opcodes without a mark reach no deeper.
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  // Where the last `count` values begin.
  std::size_t last(std::size_t count) const {
    if (stack_.size() - floor() < count) fail_damaged("a value is missing before this opcode");
    return stack_.size() - count;
  }

  PickleValue pop() {
    PickleValue value = std::move(stack_[last(1)]);
    stack_.pop_back();
    return value;
  }

  // Where the values after the mark begin; takes the mark away.
  std::size_t pop_mark() {
    if (marks_.empty()) fail_damaged("a mark is missing before this opcode");
    const std::size_t first = marks_.back();
    marks_.pop_back();
    return first;
  }

  // Moves the values from `first` on into the container. Only one that nobody holds yet may grow,
  // so that what is held is finished: no path can ever lead from a container back to it, and
  // depths are final. Python writes what does not contain itself in just this order.
  void fill(Container& container, std::size_t first) {
    const bool dict = container.kind == Kind::kDict;
    const std::size_t count = stack_.size() - first;
    if (dict && count % 2 != 0) fail_damaged("a key of a dict has no value");
    int depth = container.depth;
    for (std::size_t i = 0; i < count; ++i) {
      const Node* inner = std::get_if<Node>(&stack_[first + i].data);
      if (inner == nullptr) continue;
      if (dict && i % 2 == 0 && (*inner)->kind != Kind::kTuple) {
        fail_damaged("a list or a dict is the key of a dict");
      }
      (*inner)->held = true;
      depth = std::max(depth, (*inner)->depth + 1);
    }
    if (container.held) {
      fail(
          "a list or dict contains itself, or grows after it was put into another: a table does "
          "not: write plain values and pickle them again");
    }
    if (depth > kMaxPickleDepth) {
      fail(
          fmt::format("lists, tuples and dicts lie in each other more than {} deep: a table does "
                      "not: is this the right file?",
                      kMaxPickleDepth));
    }
    container.depth = depth;
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(first);
    container.items.insert(container.items.end(), std::move_iterator(begin),
                           std::move_iterator(stack_.end()));
    stack_.erase(begin, stack_.end());
  }

  // Adds the values from `first` on to the container before them.
  bool add_to(Kind kind, std::size_t first) {
    if (first <= floor()) fail_damaged("a list or dict is missing before this opcode");
    const Node* target = std::get_if<Node>(&stack_[first - 1].data);
    if (target == nullptr || (*target)->kind != kind) {
      fail_damaged(fmt::format("{} stands where a {} must", stack_[first - 1].described(),
                               kind == Kind::kDict ? "dict" : "list"));
    }
    fill(**target, first);
    return true;
  }

  bool make_of(Kind kind, std::size_t first) {
    auto container = std::make_shared<Container>();
    container->kind = kind;
    fill(*container, first);
    return push(std::move(container));
  }

  // --- opcodes: each of these knows some, and says whether this is one of them ------------------

  bool read_number(uint8_t opcode) {
    switch (opcode) {
      case 'N': return push(PickleValue::None{});
      case 0x88: return push(true);                                          // NEWTRUE
      case 0x89: return push(false);                                         // NEWFALSE
      case 'J': return push(int64_t{static_cast<int32_t>(take_number(4))});  // BININT
      case 'K': return push(static_cast<int64_t>(take_number(1)));           // BININT1
      case 'M': return push(static_cast<int64_t>(take_number(2)));           // BININT2
      case 'G': return push(std::bit_cast<double>(big_endian(take(8))));     // BINFLOAT
      case 'F': {                                                            // FLOAT
        const std::string_view line = take_line();
        double value = 0;
        const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
        if (error == std::errc() && end == line.data() + line.size()) return push(value);
        fail_damaged(fmt::format("'{}' is no number", printable(line)));
      }
      default: return false;
    }
  }

  static uint64_t big_endian(std::string_view bytes) {
    uint64_t value = 0;
    for (const char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
    return value;
  }

  bool read_long(uint8_t opcode) {
    switch (opcode) {
      case 'I': {  // INT, and how protocol 0 writes a bool
        const std::string_view line = take_line();
        if (line == "00" || line == "01") return push(line == "01");
        return push_decimal(line);
      }
      case 'L': {  // LONG
        std::string_view line = take_line();
        if (line.ends_with('L')) line.remove_suffix(1);
        return push_decimal(line);
      }
      case 0x8a: return push_complement(take(take_number(1)));        // LONG1
      case 0x8b: return push_complement(take(take_signed_length()));  // LONG4
      default: return false;
    }
  }

  [[noreturn]] void fail_too_large() const {
    fail("an integer beyond 64 bits: no value of a table is as large: is this the right file?");
  }

  bool push_decimal(std::string_view digits) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    const bool whole = end == digits.data() + digits.size();
    if (whole && error == std::errc::result_out_of_range) fail_too_large();
    if (!whole || error != std::errc()) {
      fail_damaged(fmt::format("'{}' is no integer", printable(digits)));
    }
    return push(value);
  }

  // Little-endian two's complement of any length; no byte is 0.
  bool push_complement(std::string_view bytes) {
    constexpr std::size_t kBytes = sizeof(uint64_t);
    const bool negative = !bytes.empty() && (bytes.back() & 0x80) != 0;
    uint64_t value = negative ? ~uint64_t{0} : 0;
    const char fill = negative ? '\xff' : '\0';
    for (std::size_t i = bytes.size(); i-- > 0;) {
      if (i >= kBytes && bytes[i] != fill) fail_too_large();
      if (i < kBytes) value = value << 8 | static_cast<uint8_t>(bytes[i]);
    }
    if ((value >> 63 != 0) != negative) fail_too_large();
    return push(static_cast<int64_t>(value));
  }

  bool read_text(uint8_t opcode) {
    switch (opcode) {
      case 'V': {  // UNICODE
        const std::string_view line = take_line();
        return push_escaped(raw_unicode(line), line);
      }
      case 'S': {  // STRING
        const std::string_view line = take_line();
        return push_escaped(unquoted(line), line);
      }
      case 'X': return push_text(std::string(take(take_number(4))));        // BINUNICODE
      case 0x8c: return push_text(std::string(take(take_number(1))));       // SHORT_BINUNICODE
      case 0x8d: return push_text(std::string(take(take_number(8))));       // BINUNICODE8
      case 'U': return push_text(std::string(take(take_number(1))));        // SHORT_BINSTRING
      case 'T': return push_text(std::string(take(take_signed_length())));  // BINSTRING
      default: return false;
    }
  }

  bool read_bytes(uint8_t opcode) {
    int length_bytes = 0;
    switch (opcode) {
      case 'C': length_bytes = 1; break;   // SHORT_BINBYTES
      case 'B': length_bytes = 4; break;   // BINBYTES
      case 0x8e: length_bytes = 8; break;  // BINBYTES8
      default: return false;
    }
    return push(
        PickleValue::Bytes{std::make_shared<const std::string>(take(take_number(length_bytes)))});
  }

  bool collect(uint8_t opcode) {
    switch (opcode) {
      case 'a': return add_to(Kind::kList, last(1));     // APPEND
      case 'e': return add_to(Kind::kList, pop_mark());  // APPENDS
      case 's': return add_to(Kind::kDict, last(2));     // SETITEM
      case 'u': return add_to(Kind::kDict, pop_mark());  // SETITEMS
      default: return false;
    }
  }

  bool make(uint8_t opcode) {
    switch (opcode) {
      case ']': return make_of(Kind::kList, stack_.size());   // EMPTY_LIST
      case '}': return make_of(Kind::kDict, stack_.size());   // EMPTY_DICT
      case ')': return make_of(Kind::kTuple, stack_.size());  // EMPTY_TUPLE
      case 'l': return make_of(Kind::kList, pop_mark());      // LIST
      case 'd': return make_of(Kind::kDict, pop_mark());      // DICT
      case 't': return make_of(Kind::kTuple, pop_mark());     // TUPLE
      case 0x85: return make_of(Kind::kTuple, last(1));       // TUPLE1
      case 0x86: return make_of(Kind::kTuple, last(2));       // TUPLE2
      case 0x87: return make_of(Kind::kTuple, last(3));       // TUPLE3
      default: return false;
    }
  }

  bool remember(uint8_t opcode) {
    switch (opcode) {
      case 'p': return put(take_index());           // PUT
      case 'q': return put(take_number(1));         // BINPUT
      case 'r': return put(take_number(4));         // LONG_BINPUT
      case 0x94: return put(memo_.size());          // MEMOIZE
      case 'g': return push_known(take_index());    // GET
      case 'h': return push_known(take_number(1));  // BINGET
      case 'j': return push_known(take_number(4));  // LONG_BINGET
      default: return false;
    }
  }

  uint64_t take_index() {
    const std::string_view line = take_line();
    const auto index = number_in<uint64_t>(line);
    if (!index) fail_damaged(fmt::format("'{}' is no place of the memo", printable(line)));
    return *index;
  }

  bool put(uint64_t index) {
    memo_.insert_or_assign(index, stack_[last(1)]);
    return true;
  }

  bool push_known(uint64_t index) {
    const auto known = memo_.find(index);
    if (known == memo_.end())
      fail_damaged(fmt::format("nothing is at place {} of the memo", index));
    return push(known->second.data);
  }

  // What moves values about, and says how the file is made.
  bool arrange(uint8_t opcode) {
    switch (opcode) {
      case '(': marks_.push_back(stack_.size()); return true;  // MARK
      case '0':                                                // POP, of a mark too
        if (!marks_.empty() && marks_.back() == stack_.size()) {
          marks_.pop_back();
        } else {
          pop();
        }
        return true;
      case '1': stack_.resize(pop_mark()); return true;  // POP_MARK
      case '2': return push(stack_[last(1)].data);       // DUP
      case 0x80:                                         // PROTO
        if (const uint64_t protocol = take_number(1); protocol > 5) {
          fail(
              fmt::format("pickle protocol {}; 0 to 5 are read: write it again with "
                          "pickle.dump(value, file, protocol=4)",
                          protocol));
        }
        return true;
      case 0x95: {  // FRAME: the file could be read in pieces of that length; it is in memory
        const std::size_t begin = at_ + sizeof(uint64_t);
        take(take_number(8));
        at_ = begin;
        return true;
      }
      default: return false;
    }
  }

  // --- what is refused -------------------------------------------------------------------------

  [[noreturn]] void refuse(uint8_t opcode) {
    if (const char* name = name_in(kCode, opcode)) {
      const std::string code = code_named(opcode);
      fail(
          fmt::format("opcode {} (0x{:02x}) names or calls code of Python{}, which is never run: "
                      "{}",
                      name, opcode, code.empty() ? "" : " (" + code + ")", kPlain));
    }
    if (const char* name = name_in(kOtherData, opcode)) {
      fail(fmt::format("opcode {} (0x{:02x}) makes a set, a bytearray or a buffer: {}", name,
                       opcode, kPlain));
    }
    fail_damaged(fmt::format("0x{:02x} is no opcode of pickle protocols 0 to 5", opcode));
  }

  // "module.name" where the opcode says it.
  std::string code_named(uint8_t opcode) {
    if (opcode == 'c' || opcode == 'i') {
      const std::string module = printable(take_line());
      return module + "." + printable(take_line());
    }
    if (opcode != 0x93 || stack_.size() - floor() < 2) return "";
    const std::string* module = stack_[stack_.size() - 2].text();
    const std::string* name = stack_.back().text();
    if (module == nullptr || name == nullptr) return "";
    return printable(*module) + "." + printable(*name);
  }

  std::string_view bytes_;
  const std::string& file_;
  std::size_t at_ = 0, opcode_at_ = 0;
  std::vector<PickleValue> stack_;
  std::vector<std::size_t> marks_;        // heights of the stack, ascending
  std::map<uint64_t, PickleValue> memo_;  // places are what the file says: any number
};

}  // namespace

PickleValue read_pickle(std::string_view bytes, const std::string& file) {
  return Reader(bytes, file).read();
}

}  // namespace fedclock::platform
