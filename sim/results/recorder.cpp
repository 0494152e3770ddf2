#include "sim/results/recorder.h"

#include <algorithm>
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

void Recorder::add_client(int64_t round, const ClientRecord& record) {
  this->round(round).clients.push_back(record);
}

void ClientRecord::add(const ClientRecord& part) {
  const auto add_to = [](Spent& sum, const Spent& more) {
    sum.seconds += more.seconds;
    sum.bytes += more.bytes;
    sum.joules += more.joules;
  };
  add_to(download, part.download);
  add_to(train, part.train);
  add_to(upload, part.upload);
  lost_s += part.lost_s;
  lost_bytes_up += part.lost_bytes_up;
  lost_bytes_down += part.lost_bytes_down;
  dropped = dropped && part.dropped;  // nothing of it was merged
  depth = std::max(depth, part.depth);
  rank = std::max(rank, part.rank);
  rows = std::max(rows, part.rows);
  end_s = part.end_s;
  parts += part.parts;
  updates.insert(updates.end(), part.updates.begin(), part.updates.end());
}

namespace {

// Of a sum of durations against a difference of dates.
constexpr double kRounding = 1e-12;

// What a client's part in a round took. Fields that say nothing are left out.
void set_costs(const ClientRecord& from, double round_start_s, double round_end_s,
               v1::ClientRound& to) {
  to.set_client(from.client);
  to.set_depth(static_cast<int32_t>(from.depth));
  if (from.rank > 0) to.set_rank(static_cast<int32_t>(from.rank));
  if (from.experts > 0) to.set_experts(static_cast<int32_t>(from.experts));
  if (from.group >= 0) to.set_group(from.group);
  if (from.parts != 1) to.set_parts(from.parts);
  if (from.staleness > 0) to.set_staleness(static_cast<int32_t>(from.staleness));
  to.set_download_s(from.download.seconds);
  to.set_train_s(from.train.seconds);
  to.set_upload_s(from.upload.seconds);
  // The rest of its time in the round; where the part had no gap, by its dates, which have the
  // smaller rounding.
  const double busy_s = from.download.seconds + from.train.seconds + from.upload.seconds;
  const double left_s = from.left_s(round_end_s);
  const bool whole =
      from.off_s == 0 && from.end_s - from.start_s - busy_s <= kRounding * from.end_s;
  to.set_wait_s(whole ? left_s - from.end_s
                      : std::max(0.0, left_s - from.start_s - busy_s - from.off_s));
  to.set_bytes_up(from.upload.bytes);
  to.set_bytes_down(from.download.bytes);
  to.set_end_s(from.end_s);
  if (from.start_s > round_start_s) to.set_late_s(from.start_s - round_start_s);
  if (from.off_s > 0) to.set_off_s(from.off_s);
  if (from.lost_s > 0) to.set_lost_s(from.lost_s);
  if (from.lost_bytes_up > 0) to.set_lost_bytes_up(from.lost_bytes_up);
  if (from.lost_bytes_down > 0) to.set_lost_bytes_down(from.lost_bytes_down);
  if (from.dropped) to.set_dropped(true);
  if (from.download.joules + from.train.joules + from.upload.joules + from.idle_joules <= 0) return;
  to.set_download_j(from.download.joules);
  to.set_train_j(from.train.joules);
  to.set_upload_j(from.upload.joules);
  to.set_wait_j(from.idle_joules);
}

}  // namespace

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
    set_costs(from, record.start_s, record.end_s, to);
    up += to.bytes_up();
    down += to.bytes_down();
    if (from.updates.empty() || !from.updates.front()) continue;
    double losses = 0;
    for (const learning::Value& update : from.updates) {
      losses += learner_.training_numbers(update).mean_loss;
    }
    to.set_train_loss(losses / static_cast<double>(from.updates.size()));
    loss_sum += to.train_loss() * static_cast<double>(from.rows);
    row_sum += static_cast<double>(from.rows);
  }
  for (const GroupRecord& from : record.groups) {
    v1::GroupRound& to = *round.add_groups();
    to.set_group(from.group);
    to.set_depth(static_cast<int32_t>(from.depth));
    to.set_frequency(from.frequency);
    to.set_seconds(from.end_s - record.start_s);
    to.set_bytes_up(from.bytes_up);
    to.set_bytes_down(from.bytes_down);
    up += from.bytes_up;
    down += from.bytes_down;
  }
  round.set_bytes_up(up);
  round.set_bytes_down(down);
  if (row_sum > 0) round.set_train_loss(loss_sum / row_sum);
  if (record.central_update) {
    round.set_train_loss(learner_.training_numbers(record.central_update).mean_loss);
  }
  if (!record.evaluations.empty()) {
    const learning::Metrics metrics = mean_metrics(record.evaluations);
    round.set_accuracy(metrics.accuracy);
    round.set_loss(metrics.loss);
  }
  if (!record.client_evaluations.empty()) set_own_accuracies(record, round);
  return round;
}

void Recorder::set_own_accuracies(const RoundRecord& record, v1::Round& round) {
  double sum = 0;
  for (size_t i = 0; i < record.client_evaluations.size(); ++i) {
    v1::ClientAccuracy& own = *round.add_own_accuracies();
    own.set_client(record.evaluated_clients[i]);
    own.set_accuracy(learner_.metrics(record.client_evaluations[i]).accuracy);
    sum += own.accuracy();
  }
  for (v1::ClientRound& client : *round.mutable_clients()) {
    const auto own = std::lower_bound(  // they are in client order
        round.own_accuracies().begin(), round.own_accuracies().end(), client.client(),
        [](const v1::ClientAccuracy& one, int32_t number) { return one.client() < number; });
    if (own == round.own_accuracies().end() || own->client() != client.client()) continue;
    client.set_accuracy(own->accuracy());
  }
  round.set_client_accuracy(sum / static_cast<double>(record.client_evaluations.size()));
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

void Recorder::add_event(const Event& event) {
  events_.add_phase(event.phase);
  events_.add_client(event.client);
  events_.add_round(static_cast<int32_t>(event.round));
  events_.add_start_s(event.start_s);
  events_.add_end_s(event.end_s);
  events_.add_bytes(event.bytes);
  events_.add_end(event.end);
}

void Recorder::add_to(v1::Result& result) {
  for (int64_t round = 0; round <= last_round(); ++round) *result.add_rounds() = resolve(round);
  *result.mutable_events() = events_;
}

}  // namespace fedclock::results
