#include "sim/federation/local/local.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/common/error.h"
#include "sim/federation/assignment/assignment.h"

namespace fedclock::federation {

std::string Part::name() const {
  return fmt::format("round {}, client {}", occasion.round, client);
}

std::unique_ptr<Local> make_local(const v1::Local& answer, LocalInputs inputs) {
  switch (answer.kind_case()) {
    case v1::Local::kPlain: return std::make_unique<PlainTraining>(answer, inputs.seed);
    case v1::Local::kProximal: return train_with_proximal_term(answer, inputs);
    case v1::Local::kScaffold: return train_with_control_variates(answer, inputs);
    case v1::Local::kFrozenA: return train_with_frozen_a(answer, inputs);
    case v1::Local::kAlternating: return train_alternating(answer, inputs);
    case v1::Local::kSharedA: return train_sharing_a(answer, inputs);
    case v1::Local::kPrivateBesideShared: return train_private_beside_shared(answer, inputs);
    case v1::Local::kSelfPruning: return train_with_self_pruning(answer, inputs);
    case v1::Local::kRestOfWorld: return train_beside_rest_of_world(answer, inputs);
    case v1::Local::kClusteredExperts: return train_in_clusters(answer, inputs);
    case v1::Local::kMutual: return train_mutually(answer, inputs);
    case v1::Local::KIND_NOT_SET: break;
  }
  throw ProgrammerError("the method left the local training open");
}

learning::Share travelling(const v1::Local& answer, learning::Share share) {
  if (answer.has_frozen_a()) share.a = false;
  if (answer.has_shared_a()) share.b = share.head = false;
  if (answer.has_rest_of_world() || answer.has_clustered_experts()) share.head = false;
  return share;
}

nn::ModuleExperts mixtures_of(const std::vector<int64_t>& ranks,
                              const std::vector<nn::Target>& targets, int64_t experts) {
  nn::ModuleExperts all = first_experts(modules_of(std::ssize(ranks), targets), experts);
  std::erase_if(all,
                [&](const auto& one) { return ranks[static_cast<size_t>(one.first.layer)] == 0; });
  return all;
}

learning::Share trained_share(const v1::Local& answer, learning::Share share,
                              const std::vector<nn::Target>& targets, int64_t clients) {
  const bool clustered = answer.has_clustered_experts();
  if (!answer.has_rest_of_world() && !clustered) return share;
  share.shared = false;
  share.experts = mixtures_of(share.ranks, targets, 1);
  const int64_t most = std::min<int64_t>(answer.clustered_experts().max_experts(), clients);
  share.frozen_experts = clustered ? most - 1 : 1;
  return share;
}

int64_t copies_of(const v1::Local& answer) { return answer.has_scaffold() ? 2 : 1; }

int64_t models_of(const v1::Local& answer) { return answer.has_mutual() ? 2 : 1; }

learning::TrainSettings train_settings(const v1::Local& answer) {
  learning::TrainSettings settings;
  settings.steps = answer.steps();
  settings.epochs = answer.epochs();
  settings.batch_rows = answer.batch_size();
  settings.optimizer = answer.optimizer() == v1::SGD ? learning::OptimizerKind::kSgd
                                                     : learning::OptimizerKind::kAdamW;
  settings.weight_decay = answer.weight_decay();
  settings.momentum = answer.momentum();
  settings.clip_norm = answer.clip_norm();
  return settings;
}

}  // namespace fedclock::federation
