// A compiled regular expression (PCRE2, with Unicode properties). It does not change after
// construction, so threads may share it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace fedclock::data {

class Pattern {
 public:
  // Throws ProgrammerError when the expression does not compile: expressions are fedclock's own.
  explicit Pattern(const std::string& expression);
  ~Pattern();
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;

  // Calls visit(match) for all matches from left to right, which do not overlap and are not empty.
  // `subject` must be valid UTF-8.
  void for_each_match(std::string_view subject,
                      const std::function<void(std::string_view)>& visit) const;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace fedclock::data
