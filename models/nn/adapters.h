// Adapters by name: a state's "layers.N.<target>.lora_a" [rank, in] and "lora_b" [out, rank], which
// for a map of experts is the one that all tokens share; the others' "layers.N.<target>.expert.K."
// with the same endings; "layers.N.<target>.router" [rank, in], or [scores, in] of a linear one;
// and soft prompts (models/nn/soft_prompt.h). Fresh ones, and what they compute by stock libtorch
// operators: the reference of models/nn/group_adapters.h.
#pragma once

#include <array>
#include <compare>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "models/nn/architecture.h"
#include "models/nn/tensor_map.h"
#include "models/nn/torch.h"

namespace fedclock::nn {

// "layers.3.q.expert.7", where `map` is "layers.3.q".
std::string expert_name(const std::string& map, int32_t expert);
// "layers.3.q.router"
std::string router_name(const std::string& map);
// Numbers of a map's experts, ascending.
std::vector<int32_t> experts_of(const TensorMap& tensors, const std::string& map);

// What adapters add to the maps' outputs: of LoRA (2106.09685) s B A x, s = alpha / rank, and of
// experts what models/nn/group_mixtures.h says.
class Adapters {
 public:
  // Other names ("head.weight") are left alone.
  Adapters(const Architecture& architecture, const AdapterSpec& spec, const TensorMap& tensors);
  // No adapters.
  Adapters() = default;

  // Drops adapters' and experts' inputs with the spec's probability, from this generator: training
  // only. Routing sees them all.
  void enable_dropout(at::Generator generator) { generator_ = std::move(generator); }
  // Sums up the load-balance losses of all maps with experts over these tokens [rows, tokens] bool.
  void collect_balance(const at::Tensor& real) { real_ = real; }
  // Undefined where no map had experts.
  const at::Tensor& balance() const { return balance_; }

  // x [..., in] -> what the adapters of (layer, target) add to the map's output [..., out];
  // undefined where there are none.
  at::Tensor delta(int64_t layer, Target target, const at::Tensor& x) const;
  // [tokens, width]; undefined where there is none.
  const at::Tensor& prompt() const { return prompt_; }

 private:
  struct Pair {
    at::Tensor a, b;
  };
  struct OfMap {
    std::optional<Pair> shared;
    std::vector<Pair> experts;
    at::Tensor router;
  };
  at::Tensor dropped(const at::Tensor& x) const;
  at::Tensor of_pair(const Pair& pair, const at::Tensor& x) const;
  at::Tensor of_experts(const OfMap& map, const at::Tensor& x) const;

  std::vector<std::array<OfMap, std::size(kAllTargets)>> maps_;
  at::Tensor prompt_;
  double scale_ = 1;
  double dropout_ = 0;
  int64_t top_experts_ = 0;
  Router router_ = Router::kTokenProjection;
  std::optional<at::Generator> generator_;
  at::Tensor real_;
  mutable at::Tensor balance_;
};

// Fresh adapters: A and routers uniform in +-1/sqrt(in), B zero, so that they change nothing at
// first, in each layer with that layer's rank (0: none), a smaller rank being the first rows of a
// larger one; `experts` of maps in layers that have a rank; and a linear head [head_outputs, width]
// from N(0, 0.02) where head_outputs is above 0. Without `shared` no adapters but the experts.
TensorMap random_adapter(const Architecture& architecture, const AdapterSpec& spec,
                         const std::vector<int64_t>& ranks, int64_t head_outputs, uint64_t seed,
                         const ModuleExperts& experts = {}, bool shared = true);
// With the spec's rank in the last `depth` layers.
TensorMap random_adapter(const Architecture& architecture, const AdapterSpec& spec, int64_t depth,
                         int64_t head_outputs, uint64_t seed);

}  // namespace fedclock::nn
