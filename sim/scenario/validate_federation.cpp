// Checks of the federation's five answers, and of when the run measures and ends.
#include <fmt/format.h>

#include <limits>
#include <optional>

#include "sim/scenario/check.h"
#include "sim/scenario/expert_bounds.h"

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
  const v1::Selection& answer = scenario.federation().selection();
  if (answer.has_all()) return;
  const Fields some = selection.child(answer.has_oort() ? "oort" : "random");
  require_one(some, "count", "fraction", "how many clients take part in a round");
  const int64_t clients = client_count(scenario);
  if (clients > 0) {
    some.within("count", 1, static_cast<double>(clients),
                fmt::format("the platform has {} devices", clients));
  }
  const double fraction = some.number("fraction");
  some.above("fraction", 0, 1, unit_hint(fraction, 100, 0.0001, 1, "percent", "a share of 1"));
  if (!answer.has_oort()) return;
  some.within("exploration", 0, 1);
  some.within("exploration_decay", 0, 1);
  some.within("least_exploration", 0, 1);
  some.within("penalty", 0, 100);
  some.at_least("pacer_rounds", 1);
  some.above("clip_quantile", 0, 1);
  some.above("round_threshold", 0, 1);
}

void check_shares(const google::protobuf::RepeatedField<double>& shares, const std::string& path,
                  Problems& problems) {
  for (int i = 0; i < shares.size(); ++i) {
    if (shares[i] > 0 && shares[i] <= 1) continue;
    problems.add(item_path(path, i), fmt::format("{}", shares[i]),
                 "must be above 0, up to 1: it is a share of the model's layers");
  }
}

void check_capacity(const v1::CapacityAssignment& answer, const Fields& capacity,
                    Problems& problems) {
  check_shares(answer.depth_shares(), capacity.path("depth_shares"), problems);
  if (answer.has_lowest_rank() != answer.has_highest_rank()) {
    capacity.problem(answer.has_lowest_rank() ? "lowest_rank" : "highest_rank",
                     "is one end of a line of ranks: write `lowest_rank` and `highest_rank`");
  }
  if (!answer.ranks().empty() && answer.has_lowest_rank()) {
    capacity.problem("lowest_rank",
                     "and `ranks` say two things about the ranks: remove one of them");
  }
}

void check_experts(const v1::Scenario& scenario, const Fields& fields) {
  const v1::ExpertAssignment& answer = scenario.federation().assignment().experts();
  const int64_t clients = client_count(scenario);
  bool in_range = fields.within("experts", 1, 10000);
  in_range = fields.within("min_experts", 0, answer.experts()) && in_range;
  in_range = fields.within("max_experts", 1, answer.experts(),
                           fmt::format("`experts` is {}", answer.experts())) &&
             in_range;
  in_range = fields.at_least("choices", 1) && in_range;
  fields.at_least("top_k", 1);
  fields.above("noise_eta", 0, 1e12);
  for (const char* bound : {"min_experts", "max_experts"}) {
    if (!answer.homogeneous() || !fields.has(bound)) continue;
    fields.problem(bound, "is not used with homogeneous, which gives everyone as many: remove it");
  }
  if (!in_range || clients < 1) return;
  const int64_t places = static_cast<int64_t>(answer.experts()) * answer.choices();
  if (answer.choices() > clients) {
    fields.problem("choices", fmt::format("must be at most {}, the platform's devices: an expert "
                                          "chooses a client once",
                                          clients));
  } else if (answer.homogeneous() && places % clients != 0) {
    fields.problem("homogeneous",
                   fmt::format("gives everyone {} experts x {} choices / {} clients, which is not "
                               "whole: change one of them",
                               answer.experts(), answer.choices(), clients));
  } else if (!answer.homogeneous() &&
             !can_match(answer.experts(), clients, expert_bounds(answer, clients))) {
    const bool many = places > clients * answer.max_experts();
    fields.problem(many ? "max_experts" : "min_experts",
                   fmt::format("{} experts that choose {} clients each make {} places, and {} "
                               "clients hold {} {} each, {}: change one of them",
                               answer.experts(), answer.choices(), places, clients,
                               many ? "at most" : "at least",
                               many ? answer.max_experts() : answer.min_experts(),
                               clients * (many ? answer.max_experts() : answer.min_experts())));
  }
  if (answer.choice() != v1::ExpertAssignment::SCORES && answer.has_noise_eta()) {
    fields.problem("noise_eta", "is about embeddings, which only choice: SCORES sends: remove it");
  }
  if (answer.choice() == v1::ExpertAssignment::SCORES &&
      scenario.task().auxiliary_fraction() == 0) {
    fields.problem("choice",
                   "SCORES looks at auxiliary rows, and task.auxiliary_fraction is 0: write 0.05 "
                   "there");
  }
}

