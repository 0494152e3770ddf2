#include "models/common/error.h"
#include "sim/federation/schedule/schedule.h"
#include "sim/kernel/combinators.h"

namespace fedclock::federation {

// FedAvg's server loop (arXiv 1602.05629, algorithm 1): send, wait for all, merge.
kernel::Task<learning::Value> run_synchronous(Federation& f) {
  ensure(f.server != nullptr, "a synchronous schedule without a server");
  learning::Value global = f.initial_state();
  f.end_round(0, global);
  for (int64_t round = 1; f.begins_round(round); ++round) {
    std::vector<kernel::Task<Update>> rounds;
    for (int32_t client : f.answers.selection->choose(round)) {
      rounds.push_back(client_round(f, round, client, global));
    }
    const std::vector<Update> updates = co_await kernel::when_all(std::move(rounds));
    const auto merge = co_await f.platform.compute_on_server(
        f.workload.merge_flops(*f.server, static_cast<int64_t>(updates.size())));
    f.recorder.round(round).merge_s = merge.end_s - merge.start_s;
    global = f.answers.aggregation->merge(f.learner, global, updates);
    f.end_round(round, global);
  }
  co_return global;
}

}  // namespace fedclock::federation
