#include "models/common/error.h"
#include "sim/federation/schedule/schedule.h"

namespace fedclock::federation {

namespace {

// All clients' training rows, in client order, as one client's.
learning::Rows all_rows(const std::vector<Client>& clients) {
  std::vector<int32_t> rows;
  for (const Client& client : clients) {
    rows.insert(rows.end(), client.train_rows->begin(), client.train_rows->end());
  }
  return std::make_shared<const std::vector<int32_t>>(std::move(rows));
}

}  // namespace

// The reference that no federation beats on equal steps: the server trains on all rows; a round is
// the local answer's steps, and nothing travels.
kernel::Task<learning::Value> run_centralized(Federation& f) {
  ensure(f.server != nullptr, "centralised training without a server");
  Client everyone;
  everyone.train_rows = all_rows(f.clients);
  learning::Value global = f.initial_state();
  f.end_round(0, global);
  for (int64_t round = 1; f.begins_round(round); ++round) {
    const Plan plan = f.answers.assignment->plan({round}, 0);
    const learning::TrainJob job = f.answers.local->part({round}, 0, everyone, plan).job;
    const auto rows = static_cast<int64_t>(job.rows->size());
    const std::optional<double> train_s = co_await work_on_server(
        f, round, v1::Event::TRAIN,
        f.workload.training_flops(*f.server, job.trained, job.settings, rows));
    if (!train_s) {
      f.stop_reason = "the server never comes back, or is never on for long enough";
      f.end_round(round, global);
      break;
    }
    global = f.learner.train(global, job);
    f.recorder.round(round).server_train_s = *train_s;
    f.recorder.round(round).central_update = f.learner.numbers_of(global);
    f.end_round(round, global);
  }
  co_return global;
}

}  // namespace fedclock::federation
