// Suite files: read as scenarios are, with the place of every field, and checked as a whole; the
// runs that they ask for; and the scenario of each run.
#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "sim/scenario/load.h"
#include "sim/scenario/location.h"
#include "sim/scenario/suite.pb.h"

namespace fedclock::scenario {

struct Suite {
  v1::Suite suite;  // with its name set
  Locations locations;
  std::filesystem::path file;
  bool quick = false;

  // A file that it names.
  std::filesystem::path beside(const std::string& name) const;
};

// Reads and checks a suite. `quick`: as --quick changes it, for which 1 seed is enough. Throws
// InputError with all problems at once; what the scenarios' values mean is for load_run() to check.
Suite load_suite(const std::filesystem::path& file, bool quick);

struct SuiteRun {
  std::string setting, method;
  uint64_t seed = 0;

  // "SETTING/METHOD/seed-3": of its folder, and in messages.
  std::string name() const;
  auto operator<=>(const SuiteRun&) const = default;
};

struct SuitePlan {
  std::vector<std::string> settings, methods;  // that take part, in the order of the file
  std::vector<std::string> judged;             // settings of claims that name none
  std::vector<uint64_t> seeds;
  std::vector<SuiteRun> runs;  // by seed, then setting, then method: a third of it tells something
  bool quick = false;
};
// `extended`: with the settings and methods that are so.
SuitePlan plan_suite(const Suite& suite, bool extended);

// The scenario of a run, checked as load_and_validate() does. Its name, "SUITE-SETTING-METHOD", is
// the same wherever the suite lies. Adds to the problems; throws where a file is missing or broken.
Loaded load_run(const Suite& suite, const SuiteRun& run, const std::filesystem::path& library,
                Problems& problems);

}  // namespace fedclock::scenario
