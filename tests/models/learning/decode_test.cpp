// Greedy decoding by kept keys and values against whole texts through stock operators, and how it
// is scored.
#include "models/nn/torch.h"

#include "models/learning/decode.h"

#include <rapidcheck.h>
#include <catch2/catch.hpp>

#include <algorithm>

#include "models/common/error.h"
#include "models/learning/rouge.h"
#include "tests/models/learning/tiny.h"

namespace fedclock::learning {
namespace {

constexpr int32_t kEnd = 2;
constexpr int64_t kVocabulary = 40;  // of tiny_task()

// Token by token, each time from the beginning.
std::vector<int32_t> written_by_hand(const LearningTask& task, const nn::TensorMap& state,
                                     const EncodedRow& row, int32_t end, int64_t most,
                                     int64_t vocabulary = kVocabulary) {
  at::NoGradGuard no_gradients;
  const nn::Adapters adapters(task.architecture(), task.adapter, state);
  std::vector<int32_t> ids(row.ids.begin(), row.ids.begin() + row.response_begin), written;
  while (std::ssize(written) < most && std::ssize(ids) < task.architecture().max_tokens) {
    const at::Tensor batch = at::tensor(ids).to(at::kLong).view({1, -1});
    const at::Tensor hidden = task.base->hidden({batch, {}, {}}, adapters)[0];
    const at::Tensor scores = task.base->vocabulary_scores(hidden.narrow(0, hidden.size(0) - 1, 1));
    const auto next =
        static_cast<int32_t>(scores.narrow(1, 0, vocabulary).argmax().item<int64_t>());
    if (next == end) break;
    ids.push_back(next);
    written.push_back(next);
  }
  return written;
}

TEST_CASE("decode: texts of many lengths, as each would be written alone") {
  LearningTask task = tiny_task(nn::Kind::kDecoder, true);
  const nn::TensorMap state = tiny_trained(task);
  const auto rows = rows_of(*task.test, *first_rows(12));
  // Some texts end early where the end is a token that the model likes.
  std::vector<int32_t> all;
  for (const EncodedRow* row : rows) {
    const auto written = written_by_hand(task, state, *row, -1, 9);
    all.insert(all.end(), written.begin(), written.end());
  }
  std::sort(all.begin(), all.end());
  const int32_t liked = all[all.size() / 2];
  for (const int32_t end : {kEnd, liked}) {
    std::vector<std::vector<int32_t>> expected;
    size_t tokens = 0;
    for (const EncodedRow* row : rows) {
      expected.push_back(written_by_hand(task, state, *row, end, 9));
      tokens += expected.back().size();
    }
    CHECK(tokens > 12);
    const Decoding how{.end = end, .most_tokens = 9, .vocabulary = kVocabulary};
    const Decoded decoded = decode_greedily(task, state, rows, how);
    CHECK(decoded.written == expected);
    CHECK(decoded.buffer_bytes > 0);
    LearningTask reference = task;
    reference.trunk = nullptr;
    CHECK(decode_greedily(reference, state, rows, how).written == expected);
  }
}

TEST_CASE("decode: only tokens that the tokeniser knows") {
  LearningTask task = tiny_task(nn::Kind::kDecoder, true);
  const nn::TensorMap state = tiny_trained(task);
  const auto rows = rows_of(*task.test, *first_rows(6));
  const Decoding all{.end = -1, .most_tokens = 6, .vocabulary = kVocabulary};
  int32_t largest = 0;
  for (const auto& text : decode_greedily(task, state, rows, all).written) {
    largest = std::max(largest, std::ranges::max(text));
  }
  Decoding fewer = all;
  fewer.vocabulary = largest;  // that token is not one of them
  std::vector<std::vector<int32_t>> expected;
  for (const EncodedRow* row : rows) {
    expected.push_back(written_by_hand(task, state, *row, -1, 6, largest));
    CHECK(std::ranges::max(expected.back()) < largest);
  }
  CHECK(decode_greedily(task, state, rows, fewer).written == expected);
  task.trunk = nullptr;
  CHECK(decode_greedily(task, state, rows, fewer).written == expected);
}

TEST_CASE("decode: no further than the model reads, and never without room") {
  const LearningTask task = tiny_task(nn::Kind::kDecoder, true);
  const nn::TensorMap state = tiny_trained(task);
  const auto rows = rows_of(*task.test, *first_rows(3));
  Decoding how{.end = -1, .most_tokens = 1000, .vocabulary = kVocabulary};
  const auto written = decode_greedily(task, state, rows, how).written;
  for (size_t i = 0; i < rows.size(); ++i) {
    CHECK(rows[i]->response_begin + std::ssize(written[i]) == task.architecture().max_tokens);
  }
  how.most_tokens = 0;
  CHECK_THROWS_AS(decode_greedily(task, state, rows, how), ProgrammerError);
}

data::Dataset open_rows() {
  data::Dataset dataset;
  dataset.classes = {"a"};
  dataset.open_responses = true;
  dataset.rows.push_back({"cats eat mice", "", "dogs see hay . cows find seeds", 0, ""});
  dataset.rows.push_back({"cows find hay", "", "birds", 0, ""});
  dataset.rows.push_back(
      {"cats hunt mice . dogs see hay . birds find seeds . cows eat hay . cats "
       "see seeds . dogs hunt birds",
       "", "cats", 0, ""});
  return dataset;
}

TEST_CASE("encode: open responses are cut, and every prompt leaves room for them") {
  const Base base = tiny_base(nn::Kind::kDecoder);
  const data::Dataset dataset = open_rows();
  const EncodedSet set = encode(dataset, *base.tokenizer, 16, 2, 5);
  CHECK(set.has_responses());
  CHECK(set.has_open_responses());
  CHECK(set.answers.empty());
  CHECK(set.references[0] == dataset.rows[0].response);
  // The first response has more tokens than five: no end; the second one its end.
  const auto whole = base.tokenizer->encode(dataset.rows[0].response);
  REQUIRE(whole.size() > 5);
  CHECK(std::vector(set.rows[0].ids.end() - 5, set.rows[0].ids.end()) ==
        std::vector(whole.begin(), whole.begin() + 5));
  CHECK(set.rows[0].response_tokens() == 5);
  CHECK(set.rows[1].ids.back() == base.tokenizer->end());
  // The last prompt is cut to 16 - 1 - 5, whose last tokens stay.
  const auto prompt = base.tokenizer->encode(dataset.rows[2].text);
  REQUIRE(prompt.size() > 10);
  CHECK(set.rows[2].response_begin == 11);
  CHECK(std::vector(set.rows[2].ids.begin() + 1, set.rows[2].ids.begin() + 11) ==
        std::vector(prompt.end() - 10, prompt.end()));
  CHECK_THROWS_AS(encode(dataset, *base.tokenizer, 16, 2, 16), ProgrammerError);
}

TEST_CASE("evaluate: open responses by ROUGE-L of what is written, and by their loss") {
  const Base base = tiny_base(nn::Kind::kDecoder);
  LearningTask task;
  task.set_base(base.architecture, *base.weights);
  task.adapter = tiny_adapter_spec();
  task.tokenizer = base.tokenizer;
  data::Dataset dataset = open_rows();
  const std::vector<int32_t> all{0, 1, 2};
  const auto encoded = [&] {
    return std::make_shared<const EncodedSet>(encode(dataset, *base.tokenizer, 20, 2, 6));
  };
  task.train = task.test = encoded();
  const nn::TensorMap state = tiny_trained(task);
  const Decoding how{
      .end = base.tokenizer->end(), .most_tokens = 6, .vocabulary = base.tokenizer->size()};
  const auto written = decode_greedily(task, state, rows_of(*task.test, all), how).written;
  double rouge = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    rouge += rouge_l(base.tokenizer->decode(written[i]), dataset.rows[i].response);
  }
  const EvaluationSums sums = evaluate(task, state, *task.test, all);
  CHECK(sums.rows == 3);
  CHECK(sums.score == rouge);
  CHECK(sums.loss > 0);
  CHECK(loss_of(task, state, *task.test, all) == sums.loss);
  // Each row's loss is a mean over its response, by the row alone.
  double loss = 0;
  for (const int32_t row : all) {
    loss += evaluate(task, state, *task.test, std::vector<int32_t>{row}).loss;
  }
  CHECK(sums.loss == Approx(loss).epsilon(1e-6));
  // References that are what is written score 1 where anything is written.
  double most = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    dataset.rows[i].response = base.tokenizer->decode(written[i]);
    if (dataset.rows[i].response.empty()) dataset.rows[i].response = ".";
    most += rouge_l(dataset.rows[i].response, dataset.rows[i].response);
  }
  CHECK(most > 0);
  task.train = task.test = encoded();
  CHECK(evaluate(task, state, *task.test, all).score == Approx(most));
}

}  // namespace
}  // namespace fedclock::learning
