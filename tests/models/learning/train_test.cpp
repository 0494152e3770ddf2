#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <set>
#include <vector>

#include "models/common/error.h"
#include "models/learning/train.h"
#include "tests/models/learning/tiny.h"

namespace fedclock::learning {
namespace {

TrainJob job_of(int64_t steps, int64_t epochs, int32_t rows = 60) {
  TrainJob job;
  job.rows = first_rows(rows);
  job.settings = {.steps = steps, .epochs = epochs, .batch_rows = 8};
  job.trained = last_layers(2, 2, 2);
  job.learning_rate = 0.02;
  job.seed = 11;
  job.round = 3;
  job.client = 7;
  return job;
}

// --- the same bits -------------------------------------------------------------------------------

TEST_CASE("train: the same inputs give the same bits, and the start stays as it is") {
  const nn::Kind kind = GENERATE(nn::Kind::kEncoder, nn::Kind::kDecoder);
  LearningTask task = tiny_task(kind);
  task.adapter.dropout = 0.2;
  const nn::TensorMap start = tiny_trained(task);
  const nn::TensorMap before = copy_of(start);
  const TrainJob job = job_of(4, 0);
  const TrainResult once = train(task, start, job);
  const TrainResult again = train(task, start, job);
  CHECK(same(once.tensors, again.tensors));
  CHECK(once.numbers.mean_loss == again.numbers.mean_loss);
  CHECK(same(start, before));
  CHECK_FALSE(same(once.tensors, start));
  for (const auto& [name, tensor] : once.tensors) {
    INFO(name);
    CHECK_FALSE(tensor.requires_grad());
    CHECK(tensor.sizes() == start.at(name).sizes());
    CHECK(at::isfinite(tensor).all().item<bool>());
  }
}

TEST_CASE("train: seed, round and client choose the batches") {
  const LearningTask task = tiny_task(nn::Kind::kEncoder);
  const nn::TensorMap start = tiny_start(task);
  const TrainResult first = train(task, start, job_of(4, 0));
  TrainJob job = job_of(4, 0);
  job.seed = 12;
  CHECK_FALSE(same(train(task, start, job).tensors, first.tensors));
  job = job_of(4, 0);
  job.round = 4;
  CHECK_FALSE(same(train(task, start, job).tensors, first.tensors));
  job = job_of(4, 0);
  job.client = 8;
  CHECK_FALSE(same(train(task, start, job).tensors, first.tensors));
}

TEST_CASE("train: dropout is another loss, and another one for another client") {
  LearningTask task = tiny_task(nn::Kind::kEncoder);
  const nn::TensorMap start = tiny_trained(task);
  // One batch of all rows at rate 0: without dropout the loss does not depend on the order.
  TrainJob job = job_of(1, 0);
  job.settings.batch_rows = 60;
  job.learning_rate = 0;
  const double plain = train(task, start, job).numbers.mean_loss;
  job.client = 8;
  CHECK(train(task, start, job).numbers.mean_loss == Approx(plain).epsilon(1e-6));
  task.adapter.dropout = 0.3;
  const double dropped = train(task, start, job).numbers.mean_loss;
  CHECK(std::abs(dropped - plain) > 1e-4);
  job.client = 7;
  CHECK(std::abs(train(task, start, job).numbers.mean_loss - dropped) > 1e-4);
}

// --- batches -------------------------------------------------------------------------------------

// How much each row counted in training, seen in the head's bias: `count` rows, each of a class of
// its own, a head of zeros, and SGD with a rate so small that all probabilities stay 1 / count. A
// row in a batch of B moves its own bias by rate / B, and each batch moves all by -rate / count.
// -> (sum of 1 / B over a row's batches) for each row
std::vector<double> shares(const TrainJob& job, int32_t count) {
  constexpr double kRate = 1e-3;
  LearningTask task = tiny_task(nn::Kind::kEncoder);
  EncodedSet rows = *task.train;
  rows.classes = count;
  for (int32_t i = 0; i < count; ++i) rows.rows[static_cast<size_t>(i)].label = i;
  task.train = std::make_shared<const EncodedSet>(std::move(rows));
  const int64_t width = task.base->architecture().width;
  const nn::TensorMap start{{"head.weight", at::zeros({count, width})},
                            {"head.bias", at::zeros({count})}};
  TrainJob slow = job;
  slow.settings.optimizer = OptimizerKind::kSgd;
  slow.learning_rate = kRate;
  slow.trained = last_layers(2, 0, 2);
  const TrainResult result = train(task, start, slow);
  CHECK(result.numbers.mean_loss == Approx(std::log(count)).epsilon(1e-3));
  const auto steps = static_cast<double>(slow.settings.steps_for(count));
  std::vector<double> shares;
  for (int32_t i = 0; i < count; ++i) {
    const double moved = result.tensors.at("head.bias").data_ptr<float>()[i];
    shares.push_back(moved / kRate + steps / count);
  }
  return shares;
}

// Shares are known to about the rate; those that occur here differ by far more.
int how_many(const std::vector<double>& shares, double share) {
  return static_cast<int>(std::count_if(shares.begin(), shares.end(),
                                        [&](double s) { return std::abs(s - share) < 0.01; }));
}

std::set<int> rows_with(const std::vector<double>& shares, double share) {
  std::set<int> rows;
  for (size_t i = 0; i < shares.size(); ++i) {
    if (std::abs(shares[i] - share) < 0.01) rows.insert(static_cast<int>(i));
  }
  return rows;
}

TEST_CASE("train: a pass takes every row once, the rest in a smaller batch") {
  // 10 rows in batches of 4: 4, 4 and 2, so 8 rows count 1/4 and 2 rows count 1/2.
  TrainJob job = job_of(0, 1, 10);
  job.settings.batch_rows = 4;
  CHECK(job.settings.steps_for(10) == 3);
  const auto once = shares(job, 10);
  CHECK(how_many(once, 0.25) == 8);
  CHECK(how_many(once, 0.5) == 2);
  // Others come last in another round, of another client and with another seed.
  std::set<std::set<int>> last{rows_with(once, 0.5)};
  for (int i = 0; i < 4; ++i) {
    TrainJob other = job;
    other.round += i == 1;
    other.client += i == 2;
    other.seed += i == 3;
    last.insert(rows_with(shares(other, 10), 0.5));
  }
  CHECK(last.size() >= 3);  // of 45 possible pairs
}

TEST_CASE("train: each pass is shuffled anew") {
  // Three passes: 3/4 where a row never came last, one 1/4 more for each time that it did.
  TrainJob job = job_of(0, 3, 10);
  job.settings.batch_rows = 4;
  const auto thrice = shares(job, 10);
  const int never = how_many(thrice, 0.75), once = how_many(thrice, 1.0);
  const int twice = how_many(thrice, 1.25), always = how_many(thrice, 1.5);
  CHECK(never + once + twice + always == 10);
  CHECK(once + 2 * twice + 3 * always == 6);
  CHECK(always < 2);  // the same two each time
}

TEST_CASE("train: with a number of steps, full batches run on over the end of a pass") {
  // 5 batches of 4 from 10 rows: exactly two passes, each row twice in a batch of 4.
  TrainJob job = job_of(5, 0, 10);
  job.settings.batch_rows = 4;
  CHECK(how_many(shares(job, 10), 0.5) == 10);
  // 3 batches: 12 of the 20 places of two passes.
  job.settings.steps = 3;
  const auto some = shares(job, 10);
  CHECK(how_many(some, 0.25) == 8);
  CHECK(how_many(some, 0.5) == 2);
}

TEST_CASE("train: a batch larger than the client's rows") {
  TrainJob job = job_of(0, 2, 5);
  job.settings.batch_rows = 16;
  CHECK(job.settings.steps_for(5) == 2);
  CHECK(how_many(shares(job, 5), 0.4) == 5);  // twice in a batch of 5
}

TEST_CASE("train: only the client's rows are used") {
  const LearningTask task = tiny_task(nn::Kind::kEncoder);
  LearningTask other = task;
  EncodedSet changed = *task.train;
  for (size_t i = 20; i < changed.rows.size(); ++i) changed.rows[i].label = 0;
  other.train = std::make_shared<const EncodedSet>(std::move(changed));
  const nn::TensorMap start = tiny_start(task);
  const TrainJob job = job_of(0, 1, 20);
  CHECK(same(train(task, start, job).tensors, train(other, start, job).tensors));
}

TEST_CASE("train: a client without rows is the caller's fault") {
  const LearningTask task = tiny_task(nn::Kind::kEncoder);
  CHECK_THROWS_AS(train(task, tiny_start(task), job_of(1, 0, 0)), ProgrammerError);
}

// --- depth ---------------------------------------------------------------------------------------

TEST_CASE("train: layers below the depth stay as they are, but act") {
  const nn::Kind kind = GENERATE(nn::Kind::kEncoder, nn::Kind::kDecoder);
  const LearningTask task = tiny_task(kind);
  const nn::TensorMap start = tiny_trained(task);
  TrainJob job = job_of(3, 0);
  for (int64_t depth = 0; depth <= 2; ++depth) {
    INFO("depth " << depth);
    job.trained = last_layers(2, depth, 2);
    const nn::TensorMap end = train(task, start, job).tensors;
    REQUIRE(end.size() == start.size());
    for (const auto& [name, tensor] : end) {
      INFO(name);
      const bool tuned = name.starts_with("head.") ||
                         (name.starts_with("layers.1.") && depth >= 1) ||
                         (name.starts_with("layers.0.") && depth >= 2);
      CHECK(at::equal(tensor, start.at(name)) == !tuned);
    }
  }
  // Without the lower layer's adapter, the loss is another one.
  nn::TensorMap cut = start;
  std::erase_if(cut, [](const auto& entry) { return entry.first.starts_with("layers.0."); });
  job.trained = last_layers(2, 1, 2);
  CHECK(std::abs(train(task, cut, job).numbers.mean_loss -
                 train(task, start, job).numbers.mean_loss) > 1e-4);
}

// --- learning ------------------------------------------------------------------------------------

TEST_CASE("train: the mean loss is that of the rows as they are seen") {
  const bool responses = GENERATE(false, true);
  const LearningTask task = tiny_task(nn::Kind::kDecoder, responses);
  const nn::TensorMap start = tiny_trained(task);
  TrainJob job = job_of(0, 1);
  job.learning_rate = 0;
  if (!responses) {
    // 60 rows at rate 0: the evaluation's loss, whatever the batches are (8, ..., 8, 4).
    const auto rows = first_rows(60);
    const EvaluationSums sums = evaluate(task, start, *task.train, *rows);
    CHECK(train(task, start, job).numbers.mean_loss == Approx(sums.loss / 60).epsilon(1e-6));
  } else {
    // A batch's loss is the mean over its response tokens. One batch of the rows 0 (answer 5, end)
    // and 1 (answer 6 7, end) has 2 + 3 tokens; alone, they have 2 and 3.
    const auto loss_of = [&](std::vector<int32_t> rows) {
      TrainJob one = job;
      one.rows = std::make_shared<const std::vector<int32_t>>(std::move(rows));
      return train(task, start, one).numbers.mean_loss;
    };
    CHECK(loss_of({0, 1}) == Approx((2 * loss_of({0}) + 3 * loss_of({1})) / 5).epsilon(1e-6));
  }
}

TEST_CASE("train: the loss falls, the accuracy rises") {
  const auto [kind, responses, optimizer] = GENERATE(
      table<nn::Kind, bool, OptimizerKind>({{nn::Kind::kEncoder, false, OptimizerKind::kAdamW},
                                            {nn::Kind::kEncoder, false, OptimizerKind::kSgd},
                                            {nn::Kind::kDecoder, false, OptimizerKind::kAdamW},
                                            {nn::Kind::kDecoder, true, OptimizerKind::kAdamW}}));
  INFO((kind == nn::Kind::kEncoder ? "encoder" : "decoder")
       << (responses ? ", responses" : "")
       << (optimizer == OptimizerKind::kSgd ? ", SGD" : ", AdamW"));
  LearningTask task = tiny_task(kind, responses);
  if (responses) {  // no head learns here: adapters alone have to bend a random model
    task.adapter.targets = {std::begin(nn::kAllTargets), std::end(nn::kAllTargets)};
    task.adapter.rank = 6;
  }
  const nn::TensorMap start = tiny_start(task);
  TrainJob job = job_of(0, responses ? 40 : 20);
  job.settings.optimizer = optimizer;
  job.settings.clip_norm = 1;
  if (optimizer == OptimizerKind::kSgd) {
    job.settings.momentum = 0.5;
    job.learning_rate = 0.05;
  }
  const auto seen = first_rows(60), unseen = first_rows(31);
  const EvaluationSums before = evaluate(task, start, *task.train, *seen);
  const nn::TensorMap end = train(task, start, job).tensors;
  const EvaluationSums after = evaluate(task, end, *task.train, *seen);
  CHECK(after.loss < 0.6 * before.loss);
  CHECK(after.score >= 48);                                     // of 60
  CHECK(evaluate(task, end, *task.test, *unseen).score >= 20);  // of 31; chance is 10
}

}  // namespace
}  // namespace fedclock::learning
