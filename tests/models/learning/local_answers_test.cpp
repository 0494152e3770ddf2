// What the answers to "how does each one train" add to plain training, and what training tells
// beside its state.
#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <vector>

#include "models/learning/reference.h"
#include "models/learning/train.h"
#include "tests/models/learning/deep.h"
#include "tests/models/learning/states.h"

namespace fedclock::learning {
namespace {

Rows rows_of(std::vector<int32_t> rows) {
  return std::make_shared<const std::vector<int32_t>>(std::move(rows));
}

// Plain SGD on one row, which is every batch: steps of one job and of several are the same.
TrainJob sgd_job(int64_t steps, double learning_rate) {
  TrainJob job;
  job.rows = rows_of({1});
  job.settings = {.steps = steps, .epochs = 0, .batch_rows = 1, .optimizer = OptimizerKind::kSgd};
  job.trained = last_layers(kLayers, kLayers, 2);
  job.learning_rate = learning_rate;
  job.seed = 11;
  job.round = 3;
  job.client = 7;
  return job;
}

nn::TensorMap trained(const LearningTask& task, const nn::TensorMap& start, const TrainJob& job,
                      const std::vector<const nn::TensorMap*>& controls = {}) {
  return train(task, start, job, controls).tensors;
}

// a + factor b, tensor by tensor; one that b lacks as in a.
nn::TensorMap sum_of(const nn::TensorMap& a, double factor, const nn::TensorMap& b) {
  nn::TensorMap sum;
  for (const auto& [name, tensor] : a) {
    const auto other = b.find(name);
    sum[name] = other == b.end() ? tensor : tensor + factor * other->second;
  }
  return sum;
}

double largest(const nn::TensorMap& state) {
  double most = 0;
  for (const auto& [name, tensor] : state) {
    most = std::max(most, tensor.abs().max().item<double>());
  }
  return most;
}
double distance(const nn::TensorMap& a, const nn::TensorMap& b) {
  return largest(sum_of(a, -1, b));
}

// --- proximal term -------------------------------------------------------------------------------

TEST_CASE("proximal: nothing at the start, then -rate mu (w - start)") {
  const LearningTask task =
      deep_task(nn::Kind::kEncoder, GENERATE(Device::kCpu, Device::kReference));
  const nn::TensorMap start = trained_state(task);
  constexpr double kRate = 0.5, kMu = 1.5;
  TrainJob one = sgd_job(1, kRate), two = sgd_job(2, kRate);
  const nn::TensorMap w = trained(task, start, one);  // start - rate g(start)
  const nn::TensorMap plain = trained(task, w, one);  // w - rate g(w)
  REQUIRE(same(trained(task, start, two), plain));
  one.proximal_mu = two.proximal_mu = kMu;
  CHECK(same(trained(task, start, one), w));  // w = start: mu 0 is added
  // The second step: w - rate (g(w) + mu (w - start)) = plain - rate mu (w - start).
  const nn::TensorMap expected = sum_of(plain, -kRate * kMu, sum_of(w, -1, start));
  CHECK(distance(trained(task, start, two), expected) < 1e-6);
  CHECK(distance(plain, expected) > 0.01);
}

// --- control variates ----------------------------------------------------------------------------

TEST_CASE("controls: a step is w - rate (g + c - c_i), a tensor that is not there being 0") {
  const LearningTask task =
      deep_task(nn::Kind::kEncoder, GENERATE(Device::kCpu, Device::kReference));
  const nn::TensorMap start = trained_state(task);
  nn::TensorMap c = trained_state(task, {2, 2, 2, 2}, 6),
                c_i = trained_state(task, {2, 2, 2, 2}, 7);
  c.erase("layers.3.q.lora_a");
  c_i.erase("layers.3.v.lora_b");
  for (nn::TensorMap* control : {&c, &c_i}) control->erase("head.bias");
  constexpr double kRate = 0.25;
  TrainJob job = sgd_job(1, kRate);
  job.trained.ranks[1] = 0;  // whose controls are there, and count for nothing
  const TrainResult plain = train(task, start, job);
  job.has_controls = true;
  const TrainResult corrected = train(task, start, job, {&c, &c_i});
  const nn::TensorMap& end = corrected.tensors;
  for (const auto& [name, tensor] : plain.tensors) {
    INFO(name);
    at::Tensor expected = tensor.clone();
    const bool frozen = name.starts_with("layers.1.");
    if (!frozen && c.contains(name)) expected -= kRate * c.at(name);
    if (!frozen && c_i.contains(name)) expected += kRate * c_i.at(name);
    CHECK((end.at(name) - expected).abs().max().item<double>() < 1e-6);
    CHECK(at::equal(end.at(name), tensor) == (frozen || name == "head.bias"));
  }
  // The Fisher information is of the rows' loss alone.
  CHECK(corrected.numbers.layer_fisher == plain.numbers.layer_fisher);
  const nn::TensorMap none;
  CHECK(same(trained(task, start, job, {&none, &none}), plain.tensors));
  CHECK_THROWS_AS(train(task, start, job), ProgrammerError);
}

TEST_CASE("SCAFFOLD: two rounds of two clients by hand") {
  // K eta = 1/2, so the factor is 2; clients count equally.
  const auto scalar = [](float value) { return nn::TensorMap{{"head.bias", vector({value})}}; };
  const nn::TensorMap none;
  // Round 1, x = 1, c = c_1 = c_2 = 0: y_1 = 0.5, y_2 = 2.
  const nn::TensorMap x1 = scalar(1), y11 = scalar(0.5), y21 = scalar(2);
  const nn::TensorMap c11 = state_of(new_control(2), {&none, &x1, &y11, &none});
  const nn::TensorMap c21 = state_of(new_control(2), {&none, &x1, &y21, &none});
  check_values(c11.at("head.bias"), {1});   // 0 - 0 + (1 - 0.5) 2
  check_values(c21.at("head.bias"), {-2});  // 0 - 0 + (1 - 2) 2
  const nn::TensorMap c1 = state_of(moved_control(2), {&none, &none, &c11, &none, &c21});
  check_values(c1.at("head.bias"), {-0.5});  // 0 + ((1 - 0) + (-2 - 0)) / 2
  // Round 2, x = (0.5 + 2) / 2 = 1.25, client 1 alone: y_1 = 1.
  const nn::TensorMap x2 = scalar(1.25), y12 = scalar(1);
  const nn::TensorMap c12 = state_of(new_control(2), {&c1, &x2, &y12, &c11});
  check_values(c12.at("head.bias"), {2});  // 1 - (-0.5) + (1.25 - 1) 2
  const nn::TensorMap c2 = state_of(moved_control(2), {&c1, &c11, &c12});
  check_values(c2.at("head.bias"), {0});  // -0.5 + (2 - 1) / 2, the mean of 2 and -2
}

TEST_CASE("SCAFFOLD: after one step a client's control is its gradient, whatever corrected it") {
  // c_i - c + (x - y) / eta with y = x - eta (g + c - c_i) is g.
  const LearningTask task = deep_task();
  constexpr double kRate = 0.25;
  nn::TensorMap x = trained_state(task), c, own[2];
  for (int round = 1; round <= 2; ++round) {
    nn::TensorMap gradients[2], next[2], y[2];
    for (int i = 0; i < 2; ++i) {
      TrainJob job = sgd_job(1, kRate);
      job.rows = rows_of({i});
      gradients[i] = sum_of(x, -1, trained(task, x, job));  // rate g_i
      job.has_controls = true;
      y[i] = trained(task, x, job, {&c, &own[i]});
      next[i] = state_of(new_control(1 / kRate), {&c, &x, &y[i], &own[i]});
      INFO("round " << round << ", client " << i);
      CHECK(distance(next[i], sum_of(gradients[i], 1 / kRate - 1, gradients[i])) < 1e-5);
      // Corrected by the round before only: without controls a step is -rate g.
      CHECK(same(y[i], trained(task, x, sgd_job(1, kRate))) == (round == 1 && i == 1));
    }
    const nn::TensorMap moved =
        state_of(moved_control(2), {&c, &own[0], &next[0], &own[1], &next[1]});
    CHECK(distance(moved, sum_of(sum_of(next[0], -0.5, next[0]), 0.5, next[1])) < 1e-6);
    c = moved;
    for (int i = 0; i < 2; ++i) own[i] = next[i];
    x = sum_of(sum_of(y[0], -0.5, y[0]), 0.5, y[1]);
  }
}

// --- tails ---------------------------------------------------------------------------------------

TEST_CASE("tail: the gradient of lambda ||B[:, keep:]|| ||A[keep:, :]|| by hand") {
  const LearningTask task =
      deep_task(nn::Kind::kEncoder, GENERATE(Device::kCpu, Device::kReference));
  // Rank 2, of which 1 is kept; rank 1 in layer 3, which has no tail.
  nn::TensorMap start = trained_state(task, {2, 2, 2, 1});
  const auto set_tail = [&](const std::string& map, std::vector<float> a, std::vector<float> b) {
    const at::Tensor of_a = start.at(map + ".lora_a").select(0, 1);
    const at::Tensor of_b = start.at(map + ".lora_b").select(1, 1);
    of_a.zero_();
    of_b.zero_();
    for (int i = 0; i < 2; ++i) {
      of_a[i] = a[static_cast<size_t>(i)];
      of_b[i + 4] = b[static_cast<size_t>(i)];
    }
  };
  set_tail("layers.0.q", {0.3F, 0.4F}, {0.6F, 0.8F});  // norms 0.5 and 1
  set_tail("layers.0.v", {0, 0}, {0.6F, 0.8F});
  set_tail("layers.1.q", {0.3F, 0.4F}, {0, 0});
  set_tail("layers.1.v", {0, 0}, {0, 0});
  constexpr double kRate = 0.25, kLambda = 2;
  TrainJob job = sgd_job(1, kRate);
  job.trained.ranks[2] = 0;  // held and not trained: no penalty
  const nn::TensorMap plain = trained(task, start, job);
  job.tail_lambda = kLambda;
  job.tail_keep = 1;
  const nn::TensorMap end = trained(task, start, job);
  // d / dB_t = lambda ||A_t|| B_t / ||B_t|| = 2 x 0.5 (0.6, 0.8), d / dA_t = 2 x 1 (0.3, 0.4) /
  // 0.5: steps of -0.25 times that. Beside a norm of 0, at which there is no gradient, the other
  // factor has 0 times its own.
  nn::TensorMap expected = copy_of(plain);
  const at::Tensor of_a = expected.at("layers.0.q.lora_a"), of_b = expected.at("layers.0.q.lora_b");
  of_a[1][0] -= 0.3F;
  of_a[1][1] -= 0.4F;
  of_b[4][1] -= 0.15F;
  of_b[5][1] -= 0.2F;
  CHECK(distance(end, expected) < 1e-6);
  for (const auto& [name, tensor] : plain) {
    INFO(name);
    CHECK(at::equal(end.at(name), tensor) == !name.starts_with("layers.0.q."));
  }
  const auto first = [](const at::Tensor& a) { return a.narrow(0, 0, 1); };
  CHECK(at::equal(first(end.at("layers.0.q.lora_a")), first(plain.at("layers.0.q.lora_a"))));
  // With A frozen, B alone is pulled.
  job.trained.a = false;
  const nn::TensorMap half = trained(task, start, job);
  CHECK(at::equal(half.at("layers.0.q.lora_a"), start.at("layers.0.q.lora_a")));
  CHECK((half.at("layers.0.q.lora_b") - of_b).abs().max().item<double>() < 1e-6);
  job.tail_keep = 2;
  job.trained.a = true;
  CHECK(same(trained(task, start, job), plain));
}

TEST_CASE("tail: its gradient is the slope of the tail norm") {
  const LearningTask task = deep_task();
  const nn::TensorMap start = trained_state(task, {4, 3, 2, 1});
  TrainJob job = sgd_job(1, 1);
  const nn::TensorMap plain = trained(task, start, job);
  job.tail_lambda = 1;
  job.tail_keep = 2;
  const nn::TensorMap gradient = sum_of(plain, -1, trained(task, start, job));
  double squares = 0;
  for (const auto& [name, tensor] : gradient) squares += tensor.square().sum().item<double>();
  const auto norm_at = [&](double along) {
    const nn::TensorMap state = sum_of(start, along, gradient);
    return apply(tail_norm(2), {&state}).numbers.at(0);
  };
  CHECK(squares > 0.1);
  CHECK((norm_at(0.01) - norm_at(-0.01)) / 0.02 == Approx(squares).epsilon(1e-3));
}

// --- trained shares ------------------------------------------------------------------------------

Share share_of(std::vector<int64_t> ranks, bool a = true, bool b = true, bool head = true) {
  return {.ranks = std::move(ranks), .a = a, .b = b, .head = head};
}

TEST_CASE("a trained share: all else keeps its bits; fast path and reference agree", "[native]") {
  const nn::Kind kind = GENERATE(nn::Kind::kEncoder, nn::Kind::kDecoder);
  const LearningTask fast = deep_task(kind), reference = deep_task(kind, Device::kReference);
  REQUIRE(fast.trunk);
  REQUIRE_FALSE(reference.trunk);
  nn::TensorMap start = trained_state(fast);
  start["layers.0.q.merged"] = at::zeros({16, 16});  // never trained
  TrainJob job = sgd_job(3, 0.05);
  job.rows = first_rows(20);
  job.settings.batch_rows = 8;
  const Share shares[] = {share_of({2, 0, 0, 2}),
                          share_of({0, 2, 0, 2}),
                          share_of({2, 0, 2, 0}),
                          share_of({0, 2, 0, 0}, true, true, false),
                          share_of({2, 2, 2, 2}, true, false),
                          share_of({2, 2, 2, 2}, false, true),
                          share_of({2, 0, 2, 0}, false, true, false),
                          share_of({0, 0, 0, 0})};
  for (const Share& share : shares) {
    job.trained = share;
    const TrainResult by_fast = train(fast, start, job), by_other = train(reference, start, job);
    for (const auto& [name, tensor] : start) {
      INFO(name << ", ranks " << share.ranks[0] << share.ranks[1] << share.ranks[2]
                << share.ranks[3] << (share.a ? " a" : "") << (share.b ? " b" : ""));
      const bool is_head = name.starts_with("head.");
      const auto layer = is_head ? size_t{0} : static_cast<size_t>(name[7] - '0');
      const bool factor = name.ends_with("_a") ? share.a : name.ends_with("_b") && share.b;
      const bool tuned = is_head ? share.head : share.ranks[layer] > 0 && factor;
      CHECK(at::equal(by_fast.tensors.at(name), tensor) == !tuned);
      CHECK(at::equal(by_other.tensors.at(name), tensor) == !tuned);
      const at::Tensor apart = by_fast.tensors.at(name) - by_other.tensors.at(name);
      CHECK(apart.abs().max().item<double>() < 1e-5);
    }
    const TrainingNumbers &one = by_fast.numbers, &other = by_other.numbers;
    CHECK((one.head_update > 0) == share.head);
    CHECK(one.mean_loss == Approx(other.mean_loss).epsilon(1e-5));
    CHECK(one.mean_square_loss == Approx(other.mean_square_loss).epsilon(1e-4));
    for (size_t layer = 0; layer < share.ranks.size(); ++layer) {
      CHECK((one.layer_updates[layer] > 0) == (share.ranks[layer] > 0));
      CHECK((one.layer_fisher[layer] > 0) == (share.ranks[layer] > 0));
      CHECK(one.layer_updates[layer] == Approx(other.layer_updates[layer]).epsilon(1e-3));
      CHECK(one.layer_fisher[layer] == Approx(other.layer_fisher[layer]).epsilon(1e-3));
    }
  }
  job.trained = share_of({0, 0, 0, 0}, true, true, false);
  CHECK_THROWS_AS(train(fast, start, job), ProgrammerError);
}

// --- numbers -------------------------------------------------------------------------------------

TEST_CASE("training numbers: squared distances from the start, mean squared gradients") {
  const LearningTask task = deep_task();
  const nn::TensorMap start = trained_state(task, {3, 2, 0, 2});
  constexpr double kRate = 1;
  const auto squares_of = [](const nn::TensorMap& difference, const std::string& prefix) {
    std::pair<double, double> sum{0, 0};  // of squares, and elements
    for (const auto& [name, tensor] : difference) {
      if (!name.starts_with(prefix)) continue;
      sum.first += tensor.to(at::kDouble).square().sum().item<double>();
      sum.second += static_cast<double>(tensor.numel());
    }
    return sum;
  };
  const TrainResult once = train(task, start, sgd_job(1, kRate));
  const TrainResult twice = train(task, start, sgd_job(2, kRate));
  const nn::TensorMap first = sum_of(start, -1, once.tensors);  // rate g
  const nn::TensorMap second = sum_of(once.tensors, -1, twice.tensors);
  const nn::TensorMap both = sum_of(twice.tensors, -1, start);
  for (size_t layer = 0; layer < kLayers; ++layer) {
    const std::string prefix = "layers." + std::to_string(layer) + ".";
    INFO(prefix);
    CHECK(twice.numbers.layer_updates[layer] == Approx(squares_of(both, prefix).first));
    const auto [sum_1, elements] = squares_of(first, prefix);
    const double sum_2 = squares_of(second, prefix).first;
    if (elements == 0) {
      CHECK(twice.numbers.layer_fisher[layer] == 0);
      continue;
    }
    CHECK(once.numbers.layer_fisher[layer] == Approx(sum_1 / elements).epsilon(1e-4));
    CHECK(twice.numbers.layer_fisher[layer] ==
          Approx((sum_1 + sum_2) / 2 / elements).epsilon(1e-4));
  }
  CHECK(twice.numbers.head_update == Approx(squares_of(both, "head.").first));
}

TEST_CASE("training numbers: losses are means over rows, of themselves and of their squares") {
  const LearningTask task = deep_task(GENERATE(nn::Kind::kEncoder, nn::Kind::kDecoder));
  const nn::TensorMap start = trained_state(task);
  TrainJob job = sgd_job(0, 0);
  job.rows = first_rows(11);
  job.settings.epochs = 1;
  std::vector<const EncodedRow*> rows;
  for (size_t i = 0; i < 11; ++i) rows.push_back(&task.train->rows[i]);
  const std::vector<double> losses = reference_losses(task, start, rows).losses;
  const double sum = std::accumulate(losses.begin(), losses.end(), 0.0);
  const double squares = std::inner_product(losses.begin(), losses.end(), losses.begin(), 0.0);
  REQUIRE(squares / 11 > 1.01 * (sum / 11) * (sum / 11));
  for (const int64_t batch : {11, 4}) {  // one batch, and 4, 4 and 3 rows
    job.settings.batch_rows = batch;
    const TrainingNumbers numbers = train(task, start, job).numbers;
    CHECK(numbers.mean_loss == Approx(sum / 11).epsilon(1e-5));
    CHECK(numbers.mean_square_loss == Approx(squares / 11).epsilon(1e-5));
  }
}

// --- parts ---------------------------------------------------------------------------------------

TEST_CASE("parts: the first draws as if it were alone, each other one anew") {
  TrainJob job = sgd_job(0, 0.1);
  job.rows = first_rows(10);
  job.settings.epochs = 1;
  job.settings.batch_rows = 4;
  const auto order_of = [&](int64_t part) {
    job.part = part;
    std::vector<int32_t> order;
    for (const auto& batch : plan_batches(job)) {
      order.insert(order.end(), batch.begin(), batch.end());
    }
    return order;
  };
  std::vector<int32_t> alone = *job.rows;
  Random random(11, "batches", 3, 7);  // seed, purpose, round, client
  random.shuffle(alone);
  CHECK(order_of(0) == alone);
  std::vector<int32_t> second = order_of(1);
  CHECK(second != alone);
  CHECK(order_of(2) != second);
  CHECK(order_of(2) != alone);
  std::sort(second.begin(), second.end());
  CHECK(second == *job.rows);
  // Dropout too.
  const auto draw_of = [&](int64_t part) {
    job.part = part;
    return random_of(job, "dropout").bits64();
  };
  CHECK(draw_of(0) == Random(11, "dropout", 3, 7).bits64());
  CHECK(draw_of(1) != draw_of(0));
}

}  // namespace
}  // namespace fedclock::learning
