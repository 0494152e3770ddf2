// Several tasks at once: all of them, the first of them, one of them until a date.
//
//   std::vector<Task<Update>> rounds;
//   for (std::size_t device : chosen) rounds.push_back(device_round(platform, device));
//   std::vector<Update> updates = co_await when_all(std::move(rounds));
//
// Tasks start in input order. Whatever happens, all have ended when the combinator has: no task of
// a group outlives it.
#pragma once

#include <cmath>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "sim/kernel/agenda.h"
#include "sim/kernel/simulation.h"
#include "sim/kernel/task.h"

namespace fedclock::kernel {

// Tasks that run side by side, and the wait for all of them.
class Group final : public Cancellable, public TaskObserver {
 public:
  enum class OnError { kCancelOthers, kGoOn };

  explicit Group(OnError on_error) : on_error_(on_error) {}
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  // The task must outlive the group.
  template <class T>
  void start(Task<T>& task) {
    members_.push_back(&task.promise());
    ++running_;
    task.start(*this, members_.size() - 1);
  }
  // Opens when a first task has ended.
  void open_on_first(Gate& gate) { gate_ = &gate; }

  // The first error in the order of events.
  const std::exception_ptr& error() const { return error_; }
  // Throws that error, or Cancelled if the group was cancelled and its tasks ignored it.
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
    if (cancelled_) throw Cancelled();
  }

  // From inside the combinator.
  void cancel_members() {
    for (PromiseBase* member : members_) member->cancel();
  }
  // From outside, down the chain of tasks.
  void cancel() override {
    cancelled_ = true;
    cancel_members();
  }
  bool cancelled() const { return cancelled_; }
  std::string describe() const override;
  std::coroutine_handle<> on_task_done(std::size_t index) noexcept override;

  class Finished {
   public:
    explicit Finished(Group& group) noexcept : group_(group) {}
    Finished(const Finished&) = delete;
    Finished& operator=(const Finished&) = delete;

    bool await_ready() const noexcept { return group_.running_ == 0; }
    template <class WaiterPromise>
    void await_suspend(std::coroutine_handle<WaiterPromise> waiter) {
      group_.waiter_ = waiter;
      group_.waiting_ = &waiter.promise();
      group_.waiting_->set_awaiting(&group_);
      // A group that ends is never left half way: its tasks hear of the cancellation, and it waits.
      if (group_.waiting_->take_cancel()) group_.cancel();
    }
    void await_resume() const noexcept {}

   private:
    Group& group_;
  };
  // Ends when no task of the group runs; throws nothing, also when it was cancelled.
  Finished finished() { return Finished(*this); }

 private:
  OnError on_error_;
  std::vector<PromiseBase*> members_;
  std::size_t running_ = 0;
  Gate* gate_ = nullptr;
  std::coroutine_handle<> waiter_;
  PromiseBase* waiting_ = nullptr;
  std::exception_ptr error_;
  bool cancelled_ = false;
};

// Results in input order. On the first error the others are cancelled and awaited, then it is
// rethrown.
template <class T>
Task<std::vector<T>> when_all(std::vector<Task<T>> tasks) {
  Group group(Group::OnError::kCancelOthers);
  for (Task<T>& task : tasks) {
    if (group.error()) break;
    group.start(task);
  }
  co_await group.finished();
  group.rethrow();
  std::vector<T> results;
  results.reserve(tasks.size());
  for (Task<T>& task : tasks) results.push_back(task.take());
  co_return results;
}

inline Task<void> when_all(std::vector<Task<void>> tasks) {
  Group group(Group::OnError::kCancelOthers);
  for (Task<void>& task : tasks) {
    if (group.error()) break;
    group.start(task);
  }
  co_await group.finished();
  group.rethrow();
}

template <class T>
struct First {
  std::size_t index;
  T value;
};
template <>
struct First<void> {
  std::size_t index;
};

