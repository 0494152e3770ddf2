// Synchronous rounds that end with enough updates or at a deadline: over-selection (Bonawitz et
// al., arXiv 1902.01046; Oort chooses 1.3 times as many), late updates dropped or used when they
// come.
#include <algorithm>
#include <cmath>
#include <limits>

#include "models/common/error.h"
#include "sim/federation/schedule/flights.h"

namespace fedclock::federation {

namespace {

struct Rounds {
  Federation& f;
  const v1::Deadline& answer;
  Flights flights;
  std::vector<Arrival> arrivals;  // not yet recorded

  int64_t updates() const {
    return std::count_if(arrivals.begin(), arrivals.end(),
                         [](const Arrival& one) { return one.update.has_value(); });
  }

  // Until there are so many updates, nobody is left to wait for, or the deadline.
  kernel::Task<void> collect(int64_t wanted, double until_s) {
    while (updates() < wanted && !flights.empty()) {
      if (!co_await flights.wait(until_s)) break;
      for (Arrival& one : flights.take()) arrivals.push_back(std::move(one));
    }
    if (answer.late() == v1::Deadline::USED) co_return;
    co_await flights.cancel();
    for (Arrival& one : flights.take()) arrivals.push_back(std::move(one));
  }

  // What has arrived becomes part of this round, in client order.
  std::vector<Update> settle(int64_t round) {
    std::sort(arrivals.begin(), arrivals.end(),
              [](const Arrival& a, const Arrival& b) { return a.record.client < b.record.client; });
    std::vector<Update> updates;
    for (Arrival& one : arrivals) {
      one.record.staleness = round - one.occasion.round;
      f.recorder.add_client(round, one.record);
      if (one.update) updates.push_back(*one.update);
    }
    arrivals.clear();
    return updates;
  }
};

}  // namespace

kernel::Task<learning::Value> run_with_deadline(Federation& f) {
  ensure(f.server != nullptr, "a schedule with a deadline without a server");
  const v1::Deadline& answer = f.scenario.federation().schedule().deadline();
  const OnBreak broken = on_break(answer.on_break(), answer.max_attempts());
  const std::vector<int32_t> participants = f.participants();
  Rounds rounds{f, answer, Flights(f), {}};
  std::vector<int32_t> reachable;
  learning::Value global = f.initial_state();
  f.end_round(0, global);
  for (int64_t number = 1; co_await f.begins_round(number, participants, 1, reachable); ++number) {
    std::erase_if(reachable,
                  [&](int32_t client) { return rounds.flights.busy().contains(client); });
    const int32_t usual = f.answers.selection->usual(static_cast<int32_t>(f.clients.size()));
    const auto more = static_cast<int32_t>(std::ceil(usual * answer.over_selection() - 1e-9));
    for (const int32_t client : f.choose({number}, reachable, more)) {
      rounds.flights.launch({number}, client, global, broken);
    }
    const double until_s = answer.has_deadline_s() ? f.simulation.now_s() + answer.deadline_s()
                                                   : std::numeric_limits<double>::infinity();
    co_await rounds.collect(usual, until_s);
    const std::vector<Update> updates = rounds.settle(number);
    global = co_await merged_on_server(f, number, global, updates, clients_of(updates));
    f.end_round(number, global);
  }
  co_await rounds.flights.cancel();
  for (Arrival& one : rounds.flights.take()) {  // never merged
    lose_part(one.record);
    rounds.arrivals.push_back(std::move(one));
  }
  if (f.recorder.last_round() > 0) rounds.settle(f.recorder.last_round());
  co_return global;
}

}  // namespace fedclock::federation
