// SimGrid's Paje trace of a run, read by a reader of our own.
#include <catch2/catch.hpp>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "sim/results/exports.h"
#include "sim/results/paje.h"
#include "tests/sim/fork_test.h"
#include "tests/sim/results/export_examples.h"

namespace fedclock::test {
namespace {

// "client 0", "train_broken", 0, 1.5
using Span = std::tuple<std::string, std::string, double, double>;

struct Paje {
  std::map<std::string, std::string> zones;  // of each container, the one around it
  std::vector<Span> spans;
  std::map<std::string, double> values;  // the last of each "CONTAINER VARIABLE"
  std::map<std::string, double> marks;
};

// The events' numbers are those that SimGrid's header gives them. Throws what a viewer would
// refuse.
class Reader {
 public:
  Paje read(std::istream& in) {
    std::string line;
    while (std::getline(in, line)) {
      std::istringstream fields(line);
      int event = -1;
      if (line.empty() || line[0] == '#' || line[0] == '%' || !(fields >> event)) continue;
      read_event(event, fields);
    }
    if (!open_.empty()) throw std::runtime_error("a state that does not end");
    if (alive_.size() != 0) throw std::runtime_error("a container that is not destroyed");
    return paje_;
  }

 private:
  // A word, or what stands between quotation marks, which nothing escapes.
  static std::string text(std::istream& in) {
    std::string text;
    in >> std::ws;
    if (in.peek() == '"') {
      in.get();
      std::getline(in, text, '"');
    } else {
      in >> text;
    }
    if (!in) throw std::runtime_error("a text is missing");
    return text;
  }

  double date(std::istream& in) {
    double date_s = -1;
    if (!(in >> date_s) || date_s < now_s_) throw std::runtime_error("dates go back");
    return now_s_ = date_s;
  }

  void read_event(int event, std::istream& in) {
    if (event <= 5) {  // a type: number, number of the type around it, name; or a type's value
      const std::string number = text(in), around = text(in);
      types_[number] = text(in);
      return;
    }
    const double date_s = date(in);
    switch (event) {
      case 6: {
        const std::string number = text(in), type = text(in), around = text(in);
        containers_[number] = text(in);
        alive_.insert(number);
        paje_.zones[containers_[number]] = around == "0" ? "" : containers_.at(around);
        break;
      }
      case 7: {
        const std::string type = text(in), number = text(in);
        if (alive_.erase(number) != 1) throw std::runtime_error("a container ends twice");
        break;
      }
      case 8: {
        const std::string type = text(in), container = text(in);
        paje_.values[containers_.at(container) + " " + types_.at(type)] = std::stod(text(in));
        break;
      }
      case 12: {
        const std::string type = text(in), container = text(in), value = text(in);
        if (!open_.emplace(container, std::pair(value, date_s)).second) {
          throw std::runtime_error("a state inside another");
        }
        break;
      }
      case 13: {
        const std::string type = text(in), container = text(in);
        const auto [value, start_s] = open_.at(container);
        paje_.spans.push_back({containers_.at(container), types_.at(value), start_s, date_s});
        open_.erase(container);
        break;
      }
      case 17: {
        const std::string type = text(in), container = text(in);
        paje_.marks[types_.at(text(in))] = date_s;
        break;
      }
      default: throw std::runtime_error("an event that is not expected: " + std::to_string(event));
    }
  }

  Paje paje_;
  double now_s_ = 0;
  // Names by number; types and their values have numbers of their own.
  std::map<std::string, std::string> types_, containers_;
  std::set<std::string> alive_;
  std::map<std::string, std::pair<std::string, double>> open_;
};

Paje traced(const v1::Result& result) {
  // With a blank: SimGrid would split a setting on the command line there.
  const auto file =
      std::filesystem::temp_directory_path() / ("fedclock paje " + std::to_string(getpid()));
  const Forked forked = run_forked([&] {
    platform::write_paje(results::paje_timeline(result), file);
    return std::vector<double>{1};
  });
  INFO(forked.error);
  REQUIRE(forked.values.size() == 1);
  std::ifstream in(file);
  const Paje paje = Reader().read(in);
  std::filesystem::remove(file);
  return paje;
}

std::string owner_name(int32_t client) {
  if (client >= 0) return "client " + std::to_string(client);
  return client == -1 ? "server" : "gateway " + std::to_string(-2 - client);
}

TEST_CASE("Paje: every phase of every run is a state, with its dates") {
  for (const v1::Result& result : all_examples()) {
    const v1::Events& events = result.events();
    std::vector<Span> expected;
    for (int i = 0; i < events.client_size(); ++i) {
      if (events.end_s(i) == events.start_s(i)) continue;
      std::string state = results::phase_name(events.phase(i));
      if (events.end(i) != Event::DONE) state += "_" + results::end_name(events.end(i));
      expected.push_back({owner_name(events.client(i)), state, events.start_s(i), events.end_s(i)});
    }
    std::vector<Span> found = traced(result).spans;
    for (Span& span : found) {  // lanes of one owner are one
      std::string& name = std::get<0>(span);
      name = name.substr(0, name.find(" ("));
    }
    const auto sorted = [](std::vector<Span> spans) {
      std::sort(spans.begin(), spans.end());
      return spans;
    };
    expected = sorted(expected);
    found = sorted(found);
    REQUIRE(found.size() == expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      CHECK(std::get<0>(found[i]) == std::get<0>(expected[i]));
      CHECK(std::get<1>(found[i]) == std::get<1>(expected[i]));
      CHECK(std::get<2>(found[i]) == Approx(std::get<2>(expected[i])).margin(2e-9).epsilon(0));
      CHECK(std::get<3>(found[i]) == Approx(std::get<3>(expected[i])).margin(2e-9).epsilon(0));
    }
  }
}

TEST_CASE("Paje: zones are device classes, values sums of bytes, marks the ends of rounds") {
  const Paje paje = traced(synchronous());
  // Quotes are not escaped in the format.
  CHECK(paje.zones.at("client 0") == "devices: a 'slow' board, 15\\16");
  CHECK(paje.zones.at("client 1") == "devices: fast");
  CHECK(paje.zones.at("client 2") == paje.zones.at("client 0"));
  CHECK(paje.zones.at("server") == "");
  CHECK(paje.values.at("client 0 bytes_down") == 200);
  CHECK(paje.values.at("client 0 bytes_up") == 100);
  CHECK(paje.values.count("server bytes_up") == 0);
  CHECK(paje.values.at("server accuracy") == 0.25);  // the second was no number
  CHECK(paje.marks.at("0") == 0);
  CHECK(paje.marks.at("1") == Approx(1.0 / 3).margin(1e-9).epsilon(0));
  CHECK(paje.marks.at("2") == 2);
  // The server merges for two groups at a time.
  CHECK(traced(hierarchical()).zones.count("server (2)") == 1);
}

}  // namespace
}  // namespace fedclock::test
