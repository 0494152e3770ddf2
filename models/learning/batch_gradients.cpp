#include "models/learning/batch_gradients.h"

#include <algorithm>
#include <map>

#include "models/common/error.h"
#include "models/learning/ensemble.h"
#include "models/learning/loss.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

constexpr int64_t kKeptPrefixBytes = int64_t{256} << 20;  // a worker

// A batch in parts that go through the layers together.
class InParts : public BatchGradients {
 public:
  InParts(const LearningTask& task, double load_balance)
      : task_(task), load_balance_(load_balance) {}

  BatchLoss operator()(std::span<const int32_t> rows, nn::TensorMap& gradients) override {
    const auto encoded = rows_of(*task_.train, rows);
    const bool responses = task_.train->has_responses();
    double targets = 0, tokens = 0;
    for (const EncodedRow* row : encoded) {
      tokens += static_cast<double>(row->ids.size());
      targets += responses ? static_cast<double>(row->response_tokens()) : 1.0;
    }
    BatchLoss sum;
    nn::Onto onto = nn::Onto::kNothing;
    for (size_t begin = 0; begin < rows.size();) {
      const size_t count = rows_within(std::span(encoded).subspan(begin), kTokensAtOnce);
      part(rows.subspan(begin, count), std::span(encoded).subspan(begin, count),
           {1.0 / targets, load_balance_ / tokens}, gradients, onto, sum);
      onto = nn::Onto::kItself;
      begin += count;
    }
    return {sum.mean / targets, sum.mean_square / targets};
  }

 protected:
  // Of a target's loss, and of a token's part of the load-balance loss.
  struct Weights {
    double target, token;
  };

  // Adds the losses of a part of the batch to `sum`.
  virtual void part(std::span<const int32_t> rows, std::span<const EncodedRow* const> encoded,
                    const Weights& weights, nn::TensorMap& gradients, nn::Onto onto,
                    BatchLoss& sum) = 0;

  static void add(const TargetLosses& losses, BatchLoss& sum) {
    double mean = 0;
    for (const double loss : losses.losses) {
      mean += loss;
      sum.mean_square += loss * loss;
    }
    sum.mean += mean;
  }

  const LearningTask& task_;
  const double load_balance_;
  nn::Arena arena_;
};

class FastGradients : public InParts {
 public:
  FastGradients(const LearningTask& task, const nn::TensorMap& tensors, int64_t depth,
                const std::vector<std::vector<int32_t>>& batches, double load_balance)
      : InParts(task, load_balance),
        tensors_(tensors),
        layers_below_(task.trunk->architecture().layers - depth),
        pass_(*task.trunk, task.adapter, tensors) {
    if (layers_below_ == 0) return;  // embeddings alone are not worth keeping
    for (const auto& batch : batches) {
      for (const int32_t row : batch) ++left_[row];
    }
  }

  int64_t buffer_bytes() const override {
    return pass_.buffer_bytes() + arena_.bytes() + most_kept_bytes_;
  }

 private:
  void part(std::span<const int32_t> rows, std::span<const EncodedRow* const> encoded,
            const Weights& weights, nn::TensorMap& gradients, nn::Onto onto,
            BatchLoss& sum) override {
    const Examples examples = make_examples(encoded, task_.train->has_responses());
    const int64_t width = task_.trunk->architecture().width;
    arena_.rewind({});
    const nn::Matrix stream = prefix(rows, encoded, examples.rows);
    const nn::Matrix hidden =
        pass_.layers_above(examples.rows, layers_below_, stream, /*record=*/true);
    const nn::Matrix d_hidden = arena_.matrix(examples.rows.tokens(), width);
    add(target_losses_backward(*task_.trunk, tensors_, examples, hidden, weights.target,
                               {d_hidden, gradients, onto}, arena_),
        sum);
    pass_.backward(d_hidden, gradients, onto,
                   weights.token * static_cast<double>(examples.rows.tokens()));
  }

