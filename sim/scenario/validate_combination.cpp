// Which answers make no sense together, and why. All others can be combined.
#include <fmt/format.h>

#include "sim/scenario/check.h"

namespace fedclock::scenario {
namespace {

// One end of a range of whole numbers, where the model says it.
void at_most(const Fields& holder, std::string_view name, const std::optional<int64_t>& most,
             const char* what) {
  if (!most || !holder.has(name) || holder.number(name) <= static_cast<double>(*most)) return;
  holder.problem(name, fmt::format("must be at most {}, the model's {}", *most, what));
}

class Combination {
 public:
  Combination(const v1::Scenario& scenario, Problems& problems)
      : scenario_(scenario), f_(scenario.federation()), problems_(problems) {}

  void check() {
    check_hierarchical();
    check_alone();
    check_products();
    check_bases();
    check_scaffold();
    check_experts();
    check_prompt();
    check_own_mixtures();
    check_mutual();
    check_after_training();
    if (f_.selection().has_all() && f_.schedule().deadline().over_selection() > 1) {
      refuse("federation.schedule.deadline.over_selection",
             "chooses more clients than the selection, which already takes all: select some of "
             "them, or leave it out");
    }
    const bool head_stays = f_.local().has_shared_a() || has_own_mixtures();
    if (head_stays && f_.assignment().uniform().has_depth() &&
        f_.assignment().uniform().depth() == 0) {
      refuse("federation.assignment.uniform.depth",
             fmt::format("0 tunes the head alone, which {} keeps at home: nothing would travel; "
                         "tune a layer",
                         kind_of_local()));
    }
    if (f_.local().has_alternating() && merges_stale_updates()) {
      refuse("federation.local",
             "alternating trains one factor in each round, and updates of earlier rounds would "
             "bring the other one: write plain {}, or a schedule that waits for all");
    }
    if (f_.local().has_alternating() && f_.aggregation().has_server_optimizer()) {
      refuse("federation.aggregation.server_optimizer",
             "goes on moving the factor that the round holds still: leave it out, with a method "
             "that has none (fedit)");
    }
    const bool single = f_.schedule().has_asynchronous() || f_.schedule().buffered().size() == 1;
    if (f_.aggregation().has_padded() && single) {
      refuse("federation.aggregation",
             "padded pads a single update with zeros, which would erase the rows of the global "
             "adapter that it does not have: write mean {}, or merge several with buffered");
    }
  }

 private:
  // Whether updates that began in an earlier round are merged.
  bool merges_stale_updates() const {
    const v1::Schedule& schedule = f_.schedule();
    return schedule.has_asynchronous() || schedule.has_buffered() ||
           schedule.deadline().late() == v1::Deadline::USED;
  }

  // Whether each client mixes experts of its own kind: an individual one beside others'.
  bool has_own_mixtures() const {
    return f_.local().has_rest_of_world() || f_.local().has_clustered_experts();
  }

  std::string kind_of_local() const { return answer_at("federation.local"); }

  // At the place of an answer that the method gave, and not the scenario, the reason says so.
  void refuse(const std::string& path, const std::string& reason) {
    if (problems_.covers(path)) return;
    const std::string answer = answer_at(path);
    const bool given = answer.empty() || problems_.is_written(join_path(path, answer));
    problems_.add(path, "",
                  given ? reason
                        : fmt::format("{} ({} is the answer of method \"{}\")", reason, answer,
                                      scenario_.method()));
  }

  // The kind that one of the five questions is answered with; empty for other places.
  std::string answer_at(const std::string& path) const {
    constexpr std::string_view kStart = "federation.";
    if (!path.starts_with(kStart)) return {};
    const auto* question = f_.GetDescriptor()->FindFieldByName(path.substr(kStart.size()));
    if (question == nullptr) return {};
    const auto& message = f_.GetReflection()->GetMessage(f_, question);
    const auto* kind = message.GetDescriptor()->FindOneofByName("kind");
    const auto* chosen = message.GetReflection()->GetOneofFieldDescriptor(message, kind);
    return chosen == nullptr ? "" : chosen->name();
  }

