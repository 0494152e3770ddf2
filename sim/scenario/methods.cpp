#include "sim/scenario/methods.h"

#include <algorithm>
#include <string_view>

#include "sim/scenario/bind.h"
#include "sim/scenario/suggest.h"

namespace fedclock::scenario {
namespace {

// Everyone takes part, all layers are tuned, plain local training, the server waits for all and
// takes the mean (FedIT, Zhang et al., arXiv 2305.05644: FedAvg on LoRA's matrices).
v1::Federation fedit() {
  v1::Federation answers;
  answers.mutable_selection()->mutable_all();
  answers.mutable_assignment()->mutable_uniform();
  answers.mutable_local()->mutable_plain();
  answers.mutable_schedule()->mutable_synchronous();
  answers.mutable_aggregation()->mutable_mean();
  return answers;
}

// A is frozen at its common start; B alone is trained and sent (FFA-LoRA, arXiv 2403.12313).
v1::Federation ffa_lora() {
  v1::Federation answers = fedit();
  answers.mutable_local()->mutable_frozen_a();
  return answers;
}

// B and A in turns (RoLoRA, arXiv 2409.02346).
v1::Federation rolora() {
  v1::Federation answers = fedit();
  answers.mutable_local()->mutable_alternating();
  return answers;
}

// A is shared, B and the head stay at home (FedSA-LoRA, arXiv 2410.01463).
v1::Federation fedsa_lora() {
  v1::Federation answers = fedit();
  answers.mutable_local()->mutable_shared_a();
  return answers;
}

// Ranks by capacity, which prune themselves; zero-padded, weighted by ||B A|| (HetLoRA, arXiv
// 2401.06432).
v1::Federation hetlora() {
  v1::Federation answers = fedit();
  v1::CapacityAssignment& capacity = *answers.mutable_assignment()->mutable_capacity();
  for (const int rank : {2, 4, 8}) capacity.add_ranks(rank);
  answers.mutable_local()->mutable_self_pruning();
  answers.mutable_aggregation()->mutable_padded();
  return answers;
}

// Ranks by capacity; products are merged, and taken apart again (FlexLoRA, arXiv 2402.11505).
v1::Federation flexlora() {
  v1::Federation answers = fedit();
  v1::CapacityAssignment& capacity = *answers.mutable_assignment()->mutable_capacity();
  for (const int rank : {2, 4, 8}) capacity.add_ranks(rank);
  answers.mutable_aggregation()->mutable_svd();
  return answers;
}

// Adapters are stacked and go into the base (FLoRA, arXiv 2409.05976).
v1::Federation flora() {
  v1::Federation answers = fedit();
  answers.mutable_aggregation()->mutable_stacked();
  return answers;
}

// Depth by capacity, rank rising toward the output; devices hold what they tune (LEGEND, arXiv
// 2412.20004).
v1::Federation legend() {
  v1::Federation answers = fedit();
  v1::CapacityAssignment& capacity = *answers.mutable_assignment()->mutable_capacity();
  for (const double share : {0.5, 0.75, 1.0}) capacity.add_depth_shares(share);
  capacity.set_lowest_rank(4);
  capacity.set_highest_rank(12);
  capacity.set_whole_download(false);
  return answers;
}

// Layers drawn by Fisher score, as many as the device's capacity allows (Fed-HeLLo, arXiv
// 2506.12213).
v1::Federation fed_hello() {
  v1::Federation answers = fedit();
  v1::FisherAssignment& fisher = *answers.mutable_assignment()->mutable_fisher();
  for (const double share : {0.25, 0.5, 0.75}) fisher.add_layer_shares(share);
  return answers;
}

// A private adapter beside the shared one; Nesterov steps on the server (FDLoRA, arXiv 2406.07925).
v1::Federation fdlora() {
  v1::Federation answers = fedit();
  answers.mutable_local()->mutable_private_beside_shared();
  answers.mutable_aggregation()->mutable_mean()->set_weight_by_rows(false);
  v1::ServerOptimizer& server = *answers.mutable_aggregation()->mutable_server_optimizer();
  server.set_kind(v1::ServerOptimizer::NESTEROV);
  server.set_learning_rate(1.0);
  server.set_momentum(0.5);
  return answers;
}

// An individual adapter beside the mean of the others' (FedALT, arXiv 2503.11880).
v1::Federation fedalt() {
  v1::Federation answers = fedit();
  answers.mutable_local()->mutable_rest_of_world();
  answers.mutable_aggregation()->mutable_mean()->set_weight_by_rows(false);
  return answers;
}

// An expert for each cluster of clients, mixed by an adaptive router (FedLEASE, arXiv 2509.15087).
v1::Federation fedlease() {
  v1::Federation answers = fedit();
  answers.mutable_local()->mutable_clustered_experts();
  answers.mutable_aggregation()->mutable_mean()->set_weight_by_rows(false);
  return answers;
}

// A private and a shared adapter, trained on each other and mixed (FedAPEN, KDD 2023).
v1::Federation fedapen() {
  v1::Federation answers = fedit();
  answers.mutable_local()->mutable_mutual();
  answers.mutable_aggregation()->mutable_mean()->set_weight_by_rows(false);
  return answers;
}

// A proximal term (FedProx, arXiv 1812.06127).
v1::Federation fedprox() {
  v1::Federation answers = fedit();
  answers.mutable_local()->mutable_proximal();
  return answers;
}

// Control variates, which correct plain SGD steps (SCAFFOLD, arXiv 1910.06378).
v1::Federation scaffold() {
  v1::Federation answers = fedit();
  answers.mutable_local()->mutable_scaffold();
  answers.mutable_local()->set_optimizer(v1::SGD);
  answers.mutable_aggregation()->mutable_mean()->set_weight_by_rows(false);
  return answers;
}

// Optimisers on the server (arXiv 1909.06335, 2003.00295).
v1::Federation with_server_optimizer(v1::ServerOptimizer::Kind kind) {
  v1::Federation answers = fedit();
  answers.mutable_aggregation()->mutable_server_optimizer()->set_kind(kind);
  return answers;
}
v1::Federation fedavgm() { return with_server_optimizer(v1::ServerOptimizer::MOMENTUM); }
v1::Federation fedadam() { return with_server_optimizer(v1::ServerOptimizer::ADAM); }
v1::Federation fedyogi() { return with_server_optimizer(v1::ServerOptimizer::YOGI); }

// Edge servers merge twice before the cloud does (HierFAVG, arXiv 1905.06641).
v1::Federation hierfavg() {
  v1::Federation answers = fedit();
  v1::Hierarchical& schedule = *answers.mutable_schedule()->mutable_hierarchical();
  schedule.mutable_by_gateway();
  schedule.set_aggregator(v1::Hierarchical::GATEWAY);
  schedule.set_intra_rounds(2);
  return answers;
}

// Near-IID groups, each with its depth and its frequency (HierFedLoRA, arXiv 2503.21213).
v1::Federation hierfedlora() {
  v1::Federation answers = fedit();
  answers.mutable_assignment()->mutable_joint();
  answers.mutable_schedule()->mutable_hierarchical()->mutable_near_iid();
  return answers;
}

// Every update is merged when it comes (FedAsync, arXiv 1903.03934).
v1::Federation fedasync() {
  v1::Federation answers = fedit();
  answers.mutable_schedule()->mutable_asynchronous()->mutable_staleness()->mutable_polynomial();
  return answers;
}

// Ten updates are merged at a time (FedBuff, arXiv 2106.06639).
v1::Federation fedbuff() {
  v1::Federation answers = fedit();
  answers.mutable_schedule()->mutable_buffered()->set_size(10);
  answers.mutable_aggregation()->mutable_mean()->set_weight_by_rows(false);
  return answers;
}

// Clients with much loss that are quick, 1.3 times as many as are waited for (Oort, arXiv
// 2010.06081).
v1::Federation oort() {
  v1::Federation answers = fedit();
  answers.mutable_selection()->mutable_oort()->set_fraction(0.1);
  answers.mutable_schedule()->mutable_deadline()->set_over_selection(1.3);
  return answers;
}

// Personal mixtures of LoRA experts, which choose their clients; each is averaged over its holders
// (FedAMoLE, arXiv 2411.19128).
v1::Federation fedamole() {
  v1::Federation answers = fedit();
  answers.mutable_assignment()->mutable_experts();
  answers.mutable_local()->set_load_balance(1e-3);
  answers.mutable_aggregation()->mutable_mean()->set_weight_by_rows(false);
  return answers;
}

// A soft prompt is tuned in place of adapters (FedPrompt, arXiv 2208.12268).
v1::Federation fedprompt() {
  v1::Federation answers = fedit();
  answers.mutable_assignment()->mutable_prompt();
  return answers;
}

// The same with P-tuning's encoder, half as wide as the model as in FedAMoLE's code for
// Llama-3.2-1B (P-tuning, arXiv 2103.10385).
v1::Federation fedptuning() {
  v1::Federation answers = fedprompt();
  answers.mutable_assignment()->mutable_prompt()->set_encoder(0.5);
  return answers;
}

// A reference: the server trains on all rows, as if they had been sent to it.
v1::Federation centralized() {
  v1::Federation answers = fedit();
  answers.mutable_schedule()->mutable_centralized();
  return answers;
}

// A reference: every client trains alone, on its own rows.
v1::Federation local_only() {
  v1::Federation answers = fedit();
  answers.mutable_schedule()->mutable_local_only();
  return answers;
}

struct Method {
  std::string_view name;
  v1::Federation (*answers)();
};

constexpr Method kMethods[] = {
    {"fedit", fedit},
    {"ffa_lora", ffa_lora},
    {"rolora", rolora},
    {"fedsa_lora", fedsa_lora},
    {"hetlora", hetlora},
    {"flexlora", flexlora},
    {"flora", flora},
    {"legend", legend},
    {"fed_hello", fed_hello},
    {"fdlora", fdlora},
    {"fedprox", fedprox},
    {"scaffold", scaffold},
    {"fedavgm", fedavgm},
    {"fedadam", fedadam},
    {"fedyogi", fedyogi},
    {"hierfavg", hierfavg},
    {"hierfedlora", hierfedlora},
    {"fedasync", fedasync},
    {"fedbuff", fedbuff},
    {"oort", oort},
    {"fedamole", fedamole},
    {"fedalt", fedalt},
    {"fedlease", fedlease},
    {"fedapen", fedapen},
    {"fedprompt", fedprompt},
    {"fedptuning", fedptuning},
    {"centralized", centralized},
    {"local_only", local_only},
};

}  // namespace

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const Method& method : kMethods) names.emplace_back(method.name);
  return names;
}

