// Small states for the tests of functions on them (models/learning/functions.h). Include after
// models/nn/torch.h and Catch2.
#pragma once

#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "models/common/error.h"
#include "models/common/random.h"
#include "models/learning/functions.h"
#include "models/learning/state_function.h"
#include "models/nn/architecture.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

inline at::Tensor vector(const std::vector<float>& values) { return at::tensor(values); }
inline at::Tensor matrix(int64_t rows, const std::vector<float>& values) {
  return at::tensor(values).view({rows, static_cast<int64_t>(values.size()) / rows});
}

inline void check_values(const at::Tensor& tensor, const std::vector<double>& expected) {
  REQUIRE(tensor.numel() == static_cast<int64_t>(expected.size()));
  REQUIRE(tensor.is_contiguous());
  for (size_t i = 0; i < expected.size(); ++i) {
    INFO("element " << i);
    CHECK(tensor.data_ptr<float>()[i] == Approx(expected[i]).epsilon(1e-6).margin(1e-9));
  }
}

inline std::vector<std::string> names_in(const nn::TensorMap& state) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : state) names.push_back(name);
  return names;
}

inline Outcome apply(const Function& function, const std::vector<const nn::TensorMap*>& inputs,
                     const LearningTask* task = nullptr) {
  return (*function)(inputs, [task]() -> const LearningTask& {
    ensure(task != nullptr, "the task is not needed here");
    return *task;
  });
}
inline nn::TensorMap state_of(const Function& function,
                              const std::vector<const nn::TensorMap*>& inputs,
                              const LearningTask* task = nullptr) {
  return apply(function, inputs, task).tensors;
}

inline Digest digest_of(const Function& function) {
  DigestBuilder name;
  name.add(function->what());
  function->add_to(name);
  return name.finish();
}

// An adapter of this rank on a map [out, in], elements from N(0, 1).
inline void add_adapter(nn::TensorMap& state, const std::string& map, int64_t rank, int64_t in,
                        int64_t out, Random& random) {
  const auto normal = [&](int64_t rows, int64_t columns) {
    at::Tensor tensor = at::empty({rows, columns}, at::kFloat);
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      tensor.data_ptr<float>()[i] = static_cast<float>(random.normal());
    }
    return tensor;
  };
  state[map + ".lora_a"] = normal(rank, in);
  state[map + ".lora_b"] = normal(out, rank);
}

// B A of a map, in double precision [out, in].
inline at::Tensor product(const nn::TensorMap& state, const std::string& map) {
  return state.at(map + ".lora_b").to(at::kDouble).mm(state.at(map + ".lora_a").to(at::kDouble));
}

inline double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor exact = b.to(at::kDouble);
  return ((a.to(at::kDouble) - exact).norm() / exact.norm()).item<double>();
}

}  // namespace fedclock::learning