  // The residual stream before the first trained layer.
  nn::Matrix prefix(std::span<const int32_t> rows, std::span<const EncodedRow* const> encoded,
                    const nn::PackedRows& packed) {
    std::vector<size_t> unknown;
    bool again = false;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (!kept_.contains(rows[i])) unknown.push_back(i);
      if (layers_below_ > 0 && --left_.at(rows[i]) > 0) again = true;
    }
    if (unknown.size() == rows.size() && !again) return pass_.layers_below(packed, layers_below_);
    const nn::Matrix stream = arena_.matrix(packed.tokens(), task_.trunk->architecture().width);
    compute_unknown(rows, encoded, packed, unknown, stream);
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto found = kept_.find(rows[i]);
      if (found == kept_.end()) continue;
      std::copy(found->second.begin(), found->second.end(), row_of(stream, packed, i).data);
    }
    for (const int32_t row : rows) {
      const auto found = kept_.find(row);
      if (found == kept_.end() || left_.at(row) > 0) continue;
      kept_bytes_ -= bytes_of(found->second);
      kept_.erase(found);
    }
    return stream;
  }

  void compute_unknown(std::span<const int32_t> rows, std::span<const EncodedRow* const> encoded,
                       const nn::PackedRows& packed, const std::vector<size_t>& unknown,
                       const nn::Matrix& stream) {
    if (unknown.empty()) return;
    nn::PackedRows some;
    for (const size_t i : unknown) some.add(encoded[i]->ids, encoded[i]->types);
    const nn::Matrix computed = pass_.layers_below(some, layers_below_);
    for (size_t k = 0; k < unknown.size(); ++k) {
      const nn::Matrix from = row_of(computed, some, k);
      const int64_t size = from.rows * from.columns;
      std::copy_n(from.data, size, row_of(stream, packed, unknown[k]).data);
      const int64_t bytes = size * static_cast<int64_t>(sizeof(float));
      if (left_.at(rows[unknown[k]]) == 0 || kept_bytes_ + bytes > kKeptPrefixBytes) continue;
      // The same row twice in a part is kept once.
      if (kept_.emplace(rows[unknown[k]], std::vector<float>(from.data, from.data + size)).second) {
        kept_bytes_ += bytes;
        most_kept_bytes_ = std::max(most_kept_bytes_, kept_bytes_);
      }
    }
  }

  static nn::Matrix row_of(const nn::Matrix& stream, const nn::PackedRows& packed, size_t row) {
    return stream.row_range(packed.offsets[row], packed.offsets[row + 1] - packed.offsets[row]);
  }
  static int64_t bytes_of(const std::vector<float>& values) {
    return static_cast<int64_t>(values.size() * sizeof(float));
  }

  const nn::TensorMap& tensors_;
  int64_t layers_below_;
  nn::TrunkPass pass_;
  std::map<int32_t, int64_t> left_;  // how often a row is still to come
  std::map<int32_t, std::vector<float>> kept_;
  int64_t kept_bytes_ = 0, most_kept_bytes_ = 0;
};

// Both models of an ensemble, each through all layers: what lies below the trained ones may differ.
class EnsembleGradients : public InParts {
 public:
  EnsembleGradients(const LearningTask& task, const nn::TensorMap& tensors, int64_t depth)
      : InParts(task, 0),
        weight_(private_weight(tensors).value()),
        layers_below_(task.trunk->architecture().layers - depth),
        shared_(task, tensors, Member::kShared),
        own_(task, tensors, Member::kPrivate) {}

  int64_t buffer_bytes() const override {
    return shared_.pass.buffer_bytes() + own_.pass.buffer_bytes() + arena_.bytes();
  }

 private:
  struct Model {
    Model(const LearningTask& task, const nn::TensorMap& state, Member member)
        : tensors(member_of(state, member)), pass(*task.trunk, task.adapter, tensors) {}
    const nn::TensorMap tensors;
    nn::TrunkPass pass;
  };

  void part(std::span<const int32_t>, std::span<const EncodedRow* const> encoded,
            const Weights& weights, nn::TensorMap& gradients, nn::Onto onto,
            BatchLoss& sum) override {
    const Examples examples = make_examples(encoded, task_.train->has_responses());
    arena_.rewind({});
    nn::TensorMap of_shared = member_of(gradients, Member::kShared);
    nn::TensorMap of_own = member_of(gradients, Member::kPrivate);
    const Readout shared = readout(shared_, examples), own = readout(own_, examples);
    const int64_t tokens = examples.rows.tokens(), width = task_.trunk->architecture().width;
    const nn::Matrix d_shared = arena_.matrix(tokens, width), d_own = arena_.matrix(tokens, width);
    add(mutual_losses_backward(shared, own, weight_, examples, weights.target,
                               {d_shared, of_shared, onto}, {d_own, of_own, onto}, arena_),
        sum);
    shared_.pass.backward(d_shared, of_shared, onto);
    own_.pass.backward(d_own, of_own, onto);
  }

  Readout readout(Model& model, const Examples& examples) {
    const nn::Matrix stream = model.pass.layers_below(examples.rows, layers_below_);
    const nn::Matrix hidden =
        model.pass.layers_above(examples.rows, layers_below_, stream, /*record=*/true);
    return {*task_.trunk, model.tensors, examples, hidden, arena_};
  }

  const float weight_;
  const int64_t layers_below_;
  Model shared_, own_;
};

}  // namespace

std::unique_ptr<BatchGradients> make_ensemble_gradients(const LearningTask& task,
                                                        const nn::TensorMap& tensors,
                                                        int64_t depth) {
  return std::make_unique<EnsembleGradients>(task, tensors, depth);
}

std::unique_ptr<BatchGradients> make_fast_gradients(
    const LearningTask& task, const nn::TensorMap& tensors, int64_t depth,
    const std::vector<std::vector<int32_t>>& batches, double load_balance) {
  return std::make_unique<FastGradients>(task, tensors, depth, batches, load_balance);
}

size_t rows_within(std::span<const EncodedRow* const> rows, int64_t tokens) {
  size_t count = 0;
  int64_t total = 0;
  while (count < rows.size()) {
    total += static_cast<int64_t>(rows[count]->ids.size());
    if (count > 0 && total > tokens) break;
    ++count;
  }
  return count;
}

}  // namespace fedclock::learning