  void check_hierarchical() {
    const v1::Hierarchical& schedule = f_.schedule().hierarchical();
    if (f_.assignment().has_joint()) {
      if (!f_.schedule().has_hierarchical()) {
        refuse("federation.assignment",
               "joint chooses depth and frequency of groups, which only a hierarchical schedule "
               "has: write schedule { hierarchical { near_iid {} } }");
      } else if (schedule.has_intra_rounds()) {
        refuse("federation.schedule.hierarchical.intra_rounds",
               "is chosen by assignment.joint: remove it, or write joint { fixed_frequency: ... }");
      }
    }
    if (!f_.schedule().has_hierarchical()) return;
    const bool gateway = schedule.aggregator() == v1::Hierarchical::GATEWAY;
    if (scenario_.platform().has_simgrid() && (gateway || schedule.has_by_gateway())) {
      refuse("federation.schedule.hierarchical",
             "asks for gateways, which a SimGrid platform file does not name: group otherwise, and "
             "let the aggregator be SERVER or DEVICE");
      return;
    }
    if (gateway && !schedule.has_by_gateway()) {
      refuse("federation.schedule.hierarchical.aggregator",
             "GATEWAY merges what is behind one gateway: write by_gateway {} as the grouping, or "
             "aggregator: SERVER");
      return;
    }
    for (int i = 0; i < scenario_.platform().devices_size(); ++i) {
      const auto& network = scenario_.platform().devices(i).network();
      const std::string path = item_path("platform.devices", i) + ".network.gateway";
      if (schedule.has_by_gateway() && !network.has_gateway()) {
        refuse(path,
               fmt::format("is missing: the schedule groups devices by their gateways{}; write "
                           "network {{ gateway {{ name: \"edge\" ...{} }} }}, or another grouping",
                           gateway ? " and merges there" : "",
                           gateway ? " profile: \"jetson-agx-orin\"" : ""));
      } else if (gateway && !network.gateway().has_device()) {
        refuse(path,
               "computes nothing, and the schedule merges there: write its `profile` or "
               "`device`");
      }
    }
  }

  // References that merge nothing.
  void check_alone() {
    const bool central = f_.schedule().has_centralized();
    if (!central && !f_.schedule().has_local_only()) return;
    const char* name = central ? "centralised training" : "local_only";
    const v1::Local& local = f_.local();
    if (!local.has_plain() && !local.has_proximal() && !local.has_frozen_a() &&
        !local.has_alternating()) {
      refuse("federation.local", fmt::format("is about what clients and server exchange, and {} "
                                             "exchanges nothing: write plain {{}}",
                                             name));
    }
    const v1::Assignment& assignment = f_.assignment();
    if (assignment.has_fisher() || assignment.has_joint() || assignment.has_experts() ||
        (central && !assignment.has_uniform() && !assignment.has_prompt())) {
      refuse("federation.assignment",
             fmt::format("gives each client what suits it in a federation; "
                         "{} has none: write uniform {{}}",
                         name));
    }
    if (f_.selection().has_oort()) {
      refuse("federation.selection",
             fmt::format("oort learns from what clients send; in {} they send nothing", name));
    }
    if (!f_.aggregation().has_mean() || f_.aggregation().has_server_optimizer()) {
      refuse("federation.aggregation",
             fmt::format("has nothing to merge in {}: leave it out", name));
    }
  }

  // Aggregations of products B A.
  void check_products() {
    const v1::Aggregation& aggregation = f_.aggregation();
    if (aggregation.has_mean()) return;
    const v1::Local& local = f_.local();
    if (local.has_frozen_a() || local.has_alternating() || local.has_shared_a()) {
      refuse("federation.aggregation",
             "needs both factors of each adapter, and the local training sends one of them: write "
             "mean {}");
    }
  }

  // Aggregations after which the factors are other ones.
  void check_bases() {
    const bool svd = f_.aggregation().has_svd();
    const bool stacked = f_.aggregation().has_stacked();
    if (!svd && !stacked) return;
    const char* why = svd ? "svd gives the factors a new basis at every merge"
                          : "stacked begins with fresh adapters after every merge";
    if (f_.aggregation().has_server_optimizer()) {
      refuse("federation.aggregation.server_optimizer",
             fmt::format(
                 "follows the factors from merge to merge, and {}: leave it out, with a method "
                 "that has none (fedit)",
                 why));
    }
    if (f_.schedule().has_asynchronous() || f_.schedule().has_buffered()) {
      refuse("federation.aggregation",
             fmt::format("{}: an update that began earlier cannot be carried over: write mean {{}}",
                         why));
    }
    if (f_.local().has_private_beside_shared()) {
      refuse("federation.aggregation",
             fmt::format("{}: a private adapter of an earlier round cannot be mixed with it: write "
                         "mean {{}}",
                         why));
    }
    if (stacked && f_.local().has_mutual()) {
      refuse(
          "federation.aggregation",
          fmt::format("{}, merged into the base of the private model too: write mean {{}}", why));
    }
    if (stacked && f_.local().has_self_pruning()) {
      refuse("federation.local.self_pruning",
             "compares an adapter's tail before and after training, and stacked begins each round "
             "with fresh ones, whose tail is nothing: write plain {}, or padded {}");
    }
    if (stacked && f_.schedule().has_hierarchical()) {
      refuse("federation.aggregation",
             "stacked changes the base at every merge: groups would train on different bases; "
             "write another aggregation");
    }
  }

