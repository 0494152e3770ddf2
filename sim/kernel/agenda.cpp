#include "sim/kernel/agenda.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace fedclock::kernel {

void Agenda::post(Operation& operation) {
  ready_.push_back({operation.device_, operation.kind_, operation.sequence_, &operation});
}

void Agenda::arm(Operation& operation, double date_s) {
  timers_.emplace_back();
  sift_up(timers_.size() - 1, {date_s, operation.sequence_, &operation});
}

void Agenda::disarm(Operation& operation) {
  const std::size_t slot = operation.timer_slot_;
  if (slot == Operation::kNoSlot) return;
  operation.timer_slot_ = Operation::kNoSlot;
  const Timer last = timers_.back();
  timers_.pop_back();
  if (slot == timers_.size()) return;
  if (slot > 0 && last.before(timers_[(slot - 1) / 2])) {
    sift_up(slot, last);
  } else {
    sift_down(slot, last);
  }
}

void Agenda::unpost(Operation& operation) {
  for (std::vector<Event>* events : {&ready_, &batch_}) {
    for (Event& event : *events) {
      if (event.operation == &operation) event.operation = nullptr;
    }
  }
}

void Agenda::deliver_due() {
  while (true) {
    while (!timers_.empty() && timers_.front().date_s <= now_s_) {
      Operation& operation = *timers_.front().operation;
      disarm(operation);
      operation.stage_ = Operation::Stage::kDue;
      post(operation);
    }
    if (ready_.empty()) return;
    batch_.swap(ready_);
    std::sort(batch_.begin(), batch_.end(), [](const Event& a, const Event& b) {
      return std::tie(a.device, a.kind, a.sequence) < std::tie(b.device, b.kind, b.sequence);
    });
    // By index: an event may end an operation further on, whose entry is then cleared.
    for (std::size_t i = 0; i < batch_.size(); ++i) {
      Operation* operation = std::exchange(batch_[i].operation, nullptr);
      if (operation != nullptr) operation->happen();
    }
    batch_.clear();
  }
}

void Agenda::place(std::size_t slot, const Timer& timer) {
  timers_[slot] = timer;
  timer.operation->timer_slot_ = slot;
}

void Agenda::sift_up(std::size_t slot, Timer timer) {
  while (slot > 0) {
    const std::size_t parent = (slot - 1) / 2;
    if (!timer.before(timers_[parent])) break;
    place(slot, timers_[parent]);
    slot = parent;
  }
  place(slot, timer);
}

void Agenda::sift_down(std::size_t slot, Timer timer) {
  while (true) {
    std::size_t child = 2 * slot + 1;
    if (child >= timers_.size()) break;
    if (child + 1 < timers_.size() && timers_[child + 1].before(timers_[child])) ++child;
    if (!timers_[child].before(timer)) break;
    place(slot, timers_[child]);
    slot = child;
  }
  place(slot, timer);
}

Operation::~Operation() {
  agenda_->disarm(*this);
  if (stage_ == Stage::kDue || stage_ == Stage::kPosted) agenda_->unpost(*this);
}

void Operation::fail(std::string reason) {
  reason_ = std::move(reason);
  end_early(Outcome::kFailed);
}

Interval Operation::result() const {
  if (outcome_ == Outcome::kCancelled) throw Cancelled();
  if (outcome_ == Outcome::kFailed) throw Failed(reason_, device_, kind_);
  return interval_;
}

void Operation::finish(Outcome outcome) {
  agenda_->disarm(*this);
  outcome_ = outcome;
  stage_ = Stage::kPosted;
  interval_.end_s = agenda_->now_s();
  agenda_->post(*this);
}

void Operation::end_early(Outcome outcome) {
  switch (stage_) {
    case Stage::kWaiting:
      abandon();
      finish(outcome);
      break;
    case Stage::kDue:  // its entry in the batch serves for the new outcome
      abandon();
      interval_.end_s = agenda_->now_s();
      [[fallthrough]];
    case Stage::kPosted:  // it ended at this very date, and its waiter has not heard of it
      outcome_ = outcome;
      stage_ = Stage::kPosted;
      break;
    case Stage::kIdle:
    case Stage::kOver: break;
  }
}

void Operation::happen() {
  if (stage_ == Stage::kPosted) {
    resume();
  } else {
    stage_ = Stage::kWaiting;
    interval_.end_s = agenda_->now_s();
    on_date();
  }
}

void Operation::resume() {
  stage_ = Stage::kOver;
  promise_->set_awaiting(nullptr);
  waiter_.resume();
}

}  // namespace fedclock::kernel
