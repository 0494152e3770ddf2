#include <algorithm>
#include <cmath>

#include "sim/federation/schedule/schedule.h"
#include "sim/kernel/combinators.h"

namespace fedclock::federation {

namespace {

// Nothing when its device never comes back.
kernel::Task<std::optional<learning::Value>> train_alone(Federation& f, int64_t round,
                                                         int32_t client, learning::Value own) {
  const Client& who = f.clients[static_cast<size_t>(client)];
  const Plan plan = f.answers.assignment->plan({round}, client);
  const Part part = f.answers.local->part({round}, client, who, plan);
  results::ClientRecord& record = f.recorder.add_client(round, client);
  begin_part(f, record, plan);
  const bool done = co_await train_on_device(f, record, part, OnBreak{});
  if (!done) {
    give_up_part(f, record);
    co_return std::nullopt;
  }
  const learning::Value held = f.learner.apply(learning::tailored(part.held), {own}, part.name());
  const learning::Value update = f.learner.train(held, part.job);
  finish_part(f, record, part, update);
  co_return update;
}

}  // namespace

// The reference without a federation: every client goes on from its own model and sends nothing.
// Rounds are kept in step only so that they can be compared.
kernel::Task<learning::Value> run_local_only(Federation& f) {
  std::vector<learning::Value> own(f.clients.size(), f.initial_state());
  f.end_round_of_many(0, own);
  const std::vector<int32_t> participants = f.participants();
  for (int64_t round = 1; f.begins_round(round); ++round) {
    const std::vector<int32_t> chosen = f.choose({round}, participants);
    std::vector<kernel::Task<std::optional<learning::Value>>> rounds;
    for (const int32_t client : chosen) {
      rounds.push_back(train_alone(f, round, client, own[static_cast<size_t>(client)]));
    }
    const auto states = co_await kernel::when_all(std::move(rounds));
    for (size_t i = 0; i < chosen.size(); ++i) {
      if (states[i]) own[static_cast<size_t>(chosen[i])] = *states[i];
    }
    f.end_round_of_many(round, own);
    const bool all_gone = std::all_of(participants.begin(), participants.end(), [&f](int32_t one) {
      return std::isinf(f.platform.next_on_s(static_cast<size_t>(one)));
    });
    if (!all_gone) continue;
    f.stop_reason = "never again is a client's device on";
    break;
  }
  co_return own.front();
}

}  // namespace fedclock::federation