void expand_method(Loaded& loaded, Problems& problems) {
  v1::Scenario& scenario = loaded.scenario;
  const Method* chosen =
      std::find_if(std::begin(kMethods), std::end(kMethods),
                   [&](const Method& method) { return method.name == scenario.method(); });
  if (chosen == std::end(kMethods)) {
    problems.add("method", in_quotes(scenario.method()),
                 "is not a method; " + suggest_name(scenario.method(), method_names()));
    chosen = std::begin(kMethods);
  }
  v1::Federation answers = chosen->answers();
  merge_over(scenario.federation(), answers);
  *scenario.mutable_federation() = answers;
  // What the method answered was set where the method was named.
  for (const char* question : {"selection", "assignment", "local", "schedule", "aggregation"}) {
    const std::string path = join_path("federation", question);
    if (!loaded.locations.has(path)) loaded.locations.set(path, loaded.locations.find("method"));
  }
  problems.use(loaded.locations);
}

std::string method_text(const v1::Scenario& scenario) {
  const Method* method = std::find_if(std::begin(kMethods), std::end(kMethods),
                                      [&](const Method& m) { return m.name == scenario.method(); });
  if (method == std::end(kMethods)) return scenario.method();
  const v1::Federation preset = method->answers();
  std::vector<std::string> others;
  const google::protobuf::Reflection& reflection = *preset.GetReflection();
  const google::protobuf::Descriptor& questions = *preset.GetDescriptor();
  for (int i = 0; i < questions.field_count(); ++i) {
    const auto kind_of = [&](const v1::Federation& answers) {
      const google::protobuf::Message& answer = reflection.GetMessage(answers, questions.field(i));
      const auto* kind = answer.GetReflection()->GetOneofFieldDescriptor(
          answer, answer.GetDescriptor()->FindOneofByName("kind"));
      return kind == nullptr ? std::string() : kind->name();
    };
    const std::string kind = kind_of(scenario.federation());
    // Whom a round chooses is the scenario's to say: no part of a method but Oort's.
    if (kind == kind_of(preset) || (kind != "oort" && questions.field(i)->name() == "selection")) {
      continue;
    }
    others.push_back(questions.field(i)->name() + " " + kind);
  }
  std::string text = scenario.method();
  for (const std::string& other : others) {
    text += (&other == &others.front() ? ", with " : ", ") + other;
  }
  return text;
}

}  // namespace fedclock::scenario
