#include "sim/platform/pickle.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "models/common/error.h"
#include "tests/sim/platform/pickled.h"

// The pickles are what Python 3.11's (where it says so, 2.7's) pickle.dumps(value, protocol) gives.
namespace {

using Catch::Contains;
using fedclock::InputError;
using fedclock::platform::kMaxPickleDepth;
using fedclock::platform::PickleValue;
using fedclock::platform::read_pickle;
using fedclock::test::bytes;

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

std::string problem_of(const std::string& pickle) {
  try {
    read_pickle(pickle, "t.pkl");
  } catch (const InputError& error) {
    return error.what();
  }
  return "no problem";
}

int64_t whole(const PickleValue& value) { return std::get<int64_t>(value.data); }

// {'none': None, 'yes': True, 'no': False,
//  'ints': [0, -1, 255, 65535, -70000, 2**40, -2**63, 2**63 - 1], 'real': [0.5, -1e300, inf],
//  'texts': ('', 'caf\u00e9 \\ \n', '\u20ac\U0001F600'), 'nested': [[], {}, ()],
//  'one': (1,), 'two': (1, 2), 'four': (1, 2, 3, 4)}
const std::map<int, std::string> kPlain = {
    {0, bytes("(dp0\nVnone\np1\nNsVyes\np2\nI01\nsVno\np3\nI00\nsVints\np4\n(lp5\nI0\naI-"
              "1\naI255\naI65535\naI-70000\naL1099511627776L\naL-"
              "9223372036854775808L\naL9223372036854775807L\nasVreal\np6\n(lp7\nF0.5\naF-1e+"
              "300\naFinf\nasVtexts\np8\n(V\np9\nVcaf\351 \\u005c "
              "\\u000a\np10\nV\\u20ac\\U0001f600\np11\ntp12\nsVnested\np13\n(lp14\n(lp15\na("
              "dp16\na(tasVone\np17\n(I1\ntp18\nsVtwo\np19\n(I1\nI2\ntp20\nsVfour\np21\n("
              "I1\nI2\nI3\nI4\ntp22\ns.")},
    {2, bytes("\200\002}q\000("
              "X\004\000\000\000noneq\001NX\003\000\000\000yesq\002\210X\002\000\000\000noq\003\211"
              "X\004\000\000\000intsq\004]q\005("
              "K\000J\377\377\377\377K\377M\377\377J\220\356\376\377\212\006\000\000\000\000\000"
              "\001\212\010\000\000\000\000\000\000\000\200\212\010\377\377\377\377\377\377\377\177"
              "eX\004\000\000\000realq\006]q\007(G\?\340\000\000\000\000\000\000G\3767\344<"
              "\210\000u\234G\177\360\000\000\000\000\000\000eX\005\000\000\000textsq\010X\000\000"
              "\000\000q\011X\011\000\000\000caf\303\251 \\ "
              "\nq\nX\007\000\000\000\342\202\254\360\237\230\200q\013\207q\014X\006\000\000\000nes"
              "tedq\015]q\016(]q\017}q\020)"
              "eX\003\000\000\000oneq\021K\001\205q\022X\003\000\000\000twoq\023K\001K\002\206q\024"
              "X\004\000\000\000fourq\025(K\001K\002K\003K\004tq\026u.")},
    {4, bytes("\200\004\225\325\000\000\000\000\000\000\000}\224("
              "\214\004none\224N\214\003yes\224\210\214\002no\224\211\214\004ints\224]\224("
              "K\000J\377\377\377\377K\377M\377\377J\220\356\376\377\212\006\000\000\000\000\000"
              "\001\212\010\000\000\000\000\000\000\000\200\212\010\377\377\377\377\377\377\377\177"
              "e\214\004real\224]\224(G\?\340\000\000\000\000\000\000G\3767\344<"
              "\210\000u\234G\177\360\000\000\000\000\000\000e\214\005texts\224\214\000\224\214\011"
              "caf\303\251 \\ "
              "\n\224\214\007\342\202\254\360\237\230\200\224\207\224\214\006nested\224]\224(]\224}"
              "\224)e\214\003one\224K\001\205\224\214\003two\224K\001K\002\206\224\214\004four\224("
              "K\001K\002K\003K\004t\224u.")},
    {5, bytes("\200\005\225\325\000\000\000\000\000\000\000}\224("
              "\214\004none\224N\214\003yes\224\210\214\002no\224\211\214\004ints\224]\224("
              "K\000J\377\377\377\377K\377M\377\377J\220\356\376\377\212\006\000\000\000\000\000"
              "\001\212\010\000\000\000\000\000\000\000\200\212\010\377\377\377\377\377\377\377\177"
              "e\214\004real\224]\224(G\?\340\000\000\000\000\000\000G\3767\344<"
              "\210\000u\234G\177\360\000\000\000\000\000\000e\214\005texts\224\214\000\224\214\011"
              "caf\303\251 \\ "
              "\n\224\214\007\342\202\254\360\237\230\200\224\207\224\214\006nested\224]\224(]\224}"
              "\224)e\214\003one\224K\001\205\224\214\003two\224K\001K\002\206\224\214\004four\224("
              "K\001K\002K\003K\004t\224u.")}};

}  // namespace

