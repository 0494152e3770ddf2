// ROUGE-L (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 3): with L
// the length in words of the longest common subsequence of a text and its reference,
//   P = L / words of the text,  R = L / words of the reference,  F = 2 P R / (P + R).
// Words are the maximal runs of letters and digits, of ASCII in lower case; bytes above 127 count
// as letters, so that words in other scripts stay whole. No stemming.
#pragma once

#include <string_view>

namespace fedclock::learning {

// F, 0 to 1; 0 where either has no word.
double rouge_l(std::string_view text, std::string_view reference);

}  // namespace fedclock::learning
