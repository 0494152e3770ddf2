// Parts of clients that outlive the decision that started them: what comes back is taken when it is
// there.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "sim/federation/schedule/schedule.h"
#include "sim/kernel/combinators.h"

namespace fedclock::federation {

// A part that has ended.
struct Arrival {
  Occasion occasion;             // of its start
  learning::Value start;         // the global state that it began with
  std::optional<Update> update;  // nothing: it was given up, or cancelled
  results::ClientRecord record;
};

class Flights {
 public:
  explicit Flights(Federation& federation) : f_(federation) {}
  Flights(const Flights&) = delete;
  Flights& operator=(const Flights&) = delete;

  void launch(const Occasion& occasion, int32_t client, const learning::Value& global,
              OnBreak on_break);
  const std::set<int32_t>& busy() const { return busy_; }
  bool empty() const { return busy_.empty(); }

  // Waits until something has arrived, but not beyond the date; whether something has. Needs
  // something under way, or a date that is not infinite.
  kernel::Task<bool> wait(double until_s);
  // What has arrived, in client order. Rethrows the error of one that failed.
  std::vector<Arrival> take();
  // Cancels what is under way, and waits for it; it then has arrived.
  kernel::Task<void> cancel();

 private:
  struct Flight {
    Arrival arrival;
    std::optional<kernel::Task<void>> task;
    kernel::Group group{kernel::Group::OnError::kGoOn};
    bool ended = false;
  };
  kernel::Task<void> run(Flight& flight, int32_t client, OnBreak on_break);
  bool any_ended() const;

  Federation& f_;
  std::vector<std::unique_ptr<Flight>> flights_;
  std::set<int32_t> busy_;
  kernel::Gate* gate_ = nullptr;  // of whoever waits
};

}  // namespace fedclock::federation