// The first task to end, by value or by error; the others are cancelled and awaited. Of tasks that
// end at the same date, the one with the lowest index is the first. What the others threw is
// dropped if it is Cancelled or Failed; any other error of theirs is rethrown. ProgrammerError if
// there is no task.
template <class T>
Task<First<T>> when_any(Simulation& simulation, std::vector<Task<T>> tasks) {
  ensure(!tasks.empty(), "when_any of no task");
  Group group(Group::OnError::kGoOn);
  Gate gate(simulation.agenda());
  group.open_on_first(gate);
  for (Task<T>& task : tasks) group.start(task);
  bool cancelled = false;
  try {
    co_await gate;
  } catch (const Cancelled&) {
    cancelled = true;  // no co_await in a handler
  }
  std::size_t first = 0;
  if (!cancelled) {
    while (!tasks[first].ended()) ++first;
  }
  group.cancel_members();
  co_await group.finished();
  cancelled = cancelled || group.cancelled();
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const std::exception_ptr& error = tasks[i].promise().error();
    if (!error || (i == first && !cancelled)) continue;
    try {
      std::rethrow_exception(error);
    } catch (const Cancelled&) {
    } catch (const Failed&) {
    }
  }
  if (cancelled) throw Cancelled();
  if constexpr (std::is_void_v<T>) {
    tasks[first].take();
    co_return First<void>{first};
  } else {
    co_return First<T>{first, tasks[first].take()};
  }
}

namespace detail {

template <class T>
Task<std::optional<T>> as_optional(Task<T> task) {
  co_return std::optional<T>(co_await task);
}
inline Task<bool> as_true(Task<void> task) {
  co_await task;
  co_return true;
}
template <class T>
Task<std::optional<T>> nothing_at(Simulation& simulation, double date_s) {
  Sleep sleep(simulation.agenda(), date_s, kNoDevice, EventKind::kDecision);
  co_await sleep;
  co_return std::nullopt;
}

}  // namespace detail

// The task's result, or nothing when it has not ended at the date: then it is cancelled there. A
// task that ends at the very date is in time. An infinite date is no deadline.
template <class T>
requires(!std::is_void_v<T>) Task<std::optional<T>> with_deadline(Simulation& simulation,
                                                                  Task<T> task, double date_s) {
  ensure(!std::isnan(date_s), "a deadline that is not a number");
  if (std::isinf(date_s) && date_s > 0) co_return std::optional<T>(co_await task);
  std::vector<Task<std::optional<T>>> both;
  both.push_back(detail::as_optional(std::move(task)));
  both.push_back(detail::nothing_at<T>(simulation, date_s));
  First<std::optional<T>> first = co_await when_any(simulation, std::move(both));
  co_return std::move(first.value);
}

// Whether the task has ended in time.
inline Task<bool> with_deadline(Simulation& simulation, Task<void> task, double date_s) {
  Task<std::optional<bool>> timed =
      with_deadline(simulation, detail::as_true(std::move(task)), date_s);
  const std::optional<bool> ended = co_await timed;
  co_return ended.has_value();
}

inline std::string Group::describe() const {
  for (const PromiseBase* member : members_) {
    if (!member->ended()) {
      return "a group of " + std::to_string(members_.size()) + " tasks, " +
             std::to_string(running_) + " of them not ended, one of which waits for " +
             member->describe();
    }
  }
  return "a group of tasks that have ended";
}

inline std::coroutine_handle<> Group::on_task_done(std::size_t index) noexcept {
  --running_;
  if (members_[index]->error() && !error_) {
    error_ = members_[index]->error();
    if (on_error_ == OnError::kCancelOthers) cancel_members();
  }
  if (gate_ != nullptr) std::exchange(gate_, nullptr)->open();
  if (running_ != 0 || !waiter_) return std::noop_coroutine();
  waiting_->set_awaiting(nullptr);
  return std::exchange(waiter_, nullptr);
}

}  // namespace fedclock::kernel
