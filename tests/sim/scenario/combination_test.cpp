// Answers that are refused beside each other, each with its reason at its place.
#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "sim/scenario/load.h"
#include "sim/scenario/methods.h"

namespace fedclock::scenario {
namespace {

using Catch::Contains;

void load_with(const std::vector<std::string>& overrides) {
  load_and_validate(std::string(FEDCLOCK_SOURCE_DIR "/") + "tests/data/good/micro.textproto",
                    {.overrides = overrides, .library = {}});
}

TEST_CASE("every published method is a scenario by itself") {
  for (const std::string& method : method_names()) {
    INFO(method);
    // LEGEND's highest rank, 12, is above the width of this model.
    const std::string rank = "federation.assignment.capacity={lowest_rank:2 highest_rank:6}";
    // FedAMoLE's thirty experts are too many for six devices.
    const std::vector<std::string> few = {"federation.assignment.experts.experts=20",
                                          "task.auxiliary_fraction=0.05"};
    const std::vector<std::string> aside = {"task.auxiliary_fraction=0.05"};
    const std::vector<std::string> warm = {"stop.rounds=6"};
    const std::vector<std::string> rest = method == "legend"     ? std::vector<std::string>{rank}
                                          : method == "fedamole" ? few
                                          : method == "fedapen"  ? aside
                                          : method == "fedlease" ? warm
                                                                 : std::vector<std::string>{};
    // Soft prompts are for decoders that answer in words.
    const std::vector<std::string> words = {"model.pretrain.architecture.kind=DECODER",
                                            "task.synthetic.form=INSTRUCTION",
                                            "federation.assignment.prompt.tokens=8"};
    std::vector<std::string> overrides = {"method=\"" + method + "\""};
    overrides.insert(overrides.end(), rest.begin(), rest.end());
    if (method == "fedprompt" || method == "fedptuning") {
      overrides.insert(overrides.end(), words.begin(), words.end());
    }
    CHECK_NOTHROW(load_with(overrides));
  }
  CHECK(method_names().size() == 28);
  // A weight that is not learnt needs no rows.
  CHECK_NOTHROW(load_with({"method=fedapen", "federation.local.mutual.weight_epochs=0"}));
}

TEST_CASE("answers that make no sense together are refused with the reason") {
  struct Case {
    std::vector<std::string> overrides;
    std::string place, reason;
  };
  const std::string hierarchical = "federation.schedule={hierarchical:{random:{groups:2}}}";
  const std::string kExperts = "federation.assignment={experts:{experts:12}}";
  const std::string kAuxiliary = "task.auxiliary_fraction=0.05";
  const std::string kPrompt = "federation.assignment={prompt:{tokens:8}}";
  const std::string kDecoder = "model.pretrain.architecture.kind=DECODER";
  const std::string kWords = "task.synthetic.form=INSTRUCTION";
  const std::vector<Case> cases = {
      {{"federation.assignment={joint:{}}"},
       "federation.assignment",
       "only a hierarchical schedule"},
      {{kPrompt}, "federation.assignment.prompt", "a decoder answers in words"},
      {{"federation.assignment={prompt:{tokens:9}}", kDecoder, kWords},
       "federation.assignment.prompt.tokens",
       "8 are left"},
      {{"method=fedprompt", kDecoder, kWords},
       "federation.assignment.prompt.tokens",
       "reads 16 tokens"},
      {{kPrompt, kDecoder, kWords, "timing.sequence_tokens=9"},
       "timing.sequence_tokens",
       "less the 8 tokens of the prompt"},
      {{kPrompt, kDecoder, kWords, "federation.local.frozen_a={}"}, "federation.local", "factors"},
      {{kPrompt, kDecoder, kWords, "federation.aggregation={padded:{}}"},
       "federation.aggregation",
       "products of adapters"},
      {{kExperts, kAuxiliary, "federation.schedule={buffered:{size:2}}"},
       "federation.schedule",
       "different assignments"},
      {{kExperts, kAuxiliary, hierarchical}, "federation.schedule", "different assignments"},
      {{kExperts, kAuxiliary, "federation.schedule={deadline:{deadline_s:1 late:USED}}"},
       "federation.schedule",
       "different assignments"},
      {{kExperts, kAuxiliary, "federation.local.shared_a={}"}, "federation.local", "other ones"},
      {{kExperts, kAuxiliary, "federation.aggregation={svd:{}}"},
       "federation.aggregation",
       "averaged over those that hold"},
      {{kExperts, kAuxiliary, "federation.schedule={local_only:{}}"},
       "federation.assignment",
       "in a federation"},
      {{"federation.local.load_balance=0.1"}, "load_balance", "there are none"},
      {{kExperts}, "experts.choice", "auxiliary_fraction"},
      {{"federation.assignment={experts:{experts:12 choice:STATIC noise_eta:5}}"},
       "noise_eta",
       "only choice: SCORES"},
      {{"method=fedamole", kAuxiliary}, "max_experts", "60 places, and 6 clients hold at most 8"},
      {{"method=fedamole", kAuxiliary, "federation.assignment.experts.experts=5"},
       "min_experts",
       "10 places, and 6 clients hold at least 2"},
      {{"method=fedamole", kAuxiliary, "federation.assignment.experts.choices=7"},
       "choices",
       "at most 6"},
      {{"method=fedamole", kAuxiliary, "federation.assignment.experts.experts=20",
        "federation.assignment.experts.homogeneous=true"},
       "homogeneous",
       "not whole"},
      {{"method=fedamole", kAuxiliary, "federation.assignment.experts.experts=12",
        "federation.assignment.experts.homogeneous=true",
        "federation.assignment.experts.min_experts=2"},
       "min_experts",
       "not used with homogeneous"},
      {{"method=fedamole", kAuxiliary, "federation.assignment.experts.experts=12",
        "federation.assignment.experts.max_experts=13"},
       "max_experts",
       "`experts` is 12"},
      {{"evaluation.after_training=true", "federation.schedule={local_only:{}}"},
       "evaluation.after_training",
       "never merges"},
      {{"evaluation.after_training=true", "federation.schedule={centralized:{}}"},
       "evaluation.after_training",
       "has no clients"},
      {{"evaluation.after_training=true", "federation.local.private_beside_shared={}"},
       "evaluation.after_training",
       "fused with the merged one"},
      {{"evaluation.after_training=true", "method=fedalt"},
       "evaluation.after_training",
       "beside those of the others"},
      {{"method=fedalt", "federation.assignment={capacity:{ranks:[2,4]}}"},
       "federation.assignment",
       "different layers or ranks"},
      {{"method=fedalt", "federation.assignment={uniform:{depth:0}}"},
       "uniform.depth",
       "rest_of_world keeps at home"},
      {{"method=fedalt", "federation.aggregation={mean:{} server_optimizer:{kind:ADAM}}"},
       "federation.aggregation",
       "what is merged for it"},
      {{"method=fedalt", hierarchical}, "federation.schedule", "what all sent"},
      {{"method=fedalt", "federation.schedule={asynchronous:{}}"},
       "federation.schedule",
       "what all sent"},
      {{"method=fedalt", "federation.schedule={deadline:{deadline_s:1 late:USED}}"},
       "federation.schedule",
       "drops late updates"},
      {{"method=fedlease", hierarchical}, "federation.schedule", "clustered_experts trains"},
      {{"method=fedlease", "federation.assignment={capacity:{ranks:[2,4]}}"},
       "federation.assignment",
       "clustered_experts mixes"},
      {{"method=fedlease", "evaluation.after_training=true"},
       "evaluation.after_training",
       "clustered_experts measures"},
      {{"method=fedlease", "federation.local.clustered_experts.max_experts=0"},
       "max_experts",
       "from 1 to 1000"},
      {{"method=fedlease", "stop.rounds=5"}, "warmup_rounds", "leaves none in which experts"},
      {{"method=fedapen"}, "federation.local.mutual", "auxiliary rows"},
      {{"method=fedapen", kAuxiliary, "federation.assignment={fisher:{layer_shares:[0.5,1]}}"},
       "federation.assignment",
       "would differ there"},
      {{"method=fedapen", kAuxiliary,
        "federation.assignment={uniform:{when_too_large:SHRINK_DEPTH}}"},
       "when_too_large",
       "would differ in the others"},
      {{"method=fedapen", kAuxiliary, "evaluation.after_training=true"},
       "evaluation.after_training",
       "mixed with the merged one"},
      {{"method=fedapen", kAuxiliary, "federation.aggregation={stacked:{}}"},
       "federation.aggregation",
       "of the private model too"},
      {{"method=fedapen", kAuxiliary, "federation.schedule={local_only:{}}"},
       "federation.local",
       "exchanges nothing"},
      {{"method=fedapen", kAuxiliary, kExperts}, "federation.local", "holds other ones"},
      {{"method=fedalt", "federation.assignment={uniform:{when_too_large:SHRINK_DEPTH}}"},
       "when_too_large",
       "cannot be merged into the base"},
      {{kPrompt, kDecoder, kWords, "federation.local.rest_of_world={}"},
       "federation.local",
       "factors"},
      {{"federation.assignment={joint:{}}",
        "federation.schedule={hierarchical:{random:{groups:2} intra_rounds:2}}"},
       "intra_rounds",
       "is chosen by assignment.joint"},
      {{"federation.schedule={hierarchical:{random:{groups:2} aggregator:GATEWAY}}"},
       "hierarchical.aggregator",
       "by_gateway"},
      {{"federation.schedule={hierarchical:{}}"}, "hierarchical", "how clients are grouped"},
      {{"federation.schedule={hierarchical:{random:{groups:7}}}"}, "groups", "6 devices"},
      {{"federation.selection={all:{}}", "federation.schedule={deadline:{over_selection:1.3}}"},
       "over_selection",
       "already takes all"},
      {{"federation.aggregation={padded:{}}", "federation.schedule={asynchronous:{}}"},
       "federation.aggregation",
       "erase the rows"},
      {{"federation.aggregation={svd:{}}", "federation.local.frozen_a={}"},
       "federation.aggregation",
       "both factors"},
      {{"federation.aggregation={svd:{}}", "federation.schedule={buffered:{size:2}}"},
       "federation.aggregation",
       "cannot be carried over"},
      {{"federation.aggregation={stacked:{}}", hierarchical},
       "federation.aggregation",
       "different bases"},
      {{"federation.aggregation={stacked:{} server_optimizer:{kind:ADAM}}"},
       "server_optimizer",
       "fresh adapters"},
      {{"federation.aggregation={svd:{}}", "federation.local.private_beside_shared={}"},
       "federation.aggregation",
       "private adapter"},
      {{"federation.local={scaffold:{} steps:1 optimizer:ADAMW}"},
       "federation.local.scaffold",
       "optimizer: SGD"},
      {{"federation.local.scaffold={}", "federation.assignment={capacity:{ranks:[2,4]}}"},
       "federation.local.scaffold",
       "of one shape"},
      {{"federation.local.alternating={}", "federation.schedule={asynchronous:{}}"},
       "federation.local",
       "updates of earlier rounds"},
      {{"federation.local.alternating={}",
        "federation.aggregation={mean:{} server_optimizer:{kind:ADAM}}"},
       "server_optimizer",
       "holds still"},
      {{"federation.local.shared_a={}", "federation.assignment={uniform:{depth:0}}"},
       "depth",
       "nothing would travel"},
      {{"federation.local.shared_a={}", "federation.schedule={centralized:{}}"},
       "federation.local",
       "exchanges nothing"},
      {{"federation.selection={oort:{count:2}}", "federation.schedule={local_only:{}}"},
       "federation.selection",
       "send nothing"},
      {{"federation.aggregation={svd:{}}", "federation.schedule={local_only:{}}"},
       "federation.aggregation",
       "nothing to merge"},
      {{"federation.assignment={capacity:{ranks:[2] lowest_rank:1 highest_rank:4}}"},
       "lowest_rank",
       "two things"},
      {{"federation.assignment={capacity:{lowest_rank:1}}"}, "lowest_rank", "one end"},
      {{"federation.assignment={capacity:{ranks:[2,9]}}"}, "ranks[1]", "the model's width"},
      {{"federation.assignment={capacity:{depth_shares:[1.5]}}"}, "depth_shares[0]", "a share"},
      {{"federation.assignment={fisher:{}}"}, "layer_shares", "slowest first"},
      {{"federation.schedule={buffered:{}}"}, "size", "how many updates"},
      {{"federation.aggregation={mean:{} server_optimizer:{}}"}, "kind", "MOMENTUM"},
  };
  for (const Case& one : cases) {
    INFO(one.overrides.back());
    CHECK_THROWS_WITH(load_with(one.overrides), Contains(one.place) && Contains(one.reason));
  }
}

}  // namespace
}  // namespace fedclock::scenario
