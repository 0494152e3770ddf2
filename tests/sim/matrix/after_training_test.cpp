// Clients' models as their training left them, and experts that choose by what was learnt.
#include "tests/sim/matrix/learnt.h"

namespace fedclock::federation {
namespace {

std::vector<double> of(const std::vector<std::string>& overrides,
                       const std::function<std::vector<double>(const v1::Result&)>& look) {
  const auto forked = test::run_forked(
      [&] { return look(test::learn(test::load_good("tiny.textproto", overrides))); });
  REQUIRE(forked.error == "");
  return forked.values;
}

// Dates, traffic and the adapter; then the loss and the accuracy on own rows at the end, and the
// loss before training.
TEST_CASE("after_training measures other models, and changes nothing else") {
  const auto look = [](const v1::Result& result) {
    v1::Result unmeasured = result;
    for (v1::Round& round : *unmeasured.mutable_rounds()) round.clear_accuracy();
    std::vector<double> numbers = test::fingerprint(unmeasured);
    const v1::Round& last = *result.rounds().rbegin();
    numbers.insert(numbers.end(), {last.loss(), last.client_accuracy(), result.rounds(0).loss()});
    return numbers;
  };
  std::vector<double> merged = of({"method=fedit"}, look);
  std::vector<double> own = of({"method=fedit", "evaluation.after_training=true"}, look);
  REQUIRE(merged.size() == own.size());
  const size_t loss = own.size() - 3, accuracy = own.size() - 2;
  CHECK(own[loss] > merged[loss]);  // of personal models, on everyone's rows
  CHECK(own[accuracy] > merged[accuracy] + 0.2);
  for (const size_t at : {loss, accuracy}) own[at] = merged[at];
  CHECK(own == merged);
}

// Embeddings travel besides: (n + 1) x rank 4 x 4 bytes of each of six modules of n experts, and
// their entries in the header; not in the last round, after which nobody chooses.
TEST_CASE("experts that choose by scores: clients send embeddings") {
  const auto extra =
      of({"method=fedamole", "federation.selection={all:{}}", "task.auxiliary_fraction=0.1",
          "federation.assignment.experts={experts:9 choices:2 min_experts:1 "
          "max_experts:6}"},
         [](const v1::Result& result) {
           std::vector<double> numbers;
           for (const v1::Round& round : result.rounds()) {
             for (const v1::ClientRound& client : round.clients()) {
               const auto values = static_cast<double>(4 * 4 * (client.experts() + 6));
               const auto more = static_cast<double>(client.bytes_up() - client.bytes_down());
               const bool last = round.round() + 1 == result.rounds_size();
               numbers.push_back(last ? -more : more - values);
             }
           }
           return numbers;
         });
  REQUIRE(extra.size() == 3 * 6);
  for (size_t i = 0; i < 12; ++i) {
    CHECK(extra[i] > 0);
    CHECK(extra[i] < 6 * 120);
  }
  for (size_t i = 12; i < 18; ++i) CHECK(extra[i] == 0);
}

}  // namespace
}  // namespace fedclock::federation
