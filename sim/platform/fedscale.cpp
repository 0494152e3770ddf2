#include "sim/platform/fedscale.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <map>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "models/common/error.h"
#include "sim/kernel/outcome.h"

namespace fedclock::platform {

namespace {

using kernel::Interval;

// A small pickle can say one long list, or one large dict, for all its clients. These bound what
// comes of it; the published trace has 107,749 clients with some ten intervals and five keys each.
constexpr std::size_t kMaxIntervals = 20'000'000;
constexpr std::size_t kMaxKeys = 50;

constexpr const char* kFormats =
    "FedScale's client_behave_trace and client_device_capacity are read: dicts of a number for "
    "each client to a dict with 'active', 'inactive' and 'finish_time', or with 'computation' and "
    "'communication'";

// One client's entry, with the errors that name it.
class Entry {
 public:
  Entry(const std::string& file, int64_t client, const PickleValue& value)
      : file_(file), client_(client), value_(value) {
    const std::vector<PickleValue>* entries = value.dict();
    if (entries != nullptr && entries->size() / 2 <= kMaxKeys) return;
    throw InputError(
        fmt::format("{}: client {}: a dict of at most {} keys is needed here, not {}: {}", file,
                    client, kMaxKeys, value.described(), kFormats));
  }

  bool has(std::string_view key) const { return value_.at(key) != nullptr; }

  // A finite number from `least` on.
  double number(std::string_view key, double least) const {
    return number_of(key, "", get(key), least);
  }

  const std::vector<PickleValue>& list(std::string_view key) const {
    const PickleValue& value = get(key);
    if (const std::vector<PickleValue>* items = value.sequence()) return *items;
    fail(key, fmt::format("{} where a list of seconds must be", value.described()));
  }

  // An item of a list: a date, which may lie outside the trace.
  double date_s(std::string_view key, std::size_t i, const PickleValue& value) const {
    return number_of(key, fmt::format("[{}]", i), value, -std::numeric_limits<double>::max());
  }

  [[noreturn]] void fail(std::string_view key, std::string_view problem) const {
    throw InputError(
        fmt::format("{}: client {}: key '{}': {}: correct the trace, or leave the "
                    "client out, and pickle it again",
                    file_, client_, key, problem));
  }

 private:
  const PickleValue& get(std::string_view key) const {
    if (const PickleValue* value = value_.at(key)) return *value;
    fail(key, "is missing");
  }

  double number_of(std::string_view key, std::string_view place, const PickleValue& value,
                   double least) const {
    double number = std::nan("");
    if (const int64_t* whole = std::get_if<int64_t>(&value.data)) {
      number = static_cast<double>(*whole);
    } else if (const double* real = std::get_if<double>(&value.data)) {
      number = *real;
    }
    if (std::isfinite(number) && number >= least) return number;
    fail(fmt::format("{}{}", key, place),
         fmt::format("{} where a {} must be", value.described(),
                     least < 0 ? "finite number" : "number from 0 on"));
  }

