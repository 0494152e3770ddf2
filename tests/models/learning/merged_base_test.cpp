// Bases to which something was merged, and adapters fused by their loss.
#include "models/learning/merged_base.h"

#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>
#include <cmath>

#include "models/learning/reference.h"
#include "models/nn/bf16_product.h"
#include "tests/models/learning/states.h"
#include "tests/models/learning/tiny.h"

namespace fedclock::learning {
namespace {

// Maps of several groups of a layer; of one layer, or of both.
LearningTask task_with_maps(nn::Kind kind) {
  LearningTask task = tiny_task(kind);
  task.adapter.targets = {nn::Target::kQ, nn::Target::kV, nn::Target::kUp, nn::Target::kDown};
  return task;
}

// The state with s B A of its adapters merged, and no adapters.
nn::TensorMap merged_state(const LearningTask& task, const nn::TensorMap& state) {
  const double scale = task.adapter.alpha / static_cast<double>(task.adapter.rank);
  nn::TensorMap merged;
  for (const auto& [name, tensor] : state) {
    const std::string map = name.substr(0, name.rfind('.'));
    if (name.starts_with("head.")) merged[name] = tensor;
    if (name.ends_with("_a"))
      merged[map + ".merged"] = (scale * product(state, map)).to(at::kFloat);
  }
  return merged;
}

// A task whose base was made of the sums.
LearningTask remade(const LearningTask& task, const nn::TensorMap& state,
                    nn::Precision precision = nn::Precision::kFp32) {
  nn::TensorMap weights = tiny_weights(task.architecture());
  for (const auto& [name, tensor] : state) {
    if (!name.ends_with(".merged")) continue;
    at::Tensor& weight = weights.at(name.substr(0, name.rfind('.')) + ".weight");
    weight = weight + tensor;
  }
  LearningTask other = task;
  other.set_base(task.architecture(), weights, precision);
  return other;
}

TEST_CASE("merged base: s B A merged is the adapter", "[native]") {
  const auto kind = GENERATE(nn::Kind::kEncoder, nn::Kind::kDecoder);
  const bool fast = GENERATE(true, false);
  LearningTask task = task_with_maps(kind);
  if (!fast) task.trunk = nullptr;
  const nn::TensorMap state = tiny_trained(task), merged = merged_state(task, state);
  const auto rows = first_rows(31);
  const EvaluationSums expected = evaluate(task, state, *task.test, *rows);
  const LearningTask other = with_merged(task, merged);
  CHECK((other.trunk != nullptr) == fast);
  const EvaluationSums sums = evaluate(other, merged, *task.test, *rows);
  CHECK(sums.loss == Approx(expected.loss).epsilon(1e-5));
  CHECK(sums.score == expected.score);
  // The task itself is as it was, where a state without adapters has another loss.
  CHECK(evaluate(task, state, *task.test, *rows).loss == expected.loss);
  CHECK(std::abs(evaluate(task, merged, *task.test, *rows).loss - expected.loss) > 1e-3);
}

TEST_CASE("merged base: everything else is shared") {
  const LearningTask task = task_with_maps(nn::Kind::kEncoder);
  const nn::TensorMap state = tiny_trained(task), merged = merged_state(task, state);
  const LearningTask same_one = with_merged(task, state);  // nothing merged
  CHECK(same_one.base == task.base);
  CHECK(same_one.trunk == task.trunk);
  const LearningTask other = with_merged(task, merged);
  CHECK(other.train == task.train);
  CHECK(other.test == task.test);
  CHECK(other.trunk->output_embedding().data == task.trunk->output_embedding().data);
  const char* name = "embeddings.token";
  CHECK(other.weights->at(name).data_ptr() == task.weights->at(name).data_ptr());
}

TEST_CASE("merged base: what was merged twice adds up") {
  const LearningTask task = task_with_maps(nn::Kind::kEncoder);
  const nn::TensorMap merged = merged_state(task, tiny_trained(task));
  nn::TensorMap twice = merged;
  for (auto& [name, tensor] : twice) {
    if (name.ends_with(".merged")) tensor = 2 * tensor;
  }
  const auto rows = first_rows(31);
  const double once_more =
      evaluate(with_merged(with_merged(task, merged), merged), merged, *task.test, *rows).loss;
  CHECK(evaluate(with_merged(task, twice), twice, *task.test, *rows).loss ==
        Approx(once_more).epsilon(1e-5));
}

nn::TensorMap gradients_of(BatchGradients& compute, const nn::TensorMap& state) {
  nn::TensorMap gradients;
  for (const auto& [name, tensor] : state) {
    if (!name.ends_with(".merged")) gradients[name] = at::empty_like(tensor);
  }
  compute(*first_rows(20), gradients);
  return gradients;
}

TEST_CASE("merged base: training on top of it", "[native]") {
  const auto kind = GENERATE(nn::Kind::kEncoder, nn::Kind::kDecoder);
  const LearningTask task = task_with_maps(kind);
  nn::TensorMap state = tiny_trained(task);
  for (const auto& [name, tensor] : merged_state(task, tiny_trained(task))) {
    if (name.starts_with("layers.1.")) state[name] = 0.5 * tensor;  // of one layer only
  }
  const LearningTask other = with_merged(task, state);
  const TrainJob job;
  const auto fast = gradients_of(*make_fast_gradients(other, state, 2, {}), state);
  const auto reference = gradients_of(*make_reference_gradients(other, state, job), state);
  for (const auto& [name, gradient] : reference) {
    INFO(name);
    CHECK(relative_difference(fast.at(name), gradient) < 1e-4);
  }
  // The same bits as on a base that was made of the sums.
  const LearningTask summed = remade(task, state);
  CHECK(same(fast, gradients_of(*make_fast_gradients(summed, state, 2, {}), state)));
  CHECK(same(reference, gradients_of(*make_reference_gradients(summed, state, job), state)));
}

TEST_CASE("merged base: bf16 rounds the sums", "[native]") {
  if (!nn::has_fast_bf16()) {
    WARN("skipped: no AMX, or kernels pinned to portable ones (FEDCLOCK_TEST_NATIVE=1 frees them)");
    return;
  }
  LearningTask task = task_with_maps(nn::Kind::kEncoder);
  task.set_base(task.architecture(), tiny_weights(task.architecture()), nn::Precision::kBf16);
  const nn::TensorMap merged = merged_state(task, tiny_trained(task));
  const auto rows = first_rows(31);
  CHECK(evaluate(with_merged(task, merged), merged, *task.test, *rows).loss ==
        evaluate(remade(task, merged, nn::Precision::kBf16), merged, *task.test, *rows).loss);
}

TEST_CASE("merged base: what does not belong to the base is refused") {
  const LearningTask task = tiny_task(nn::Kind::kEncoder);
  const nn::TensorMap other_layer{{"layers.2.q.merged", at::zeros({16, 16})}};
  const nn::TensorMap other_shape{{"layers.0.q.merged", at::zeros({16, 8})}};
  CHECK_THROWS_AS(with_merged(task, other_layer), ProgrammerError);
  CHECK_THROWS_AS(with_merged(task, other_shape), ProgrammerError);
}

// --- fused ---------------------------------------------------------------------------------------

// A head that leaves all to its bias, and no adapters.
nn::TensorMap always(const std::vector<float>& scores) {
  return {{"head.weight", at::zeros({3, 16})}, {"head.bias", at::tensor(scores)}};
}

// Rows 0, 3, 6, ... are of class 0.
Rows rows_of_class_0() {
  return std::make_shared<const std::vector<int32_t>>(std::vector<int32_t>{0, 3, 6, 9});
}

std::vector<double> fused_weights(const nn::TensorMap& shared, const nn::TensorMap& own) {
  const LearningTask task = tiny_task(nn::Kind::kEncoder);
  return apply(fused(rows_of_class_0()), {&shared, &own}, &task).numbers;
}

TEST_CASE("fused: the better of two adapters") {
  const nn::TensorMap good = always({2, 0, 0}), bad = always({-2, 0, 0});
  const LearningTask task = tiny_task(nn::Kind::kEncoder);
  const Outcome outcome = apply(fused(rows_of_class_0()), {&good, &bad}, &task);
  CHECK(outcome.numbers == std::vector<double>{1, 0});
  CHECK(same(outcome.tensors, good));
  CHECK(fused_weights(bad, good) == std::vector<double>{0, 1});
  CHECK(fused_weights(good, good) == std::vector<double>{1, 1});  // twice as sure
  // Class 0 needs both: where one of them is alone, another class scores as high.
  CHECK(fused_weights(always({2, 2, 0}), always({2, -2, 0})) == std::vector<double>{1, 1});
}

TEST_CASE("fused: of equal losses the larger w1, then the smaller w2") {
  const nn::TensorMap good = always({2, 0, 0}), nothing = always({0, 0, 0});
  CHECK(fused_weights(nothing, nothing) == std::vector<double>{1, 0});
  CHECK(fused_weights(good, nothing) == std::vector<double>{1, 0});
  CHECK(fused_weights(nothing, good) == std::vector<double>{1, 1});
}

TEST_CASE("fused: the least loss of all 24 pairs, tensor by tensor") {
  const LearningTask task = tiny_task(nn::Kind::kDecoder);
  const nn::TensorMap shared = tiny_trained(task);
  nn::TensorMap own = tiny_start(task);
  Random random(8, "test: private adapter");
  for (const char* map : {"layers.0.q", "layers.1.v"}) add_adapter(own, map, 1, 16, 16, random);
  own["layers.1.v.lora_b"] = own["layers.1.v.lora_b"].narrow(0, 0, 8).contiguous();  // one head
  const Rows rows = first_rows(20);
  const auto mixed = [&](double w1, double w2) {
    nn::TensorMap sum;
    for (const auto& [name, tensor] : shared) {
      sum[name] = (w1 * tensor.to(at::kDouble)).to(at::kFloat);
      const at::Tensor& other = own.at(name);
      at::Tensor part = sum[name];  // of a smaller rank the first rows and columns
      for (int64_t i = 0; i < part.dim(); ++i) part = part.narrow(i, 0, other.size(i));
      part += w2 * other;
    }
    return sum;
  };
  const Outcome outcome = apply(fused(rows), {&shared, &own}, &task);
  const double w1 = outcome.numbers.at(0), w2 = outcome.numbers.at(1);
  const double loss = evaluate(task, outcome.tensors, *task.train, *rows).loss;
  CHECK(loss == Approx(evaluate(task, mixed(w1, w2), *task.train, *rows).loss).epsilon(1e-5));
  for (int i = 0; i <= 4; ++i) {
    for (int j = i == 0; j <= 4; ++j) {
      CHECK(evaluate(task, mixed(i / 4.0, j / 4.0), *task.train, *rows).loss > loss - 1e-4);
    }
  }
}

TEST_CASE("fused: on the base that the shared state asks for") {
  const LearningTask task = tiny_task(nn::Kind::kEncoder);
  nn::TensorMap shared = tiny_trained(task);
  const nn::TensorMap own = tiny_start(task), plain = shared;
  shared["layers.0.q.merged"] = at::eye(16);
  const Rows rows = first_rows(20);
  const Outcome outcome = apply(fused(rows), {&shared, &own}, &task);
  CHECK(at::equal(outcome.tensors.at("layers.0.q.merged"), at::eye(16)));
  const LearningTask other = with_merged(task, shared);
  const Outcome there = apply(fused(rows), {&plain, &own}, &other);
  CHECK(there.numbers == outcome.numbers);
  nn::TensorMap expected = there.tensors;
  expected["layers.0.q.merged"] = at::eye(16);
  CHECK(same(outcome.tensors, expected));
}

TEST_CASE("fused: its name tells its rows") {
  CHECK(digest_of(fused(first_rows(3))) != digest_of(fused(first_rows(4))));
  CHECK(digest_of(fused(first_rows(3))) == digest_of(fused(first_rows(3))));
  CHECK_THROWS_AS(fused(first_rows(0)), ProgrammerError);
}

}  // namespace
}  // namespace fedclock::learning
