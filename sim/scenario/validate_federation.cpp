// Checks of the federation's five answers, and of when the run measures and ends.
#include <fmt/format.h>

#include <limits>

#include "sim/scenario/check.h"

namespace fedclock::scenario {
namespace {

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

// Of two fields that say the same in two ways, exactly one is needed.
bool require_one(const Fields& fields, std::string_view first, std::string_view second,
                 std::string_view what) {
  if (fields.has(first) && fields.has(second)) {
    fields.problem(second,
                   fmt::format("only one of `{}` and `{}` can be set; remove one", first, second));
    return false;
  }
  if (fields.has(second)) return true;
  return fields.require(first, fmt::format("write `{}` or `{}`: {}", first, second, what));
}

void check_selection(const v1::Scenario& scenario, const Fields& selection) {
  if (!scenario.federation().selection().has_random()) return;
  const Fields random = selection.child("random");
  require_one(random, "count", "fraction", "how many clients take part in a round");
  const int64_t clients = client_count(scenario);
  if (clients > 0) {
    random.within("count", 1, static_cast<double>(clients),
                  fmt::format("the platform has {} devices", clients));
  }
  const double fraction = random.number("fraction");
  random.above("fraction", 0, 1, unit_hint(fraction, 100, 0.0001, 1, "percent", "a share of 1"));
}

void check_local(const v1::Local& answer, const Fields& local) {
  require_one(local, "steps", "epochs", "how long a client trains in a round");
  local.at_least("steps", 1);
  local.at_least("epochs", 1);
  local.at_least("batch_size", 1);
  local.above("learning_rate", 0, 10);
  local.above("learning_rate_decay", 0, 1,
              "it is the factor for each round; 0.99 takes off one percent a round");
  local.within("weight_decay", 0, 1);
  local.at_least("clip_norm", 0, "0 means never");
  if (local.within("momentum", 0, 0.9999) && answer.momentum() > 0 &&
      answer.optimizer() == v1::ADAMW) {
    local.problem("momentum", "is SGD's; ADAMW has its own; remove it or write optimizer: SGD");
  }
}

}  // namespace

void check_federation(const v1::Scenario& scenario, Problems& problems) {
  const Fields federation(scenario.federation(), "federation", problems);
  check_selection(scenario, federation.child("selection"));
  if (scenario.federation().assignment().has_uniform()) {
    const Fields uniform = federation.child("assignment").child("uniform");
    if (const auto layers = learning_layers(scenario)) {
      uniform.within("depth", 0, static_cast<double>(*layers),
                     fmt::format("the model has {} layers; leave it out to tune all", *layers));
    } else {
      uniform.at_least("depth", 0, "0 tunes the head only");
    }
    check_rank(scenario, uniform);
  }
  check_local(scenario.federation().local(), federation.child("local"));
  if (scenario.federation().schedule().has_synchronous() && client_count(scenario) > 0) {
    const Fields synchronous = federation.child("schedule").child("synchronous");
    synchronous.within("min_reachable", 1, static_cast<double>(client_count(scenario)),
                       fmt::format("the platform has {} devices", client_count(scenario)));
    synchronous.at_least("max_attempts", 1);
  }
}

void check_ends(const v1::Scenario& scenario, Problems& problems) {
  const Fields all(scenario, "", problems);
  if (scenario.has_evaluation()) {
    const Fields evaluation = all.child("evaluation");
    evaluation.at_least("every_rounds", 0, "0 means the last round only");
    evaluation.at_least("clients_every_rounds", 0, "0 means the last round only");
    evaluation.at_least("batch_size", 1);
    if (scenario.evaluation().clients_every_rounds() > 0 &&
        scenario.task().client_test_fraction() == 0) {
      evaluation.problem("clients_every_rounds",
                         "clients have no test rows: task.client_test_fraction is 0");
    }
  }
  if (!all.require("stop", "write when the run ends: stop { rounds: 20 }")) return;
  const Fields stop = all.child("stop");
  const bool named = problems.covers("stop.rounds") || problems.covers("stop.simulated_s");
  if (!stop.has("rounds") && !stop.has("simulated_s") && !named) {
    problems.add("stop", scenario.stop().has_accuracy() ? "accuracy only" : "not set",
                 "has no condition that every run reaches; write `rounds` or `simulated_s` in it");
  }
  stop.within("rounds", 1, 1e9);
  stop.above("simulated_s", 0, kNoLimit);
  const double accuracy = stop.number("accuracy");
  stop.above("accuracy", 0, 1, unit_hint(accuracy, 100, 0, 1, "percent", "a share of 1"));
  if (stop.has("accuracy") && scenario.evaluation().every_rounds() == 0) {
    stop.problem("accuracy",
                 "is never measured before the end: evaluation.every_rounds is 0; write 1 there");
  }
}

}  // namespace fedclock::scenario