void check_prompt(const v1::Scenario& scenario, const Fields& assignment) {
  if (!has_responses(scenario.task())) {
    assignment.problem(
        "prompt",
        "goes before rows that a decoder answers in words, and these are classified: "
        "write `instruction` (or form: INSTRUCTION), or another assignment");
  }
  const Fields prompt = assignment.child("prompt");
  prompt.at_least("tokens", 1);
  prompt.within("encoder", 0, 16, "times the model's width");
}

void check_assignment(const v1::Scenario& scenario, const Fields& assignment, Problems& problems) {
  const v1::Assignment& answer = scenario.federation().assignment();
  if (answer.has_capacity()) {
    check_capacity(answer.capacity(), assignment.child("capacity"), problems);
  }
  if (answer.has_fisher()) {
    const Fields fisher = assignment.child("fisher");
    fisher.require("layer_shares",
                   "write how many layers devices tune, slowest first: layer_shares: [0.5, 1]");
    check_shares(answer.fisher().layer_shares(), fisher.path("layer_shares"), problems);
  }
  if (answer.has_joint()) {
    const Fields joint = assignment.child("joint");
    joint.within("most_frequency", 1, 100);
    joint.within("fixed_frequency", 1, 100);
    joint.within("slack", 0, 1);
    if (answer.joint().has_fixed_depth() &&
        answer.joint().fixed_depth() < answer.joint().least_depth()) {
      joint.problem("fixed_depth", fmt::format("is less than least_depth, {}: lower that, or raise "
                                               "this",
                                               answer.joint().least_depth()));
    }
    joint.above("smoothing", 0, 1);
  }
  if (answer.has_experts()) check_experts(scenario, assignment.child("experts"));
  if (answer.has_prompt()) check_prompt(scenario, assignment);
  if (answer.has_uniform()) check_rank(scenario, assignment.child("uniform"));
  ModelSize model{learning_layers(scenario), {}, {}};
  const v1::Architecture& own = scenario.model().pretrain().architecture();
  if (own.has_width() && own.width() > 0) model.width = own.width();
  if (scenario.model().has_pretrain() && own.max_tokens() > 0) model.max_tokens = own.max_tokens();
  check_assignment_against(scenario, model, problems);
}

void check_clustered(const v1::Scenario& scenario, const Fields& clustered) {
  const int32_t warmup = scenario.federation().local().clustered_experts().warmup_rounds();
  clustered.at_least("warmup_rounds", 1);
  clustered.within("max_experts", 1, 1000);
  if (scenario.stop().has_rounds() && scenario.stop().rounds() <= warmup) {
    clustered.problem("warmup_rounds",
                      fmt::format("{} of the run's {} rounds, which leaves none in which experts "
                                  "are trained: write fewer here, or more in stop.rounds",
                                  warmup, scenario.stop().rounds()));
  }
}

void check_mutual(const v1::Scenario& scenario, const Fields& local) {
  const Fields mutual = local.child("mutual");
  mutual.within("weight_epochs", 0, 1000);
  mutual.above("weight_learning_rate", 0, 1);
  if (scenario.task().auxiliary_fraction() == 0 &&
      scenario.federation().local().mutual().weight_epochs() > 0) {
    local.problem("mutual",
                  "learns the weight of its private model on auxiliary rows, and "
                  "task.auxiliary_fraction is 0: write 0.05 there, or weight_epochs: 0");
  }
}

void check_local_kind(const v1::Local& answer, const Fields& local) {
  if (answer.has_proximal()) local.child("proximal").above("mu", 0, 1000);
  if (answer.has_private_beside_shared()) {
    const Fields own = local.child("private_beside_shared");
    own.at_least("sync_every", 1);
    own.at_least("fusion_rows", 1);
  }
  if (answer.has_self_pruning()) {
    const Fields pruning = local.child("self_pruning");
    pruning.above("gamma", 0, 0.999999, "the rank becomes gamma times what it was");
    pruning.within("lambda", 0, 1000);
    pruning.at_least("least_rank", 1);
  }
}

void check_staleness(const v1::Staleness& answer, const Fields& staleness) {
  if (answer.has_polynomial()) staleness.child("polynomial").within("a", 0, 100);
  if (!answer.has_hinge()) return;
  staleness.child("hinge").above("a", 0, 1000);
  staleness.child("hinge").within("b", 0, 1e9);
}

