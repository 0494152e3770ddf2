#include "models/data/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include "models/common/error.h"

namespace fedclock::data {

namespace {

std::string message_of(int error) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(error, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

struct FreeMatch {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};

}  // namespace

struct Pattern::Compiled {
  explicit Compiled(const std::string& expression) {
    int error = 0;
    PCRE2_SIZE at = 0;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                         PCRE2_UTF | PCRE2_UCP, &error, &at, nullptr);
    if (code == nullptr) {
      throw ProgrammerError(
          fmt::format("expression {}: {} at {}", expression, message_of(error), at));
    }
    // Where there is no just-in-time compiler, matching is slower, with the same matches.
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  }
  ~Compiled() { pcre2_code_free(code); }
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;

  pcre2_code* code = nullptr;
};

Pattern::Pattern(const std::string& expression)
    : compiled_(std::make_unique<Compiled>(expression)) {}
Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;

void Pattern::for_each_match(std::string_view subject,
                             const std::function<void(std::string_view)>& visit) const {
  if (subject.empty()) return;
  const pcre2_code* code = compiled_->code;
  const std::unique_ptr<pcre2_match_data, FreeMatch> match(pcre2_match_data_create(1, nullptr));
  ensure(match != nullptr, "out of memory");
  size_t at = 0;
  while (at < subject.size()) {
    // Checking the rest of the subject before each match would take quadratic time.
    const int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(subject.data()),
                                  subject.size(), at, PCRE2_NO_UTF_CHECK, match.get(), nullptr);
    if (found == PCRE2_ERROR_NOMATCH) return;
    if (found < 0) throw ProgrammerError("matching failed: " + message_of(found));
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match.get());
    ensure(bounds[1] > bounds[0], "an expression that matches nothing");
    visit(subject.substr(bounds[0], bounds[1] - bounds[0]));
    at = bounds[1];
  }
}

}  // namespace fedclock::data
