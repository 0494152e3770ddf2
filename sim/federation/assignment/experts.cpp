// FedAMoLE's reverse selection-based expert assignment (RSEA, arXiv 2411.19128, section 4.3), of
// each module by itself:
//   round 1: S_ij = softmax over clients j of random scores;
//   then each client j that took part has sent the means over its auxiliary rows of its tokens' and
//   its experts' embeddings, t_j and e_ij; e_i = mean over i's holders of e_ij;
//   S_ij = softmax over clients j of <e_i, t_j> / sqrt(r), and experts choose (expert_matching.h).
// What a client or an expert has not been seen with counts as 0: it prefers nobody. The shared
// expert goes to everyone.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "models/common/error.h"
#include "models/common/random.h"
#include "sim/federation/assignment/assignment.h"
#include "sim/federation/assignment/expert_matching.h"

namespace fedclock::federation {

namespace {

using Embeddings = std::map<nn::Module, Eigen::MatrixXd>;

class Experts : public Assignment {
 public:
  Experts(const v1::ExpertAssignment& answer, AssignmentInputs inputs)
      : answer_(answer),
        inputs_(std::move(inputs)),
        clients_(std::ssize(inputs_.full_depth_step_s)),
        bounds_(scenario::expert_bounds(answer, clients_)),
        ranks_(static_cast<size_t>(inputs_.layers), inputs_.rank),
        own_(static_cast<size_t>(clients_)) {
    ensure(can_match(answer.experts(), clients_, bounds_), "experts that validate should refuse");
    for (const nn::Module& module : modules_of(inputs_.layers, inputs_.targets)) {
      e_[module] = Eigen::MatrixXd::Zero(answer.experts(), inputs_.rank);
      t_[module] = Eigen::MatrixXd::Zero(clients_, inputs_.rank);
    }
  }

  Plan plan(const Occasion& occasion, int32_t client) override {
    begin_round(occasion.round);
    return {ranks_, ranks_, own_[static_cast<size_t>(client)]};
  }

  bool takes_part(int32_t) const override { return true; }

  std::optional<learning::EmbeddingNoise> embeddings(const Occasion& occasion,
                                                     int32_t client) const override {
    if (answer_.choice() != v1::ExpertAssignment::SCORES) return std::nullopt;
    if (is_last(occasion.round)) return std::nullopt;
    return learning::EmbeddingNoise{.eta = answer_.noise_eta(),
                                    .seed = inputs_.seed,
                                    .round = occasion.round,
                                    .client = client};
  }

  void observe(const Observation& seen) override {
    if (seen.embeddings) unread_.push_back(seen);
  }

  // Of a module S (<e, t> unless they are drawn; scaling, exponential, sum, quotient), and the
  // flow: choices are pushed one after the other, each over at most all arcs (an assumption about
  // the solver; the bound of successive shortest paths). The first round's are chosen before the
  // clock starts.
  double choice_flops(int64_t round, int64_t modules) const override {
    if (answer_.choice() == v1::ExpertAssignment::STATIC || is_last(round)) return 0;
    const auto experts = static_cast<double>(answer_.experts());
    const auto clients = static_cast<double>(clients_);
    const bool drawn = answer_.choice() == v1::ExpertAssignment::RANDOM;
    const double products = drawn ? 0 : 2.0 * static_cast<double>(inputs_.rank);
    const double scores = experts * clients * (products + 4);
    const double flow = experts * answer_.choices() * (experts * clients + clients);
    return static_cast<double>(modules) * (scores + flow);
  }

 private:
  // Nobody chooses after it.
  bool is_last(int64_t round) const { return round == inputs_.last_round; }

