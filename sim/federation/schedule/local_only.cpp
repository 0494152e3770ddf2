#include "sim/federation/schedule/schedule.h"
#include "sim/kernel/combinators.h"

namespace fedclock::federation {

namespace {

kernel::Task<learning::Value> train_alone(Federation& f, int64_t round, int32_t client,
                                          learning::Value own) {
  const Client& who = f.clients[client];
  const Plan plan = f.answers.assignment->plan(round, client);
  const learning::TrainJob job = f.answers.local->job(round, client, who, plan);
  results::ClientRecord& record = f.recorder.add_client(round, client);
  record.depth = plan.depth;
  record.rows = static_cast<int64_t>(job.rows->size());
  const learning::Value update = f.learner.train(own, job);
  record.update = f.learner.numbers_of(update);
  const auto busy = co_await f.platform.compute(
      client, f.workload.training_flops(who.machine, plan, job.settings, record.rows));
  record.train_s = busy.end_s - busy.start_s;
  record.end_s = busy.end_s;
  co_return update;
}

}  // namespace

// The reference without a federation: every client goes on from its own model and sends nothing.
// Rounds are kept in step only so that they can be compared.
kernel::Task<learning::Value> run_local_only(Federation& f) {
  std::vector<learning::Value> own(f.clients.size(), f.initial_state());
  f.end_round_of_many(0, own);
  for (int64_t round = 1; f.begins_round(round); ++round) {
    const std::vector<int32_t> chosen = f.answers.selection->choose(round);
    std::vector<kernel::Task<learning::Value>> rounds;
    for (int32_t client : chosen) rounds.push_back(train_alone(f, round, client, own[client]));
    const std::vector<learning::Value> states = co_await kernel::when_all(std::move(rounds));
    for (size_t i = 0; i < chosen.size(); ++i) own[chosen[i]] = states[i];
    f.end_round_of_many(round, own);
  }
  co_return own.front();
}

}  // namespace fedclock::federation
