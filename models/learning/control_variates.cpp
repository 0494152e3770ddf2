// SCAFFOLD (1910.06378), option II. A tensor, a row or a column that a control lacks is 0 in it.
#include <algorithm>
#include <set>

#include "models/learning/ranked.h"
#include "models/learning/state_function.h"

namespace fedclock::learning {

namespace {

class NewControl : public StateFunction {
 public:
  explicit NewControl(double factor) : factor_(factor) {}
  const char* what() const override { return "new control"; }
  void add_to(DigestBuilder& name) const override { name.add(factor_); }
  // (c, start, trained[, c_i])
  Outcome operator()(const Inputs& inputs, const Task&) const override {
    ensure(inputs.size() == 3 || inputs.size() == 4, "new_control() is of three or four states");
    const nn::TensorMap none;
    const nn::TensorMap& own = inputs.size() == 4 ? *inputs[3] : none;
    nn::TensorMap control;
    for (const auto& [name, tensor] : *inputs[2]) {
      if (parse_tensor_name(name).kind == TensorKind::kMerged) continue;  // never trained
      const Ranked trained = Ranked::of(*inputs[2], name), start = Ranked::of(*inputs[1], name);
      const Ranked c = Ranked::of(*inputs[0], name), c_i = Ranked::of(own, name);
      for (const Ranked* other : {&start, &c, &c_i}) other->check_fits(trained);
      ensure(start.rank() >= trained.rank(), "trained elements that their start has not");
      control[name] = trained.make([&](const Place& p) {
        return c_i.at_or(p, 0) - c.at_or(p, 0) + (start.at(p) - trained.at(p)) * factor_;
      });
    }
    return {std::move(control), {}};
  }

 private:
  const double factor_;
};

class MovedControl : public StateFunction {
 public:
  explicit MovedControl(double clients) : clients_(clients) {
    ensure(clients > 0, "controls of no clients");
  }
  const char* what() const override { return "moved control"; }
  void add_to(DigestBuilder& name) const override { name.add(clients_); }
  // (c, c_1, c_1_new, c_2, c_2_new, ...)
  Outcome operator()(const Inputs& inputs, const Task&) const override {
    ensure(inputs.size() % 2 == 1, "moved_control() is of a control and pairs of them");
    std::set<std::string> names;
    for (const nn::TensorMap* input : inputs) {
      for (const auto& [name, tensor] : *input) names.insert(name);
    }
    nn::TensorMap control;
    for (const std::string& name : names) control[name] = moved(inputs, name);
    return {std::move(control), {}};
  }

 private:
  at::Tensor moved(const Inputs& inputs, const std::string& name) const {
    std::vector<Ranked> of;
    for (const nn::TensorMap* input : inputs) of.push_back(Ranked::of(*input, name));
    const auto less = [](const Ranked& a, const Ranked& b) { return a.rank() < b.rank(); };
    const Ranked& largest = *std::max_element(of.begin(), of.end(), less);
    for (const Ranked& one : of) one.check_fits(largest);
    return largest.make([&](const Place& p) {
      double sum = 0;
      for (size_t i = 1; i < of.size(); i += 2) sum += of[i + 1].at_or(p, 0) - of[i].at_or(p, 0);
      return of[0].at_or(p, 0) + sum / clients_;
    });
  }

  const double clients_;
};

}  // namespace

Function new_control(double factor) { return std::make_shared<const NewControl>(factor); }
Function moved_control(double clients) { return std::make_shared<const MovedControl>(clients); }

}  // namespace fedclock::learning
