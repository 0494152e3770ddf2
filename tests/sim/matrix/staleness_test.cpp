// What becomes of updates in whole runs, by hand: a board's training adds 1 to everything, a large
// board's 10. When which update comes, and how stale, is in tests/sim/federation/
// asynchronous_test.cpp; what is looked at here is the head, which is 3 in the beginning.
#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>
#include <cmath>
#include <string>
#include <vector>

#include "sim/federation/schedule/schedule.h"
#include "sim/federation/schedule/staleness.h"
#include "tests/sim/federation/parts.h"
#include "tests/sim/federation/recording_learner.h"

namespace fedclock::federation {
namespace {

using test::RecordingLearner;

// tests/data/good/tiny.textproto with a learner of hand arithmetic; in a child.
void run(const std::vector<std::string>& overrides, RecordingLearner& learner) {
  const experiment::Experiment experiment(
      scenario::load_and_validate(test::tiny_scenario(), {.overrides = overrides, .library = {}}),
      test::timing_only());
  const v1::Scenario& s = experiment.scenario();
  const v1::Federation& f = s.federation();
  const auto count = static_cast<int32_t>(experiment.clients().size());
  const learning::Share share = experiment.whole_share();
  // As slow as test::kSlowServer.
  const cost::Machine server{"server", 20e12, 0.5, 1e7, 80e9, 0.001};
  const std::vector<std::unique_ptr<cost::Machine>> gateways;
  AssignmentInputs assignment;
  assignment.layers = std::ssize(share.ranks);
  assignment.rank = 4;
  const LocalInputs local{.seed = s.seed(),
                          .clients = count,
                          .participants = count,
                          .initial = learner.initial(share, s.seed()),
                          .learner = &learner,
                          .rows = {},
                          .targets = {},
                          .mean_by_rows = false};
  kernel::Simulation simulation;
  platform::Platform world(simulation, experiment.platform());
  results::Recorder recorder(learner, {});
  Federation federation{
      .scenario = s,
      .clients = experiment.clients(),
      .server = &server,
      .gateways = gateways,
      .answers = {.selection = make_selection(f.selection(), count, s.seed(), learner),
                  .assignment = make_assignment(f.assignment(), std::move(assignment)),
                  .local = make_local(f.local(), local),
                  .aggregation = make_aggregation(
                      f.aggregation(),
                      {.seed = s.seed(), .clients = count, .global_ranks = share.ranks}),
                  .server_optimizer = ServerOptimizer(f.aggregation().server_optimizer())},
      .workload = experiment.workload(),
      .simulation = simulation,
      .platform = world,
      .learner = learner,
      .recorder = recorder,
      .initial_share = share,
      .stop_reason = {},
      .last_states = {}};
  const auto job = [&]() -> kernel::Task<void> { co_await run_schedule(federation); };
  simulation.run(job(), "the federation");
}

// Numbers of such a run of one board (client 0) and one large board.
std::vector<double> numbers_of(
    const std::vector<std::string>& more, int rounds,
    const std::function<std::vector<double>(const RecordingLearner&)>& look) {
  const auto overrides =
      test::with(test::boards(1, 1),
                 test::with({"federation.selection={all:{}}",
                             "federation.aggregation={mean:{weight_by_rows:false}}",
                             "evaluation.every_rounds=1", "evaluation.clients_every_rounds=0",
                             "stop.rounds=" + std::to_string(rounds)},
                            more));
  const test::Forked forked = test::run_forked([&] {
    RecordingLearner learner;
    learner.step = [](const learning::TrainJob& job) { return job.client == 0 ? 1.0 : 10.0; };
    run(overrides, learner);
    return look(learner);
  });
  REQUIRE(forked.error == "");
  return forked.values;
}

// The head after each round, less 3.
void check_heads(const std::string& schedule, const std::vector<double>& expected,
                 const std::string& server_optimizer = "") {
  CAPTURE(schedule, server_optimizer);
  const auto heads =
      numbers_of({"federation.schedule={" + schedule + "}",
                  "federation.aggregation={mean:{weight_by_rows:false} " + server_optimizer + "}"},
                 static_cast<int>(expected.size()), [](const RecordingLearner& learner) {
                   std::vector<double> heads;
                   for (const test::Flat& state : learner.evaluated)
                     heads.push_back(state.at("head") - 3);
                   return heads;
                 });
  REQUIRE(heads.size() == expected.size() + 1);
  CHECK(heads[0] == 0);
  for (size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    CHECK(heads[i + 1] == Approx(expected[i]).epsilon(1e-6).margin(5e-7));  // float32
  }
}

TEST_CASE("staleness: factors") {
  const auto factors = [](const v1::Staleness& staleness) {
    std::vector<double> factors;
    for (int tau = 0; tau <= 6; ++tau) factors.push_back(staleness_factor(staleness, tau));
    return factors;
  };
  const auto check = [&](const v1::Staleness& staleness, const std::vector<double>& expected) {
    CAPTURE(staleness.ShortDebugString());
    const std::vector<double> found = factors(staleness);
    for (size_t tau = 0; tau < expected.size(); ++tau) {
      CAPTURE(tau);
      CHECK(found[tau] == Approx(expected[tau]).epsilon(1e-12));
    }
  };
  v1::Staleness staleness;
  check(staleness, std::vector<double>(7, 1));
  staleness.mutable_constant();
  check(staleness, std::vector<double>(7, 1));
  staleness.mutable_polynomial();
  check(staleness, {1, 1 / std::sqrt(2), 1 / std::sqrt(3), 0.5, 1 / std::sqrt(5), 1 / std::sqrt(6),
                    1 / std::sqrt(7)});
  staleness.mutable_polynomial()->set_a(2);
  check(staleness, {1, 1 / 4.0, 1 / 9.0, 1 / 16.0, 1 / 25.0, 1 / 36.0, 1 / 49.0});
  staleness.mutable_polynomial()->set_a(0);
  check(staleness, std::vector<double>(7, 1));
  staleness.mutable_hinge();
  check(staleness, {1, 1, 1, 1, 1, 1 / 11.0, 1 / 21.0});
  staleness.mutable_hinge()->set_a(3);
  staleness.mutable_hinge()->set_b(1.5);
  check(staleness, {1, 1, 1 / 2.5, 1 / 5.5, 1 / 8.5, 1 / 11.5, 1 / 14.5});
}

// L is merged in rounds 1, 3, 5, 6, with tau 0, 1, 1, 0, the board in rounds 2, 4, 7, with 1, 1, 2.
// A part that is tau old in round r began with x_(r - tau - 1).
TEST_CASE("FedAsync: x + alpha s(tau) (x_new - x)") {
  // s = 1 / (tau + 1): factors 1/2, 1/4 and 1/6.
  check_heads("asynchronous:{mixing:0.5 staleness:{polynomial:{a:1}}}",
              {
                  5,                                    // 10 / 2
                  4,                                    // 5 + (0 + 1 - 5) / 4
                  6.75,                                 // 4 + (5 + 10 - 4) / 4
                  6.3125,                               // 6.75 + (4 + 1 - 6.75) / 4
                  8.921875,                             // 6.3125 + (6.75 + 10 - 6.3125) / 4
                  13.921875,                            // 8.921875 + 10 / 2
                  13.921875 - (13.921875 - 7.3125) / 6  // x_4 + 1 = 7.3125
              });
  // Constant, if nothing is said.
  check_heads("asynchronous:{mixing:0.5}", {5, 3, 9, 6.5});
  // Updates take the place of the state.
  check_heads("asynchronous:{mixing:1}", {10, 1, 20, 2});
  check_heads("asynchronous:{mixing:1 staleness:{hinge:{a:1 b:0}}}", {10, 5.5, 12.75, 9.625});
}

// Merged are L and the board, both fresh; L, of x_0, and the board, fresh; L twice, of x_1 and x_2.
TEST_CASE("FedBuff: the mean of x + s(tau) (x_new - x_start)") {
  check_heads("buffered:{size:2 staleness:{polynomial:{a:1}}}",
              {5.5, 5.5 + (5 + 1) / 2.0, 8.5 + (5 + 10) / 2.0});
  check_heads("buffered:{size:2 staleness:{constant:{}}}",
              {5.5, 5.5 + (10 + 1) / 2.0, 11 + (10 + 10) / 2.0});
  // 1 / sqrt(1 + tau), if nothing is said.
  const double stale = 10 / std::sqrt(2);
  check_heads("buffered:{size:2}",
              {5.5, 5.5 + (stale + 1) / 2, 5.5 + (stale + 1) / 2 + (stale + 10) / 2});
}

TEST_CASE("a synchronous round merges the mean, and the server optimiser steps from it") {
  check_heads("synchronous:{}", {5.5, 11, 16.5});
  // m = 5.5, then 0.5 m + 5.5; eta 2.
  check_heads("synchronous:{}", {11, 11 + 2 * 8.25},
              "server_optimizer:{kind:MOMENTUM momentum:0.5 learning_rate:2}");
  // 0.9 and 1, if nothing is said; and Nesterov's d + 0.9 m.
  check_heads("synchronous:{}", {5.5, 5.5 + 10.45}, "server_optimizer:{kind:MOMENTUM}");
  check_heads("synchronous:{}", {10.45}, "server_optimizer:{kind:NESTEROV}");
  // eta m / (sqrt v + tau): eta 0.01, m = 0.1 d, v = 0.99 tau^2 + 0.01 d^2, tau 0.001.
  check_heads("synchronous:{}", {0.01 * 0.55 / (std::sqrt(0.99e-6 + 0.3025) + 0.001)},
              "server_optimizer:{kind:ADAM}");
  // v = tau^2 + 0.01 d^2: that of Yogi's grows.
  check_heads("synchronous:{}", {0.2 * 2.75 / (std::sqrt(1 + 0.5 * 30.25) + 1)},
              "server_optimizer:{kind:YOGI learning_rate:0.2 beta1:0.5 beta2:0.5 tau:1}");
}

TEST_CASE("SCAFFOLD: the server's control moves by those that it has merged") {
  // K eta = 6 x 0.25: c_0 = -1 / 1.5, c_1 = -10 / 1.5, and c what N = 2 of them add up to, by two.
  const auto check = [](const std::string& schedule, int rounds,
                        const std::vector<double>& expected) {
    CAPTURE(schedule);
    auto controls = numbers_of(
        {"federation.schedule={" + schedule + "}",
         "federation.local={scaffold:{} steps:6 batch_size:4 learning_rate:0.25 optimizer:SGD}"},
        rounds, [](const RecordingLearner& learner) {
          std::vector<double> controls;  // of each training the client, c and c_i, times 1.5
          for (const RecordingLearner::Training& one : learner.trainings) {
            controls.push_back(one.job.client);
            for (const test::Flat& control : one.controls) {
              controls.push_back(control.empty() ? 0 : 1.5 * control.at("head"));
            }
          }
          return controls;
        });
    REQUIRE(controls.size() >= expected.size());
    controls.resize(expected.size());
    CHECK_THAT(controls, Catch::Matchers::Approx(expected).epsilon(1e-6));
  };
  // In the order in which they come: the large board, then the board.
  check("synchronous:{}", 2, {1, 0, 0, 0, 0, 0, 1, -5.5, -10, 0, -5.5, -1});
  // The large board's, merged in round 1, makes c -5; the board's, sent 0, in round 2 -5.5. What
  // the large one began between the two was sent -5.
  check("asynchronous:{mixing:0.5}", 5, {1, 0, 0, 0, 0, 0, 1, -5, -10, 1, -5.5, -10, 0, -5.5, -1});
}

TEST_CASE("FedSA: a round measures each client's own model") {
  // A is 1 + 5.5 for both, B and head their own.
  const auto models = numbers_of({"federation.local={shared_a:{} steps:2 batch_size:4}",
                                  "federation.aggregation={mean:{weight_by_rows:false}}"},
                                 1, [](const RecordingLearner& learner) {
                                   std::vector<double> numbers;
                                   for (const test::Flat& model : learner.evaluated) {
                                     for (const char* name : {"1a", "1b", "head"})
                                       numbers.push_back(model.at(name));
                                   }
                                   return numbers;
                                 });
  CHECK(models == std::vector<double>{1, 2, 3, 6.5, 3, 4, 6.5, 12, 13});
}

}  // namespace
}  // namespace fedclock::federation