  void check_experts() {
    if (!f_.assignment().has_experts()) {
      if (f_.local().load_balance() > 0 && problems_.is_written("federation.local.load_balance")) {
        refuse("federation.local.load_balance",
               "is about mixtures of experts, and there are none: leave it out, or write "
               "assignment { experts {} }");
      }
      return;
    }
    const v1::Local& local = f_.local();
    if (!local.has_plain() && !local.has_proximal() && !local.has_frozen_a()) {
      refuse("federation.local",
             "keeps or compares adapters from round to round, and with assignment.experts a client "
             "holds other ones in every round: write plain {}");
    }
    if (!f_.aggregation().has_mean()) {
      refuse("federation.aggregation",
             "merges one adapter of each module, and experts are averaged over those that hold "
             "them: write mean {}");
    }
    if (f_.schedule().has_hierarchical() || merges_stale_updates()) {
      refuse("federation.schedule",
             "merges updates of different assignments, and experts choose among all clients once a "
             "round: write synchronous {}, or a deadline that drops late updates");
    }
  }

  void check_prompt() {
    if (!f_.assignment().has_prompt()) return;
    const v1::Local& local = f_.local();
    if (local.has_frozen_a() || local.has_alternating() || local.has_shared_a() ||
        local.has_self_pruning() || has_own_mixtures()) {
      refuse("federation.local",
             "is about the factors of adapters, and a soft prompt has none: write plain {}");
    }
    if (!f_.aggregation().has_mean()) {
      refuse("federation.aggregation",
             "merges products of adapters, and a soft prompt has none: write mean {}");
    }
  }

  void check_own_mixtures() {
    if (!has_own_mixtures()) return;
    const std::string kind = kind_of_local();
    const v1::Assignment& assignment = f_.assignment();
    if (!assignment.has_uniform() && !assignment.has_experts() && !assignment.has_prompt()) {
      refuse("federation.assignment",
             fmt::format("gives clients adapters of different layers or ranks, and {} mixes each "
                         "one's with others': write uniform {{}}",
                         kind));
    }
    if (!f_.aggregation().has_mean() || f_.aggregation().has_server_optimizer()) {
      refuse("federation.aggregation",
             fmt::format("changes what is merged for all, and with {} each client is sent what is "
                         "merged for it: write mean {{}}, without server_optimizer",
                         kind));
    }
    if (f_.schedule().has_hierarchical() || merges_stale_updates()) {
      refuse("federation.schedule",
             fmt::format("merges for groups, or updates of earlier rounds, and {} trains beside "
                         "what all sent in the round before: write synchronous {{}}, or a deadline "
                         "that drops late updates",
                         kind));
    }
    if (assignment.uniform().when_too_large() == v1::UniformAssignment::SHRINK_DEPTH) {
      refuse("federation.assignment.uniform.when_too_large",
             "SHRINK_DEPTH trains some of the layers that a client holds, and the mixtures of the "
             "others cannot be merged into the base: write REFUSE or LEAVE_OUT");
    }
  }

  // Adapters that are held and not tuned are counted as merged into the base, which is one for both
  // models.
  void check_mutual() {
    if (!f_.local().has_mutual()) return;
    const v1::Assignment& assignment = f_.assignment();
    if (assignment.has_fisher() || assignment.has_joint() ||
        (assignment.has_capacity() && assignment.capacity().whole_download() &&
         assignment.capacity().depth_shares_size() > 0)) {
      refuse("federation.assignment",
             "gives clients layers that they hold and do not tune, and with mutual the two models "
             "would differ there: write uniform {}, or capacity with whole_download: false");
    }
    if (assignment.uniform().when_too_large() == v1::UniformAssignment::SHRINK_DEPTH) {
      refuse("federation.assignment.uniform.when_too_large",
             "SHRINK_DEPTH trains some of the layers that a client holds, and with mutual the two "
             "models would differ in the others: write REFUSE or LEAVE_OUT");
    }
  }

  // Whose own model is not what local training leaves.
  void check_after_training() {
    if (!scenario_.evaluation().after_training()) return;
    const v1::Schedule& schedule = f_.schedule();
    const bool alone = schedule.has_centralized() || schedule.has_local_only();
    if (alone || f_.local().has_private_beside_shared() || f_.local().has_mutual() ||
        has_own_mixtures()) {
      refuse("evaluation.after_training",
             fmt::format("is about what clients have before a merge, and {}: leave it out",
                         schedule.has_centralized()  ? "centralised training has no clients"
                         : schedule.has_local_only() ? "local_only never merges"
                         : f_.local().has_mutual()
                             ? "mutual measures the private model mixed with the merged one"
                         : has_own_mixtures()
                             ? kind_of_local() + " measures each client's own adapter beside those "
                                                 "of the others"
                             : "private_beside_shared measures the private adapter fused with the "
                               "merged one"));
    }
  }

