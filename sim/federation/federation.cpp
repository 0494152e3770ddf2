#include "sim/federation/federation.h"

#include <fmt/format.h>

namespace fedclock::federation {

bool is_due(int64_t round, int32_t every) { return every > 0 && round % every == 0; }

learning::Value Federation::initial_state() const {
  return learner.initial(answers.assignment->deepest(), scenario.seed());
}

bool Federation::begins_round(int64_t round) {
  const v1::Stop& stop = scenario.stop();
  if (stop.has_rounds() && round > stop.rounds()) {
    stop_reason = fmt::format("{} rounds done", stop.rounds());
  } else if (stop.has_simulated_s() && simulation.now_s() >= stop.simulated_s()) {
    stop_reason = fmt::format("{} simulated seconds are over", stop.simulated_s());
  } else if (stop.has_accuracy() && recorder.measured_accuracy(round - 1) >= stop.accuracy()) {
    stop_reason = fmt::format("test accuracy {} reached", stop.accuracy());
  } else {
    recorder.begin_round(round, simulation.now_s());
    return true;
  }
  return false;
}

void Federation::end_round(int64_t round, const learning::Value& global) {
  end_round_of_many(round, {global});
}

void Federation::end_round_of_many(int64_t round, const std::vector<learning::Value>& states) {
  if (round == 0) recorder.begin_round(0, simulation.now_s());
  recorder.round(round).end_s = simulation.now_s();
  last_states = states;
  if (!learner.has_numbers()) return;
  if (round == 0 || is_due(round, scenario.evaluation().every_rounds())) measure(round);
  if (is_due(round, scenario.evaluation().clients_every_rounds())) measure_clients(round);
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
