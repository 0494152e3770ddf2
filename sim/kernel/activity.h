// Operations whose end SimGrid computes: a transfer between two hosts, work on a host.
#pragma once

#include <cstdint>

#include "sim/kernel/agenda.h"
#include "sim/kernel/simulation.h"

namespace simgrid::s4u {
class Activity;
class Host;
}  // namespace simgrid::s4u

namespace fedclock::kernel {

// The base of what a platform lets tasks await. Waiting ends with Failed when SimGrid says that a
// host or a link broke.
class ActivityOperation : public Operation {
 public:
  ActivityOperation(Simulation& simulation, DeviceId device, EventKind kind)
      : Operation(simulation.agenda(), device, kind), simulation_(&simulation) {}
  ~ActivityOperation() override { drop_activity(); }

 protected:
  // These fail where a host is off: SimGrid would end the process.
  void start_transfer(simgrid::s4u::Host& from, simgrid::s4u::Host& to, std::uint64_t bytes);
  void start_execution(simgrid::s4u::Host& host, double flops);
  // Bytes or flops that the activity still has before it, at this date; 0 where there is none.
  double remaining() const;
  // Cancels the activity, if there is one.
  void drop_activity();
  void abandon() override { drop_activity(); }
  // Says what broke, for Failed.
  virtual std::string failure() const = 0;

 private:
  friend class Simulation;
  // SimGrid's report, once for each activity.
  void on_activity_end(bool finished);

  Simulation* simulation_;
  simgrid::s4u::Activity* activity_ = nullptr;  // holds a reference of SimGrid's own counting
};

}  // namespace fedclock::kernel