void check_hierarchical(const v1::Scenario& scenario, const Fields& hierarchical) {
  const v1::Hierarchical& answer = scenario.federation().schedule().hierarchical();
  const auto clients = static_cast<double>(client_count(scenario));
  const std::string why = fmt::format("the platform has {} devices", clients);
  if (answer.grouping_case() == v1::Hierarchical::GROUPING_NOT_SET) {
    hierarchical.problem("near_iid",
                         "write how clients are grouped: near_iid {}, random { groups: "
                         "5 } or by_gateway {}");
  }
  if (answer.has_near_iid()) {
    const Fields near_iid = hierarchical.child("near_iid");
    if (clients > 0) {
      near_iid.within("groups", 1, clients, why);
      near_iid.at_least("most_groups", 1);
    }
    for (const char* other : {"most_groups", "divergence_limit"}) {
      if (!near_iid.has("groups") || !near_iid.has(other)) continue;
      near_iid.problem(other, fmt::format("says nothing beside groups: {}, which fixes their "
                                          "number: leave one of the two out",
                                          answer.near_iid().groups()));
    }
    near_iid.within("divergence_limit", 0, 1);
    near_iid.within("row_balance", 0, 1000);
    near_iid.within("time_balance", 0, 1000);
  }
  if (answer.has_random()) {
    const Fields random = hierarchical.child("random");
    if (random.require("groups", "write how many groups: random { groups: 5 }") && clients > 0) {
      random.within("groups", 1, clients, why);
    }
  }
  hierarchical.within("intra_rounds", 1, 1000);
  hierarchical.at_least("max_attempts", 1);
}

void check_schedule(const v1::Scenario& scenario, const Fields& schedule) {
  const v1::Schedule& answer = scenario.federation().schedule();
  if (answer.has_synchronous() && client_count(scenario) > 0) {
    const Fields synchronous = schedule.child("synchronous");
    synchronous.within("min_reachable", 1, static_cast<double>(client_count(scenario)),
                       fmt::format("the platform has {} devices", client_count(scenario)));
    synchronous.at_least("max_attempts", 1);
  }
  if (answer.has_hierarchical()) check_hierarchical(scenario, schedule.child("hierarchical"));
  if (answer.has_deadline()) {
    const Fields deadline = schedule.child("deadline");
    deadline.within("over_selection", 1, 10, "1.3 chooses 30 percent more");
    deadline.within("deadline_s", 0.001, 1e12);
    deadline.at_least("max_attempts", 1);
  }
  if (answer.has_asynchronous()) {
    const Fields asynchronous = schedule.child("asynchronous");
    asynchronous.above("mixing", 0, 1);
    asynchronous.at_least("most_staleness", 0);
    asynchronous.at_least("max_attempts", 1);
    check_staleness(answer.asynchronous().staleness(), asynchronous.child("staleness"));
  }
  if (answer.has_buffered()) {
    const Fields buffered = schedule.child("buffered");
    if (buffered.require("size", "write how many updates a merge waits for: size: 10")) {
      buffered.within("size", 1, 1e6);
    }
    buffered.at_least("most_staleness", 0);
    buffered.at_least("max_attempts", 1);
    check_staleness(answer.buffered().staleness(), buffered.child("staleness"));
  }
}

void check_server_optimizer(const v1::Aggregation& answer, const Fields& aggregation) {
  if (!answer.has_server_optimizer()) return;
  const Fields optimizer = aggregation.child("server_optimizer");
  optimizer.require("kind", "write MOMENTUM, NESTEROV, ADAM or YOGI");
  optimizer.above("learning_rate", 0, 100);
  optimizer.within("momentum", 0, 0.9999);
  optimizer.within("beta1", 0, 0.9999);
  optimizer.within("beta2", 0, 0.9999);
  optimizer.above("tau", 0, 1);
  const auto kind = answer.server_optimizer().kind();
  const bool adaptive = kind == v1::ServerOptimizer::ADAM || kind == v1::ServerOptimizer::YOGI;
  for (const char* name : {"beta1", "beta2", "tau"}) {
    if (!adaptive && optimizer.has(name))
      optimizer.problem(name, "is ADAM's and YOGI's: remove it");
  }
  if (adaptive && optimizer.has("momentum")) {
    optimizer.problem("momentum", "is MOMENTUM's and NESTEROV's: ADAM and YOGI have beta1");
  }
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
  local.within("load_balance", 0, 1000);
  if (local.within("momentum", 0, 0.9999) && answer.momentum() > 0 &&
      answer.optimizer() == v1::ADAMW) {
    local.problem("momentum", "is SGD's; ADAMW has its own; remove it or write optimizer: SGD");
  }
}

}  // namespace

void check_federation(const v1::Scenario& scenario, Problems& problems) {
  const v1::Federation& answers = scenario.federation();
  const Fields federation(answers, "federation", problems);
  check_selection(scenario, federation.child("selection"));
  check_assignment(scenario, federation.child("assignment"), problems);
  check_local(answers.local(), federation.child("local"));
  check_local_kind(answers.local(), federation.child("local"));
  if (answers.local().has_mutual()) check_mutual(scenario, federation.child("local"));
  if (answers.local().has_clustered_experts()) {
    check_clustered(scenario, federation.child("local").child("clustered_experts"));
  }
  check_schedule(scenario, federation.child("schedule"));
  check_server_optimizer(answers.aggregation(), federation.child("aggregation"));
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
