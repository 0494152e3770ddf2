#include "sim/platform/paje.h"

#include <simgrid/instr.h>
#include <simgrid/s4u.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "models/common/error.h"

namespace fedclock::platform {

namespace s4u = simgrid::s4u;

namespace {

constexpr const char* kStates = "phase";
constexpr const char* kMarks = "round";

std::string unquoted(std::string name) {
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '"' || c == '\n'; }, '\'');
  return name;
}

// What happens at a date; at equal ones, states end before others begin.
struct Change {
  double date_s = 0;
  int order = 0;
  std::function<void()> make;
};

class Writer {
 public:
  explicit Writer(const PajeTimeline& timeline) : timeline_(timeline) {
    ensure(!timeline.hosts.empty(), "a timeline without hosts");
    for (const PajeTimeline::Host& host : timeline.hosts) names_.push_back(unquoted(host.name));
  }

  // SimGrid traces a host as a part of the zone that was made last and is not sealed yet.
  void add_platform() const {
    s4u::NetZone* root = s4u::create_star_zone("run");
    std::map<std::string, std::vector<std::size_t>> zones;
    for (std::size_t i = 0; i < names_.size(); ++i) {
      const std::string& zone = timeline_.hosts[i].zone;
      if (zone.empty()) {
        root->create_host(names_[i], 1.0)->seal();
      } else {
        zones[unquoted(zone)].push_back(i);
      }
    }
    for (const auto& [name, hosts] : zones) {
      s4u::NetZone* zone = s4u::create_star_zone("devices: " + name);
      zone->set_parent(root);
      for (const std::size_t host : hosts) zone->create_host(names_[host], 1.0)->seal();
      zone->seal();
    }
    root->seal();
  }

  void declare() const {
    TRACE_host_state_declare(kStates);
    for (const PajeTimeline::State& state : timeline_.states) {
      TRACE_host_state_declare_value(kStates, state.name.c_str(), state.colour.c_str());
    }
    std::set<std::string> variables, marks;
    for (const PajeTimeline::Value& value : timeline_.values) variables.insert(value.variable);
    for (const std::string& variable : variables) simgrid::instr::declare_host_variable(variable);
    if (timeline_.marks.empty()) return;
    simgrid::instr::declare_mark(kMarks);
    for (const PajeTimeline::Mark& mark : timeline_.marks) {
      if (marks.insert(mark.name).second) {
        simgrid::instr::declare_mark_value(kMarks, mark.name);
      }
    }
  }

  std::vector<Change> changes() const {
    std::vector<Change> changes;
    for (const PajeTimeline::Span& span : timeline_.spans) {
      if (span.end_s <= span.start_s) continue;
      const char* host = names_.at(span.host).c_str();
      const char* state = timeline_.states.at(span.state).name.c_str();
      changes.push_back({span.start_s, 3, [=] { TRACE_host_push_state(host, kStates, state); }});
      changes.push_back({span.end_s, 0, [=] { TRACE_host_pop_state(host, kStates); }});
    }
    for (const PajeTimeline::Value& value : timeline_.values) {
      const std::string& host = names_.at(value.host);
      changes.push_back({value.date_s, 1, [&host, &value] {
                           simgrid::instr::set_host_variable(host, value.variable, value.value);
                         }});
    }
    for (const PajeTimeline::Mark& mark : timeline_.marks) {
      changes.push_back({mark.date_s, 2, [&mark] { simgrid::instr::mark(kMarks, mark.name); }});
    }
    for (const Change& change : changes) {
      ensure(std::isfinite(change.date_s) && change.date_s >= 0, "a date of a timeline");
    }
    std::stable_sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) {
      return std::pair(a.date_s, a.order) < std::pair(b.date_s, b.order);
    });
    return changes;
  }

  s4u::Host* first_host() const { return s4u::Host::by_name(names_.front()); }

 private:
  const PajeTimeline& timeline_;
  std::vector<std::string> names_;
};

}  // namespace

void write_paje(const PajeTimeline& timeline, const std::filesystem::path& file) {
  ensure(!s4u::Engine::has_instance(), "a timeline is traced in a process without a simulation");
  std::string name = "fedclock", quiet = "--log=root.thresh:error";
  char* arguments[] = {name.data(), quiet.data(), nullptr};
  int count = 2;
  s4u::Engine engine(&count, arguments);
  s4u::Engine::set_config("tracing", true);
  s4u::Engine::set_config("tracing/platform", true);
  s4u::Engine::set_config("tracing/precision", 9);
  s4u::Engine::set_config("tracing/filename", file.string());
  const Writer writer(timeline);
  writer.add_platform();
  writer.declare();
  // SimGrid traces the present: something has to live until each of the dates.
  s4u::Actor::create("replay", writer.first_host(), [changes = writer.changes()] {
    for (const Change& change : changes) {
      s4u::this_actor::sleep_until(change.date_s);
      change.make();
    }
  });
  engine.run();
}

}  // namespace fedclock::platform
