// The text of a scenario as a tree of fields, each with its place; one tree for both formats.
//
// Protobuf's own parsers stop at the first problem of a file. Here the text is split by Protobuf's
// tokeniser into a tree that says nothing of meaning; bind.h then sets the fields one by one with
// Protobuf's own conversions, and can tell every problem of the file at once.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/scenario/location.h"

namespace fedclock::scenario {

enum class Syntax { kText, kJson };

// Where a tree's text comes from.
struct Source {
  Syntax syntax = Syntax::kText;
  std::string name;   // file name, or "--set path=value"
  bool lines = true;  // false: all of it has one place, an override

  Location location(int line, int column) const {
    return lines ? Location{name, line, column} : Location{name, 0, 0};
  }
};

// A value: a scalar as it is written, a list, or a message.
struct Node {
  enum class Kind { kScalar, kList, kMessage };
  struct Field;
  Kind kind = Kind::kScalar;
  int line = 0, column = 0;   // of its first character, from 1
  std::string text;           // of a scalar: "-5", "ENCODER", "\"quoted\""
  std::vector<Node> items;    // of a list
  std::vector<Field> fields;  // of a message, in the order written

  // What a message shows as the value: the scalar, "[...]" or "{...}".
  std::string shown() const;
};
struct Node::Field {
  std::string name;
  int line = 0, column = 0;  // of the name, from 1
  Node value;
};

// Reads a whole text. Where it breaks off (a missing brace, an unfinished string), adds the one
// problem that is sure and returns nothing.
std::optional<Node> read_syntax(std::string_view text, const Source& source, Problems& problems);

// Reads a file, by its ending; nothing, and a problem at `asked_by`, where that is impossible.
struct ReadFile {
  Source source;
  Node root;
};
std::optional<ReadFile> read_scenario_file(const std::string& path, const Location& asked_by,
                                           const std::string& field, Problems& problems);

}  // namespace fedclock::scenario
