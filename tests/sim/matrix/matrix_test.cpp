// Every answer to the five questions beside every other: it runs, or it is refused with a reason.
#include <fmt/format.h>

#include <cmath>
#include <map>

#include "models/common/error.h"
#include "tests/sim/matrix/learnt.h"

namespace fedclock::federation {
namespace {

const std::vector<std::string> kSelections = {"all:{}", "random:{count:2}", "oort:{count:3}"};
const std::vector<std::string> kAssignments = {"uniform:{}",
                                               "uniform:{depth:1}",
                                               "capacity:{ranks:[2,4] depth_shares:[0.5,1]}",
                                               "fisher:{layer_shares:[0.5,1]}",
                                               "joint:{most_frequency:2}",
                                               "experts:{experts:7}",
                                               "prompt:{tokens:3}"};
const std::vector<std::string> kLocals = {"plain:{}",
                                          "proximal:{}",
                                          "scaffold:{}",
                                          "frozen_a:{}",
                                          "alternating:{}",
                                          "shared_a:{}",
                                          "private_beside_shared:{}",
                                          "self_pruning:{}",
                                          "rest_of_world:{}",
                                          "clustered_experts:{warmup_rounds:1 max_experts:2}",
                                          "mutual:{weight_epochs:2 weight_learning_rate:0.1}"};
const std::vector<std::string> kSchedules = {"synchronous:{}",
                                             "deadline:{deadline_s:0.2 late:USED}",
                                             "deadline:{over_selection:1.5}",
                                             "hierarchical:{near_iid:{groups:2}}",
                                             "hierarchical:{by_gateway:{} aggregator:GATEWAY}",
                                             "hierarchical:{random:{groups:2} aggregator:DEVICE}",
                                             "asynchronous:{}",
                                             "buffered:{size:2}",
                                             "centralized:{}",
                                             "local_only:{}"};
const std::vector<std::string> kAggregations = {
    "mean:{}",   "mean:{} server_optimizer:{kind:ADAM}",
    "padded:{}", "padded:{} server_optimizer:{kind:MOMENTUM}",
    "svd:{}",    "stacked:{}"};

std::vector<std::string> overrides(const std::string& selection, const std::string& assignment,
                                   const std::string& local, const std::string& schedule,
                                   const std::string& aggregation) {
  // One by one: a message that is written whole would lose what else is in it.
  const auto field = [](const char* question, const std::string& answers) {
    return fmt::format("federation.{}={{{}}}", question, answers);
  };
  std::vector<std::string> all = {
      field("selection", selection),
      field("assignment", assignment),
      fmt::format("federation.local={{{} steps:1 batch_size:4 learning_rate:0.01 "
                  "optimizer:SGD}}",
                  local),
      field("schedule", schedule),
      field("aggregation", aggregation),
      "task.auxiliary_fraction=0.1"};
  if (assignment.starts_with("prompt")) {  // of a decoder that answers in words
    all.insert(all.end(), {"model.pretrain.architecture.kind=DECODER",
                           "task.synthetic.form=INSTRUCTION", "task.max_tokens=13"});
  }
  return all;
}

// What holds of every run; thrown in the child.
std::vector<double> check_run(const v1::Result& result) {
  const auto require = [](bool holds, const char* what) {
    if (!holds) throw std::runtime_error(what);
  };
  require(result.rounds_size() == 3, "two rounds, and the start");
  int64_t bytes = 0;
  for (const v1::Round& round : result.rounds()) {
    require(round.has_accuracy() && round.accuracy() >= 0 && round.accuracy() <= 1, "an accuracy");
    require(std::isfinite(round.loss()), "a finite loss");
    require(round.end_s() >= round.start_s(), "time goes on");
    bytes += round.bytes_up() + round.bytes_down();
    for (const v1::ClientRound& client : round.clients()) {
      require(client.wait_s() >= -1e-9, "a wait of at least nothing");
      if (!client.dropped()) require(std::isfinite(client.train_loss()), "a training loss");
    }
  }
  for (const int64_t sent : result.events().bytes()) bytes -= sent;
  require(bytes == 0, "bytes of the rounds are those of the events");
  return {result.rounds(2).end_s()};
}

void run_all_with(const std::string& schedule) {
  int ran = 0;
  std::map<std::string, int> reasons;
  for (const std::string& selection : kSelections) {
    for (const std::string& assignment : kAssignments) {
      for (const std::string& local : kLocals) {
        for (const std::string& aggregation : kAggregations) {
          const auto answers = overrides(selection, assignment, local, schedule, aggregation);
          CAPTURE(selection, assignment, local, schedule, aggregation);
          std::optional<scenario::Loaded> loaded;
          try {
            loaded = test::load_good("micro.textproto", answers);
          } catch (const InputError& error) {
            const std::string text = error.what();
            REQUIRE(text.find("federation.") != std::string::npos);
            ++reasons[text.substr(text.find("federation."))];
            continue;
          }
          const auto forked = test::run_forked([&] { return check_run(test::learn(*loaded)); });
          REQUIRE(forked.error == "");
          CHECK(forked.values.at(0) > 0);
          ++ran;
        }
      }
    }
  }
  WARN(schedule << ": " << ran << " combinations ran, " << reasons.size()
                << " reasons against others");
  CHECK(ran >= 16);
}

TEST_CASE("every answer beside every other, for two rounds") {
  const size_t number = GENERATE(range(size_t{0}, size_t{10}));
  REQUIRE(kSchedules.size() == 10);
  run_all_with(kSchedules[number]);
}

}  // namespace
}  // namespace fedclock::federation
