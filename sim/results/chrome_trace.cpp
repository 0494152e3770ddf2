#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "models/common/error.h"
#include "sim/results/exports.h"
#include "sim/results/json_text.h"
#include "sim/results/why.h"

namespace fedclock::results {

namespace {

using v1::Event;
using Json = nlohmann::ordered_json;

// Whole nanoseconds: sums and differences are exact, and rounding keeps the order of dates.
int64_t in_ns(double seconds) {
  ensure(std::isfinite(seconds), "a date is a number");
  return std::llround(seconds * 1e9);
}

// As microseconds, to the last digit.
std::string ts(int64_t ns) { return fmt::format("{}.{:03}", ns / 1000, ns % 1000); }

// Whose part a client's phase belongs to, and whether it is one that its round waited for.
class Parts {
 public:
  explicit Parts(const v1::Result& result) {
    for (const v1::Round& round : result.rounds()) {
      critical_.insert(last_client(round).client);
      for (const v1::ClientRound& part : round.clients()) {
        const int64_t end_ns =
            part.has_end_s() ? in_ns(part.end_s()) : std::numeric_limits<int64_t>::max();
        // Events have the round in which the part began, the result that in which it was merged.
        by_end_[{part.client(), round.round() - part.staleness(), end_ns}] = &part;
      }
    }
  }

  // Of the parts that the client began in that round, the first that had not ended yet. nullptr:
  // there is none.
  const v1::ClientRound* find(int32_t client, int32_t round, int64_t end_ns) const {
    const auto found = by_end_.lower_bound({client, round, end_ns});
    if (found == by_end_.end()) return nullptr;
    const auto [of_client, of_round, until_ns] = found->first;
    return of_client == client && of_round == round ? found->second : nullptr;
  }
  bool is_critical(const v1::ClientRound* part) const {
    return part != nullptr && critical_.contains(part);
  }

 private:
  std::map<std::tuple<int32_t, int32_t, int64_t>, const v1::ClientRound*> by_end_;
  std::set<const v1::ClientRound*> critical_;
};

class Trace {
 public:
  explicit Trace(const v1::Result& result)
      : result_(result), events_(result.events()), parts_(result) {}

  std::string text() {
    process(kServer);  // first, and there for the counters
    for (const auto& [key, events] : events_by_owner()) {
      add_owner(events_.client(events.front()), events);
    }
    for (const v1::Round& round : result_.rounds()) add_counters(round);
    std::stable_sort(dated_.begin(), dated_.end(),
                     [](const Dated& a, const Dated& b) { return a.ns < b.ns; });
    std::string text =
        fmt::format("{{\"displayTimeUnit\":\"ms\",\"otherData\":{},\"traceEvents\":[\n",
                    json_text(which_run()));
    text += names_;
    for (const Dated& one : dated_) text += one.line;
    text.resize(text.size() - 2);  // the last line's comma; there is a line, the server's name
    return text + "\n]}\n";
  }

 private:
  static constexpr int32_t kServer = -1;

  using Slice = std::vector<int>;  // events that follow each other
  struct Dated {
    int64_t ns = 0;
    std::string line;
  };
  struct Thread {
    int number = 0;
    int64_t free_ns = 0;  // from then on
  };

  int64_t start_ns(int event) const { return in_ns(events_.start_s(event)); }
  int64_t end_ns(int event) const { return in_ns(events_.end_s(event)); }
  const v1::ClientRound* part_of(int event) const {
    return parts_.find(events_.client(event), events_.round(event), end_ns(event));
  }

  // In the order of their threads: the server, gateways, clients; each one's by their start.
  std::map<std::pair<bool, int32_t>, Slice> events_by_owner() const {
    std::map<std::pair<bool, int32_t>, Slice> owners;
    for (int i = 0; i < events_.client_size(); ++i) {
      owners[{events_.client(i) >= 0, std::abs(events_.client(i))}].push_back(i);
    }
    for (auto& [key, events] : owners) {
      std::stable_sort(events.begin(), events.end(),
                       [this](int a, int b) { return start_ns(a) < start_ns(b); });
    }
    return owners;
  }

  void name(const char* kind, int pid, int tid, int number, const std::string& text) {
    for (const std::string& meta :
         {fmt::format("\"{}_name\",\"args\":{{\"name\":{}}}", kind, json_text(text)),
          fmt::format("\"{}_sort_index\",\"args\":{{\"sort_index\":{}}}", kind, number)}) {
      names_ +=
          fmt::format("{{\"ph\":\"M\",\"pid\":{},\"tid\":{},\"name\":{}}},\n", pid, tid, meta);
    }
  }

  // Numbers of processes and threads come from one count, in the order in which they are shown: a
  // thread with its process's number would be taken for the main one.
  int process(int32_t owner) {
    const std::pair key(std::clamp(owner, -2, 0),
                        owner >= 0 ? result_.clients(owner).device()
                                   : std::string(owner == kServer ? "server" : "gateways"));
    const auto [known, is_new] = processes_.try_emplace(key, numbers_ + 1);
    if (is_new) name("process", ++numbers_, 0, known->second, key.second);
    return known->second;
  }

