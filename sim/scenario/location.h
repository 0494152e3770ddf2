// Where each field of a scenario was set, and the problems found in it.
//
// A field is named by its path, "platform.devices[0].network.up_mbit_s"; items of lists count from
// 0. Lines and columns count from 1. A problem is one line of text:
//   FILE:LINE:COLUMN: PATH: VALUE: why it is wrong and what would be right
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fedclock::scenario {

// A place in a file, or an override of the command line.
struct Location {
  std::string file;  // or "--set platform.devices[0].count=40"
  int line = 0;      // 0: the file as a whole, or an override
  int column = 0;

  // "file:line:column", or "file" alone where there is no line.
  std::string text() const;
  bool operator==(const Location&) const = default;
};

// The place at which each field was set.
class Locations {
 public:
  // The path "" is the scenario as a whole.
  void set(const std::string& path, Location location);
  bool has(const std::string& path) const;
  // Place of the field, of the nearest enclosing field that was set, or of the whole file.
  Location find(std::string_view path) const;
  // Forgets the field and everything in it.
  void erase_under(const std::string& path);
  // Takes over what lies under `prefix` in `lower`, except what is set here already: a field that
  // has a place, or an item of a list that is set here.
  void add_below(const std::string& prefix, const Locations& lower);

 private:
  std::map<std::string, Location> at_;
};

struct Problem {
  Location where;
  std::string path;     // of the field; may be empty
  std::string value;    // as written; may be empty
  std::string message;  // why the value is wrong, and what would be right

  // One line, without its end.
  std::string text() const;
  bool operator==(const Problem&) const = default;
};

// All the problems of one scenario, so that they are told at once. Later stages (rows of real
// files, memory of devices) add to the same list.
class Problems {
 public:
  Problems() = default;
  explicit Problems(Locations locations) : locations_(std::move(locations)) {}

  // Whether the field was written anywhere, an empty list for instance.
  bool is_written(const std::string& path) const { return locations_.has(path); }

  // From now on add() looks places up here.
  void use(Locations locations) { locations_ = std::move(locations); }

  // A problem of a field, at the place where it or what encloses it was set.
  void add(std::string path, std::string value, std::string message);
  // A problem at a place that is known otherwise: a line of a data file, say. The same problem
  // twice counts once.
  void add_at(Location where, std::string path, std::string value, std::string message);

  // Says that what is missing or wrong at `path` follows from a problem already in the list: with
  // `latency_ms` unknown, `latency_s` is not set, and that needs no line of its own.
  void excuse(std::string path) { excused_.insert(std::move(path)); }
  // True where the path has a problem already, or is excused.
  bool covers(const std::string& path) const;

  bool empty() const { return problems_.empty(); }
  std::size_t size() const { return problems_.size(); }
  const std::vector<Problem>& list() const { return problems_; }

  // One problem a line, in order of file, line and column.
  std::string text() const;
  // Throws InputError with text() where there is any problem.
  void throw_if_any() const;

 private:
  Locations locations_;
  std::vector<Problem> problems_;
  std::set<std::string> excused_;
};

// "a.b" from "a" and "b"; "b" from "" and "b".
std::string join_path(const std::string& path, std::string_view name);
// "a.b[2]".
std::string item_path(const std::string& path, int index);

}  // namespace fedclock::scenario
