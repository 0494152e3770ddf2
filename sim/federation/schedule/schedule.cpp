#include "sim/federation/schedule/schedule.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "models/common/error.h"

namespace fedclock::federation {

using platform::DeviceOperation;
using results::ClientRecord;
using v1::Event;

namespace {

// Of a phase that broke off in its last instant: no work is none at all.
constexpr double kLeastShare = 1e-12;
// An attempt that brings a phase forward by less than this share has not brought it forward.
constexpr double kLeastForward = 1e-3;

// One phase of a client's part, and how much of it there is: bytes, or flops in each power mode.
struct Phase {
  Event::Phase kind = Event::DOWNLOAD;
  int64_t bytes = 0;
  std::vector<double> flops_by_mode;
};

DeviceOperation start(Federation& f, const Phase& phase, size_t device, double left,
                      int64_t bytes_left) {
  switch (phase.kind) {
    case Event::DOWNLOAD: return f.platform.download(device, static_cast<double>(bytes_left));
    case Event::UPLOAD: return f.platform.upload(device, static_cast<double>(bytes_left));
    default: break;
  }
  std::vector<double> flops = phase.flops_by_mode;
  for (double& of_mode : flops) of_mode *= left;
  if (flops.size() == 1) return f.platform.compute(device, flops.front());
  return f.platform.compute_by_mode(device, std::move(flops));
}

results::Spent& spent_on(ClientRecord& record, Event::Phase kind) {
  return kind == Event::DOWNLOAD ? record.download
         : kind == Event::UPLOAD ? record.upload
                                 : record.train;
}

// An attempt at what was off already took no time: it is no event.
void add_attempt(Federation& f, const results::Event& event) {
  if (event.end == Event::DONE || event.end_s > event.start_s) f.recorder.add_event(event);
}

void lose(ClientRecord& record, Event::Phase kind, double seconds, int64_t bytes) {
  record.lost_s += seconds;
  if (kind == Event::DOWNLOAD) record.lost_bytes_down += bytes;
  if (kind == Event::UPLOAD) record.lost_bytes_up += bytes;
}

// The phase until it is done, over as many attempts as it takes; false when it is given up.
kernel::Task<bool> run_phase(Federation& f, int64_t round, ClientRecord& record, Phase phase,
                             OnBreak on_break) {
  const auto device = static_cast<size_t>(record.client);
  double left = 1;
  int64_t bytes_left = phase.bytes;
  int32_t attempts = 0;  // that broke off and brought nothing forward
  while (true) {
    const double start_s = f.simulation.now_s();
    const double before_j = f.platform.counts_energy() ? f.platform.joules(device) : 0;
    Event::End end = Event::DONE;
    DeviceOperation operation = start(f, phase, device, left, bytes_left);
    try {
      co_await operation;
    } catch (const kernel::Failed&) {
      end = Event::BROKEN;
    } catch (const kernel::Cancelled&) {
      end = Event::CANCELLED;
    }
    const double end_s = f.simulation.now_s();
    // Bytes are whole, and what broke off has not sent its last one.
    const auto through = static_cast<int64_t>(operation.done() * static_cast<double>(bytes_left));
    const int64_t moved =
        end == Event::DONE ? bytes_left : std::max<int64_t>(0, std::min(through, bytes_left - 1));
    results::Spent& spent = spent_on(record, phase.kind);
    spent.seconds += end_s - start_s;
    spent.bytes += moved;
    if (f.platform.counts_energy()) spent.joules += f.platform.joules(device) - before_j;
    add_attempt(f, {.phase = phase.kind,
                    .client = record.client,
                    .round = round,
                    .start_s = start_s,
                    .end_s = end_s,
                    .bytes = moved,
                    .end = end});
    if (end == Event::CANCELLED) throw kernel::Cancelled();
    if (end == Event::DONE) co_return true;
    // Where the server is off, nobody's answer helps: everything waits for it.
    if (on_break.answer == OnBreak::kGiveUp && f.platform.is_server_on()) co_return false;
    double forward = 0;  // share of the phase that this attempt has brought it forward
    if (on_break.answer == OnBreak::kGoOn) {
      forward = phase.bytes > 0 ? static_cast<double>(moved) / static_cast<double>(phase.bytes)
                                : left * operation.done();
      left *= std::max(1 - operation.done(), kLeastShare);
      bytes_left -= moved;
    } else {
      lose(record, phase.kind, end_s - start_s, moved);
    }
    if (end_s > start_s) attempts = forward < kLeastForward ? attempts + 1 : 0;
    if (attempts >= on_break.max_attempts) co_return false;
    const double back_s = phase.kind == Event::TRAIN ? f.platform.next_on_s(device)
                                                     : f.platform.next_reachable_s(device);
    if (std::isinf(back_s)) co_return false;
    co_await f.simulation.sleep_until(back_s, static_cast<kernel::DeviceId>(record.client));
  }
}

std::vector<double> flops_by_mode(const Federation& f, int32_t client, const Plan& plan,
                                  const learning::TrainJob& job) {
  std::vector<double> flops;
  for (const cost::Machine& machine : *f.clients[static_cast<size_t>(client)].machines) {
    flops.push_back(f.workload.training_flops(machine, plan, job.settings,
                                              static_cast<int64_t>(job.rows->size())));
  }
  return flops;
}

}  // namespace

kernel::Task<learning::Value> run_schedule(Federation& federation) {
  switch (federation.scenario.federation().schedule().kind_case()) {
    case v1::Schedule::kSynchronous: return run_synchronous(federation);
    case v1::Schedule::kCentralized: return run_centralized(federation);
    case v1::Schedule::kLocalOnly: return run_local_only(federation);
    case v1::Schedule::KIND_NOT_SET: break;
  }
  throw ProgrammerError("the method left the schedule open");
}

ClientRecord& begin_part(Federation& f, int64_t round, int32_t client, const Plan& plan) {
  ClientRecord& record = f.recorder.add_client(round, client);
  record.depth = plan.depth;
  record.start_s = f.simulation.now_s();
  return record;
}

// The learning begins here, for real, and not while it could still be lost.
learning::Value finish_part(Federation& f, ClientRecord& record, const learning::TrainJob& job,
                            const learning::Value& from) {
  record.end_s = f.simulation.now_s();
  const learning::Value update = f.learner.train(from, job);
  record.rows = static_cast<int64_t>(job.rows->size());
  record.update = f.learner.numbers_of(update);
  return update;
}

void give_up_part(Federation& f, ClientRecord& record) {
  record.end_s = f.simulation.now_s();
  record.dropped = true;
  record.lost_s = record.download.seconds + record.train.seconds + record.upload.seconds;
  record.lost_bytes_down = record.download.bytes;
  record.lost_bytes_up = record.upload.bytes;
}

kernel::Task<bool> train_on_device(Federation& f, int64_t round, ClientRecord& record,
                                   const learning::TrainJob& job, const Plan& plan,
                                   OnBreak on_break) {
  Phase phase{Event::TRAIN, 0, flops_by_mode(f, record.client, plan, job)};
  return run_phase(f, round, record, std::move(phase), on_break);
}

kernel::Task<std::optional<Update>> client_round(Federation& f, int64_t round, int32_t client,
                                                 learning::Value global, OnBreak on_break) {
  const Plan plan = f.answers.assignment->plan(round, client);
  const Transfer transfer = f.workload.transfer(plan);
  const learning::TrainJob job =
      f.answers.local->job(round, client, f.clients[static_cast<size_t>(client)], plan);
  ClientRecord& record = begin_part(f, round, client, plan);

  Phase down{Event::DOWNLOAD, transfer.download_bytes, {}};
  bool done = co_await run_phase(f, round, record, std::move(down), on_break);
  if (done) done = co_await train_on_device(f, round, record, job, plan, on_break);
  if (done) {
    Phase up{Event::UPLOAD, transfer.upload_bytes, {}};
    done = co_await run_phase(f, round, record, std::move(up), on_break);
  }
  if (!done) {
    give_up_part(f, record);
    co_return std::nullopt;
  }
  const learning::Value update = finish_part(f, record, job, global);
  co_return Update{client, record.rows, update};
}

kernel::Task<std::optional<double>> work_on_server(Federation& f, int64_t round, Event::Phase phase,
                                                   double flops) {
  for (int32_t attempt = 0; attempt < OnBreak{}.max_attempts; ++attempt) {
    const double start_s = f.simulation.now_s();
    Event::End end = Event::DONE;
    DeviceOperation operation = f.platform.compute_on_server(flops);
    try {
      co_await operation;
    } catch (const kernel::Failed&) {
      end = Event::BROKEN;
    }
    const double end_s = f.simulation.now_s();
    add_attempt(f, {.phase = phase,
                    .client = -1,
                    .round = round,
                    .start_s = start_s,
                    .end_s = end_s,
                    .bytes = 0,
                    .end = end});
    if (end == Event::DONE) co_return end_s - start_s;
    const double back_s = f.platform.next_server_on_s();
    if (std::isinf(back_s)) co_return std::nullopt;
    co_await f.simulation.sleep_until(back_s, kernel::kServer);
  }
  co_return std::nullopt;
}

}  // namespace fedclock::federation
