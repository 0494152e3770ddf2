// FedLEASE (arXiv 2509.15087), by hand.
#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/sim/matrix/local_clients.h"

namespace fedclock::federation {
namespace {

v1::Local clustered(int32_t warmup_rounds, int32_t max_experts) {
  v1::Local answer;
  answer.mutable_clustered_experts()->set_warmup_rounds(warmup_rounds);
  answer.mutable_clustered_experts()->set_max_experts(max_experts);
  return answer;
}

struct Pair {
  double a, b;
};

// The same experts, router and head in both layers.
Flat mixture(const std::vector<Pair>& experts, double router, double head) {
  Flat flat{{"head", head}};
  for (const std::string layer : {"0", "1"}) {
    for (size_t i = 0; i < experts.size(); ++i) {
      flat[layer + "." + std::to_string(i) + "a"] = experts[i].a;
      flat[layer + "." + std::to_string(i) + "b"] = experts[i].b;
    }
    flat[layer + "r"] = router;
  }
  return flat;
}

// A begins as 1, B as 2, routers as 4, heads as 3. All elements of a B being one number, two B are
// alike where their signs are.
TEST_CASE("FedLEASE: alone in the warm-up, then an expert for each cluster") {
  Clients clients(clustered(2, 3), 4, 4);
  clients.learner.step = [](const learning::TrainJob& job) {
    return job.client % 2 == 0 ? job.client + 1.0 : -10.0 * job.client;
  };
  CHECK(clients.local->is_personal());
  CHECK(clients.model_of(1, all(9)) == all(1, 2, 3));
  // Warm-up: everyone goes on from its own, twice. What it adds: client 0 +1, 1 -10, 2 +3, 3 -30.
  for (int64_t round = 1; round <= 2; ++round) {
    for (int32_t client = 0; client < 4; ++client) {
      const Part part = clients.part(round, client);
      CHECK(part.job.trained.shared);
      CHECK(part.job.trained.experts.empty());
      CHECK(factors(part.up) == "ab");
      CHECK((part.down.depth() == 0) == (round == 2));  // it has its own already
      CHECK(!part.down.head);
      clients.train(part, RecordingLearner::state_of(all(9)));
    }
    CHECK(clients.learner.trainings.back().start ==
          (round == 1 ? all(1, 2, 3) : all(-29, -28, -27)));
    CHECK(clients.model_of(2, all(9)) == (round == 1 ? all(4, 5, 6) : all(7, 8, 9)));
    clients.local->merged(clients.learner, {0, 1, 2, 3});
  }
  // B are 4, -18, 8, -58: clusters {0, 2} and {1, 3}, A 3, -19, 7, -59.
  const Pair even{5, 6}, odd{-39, -38};
  CHECK(clients.model_of(0, all(9)) == mixture({even, odd}, 4, 5));
  CHECK(clients.model_of(1, all(9)) == mixture({odd, even}, 4, -17));
  CHECK(clients.model_of(2, all(9)) == mixture({even, odd}, 4, 9));

  // Own expert, router and head are trained; the other cluster's is not.
  const Part third = clients.part(3, 0);
  CHECK(third.cluster == 0);
  CHECK(clients.part(3, 1).cluster == 1);
  CHECK(!third.job.trained.shared);
  CHECK(third.job.trained.frozen_experts == 1);
  CHECK(third.job.trained.experts.begin()->second == std::vector<int32_t>{0});
  CHECK(third.down.experts.begin()->second == std::vector<int32_t>{0, 1});
  CHECK((third.up.experts == third.job.trained.experts));
  CHECK((!third.down.head && !third.up.head && !third.up.shared && third.up.routers));
  const Local::Trained trained = clients.train(third);
  CHECK(clients.learner.trainings.back().start == mixture({even, odd}, 4, 5));
  CHECK(clients.flat(trained.update) == mixture({{6, 7}, odd}, 5, 6));
  Flat sent = mixture({{6, 7}}, 5, 0);
  sent.erase("head");
  CHECK(clients.flat(trained.sent) == sent);
  clients.train(clients.part(3, 2));
  clients.train(clients.part(3, 3));
  // Averaged within the cluster over those who took part: (5 + 1, 5 + 3) / 2 and -39 - 30.
  clients.local->merged(clients.learner, {0, 2, 3});
  CHECK(clients.model_of(0, all(9)) == mixture({{7, 8}, {-69, -68}}, 6, 6));
  CHECK(clients.model_of(2, all(9)) == mixture({{7, 8}, {-69, -68}}, 6, 12));
  // What is left behind is both clusters' experts.
  Flat experts = mixture({{7, 8}, {-69, -68}}, 0, 0);
  for (const char* none : {"head", "0r", "1r"}) experts.erase(none);
  CHECK(clients.flat(clients.local->left_behind(clients.learner,
                                                RecordingLearner::state_of(all(9)))) == experts);
  // Client 1 took no part: its cluster's expert and router of now, its own head.
  CHECK(clients.model_of(1, all(9)) == mixture({{-69, -68}, {7, 8}}, -26, -17));
}

TEST_CASE("FedLEASE: who comes late warms up, and joins the nearest") {
  Clients clients(clustered(1, 2), 5, 5);
  clients.learner.step = [](const learning::TrainJob& job) { return job.client < 2 ? 1.0 : -10.0; };
  for (int32_t client = 0; client < 4; ++client) clients.train(clients.part(1, client));
  clients.local->merged(clients.learner, {0, 1, 2, 3});
  CHECK(clients.model_of(4, all(9)) == all(1, 2, 3));
  const Part late = clients.part(2, 4);
  CHECK(late.job.trained.shared);
  CHECK(late.down.depth() == 2);
  clients.train(late);
  CHECK(clients.model_of(4, all(9)) == all(-9, -8, -7));
  clients.local->merged(clients.learner, {4});
  // It is of the cluster of 2 and 3, whose expert is not moved by that.
  CHECK(clients.model_of(4, all(9)) == mixture({{-9, -8}, {2, 3}}, 4, -7));
  CHECK(!clients.part(3, 4).job.trained.shared);
}

TEST_CASE("FedLEASE: by rows, and one expert for all") {
  // Clients of 8 and 16 rows, one cluster: nothing beside the own expert.
  Clients clients(clustered(1, 1), 2, 2, 4, /*by_rows=*/true);
  clients.learner.step = [](const learning::TrainJob& job) { return job.client + 1.0; };
  for (int32_t client = 0; client < 2; ++client) clients.train(clients.part(1, client));
  clients.local->merged(clients.learner, {0, 1});
  const double a = (8 * 2 + 16 * 3) / 24.0;
  CHECK(clients.model_of(0, all(9)).at("0.0a") == Approx(a));
  CHECK(clients.model_of(0, all(9)).size() == 2 * 3 + 1);
  CHECK(clients.part(2, 0).job.trained.frozen_experts == 0);
}

// Three clients in the last round of the warm-up: three pairs of B of 2 x 4 x 2 elements.
TEST_CASE("FedLEASE: the server compares the B of all pairs once") {
  Clients clients(clustered(2, 2));
  WorkloadSpec spec;
  spec.timed = nn::decoder_architecture(2, 4, 1, 1, 4, 8, 5);
  spec.learning_layers = 2;
  spec.adapter = {.rank = 2, .targets = {nn::Target::kQ}, .router = nn::Router::kAdaptive};
  spec.batch_rows = spec.sequence_tokens = 1;
  const Workload workload(spec);
  const auto work = [&](const Part& part) {
    return clients.local->merge_work(
        workload, {{0, 8, {}, part.up}, {1, 8, {}, part.up}, {2, 8, {}, part.up}});
  };
  const auto round = [&](int64_t number) {
    for (int32_t client = 0; client < 3; ++client) clients.train(clients.part(number, client));
    clients.local->merged(clients.learner, {0, 1, 2});
  };
  const Part warm = clients.part(1, 0, {{2, 2}, {2, 2}});
  CHECK(work(warm).forward_flops == 0);
  round(1);
  CHECK(work(warm).forward_flops == 3 * 6 * 2 * 4 * 2);
  CHECK(work(warm).memory_bytes == 3 * 2 * (2 * 4 * 2) * 4);
  // Two of them now, the third known from before: the same pairs.
  CHECK(clients.local->merge_work(workload, {{0, 8, {}, warm.up}, {1, 8, {}, warm.up}})
            .forward_flops == 3 * 6 * 2 * 4 * 2);
  round(2);
  CHECK(work(warm).forward_flops == 0);
  // An expert and a router of three outputs up; two experts and the router down.
  const Part later = clients.part(3, 0, {{2, 2}, {2, 2}});
  const int64_t pair = 2 * 4 + 4 * 2, layers = 2;
  const bool two = later.down.experts.begin()->second.size() == 2;
  CHECK(workload.elements(later.up) == layers * (pair + (two ? 3 : 1) * 4));
  CHECK(workload.elements(later.down) == layers * ((two ? 2 : 1) * pair + (two ? 3 : 1) * 4));
}

}  // namespace
}  // namespace fedclock::federation
