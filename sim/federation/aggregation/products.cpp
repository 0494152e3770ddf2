// Aggregations that merge the products B_i A_i, exactly, and not their factors.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "models/common/random.h"
#include "sim/federation/aggregation/aggregation.h"

namespace fedclock::federation {

namespace {

// FlexLoRA (arXiv 2402.11505): dW = sum_i p_i B_i A_i = U S V^T, B = U S, A = V^T.
class Svd : public Aggregation {
 public:
  learning::Value merge(learning::Learner& learner, const Occasion& occasion,
                        const learning::Value& global,
                        const std::vector<Update>& updates) override {
    return learner.apply(learning::svd_refactored(rows_of(updates)), inputs_of({global}, updates),
                         fmt::format("round {}", occasion.round));
  }

  // dW: 2 rank in out for each update; the decomposition of an m x n matrix, m >= n, with U and V:
  // 6 m n^2 + 20 n^3 flops (Golub and Van Loan, Matrix Computations, figure 8.6.1, R-SVD).
  cost::Work work(const Workload& workload, const std::vector<Update>& updates) const override {
    cost::Work work = Aggregation::work(workload, updates);
    learning::Share all = updates.front().share;
    for (const Update& update : updates) {
      workload.for_each_adapter(update.share, [&](int64_t rank, int64_t in, int64_t out) {
        work.forward_flops += 2.0 * static_cast<double>(rank * in * out);
      });
      for (size_t layer = 0; layer < all.ranks.size(); ++layer) {
        all.ranks[layer] = std::max(all.ranks[layer], update.share.ranks[layer]);
      }
    }
    workload.for_each_adapter(all, [&](int64_t, int64_t in, int64_t out) {
      const double m = static_cast<double>(std::max(in, out));
      const double n = static_cast<double>(std::min(in, out));
      work.forward_flops += 6 * m * n * n + 20 * n * n * n;
    });
    return work;
  }
};

// FLoRA (arXiv 2409.05976): the stacked adapters go into the base; fresh ones begin each round.
class Stacked : public Aggregation {
 public:
  explicit Stacked(AggregationInputs inputs)
      : inputs_(std::move(inputs)), known_(static_cast<size_t>(inputs_.clients), 0) {}

  learning::Value merge(learning::Learner& learner, const Occasion& occasion,
                        const learning::Value& global,
                        const std::vector<Update>& updates) override {
    learning::Share stack;
    stack.ranks.assign(inputs_.global_ranks.size(), 0);
    for (const Update& update : updates) {
      for (size_t layer = 0; layer < stack.ranks.size(); ++layer) {
        stack.ranks[layer] += update.share.ranks[layer];
      }
    }
    stacks_.push_back(stack);
    learning::Share whole;
    whole.ranks = inputs_.global_ranks;
    Random random(inputs_.seed, "fresh adapter", static_cast<uint64_t>(occasion.round));
    const learning::Value fresh = learner.initial(whole, random.bits64());
    return learner.apply(learning::stacked(rows_of(updates)), inputs_of({fresh, global}, updates),
                         fmt::format("round {}", occasion.round));
  }

  // The stacks of all merges since its last part, or the matrices that they add up to. Fresh
  // adapters are drawn from the seed; the head comes with the last stack.
  int64_t download_bytes(const Workload& workload, int32_t client,
                         const learning::Share& share) override {
    int64_t stacks = 0;
    size_t& known = known_[static_cast<size_t>(client)];
    learning::Share nothing = share;
    std::fill(nothing.ranks.begin(), nothing.ranks.end(), 0);
    if (known == stacks_.size()) return workload.bytes(nothing);
    for (; known < stacks_.size(); ++known) {
      learning::Share stack = stacks_[known];
      stack.head = known + 1 == stacks_.size();
      stacks += workload.bytes(stack);
    }
    return std::min(stacks, workload.bytes_of_matrices(stacks_.back()));
  }

  // (alpha / rank) B A of the last stack, onto the base: 2 rank in out.
  double unpacking_flops(const Workload& workload, int32_t) override {
    double flops = 0;
    if (stacks_.empty()) return flops;
    workload.for_each_adapter(stacks_.back(), [&](int64_t rank, int64_t in, int64_t out) {
      flops += 2.0 * static_cast<double>(rank * in * out);
    });
    return flops;
  }

  // The server only hands the stack on; the head it averages.
  cost::Work work(const Workload& workload, const std::vector<Update>& updates) const override {
    std::vector<Update> heads = updates;
    for (Update& update : heads) {
      std::fill(update.share.ranks.begin(), update.share.ranks.end(), 0);
    }
    cost::Work work = Aggregation::work(workload, heads);
    for (const Update& update : updates) {
      work.memory_bytes += 2.0 * static_cast<double>(workload.bytes(update.share));
    }
    return work;
  }

 private:
  AggregationInputs inputs_;
  std::vector<learning::Share> stacks_;  // of each merge
  std::vector<size_t> known_;            // merges that each client has
};

}  // namespace

std::unique_ptr<Aggregation> taken_apart_by_svd() { return std::make_unique<Svd>(); }

std::unique_ptr<Aggregation> stacked_into_base(AggregationInputs inputs) {
  return std::make_unique<Stacked>(std::move(inputs));
}

}  // namespace fedclock::federation
