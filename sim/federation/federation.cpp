#include "sim/federation/federation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace fedclock::federation {

bool is_due(int64_t round, int32_t every) { return every > 0 && round % every == 0; }

learning::Value Federation::initial_state() const {
  return learner.initial(initial_share, scenario.seed());
}

std::vector<int32_t> Federation::participants() const {
  std::vector<int32_t> taking_part;
  for (int32_t client = 0; client < static_cast<int32_t>(clients.size()); ++client) {
    if (answers.assignment->takes_part(client)) taking_part.push_back(client);
  }
  return taking_part;
}

bool Federation::is_over(int64_t round) {
  const v1::Stop& stop = scenario.stop();
  if (stop.has_rounds() && round > stop.rounds()) {
    stop_reason = fmt::format("{} rounds done", stop.rounds());
  } else if (stop.has_simulated_s() && simulation.now_s() >= stop.simulated_s()) {
    stop_reason = fmt::format("{} simulated seconds are over", stop.simulated_s());
  } else if (stop.has_accuracy() && recorder.measured_accuracy(round - 1) >= stop.accuracy()) {
    stop_reason = fmt::format("test accuracy {} reached", stop.accuracy());
  } else {
    return false;
  }
  return true;
}

void Federation::begin(int64_t round) {
  recorder.begin_round(round, simulation.now_s());
  platform.enter_round(round);
}

bool Federation::begins_round(int64_t round) {
  if (is_over(round)) return false;
  begin(round);
  return true;
}

// The earliest date at which so many of them can be reachable; infinity: never.
double Federation::earliest_start_s(const std::vector<int32_t>& participants, size_t least) const {
  if (least > participants.size()) return std::numeric_limits<double>::infinity();
  std::vector<double> dates_s;
  for (const int32_t client : participants) {
    dates_s.push_back(platform.next_reachable_s(static_cast<size_t>(client)));
  }
  const auto last = dates_s.begin() + static_cast<std::ptrdiff_t>(least) - 1;
  std::nth_element(dates_s.begin(), last, dates_s.end());
  return *last;
}

kernel::Task<bool> Federation::begins_round(int64_t round, const std::vector<int32_t>& participants,
                                            int32_t least, std::vector<int32_t>& reachable) {
  while (!is_over(round)) {
    if (platform.is_always_reachable()) {
      reachable = participants;
      begin(round);
      co_return true;
    }
    reachable.clear();
    for (const int32_t client : participants) {
      if (platform.is_reachable(static_cast<size_t>(client))) reachable.push_back(client);
    }
    if (reachable.size() >= static_cast<size_t>(least)) {
      begin(round);
      co_return true;
    }
    const double next_s = earliest_start_s(participants, static_cast<size_t>(least));
    if (std::isinf(next_s)) break;
    co_await simulation.sleep_until(next_s);
  }
  if (stop_reason.empty()) {
    stop_reason = std::isinf(platform.next_server_on_s())
                      ? "the server never comes back"
                      : fmt::format("never again are enough clients reachable: {} needed", least);
  }
  co_return false;
}

std::vector<int32_t> Federation::choose(const Occasion& occasion,
                                        const std::vector<int32_t>& candidates,
                                        std::optional<int32_t> count) {
  const auto all = static_cast<int32_t>(clients.size());
  return answers.selection->choose(occasion, candidates,
                                   count.value_or(answers.selection->usual(all)));
}

learning::Value Federation::merge(const Occasion& occasion, const learning::Value& global,
                                  const std::vector<Update>& updates,
                                  const std::vector<int32_t>& clients) {
  const learning::Value merged = answers.aggregation->merge(learner, occasion, global, updates);
  answers.local->merged(learner, clients);
  return answers.server_optimizer.step(learner, occasion, global, merged);
}

bool Federation::measures_after_training() const {
  return scenario.evaluation().after_training() || scenario.federation().assignment().has_experts();
}

bool Federation::measures_own_models() const {
  return answers.local->is_personal() || measures_after_training();
}

void Federation::keep_trained(int32_t client, const learning::Value& update) {
  if (!measures_after_training()) return;
  trained_states.resize(clients.size());
  trained_states[static_cast<size_t>(client)] = update;
}

learning::Value Federation::model_of(int64_t round, int32_t client, const learning::Value& global) {
  const auto place = static_cast<size_t>(client);
  if (place < trained_states.size() && trained_states[place]) {
    return answers.local->model_of(learner, client, trained_states[place]);
  }
  if (!scenario.federation().assignment().has_experts()) {
    return answers.local->model_of(learner, client, global);
  }
  const Plan plan = answers.assignment->plan({round}, client);
  learning::Share own{plan.held};
  own.experts = plan.experts;
  return learner.apply(learning::tailored(own), {global}, "a client's own model");
}

void Federation::end_round(int64_t round, const learning::Value& global) {
  if (!measures_own_models() || round == 0) return end_round_of_many(round, {global});
  std::vector<learning::Value> models;
  for (size_t client = 0; client < clients.size(); ++client) {
    models.push_back(model_of(round, static_cast<int32_t>(client), global));
  }
  end_round_of_many(round, models);
}

void Federation::end_round_of_many(int64_t round, const std::vector<learning::Value>& states) {
  if (round == 0) recorder.begin_round(0, simulation.now_s());
  recorder.round(round).end_s = simulation.now_s();
  settle_clients(recorder.round(round));
  last_states = states;
  if (!learner.has_numbers()) return;
  if (round == 0 || is_due(round, scenario.evaluation().every_rounds())) measure(round);
  if (is_due(round, scenario.evaluation().clients_every_rounds())) measure_clients(round);
}

// What is known of a client's part only when the round ends: how long its device was off in it, and
// what it drew while it was on and did nothing.
void Federation::settle_clients(results::RoundRecord& record) {
  for (results::ClientRecord& client : record.clients) {
    const auto device = static_cast<size_t>(client.client);
    const double left_s = client.left_s(record.end_s);
    client.off_s = platform.off_seconds(device, client.start_s, left_s);
    if (!platform.counts_energy()) continue;
    const double busy_s = client.download.seconds + client.train.seconds + client.upload.seconds;
    const double idle_s = left_s - client.start_s - client.off_s - busy_s;
    client.idle_joules = platform.idle_w(device) * std::max(0.0, idle_s);
  }
}

void Federation::measure(int64_t round) {
  results::RoundRecord& record = recorder.round(round);
  // All clients start from the same adapter: one measurement stands for all of them.
  const size_t models = round == 0 ? 1 : last_states.size();
  for (size_t i = 0; i < models; ++i) {
    record.evaluations.push_back(
        learner.evaluate(last_states[i], learning::RowSource::kTest, nullptr));
  }
}

void Federation::measure_clients(int64_t round) {
  results::RoundRecord& record = recorder.round(round);
  for (size_t client = 0; client < clients.size(); ++client) {
    const learning::Rows& rows = clients[client].test_rows;
    if (!rows || rows->empty()) continue;
    const learning::Value& state = last_states.size() == 1 ? last_states[0] : last_states[client];
    record.client_evaluations.push_back(learner.evaluate(state, learning::RowSource::kTrain, rows));
    record.evaluated_clients.push_back(static_cast<int32_t>(client));
  }
}

void Federation::measure_last() {
  const int64_t round = recorder.last_round();
  if (!learner.has_numbers() || round == 0) return;
  if (!is_due(round, scenario.evaluation().every_rounds())) measure(round);
  if (!is_due(round, scenario.evaluation().clients_every_rounds())) measure_clients(round);
}

}  // namespace fedclock::federation
