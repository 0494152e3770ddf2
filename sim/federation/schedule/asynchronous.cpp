// The server merges as updates come: FedAsync (arXiv 1903.03934, algorithm 1) each by itself,
// FedBuff (arXiv 2106.06639, algorithm 1) K at a time. Both are a change of each update, after
// which it is merged as the aggregation says; tau merges have passed since it began, from x_start
// to x_new:
//   FedAsync   x + alpha s(tau) (x_new - x)
//   FedBuff    x + s(tau) (x_new - x_start)
// A round is one merge.
#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <set>

#include "models/common/error.h"
#include "sim/federation/schedule/flights.h"
#include "sim/federation/schedule/staleness.h"

namespace fedclock::federation {

namespace {

constexpr double kForEver = std::numeric_limits<double>::infinity();

struct Terms {
  int64_t size = 1;   // K
  double mixing = 0;  // alpha; 0: updates count as changes since their start
  v1::Staleness staleness;
  int64_t most_staleness = std::numeric_limits<int64_t>::max();
  OnBreak broken;
};

class Server {
 public:
  Server(Federation& f, Terms terms)
      : f_(f), terms_(std::move(terms)), participants_(f.participants()), flights_(f) {}

  kernel::Task<learning::Value> run() {
    ensure(f_.server != nullptr, "an asynchronous schedule without a server");
    global_ = f_.initial_state();
    f_.end_round(0, global_);
    for (round_ = 1; co_await begins(); ++round_) {
      part_ = 0;
      if (!co_await collect()) break;
      const std::vector<Update> updates = take_buffer();
      global_ = co_await merged_on_server(f_, round_, global_, updates, clients_of(updates));
      f_.end_round(round_, global_);
    }
    co_await flights_.cancel();
    for (Arrival& one : flights_.take()) buffer_.push_back(std::move(one));
    const int64_t last = f_.recorder.last_round();
    for (Arrival& one : buffer_) {  // never merged
      lose_part(one.record);
      record(one, last);
    }
    co_return global_;
  }

 private:
  kernel::Task<bool> begins() {
    if (!flights_.empty() || !buffer_.empty()) co_return f_.begins_round(round_);
    std::vector<int32_t> reachable;
    co_return co_await f_.begins_round(round_, participants_, 1, reachable);
  }

  bool is_full() const { return std::ssize(buffer_) >= terms_.size; }

  // Until the buffer is full; false when nobody is left to fill it.
  kernel::Task<bool> collect() {
    launch();
    while (!is_full()) {
      if (flights_.empty()) {
        double until_s = kForEver;
        for (const int32_t client : participants_) {
          until_s = std::min(until_s, f_.platform.next_reachable_s(static_cast<size_t>(client)));
        }
        if (std::isinf(until_s)) {
          f_.stop_reason = "never again is a client reachable";
          f_.end_round(round_, global_);
          co_return false;
        }
        co_await f_.simulation.sleep_until(until_s);
      } else {
        co_await flights_.wait(kForEver);
        for (Arrival& one : flights_.take()) sort_in(std::move(one));
      }
      if (!is_full()) launch();
    }
    co_return true;
  }

  // As many work at any time as the selection takes. Whoever is in the buffer goes on at once, but
  // where that is full (others came with those of the last merge): then it waits for the next one.
  void launch() {
    std::set<int32_t> waiting = flights_.busy();
    if (is_full()) {
      for (const Arrival& one : buffer_) waiting.insert(one.record.client);
    }
    const int32_t places = f_.answers.selection->usual(static_cast<int32_t>(f_.clients.size())) -
                           static_cast<int32_t>(waiting.size());
    if (places <= 0) return;
    std::vector<int32_t> idle;
    for (const int32_t client : participants_) {
      if (waiting.contains(client)) continue;
      if (f_.platform.is_reachable(static_cast<size_t>(client))) idle.push_back(client);
    }
    const int64_t draw = part_++;
    for (const int32_t client : f_.choose({round_, draw}, idle, places)) {
      flights_.launch({round_, draw}, client, global_, terms_.broken);
    }
  }

  void sort_in(Arrival one) {
    const int64_t tau = round_ - one.occasion.round;
    if (one.update && tau <= terms_.most_staleness) {
      buffer_.push_back(std::move(one));
      return;
    }
    if (one.update) lose_part(one.record);  // too old
    record(one, round_);
  }

  void record(Arrival& one, int64_t round) {
    one.record.goes_on = true;
    one.record.staleness = round - one.occasion.round;
    f_.recorder.add_client(round, one.record);
  }

  std::vector<Update> take_buffer() {
    std::vector<Update> updates;
    for (int64_t i = 0; i < terms_.size; ++i) {
      Arrival& one = buffer_.front();
      updates.push_back(changed(one));
      record(one, round_);
      buffer_.pop_front();
    }
    // A client may be there twice.
    std::stable_sort(updates.begin(), updates.end(),
                     [](const Update& a, const Update& b) { return a.client < b.client; });
    return updates;
  }

  Update changed(const Arrival& one) {
    const auto tau = static_cast<double>(round_ - one.occasion.round);
    const double s = staleness_factor(terms_.staleness, tau);
    Update update = *one.update;
    const bool mixes = terms_.mixing > 0;
    const double factor = mixes ? terms_.mixing * s : s;
    const learning::Value& from = mixes ? global_ : one.start;
    // What began with the present state and counts whole is what it is.
    if (factor == 1 && (mixes || tau == 0)) return update;
    update.state = f_.learner.apply(learning::carried_over(factor), {global_, from, update.state},
                                    "round " + std::to_string(round_));
    return update;
  }

  Federation& f_;
  Terms terms_;
  std::vector<int32_t> participants_;
  Flights flights_;
  std::deque<Arrival> buffer_;
  learning::Value global_;
  int64_t round_ = 1, part_ = 0;
};

template <class Answer>
Terms terms_of(const Answer& answer) {
  Terms terms;
  terms.staleness = answer.staleness();
  if (answer.has_most_staleness()) terms.most_staleness = answer.most_staleness();
  terms.broken = on_break(answer.on_break(), answer.max_attempts());
  return terms;
}

}  // namespace

kernel::Task<learning::Value> run_asynchronous(Federation& f) {
  const v1::Asynchronous& answer = f.scenario.federation().schedule().asynchronous();
  Terms terms = terms_of(answer);
  terms.mixing = answer.mixing();
  Server server(f, terms);
  co_return co_await server.run();
}

kernel::Task<learning::Value> run_buffered(Federation& f) {
  const v1::Buffered& answer = f.scenario.federation().schedule().buffered();
  Terms terms = terms_of(answer);
  terms.size = answer.size();
  if (!answer.has_staleness()) terms.staleness.mutable_polynomial();
  Server server(f, terms);
  co_return co_await server.run();
}

}  // namespace fedclock::federation