  Thread new_thread(int32_t owner, size_t known) {
    const int pid = process(owner);
    ++numbers_;
    name("thread", pid, numbers_, numbers_, owner_name(owner, known));
    return {numbers_};
  }

  static bool is_of_part(Event::Phase phase) {
    return phase == Event::DOWNLOAD || phase == Event::TRAIN || phase == Event::UPLOAD;
  }

  // Whether a phase is of the same part as the one before: what comes after it, or another attempt
  // at it.
  bool goes_on(int before, int next) const {
    if (events_.round(before) != events_.round(next) || part_of(before) != part_of(next)) {
      return false;
    }
    const Event::Phase done = events_.phase(before), phase = events_.phase(next);
    if (!is_of_part(done) || !is_of_part(phase) || end_ns(before) > start_ns(next)) return false;
    return events_.end(before) == Event::DONE     ? done < phase
           : events_.end(before) == Event::BROKEN ? done == phase
                                                  : false;
  }

  void add_owner(int32_t owner, const Slice& events) {
    std::vector<Thread> threads;
    for (size_t i = 0; i < events.size();) {
      Slice slice = {events[i++]};
      while (owner >= 0 && i < events.size() && goes_on(slice.back(), events[i])) {
        slice.push_back(events[i++]);
      }
      auto thread = std::find_if(threads.begin(), threads.end(), [&](const Thread& one) {
        return one.free_ns <= start_ns(slice.front());
      });
      if (thread == threads.end()) {
        thread = threads.insert(thread, new_thread(owner, threads.size()));
      }
      thread->free_ns = end_ns(slice.back());
      add_slice(owner, thread->number, slice);
    }
  }

  void add_slice(int32_t owner, int tid, const Slice& events) {
    const int first = events.front();
    const bool is_part = owner >= 0 && is_of_part(events_.phase(first));
    std::string critical;
    if (is_part) {
      critical = fmt::format(",\"critical\":{}", parts_.is_critical(part_of(first)));
      add_line("part", fmt::format("round {}", events_.round(first)), process(owner), tid,
               start_ns(first), end_ns(events.back()),
               fmt::format("\"round\":{}{}", events_.round(first), critical));
    }
    for (const int i : events) {
      add_line(is_part ? "phase" : "work", phase_name(events_.phase(i)), process(owner), tid,
               start_ns(i), end_ns(i),
               fmt::format("\"round\":{},\"bytes\":{},\"end\":\"{}\"{}", events_.round(i),
                           events_.bytes(i), end_name(events_.end(i)), critical));
    }
  }

  void add_line(const char* category, const std::string& name, int pid, int tid, int64_t start,
                int64_t end, const std::string& args) {
    dated_.push_back(
        {start, fmt::format("{{\"ph\":\"X\",\"cat\":\"{}\",\"name\":\"{}\",\"pid\":{},"
                            "\"tid\":{},\"ts\":{},\"dur\":{},\"args\":{{{}}}}},\n",
                            category, name, pid, tid, ts(start), ts(end - start), args)});
  }

  void add_counters(const v1::Round& round) {
    const int64_t end = in_ns(round.end_s());
    const auto add = [&](const char* name, const std::string& args) {
      dated_.push_back({end, fmt::format("{{\"ph\":\"C\",\"name\":\"{}\",\"pid\":{},\"tid\":0,"
                                         "\"ts\":{},\"args\":{{{}}}}},\n",
                                         name, process(kServer), ts(end), args)});
    };
    if (round.has_accuracy() && std::isfinite(round.accuracy())) {
      add("accuracy", fmt::format("\"accuracy\":{}", round.accuracy()));
    }
    bytes_up_ += round.bytes_up();
    bytes_down_ += round.bytes_down();
    add("traffic", fmt::format("\"bytes_up\":{},\"bytes_down\":{}", bytes_up_, bytes_down_));
  }

  Json which_run() const {
    Json facts = Json::object();
    const auto add = [&](const char* name, const std::string& text) {
      if (!text.empty()) facts[name] = text;
    };
    add("fedclock", result_.version());
    add("scenario", result_.scenario());
    add("scenario_digest", result_.scenario_digest());
    add("numerics", result_.numerics());
    add("data_digest", result_.data_digest());
    add("base_digest", result_.base_digest());
    add("learning_model", result_.learning_model());
    add("timed_model", result_.timed_model());
    add("world_digest", result_.world_digest());
    add("adapter_digest", result_.adapter_digest());
    add("stop_reason", result_.stop_reason());
    return facts;
  }

  const v1::Result& result_;
  const v1::Events& events_;
  Parts parts_;
  std::map<std::pair<int32_t, std::string>, int> processes_;
  int numbers_ = 0;  // given to processes and threads
  std::string names_;
  std::vector<Dated> dated_;
  int64_t bytes_up_ = 0, bytes_down_ = 0;
};

}  // namespace

std::string chrome_trace(const v1::Result& result) { return Trace(result).text(); }

}  // namespace fedclock::results
