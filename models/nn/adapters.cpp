#include "models/nn/adapters.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "models/common/error.h"
#include "models/common/random.h"
#include "models/nn/soft_prompt.h"

namespace fedclock::nn {

namespace {

constexpr std::string_view kExpert = ".expert.";

size_t index_of(Target target) { return static_cast<size_t>(target); }

std::string map_name(int64_t layer, Target target) {
  return layer_tensor(layer, target_name(target));
}

at::Tensor uniform_tensor(at::IntArrayRef shape, double bound, Random& random) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  float* values = tensor.data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    values[i] = static_cast<float>(bound * (2.0 * random.uniform() - 1.0));
  }
  return tensor;
}

// Keyed by what it is for, so that a deeper adapter begins like a shallower one, and an expert like
// itself among fewer.
at::Tensor fresh(const std::string& what, int64_t layer, Target target, int64_t rank, uint64_t seed,
                 const LinearShape& shape) {
  Random random(seed, what + " " + std::string(target_name(target)), layer);
  return uniform_tensor({rank, shape.in}, 1.0 / std::sqrt(static_cast<double>(shape.in)), random);
}

}  // namespace

std::string expert_name(const std::string& map, int32_t expert) {
  return map + std::string(kExpert) + std::to_string(expert);
}

std::string router_name(const std::string& map) { return map + ".router"; }

std::vector<int32_t> experts_of(const TensorMap& tensors, const std::string& map) {
  const std::string prefix = map + std::string(kExpert), suffix = ".lora_a";
  std::vector<int32_t> experts;
  for (auto at = tensors.lower_bound(prefix); at != tensors.end() && at->first.starts_with(prefix);
       ++at) {
    const std::string& name = at->first;
    if (!name.ends_with(suffix)) continue;
    const char* end = name.data() + name.size() - suffix.size();
    int32_t expert = -1;
    ensure(std::from_chars(name.data() + prefix.size(), end, expert).ptr == end,
           "an expert without a number");
    experts.push_back(expert);
  }
  std::sort(experts.begin(), experts.end());
  return experts;
}

Adapters::Adapters(const Architecture& architecture, const AdapterSpec& spec,
                   const TensorMap& tensors)
    : maps_(architecture.layers),
      prompt_(soft_prompt(tensors)),
      scale_(spec.alpha / static_cast<double>(spec.rank)),
      dropout_(spec.dropout),
      top_experts_(spec.top_experts),
      router_(spec.router) {
  const auto pair_of = [&](const std::string& name) {
    return Pair{tensors.at(name + ".lora_a"), tensors.at(name + ".lora_b")};
  };
  for (int64_t layer = 0; layer < architecture.layers; ++layer) {
    for (const Target target : kAllTargets) {
      const std::string name = map_name(layer, target);
      OfMap& map = maps_[layer][index_of(target)];
      if (tensors.contains(name + ".lora_a")) map.shared = pair_of(name);
      for (const int32_t expert : experts_of(tensors, name)) {
        map.experts.push_back(pair_of(expert_name(name, expert)));
      }
      if (!map.experts.empty()) map.router = tensors.at(router_name(name));
    }
  }
}

at::Tensor Adapters::dropped(const at::Tensor& x) const {
  if (!generator_ || dropout_ == 0) return x;
  // Drawn on the CPU: the same on every device.
  const at::Tensor keep =
      at::empty(x.sizes(), at::kFloat).bernoulli_(1.0 - dropout_, *generator_).to(x.device());
  return x * keep * (1.0 / (1.0 - dropout_));
}

at::Tensor Adapters::of_pair(const Pair& pair, const at::Tensor& x) const {
  return at::linear(at::linear(dropped(x), pair.a), pair.b) * scale_;
}