  const std::string& file_;
  int64_t client_;
  const PickleValue& value_;
};

// By number. A client that is there twice has its last entry, as in Python.
std::map<int64_t, const PickleValue*> clients_of(const PickleValue& value,
                                                 const std::string& file) {
  const std::vector<PickleValue>* entries = value.dict();
  if (entries == nullptr || entries->empty()) {
    throw InputError(fmt::format("{}: holds {}: {}", file, value.described(), kFormats));
  }
  std::map<int64_t, const PickleValue*> clients;
  for (std::size_t i = 0; i < entries->size(); i += 2) {
    const PickleValue& key = (*entries)[i];
    const int64_t* client = std::get_if<int64_t>(&key.data);
    if (client == nullptr) {
      throw InputError(fmt::format("{}: {} where a client's number must be: {}", file,
                                   key.described(), kFormats));
    }
    clients.insert_or_assign(*client, &(*entries)[i + 1]);
  }
  return clients;
}

// As the file has them, cut to [0, period], without the empty ones.
std::vector<Interval> intervals_of(const Entry& entry, double period_s, FedScaleTable& table) {
  const std::vector<PickleValue>& starts = entry.list("active");
  const std::vector<PickleValue>& ends = entry.list("inactive");
  if (starts.size() != ends.size()) {
    entry.fail("inactive", fmt::format("{} times, 'active' has {}: each start needs its end",
                                       ends.size(), starts.size()));
  }
  std::vector<Interval> intervals;
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const double start_s = std::max(0.0, entry.date_s("active", i, starts[i]));
    const double end_s = std::min(period_s, entry.date_s("inactive", i, ends[i]));
    if (start_s < end_s) {
      intervals.push_back({start_s, end_s});
    } else {
      ++table.empty;
    }
  }
  return intervals;
}

// Ascending; those that overlap or touch are one.
std::vector<Interval> merged(std::vector<Interval> intervals) {
  std::sort(intervals.begin(), intervals.end(), [](const Interval& a, const Interval& b) {
    return a.start_s != b.start_s ? a.start_s < b.start_s : a.end_s < b.end_s;
  });
  std::vector<Interval> result;
  for (const Interval& next : intervals) {
    if (!result.empty() && next.start_s <= result.back().end_s) {
      result.back().end_s = std::max(result.back().end_s, next.end_s);
    } else {
      result.push_back(next);
    }
  }
  return result;
}

void refuse_too_many(const std::map<int64_t, const PickleValue*>& clients,
                     const std::string& file) {
  std::size_t total = 0;
  for (const auto& [client, value] : clients) {
    const Entry entry(file, client, *value);
    total += entry.list("active").size();
    if (total <= kMaxIntervals) continue;
    entry.fail("active",
               fmt::format("with this client the trace has more than {} intervals", kMaxIntervals));
  }
}

FedScaleTable availability(const std::map<int64_t, const PickleValue*>& clients,
                           const std::string& file) {
  refuse_too_many(clients, file);
  FedScaleTable table{.kind = "availability", .csv = "client_id,start_s,end_s\n"};
  std::optional<double> first_period_s;
  for (const auto& [client, value] : clients) {
    const Entry entry(file, client, *value);
    const double period_s = entry.number("finish_time", 0);
    if (period_s == 0) entry.fail("finish_time", "a trace of 0 s");
    table.same_period = table.same_period && period_s == first_period_s.value_or(period_s);
    first_period_s = first_period_s.value_or(period_s);
    table.period_s = std::max(table.period_s, period_s);
    const std::vector<Interval> intervals = merged(intervals_of(entry, period_s, table));
    if (intervals.empty()) ++table.never_on;
    table.intervals += intervals.size();
    for (const Interval& on : intervals) {
      fmt::format_to(std::back_inserter(table.csv), "{},{},{}\n", client, on.start_s, on.end_s);
    }
  }
  return table;
}

FedScaleTable capacity(const std::map<int64_t, const PickleValue*>& clients,
                       const std::string& file) {
  FedScaleTable table{.kind = "capacity",
                      .csv = "client_id,computation_ms_per_sample,communication_kbit_s\n"};
  for (const auto& [client, value] : clients) {
    const Entry entry(file, client, *value);
    fmt::format_to(std::back_inserter(table.csv), "{},{},{}\n", client,
                   entry.number("computation", 0), entry.number("communication", 0));
  }
  return table;
}

}  // namespace

FedScaleTable fedscale_csv(const PickleValue& value, const std::string& file) {
  const std::map<int64_t, const PickleValue*> clients = clients_of(value, file);
  const auto& [first, its_value] = *clients.begin();
  const Entry entry(file, first, *its_value);
  const bool behaves = entry.has("active") || entry.has("inactive") || entry.has("finish_time");
  if (!behaves && !entry.has("computation") && !entry.has("communication")) {
    throw InputError(fmt::format("{}: client {}: {} without any of the keys: {}", file, first,
                                 its_value->described(), kFormats));
  }
  FedScaleTable table = behaves ? availability(clients, file) : capacity(clients, file);
  table.clients = clients.size();
  return table;
}

}  // namespace fedclock::platform
