// Training and evaluation by the fast path against stock libtorch operators and autograd.
#include "models/learning/reference.h"

#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <rapidcheck.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>

#include "models/learning/numerics.h"
#include "models/nn/bf16_product.h"
#include "tests/models/learning/tiny.h"

namespace fedclock::learning {
namespace {

struct Case {
  LearningTask fast, reference;
  nn::TensorMap start;
  TrainJob job;
};

// Batches of up to 150 rows of 4 to 11 tokens: the larger ones go through the layers in parts. Some
// decoders have an output embedding of their own.
Case random_case(uint64_t seed) {
  Random random(seed, "test: reference");
  Case one;
  const nn::Kind kind = random.below(2) == 0 ? nn::Kind::kEncoder : nn::Kind::kDecoder;
  const bool responses = kind == nn::Kind::kDecoder && random.below(2) == 0;
  one.fast = tiny_task(kind, responses);
  if (responses && random.below(2) == 0) {
    nn::Architecture untied = one.fast.architecture();
    untied.tied_head = false;
    one.fast.set_base(untied, tiny_weights(untied));
  }
  one.fast.adapter.rank = 1 + static_cast<int64_t>(random.below(6));
  one.fast.adapter.targets = {nn::Target::kQ, nn::Target::kDown};
  if (random.below(2) == 0) one.fast.adapter.targets.push_back(nn::Target::kV);
  one.reference = one.fast;
  one.reference.trunk = nullptr;
  one.start = tiny_trained(one.fast);
  // Larger adapters make models of so few dimensions so steep that float32 itself is off by 1e-5.
  for (auto& [name, tensor] : one.start) {
    if (name.ends_with("_b")) tensor.mul_(0.1);
  }
  one.job.rows = first_rows(10 + static_cast<int32_t>(random.below(50)));
  one.job.settings = {.steps = 6,
                      .epochs = 0,
                      .batch_rows = 1 + static_cast<int64_t>(random.below(150)),
                      .optimizer = OptimizerKind::kSgd};
  one.job.trained = last_layers(2, static_cast<int64_t>(random.below(3)), 2);
  if (responses) one.job.trained = last_layers(2, std::max<int64_t>(one.job.trained.depth(), 1), 2);
  one.job.learning_rate = 0.05;
  one.job.seed = seed;
  return one;
}

double relative_distance(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / (b.norm() + 1e-12)).item<double>();
}

nn::TensorMap doubles(const nn::TensorMap& tensors) {
  nn::TensorMap result;
  for (const auto& [name, tensor] : tensors) result[name] = tensor.to(at::kDouble);
  return result;
}

bool is_trained(const std::string& name, int64_t depth) {
  return name.starts_with("head.") || depth == 2 ||
         (depth == 1 && name.starts_with(nn::layer_tensor(1, "")));
}

// Against autograd in double precision. Where float32 by stock operators is itself off by more
// than a quarter of 1e-5, four times as much as that.
TEST_CASE("gradients of whole batches, heads and responses included, are autograd's", "[native]") {
  CHECK(rc::check([] {
    const Case one = random_case(*rc::gen::arbitrary<uint64_t>());
    const auto batches = plan_batches(one.job);
    nn::TensorMap wanted, plain, exact;
    for (const auto& [name, tensor] : one.start) {
      if (!is_trained(name, one.job.trained.depth())) continue;
      wanted[name] = at::empty_like(tensor);
      plain[name] = at::empty_like(tensor);
      exact[name] = tensor.to(at::kDouble);
    }
    LearningTask in_double = one.reference;
    const nn::Architecture architecture = one.reference.architecture();
    in_double.set_base(architecture, doubles(tiny_weights(architecture)), nn::Precision::kFp32,
                       Device::kReference);
    const nn::TensorMap start = doubles(one.start);
    const auto fast = make_fast_gradients(one.fast, one.start, one.job.trained.depth(), batches);
    const auto reference = make_reference_gradients(one.reference, one.start, one.job);
    const auto exact_reference = make_reference_gradients(in_double, start, one.job);
    // The later batches meet rows whose lower layers are kept.
    for (const auto& batch : batches) {
      const BatchLoss loss = (*fast)(batch, wanted);
      (*reference)(batch, plain);
      const BatchLoss expected = (*exact_reference)(batch, exact);
      RC_ASSERT(std::abs(loss.mean - expected.mean) < 1e-5 * expected.mean);
      RC_ASSERT(std::abs(loss.mean_square - expected.mean_square) < 1e-4 * expected.mean_square);
      for (const auto& [name, gradient] : exact) {
        const double allowed = 1e-5 + 4 * relative_distance(plain.at(name), gradient);
        RC_ASSERT(relative_distance(wanted.at(name), gradient) < allowed);
      }
    }
  }));
}

TEST_CASE("a job by the fast path is a job by stock operators, up to rounding", "[native]") {
  CHECK(rc::check([] {
    const Case one = random_case(*rc::gen::arbitrary<uint64_t>());
    const TrainResult fast = train(one.fast, one.start, one.job);
    const TrainResult reference = train(one.reference, one.start, one.job);
    for (size_t i = 0; i < reference.step_losses.size(); ++i) {
      RC_ASSERT(std::abs(fast.step_losses[i] - reference.step_losses[i]) < 1e-4);
    }
    for (const auto& [name, tensor] : reference.tensors) {
      RC_ASSERT(relative_distance(fast.tensors.at(name), tensor) < 1e-3);
    }
  }));
}

TEST_CASE("evaluation by the fast path is that by stock operators", "[native]") {
  CHECK(rc::check([] {
    const Case one = random_case(*rc::gen::arbitrary<uint64_t>());
    const auto rows = first_rows(31);
    const EvaluationSums fast = evaluate(one.fast, one.start, *one.fast.test, *rows);
    const EvaluationSums reference = evaluate(one.reference, one.start, *one.fast.test, *rows);
    RC_ASSERT(fast.rows == reference.rows);
    RC_ASSERT(fast.score == reference.score);
    RC_ASSERT(std::abs(fast.loss - reference.loss) < 1e-5 * reference.loss);
  }));
}

TEST_CASE("a batch of more tokens than go through the layers at once is one batch", "[native]") {
  Case one = random_case(1);
  one.job.rows = first_rows(60);
  one.job.settings.batch_rows = 150;  // about 1,000 tokens
  one.job.settings.steps = 2;
  const TrainResult fast = train(one.fast, one.start, one.job);
  const TrainResult reference = train(one.reference, one.start, one.job);
  for (size_t i = 0; i < 2; ++i) {
    CHECK(fast.step_losses[i] == Approx(reference.step_losses[i]).epsilon(1e-5));
  }
}

TEST_CASE("kept activations of the frozen layers are let go of after their last use") {
  // Two passes over 60 rows with a frozen layer below: in the second, all come from memory.
  Case one = random_case(2);
  one.job.rows = first_rows(60);
  one.job.trained = last_layers(2, 1, 2);
  one.job.settings = {.steps = 0, .epochs = 2, .batch_rows = 16};
  const int64_t both = train(one.fast, one.start, one.job).buffer_bytes;
  one.job.settings.epochs = 1;
  const int64_t single = train(one.fast, one.start, one.job).buffer_bytes;
  int64_t tokens = 0;
  for (const EncodedRow& row : one.fast.train->rows) tokens += static_cast<int64_t>(row.ids.size());
  const int64_t all_rows = tokens * one.fast.architecture().width * 4;
  CHECK(both == single + all_rows);
  // Of three batches that share few rows, only those to come again are ever kept.
  one.job.settings = {.steps = 5, .epochs = 0, .batch_rows = 16};  // 80 of 60 rows: 20 come again
  const int64_t some = train(one.fast, one.start, one.job).buffer_bytes;
  CHECK(some > single);
  CHECK(some < single + all_rows / 2);
}

TEST_CASE("bf16: gradients are those of float32, up to its rounding", "[native]") {
  if (!nn::has_fast_bf16()) {
    WARN("skipped: no AMX, or kernels pinned to portable ones (FEDCLOCK_TEST_NATIVE=1 frees them)");
    return;
  }
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    Case one = random_case(seed);
    one.job.trained = last_layers(2, 2, 2);
    const nn::Architecture& architecture = one.reference.architecture();
    one.fast.set_base(architecture, tiny_weights(architecture), nn::Precision::kBf16);
    const auto batches = plan_batches(one.job);
    nn::TensorMap rounded, exact;
    for (const auto& [name, tensor] : one.start) {
      rounded[name] = at::empty_like(tensor);
      exact[name] = at::empty_like(tensor);
    }
    const auto fast = make_fast_gradients(one.fast, one.start, 2, batches);
    const auto reference = make_reference_gradients(one.reference, one.start, one.job);
    const double loss = (*fast)(batches[0], rounded).mean;
    CHECK(loss == Approx((*reference)(batches[0], exact).mean).epsilon(0.02));
    double error = 0, size = 0;
    for (const auto& [name, gradient] : exact) {
      error += (rounded.at(name) - gradient).square().sum().item<double>();
      size += gradient.square().sum().item<double>();
    }
    // Each product's inputs are off by 2^-9 at most; a few of them follow one another.
    CHECK(std::sqrt(error / size) < 0.05);
    CHECK(error > 0);
  }
}

