// FedALT (arXiv 2503.11880), by hand.
#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>
#include <string>

#include "tests/sim/matrix/local_clients.h"

namespace fedclock::federation {
namespace {

// Individual adapters begin as A 1, B 2, and so does the mean of the others', which is expert 1;
// routers begin as 4, heads as 3.
TEST_CASE("FedALT: an own adapter that nobody overwrites beside the mean of the others'") {
  v1::Local answer;
  answer.mutable_rest_of_world();
  Clients clients(answer);
  const auto mixture = [](double own_a, double own_b, double rest_a, double rest_b, double router,
                          double head) {
    Flat flat{{"head", head}};
    for (const std::string layer : {"0", "1"}) {
      flat[layer + ".0a"] = own_a;
      flat[layer + ".0b"] = own_b;
      flat[layer + ".1a"] = rest_a;
      flat[layer + ".1b"] = rest_b;
      flat[layer + "r"] = router;
    }
    return flat;
  };
  const auto adapter = [](double a, double b) {
    return Flat{{"0a", a}, {"0b", b}, {"1a", a}, {"1b", b}};
  };
  CHECK(clients.local->is_personal());
  CHECK(clients.model_of(1, all(9)) == all(1, 2, 3));  // has had no part: as everyone begins
  const Part first = clients.part(1, 0);
  CHECK(factors(first.up) == "ab");
  CHECK(first.up.experts.empty());
  CHECK(first.down == first.up);
  CHECK(!first.job.trained.shared);
  CHECK(first.job.trained.frozen_experts == 1);
  // Round 1: client c adds c + 1 to what it trains.
  clients.learner.step = [](const learning::TrainJob& job) { return job.client + 1.0; };
  for (int32_t client = 0; client < 3; ++client) {
    const Local::Trained trained = clients.train(clients.part(1, client));
    const double by = client + 1.0;
    CHECK(clients.learner.trainings.back().start == mixture(1, 2, 1, 2, 4, 3));
    CHECK(clients.flat(trained.update) == mixture(1 + by, 2 + by, 1, 2, 4 + by, 3 + by));
    CHECK(clients.flat(trained.sent) == adapter(1 + by, 2 + by));
  }
  // Before the merge nobody knows of the others.
  CHECK(clients.model_of(0, all(9)) == mixture(2, 3, 1, 2, 5, 4));
  clients.local->merged(clients.learner, {0, 1, 2});
  // Individual adapters are (2, 3), (3, 4), (4, 5): the others' means (3.5, 4.5), (3, 4), (2.5,
  // 3.5).
  CHECK(clients.model_of(0, all(9)) == mixture(2, 3, 3.5, 4.5, 5, 4));
  CHECK(clients.model_of(1, all(9)) == mixture(3, 4, 3, 4, 6, 5));
  CHECK(clients.model_of(2, all(9)) == mixture(4, 5, 2.5, 3.5, 7, 6));
  // Round 2 without client 0: the others go on from their own, and its last one still counts.
  for (int32_t client = 1; client < 3; ++client) clients.train(clients.part(2, client));
  CHECK(clients.learner.trainings.back().start == mixture(4, 5, 2.5, 3.5, 7, 6));
  clients.local->merged(clients.learner, {1, 2});
  CHECK(clients.model_of(0, all(9)) == mixture(2, 3, (5 + 7) / 2.0, (6 + 8) / 2.0, 5, 4));
  CHECK(clients.model_of(1, all(9)) == mixture(5, 6, (2 + 7) / 2.0, (3 + 8) / 2.0, 8, 7));

  // By rows, 8, 16 and 24 of them: of client 0's others (2 x 3 + 3 x 4) / 5. Who is alone has
  // nobody.
  Clients by_rows(answer, 3, 3, 4, /*by_rows=*/true);
  by_rows.learner.step = clients.learner.step;
  by_rows.train(by_rows.part(1, 0));
  by_rows.local->merged(by_rows.learner, {0});
  CHECK(by_rows.model_of(0, all(9)) == mixture(2, 3, 1, 2, 5, 4));
  for (int32_t client = 1; client < 3; ++client) by_rows.train(by_rows.part(1, client));
  by_rows.local->merged(by_rows.learner, {1, 2});
  CHECK(by_rows.model_of(0, all(9)).at("0.1a") == Approx((2 * 3 + 3 * 4) / 5.0));
  CHECK(by_rows.model_of(2, all(9)).at("1.1b") == Approx((1 * 3 + 2 * 4) / 3.0));
}

// Four adapters of 2 x 4 elements: the sum is read, the own one too, the result written.
TEST_CASE("FedALT: the server makes a mean of the others for each client") {
  v1::Local answer;
  answer.mutable_rest_of_world();
  Clients clients(answer);
  WorkloadSpec spec;
  spec.timed = nn::decoder_architecture(2, 4, 1, 1, 4, 8, 5);
  spec.learning_layers = 2;
  spec.adapter = {.rank = 2, .targets = {nn::Target::kQ}};
  spec.batch_rows = spec.sequence_tokens = 1;
  const Workload workload(spec);
  const Part part = clients.part(1, 0, {{2, 2}, {2, 2}});
  CHECK(workload.elements(part.up) == 2 * (2 * 4 + 4 * 2));
  const cost::Work work =
      clients.local->merge_work(workload, {{0, 8, {}, part.up}, {1, 8, {}, part.up}});
  CHECK(work.forward_flops == 2 * 2 * 32);
  CHECK(work.memory_bytes == 2 * 3 * 32 * 4);
}

}  // namespace
}  // namespace fedclock::federation
