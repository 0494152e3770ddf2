#include "sim/experiment/tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "models/common/error.h"
#include "models/common/parse.h"
#include "models/data/table_records.h"
#include "sim/experiment/convert.h"

namespace fedclock::experiment {

namespace fs = std::filesystem;

namespace {

// One record, with the columns by name.
struct Row {
  const data::TextFile& file;
  const data::Record& header;
  const data::Record& record;
  int64_t line;

  const std::string& text(const std::string& column, std::string_view chosen_by) const {
    return record[static_cast<size_t>(data::column_of(file, header, column, chosen_by))];
  }
  double number(const std::string& column, std::string_view chosen_by, double least,
                const char* wanted) const {
    const std::string& value = text(column, chosen_by);
    const std::optional<double> number = number_in<double>(value);
    if (number && std::isfinite(*number) && *number >= least) return *number;
    data::fail_in_field(file.path, line, column, data::shown(value), wanted);
  }
};

template <typename Visit>
void for_each_row(const data::TextFile& file, Visit visit) {
  data::for_each_record(file,
                        [&](const data::Record& header, const data::Record& record, int64_t line) {
                          visit(Row{file, header, record, line});
                        });
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 != 0 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// Whole numbers by value, before all that are none; those by their bytes.
bool id_before(const std::string& a, const std::string& b) {
  const auto number_a = number_in<int64_t>(a), number_b = number_in<int64_t>(b);
  if (number_a && number_b && *number_a != *number_b) return *number_a < *number_b;
  if (number_a.has_value() != number_b.has_value()) return number_a.has_value();
  return a < b;
}

struct ById {
  bool operator()(const std::string& a, const std::string& b) const { return id_before(a, b); }
};

// A trace whose times have been checked to ascend; the last rate holds for the mean step.
std::shared_ptr<const platform::RateTrace> finished(platform::RateTrace trace) {
  const double first_s = trace.times_s.front();
  for (double& time_s : trace.times_s) time_s -= first_s;
  const double span_s = trace.times_s.back();
  const auto steps = static_cast<double>(trace.times_s.size() - 1);
  trace.period_s = steps > 0 ? span_s + span_s / steps : 1;
  return std::make_shared<const platform::RateTrace>(std::move(trace));
}

}  // namespace

data::TextFile Tables::read(const fs::path& path) {
  data::TextFile file = data::read_text_file(path);
  contents_.add(file.text);
  any_ = true;
  return file;
}

Tables::Values Tables::column(const fs::path& path, const v1::FileDistribution& spec) {
  v1::FileDistribution key = spec;
  key.set_folder(path.string());
  Values& known = columns_[key.SerializeAsString()];
  if (known) return known;
  std::vector<double> values;
  for_each_row(read(path), [&](const Row& row) {
    if (spec.has_where_column() &&
        row.text(spec.where_column(), "where_column") != spec.where_value()) {
      return;
    }
    const double value = row.number(spec.column(), "column", 0, "write a number above 0");
    if (!(value > 0)) {
      data::fail_in_field(row.file.path, row.line, spec.column(), "0", "write a number above 0");
    }
    values.push_back(value);
  });
  if (values.empty()) {
    throw InputError(
        fmt::format("{}: no row {}: choose other rows", path.string(),
                    spec.has_where_column()
                        ? fmt::format("has '{}' in '{}'", spec.where_value(), spec.where_column())
                        : "follows the header"));
  }
  const double divisor = spec.over_median() ? median(values) : 1;
  for (double& value : values) value = value / divisor * spec.scale();
  known = std::make_shared<const std::vector<double>>(std::move(values));
  return known;
}

Tables::Traces Tables::rates(const fs::path& path, const v1::BandwidthTrace& spec) {
  v1::BandwidthTrace key = spec;
  key.set_folder(path.string());
  Traces& known = traces_[key.SerializeAsString()];
  if (known) return known;
  std::vector<platform::RateTrace> traces;
  std::map<std::string, size_t> places;
  for_each_row(read(path), [&](const Row& row) {
    const auto [place, added] =
        places.emplace(row.text(spec.trace_column(), "trace_column"), traces.size());
    if (added) traces.emplace_back();
    platform::RateTrace& trace = traces[place->second];
    const double time_s = row.number(spec.time_column(), "time_column", 0, "write seconds from 0");
    if (!trace.times_s.empty() && time_s <= trace.times_s.back()) {
      data::fail_in_field(row.file.path, row.line, spec.time_column(),
                          fmt::format("{} after {}", time_s, trace.times_s.back()),
                          "times must ascend within a trace; sort its rows");
    }
    const double rate = row.number(spec.rate_column(), "rate_column", 0, "write a rate from 0");
    trace.times_s.push_back(time_s);
    trace.down_bytes_s.push_back(std::max(rate * spec.unit_mbit_s(), spec.least_mbit_s()) *
                                 kBytesPerMbit);
  });
  if (traces.empty())
    throw InputError(path.string() + ": no row follows the header: it has no trace");
  auto all = std::make_shared<std::vector<std::shared_ptr<const platform::RateTrace>>>();
  for (platform::RateTrace& trace : traces) all->push_back(finished(std::move(trace)));
  known = all;
  return known;
}

std::shared_ptr<const Tables::Availability> Tables::availability(const fs::path& path) {
  std::shared_ptr<const Availability>& known = availabilities_[path.string()];
  if (known) return known;
  std::map<std::string, std::vector<platform::Interval>, ById> clients;
  auto made = std::make_shared<Availability>();
  for_each_row(read(path), [&](const Row& row) {
    std::vector<platform::Interval>& of_client =
        clients[row.text("client_id", "renaming one of these")];
    const double start_s =
        row.number("start_s", "renaming one of these", 0, "write seconds from 0");
    const double end_s = row.number("end_s", "renaming one of these", 0, "write seconds from 0");
    if (end_s <= start_s || (!of_client.empty() && start_s < of_client.back().end_s)) {
      data::fail_in_field(row.file.path, row.line, end_s <= start_s ? "end_s" : "start_s",
                          fmt::format("from {} to {}", start_s, end_s),
                          "intervals of a client must not be empty, must ascend and not overlap");
    }
    of_client.push_back({start_s, end_s});
    made->last_end_s = std::max(made->last_end_s, end_s);
  });
  if (clients.empty()) {
    throw InputError(path.string() + ": no row follows the header: it has no intervals");
  }
  for (auto& [id, intervals] : clients) {
    made->clients.push_back(
        std::make_shared<const std::vector<platform::Interval>>(std::move(intervals)));
  }
  known = made;
  return known;
}

}  // namespace fedclock::experiment
