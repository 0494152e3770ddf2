#include <set>

#include "models/common/error.h"
#include "models/common/random.h"
#include "sim/federation/schedule/schedule.h"
#include "sim/kernel/combinators.h"

namespace fedclock::federation {

namespace {

OnBreak on_break(const v1::Synchronous& answer) {
  switch (answer.on_failure()) {
    case v1::Synchronous::RESUME: return {OnBreak::kGoOn, answer.max_attempts()};
    case v1::Synchronous::DROP:
    case v1::Synchronous::RESELECT: return {OnBreak::kGiveUp, answer.max_attempts()};
    default: return {OnBreak::kStartAgain, answer.max_attempts()};
  }
}

// One round: its places, and who may still take one.
struct Round {
  Federation& f;
  int64_t number;
  learning::Value global;
  const v1::Synchronous& answer;
  std::set<int32_t> unused;  // clients without a part in the round, where places are taken again
  Random random;

  // A reachable client that takes over a place; none: nothing.
  std::optional<int32_t> replacement() {
    std::vector<int32_t> reachable;
    for (const int32_t client : unused) {
      if (f.platform.is_reachable(static_cast<size_t>(client))) reachable.push_back(client);
    }
    if (reachable.empty()) return std::nullopt;
    const int32_t chosen = reachable[random.below(reachable.size())];
    unused.erase(chosen);
    return chosen;
  }
};

// One place in the round, taken by one client after the other until one of them sends its update.
kernel::Task<std::optional<Update>> place(Round& round, int32_t client) {
  std::optional<int32_t> taken = client;
  while (taken) {
    std::optional<Update> update =
        co_await client_round(round.f, {round.number}, *taken, round.global, on_break(round.answer),
                              round.f.recorder.add_client(round.number, *taken));
    if (update || round.answer.on_failure() != v1::Synchronous::RESELECT) co_return update;
    taken = round.replacement();
  }
  co_return std::nullopt;
}

kernel::Task<std::vector<Update>> updates_of(Round& round, const std::vector<int32_t>& chosen) {
  std::vector<kernel::Task<std::optional<Update>>> places;
  for (const int32_t client : chosen) places.push_back(place(round, client));
  co_return arrived(co_await kernel::when_all(std::move(places)));
}

}  // namespace

// FedAvg's server loop (arXiv 1602.05629, algorithm 1): send, wait for all, merge.
kernel::Task<learning::Value> run_synchronous(Federation& f) {
  ensure(f.server != nullptr, "a synchronous schedule without a server");
  const v1::Synchronous& answer = f.scenario.federation().schedule().synchronous();
  const std::vector<int32_t> participants = f.participants();
  std::vector<int32_t> reachable;
  learning::Value global = f.initial_state();
  f.end_round(0, global);
  for (int64_t number = 1;
       co_await f.begins_round(number, participants, answer.min_reachable(), reachable); ++number) {
    const std::vector<int32_t> chosen = f.choose({number}, reachable);
    Round round{f,      number,
                global, answer,
                {},     Random(f.scenario.seed(), "reselection", static_cast<uint64_t>(number))};
    if (answer.on_failure() == v1::Synchronous::RESELECT) {
      round.unused.insert(participants.begin(), participants.end());
      for (const int32_t client : chosen) round.unused.erase(client);
    }
    const std::vector<Update> updates = co_await updates_of(round, chosen);
    global = co_await merged_on_server(f, number, global, updates, clients_of(updates));
    f.end_round(number, global);
  }
  co_return global;
}

}  // namespace fedclock::federation
