#include "sim/kernel/activity.h"

#include <utility>

#include "sim/kernel/engine.h"

namespace fedclock::kernel {

namespace s4u = simgrid::s4u;

void ActivityOperation::start_transfer(s4u::Host& from, s4u::Host& to, std::uint64_t bytes) {
  if (!from.is_on() || !to.is_on()) return fail(failure());
  s4u::CommPtr comm = s4u::Comm::sendto_init(&from, &to);
  comm->set_payload_size(bytes);
  comm->set_data(this);
  activity_ = comm->add_ref();
  comm->start();
}

void ActivityOperation::start_execution(s4u::Host& host, double flops) {
  if (!host.is_on()) return fail(failure());
  s4u::ExecPtr exec = s4u::Exec::init()->set_flops_amount(flops)->set_host(&host);
  exec->set_data(this);
  activity_ = exec->add_ref();
  exec->start();
}

double ActivityOperation::remaining() const {
  if (activity_ == nullptr || activity_->get_state() != s4u::Activity::State::STARTED) return 0;
  return activity_->get_remaining();
}

void ActivityOperation::drop_activity() {
  if (activity_ == nullptr) return;
  s4u::ActivityPtr activity(std::exchange(activity_, nullptr), /*add_ref=*/false);
  activity->set_data(nullptr);
  if (activity->get_state() == s4u::Activity::State::FINISHED) return;
  if (activity->get_state() == s4u::Activity::State::STARTED) activity->cancel();
  // SimGrid still has this activity in hand, or will report it once more.
  simulation_->engine_->retire(std::move(activity));
}

void ActivityOperation::on_activity_end(bool finished) {
  if (finished) {
    complete();
  } else {
    fail(failure());
  }
}

}  // namespace fedclock::kernel
