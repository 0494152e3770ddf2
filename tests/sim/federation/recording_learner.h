// A learner of hand arithmetic. States are as models/learning/functions.h says, of adapters on one
// map of each layer, 2 x 2, and a head; all elements of a tensor are the same number. Training adds
// a number that the test chooses to all that is trained; functions are the real ones. Everything is
// computed at once, and trainings are recorded. Include after models/nn/torch.h and Catch2.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/common/error.h"
#include "models/learning/adapter_names.h"
#include "models/learning/ensemble.h"
#include "models/learning/learner.h"
#include "models/learning/state_function.h"
#include "models/nn/adapters.h"
#include "models/nn/torch.h"

namespace fedclock::test {

// "0a" and "0b" are the factors of layer 0, "0.1a" that of its expert 1, "0r" its router, "head" is
// the head; of an ensemble those of the private model are "p0a" and so on, and "weight" is its.
using Flat = std::map<std::string, double>;

class RecordingLearner : public learning::Learner {
 public:
  // What a training adds, without its controls. Those take K eta (c - c_i) off.
  std::function<double(const learning::TrainJob&)> step = [](const auto&) { return 1.0; };

  struct Training {
    learning::TrainJob job;
    Flat start;
    std::vector<Flat> controls;
  };
  std::vector<Training> trainings;
  struct Fusion {
    Digest name;  // of the function
    Flat shared, own;
  };
  std::vector<Fusion> fusions;
  std::vector<Flat> learned;  // ensembles whose weight was
  std::vector<Flat> evaluated;

  static Digest name_of(const learning::Function& function) {
    DigestBuilder name;
    name.add(function->what());
    function->add_to(name);
    return name.finish();
  }

  // ProgrammerError where the elements of a tensor are not the same number.
  static Flat flat(const learning::Value& state) {
    Flat flat;
    const nn::TensorMap& tensors = of(state).tensors;
    if (const auto weight = learning::private_weight(tensors)) {
      for (const auto member : {learning::Member::kShared, learning::Member::kPrivate}) {
        const char* prefix = member == learning::Member::kPrivate ? "p" : "";
        for (const auto& [name, number] :
             RecordingLearner::flat(value({learning::member_of(tensors, member), {}}))) {
          flat[prefix + name] = number;
        }
      }
      flat["weight"] = *weight;
      return flat;
    }
    for (const auto& [name, tensor] : tensors) {
      const double value = tensor.min().item<double>();
      ensure(value == tensor.max().item<double>(), "elements differ");
      const learning::TensorName parsed = learning::parse_tensor_name(name);
      const bool a = parsed.kind == learning::TensorKind::kA;
      const bool head = parsed.kind == learning::TensorKind::kOther;
      std::string short_name = std::to_string(parsed.module.layer);
      if (parsed.expert >= 0) short_name += "." + std::to_string(parsed.expert);
      short_name += parsed.kind == learning::TensorKind::kRouter ? "r" : a ? "a" : "b";
      flat[head ? "head" : short_name] = value;
    }
    return flat;
  }
  // Of the layer's A.
  static int64_t rank_of(const learning::Value& state, int64_t layer) {
    return of(state).tensors.at(learning::name_of_a(map_of(layer))).size(0);
  }
  // A state with these numbers, of rank 4.
  static learning::Value state_of(const Flat& flat) {
    nn::TensorMap tensors;
    for (const auto& [name, value] : flat) {
      if (name == "head") {
        tensors["head.weight"] = at::full({1, 2}, value, at::kFloat);
        continue;
      }
      const std::string map = map_of(name[0] - '0');
      if (name[1] == 'a') tensors[learning::name_of_a(map)] = at::full({4, 2}, value, at::kFloat);
      if (name[1] == 'b') tensors[learning::name_of_b(map)] = at::full({2, 4}, value, at::kFloat);
    }
    return value({std::move(tensors), {}});
  }

  bool has_numbers() const override { return true; }

  // A is 1, B 2, the head 3, a router 4.
  learning::Value initial(const learning::Share& share, uint64_t) override {
    nn::TensorMap tensors;
    tensors["head.weight"] = at::full({1, 2}, 3.0, at::kFloat);
    for (size_t layer = 0; layer < share.ranks.size(); ++layer) {
      const int64_t rank = share.ranks[layer];
      if (rank == 0) continue;
      const std::string map = map_of(static_cast<int64_t>(layer));
      const auto add_pair = [&](const std::string& name) {
        tensors[learning::name_of_a(name)] = at::full({rank, 2}, 1.0, at::kFloat);
        tensors[learning::name_of_b(name)] = at::full({2, rank}, 2.0, at::kFloat);
      };
      if (share.shared) add_pair(map);
      const auto own = share.experts.find({static_cast<int64_t>(layer), nn::Target::kQ});
      if (own == share.experts.end()) continue;
      for (const int32_t expert : own->second) add_pair(nn::expert_name(map, expert));
      tensors[nn::router_name(map)] = at::full({2, 2}, 4.0, at::kFloat);
    }
    return value({std::move(tensors), {}});
  }

