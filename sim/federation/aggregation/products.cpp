// Aggregations that merge the products B_i A_i, exactly, and not their factors.
#include <algorithm>
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
    return apply(learner, learning::svd_refactored(rows_of(updates)), occasion, {global}, updates);
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
      all.widen(update.share);
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
      : inputs_(std::move(inputs)), known_(static_cast<size_t>(inputs_.clients)) {}

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
    return apply(learner, learning::stacked(rows_of(updates)), occasion, {fresh, global}, updates);
  }

  // The stacks of all merges that the client does not have, or the matrices that they add up to.
  // Fresh adapters are drawn from the seed; the head comes with the last stack.
  int64_t begin_download(const Workload& workload, int32_t client,
                         const learning::Share& share) override {
    Known& known = known_[static_cast<size_t>(client)];
    known.sent = stacks_.size();
    known.unpacking_flops = 0;
    learning::Share missed = share;  // layers of these stacks
    std::fill(missed.ranks.begin(), missed.ranks.end(), 0);
    if (known.merges == stacks_.size()) return workload.bytes(missed);
    int64_t stacks = 0;
    for (size_t merge = known.merges; merge < stacks_.size(); ++merge) {
      learning::Share stack = stacks_[merge];
      stack.head = merge + 1 == stacks_.size();
      stacks += workload.bytes(stack);
      known.unpacking_flops += product_flops(workload, stack);
      learning::widen(missed.ranks, stack.ranks);
    }
    const int64_t matrices = workload.bytes_of_matrices(missed);
    if (matrices >= stacks) return stacks;
    known.unpacking_flops = 0;  // an addition for each element
    workload.for_each_adapter(missed, [&](int64_t, int64_t in, int64_t out) {
      known.unpacking_flops += static_cast<double>(in * out);
    });
    return matrices;
  }

  void received(int32_t client) override {
    Known& known = known_[static_cast<size_t>(client)];
    known.merges = known.sent;
  }

  double unpacking_flops(const Workload&, int32_t client) override {
    return known_[static_cast<size_t>(client)].unpacking_flops;
  }

  // The server weighs each A and hands the stack on; the head it averages.
  cost::Work work(const Workload& workload, const std::vector<Update>& updates) const override {
    std::vector<Update> heads = updates;
    for (Update& update : heads) {
      std::fill(update.share.ranks.begin(), update.share.ranks.end(), 0);
    }
    cost::Work work = Aggregation::work(workload, heads);
    for (const Update& update : updates) {
      learning::Share a = update.share;
      a.b = a.head = false;
      work.forward_flops += static_cast<double>(workload.elements(a));
      work.memory_bytes += 2.0 * static_cast<double>(workload.bytes(update.share));
    }
    return work;
  }

 private:
  // What a client has, and what it is being sent.
  struct Known {
    size_t merges = 0, sent = 0;
    double unpacking_flops = 0;
  };

  // (alpha / rank) B A of a stack, onto the base: 2 rank in out.
  static double product_flops(const Workload& workload, const learning::Share& stack) {
    double flops = 0;
    workload.for_each_adapter(stack, [&](int64_t rank, int64_t in, int64_t out) {
      flops += 2.0 * static_cast<double>(rank * in * out);
    });
    return flops;
  }

  AggregationInputs inputs_;
  std::vector<learning::Share> stacks_;  // of each merge
  std::vector<Known> known_;             // of each client
};

}  // namespace

std::unique_ptr<Aggregation> taken_apart_by_svd() { return std::make_unique<Svd>(); }

std::unique_ptr<Aggregation> stacked_into_base(AggregationInputs inputs) {
  return std::make_unique<Stacked>(std::move(inputs));
}

}  // namespace fedclock::federation
