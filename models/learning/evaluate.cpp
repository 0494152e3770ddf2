#include "models/learning/evaluate.h"

#include <algorithm>
#include <vector>

#include "models/learning/batch_gradients.h"
#include "models/learning/loss.h"

namespace fedclock::learning {

namespace {

// A trunk with the state's adapters, and what reads its hidden states.
class Evaluation {
 public:
  Evaluation(const LearningTask& task, const nn::TensorMap& state)
      : task_(task), state_(state), pass_(*task.trunk, task.adapter, state) {}

  TargetLosses losses(std::span<const EncodedRow* const> rows, Examples& examples) {
    examples = make_examples(rows, task_.train.has_responses());
    return target_losses(*task_.trunk, state_, examples, pass_.hidden(examples.rows), arena_);
  }

 private:
  const LearningTask& task_;
  const nn::TensorMap& state_;
  nn::TrunkPass pass_;
  nn::Arena arena_;
};

void add_classes(Evaluation& evaluation, std::span<const EncodedRow* const> rows,
                 EvaluationSums& sums) {
  Examples examples;
  const TargetLosses result = evaluation.losses(rows, examples);
  sums.correct += result.correct;
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
    const size_t count = rows_within(part, kTokensAtOnce);
    Examples examples;
    const TargetLosses result = evaluation.losses(part.first(count), examples);
    for (size_t i = 0; i < result.losses.size(); ++i) {
      total[begin + static_cast<size_t>(examples.row_of[i])] += result.losses[i];
      tokens[begin + static_cast<size_t>(examples.row_of[i])] += 1;
    }
    begin += count;
  }
  const size_t classes = set.answers.size();
  for (size_t r = 0; r < rows.size(); ++r) {
    const auto first = total.begin() + static_cast<int64_t>(r * classes);
    const auto best = std::min_element(first, first + static_cast<int64_t>(classes)) - first;
    const size_t own = r * classes + static_cast<size_t>(rows[r]->label);
    sums.correct += best == rows[r]->label;
    sums.loss += total[own] / tokens[own];
  }
}

}  // namespace

EvaluationSums evaluate(const LearningTask& task, const nn::TensorMap& state, const EncodedSet& set,
                        std::span<const int32_t> rows) {
  Evaluation evaluation(task, state);
  const auto chosen = rows_of(set, rows);
  EvaluationSums sums;
  for (size_t begin = 0; begin < chosen.size();) {
    const auto most = std::min(chosen.size() - begin, static_cast<size_t>(task.evaluation_rows));
    const auto part = std::span<const EncodedRow* const>(chosen).subspan(begin, most);
    const size_t count = set.has_responses() ? most : rows_within(part, kTokensAtOnce);
    if (set.has_responses()) {
      add_answers(evaluation, set, part.first(count), sums);
    } else {
      add_classes(evaluation, part.first(count), sums);
    }
    sums.rows += static_cast<int64_t>(count);
    begin += count;
  }
  return sums;
}

}  // namespace fedclock::learning
