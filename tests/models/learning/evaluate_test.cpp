#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "models/common/error.h"
#include "models/learning/evaluate.h"
#include "tests/models/learning/tiny.h"

namespace fedclock::learning {
namespace {

TEST_CASE("evaluate: accuracy and loss by hand") {
  LearningTask task = tiny_task(nn::Kind::kEncoder);
  // A head that always says 1/2, 1/4, 1/4.
  const nn::TensorMap state{
      {"head.weight", at::zeros({3, 16})},
      {"head.bias", at::tensor({std::log(0.5F), std::log(0.25F), std::log(0.25F)})}};
  const std::vector<int> labels{0, 0, 1, 2, 0};
  EncodedSet rows = *task.test;
  for (size_t i = 0; i < labels.size(); ++i) rows.rows[i].label = labels[i];
  task.test = std::make_shared<const EncodedSet>(std::move(rows));
  const EvaluationSums sums =
      evaluate(task, state, *task.test, std::vector<int32_t>{0, 1, 2, 3, 4});
  CHECK(sums.rows == 5);
  CHECK(sums.score == 3);
  // 3 ln 2 + 2 ln 4 = 7 ln 2
  CHECK(sums.loss == Approx(7 * std::log(2.0)).epsilon(1e-6));
  // Only the rows asked for, in any order.
  const EvaluationSums two = evaluate(task, state, *task.test, std::vector<int32_t>{3, 1});
  CHECK(two.rows == 2);
  CHECK(two.score == 1);
  CHECK(two.loss == Approx(3 * std::log(2.0)).epsilon(1e-6));
  CHECK(evaluate(task, state, *task.test, std::vector<int32_t>{}).rows == 0);
}

TEST_CASE("evaluate: each row is judged by its own state") {
  const nn::Kind kind = GENERATE(nn::Kind::kEncoder, nn::Kind::kDecoder);
  const LearningTask task = tiny_task(kind);
  const nn::TensorMap state = tiny_trained(task);
  at::NoGradGuard no_gradients;
  const nn::Adapters adapters(task.base->architecture(), task.adapter, state);
  int64_t correct = 0;
  double loss = 0;
  for (const EncodedRow& row : task.test->rows) {  // one at a time, without padding
    const auto tokens = static_cast<int64_t>(row.ids.size());
    const at::Tensor ids = at::tensor(row.ids).to(at::kLong).view({1, tokens});
    const at::Tensor hidden = task.base->hidden({ids, {}, {}}, adapters)[0];  // [tokens, width]
    const at::Tensor pooled =
        kind == nn::Kind::kEncoder ? hidden.mean(0) : hidden.select(0, tokens - 1);
    const at::Tensor scores = (at::matmul(state.at("head.weight"), pooled) + state.at("head.bias"));
    correct += scores.argmax().item<int64_t>() == row.label;
    loss -= at::log_softmax(scores, 0)[row.label].item<double>();
  }
  const EvaluationSums sums = evaluate(task, state, *task.test, *first_rows(31));
  CHECK(sums.rows == 31);
  CHECK(sums.score == correct);
  CHECK(sums.loss == Approx(loss).epsilon(1e-5));
}

// -log p of `answer` and the end token after the row's prompt, token by token: each from a forward
// pass of its own over what stands before it.
std::vector<double> answer_losses(const LearningTask& task, const nn::Adapters& adapters,
                                  const EncodedRow& row, std::vector<int32_t> answer) {
  answer.push_back(2);  // the end
  std::vector<int64_t> ids(row.ids.begin(), row.ids.begin() + row.response_begin);
  std::vector<double> losses;
  for (int32_t next : answer) {
    const auto tokens = static_cast<int64_t>(ids.size());
    const at::Tensor hidden =
        task.base->hidden({at::tensor(ids, at::kLong).view({1, tokens}), {}, {}}, adapters)[0];
    const at::Tensor scores = task.base->vocabulary_scores(hidden.narrow(0, tokens - 1, 1))[0];
    losses.push_back(-at::log_softmax(scores, 0)[next].item<double>());
    ids.push_back(next);
  }
  return losses;
}

double total(const std::vector<double>& losses) {
  double sum = 0;
  for (double loss : losses) sum += loss;
  return sum;
}

TEST_CASE("evaluate: with responses, all classes' answers are compared") {
  const LearningTask task = tiny_task(nn::Kind::kDecoder, true);
  const nn::TensorMap state = tiny_trained(task);
  at::NoGradGuard no_gradients;
  const nn::Adapters adapters(task.base->architecture(), task.adapter, state);
  int64_t correct = 0;
  double loss = 0;
  for (const EncodedRow& row : task.test->rows) {
    size_t best = 0;
    std::vector<double> totals;
    for (const auto& answer : task.test->answers) {
      totals.push_back(total(answer_losses(task, adapters, row, answer)));
      if (totals.back() < totals[best]) best = totals.size() - 1;
    }
    const auto own = static_cast<size_t>(row.label);
    correct += best == own;
    // The mean over the response's tokens, the end included.
    loss += totals[own] / static_cast<double>(task.test->answers[own].size() + 1);
  }
  const EvaluationSums sums = evaluate(task, state, *task.test, *first_rows(31));
  CHECK(sums.rows == 31);
  CHECK(sums.score == correct);
  CHECK(correct > 0);  // of 31: a test that could not tell answers apart would prove nothing
  CHECK(correct < 31);
  CHECK(sums.loss == Approx(loss).epsilon(1e-5));
}

TEST_CASE("evaluate: the number of rows in a forward pass changes nothing but rounding") {
  const auto [kind, responses] = GENERATE(table<nn::Kind, bool>(
      {{nn::Kind::kEncoder, false}, {nn::Kind::kDecoder, false}, {nn::Kind::kDecoder, true}}));
  LearningTask task = tiny_task(kind, responses);
  const nn::TensorMap state = tiny_trained(task);
  const auto rows = first_rows(31);
  const EvaluationSums whole = evaluate(task, state, *task.test, *rows);
  CHECK(whole.score > 0);
  for (int64_t size : {1, 4, 7, 31}) {
    INFO(size << " rows");
    task.evaluation_rows = size;
    const EvaluationSums sums = evaluate(task, state, *task.test, *rows);
    CHECK(sums.rows == 31);
    CHECK(sums.score == whole.score);
    CHECK(sums.loss / 31 == Approx(whole.loss / 31).epsilon(1e-6));
  }
}

// --- encoding ------------------------------------------------------------------------------------

data::Dataset instructions() {
  data::Dataset dataset;
  dataset.classes = {"yes", "this is a much longer answer than that"};
  dataset.rows.push_back({"cats eat mice", "", "yes", 0, ""});
  dataset.rows.push_back(
      {"dogs see hay . cows find seeds . birds hunt mice . cats see hay . dogs "
       "eat seeds . cows see mice . birds find hay",
       "", "yes", 0, ""});
  dataset.rows.push_back({"cows eat hay", "", dataset.classes[1], 1, ""});
  return dataset;
}

TEST_CASE("encode: rows with responses are start, prompt, response, end") {
  const Base base = tiny_base(nn::Kind::kDecoder);
  const data::Tokenizer& tokenizer = *base.tokenizer;
  const data::Dataset dataset = instructions();
  const EncodedSet set = encode(dataset, tokenizer, 64, 2);
  REQUIRE(set.rows.size() == 3);
  REQUIRE(set.answers.size() == 2);
  CHECK(set.classes == 2);
  CHECK(set.has_responses());
  std::vector<int32_t> expected{tokenizer.start()};
  for (int32_t id : tokenizer.encode("cats eat mice")) expected.push_back(id);
  CHECK(set.rows[0].response_begin == static_cast<int32_t>(expected.size()));
  for (int32_t id : tokenizer.encode("yes")) expected.push_back(id);
  expected.push_back(tokenizer.end());
  CHECK(set.rows[0].ids == expected);
  CHECK(set.rows[0].types == std::vector<int32_t>(expected.size(), 0));
  CHECK(set.rows[0].label == 0);
  CHECK(set.answers[0] == tokenizer.encode("yes"));

  // A response that alone is too long is the user's error.
  CHECK_THROWS_AS(encode(dataset, tokenizer, 8, 2), InputError);
}

TEST_CASE("encode: the second text is of type 1 where the base knows two types") {
  const Base base = tiny_base(nn::Kind::kEncoder);
  data::Dataset dataset;
  dataset.classes = {"yes"};
  dataset.rows.push_back({"cats eat mice", "dogs see hay", "", 0, ""});
  const auto types = [&](int64_t known) {
    return encode(dataset, *base.tokenizer, 64, known).rows[0].types;
  };
  CHECK(types(2).front() == 0);
  CHECK(types(2).back() == 1);
  for (const int64_t known : {0, 1}) {
    CHECK(types(known) == std::vector<int32_t>(types(2).size(), 0));
  }
}

TEST_CASE("encode: a long prompt loses its beginning") {
  const Base base = tiny_base(nn::Kind::kDecoder);
  data::Dataset dataset = instructions();
  dataset.classes = {"yes"};
  dataset.rows.resize(2);
  const EncodedSet set = encode(dataset, *base.tokenizer, 16, 2);
  const EncodedRow& row = set.rows[1];
  const auto prompt = base.tokenizer->encode(dataset.rows[1].text);
  REQUIRE(row.ids.size() == 16);
  CHECK(row.ids.front() == base.tokenizer->start());
  CHECK(row.ids.back() == base.tokenizer->end());
  const auto kept = static_cast<size_t>(row.response_begin) - 1;
  REQUIRE(kept < prompt.size());
  CHECK(std::vector<int32_t>(row.ids.begin() + 1, row.ids.begin() + row.response_begin) ==
        std::vector<int32_t>(prompt.end() - static_cast<int64_t>(kept), prompt.end()));
}

TEST_CASE("evaluate: the longest answer has room after the longest prompt") {
  // The base reads 24 tokens and rows are cut to as many, so an answer that is longer than a row's
  // own must still fit behind its prompt.
  const Base base = tiny_base(nn::Kind::kDecoder);
  LearningTask task;
  task.set_base(base.architecture, *base.weights);
  task.adapter = tiny_adapter_spec();
  const data::Dataset dataset{instructions().rows, {"yes", "birds find seeds and hay"}};
  data::Dataset shorter = dataset;
  shorter.rows[2].response = shorter.classes[1];
  task.train = task.test = std::make_shared<const EncodedSet>(
      encode(shorter, *base.tokenizer, base.architecture.max_tokens, 2));
  task.pad = base.tokenizer->pad();
  const EvaluationSums sums =
      evaluate(task, tiny_start(task), *task.test, std::vector<int32_t>{0, 1, 2});
  CHECK(sums.rows == 3);
  CHECK(std::isfinite(sums.loss));
}

TEST_CASE("make_batch: padding at the end, none where rows are equally long") {
  EncodedRow shorter, longer;
  shorter.ids = {1, 9, 2};
  shorter.types = {0, 0, 0};
  longer.ids = {1, 7, 2, 8, 2};
  longer.types = {0, 0, 0, 1, 1};
  const std::vector<const EncodedRow*> both{&shorter, &longer};
  const nn::Batch batch = make_batch(both, 33);
  CHECK(at::equal(batch.ids, at::tensor({1, 9, 2, 33, 33, 1, 7, 2, 8, 2}, at::kLong).view({2, 5})));
  CHECK(at::equal(batch.types, at::tensor({0, 0, 0, 0, 0, 0, 0, 0, 1, 1}, at::kLong).view({2, 5})));
  CHECK(
      at::equal(batch.real,
                at::tensor({1, 1, 1, 0, 0, 1, 1, 1, 1, 1}, at::kLong).view({2, 5}).to(at::kBool)));
  const std::vector<const EncodedRow*> one{&longer};
  CHECK_FALSE(make_batch(one, 33).real.defined());
  CHECK_THROWS_AS(make_batch({}, 33), ProgrammerError);
}

}  // namespace
}  // namespace fedclock::learning
