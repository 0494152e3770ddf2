// FedLEASE (2509.15087): how far apart clients are, by their B.
#include <cmath>

#include "models/common/error.h"
#include "models/learning/adapter_names.h"
#include "models/learning/state_function.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

double inner_product(const at::Tensor& a, const at::Tensor& b) {
  ensure(a.sizes() == b.sizes(), "factors of different shapes are compared");
  const float *x = a.data_ptr<float>(), *y = b.data_ptr<float>();
  double sum = 0;
  for (int64_t i = 0; i < a.numel(); ++i) sum += static_cast<double>(x[i]) * y[i];
  return sum;
}

double distance(const at::Tensor& a, const at::Tensor& b) {
  const double norms = std::sqrt(inner_product(a, a)) * std::sqrt(inner_product(b, b));
  const double cosine = inner_product(a, b) / norms;
  return std::isfinite(cosine) && std::isfinite(norms) ? 1 - cosine : 1;
}

class BDistances : public StateFunction {
 public:
  const char* what() const override { return "distances of B"; }
  void add_to(DigestBuilder&) const override {}
  bool is_measure() const override { return true; }
  Outcome operator()(const Inputs& inputs, const Task&) const override {
    Outcome outcome;
    for (size_t i = 0; i < inputs.size(); ++i) {
      for (size_t j = i + 1; j < inputs.size(); ++j) {
        double sum = 0, adapters = 0;
        for (const auto& [name, b] : *inputs[i]) {
          if (parse_tensor_name(name).kind != TensorKind::kB) continue;
          sum += distance(b, inputs[j]->at(name));
          ++adapters;
        }
        ensure(adapters > 0, "b_distances() needs adapters");
        outcome.numbers.push_back(sum / adapters);
      }
    }
    return outcome;
  }
};

}  // namespace

Function b_distances() { return std::make_shared<const BDistances>(); }

}  // namespace fedclock::learning
