// FedLEASE (arXiv 2509.15087): after a warm-up clients that are alike share an expert, which each
// of them trains beside the frozen ones of the other clusters, mixed for each token by a router
// that chooses how many it takes.
#include <algorithm>
#include <limits>

#include "sim/federation/federation.h"
#include "sim/federation/grouping/agglomerative.h"

namespace fedclock::federation {

namespace {

// Of a client's mixture the own cluster's expert, and before it the adapter that tokens share.
constexpr int32_t kOwn = 0, kShared = -1;
constexpr int32_t kNone = -1;  // no cluster

class ClusteredExperts : public PlainTraining {
 public:
  ClusteredExperts(const v1::Local& answer, const LocalInputs& inputs)
      : PlainTraining(answer, inputs.seed),
        answer_(answer.clustered_experts()),
        inputs_(inputs),
        own_(static_cast<size_t>(inputs.clients)) {}

  Part part(const Occasion& occasion, int32_t client, const Client& who,
            const Plan& plan) override {
    Part part = PlainTraining::part(occasion, client, who, {plan.tuned, plan.held});
    const Own& own = own_[static_cast<size_t>(client)];
    if (own.cluster == kNone) {
      if (own.parts > 0) part.down.ranks.assign(part.down.ranks.size(), 0);  // it goes on
      return part;
    }
    const auto experts = std::ssize(experts_);
    learning::Share& trained = part.job.trained;
    part.cluster = own.cluster;
    trained.shared = part.held.shared = false;
    trained.experts = mixtures_of(trained.ranks, inputs_.targets, 1);
    trained.frozen_experts = experts - 1;
    part.held.experts = mixtures_of(part.held.ranks, inputs_.targets, experts);
    part.up = trained;
    part.down = part.held;
    part.up.head = part.down.head = false;
    return part;
  }

  Trained train(learning::Learner& learner, const Part& part, const learning::Value&) override {
    Own& own = own_[static_cast<size_t>(part.client)];
    own.held = part.held;
    ++own.parts;
    const learning::Value start = model(learner, own, part.name());
    own.state = learner.train(start, part.job);
    own.sent = sent(learner, part, own.state);
    return {own.state, own.sent};
  }

  void merged(learning::Learner& learner, const std::vector<int32_t>& clients) override {
    ++merges_;
    for (const int32_t client : clients) {
      Own& one = own(client);
      (one.cluster == kNone ? one.warm : one.expert) = one.sent;
      one.warmed_up = true;
    }
    if (experts_.empty()) {
      if (merges_ == answer_.warmup_rounds()) make_clusters(learner);
      return;
    }
    for (int32_t cluster = 0; cluster < std::ssize(experts_); ++cluster) {
      average(learner, cluster, clients);
    }
    for (const int32_t client : clients) {
      if (own(client).cluster == kNone) join(learner, client);
    }
  }

  // At the end of the warm-up of each pair of clients, and later of each that is new with each that
  // is known: of each B a scalar product and two norms.
  cost::Work merge_work(const Workload& workload,
                        const std::vector<Update>& updates) const override {
    double known = 0, late = 0;
    for (const Own& own : own_) known += own.warmed_up ? 1 : 0;
    const learning::Share* warm = nullptr;
    for (const Update& update : updates) {
      const Own& own = own_[static_cast<size_t>(update.client)];
      if (own.cluster != kNone) continue;
      warm = &update.share;
      late += own.warmed_up ? 0 : 1;
    }
    const bool clusters = experts_.empty() && merges_ + 1 == answer_.warmup_rounds();
    if (warm == nullptr || (experts_.empty() && !clusters)) return {};
    learning::Share b = *warm;
    b.a = false;
    const double all = known + late;
    const double pairs = clusters ? all * (all - 1) / 2 : late * known;
    const auto elements = static_cast<double>(workload.elements(b));
    const auto bytes = static_cast<double>(workload.spec().bytes_per_element);
    return {.forward_flops = pairs * 6 * elements,
            .backward_flops = 0,
            .memory_bytes = pairs * 2 * elements * bytes};
  }

  // The clusters' experts, each by its number; routers are each cluster's own.
  learning::Value left_behind(learning::Learner& learner, const learning::Value& global) override {
    learning::Value all;
    for (size_t cluster = 0; cluster < experts_.size(); ++cluster) {
      const learning::Value one =
          learner.apply(learning::renamed(kOwn, static_cast<int32_t>(cluster)), {experts_[cluster]},
                        "the clusters' experts");
      all = all ? learner.apply(learning::laid_over(), {all, one}, "the clusters' experts") : one;
    }
    return experts_.empty() ? global : all;
  }

  bool is_personal() const override { return true; }
  learning::Value model_of(learning::Learner& learner, int32_t client,
                           const learning::Value&) override {
    if (own(client).parts == 0) return inputs_.initial;
    return model(learner, own(client), "a client's own model");
  }

 private:
  struct Own {
    int64_t parts = 0;
    learning::Share held;    // of its last part
    learning::Value state;   // as that left it
    learning::Value sent;    // of it
    bool warmed_up = false;  // the server has an adapter of it
    learning::Value warm;    // that of its warm-up
    learning::Value expert;  // the last expert and router that the server has of it
    int32_t cluster = kNone;
  };

  Own& own(int32_t client) { return own_[static_cast<size_t>(client)]; }

  double weight(size_t client) const {
    return inputs_.mean_by_rows ? static_cast<double>(inputs_.rows[client]->size()) : 1.0;
  }

