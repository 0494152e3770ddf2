#include "sim/scenario/methods.h"

#include <algorithm>
#include <string_view>

#include "sim/scenario/bind.h"
#include "sim/scenario/suggest.h"

namespace fedclock::scenario {
namespace {

// Everyone takes part, all layers are tuned, plain local training, the server waits for all and
// takes the mean (FedIT, Zhang et al., arXiv 2305.05644: FedAvg on LoRA's matrices).
v1::Federation fedit() {
  v1::Federation answers;
  answers.mutable_selection()->mutable_all();
  answers.mutable_assignment()->mutable_uniform();
  answers.mutable_local()->mutable_plain();
  answers.mutable_schedule()->mutable_synchronous();
  answers.mutable_aggregation()->mutable_mean();
  return answers;
}

// A reference: the server trains on all rows, as if they had been sent to it.
v1::Federation centralized() {
  v1::Federation answers = fedit();
  answers.mutable_schedule()->mutable_centralized();
  return answers;
}

// A reference: every client trains alone, on its own rows.
v1::Federation local_only() {
  v1::Federation answers = fedit();
  answers.mutable_schedule()->mutable_local_only();
  return answers;
}

struct Method {
  std::string_view name;
  v1::Federation (*answers)();
};

constexpr Method kMethods[] = {
    {"fedit", fedit},
    {"centralized", centralized},
    {"local_only", local_only},
};

}  // namespace

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const Method& method : kMethods) names.emplace_back(method.name);
  return names;
}

void expand_method(Loaded& loaded, Problems& problems) {
  v1::Scenario& scenario = loaded.scenario;
  const Method* chosen =
      std::find_if(std::begin(kMethods), std::end(kMethods),
                   [&](const Method& method) { return method.name == scenario.method(); });
  if (chosen == std::end(kMethods)) {
    problems.add("method", in_quotes(scenario.method()),
                 "is not a method; " + suggest_name(scenario.method(), method_names()));
    chosen = std::begin(kMethods);
  }
  v1::Federation answers = chosen->answers();
  merge_over(scenario.federation(), answers);
  *scenario.mutable_federation() = answers;
  // What the method answered was set where the method was named.
  for (const char* question : {"selection", "assignment", "local", "schedule", "aggregation"}) {
    const std::string path = join_path("federation", question);
    if (!loaded.locations.has(path)) loaded.locations.set(path, loaded.locations.find("method"));
  }
  problems.use(loaded.locations);
}

}  // namespace fedclock::scenario