TEST_CASE("CUDA: refused with a remedy where there is none, and the same learning where there is") {
  if (!at::hasCUDA()) {
    WARN("only the refusal is tested: there is no CUDA device, or no CUDA in this libtorch");
    CHECK_THROWS_WITH(require_hardware("native", nn::Precision::kFp32, Device::kCuda),
                      Catch::Contains("leave the option out"));
    return;
  }
  require_hardware("native", nn::Precision::kFp32, Device::kCuda);
  const Case one = random_case(3);
  LearningTask cuda = one.reference;
  const nn::Architecture& architecture = one.reference.architecture();
  cuda.set_base(architecture, tiny_weights(architecture), nn::Precision::kFp32, Device::kCuda);
  const TrainResult there = train(cuda, one.start, one.job);
  const TrainResult here = train(one.reference, one.start, one.job);
  for (size_t i = 0; i < here.step_losses.size(); ++i) {
    CHECK(there.step_losses[i] == Approx(here.step_losses[i]).epsilon(1e-3));
  }
  CHECK(evaluate(cuda, one.start, *cuda.test, *first_rows(31)).loss ==
        Approx(evaluate(one.reference, one.start, *cuda.test, *first_rows(31)).loss).epsilon(1e-3));
}

}  // namespace
}  // namespace fedclock::learning