  learning::Value train(const learning::Value& start, const learning::TrainJob& job,
                        const std::vector<learning::Value>& controls) override {
    ensure(job.has_controls == (controls.size() == 2), "control variates without their job");
    Training& training = trainings.emplace_back(Training{job, flat(start), {}});
    for (const learning::Value& control : controls) training.controls.push_back(flat(control));
    learning::Outcome update = of(start);
    const auto rows = static_cast<int64_t>(job.rows->size());
    const double k_eta = static_cast<double>(job.settings.steps_for(rows)) * job.learning_rate;
    if (job.ensemble) return train_ensemble(start, job);
    const learning::Value trained = apply(learning::only(job.trained), {start}, "");
    for (const auto& [name, tensor] : of(trained).tensors) {
      at::Tensor now = tensor + step(job);
      for (size_t i = 0; i < controls.size(); ++i) {
        const auto found = of(controls[i]).tensors.find(name);
        if (found == of(controls[i]).tensors.end()) continue;
        now = now - found->second * (i == 0 ? k_eta : -k_eta);
      }
      update.tensors[name] = now;
    }
    return value(std::move(update));
  }

  // What fused() would choose takes a task: here it is always a quarter of the shared one; and what
  // learned_weight() would learn is 1/16 more each time.
  learning::Value apply(const learning::Function& function, const std::vector<learning::Value>& on,
                        const std::string&) override {
    std::vector<const nn::TensorMap*> inputs;
    for (const learning::Value& one : on) inputs.push_back(&of(one).tensors);
    if (function->what() == std::string("learned weight")) {
      learned.push_back(flat(on.at(0)));
      const at::Tensor weight = inputs.at(0)->at(learning::kEnsembleWeight) + 1.0 / 16;
      return value({{{learning::kEnsembleWeight, weight}}, {}});
    }
    if (function->what() != std::string("fused")) return value((*function)(inputs, no_task));
    fusions.push_back({name_of(function), flat(on.at(0)), flat(on.at(1))});
    inputs.insert(inputs.begin(), inputs.front());
    return value((*learning::mean_of_holders({1, 3}))(inputs, no_task));
  }

  learning::Value numbers_of(const learning::Value& update) override { return update; }
  std::vector<double> numbers(const learning::Value& value) override { return of(value).numbers; }
  learning::TrainingNumbers training_numbers(const learning::Value&) override { return {}; }
  learning::Value evaluate(const learning::Value& state, learning::RowSource,
                           const learning::Rows&) override {
    evaluated.push_back(flat(state));
    return state;
  }
  learning::Metrics metrics(const learning::Value&) override { return {0, 0, 1}; }
  Digest content_digest(const learning::Value&) override { throw ProgrammerError("never asked"); }
  void save(const learning::Value&, const std::filesystem::path&) override {
    throw ProgrammerError("never asked");
  }
  learning::JobCounts counts() const override { return {}; }
  int64_t buffer_bytes() const override { return 0; }

 private:
  // The private model takes steps that are twice as long.
  learning::Value train_ensemble(const learning::Value& start, learning::TrainJob job) {
    const auto member = [&](const learning::Function& function) {
      return apply(function, {start}, "");
    };
    job.ensemble = false;
    const auto recorded = trainings.size();
    const learning::Value shared = train(member(learning::shared_model()), job, {});
    const auto once = step;
    step = [once](const learning::TrainJob& of) { return 2 * once(of); };
    const learning::Value own = train(member(learning::private_model()), job, {});
    step = once;
    trainings.resize(recorded);
    return apply(learning::ensemble(), {shared, own, start}, "");
  }

  static std::string map_of(int64_t layer) { return "layers." + std::to_string(layer) + ".q"; }
  static const learning::LearningTask& no_task() { throw ProgrammerError("there is no task"); }
  // What a Node is, is the real learner's business: here it stands for an Outcome.
  static learning::Value value(learning::Outcome outcome) {
    const auto held = std::make_shared<learning::Outcome>(std::move(outcome));
    return {held, reinterpret_cast<learning::Node*>(held.get())};
  }
  static const learning::Outcome& of(const learning::Value& value) {
    ensure(value != nullptr, "a value that is empty");
    return *reinterpret_cast<const learning::Outcome*>(value.get());
  }
};

}  // namespace fedclock::test
