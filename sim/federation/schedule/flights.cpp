#include "sim/federation/schedule/flights.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "sim/kernel/outcome.h"

namespace fedclock::federation {

namespace {

kernel::Task<bool> pass(kernel::Gate& gate) {
  co_await gate;
  co_return true;
}

}  // namespace

void Flights::launch(const Occasion& occasion, int32_t client, const learning::Value& global,
                     OnBreak on_break) {
  auto flight = std::make_unique<Flight>();
  flight->arrival.occasion = occasion;
  flight->arrival.start = global;
  flight->arrival.record.client = client;
  busy_.insert(client);
  Flight& launched = *flights_.emplace_back(std::move(flight));
  launched.task.emplace(run(launched, client, on_break));
  launched.group.start(*launched.task);
}

kernel::Task<void> Flights::run(Flight& flight, int32_t client, OnBreak on_break) {
  Arrival& arrival = flight.arrival;
  std::exception_ptr error;
  try {
    arrival.update = co_await client_round(f_, arrival.occasion, client, arrival.start, on_break,
                                           arrival.record);
  } catch (...) {
    error = std::current_exception();
  }
  flight.ended = true;
  if (gate_ != nullptr) gate_->open();
  if (error) std::rethrow_exception(error);
}

bool Flights::any_ended() const {
  return std::any_of(flights_.begin(), flights_.end(), [](const auto& one) { return one->ended; });
}

kernel::Task<bool> Flights::wait(double until_s) {
  if (any_ended()) co_return true;
  kernel::Gate gate(f_.simulation.agenda());
  gate_ = &gate;
  const std::optional<bool> opened =
      co_await kernel::with_deadline(f_.simulation, pass(gate), until_s);
  gate_ = nullptr;
  co_return opened.has_value();
}

std::vector<Arrival> Flights::take() {
  std::vector<Arrival> arrivals;
  for (const auto& flight : flights_) {
    if (!flight->ended) continue;
    if (flight->group.error()) {
      try {
        std::rethrow_exception(flight->group.error());
      } catch (const kernel::Cancelled&) {
      }
    }
    busy_.erase(flight->arrival.record.client);
    arrivals.push_back(std::move(flight->arrival));
  }
  std::erase_if(flights_, [](const auto& flight) { return flight->ended; });
  std::sort(arrivals.begin(), arrivals.end(),
            [](const Arrival& a, const Arrival& b) { return a.record.client < b.record.client; });
  return arrivals;
}

kernel::Task<void> Flights::cancel() {
  for (const auto& flight : flights_) flight->group.cancel_members();
  for (const auto& flight : flights_) co_await flight->group.finished();
}

}  // namespace fedclock::federation