at::Tensor Adapters::of_experts(const OfMap& map, const at::Tensor& x) const {
  const auto count = static_cast<int64_t>(map.experts.size());
  at::Tensor scores = at::linear(x, map.router);
  if (router_ == Router::kTokenProjection) {
    std::vector<at::Tensor> embeddings;  // of each expert [..., rank]
    for (const Pair& expert : map.experts) embeddings.push_back(at::linear(x, expert.a));
    const at::Tensor t = scores.unsqueeze(-2);  // [..., 1, rank]
    scores = (at::stack(embeddings, -2) * t).sum(-1) /
             std::sqrt(static_cast<double>(map.router.size(0)));
  }
  const at::Tensor p = at::softmax(scores, -1);  // [..., scores]
  // Sorted stably: of equals the first, as in the fast path.
  const at::Tensor order =
      std::get<1>(at::sort(p.detach(), /*stable=*/c10::optional<bool>(true), -1, true));
  const at::Tensor chosen = at::zeros_like(p).scatter_(
      -1, order.narrow(-1, 0, taken_scores(router_, count, top_experts_)), 1.0);
  const at::Tensor taken = p * chosen / (p * chosen).sum(-1, /*keepdim=*/true);
  std::vector<at::Tensor> weights;  // of each expert [..., 1]
  for (int64_t score = 0; score < p.size(-1); ++score) {
    const at::Tensor one = taken.narrow(-1, score, 1);
    if (score < count) {
      weights.push_back(one);
    } else {
      at::Tensor& sum = weights[static_cast<size_t>(expert_of_score(score, count))];
      sum = sum + one;
    }
  }
  if (real_.defined()) {
    const at::Tensor real = real_.reshape({-1});
    const at::Tensor mean_p = p.reshape({-1, count}).index({real}).mean(0);
    const at::Tensor choices = chosen.detach().reshape({-1, count}).index({real}).sum(0);
    const at::Tensor loss = static_cast<double>(count) * (mean_p * (choices / choices.sum())).sum();
    balance_ = balance_.defined() ? balance_ + loss : loss;
  }
  at::Tensor sum;
  for (int64_t i = 0; i < count; ++i) {
    const at::Tensor one = of_pair(map.experts[i], x) * weights[static_cast<size_t>(i)];
    sum = sum.defined() ? sum + one : one;
  }
  return sum;
}

at::Tensor Adapters::delta(int64_t layer, Target target, const at::Tensor& x) const {
  if (maps_.empty()) return {};
  const OfMap& map = maps_[layer][index_of(target)];
  at::Tensor sum;
  if (map.shared) sum = of_pair(*map.shared, x);
  if (map.experts.empty()) return sum;
  const at::Tensor of_all = of_experts(map, x);
  return sum.defined() ? sum + of_all : of_all;
}

TensorMap random_adapter(const Architecture& architecture, const AdapterSpec& spec, int64_t depth,
                         int64_t head_outputs, uint64_t seed) {
  std::vector<int64_t> ranks(static_cast<size_t>(architecture.layers), 0);
  std::fill(ranks.end() - depth, ranks.end(), spec.rank);
  return random_adapter(architecture, spec, ranks, head_outputs, seed);
}

TensorMap random_adapter(const Architecture& architecture, const AdapterSpec& spec,
                         const std::vector<int64_t>& ranks, int64_t head_outputs, uint64_t seed,
                         const ModuleExperts& experts, bool shared) {
  TensorMap tensors;
  for (int64_t layer = 0; layer < architecture.layers; ++layer) {
    const int64_t rank = ranks.at(static_cast<size_t>(layer));
    if (rank == 0) continue;
    for (const Target target : spec.targets) {
      const auto shape = linear_shape(architecture, target);
      ensure(shape.has_value(), "an adapter on a map that the model does not have");
      const std::string map = map_name(layer, target);
      const auto add_pair = [&](const std::string& name, const std::string& what) {
        tensors[name + ".lora_a"] = fresh(what, layer, target, rank, seed, *shape);
        tensors[name + ".lora_b"] = at::zeros({shape->out, rank}, at::kFloat);
      };
      if (shared) add_pair(map, "adapter");
      const auto own = experts.find({layer, target});
      if (own == experts.end() || own->second.empty()) continue;
      for (const int32_t expert : own->second) {
        add_pair(expert_name(map, expert), "expert " + std::to_string(expert));
      }
      const int64_t rows = router_rows(spec.router, rank, std::ssize(own->second));
      tensors[router_name(map)] = fresh("router", layer, target, rows, seed, *shape);
    }
  }
  if (head_outputs > 0) {
    Random random(seed, "head");
    at::Tensor weight = at::empty({head_outputs, architecture.width}, at::kFloat);
    for (int64_t i = 0; i < weight.numel(); ++i) {
      weight.data_ptr<float>()[i] = static_cast<float>(0.02 * random.normal());
    }
    tensors["head.weight"] = weight;
    tensors["head.bias"] = at::zeros({head_outputs}, at::kFloat);
  }
  return tensors;
}

}  // namespace fedclock::nn