  // What a client computes with: in the warm-up its own adapter; then its cluster's expert and
  // router, the others' experts, and its own head.
  learning::Value model(learning::Learner& learner, const Own& own, const std::string& name) const {
    const learning::Value before = own.state ? own.state : inputs_.initial;
    if (own.cluster == kNone) return learner.apply(learning::tailored(own.held), {before}, name);
    learning::Share whole = own.held;  // also of one whose last part was of the warm-up
    whole.shared = false;
    whole.experts = mixtures_of(own.held.ranks, inputs_.targets, std::ssize(experts_));
    learning::Share head = own.held;
    head.ranks.assign(head.ranks.size(), 0);
    learning::Value mixture = learner.initial(whole, inputs_.seed);  // has the router's start
    const auto lay = [&](const learning::Value& above) {
      mixture = learner.apply(learning::laid_over(), {mixture, above}, name);
    };
    lay(learner.apply(learning::only(head), {before}, name));
    lay(experts_[static_cast<size_t>(own.cluster)]);
    int32_t number = kOwn;
    for (size_t cluster = 0; cluster < experts_.size(); ++cluster) {
      if (static_cast<int32_t>(cluster) == own.cluster) continue;
      lay(learner.apply(learning::renamed(kOwn, ++number), {experts_[cluster]}, name));
    }
    return mixture;
  }

  void make_clusters(learning::Learner& learner) {
    std::vector<int32_t> clients;
    for (int32_t client = 0; client < std::ssize(own_); ++client) {
      if (own(client).warm) clients.push_back(client);
    }
    const Eigen::MatrixXd distances = distances_of(learner, clients);
    const std::vector<int32_t> clusters = best_clusters(distances, answer_.max_experts());
    experts_.resize(static_cast<size_t>(std::ranges::max(clusters)) + 1);
    for (size_t i = 0; i < clients.size(); ++i) own(clients[i]).cluster = clusters[i];
    for (size_t cluster = 0; cluster < experts_.size(); ++cluster) {
      std::vector<learning::Value> adapters;
      std::vector<double> weights;
      for (const int32_t client : clients) {
        if (own(client).cluster != static_cast<int32_t>(cluster)) continue;
        adapters.push_back(learner.apply(learning::renamed(kShared, kOwn), {own(client).warm},
                                         "the clusters' experts"));
        weights.push_back(weight(static_cast<size_t>(client)));
      }
      adapters.insert(adapters.begin(), adapters.front());  // in the place of an expert before
      experts_[cluster] =
          learner.apply(learning::mean_of_holders(weights), adapters, "the clusters' experts");
    }
  }

  // By the adapters of their warm-ups [clients, clients].
  Eigen::MatrixXd distances_of(learning::Learner& learner, const std::vector<int32_t>& clients) {
    std::vector<learning::Value> adapters;
    for (const int32_t client : clients) adapters.push_back(own(client).warm);
    const std::vector<double> numbers =
        learner.numbers(learner.apply(learning::b_distances(), adapters, "the clients' distances"));
    const auto n = std::ssize(clients);
    Eigen::MatrixXd distances = Eigen::MatrixXd::Zero(n, n);
    auto next = numbers.begin();
    for (Eigen::Index i = 0; i < n; ++i) {
      for (Eigen::Index j = i + 1; j < n; ++j) distances(i, j) = distances(j, i) = *next++;
    }
    return distances;
  }

  // Its expert and router are the means of those that its members have just sent.
  void average(learning::Learner& learner, int32_t cluster, const std::vector<int32_t>& clients) {
    learning::Value& expert = experts_[static_cast<size_t>(cluster)];
    std::vector<learning::Value> states{expert};
    std::vector<double> weights;
    for (const int32_t client : clients) {
      if (own(client).cluster != cluster) continue;
      states.push_back(own(client).expert);
      weights.push_back(weight(static_cast<size_t>(client)));
    }
    if (weights.empty()) return;
    expert = learner.apply(learning::mean_of_holders(weights), states, "the clusters' experts");
  }

  // The cluster whose members are on average the nearest, of equals the first.
  void join(learning::Learner& learner, int32_t client) {
    std::vector<int32_t> clients{client};
    for (int32_t other = 0; other < std::ssize(own_); ++other) {
      if (own(other).cluster != kNone) clients.push_back(other);
    }
    const Eigen::MatrixXd distances = distances_of(learner, clients);
    std::vector<double> sums(experts_.size(), 0), members(experts_.size(), 0);
    for (size_t i = 1; i < clients.size(); ++i) {
      const auto cluster = static_cast<size_t>(own(clients[i]).cluster);
      sums[cluster] += distances(0, static_cast<Eigen::Index>(i));
      ++members[cluster];
    }
    for (size_t cluster = 0; cluster < sums.size(); ++cluster) sums[cluster] /= members[cluster];
    own(client).cluster = static_cast<int32_t>(std::ranges::min_element(sums) - sums.begin());
  }

  const v1::ClusteredExpertsLocal answer_;
  const LocalInputs inputs_;
  std::vector<Own> own_;
  int64_t merges_ = 0;
  std::vector<learning::Value> experts_;  // of each cluster, with its router; none in the warm-up
};

}  // namespace

std::unique_ptr<Local> train_in_clusters(const v1::Local& answer, const LocalInputs& inputs) {
  return std::make_unique<ClusteredExperts>(answer, inputs);
}

}  // namespace fedclock::federation