TEST_CASE("a pickle of plain data reads the same in every protocol") {
  for (const auto& [protocol, pickle] : kPlain) {
    CAPTURE(protocol);
    const PickleValue value = read_pickle(pickle, "t.pkl");
    REQUIRE(value.dict() != nullptr);
    CHECK(value.dict()->size() == 2 * 10);
    CHECK(value.at("none")->described() == "None");
    CHECK(std::get<bool>(value.at("yes")->data));
    CHECK_FALSE(std::get<bool>(value.at("no")->data));
    std::vector<int64_t> ints;
    for (const PickleValue& item : *value.at("ints")->sequence()) ints.push_back(whole(item));
    CHECK(ints == std::vector<int64_t>{0, -1, 255, 65535, -70000, int64_t{1} << 40,
                                       std::numeric_limits<int64_t>::min(),
                                       std::numeric_limits<int64_t>::max()});
    const auto& real = *value.at("real")->sequence();
    CHECK(std::get<double>(real.at(0).data) == 0.5);
    CHECK(std::get<double>(real.at(1).data) == -1e300);
    CHECK(std::isinf(std::get<double>(real.at(2).data)));
    const auto& texts = *value.at("texts")->sequence();
    CHECK(*texts.at(0).text() == "");
    CHECK(*texts.at(1).text() == "caf\u00e9 \\ \n");
    CHECK(*texts.at(2).text() == "\u20ac\U0001F600");
    const auto& nested = *value.at("nested")->sequence();
    CHECK(nested.at(0).described() == "a list of 0");
    CHECK(nested.at(1).described() == "a dict of 0");
    CHECK(nested.at(2).described() == "a tuple of 0");
    CHECK(value.at("one")->described() == "a tuple of 1");
    CHECK(whole(value.at("two")->sequence()->at(1)) == 2);
    CHECK(whole(value.at("four")->sequence()->at(3)) == 4);
    CHECK(value.at("five") == nullptr);
  }
}

TEST_CASE("bytes, and the strings of Python 2") {
  // b'\0\xff' in protocols 3 and 4.
  for (const std::string& pickle :
       {bytes("\200\003C\002\000\377q\000."),
        bytes("\200\004\225\006\000\000\000\000\000\000\000C\002\000\377\224.")}) {
    const PickleValue value = read_pickle(pickle, "t.pkl");
    CHECK(*std::get<PickleValue::Bytes>(value.data).bytes == bytes("\000\377"));
    CHECK(value.text() == nullptr);
  }
  // 2.7: {'a\n\'"\x01': 5L} in protocols 0, 1 and 2.
  for (const std::string& pickle :
       {bytes("(dp0\nS'a\\n\\'\"\\x01'\np1\nL5L\ns."), bytes("}q\000U\005a\n'\"\001q\001L5L\ns."),
        bytes("\200\002}q\000U\005a\n'\"\001q\001\212\001\005s.")}) {
    const PickleValue value = read_pickle(pickle, "t.pkl");
    REQUIRE(value.at("a\n'\"\x01") != nullptr);
    CHECK(whole(*value.at("a\n'\"\x01")) == 5);
  }
}

TEST_CASE("of a key that is there twice, the last counts, as in Python") {
  const PickleValue value = read_pickle(bytes("}(U\001aK\001U\001aK\002u."), "t.pkl");
  CHECK(whole(*value.at("a")) == 2);
}

TEST_CASE("what the memo repeats is shared, however many paths lead to it") {
  // l = [7]; [l, l, (l,)]
  const PickleValue value = read_pickle(
      bytes("\200\004\225\020\000\000\000\000\000\000\000]\224(]\224K\007ah\001h\001\205\224e."),
      "t.pkl");
  const auto& items = *value.sequence();
  REQUIRE(items.size() == 3);
  CHECK(items[0].sequence() == items[1].sequence());
  CHECK(items[2].sequence()->at(0).sequence() == items[0].sequence());
  // () and 90 times (x, x): 2^90 paths, 91 tuples.
  const PickleValue many = read_pickle(")" + repeated("2\206", 90) + ".", "t.pkl");
  CHECK(many.described() == "a tuple of 2");
}

