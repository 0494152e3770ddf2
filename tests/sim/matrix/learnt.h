// Scenarios of tests/data/good, learnt, each in a process of its own.
#pragma once

#include <catch2/catch.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include "sim/experiment/experiment.h"
#include "tests/e2e/program.h"
#include "tests/sim/fork_test.h"

namespace fedclock::test {

inline scenario::Loaded load_good(const std::string& name,
                                  const std::vector<std::string>& overrides) {
  return scenario::load_and_validate(
      std::string(FEDCLOCK_SOURCE_DIR "/") + "tests/data/good/" + name,
      {.overrides = overrides, .library = {}});
}

// Numbers that say what came of a run: of each round its end and its accuracy (-1: not measured),
// bytes up and down and the clients, then the adapter's digest.
inline std::vector<double> fingerprint(const v1::Result& result) {
  std::vector<double> numbers;
  for (const v1::Round& round : result.rounds()) {
    numbers.insert(numbers.end(),
                   {round.end_s(), round.has_accuracy() ? round.accuracy() : -1,
                    static_cast<double>(round.bytes_up()), static_cast<double>(round.bytes_down()),
                    static_cast<double>(round.clients_size())});
  }
  for (const char digit : result.adapter_digest()) numbers.push_back(digit);
  return numbers;
}

// Named before anything forks: children share the bases in it, and it goes with the program.
inline const std::filesystem::path kBases = Workplace::cache();

inline v1::Result learn(const scenario::Loaded& loaded) {
  experiment::Options options;
  options.cache_folder = kBases;
  experiment::Experiment experiment(loaded, options);
  return experiment.run({}, {});
}

}  // namespace fedclock::test
