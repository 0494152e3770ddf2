// Tables that describe a world: bandwidth traces, availability, columns to draw from.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/common/digest.h"
#include "models/data/text_file.h"
#include "sim/platform/bandwidth.h"
#include "sim/platform/presence.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::experiment {

// Reads each table once, however many groups ask for it. All functions throw InputError "file:line:
// field: value: remedy" for what is not as they need it.
class Tables {
 public:
  using Values = std::shared_ptr<const std::vector<double>>;
  using Traces = std::shared_ptr<const std::vector<std::shared_ptr<const platform::RateTrace>>>;

  // The numbers of a column, all above 0, at least one.
  Values column(const std::filesystem::path& path, const v1::FileDistribution& spec);

  // Rates in byte/s, in the order in which the traces come. Times start at 0 once the first is
  // taken off; the last rate holds as long as the mean one does.
  Traces rates(const std::filesystem::path& path, const v1::BandwidthTrace& spec);

  // The intervals of each client of the file, clients in the order of their ids (whole numbers by
  // value, before others by their bytes), intervals of a client ascending.
  struct Availability {
    std::vector<std::shared_ptr<const std::vector<platform::Interval>>> clients;
    double last_end_s = 0;
  };
  std::shared_ptr<const Availability> availability(const std::filesystem::path& path);

  bool any() const { return any_; }
  // Of the contents of all files read so far, in the order of the calls.
  Digest digest() const { return contents_.finish(); }
  // Reads a file whose contents count, but are no table.
  data::TextFile read(const std::filesystem::path& path);

 private:
  DigestBuilder contents_;
  bool any_ = false;
  std::map<std::string, Values> columns_;
  std::map<std::string, Traces> traces_;
  std::map<std::string, std::shared_ptr<const Availability>> availabilities_;
};

}  // namespace fedclock::experiment