TEST_CASE("what names or calls code is refused, and not run") {
  const std::filesystem::path trace = "/tmp/fedclock_pickle_was_run";
  std::filesystem::remove(trace);
  // __reduce__ gives (os.system, ('touch /tmp/fedclock_pickle_was_run',)), protocols 0, 2, 4.
  const std::string text = problem_of(
      bytes("cposix\nsystem\np0\n(Vtouch /tmp/fedclock_pickle_was_run\np1\ntp2\nRp3\n."));
  CHECK_THAT(text, Contains("t.pkl: byte 0: opcode GLOBAL (0x63) names or calls code of Python "
                            "(posix.system)"));
  CHECK_THAT(text, Contains("only plain data is read"));
  CHECK_THAT(text, Contains("numpy"));
  CHECK_THAT(problem_of(bytes("\200\002cposix\nsystem\nq\000X\"\000\000\000touch "
                              "/tmp/fedclock_pickle_was_runq\001\205q\002Rq\003.")),
             Contains("byte 2: opcode GLOBAL"));
  CHECK_THAT(problem_of(bytes("\200\004\225="
                              "\000\000\000\000\000\000\000\214\005posix\224\214\006system\224\223"
                              "\224\214\"touch /tmp/fedclock_pickle_was_run\224\205\224R\224.")),
             Contains("byte 28: opcode STACK_GLOBAL (0x93) names or calls code of Python "
                      "(posix.system)"));
  CHECK_FALSE(std::filesystem::exists(trace));
  // An object with an attribute, protocol 4.
  CHECK_THAT(problem_of(bytes("\200\004\225\037\000\000\000\000\000\000\000\214\010__main__"
                              "\224\214\001O\224\223\224)\201\224}\224\214\001x\224K\001sb.")),
             Contains("STACK_GLOBAL") && Contains("__main__.O"));
  const std::pair<std::string, std::string> rest[] = {
      {"N)R.", "REDUCE"},     {"N}b.", "BUILD"},         {"(iposix\nsystem\n.", "INST"},
      {"(No.", "OBJ"},        {"N)\201.", "NEWOBJ"},     {"N)}\222.", "NEWOBJ_EX"},
      {"\202\001.", "EXT1"},  {"\203\001\001.", "EXT2"}, {"\204\001\001\001\001.", "EXT4"},
      {"Pname\n.", "PERSID"}, {"NQ.", "BINPERSID"}};
  for (const auto& [pickle, name] : rest) {
    CHECK_THAT(problem_of(pickle), Contains("opcode " + name + " (") && Contains("never run"));
  }
}

TEST_CASE("other data than plain is refused") {
  CHECK_THAT(problem_of(bytes("\200\004\225\007\000\000\000\000\000\000\000\217\224(K\001\220.")),
             Contains("byte 11: opcode EMPTY_SET (0x8f)"));
  CHECK_THAT(problem_of(bytes("\200\005\225\014\000\000\000\000\000\000\000\226\001\000\000\000\000"
                              "\000\000\000x\224.")),
             Contains("BYTEARRAY8"));
  // 2**63, -2**63 - 1, and a number of 300 bytes.
  CHECK_THAT(problem_of(bytes("\200\002\212\011\000\000\000\000\000\000\000\200\000.")),
             Contains("byte 2: an integer beyond 64 bits"));
  CHECK_THAT(problem_of("L-9223372036854775809L\n."), Contains("beyond 64 bits"));
  CHECK_THAT(problem_of(bytes("\213\054\001\000\000") + std::string(300, '\x01') + "."),
             Contains("beyond 64 bits"));
  CHECK_THAT(problem_of("U\001\377."), Contains("not UTF-8"));
  CHECK_THAT(problem_of("\200\006N."), Contains("pickle protocol 6; 0 to 5 are read"));
}

TEST_CASE("an integer is as wide as it is written") {
  // LONG1 of 0 bytes is 0; nine bytes may still be a small number.
  CHECK(whole(read_pickle(bytes("\212\000."), "")) == 0);
  CHECK(whole(read_pickle(bytes("\212\001\377."), "")) == -1);
  CHECK(whole(read_pickle(bytes("\212\011\376\377\377\377\377\377\377\377\377."), "")) == -2);
  CHECK(whole(read_pickle(bytes("\213\002\000\000\000\377\000."), "")) == 255);
}

TEST_CASE("a pickle cut at any byte is refused") {
  for (const auto& [protocol, pickle] : kPlain) {
    for (std::size_t length = 0; length < pickle.size(); ++length) {
      CAPTURE(protocol, length);
      CHECK_THAT(problem_of(pickle.substr(0, length)), Contains("t.pkl: byte "));
    }
  }
}

