// The order of events: what happens now, and what happens at a later date.
//
// Events of one date are delivered in batches. A batch is sorted by (device, kind, sequence
// number), so that the order in which SimGrid finds them plays no part. What a delivered event
// causes at the same date (a cancellation, a decision) comes in the next batch of that date.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "sim/kernel/outcome.h"
#include "sim/kernel/task.h"

namespace fedclock::kernel {

class Operation;

class Agenda {
 public:
  Agenda() = default;
  Agenda(const Agenda&) = delete;
  Agenda& operator=(const Agenda&) = delete;

  double now_s() const { return now_s_; }
  void set_now_s(double now_s) { now_s_ = now_s; }
  std::uint64_t next_sequence() { return ++sequence_; }

  // The operation happens in the next batch of the current date.
  void post(Operation& operation);
  // The operation happens at that date, or in the next batch when the date has passed.
  void arm(Operation& operation, double date_s);
  // Forgets an operation that is armed.
  void disarm(Operation& operation);
  // Forgets an operation that is due or posted.
  void unpost(Operation& operation);

  // Delivers what is due at the current date, until nothing is left at this date.
  void deliver_due();
  // The date of the next armed operation; negative when there is none.
  double next_date_s() const { return timers_.empty() ? -1 : timers_.front().date_s; }

 private:
  struct Event {
    DeviceId device;
    EventKind kind;
    std::uint64_t sequence;
    Operation* operation;
  };
  struct Timer {
    double date_s;
    std::uint64_t sequence;
    Operation* operation;

    bool before(const Timer& other) const {
      return date_s != other.date_s ? date_s < other.date_s : sequence < other.sequence;
    }
  };

  void place(std::size_t slot, const Timer& timer);
  void sift_up(std::size_t slot, Timer timer);
  void sift_down(std::size_t slot, Timer timer);

  double now_s_ = 0;
  std::uint64_t sequence_ = 0;
  std::vector<Event> ready_;   // the next batch
  std::vector<Event> batch_;   // the one that is being delivered
  std::vector<Timer> timers_;  // a binary heap; each operation knows its slot, so it can be removed
};

// The leaf of every chain of tasks: something that takes simulated time. An operation lives in the
// frame of the coroutine that awaits it, and does not move.
class Operation : public Cancellable {
 public:
  Operation(Agenda& agenda, DeviceId device, EventKind kind)
      : agenda_(&agenda), device_(device), kind_(kind) {}
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  virtual ~Operation();

  bool await_ready() const noexcept { return false; }
  template <class WaiterPromise>
  bool await_suspend(std::coroutine_handle<WaiterPromise> waiter) {
    if (waiter.promise().take_cancel()) {
      outcome_ = Outcome::kCancelled;
      return false;
    }
    waiter.promise().set_awaiting(this);
    waiter_ = waiter;
    promise_ = &waiter.promise();
    interval_.start_s = agenda_->now_s();
    sequence_ = agenda_->next_sequence();
    stage_ = Stage::kWaiting;
    begin();
    return true;
  }

  void cancel() final { end_early(Outcome::kCancelled); }
  // Ends the operation with Failed(reason), as if it had broken by itself.
  void fail(std::string reason);

 protected:
  enum class Outcome { kDone, kCancelled, kFailed };

  // Starts what takes time. Must lead to post() or arm(), now or later.
  virtual void begin() = 0;
  // Gives up what begin() started.
  virtual void abandon() {}
  // The armed date has come. The default is that the operation is done.
  virtual void on_date() { resume(); }

  // For implementers: the operation is over, and its waiter hears of it in its turn.
  void complete() { finish(Outcome::kDone); }
  // At most one date at a time; the end of the operation forgets it.
  void arm(double date_s) { agenda_->arm(*this, date_s); }
  // Throws what the outcome says, or returns when the operation ran.
  Interval result() const;
  bool waiting() const { return stage_ == Stage::kWaiting; }

  Agenda& agenda() const { return *agenda_; }
  DeviceId device() const { return device_; }
  EventKind kind() const { return kind_; }

 private:
  friend class Agenda;
  // kDue: its date has come, and its entry is in a batch; kPosted: it is over, likewise.
  enum class Stage { kIdle, kWaiting, kDue, kPosted, kOver };
  static constexpr std::size_t kNoSlot = static_cast<std::size_t>(-1);

  void finish(Outcome outcome);
  void end_early(Outcome outcome);
  void happen();
  void resume();

  Agenda* agenda_;
  DeviceId device_;
  EventKind kind_;
  std::uint64_t sequence_ = 0;
  std::size_t timer_slot_ = kNoSlot;
  Stage stage_ = Stage::kIdle;
  Outcome outcome_ = Outcome::kDone;
  Interval interval_;
  std::coroutine_handle<> waiter_;
  PromiseBase* promise_ = nullptr;
  std::string reason_;
};

// Waits until a date.
class [[nodiscard]] Sleep final : public Operation {
 public:
  Sleep(Agenda& agenda, double date_s, DeviceId device, EventKind kind)
      : Operation(agenda, device, kind), date_s_(date_s) {}

  Interval await_resume() const { return result(); }
  std::string describe() const override { return "the date " + std::to_string(date_s_) + " s"; }

 private:
  void begin() override { arm(date_s_); }

  double date_s_;
};

// Waits until somebody opens it; decisions that must see all events of a date wait for one, because
// it opens in the batch after the one in which open() is called.
class [[nodiscard]] Gate final : public Operation {
 public:
  explicit Gate(Agenda& agenda) : Operation(agenda, kNoDevice, EventKind::kDecision) {}

  void open() {
    open_ = true;
    if (waiting()) complete();
  }
  Interval await_resume() const { return result(); }
  std::string describe() const override { return "a gate that nobody has opened"; }

 private:
  void begin() override {
    if (open_) complete();
  }

  bool open_ = false;
};

}  // namespace fedclock::kernel
