#include "models/learning/evaluate.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "models/common/error.h"
#include "models/learning/batch_gradients.h"
#include "models/learning/decode.h"
#include "models/learning/ensemble.h"
#include "models/learning/loss.h"
#include "models/learning/reference.h"
#include "models/learning/rouge.h"

namespace fedclock::learning {

namespace {

// The base with the state's adapters, and what reads its hidden states; of an ensemble both models.
class Evaluation {
 public:
  Evaluation(const LearningTask& task, const nn::TensorMap& state)
      : task_(task), state_(state), weight_(private_weight(state)) {
    if (!task.trunk) return;
    if (weight_) {
      shared_ = member_of(state, Member::kShared);
      own_ = member_of(state, Member::kPrivate);
      own_pass_.emplace(*task.trunk, task.adapter, own_);
    }
    pass_.emplace(*task.trunk, task.adapter, weight_ ? shared_ : state);
  }

  // How many of the first rows go through the layers together: on the CPU few enough to stay in
  // its caches, and without padding.
  size_t rows_at_once(std::span<const EncodedRow* const> rows) const {
    const auto most = std::min(rows.size(), static_cast<size_t>(task_.evaluation_rows));
    return pass_ ? rows_within(rows.first(most), kTokensAtOnce) : most;
  }

  TargetLosses losses(std::span<const EncodedRow* const> rows) {
    if (!pass_) return reference_losses(task_, state_, rows);
    const Examples examples = make_examples(rows, task_.train->has_responses());
    const nn::Matrix hidden = pass_->hidden(examples.rows);
    if (!weight_) return target_losses(*task_.trunk, state_, examples, hidden, arena_);
    arena_.rewind({});
    const Readout shared(*task_.trunk, shared_, examples, hidden, arena_);
    const Readout own(*task_.trunk, own_, examples, own_pass_->hidden(examples.rows), arena_);
    return ensemble_losses(shared, own, *weight_, examples, arena_);
  }

  int64_t buffer_bytes() const {
    if (!pass_) return 0;
    return pass_->buffer_bytes() + (own_pass_ ? own_pass_->buffer_bytes() : 0) + arena_.bytes();
  }

