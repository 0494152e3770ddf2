// The server's step along d = merged - global (Reddi et al., 2003.00295; Hsu et al., 1909.06335). A
// row or column of an adapter that only `merged` has stays out of it: d is 0 there.
#include <cmath>

#include "models/learning/ranked.h"
#include "models/learning/state_function.h"

namespace fedclock::learning {

namespace {

bool has_second(ServerOptimizerKind kind) {
  return kind == ServerOptimizerKind::kAdam || kind == ServerOptimizerKind::kYogi;
}

class ServerFunction : public StateFunction {
 public:
  explicit ServerFunction(const ServerOptimizerSettings& settings) : settings_(settings) {}
  void add_to(DigestBuilder& name) const override {
    const ServerOptimizerSettings& s = settings_;
    name.add(static_cast<int>(s.kind)).add(s.learning_rate).add(s.momentum);
    name.add(s.beta1).add(s.beta2).add(s.tau);
  }

 protected:
  // One tensor in what goes in.
  struct Tensors {
    Ranked global, merged, first, second;
    double d(const Place& p) const { return global.has(p) ? merged.at(p) - global.at(p) : 0.0; }
  };
  static Tensors tensors_of(const std::string& name, const nn::TensorMap& global,
                            const nn::TensorMap& merged, const nn::TensorMap& moments) {
    Tensors one{Ranked::of(global, name), Ranked::of(merged, name),
                Ranked::of(moments, name, "first."), Ranked::of(moments, name, "second.")};
    for (const Ranked* other : {&one.global, &one.first, &one.second}) {
      other->check_fits(one.merged);
    }
    return one;
  }
  // What was merged into the base is no parameter.
  static bool is_stepped(const std::string& name, const nn::TensorMap& global) {
    return global.contains(name) && parse_tensor_name(name).kind != TensorKind::kMerged;
  }

  const ServerOptimizerSettings settings_;
};

class ServerMoments : public ServerFunction {
 public:
  using ServerFunction::ServerFunction;
  const char* what() const override { return "server moments"; }
  Outcome operator()(const Inputs& inputs, const Task&) const override {
    ensure(inputs.size() == 2 || inputs.size() == 3, "server_moments() is of two or three states");
    const nn::TensorMap &global = *inputs[0], &merged = *inputs[1], none;
    nn::TensorMap moments;
    for (const auto& [name, tensor] : merged) {
      if (!is_stepped(name, global)) continue;
      const Tensors of = tensors_of(name, global, merged, inputs.size() == 3 ? *inputs[2] : none);
      moments["first." + name] = of.merged.make([&](const Place& p) { return first(of, p); });
      if (!has_second(settings_.kind)) continue;
      moments["second." + name] = of.merged.make([&](const Place& p) { return second(of, p); });
    }
    return {std::move(moments), {}};
  }

 private:
  double first(const Tensors& of, const Place& p) const {
    const double m = of.first.at_or(p, 0.0);
    if (!has_second(settings_.kind)) return settings_.momentum * m + of.d(p);
    return settings_.beta1 * m + (1 - settings_.beta1) * of.d(p);
  }
  double second(const Tensors& of, const Place& p) const {
    const double v = of.second.at_or(p, settings_.tau * settings_.tau);
    const double squared = of.d(p) * of.d(p);
    if (settings_.kind == ServerOptimizerKind::kAdam) {
      return settings_.beta2 * v + (1 - settings_.beta2) * squared;
    }
    const double sign = v > squared ? 1.0 : v < squared ? -1.0 : 0.0;
    return v - (1 - settings_.beta2) * squared * sign;
  }
};

class ServerStep : public ServerFunction {
 public:
  using ServerFunction::ServerFunction;
  const char* what() const override { return "server step"; }
  Outcome operator()(const Inputs& inputs, const Task&) const override {
    ensure(inputs.size() == 3, "server_step() is of three states");
    const nn::TensorMap &global = *inputs[0], &merged = *inputs[1], &moments = *inputs[2];
    nn::TensorMap next = merged;
    for (const auto& [name, tensor] : merged) {
      if (!is_stepped(name, global)) continue;
      const Tensors of = tensors_of(name, global, merged, moments);
      ensure(of.first.rank() >= of.merged.rank() &&
                 (!has_second(settings_.kind) || of.second.rank() >= of.merged.rank()),
             "moments of other tensors");
      next[name] = of.merged.make([&](const Place& p) {
        return of.global.has(p) ? of.global.at(p) + settings_.learning_rate * direction(of, p)
                                : of.merged.at(p);
      });
    }
    return {std::move(next), {}};
  }

 private:
  double direction(const Tensors& of, const Place& p) const {
    const double m = of.first.at(p);
    if (settings_.kind == ServerOptimizerKind::kMomentum) return m;
    if (settings_.kind == ServerOptimizerKind::kNesterov) return of.d(p) + settings_.momentum * m;
    return m / (std::sqrt(of.second.at(p)) + settings_.tau);
  }
};

}  // namespace

Function server_moments(const ServerOptimizerSettings& settings) {
  return std::make_shared<const ServerMoments>(settings);
}

Function server_step(const ServerOptimizerSettings& settings) {
  return std::make_shared<const ServerStep>(settings);
}

}  // namespace fedclock::learning
