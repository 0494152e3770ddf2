#include "sim/results/paje.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numeric>
#include <utility>

#include "sim/results/exports.h"

namespace fedclock::results {

namespace {

using platform::PajeTimeline;
using v1::Event;

class Timeline {
 public:
  explicit Timeline(const v1::Result& result) : result_(result), events_(result.events()) {}

  PajeTimeline build() {
    host(kServer, 0);  // first, and there for the values
    for (int client = 0; client < result_.clients_size(); ++client) host(client, 0);
    std::vector<int> by_start(static_cast<std::size_t>(events_.client_size()));
    std::iota(by_start.begin(), by_start.end(), 0);
    std::stable_sort(by_start.begin(), by_start.end(),
                     [this](int a, int b) { return events_.start_s(a) < events_.start_s(b); });
    for (const int event : by_start) add_span(event);
    add_bytes();
    for (const v1::Round& round : result_.rounds()) add_round(round);
    return std::move(made_);
  }

 private:
  static constexpr int32_t kServer = -1;

  // Work of one owner that overlaps stands on hosts of its own: the lanes.
  std::size_t host(int32_t owner, std::size_t lane) {
    const auto [known, is_new] = hosts_.try_emplace({owner, lane}, made_.hosts.size());
    if (is_new) {
      made_.hosts.push_back(
          {owner_name(owner, lane), owner >= 0 ? result_.clients(owner).device() : ""});
    }
    return known->second;
  }

  std::size_t state(int event) {
    const Event::Phase phase = events_.phase(event);
    const Event::End end = events_.end(event);
    const auto [known, is_new] = states_.try_emplace({phase, end}, made_.states.size());
    if (is_new) {
      const bool done = end == Event::DONE;
      made_.states.push_back(
          {phase_name(phase) + (done ? "" : "_" + end_name(end)), colour(phase, done)});
    }
    return known->second;
  }

  // Those of tools/report/page/theme.js; a group's transfers have their kind's, and what was for
  // nothing one for all.
  static const char* colour(Event::Phase phase, bool done) {
    if (!done) return "0.84 0.37 0.00";
    switch (phase) {
      case Event::DOWNLOAD:
      case Event::GROUP_DOWNLOAD: return "0.34 0.71 0.91";
      case Event::UPLOAD:
      case Event::GROUP_UPLOAD: return "0.90 0.62 0.00";
      case Event::TRAIN: return "0.00 0.45 0.70";
      default: return "0.00 0.62 0.45";
    }
  }

  void add_span(int event) {
    std::vector<double>& free_s = free_s_[events_.client(event)];
    std::size_t lane = 0;
    while (lane < free_s.size() && free_s[lane] > events_.start_s(event)) ++lane;
    if (lane == free_s.size()) free_s.push_back(0);
    free_s[lane] = events_.end_s(event);
    made_.spans.push_back({host(events_.client(event), lane), state(event), events_.start_s(event),
                           events_.end_s(event)});
  }

  // Events are in the order of their ends.
  void add_bytes() {
    std::map<std::pair<std::size_t, bool>, double> sums;
    for (int i = 0; i < events_.client_size(); ++i) {
      if (events_.bytes(i) == 0) continue;
      const bool up = events_.phase(i) == Event::UPLOAD || events_.phase(i) == Event::GROUP_UPLOAD;
      const std::size_t owner = host(events_.client(i), 0);
      double& sum = sums[{owner, up}];
      sum += static_cast<double>(events_.bytes(i));
      made_.values.push_back({owner, up ? "bytes_up" : "bytes_down", events_.end_s(i), sum});
    }
  }

  void add_round(const v1::Round& round) {
    made_.marks.push_back({round.end_s(), fmt::to_string(round.round())});
    if (round.has_accuracy() && std::isfinite(round.accuracy())) {
      made_.values.push_back({host(kServer, 0), "accuracy", round.end_s(), round.accuracy()});
    }
  }

  const v1::Result& result_;
  const v1::Events& events_;
  PajeTimeline made_;
  std::map<std::pair<int32_t, std::size_t>, std::size_t> hosts_;
  std::map<std::pair<Event::Phase, Event::End>, std::size_t> states_;
  std::map<int32_t, std::vector<double>> free_s_;  // of each owner's lanes: from when on
};

}  // namespace

PajeTimeline paje_timeline(const v1::Result& result) { return Timeline(result).build(); }

}  // namespace fedclock::results
