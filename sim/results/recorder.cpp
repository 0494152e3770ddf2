#include "sim/results/recorder.h"

#include <limits>

#include "models/common/error.h"

namespace fedclock::results {

namespace {

// How far the clock runs ahead of the learning: far enough that workers never wait for it, and so
// near that people see rounds as they are learnt.
constexpr int64_t kMostRoundsAhead = 50;

}  // namespace

RoundRecord& Recorder::begin_round(int64_t round, double now_s) {
  ensure(round == static_cast<int64_t>(rounds_.size()), "rounds begin in order");
  if (round > kMostRoundsAhead) resolve(round - kMostRoundsAhead - 1);
  RoundRecord& record = rounds_.emplace_back();
  record.round = round;
  record.start_s = record.end_s = now_s;
  return record;
}

RoundRecord& Recorder::round(int64_t round) { return rounds_.at(static_cast<size_t>(round)); }

ClientRecord& Recorder::add_client(int64_t round, int32_t client) {
  RoundRecord& record = this->round(round);
  ClientRecord& added = record.clients.emplace_back();
  added.client = client;
  return added;
}

v1::Round Recorder::resolved(const RoundRecord& record) {
  v1::Round round;
  round.set_round(static_cast<int32_t>(record.round));
  round.set_start_s(record.start_s);
  round.set_end_s(record.end_s);
  if (record.merge_s > 0) round.set_merge_s(record.merge_s);
  if (record.server_train_s > 0) round.set_server_train_s(record.server_train_s);
  int64_t up = 0, down = 0;
  double loss_sum = 0, row_sum = 0;
  for (const ClientRecord& from : record.clients) {
    v1::ClientRound& to = *round.add_clients();
    to.set_client(from.client);
    to.set_depth(static_cast<int32_t>(from.depth));
    to.set_download_s(from.download_s);
    to.set_train_s(from.train_s);
    to.set_upload_s(from.upload_s);
    to.set_wait_s(record.end_s - from.end_s);
    to.set_bytes_up(from.bytes_up);
    to.set_bytes_down(from.bytes_down);
    up += from.bytes_up;
    down += from.bytes_down;
    if (!from.update) continue;
    to.set_train_loss(learner_.training_loss(from.update));
    loss_sum += to.train_loss() * static_cast<double>(from.rows);
    row_sum += static_cast<double>(from.rows);
  }
  round.set_bytes_up(up);
  round.set_bytes_down(down);
  if (row_sum > 0) round.set_train_loss(loss_sum / row_sum);
  if (record.central_update) {
    round.set_train_loss(learner_.training_loss(record.central_update));
  }
  if (!record.evaluations.empty()) {
    const learning::Metrics metrics = mean_metrics(record.evaluations);
    round.set_accuracy(metrics.accuracy);
    round.set_loss(metrics.loss);
  }
  if (!record.client_evaluations.empty()) {
    double sum = 0;
    for (size_t i = 0; i < record.client_evaluations.size(); ++i) {
      v1::ClientAccuracy& own = *round.add_own_accuracies();
      own.set_client(record.evaluated_clients[i]);
      own.set_accuracy(learner_.metrics(record.client_evaluations[i]).accuracy);
      sum += own.accuracy();
    }
    // Both are in client order.
    int next = 0;
    for (v1::ClientRound& client : *round.mutable_clients()) {
      while (next < round.own_accuracies_size() &&
             round.own_accuracies(next).client() < client.client()) {
        ++next;
      }
      if (next < round.own_accuracies_size() &&
          round.own_accuracies(next).client() == client.client()) {
        client.set_accuracy(round.own_accuracies(next).accuracy());
      }
    }
    round.set_client_accuracy(sum / static_cast<double>(record.client_evaluations.size()));
  }
  return round;
}

const v1::Round& Recorder::resolve(int64_t round) {
  while (static_cast<int64_t>(resolved_.size()) <= round) {
    RoundRecord& record = rounds_.at(resolved_.size());
    resolved_.push_back(resolved(record));
    record = RoundRecord{};  // lets go of the tensors
    if (observer_) observer_(resolved_.back());
  }
  return resolved_.at(static_cast<size_t>(round));
}

learning::Metrics Recorder::mean_metrics(const std::vector<learning::Value>& evaluations) {
  learning::Metrics mean;
  for (const learning::Value& evaluation : evaluations) {
    const learning::Metrics metrics = learner_.metrics(evaluation);
    mean.accuracy += metrics.accuracy;
    mean.loss += metrics.loss;
    mean.rows += metrics.rows;
  }
  const auto models = static_cast<double>(evaluations.size());
  mean.accuracy /= models;
  mean.loss /= models;
  return mean;
}

double Recorder::measured_accuracy(int64_t last_round) {
  if (last_round >= 1) resolve(last_round - 1);
  const std::vector<learning::Value>& evaluations = round(last_round).evaluations;
  if (evaluations.empty()) return std::numeric_limits<double>::quiet_NaN();
  return mean_metrics(evaluations).accuracy;
}

void Recorder::add_to(v1::Result& result) {
  for (int64_t round = 0; round <= last_round(); ++round) *result.add_rounds() = resolve(round);
}

}  // namespace fedclock::results
