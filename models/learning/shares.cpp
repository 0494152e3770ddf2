// Parts of states: cut, chosen, laid over one another, carried over.
#include "models/learning/ranked.h"
#include "models/learning/state_function.h"
#include "models/nn/adapters.h"

namespace fedclock::learning {

namespace {

// The rank in which a share has a tensor: 0 where it has it not, and 1 of what has no rank.
int64_t rank_in(const Share& share, const std::string& name) {
  const TensorName parsed = parse_tensor_name(name);
  if (parsed.kind == TensorKind::kOther) return share.head ? 1 : 0;
  if (parsed.kind == TensorKind::kMerged || parsed.kind == TensorKind::kPrivate) return 0;
  const int64_t layer = parsed.module.layer;
  const int64_t rank =
      layer < std::ssize(share.ranks) ? share.ranks[static_cast<size_t>(layer)] : 0;
  if (parsed.kind == TensorKind::kRouter) {
    return share.routers && share.has_experts(parsed.module) ? rank : 0;
  }
  const bool has_factor = parsed.kind == TensorKind::kA ? share.a : share.b;
  const bool has_adapter =
      parsed.expert < 0 ? share.shared : share.has_expert(parsed.module, parsed.expert);
  return has_factor && has_adapter ? rank : 0;
}

class OfShare : public StateFunction {
 public:
  explicit OfShare(const Share& share) : share_(share) {}
  void add_to(DigestBuilder& name) const override { add_share(name, share_); }
  bool is_kept() const override { return false; }

 protected:
  const Share share_;
};

class Tailored : public OfShare {
 public:
  using OfShare::OfShare;
  const char* what() const override { return "tailored"; }
  Outcome operator()(const Inputs& inputs, const Task&) const override {
    ensure(inputs.size() == 1, "tailored() is of a state");
    nn::TensorMap part;
    for (const auto& [name, tensor] : *inputs.front()) {
      const TensorKind kind = parse_tensor_name(name).kind;
      const int64_t rank = rank_in(share_, name);
      if (kind == TensorKind::kMerged) {
        part[name] = tensor;
      } else if (rank > 0) {
        const Ranked whole(kind, tensor);
        const auto same = [&](const Place& p) { return whole.at(p); };
        part[name] = whole.rank() <= rank ? tensor : whole.make(rank, same);
      }
    }
    return {std::move(part), {}};
  }
};

class Only : public OfShare {
 public:
  using OfShare::OfShare;
  const char* what() const override { return "only"; }
  Outcome operator()(const Inputs& inputs, const Task&) const override {
    ensure(inputs.size() == 1, "only() is of a state");
    nn::TensorMap part;
    for (const auto& [name, tensor] : *inputs.front()) {
      if (rank_in(share_, name) > 0) part[name] = tensor;
    }
    return {std::move(part), {}};
  }
};

class LaidOver : public StateFunction {
 public:
  const char* what() const override { return "laid over"; }
  void add_to(DigestBuilder&) const override {}
  bool is_kept() const override { return false; }
  Outcome operator()(const Inputs& inputs, const Task&) const override {
    ensure(inputs.size() == 2, "laid_over() is of two states");
    nn::TensorMap both = *inputs[1];
    both.insert(inputs[0]->begin(), inputs[0]->end());
    return {std::move(both), {}};
  }
};

class Renamed : public StateFunction {
 public:
  Renamed(int32_t expert, int32_t to) : expert_(expert), to_(to) {}
  const char* what() const override { return "renamed"; }
  void add_to(DigestBuilder& name) const override { name.add(expert_).add(to_); }
  bool is_kept() const override { return false; }
  Outcome operator()(const Inputs& inputs, const Task&) const override {
    ensure(inputs.size() == 1, "renamed() is of a state");
    nn::TensorMap part;
    for (const auto& [name, tensor] : *inputs.front()) {
      if (!is_factor(name)) continue;
      const TensorName parsed = parse_tensor_name(name);
      if (parsed.expert != expert_) continue;
      const std::string map =
          nn::layer_tensor(parsed.module.layer, nn::target_name(parsed.module.target));
      const std::string now = to_ < 0 ? map : nn::expert_name(map, to_);
      part[parsed.kind == TensorKind::kA ? name_of_a(now) : name_of_b(now)] = tensor;
    }
    return {std::move(part), {}};
  }

 private:
  const int32_t expert_, to_;
};

class MeanWithout : public StateFunction {
 public:
  MeanWithout(double own, double all) : own_(own), all_(all) {
    ensure(own > 0 && all > own, "a mean of nobody else");
  }
  const char* what() const override { return "mean without"; }
  void add_to(DigestBuilder& name) const override { name.add(own_).add(all_); }
  bool is_kept() const override { return false; }
  Outcome operator()(const Inputs& inputs, const Task&) const override {
    ensure(inputs.size() == 2, "mean_without() is of two states");
    nn::TensorMap others;
    for (const auto& [name, tensor] : *inputs[1]) {
      const Ranked mean = Ranked::of(*inputs[0], name), own = Ranked::of(*inputs[1], name);
      mean.check_fits(own);
      ensure(!mean.absent() && mean.rank() == own.rank(), "a mean of another rank");
      others[name] = own.make(
          [&](const Place& p) { return (all_ * mean.at(p) - own_ * own.at(p)) / (all_ - own_); });
    }
    return {std::move(others), {}};
  }

 private:
  const double own_, all_;
};

class CarriedOver : public StateFunction {
 public:
  explicit CarriedOver(double factor) : factor_(factor) {}
  const char* what() const override { return "carried over"; }
  void add_to(DigestBuilder& name) const override { name.add(factor_); }
  Outcome operator()(const Inputs& inputs, const Task&) const override {
    ensure(inputs.size() == 3, "carried_over() is of three states");
    nn::TensorMap carried;
    for (const auto& [name, tensor] : *inputs[2]) {
      const Ranked update = Ranked::of(*inputs[2], name);
      const Ranked now = Ranked::of(*inputs[0], name), start = Ranked::of(*inputs[1], name);
      now.check_fits(update);
      start.check_fits(update);
      ensure(now.rank() >= update.rank() && start.rank() >= update.rank(),
             "an update of elements that its start, or the state now, has not");
      carried[name] = update.make(
          [&](const Place& p) { return now.at(p) + factor_ * (update.at(p) - start.at(p)); });
    }
    return {std::move(carried), {}};
  }

 private:
  const double factor_;
};

}  // namespace

void add_share(DigestBuilder& name, const Share& share) {
  name.add(share.ranks.size());
  for (const int64_t rank : share.ranks) name.add(rank);
  name.add(share.a).add(share.b).add(share.head);
  if (share.experts.empty()) return;
  name.add(share.routers).add(share.experts.size());
  if (!share.shared) name.add("no shared adapter");
  for (const auto& [module, experts] : share.experts) {
    name.add(module.layer).add(static_cast<int>(module.target)).add(experts.size());
    for (const int32_t expert : experts) name.add(expert);
  }
}

Function tailored(const Share& share) { return std::make_shared<const Tailored>(share); }
Function only(const Share& share) { return std::make_shared<const Only>(share); }
Function renamed(int32_t expert, int32_t to) { return std::make_shared<const Renamed>(expert, to); }
Function mean_without(double own, double all) {
  return std::make_shared<const MeanWithout>(own, all);
}
Function laid_over() { return std::make_shared<const LaidOver>(); }
Function carried_over(double factor) { return std::make_shared<const CarriedOver>(factor); }

}  // namespace fedclock::learning