  void check_scaffold() {
    const v1::Local& local = f_.local();
    if (!local.has_scaffold()) return;
    if (local.optimizer() != v1::SGD || local.momentum() > 0 || local.weight_decay() > 0 ||
        local.clip_norm() > 0) {
      refuse("federation.local.scaffold",
             "corrects plain SGD steps: write optimizer: SGD, without momentum, weight_decay and "
             "clip_norm");
    }
    const bool shrinks =
        f_.assignment().uniform().when_too_large() == v1::UniformAssignment::SHRINK_DEPTH;
    if ((!f_.assignment().has_uniform() && !f_.assignment().has_prompt()) || shrinks) {
      refuse("federation.local.scaffold",
             "has control variates of one shape for all: write assignment { uniform {} }, without "
             "SHRINK_DEPTH");
    }
    if (f_.aggregation().has_svd() || f_.aggregation().has_stacked()) {
      refuse("federation.local.scaffold",
             "follows the factors from round to round, and the aggregation gives them a new basis: "
             "write mean {}");
    }
  }

  const v1::Scenario& scenario_;
  const v1::Federation& f_;
  Problems& problems_;
};

// The default needs its room too.
void check_prompt_room(const v1::Scenario& scenario, int64_t max_tokens, Problems& problems) {
  const std::string path = "federation.assignment.prompt.tokens";
  const v1::PromptAssignment& prompt = scenario.federation().assignment().prompt();
  const int64_t of_rows = scenario.task().max_tokens(), left = max_tokens - of_rows;
  if (problems.covers(path) || left < 0 || prompt.tokens() <= left) return;
  problems.add(path,
               fmt::format("{}{}", prompt.tokens(), prompt.has_tokens() ? "" : " (the default)"),
               fmt::format("the model reads {} tokens, of which rows have up to {} "
                           "(task.max_tokens): {} are left; shorten one, or give the model more",
                           max_tokens, of_rows, left));
}

}  // namespace

void check_combination(const v1::Scenario& scenario, Problems& problems) {
  Combination(scenario, problems).check();
}

void check_assignment_against(const v1::Scenario& scenario, const ModelSize& model,
                              Problems& problems) {
  const auto& [layers, width, max_tokens] = model;
  const v1::Assignment& answer = scenario.federation().assignment();
  const Fields assignment(answer, "federation.assignment", problems);
  if (answer.has_uniform()) {
    const Fields uniform = assignment.child("uniform");
    if (layers) {
      uniform.within("depth", 0, static_cast<double>(*layers),
                     fmt::format("the model has {} layers; leave it out to tune all", *layers));
    } else {
      uniform.at_least("depth", 0, "0 tunes the head only");
    }
    at_most(uniform, "rank", width, "width");
  }
  if (answer.has_capacity()) {
    const Fields capacity = assignment.child("capacity");
    for (const char* name : {"lowest_rank", "highest_rank"}) {
      capacity.at_least(name, 1);
      at_most(capacity, name, width, "width");
    }
    for (int i = 0; i < answer.capacity().ranks_size(); ++i) {
      const int64_t rank = answer.capacity().ranks(i);
      const std::string path = item_path(capacity.path("ranks"), i);
      if (problems.covers(path) || (rank >= 1 && (!width || rank <= *width))) continue;
      problems.add(path, fmt::format("{}", rank),
                   width ? fmt::format("must be from 1 to {}, the model's width", *width)
                         : "must be at least 1");
    }
  }
  if (answer.has_joint()) {
    const Fields joint = assignment.child("joint");
    for (const char* name : {"least_depth", "fixed_depth"}) {
      joint.at_least(name, 1);
      at_most(joint, name, layers, "layers");
    }
  }
  if (answer.has_prompt() && max_tokens) check_prompt_room(scenario, *max_tokens, problems);
}

std::vector<std::string> needs_numbers(const v1::Scenario& scenario) {
  const v1::Federation& f = scenario.federation();
  std::vector<std::string> fields;
  if (f.selection().has_oort()) fields.emplace_back("federation.selection.oort");
  if (f.assignment().has_fisher()) fields.emplace_back("federation.assignment.fisher");
  if (f.assignment().has_joint()) fields.emplace_back("federation.assignment.joint");
  const v1::Assignment& assignment = f.assignment();
  if (assignment.has_experts() && assignment.experts().choice() == v1::ExpertAssignment::SCORES) {
    fields.emplace_back("federation.assignment.experts");
  }
  if (f.local().has_clustered_experts()) {
    fields.emplace_back("federation.local.clustered_experts");
  }
  if (f.local().has_self_pruning()) fields.emplace_back("federation.local.self_pruning");
  return fields;
}

}  // namespace fedclock::scenario
