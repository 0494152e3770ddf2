// ROUGE-L against hand arithmetic.
#include "models/learning/rouge.h"

#include <catch2/catch.hpp>

namespace fedclock::learning {
namespace {

// Lin's example, section 3.1: "police kill the gunman" shares "police the gunman" with the
// reference, "the gunman kill police" only "the gunman".
TEST_CASE("rouge_l: the longest common subsequence of words") {
  const char* reference = "police killed the gunman";
  CHECK(rouge_l("police kill the gunman", reference) == Approx(3.0 / 4));
  CHECK(rouge_l("the gunman kill police", reference) == Approx(2.0 / 4));
  CHECK(rouge_l(reference, reference) == 1);
  // Two of five words, two of four: P = 2/5, R = 1/2, F = 2 (1/5) / (9/10) = 4/9.
  CHECK(rouge_l("a gunman saw the gunman", reference) == Approx(4.0 / 9));
}

TEST_CASE("rouge_l: words are runs of letters and digits, whatever their case") {
  CHECK(rouge_l("The GUNMAN!", "the-gunman") == 1);
  CHECK(rouge_l("caf\xC3\xA9 9", "Caf\xC3\xA9, 9") == 1);
  CHECK(rouge_l("gunman", "gunmen") == 0);
  CHECK(rouge_l("", "a") == 0);
  CHECK(rouge_l("a", "...") == 0);
  CHECK(rouge_l("", "") == 0);
}

}  // namespace
}  // namespace fedclock::learning
