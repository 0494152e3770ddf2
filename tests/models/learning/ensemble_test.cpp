// FedAPEN's ensembles: losses and gradients by hand and against autograd, use, and the weight.
#include "models/learning/ensemble.h"

#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>

#include "models/learning/batch_gradients.h"
#include "models/learning/decode.h"
#include "models/learning/reference.h"
#include "tests/models/learning/states.h"
#include "tests/models/learning/tiny.h"

namespace fedclock::learning {
namespace {

nn::TensorMap moved(const nn::TensorMap& tensors, const char* purpose) {
  nn::TensorMap other = copy_of(tensors);
  Random random(6, purpose);
  for (auto& [name, tensor] : other) {
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      tensor.data_ptr<float>()[i] += static_cast<float>(0.2 * random.normal());
    }
  }
  return other;
}

nn::TensorMap with_weight(const nn::TensorMap& shared, const nn::TensorMap& own, float weight) {
  nn::TensorMap state = state_of(ensemble(), {&shared, &own});
  state[kEnsembleWeight] = at::tensor({weight, 0.0F, 0.0F, 0.0F});
  return state;
}

TEST_CASE("ensemble: put together and taken apart") {
  const nn::TensorMap shared{{"head.bias", vector({1, 2})}, {"layers.0.q.lora_a", matrix(1, {3})}};
  const nn::TensorMap own{{"head.bias", vector({4, 5})}};
  const nn::TensorMap both = state_of(ensemble(), {&shared, &own});
  CHECK(names_in(both) == std::vector<std::string>{"ensemble.weight", "head.bias",
                                                   "layers.0.q.lora_a", "private.head.bias"});
  CHECK(private_weight(both) == 0.5F);
  CHECK(parse_tensor_name("private.layers.0.q.lora_a").kind == TensorKind::kPrivate);
  CHECK(same(state_of(only({{1}}), {&both}), shared));
  CHECK(!private_weight(shared));
  CHECK(same(state_of(shared_model(), {&both}), shared));
  CHECK(same(state_of(private_model(), {&both}), own));
  const nn::TensorMap weight{{kEnsembleWeight, vector({0.25, 1, 2, 3})}};
  CHECK(private_weight(state_of(ensemble(), {&shared, &own, &weight})) == 0.25F);
}

// One row, three classes: what each model learns by, written out, and its slopes by differences of
// the scores, the other model's held still.
TEST_CASE("ensemble: losses and their gradients by hand") {
  const LearningTask task = tiny_task(nn::Kind::kEncoder);
  const nn::TensorMap shared = tiny_trained(task), own = moved(shared, "test: by hand");
  constexpr float kWeight = 0.3F;
  const auto row = rows_of(*task.train, *first_rows(1));
  const Examples examples = make_examples(row, false);
  nn::Arena arena;
  nn::TrunkPass shared_pass(*task.trunk, task.adapter, shared);
  nn::TrunkPass own_pass(*task.trunk, task.adapter, own);
  const Readout of_shared(*task.trunk, shared, examples, shared_pass.hidden(examples.rows), arena);
  const Readout of_own(*task.trunk, own, examples, own_pass.hidden(examples.rows), arena);
  using Scores = std::vector<double>;
  const auto scores_of = [&](const Readout& readout) {
    const nn::Matrix z = arena.matrix(1, 3);
    readout.scores(0, z);
    return Scores(z.data, z.data + 3);
  };
  const Scores z_shared = scores_of(of_shared), z_own = scores_of(of_own);
  const auto softmax = [](Scores z) {
    double sum = 0;
    for (double& one : z) sum += one = std::exp(one);
    for (double& one : z) one /= sum;
    return z;
  };
  const auto label = static_cast<size_t>(examples.targets.front());
  const auto mixed = [&](const Scores& a, const Scores& b, double weight_of_a) {
    Scores z;
    for (size_t i = 0; i < 3; ++i) z.push_back(weight_of_a * a[i] + (1 - weight_of_a) * b[i]);
    return z;
  };
  const auto loss_of_model = [&](const Scores& z, const Scores& other, double weight) {
    const Scores p = softmax(z), q = softmax(other);
    double loss = -std::log(p[label]) - std::log(softmax(mixed(z, other, weight))[label]);
    for (size_t i = 0; i < 3; ++i) loss += q[i] * std::log(q[i] / p[i]);
    return loss;
  };
  nn::TensorMap d_shared{{"head.bias", at::empty({3})}}, d_own{{"head.bias", at::empty({3})}};
  const nn::Matrix d_hidden = arena.matrix(examples.rows.tokens(), 16);
  const ReadoutGradients to_shared{d_hidden, d_shared, nn::Onto::kNothing};
  const ReadoutGradients to_own{d_hidden, d_own, nn::Onto::kNothing};
  const TargetLosses losses =
      mutual_losses_backward(of_shared, of_own, kWeight, examples, 2, to_shared, to_own, arena);
  const double both = -std::log(softmax(mixed(z_own, z_shared, kWeight))[label]);
  CHECK(losses.losses.at(0) == Approx(both));
  CHECK(ensemble_losses(of_shared, of_own, kWeight, examples, arena).losses.at(0) == Approx(both));
  // The bias is added to the scores: its slopes are theirs.
  const auto check = [&](const at::Tensor& slopes, const Scores& z, const Scores& other,
                         double weight) {
    for (size_t i = 0; i < 3; ++i) {
      const auto at = [&](double by) {
        Scores there = z;
        there[i] += by;
        return 2 * loss_of_model(there, other, weight);
      };
      CHECK(slopes[static_cast<int64_t>(i)].item<double>() ==
            Approx((at(1e-5) - at(-1e-5)) / 2e-5).epsilon(1e-4).margin(1e-5));
    }
  };
  check(d_own.at("head.bias"), z_own, z_shared, kWeight);
  check(d_shared.at("head.bias"), z_shared, z_own, 1 - kWeight);
  const auto loss_at = [&](double weight) {
    return -std::log(softmax(mixed(z_own, z_shared, weight))[label]);
  };
  CHECK(ensemble_slope(of_shared, of_own, kWeight, examples, arena) ==
        Approx((loss_at(kWeight + 1e-5) - loss_at(kWeight - 1e-5)) / 2e-5).epsilon(1e-4));
}

TEST_CASE("ensemble: gradients of whole batches are autograd's", "[native]") {
  for (uint64_t seed = 0; seed < 12; ++seed) {
    Random random(seed, "test: ensembles");
    const bool responses = seed % 3 == 0;
    const nn::Kind kind = seed % 3 == 1 ? nn::Kind::kEncoder : nn::Kind::kDecoder;
    const LearningTask task = tiny_task(kind, responses);
    nn::TensorMap shared = tiny_trained(task);
    for (auto& [name, tensor] : shared) tensor.mul_(0.5);
    const auto weight = static_cast<float>(random.uniform());
    const nn::TensorMap state = with_weight(shared, moved(shared, "test: ensembles"), weight);
    TrainJob job;
    job.seed = seed;
    nn::TensorMap fast, exact;
    const int64_t depth = responses ? 2 : static_cast<int64_t>(random.below(3));
    for (const auto& [name, tensor] : state) {
      const bool low = name.find("layers.0.") != std::string::npos;
      const bool high = name.find("layers.1.") != std::string::npos;
      if (name == kEnsembleWeight || (low && depth < 2) || (high && depth < 1)) continue;
      fast[name] = at::full_like(tensor, 7);
      exact[name] = at::empty_like(tensor);
    }
    std::vector<int32_t> rows;
    for (size_t i = 0; i < 1 + 50 * (seed % 4); ++i) {
      rows.push_back(static_cast<int32_t>(random.below(60)));
    }
    const auto gradients = make_ensemble_gradients(task, state, depth);
    const BatchLoss loss = (*gradients)(rows, fast);
    const BatchLoss expected = (*make_reference_gradients(task, state, job))(rows, exact);
    CHECK(loss.mean == Approx(expected.mean).epsilon(1e-5));
    CHECK(loss.mean_square == Approx(expected.mean_square).epsilon(1e-5));
    CHECK(gradients->buffer_bytes() > 0);
    for (const auto& [name, gradient] : fast) {
      INFO(seed << " " << name);
      CHECK(((gradient - exact.at(name)).norm() / (exact.at(name).norm() + 1e-6)).item<double>() <
            1e-3);
    }
  }
}

TrainJob sgd_job(double rate) {
  TrainJob job;
  job.rows = first_rows(20);
  job.settings = {.steps = 1, .epochs = 0, .batch_rows = 20, .optimizer = OptimizerKind::kSgd};
  job.trained = last_layers(2, 2, 2);
  job.learning_rate = rate;
  return job;
}

// Of equal models the divergence is 0, and its gradient: with lambda 1/2 a model learns by its own
// loss, and by half of it once more.
TEST_CASE("ensemble: equal models take one and a half steps") {
  const nn::Kind kind = GENERATE(nn::Kind::kEncoder, nn::Kind::kDecoder);
  LearningTask task = tiny_task(kind);
  if (GENERATE(true, false)) task.trunk = nullptr;
  const nn::TensorMap start = tiny_trained(task);
  const nn::TensorMap alone = train(task, start, sgd_job(0.15)).tensors;
  TrainJob job = sgd_job(0.1);
  job.ensemble = true;
  const TrainResult both = train(task, with_weight(start, start, 0.5F), job);
  for (const Member member : {Member::kShared, Member::kPrivate}) {
    const nn::TensorMap model = member_of(both.tensors, member);
    REQUIRE(model.size() == alone.size());
    for (const auto& [name, tensor] : model) {
      CHECK(at::allclose(tensor, alone.at(name), 1e-4, 1e-5));
      CHECK(!at::equal(tensor, start.at(name)));
    }
  }
  CHECK(both.numbers.mean_loss ==
        Approx(train(task, start, sgd_job(0.1)).numbers.mean_loss).epsilon(1e-5));
  CHECK(both.numbers.layer_updates.at(0) > 0);
  job.ensemble = false;
  CHECK_THROWS_AS(train(task, with_weight(start, start, 0.5F), job), ProgrammerError);
}

TEST_CASE("ensemble: used with all weight on one model it is that model", "[native]") {
  const bool responses = GENERATE(true, false);
  LearningTask task = tiny_task(nn::Kind::kDecoder, responses);
  if (GENERATE(true, false)) task.trunk = nullptr;
  const nn::TensorMap shared = tiny_trained(task), own = moved(shared, "test: used");
  const auto sums = [&](const nn::TensorMap& state) {
    return evaluate(task, state, *task.test, *first_rows(31));
  };
  const auto same_sums = [](const EvaluationSums& a, const EvaluationSums& b) {
    return a.score == b.score && a.loss == Approx(b.loss).epsilon(1e-6);
  };
  CHECK(same_sums(sums(with_weight(shared, own, 0)), sums(shared)));
  CHECK(same_sums(sums(with_weight(shared, own, 1)), sums(own)));
  CHECK(same_sums(sums(with_weight(own, own, 0.3F)), sums(own)));
  CHECK(!same_sums(sums(with_weight(shared, own, 0.5F)), sums(own)));
  if (!responses) return;
  const auto written = [&](const nn::TensorMap& state) {
    const Decoding how{.end = 2, .most_tokens = 6, .vocabulary = 40};
    return decode_greedily(task, state, rows_of(*task.test, *first_rows(9)), how).written;
  };
  CHECK(written(with_weight(shared, own, 0)) == written(shared));
  CHECK(written(with_weight(shared, own, 1)) == written(own));
  CHECK(written(with_weight(own, own, 0.3F)) == written(own));
  LearningTask other = task;
  other.trunk = task.trunk ? nullptr : trunk_of(task);
  const Decoding how{.end = 2, .most_tokens = 6, .vocabulary = 40};
  const nn::TensorMap both = with_weight(shared, own, 0.5F);
  CHECK(written(both) ==
        decode_greedily(other, both, rows_of(*task.test, *first_rows(9)), how).written);
}

TEST_CASE("ensemble: the weight is learnt on the rows") {
  const bool responses = GENERATE(true, false);
  const LearningTask task = tiny_task(nn::Kind::kDecoder, responses);
  // A model that has learnt, and one that has not.
  const nn::TensorMap start = tiny_trained(task);
  TrainJob job = sgd_job(0.3);
  job.settings.steps = 40;
  const nn::TensorMap good = train(task, start, job).tensors;
  const auto learn = [&](const nn::TensorMap& state, int64_t epochs, double rate) {
    return apply(learned_weight(first_rows(20), {epochs, 8, rate}), {&state}, &task);
  };
  const nn::TensorMap bad_shared = with_weight(start, good, 0.5F);
  // The first step of Adam is as long as its rate: three batches, one pass.
  const Outcome up = apply(learned_weight(first_rows(8), {1, 8, 0.01}), {&bad_shared}, &task);
  CHECK(up.numbers.at(0) == Approx(0.51).epsilon(1e-4));
  CHECK(private_weight(up.tensors) == static_cast<float>(up.numbers.at(0)));
  const nn::TensorMap bad_own = with_weight(good, start, 0.5F);
  CHECK(apply(learned_weight(first_rows(8), {1, 8, 0.01}), {&bad_own}, &task).numbers.at(0) ==
        Approx(0.49).epsilon(1e-4));
  // No further than 0 and 1.
  CHECK(learn(bad_shared, 400, 0.05).numbers.at(0) <= 1);
  CHECK(learn(bad_own, 1, 0.9).numbers.at(0) >= 0);
  // Two times five passes are ten.
  const Outcome ten = learn(bad_shared, 10, 0.002), five = learn(bad_shared, 5, 0.002);
  nn::TensorMap on = bad_shared;
  on[kEnsembleWeight] = five.tensors.at(kEnsembleWeight);
  CHECK(learn(on, 5, 0.002).numbers == ten.numbers);
  CHECK(five.numbers != ten.numbers);
  // Where it ends the loss is about the least.
  const nn::TensorMap other = moved(start, "test: the weight");
  nn::TensorMap state = with_weight(start, other, 0.5F);
  const auto loss_at = [&](float weight) {
    state[kEnsembleWeight] = at::tensor({weight, 0.0F, 0.0F, 0.0F});
    return reference_losses(task, state, rows_of(*task.train, *first_rows(8))).losses;
  };
  const auto mean = [](const std::vector<double>& losses) {
    double sum = 0;
    for (const double loss : losses) sum += loss;
    return sum;
  };
  double least = 1e9;
  for (int i = 0; i <= 100; ++i) {
    least = std::min(least, mean(loss_at(static_cast<float>(i) / 100)));
  }
  state[kEnsembleWeight] = at::tensor({0.5F, 0.0F, 0.0F, 0.0F});
  const Outcome end = apply(learned_weight(first_rows(8), {600, 8, 0.005}), {&state}, &task);
  CHECK(mean(loss_at(static_cast<float>(end.numbers.at(0)))) == Approx(least).epsilon(1e-3));
}

TEST_CASE("distances of B by hand") {
  const auto state = [](const std::vector<float>& q, const std::vector<float>& v) {
    return nn::TensorMap{{"head.bias", vector({9})},
                         {"layers.0.q.lora_a", matrix(1, {7, 7})},
                         {"layers.0.q.lora_b", matrix(2, q)},
                         {"layers.0.v.lora_a", matrix(1, {7, 7})},
                         {"layers.0.v.lora_b", matrix(2, v)}};
  };
  const float infinite = std::numeric_limits<float>::infinity();
  const nn::TensorMap a = state({1, 0}, {0, 2}), b = state({3, 3}, {0, -1}),
                      c = state({0, 0}, {1, 1}), d = state({0, 5}, {infinite, 0});
  const std::vector<double> distances = apply(b_distances(), {&a, &b, &c, &d}).numbers;
  const double root = std::sqrt(0.5);
  const std::vector<double> expected = {(1 - root + 2) / 2,  // a, b
                                        (1 + 1 - root) / 2,  // a, c: nothing in common with 0
                                        (1 + 1) / 2.0,       // a, d: nor with what is not finite
                                        (1 + 1 + root) / 2,  // b, c
                                        (1 - root + 1) / 2,  // b, d
                                        (1 + 1) / 2.0};      // c, d
  REQUIRE(distances.size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) CHECK(distances[i] == Approx(expected[i]));
}

}  // namespace
}  // namespace fedclock::learning
