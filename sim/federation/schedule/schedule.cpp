#include "sim/federation/schedule/schedule.h"

#include "models/common/error.h"

namespace fedclock::federation {

kernel::Task<learning::Value> run_schedule(Federation& federation) {
  switch (federation.scenario.federation().schedule().kind_case()) {
    case v1::Schedule::kSynchronous: return run_synchronous(federation);
    case v1::Schedule::kCentralized: return run_centralized(federation);
    case v1::Schedule::kLocalOnly: return run_local_only(federation);
    case v1::Schedule::KIND_NOT_SET: break;
  }
  throw ProgrammerError("the method left the schedule open");
}

kernel::Task<Update> client_round(Federation& f, int64_t round, int32_t client,
                                  learning::Value global) {
  const Client& who = f.clients[client];
  const Plan plan = f.answers.assignment->plan(round, client);
  const Transfer transfer = f.workload.transfer(plan);
  const learning::TrainJob job = f.answers.local->job(round, client, who, plan);
  results::ClientRecord& record = f.recorder.add_client(round, client);
  record.depth = plan.depth;
  record.bytes_down = transfer.download_bytes;
  record.bytes_up = transfer.upload_bytes;

  const auto down =
      co_await f.platform.download(client, static_cast<double>(transfer.download_bytes));
  record.download_s = down.end_s - down.start_s;
  const learning::Value update = f.learner.train(global, job);  // starts now, for real
  const auto rows = static_cast<int64_t>(job.rows->size());
  const auto busy = co_await f.platform.compute(
      client, f.workload.training_flops(who.machine, plan, job.settings, rows));
  record.train_s = busy.end_s - busy.start_s;
  const auto up = co_await f.platform.upload(client, static_cast<double>(transfer.upload_bytes));
  record.upload_s = up.end_s - up.start_s;
  record.end_s = up.end_s;
  record.update = f.learner.numbers_of(update);
  record.rows = rows;
  co_return Update{client, record.rows, update};
}

}  // namespace fedclock::federation
