// Simulated time: owns the SimGrid engine and runs tasks on it, without any SimGrid actor.
//
// A task waits for operations. SimGrid computes when they end: a flow of B bytes on links of
// bandwidth C_l, together with others, gets a max-min fair share of them (Casanova, Giersch,
// Legrand, Quinson, Suter: "Versatile, scalable, and accurate simulation of distributed
// applications and platforms", JPDC 2014); work of W flops on a device of speed S alone lasts W/S.
//
// How events reach tasks: fedclock is one of SimGrid's models, the first that SimGrid asks for its
// next event. By then every activity that ended at the current date has reported, and SimGrid has
// not yet shared bandwidth anew. So all events of a date are delivered together, in the order of
// (device, kind, sequence number), and what they start is part of one and the same sharing. That
// halves the work on a shared link, compared with a timer of SimGrid's at the same date.
#pragma once

#include <coroutine>
#include <cstddef>
#include <list>
#include <memory>
#include <string>

#include "sim/kernel/agenda.h"
#include "sim/kernel/outcome.h"
#include "sim/kernel/task.h"

namespace fedclock::kernel {

enum class NetworkModel {
  // A transfer lasts latency + bytes / share; n flows over a link that is the bottleneck of all get
  // a share of bandwidth / n each, whatever their latencies.
  //
  // SimGrid's CM02 with factors of 1, TCP-gamma 0 (no window limit), no cross traffic. CM02 itself
  // divides a link in proportion to 1/latency (flows without any latency count as 1 s): the penalty
  // of a flow is its route's latency, and no option changes that. So fedclock's links have no
  // latency in SimGrid; the transfer waits for its latency first, and all flows weigh the same.
  kFluid,
  // SimGrid's default LV08 (Velho and Legrand 2009; Velho, Schnorr, Casanova, Legrand, RR-7821,
  // 2011):
  // a transfer alone lasts 13.01 latency + bytes / (0.97 min(bandwidth, gamma / (2 latency))), with
  // a TCP window of gamma = 4,194,304 bytes; flows share a bottleneck in proportion to
  // 1 / (latency + sum over links of 20,537 B / bandwidth); acknowledgements take 5 % of the rate
  // in
  // the other direction.
  kTcp,
};

// One in a process: SimGrid's clock does not go back. A second one throws ProgrammerError; tests
// fork (tests/sim/fork_test.h).
class Simulation {
 public:
  Simulation();
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;
  ~Simulation();

  double now_s() const { return agenda_.now_s(); }

  // co_await simulation.sleep_for(3.5). A duration of zero lets the other events of this date pass
  // first, so does a date that has passed; ProgrammerError if negative (durations only) or not
  // finite. The device only orders the wake-up among events of the same date.
  Sleep sleep_for(double duration_s, DeviceId device = kNoDevice);
  Sleep sleep_until(double date_s, DeviceId device = kNoDevice);

  // Runs until the root has ended, and rethrows its error. Spawned tasks that are still there then
  // are cancelled, and awaited. Throws ProgrammerError naming the task when nothing can happen any
  // more and a task has not ended. May be called again, at a later date.
  void run(Task<void> root, std::string name = "root");

  // Starts a task that nobody awaits, now. Its error cancels the root and comes out of run();
  // Cancelled does not count as an error.
  void spawn(Task<void> task, std::string name);

  // Once, before the first zone, host or link is made.
  void set_network_model(NetworkModel model);

  Agenda& agenda() { return agenda_; }

 private:
  friend class ActivityOperation;
  struct Engine;
  class Root;
  class Spawned;

  double next_event_s();
  void end_of(Spawned& spawned);
  void cancel_spawned();
  void check_that_all_ended(const Root& root) const;

  Agenda agenda_;
  std::unique_ptr<Engine> engine_;
  Root* root_ = nullptr;
  std::list<std::unique_ptr<Spawned>> spawned_;
  std::list<std::unique_ptr<Spawned>>
      ended_;  // a task's frame cannot go while it runs its last step
  std::exception_ptr spawned_error_;
};

}  // namespace fedclock::kernel