 private:
  const LearningTask& task_;
  const nn::TensorMap& state_;
  const std::optional<float> weight_;  // of an ensemble's private model
  nn::TensorMap shared_, own_;         // its models
  std::optional<nn::TrunkPass> pass_, own_pass_;
  nn::Arena arena_;
};

void add_classes(Evaluation& evaluation, std::span<const EncodedRow* const> rows,
                 EvaluationSums& sums) {
  const TargetLosses result = evaluation.losses(rows);
  sums.score += static_cast<double>(result.correct);
  for (const double loss : result.losses) sums.loss += loss;
}

// Every row's prompt followed by each class's answer in turn.
std::vector<EncodedRow> with_answers(const EncodedSet& set, const EncodedRow& row) {
  std::vector<EncodedRow> filled;
  for (const auto& answer : set.answers) {
    EncodedRow with_answer = row;
    with_answer.ids.resize(row.response_begin);
    with_answer.ids.insert(with_answer.ids.end(), answer.begin(), answer.end());
    with_answer.ids.push_back(row.ids.back());  // the end token
    with_answer.types.assign(with_answer.ids.size(), 0);
    filled.push_back(std::move(with_answer));
  }
  return filled;
}

void add_open_losses(Evaluation& evaluation, std::span<const EncodedRow* const> rows,
                     EvaluationSums& sums) {
  const TargetLosses result = evaluation.losses(rows);
  auto loss = result.losses.begin();
  for (const EncodedRow* row : rows) {
    const int64_t tokens = row->response_tokens();
    double total = 0;
    for (int64_t i = 0; i < tokens; ++i) total += *loss++;
    sums.loss += total / static_cast<double>(tokens);
  }
}

// Of what is written after the prompts of these rows of the set.
void add_rouge(const LearningTask& task, const nn::TensorMap& state, const EncodedSet& set,
               std::span<const int32_t> rows, EvaluationSums& sums) {
  ensure(task.tokenizer != nullptr, "responses of their own without a tokeniser");
  const data::Tokenizer& tokenizer = *task.tokenizer;
  const Decoding how{.end = tokenizer.end(),
                     .most_tokens = set.max_response_tokens,
                     .vocabulary = tokenizer.size()};
  const auto most = static_cast<size_t>(task.evaluation_rows);
  for (size_t begin = 0; begin < rows.size(); begin += most) {
    const auto some = rows.subspan(begin, std::min(most, rows.size() - begin));
    const Decoded decoded = decode_greedily(task, state, rows_of(set, some), how);
    sums.buffer_bytes = std::max(sums.buffer_bytes, decoded.buffer_bytes);
    for (size_t i = 0; i < some.size(); ++i) {
      sums.score += rouge_l(tokenizer.decode(decoded.written[i]),
                            set.references[static_cast<size_t>(some[i])]);
    }
  }
}

void add_answers(Evaluation& evaluation, const EncodedSet& set,
                 std::span<const EncodedRow* const> rows, EvaluationSums& sums) {
  std::vector<EncodedRow> filled;
  for (const EncodedRow* row : rows) {
    for (EncodedRow& one : with_answers(set, *row)) filled.push_back(std::move(one));
  }
  std::vector<const EncodedRow*> pointers;
  for (const EncodedRow& row : filled) pointers.push_back(&row);
  std::vector<double> total(filled.size(), 0), tokens(filled.size(), 0);
  for (size_t begin = 0; begin < filled.size();) {
    const auto part = std::span(pointers).subspan(begin);
    const size_t count = evaluation.rows_at_once(part);
    const TargetLosses result = evaluation.losses(part.first(count));
    auto loss = result.losses.begin();
    for (const size_t end = begin + count; begin < end; ++begin) {
      tokens[begin] = static_cast<double>(filled[begin].response_tokens());
      for (double i = 0; i < tokens[begin]; ++i) total[begin] += *loss++;
    }
  }
  const size_t classes = set.answers.size();
  for (size_t r = 0; r < rows.size(); ++r) {
    const auto first = total.begin() + static_cast<int64_t>(r * classes);
    const auto best = std::min_element(first, first + static_cast<int64_t>(classes)) - first;
    const size_t own = r * classes + static_cast<size_t>(rows[r]->label);
    sums.score += best == rows[r]->label ? 1 : 0;
    sums.loss += total[own] / tokens[own];
  }
}

EvaluationSums sums_without_decoding(const LearningTask& task, const nn::TensorMap& state,
                                     const EncodedSet& set, std::span<const int32_t> rows) {
  Evaluation evaluation(task, state);
  auto chosen = rows_of(set, rows);
  if (!task.trunk) {  // which pads rows to the longest
    std::stable_sort(chosen.begin(), chosen.end(), [](const EncodedRow* a, const EncodedRow* b) {
      return a->ids.size() < b->ids.size();
    });
  }
  EvaluationSums sums;
  for (size_t begin = 0; begin < chosen.size();) {
    const auto part = std::span<const EncodedRow* const>(chosen).subspan(begin);
    const size_t count = evaluation.rows_at_once(part);
    if (set.has_open_responses()) {
      add_open_losses(evaluation, part.first(count), sums);
    } else if (set.has_responses()) {
      add_answers(evaluation, set, part.first(count), sums);
    } else {
      add_classes(evaluation, part.first(count), sums);
    }
    sums.rows += static_cast<int64_t>(count);
    begin += count;
  }
  sums.buffer_bytes = evaluation.buffer_bytes();
  return sums;
}

}  // namespace

EvaluationSums evaluate(const LearningTask& task, const nn::TensorMap& state, const EncodedSet& set,
                        std::span<const int32_t> rows) {
  EvaluationSums sums = sums_without_decoding(task, state, set, rows);
  if (set.has_open_responses()) add_rouge(task, state, set, rows, sums);
  return sums;
}

double loss_of(const LearningTask& task, const nn::TensorMap& state, const EncodedSet& set,
               std::span<const int32_t> rows) {
  return sums_without_decoding(task, state, set, rows).loss;
}

}  // namespace fedclock::learning
