// A timeline as a Paje trace, written by SimGrid's own tracing: for ViTE, PajeNG, pj_dump and the
// like. Schnorr, de Oliveira Stein, Chassin de Kergommeaux, "Paje trace file format", 2013.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace fedclock::platform {

struct PajeTimeline {
  struct Host {
    std::string name;  // unlike all others
    std::string zone;  // empty: in none
  };
  struct State {
    std::string name;    // one word: SimGrid does not quote it
    std::string colour;  // "R G B", each 0 to 1
  };
  // The host is in the state from one date to the other; spans of a host do not overlap,
  // and those of no length are left out.
  struct Span {
    std::size_t host = 0, state = 0;
    double start_s = 0, end_s = 0;
  };
  // The variable has this value from that date on.
  struct Value {
    std::size_t host = 0;
    std::string variable;  // one word
    double date_s = 0, value = 0;
  };
  struct Mark {
    double date_s = 0;
    std::string name;  // one word
  };
  std::vector<Host> hosts;  // at least one
  std::vector<State> states;
  std::vector<Span> spans;
  std::vector<Value> values;
  std::vector<Mark> marks;
};

// Replays the timeline in SimGrid, with a host for each of its hosts, and traces it to the file,
// dates to 1e-9 s. States are of the type "phase", marks of "round". Quotes in names, which the
// format does not escape, become apostrophes. SimGrid also writes each host's "speed" (1: a
// timeline has none) and "core_count". ProgrammerError in a process that has a simulation:
// SimGrid's clock does not go back.
void write_paje(const PajeTimeline& timeline, const std::filesystem::path& file);

}  // namespace fedclock::platform
