#include "models/learning/rouge.h"

#include <algorithm>
#include <string>
#include <vector>

namespace fedclock::learning {

namespace {

bool is_of_word(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || byte > 127;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  bool within = false;
  for (const char c : text) {
    if (is_of_word(c)) {
      if (!within) words.emplace_back();
      words.back() += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    within = is_of_word(c);
  }
  return words;
}

// Length of the longest common subsequence.
size_t common_words(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<size_t> best(b.size() + 1, 0);  // of a's words so far and b's first j
  for (const std::string& word : a) {
    size_t diagonal = 0;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = best[j];
      best[j] = word == b[j - 1] ? diagonal + 1 : std::max(above, best[j - 1]);
      diagonal = above;
    }
  }
  return best.back();
}

}  // namespace

double rouge_l(std::string_view text, std::string_view reference) {
  const std::vector<std::string> words = words_of(text), expected = words_of(reference);
  const auto common = static_cast<double>(common_words(words, expected));
  // 2 P R / (P + R)
  const auto both = static_cast<double>(words.size() + expected.size());
  return words.empty() || expected.empty() ? 0 : 2 * common / both;
}

}  // namespace fedclock::learning