TEST_CASE("any byte changed gives a value or a problem, never a crash") {
  int problems = 0;
  for (const auto& [protocol, pickle] : kPlain) {
    for (std::size_t i = 0; i < pickle.size(); ++i) {
      for (int byte = 0; byte < 256; byte += 5) {
        std::string changed = pickle;
        changed[i] = static_cast<char>(byte);
        if (problem_of(changed) != "no problem") ++problems;
      }
    }
  }
  CHECK(problems > 0);
}

TEST_CASE("a length larger than the file takes no memory") {
  const std::string huge[] = {bytes("X\377\377\377\377a."),
                              bytes("B\377\377\377\377a."),
                              bytes("\213\377\377\377\177a."),
                              bytes("T\377\377\377\177a."),
                              bytes("\215\377\377\377\377\377\377\377\377a."),
                              bytes("\216\377\377\377\377\377\377\377\377a."),
                              bytes("\225\377\377\377\377\377\377\377\377N.")};
  for (const std::string& pickle : huge) {
    CHECK_THAT(problem_of(pickle), Contains("the file has 2 more"));
  }
  CHECK_THAT(problem_of(bytes("T\377\377\377\377a.")), Contains("a length of -1"));
  // A place in the memo is a name, not a size.
  CHECK(whole(read_pickle(bytes("K\005r\377\377\377\3770j\377\377\377\377."), "t.pkl")) == 5);
}

TEST_CASE("nesting is bounded, in the reader and in what is read") {
  const auto nested = [](int depth) { return ")" + repeated("\205", depth - 1) + "."; };
  CHECK(problem_of(nested(kMaxPickleDepth)) == "no problem");
  CHECK_THAT(problem_of(nested(kMaxPickleDepth + 1)), Contains("more than 100 deep"));
  constexpr int kDeep = 100'000;
  CHECK_THAT(problem_of(nested(kDeep)), Contains("more than 100 deep"));
  CHECK_THAT(problem_of(repeated("]", kDeep) + repeated("a", kDeep - 1) + "."),
             Contains("more than 100 deep"));
  CHECK_THAT(problem_of(repeated("}K\001", kDeep) + "}" + repeated("s", kDeep) + "."),
             Contains("more than 100 deep"));
  CHECK_THAT(problem_of(repeated("(", kDeep) + repeated("l", kDeep) + "."),
             Contains("more than 100 deep"));
  CHECK_THAT(problem_of(repeated("(", kDeep)), Contains("cut short"));
}

TEST_CASE("what contains itself is refused") {
  const std::string inside_itself[] = {
      bytes("(lp0\ng0\na."),  // l = []; l.append(l), protocols 0, 2 and 4
      bytes("\200\002]q\000h\000a."),
      bytes("\200\004\225\006\000\000\000\000\000\000\000]\224h\000a."),
      bytes("\200\004\225\n\000\000\000\000\000\000\000}"
            "\224\214\001x\224h\000s."),  // d = {}; d['x'] = d
      bytes("\200\004\225\013\000\000\000\000\000\000\000]"
            "\224h\000\205\224a0h\001."),  // t = ([],); t[0].append(t)
      bytes("\200\004\225\011\000\000\000\000\000\000\000]\224]"
            "\224h\000aa.")};  // x = []; y = [x]; x.append(y)
  for (const std::string& pickle : inside_itself) {
    CHECK_THAT(problem_of(pickle), Contains("contains itself"));
  }
}

TEST_CASE("a damaged pickle says what is wrong") {
  const std::pair<std::string, std::string> damaged[] = {
      {"v", "byte 0: 0x76 is no opcode of pickle protocols 0 to 5"},
      {".", "a value is missing"},
      {"N(.", "byte 2: a value is missing"},  // not below the mark
      {"0.", "a value is missing"},
      {"Na.", "a list or dict is missing"},
      {"NNa.", "None stands where a list must"},
      {"]K\001K\002s.", "a list of 0 stands where a dict must"},
      {")Na.", "a tuple of 0 stands where a list must"},
      {"(e.", "a list or dict is missing"},
      {"e.", "a mark is missing"},
      {"}(Nu.", "a key of a dict has no value"},
      {"}]Ns.", "a list or a dict is the key of a dict"},
      {"h\001.", "nothing is at place 1 of the memo"},
      {"Np-1\n.", "'-1' is no place of the memo"},
      {"I1x\n.", "'1x' is no integer"},
      {"F1,5\n.", "'1,5' is no number"},
      {"Sabc\n.", "broken escape or quote"},
      {"S'a\\q'\n.", "broken escape or quote"},
      {"V\\u12\n.", "broken escape or quote"},
      {"V\\ud800\n.", "broken escape or quote"},
      {"N.N.", "byte 1: the pickle ends here and 2 bytes follow"}};
  for (const auto& [pickle, text] : damaged) {
    CAPTURE(pickle);
    CHECK_THAT(problem_of(pickle), Contains(text));
  }
}
