// FedAPEN (KDD 2023), by hand.
#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>
#include <string>

#include "tests/sim/matrix/local_clients.h"

namespace fedclock::federation {
namespace {

Flat both(const Flat& shared, const Flat& own, double weight) {
  Flat flat = shared;
  for (const auto& [name, number] : own) flat["p" + name] = number;
  flat["weight"] = weight;
  return flat;
}

// A is 1, B 2, the head 3; training adds 1 to the shared model and 2 to the private one; a weight
// that is learnt is 1/16 more each time.
TEST_CASE("FedAPEN: a private model beside the shared one") {
  v1::Local answer;
  answer.mutable_mutual()->set_weight_epochs(4);
  answer.mutable_mutual()->set_weight_learning_rate(0.25);
  Clients clients(answer);
  clients.set_auxiliary_rows(rows_of(3, 40));
  CHECK(clients.local->is_personal());
  CHECK(clients.model_of(0, all(9)) == all(9));  // has had no part: as everyone has it

  const Part first = clients.part(1, 0);
  CHECK(first.job.ensemble);
  CHECK(first.passed_rows == 0);
  CHECK(factors(first.up) == "abh");
  CHECK(first.copies == 1);
  const Local::Trained trained = clients.train(first);
  CHECK(clients.learner.trainings.back().start == both(all(1, 2, 3), all(1, 2, 3), 0.5));
  CHECK(clients.learner.learned.empty());
  CHECK(clients.flat(trained.update) == both(all(2, 3, 4), all(3, 4, 5), 0.5));
  CHECK(clients.flat(trained.sent) == all(2, 3, 4));  // the shared one alone

  // Used with the shared model of now, and the weight that is learnt of both.
  CHECK(clients.model_of(0, all(9)) == both(all(9), all(3, 4, 5), 0.5625));
  CHECK(clients.learner.learned.back() == both(all(9), all(3, 4, 5), 0.5));
  // As often as one looks, the client's own goes on from where its last part left it.
  CHECK(clients.model_of(0, all(8)).at("weight") == 0.5625);

  const Part second = clients.part(2, 0);
  CHECK(second.passed_rows == 4 * 3);
  clients.train(second, RecordingLearner::state_of(all(9)));
  CHECK(clients.learner.trainings.back().start == both(all(9), all(3, 4, 5), 0.5625));
  CHECK(clients.model_of(0, all(7)) == both(all(7), all(5, 6, 7), 0.625));
  CHECK(clients.model_of(1, all(7)) == all(7));

  // Without passes the weight stays.
  answer.mutable_mutual()->set_weight_epochs(0);
  Clients equal(answer);
  equal.set_auxiliary_rows(rows_of(3, 40));
  equal.train(equal.part(1, 0));
  equal.train(equal.part(2, 0));
  CHECK(equal.part(3, 0).passed_rows == 0);
  CHECK(equal.learner.learned.empty());
  CHECK(equal.model_of(0, all(7)).at("weight") == 0.5);
}

}  // namespace
}  // namespace fedclock::federation
