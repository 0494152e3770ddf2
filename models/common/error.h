// The two kinds of errors. Libraries throw them; tools/ prints them and chooses the exit code.
#pragma once

#include <source_location>
#include <stdexcept>
#include <string>

namespace fedclock {

// Something the user gave is wrong. The text names file, line, field, value and remedy, as far as
// they are known where it is thrown. The program ends with exit code 2.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// fedclock itself is wrong: a check that must hold does not.
class ProgrammerError : public std::logic_error {
 public:
  explicit ProgrammerError(const std::string& what,
                           std::source_location where = std::source_location::current())
      : std::logic_error(std::string(where.file_name()) + ":" + std::to_string(where.line()) +
                         ": internal error: " + what) {}
};

// An always-on check of what must hold.
inline void ensure(bool holds, const char* what,
                   std::source_location where = std::source_location::current()) {
  if (!holds) throw ProgrammerError(what, where);
}

}  // namespace fedclock