  // Everyone's experts are chosen together, when the first of them is planned.
  void begin_round(int64_t round) {
    if (round == round_) return;
    const bool drawn = round_ == 0 || answer_.choice() == v1::ExpertAssignment::RANDOM;
    round_ = round;
    if (!drawn && answer_.choice() == v1::ExpertAssignment::STATIC) return;
    if (!drawn) read_embeddings();
    for (nn::ModuleExperts& own : own_) own.clear();
    for (const auto& [module, e] : e_) {
      const Eigen::MatrixXd scores = drawn ? drawn_scores(module) : expert_scores(e, t_.at(module));
      const auto chosen = match_experts(scores, bounds_);
      for (size_t client = 0; client < chosen.size(); ++client) {
        if (!chosen[client].empty()) own_[client][module] = chosen[client];
      }
    }
  }

  Eigen::MatrixXd drawn_scores(const nn::Module& module) const {
    const std::string purpose =
        fmt::format("expert scores {} {}", module.layer, nn::target_name(module.target));
    Random random(inputs_.seed, purpose, static_cast<uint64_t>(round_));
    Eigen::MatrixXd affinity(answer_.experts(), clients_);
    for (Eigen::Index i = 0; i < affinity.rows(); ++i) {
      for (Eigen::Index j = 0; j < affinity.cols(); ++j) affinity(i, j) = random.uniform();
    }
    return softmax_over_clients(affinity);
  }

  void read_embeddings() {
    Embeddings sums;
    std::map<nn::Module, Eigen::VectorXd> holders;
    // In client order: the order in which they came is the network's.
    std::ranges::stable_sort(unread_, {}, &Observation::client);
    for (const Observation& seen : std::exchange(unread_, {})) read(seen, sums, holders);
    for (const auto& [module, sum] : sums) {
      const Eigen::VectorXd& count = holders.at(module);
      for (Eigen::Index i = 0; i < sum.rows(); ++i) {
        if (count(i) > 0) e_.at(module).row(i) = sum.row(i) / count(i);
      }
    }
  }

  // Numbers as learning::mean_embeddings() gives them.
  void read(const Observation& seen, Embeddings& sums,
            std::map<nn::Module, Eigen::VectorXd>& holders) {
    const std::vector<double> numbers = inputs_.learner->numbers(seen.embeddings);
    auto next = numbers.begin();
    const auto take = [&] {
      Eigen::RowVectorXd row(inputs_.rank);
      for (Eigen::Index k = 0; k < row.size(); ++k) row(k) = *next++;
      return row;
    };
    for (const auto& [module, experts] : seen.plan.experts) {
      Eigen::MatrixXd& sum = sums[module];
      Eigen::VectorXd& count = holders[module];
      if (sum.size() == 0) {
        sum = Eigen::MatrixXd::Zero(answer_.experts(), inputs_.rank);
        count = Eigen::VectorXd::Zero(answer_.experts());
      }
      for (const int32_t expert : experts) {
        sum.row(expert) += take();
        count(expert) += 1;
      }
      t_.at(module).row(seen.client) = take();
    }
    ensure(next == numbers.end(), "embeddings of other experts");
  }

  const v1::ExpertAssignment answer_;
  const AssignmentInputs inputs_;
  const int64_t clients_;
  const ExpertBounds bounds_;
  const std::vector<int64_t> ranks_;
  Embeddings e_, t_;                    // of each module [experts, rank], [clients, rank]
  std::vector<nn::ModuleExperts> own_;  // of each client, in the present round
  std::vector<Observation> unread_;
  int64_t round_ = 0;
};

}  // namespace

std::vector<nn::Module> modules_of(int64_t layers, const std::vector<nn::Target>& targets) {
  std::vector<nn::Module> modules;
  for (int64_t layer = 0; layer < layers; ++layer) {
    for (const nn::Target target : targets) modules.push_back({layer, target});
  }
  return modules;
}

nn::ModuleExperts first_experts(const std::vector<nn::Module>& modules, int64_t count) {
  nn::ModuleExperts experts;
  for (const nn::Module& module : modules) {
    for (int32_t i = 0; i < count; ++i) experts[module].push_back(i);
  }
  return experts;
}

std::unique_ptr<Assignment> assign_experts(const v1::ExpertAssignment& answer,
                                           AssignmentInputs inputs) {
  return std::make_unique<Experts>(answer, std::move(inputs));
}

}  // namespace fedclock::federation
