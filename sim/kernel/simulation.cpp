#include "sim/kernel/simulation.h"

#include <atomic>
#include <cmath>
#include <csignal>
#include <utility>
#include <vector>

#include "sim/kernel/activity.h"
#include "sim/kernel/engine.h"

namespace fedclock::kernel {

namespace s4u = simgrid::s4u;

namespace {

// SimGrid takes over Ctrl-C and the fatal signals when it starts; they belong to the program.
class KeepSignalHandlers {
 public:
  KeepSignalHandlers() {
    for (std::size_t i = 0; i < std::size(kSignals); ++i)
      sigaction(kSignals[i], nullptr, &kept_[i]);
  }
  KeepSignalHandlers(const KeepSignalHandlers&) = delete;
  KeepSignalHandlers& operator=(const KeepSignalHandlers&) = delete;
  ~KeepSignalHandlers() {
    for (std::size_t i = 0; i < std::size(kSignals); ++i)
      sigaction(kSignals[i], &kept_[i], nullptr);
  }

 private:
  static constexpr int kSignals[] = {SIGINT, SIGSEGV, SIGBUS};
  struct sigaction kept_[std::size(kSignals)];
};

std::unique_ptr<s4u::Engine> start_engine() {
  const KeepSignalHandlers keep;
  std::string name = "fedclock";
  std::string quiet = "--log=root.thresh:error";
  char* argv[] = {name.data(), quiet.data(), nullptr};
  int argc = 2;
  return std::make_unique<s4u::Engine>(&argc, argv);
}

void claim_process() {
  static std::atomic<bool> claimed{false};
  if (claimed.exchange(true) || s4u::Engine::has_instance()) {
    throw ProgrammerError("a second simulation in one process; SimGrid's clock does not go back");
  }
}

}  // namespace

Simulation::Engine::Engine(Simulation& simulation) {
  claim_process();
  engine = start_engine();
  // All of these are SimGrid's defaults today. They change the last digits, so they are pinned.
  for (const char* setting :
       {"cpu/model:Cas01", "cpu/optim:Lazy", "cpu/solver:maxmin", "network/optim:Lazy",
        "network/solver:maxmin", "surf/precision:1e-9", "maxmin/precision:1e-5",
        "maxmin/concurrency-limit:-1", "network/loopback-bw:1e10", "network/loopback-lat:0"}) {
    s4u::Engine::set_config(std::string(setting));
  }
  engine->add_model(std::make_shared<Model>(simulation));
  // Called at every end of an activity, twice for a cancelled one: only the first time finds its
  // operation.
  s4u::Activity::on_completion_cb([](const s4u::Activity& activity) {
    auto* operation = activity.get_data<ActivityOperation>();
    if (operation == nullptr) return;
    operation->activity_->set_data(nullptr);
    operation->on_activity_end(activity.get_state() == s4u::Activity::State::FINISHED);
  });
}

// The root of run(): remembers that it has ended, and lets the rest go.
class Simulation::Root final : public TaskObserver {
 public:
  Root(Simulation& simulation, Task<void> task, std::string name)
      : simulation_(simulation), task_(std::move(task)), name_(std::move(name)) {}

  void start() { task_.start(*this, 0); }
  void cancel() { task_.cancel(); }
  bool ended() const { return task_.ended(); }
  void rethrow() { task_.take(); }
  std::string describe() const { return "'" + name_ + "' waits for " + task_.promise().describe(); }

  std::coroutine_handle<> on_task_done(std::size_t) noexcept override {
    simulation_.cancel_spawned();
    return std::noop_coroutine();
  }

 private:
  Simulation& simulation_;
  Task<void> task_;
  std::string name_;
};

class Simulation::Spawned final : public TaskObserver {
 public:
  Spawned(Simulation& simulation, Task<void> task, std::string name)
      : simulation_(simulation), task_(std::move(task)), name_(std::move(name)) {}

  void start() { task_.start(*this, 0); }
  void cancel() { task_.cancel(); }
  std::exception_ptr error() const { return task_.promise().error(); }
  std::string describe() const { return "'" + name_ + "' waits for " + task_.promise().describe(); }
  std::list<std::unique_ptr<Spawned>>::iterator place;

  std::coroutine_handle<> on_task_done(std::size_t) noexcept override {
    simulation_.end_of(*this);
    return std::noop_coroutine();
  }

 private:
  Simulation& simulation_;
  Task<void> task_;
  std::string name_;
};

Simulation::Simulation() : engine_(std::make_unique<Engine>(*this)) {}

Simulation::~Simulation() {
  // Frames hold operations, and operations hold activities: they go first.
  spawned_.clear();
  ended_.clear();
}

Sleep Simulation::sleep_for(double duration_s, DeviceId device) {
  ensure(duration_s >= 0, "sleep_for a negative duration");
  return sleep_until(now_s() + duration_s, device);
}

Sleep Simulation::sleep_until(double date_s, DeviceId device) {
  ensure(std::isfinite(date_s), "sleep until a date that is not finite");
  return Sleep(agenda_, date_s, device, EventKind::kSleep);
}

void Simulation::set_network_model(NetworkModel model) {
  ensure(!engine_->network_chosen, "a second network model in one simulation");
  engine_->network_chosen = true;
  const std::vector<const char*> settings =
      model == NetworkModel::kFluid
          ? std::vector<const char*>{"network/model:CM02",         "network/TCP-gamma:0",
                                     "network/crosstraffic:0",     "network/latency-factor:1",
                                     "network/bandwidth-factor:1", "network/weight-S:0"}
          : std::vector<const char*>{"network/model:LV08",
                                     "network/TCP-gamma:4194304",
                                     "network/crosstraffic:1",
                                     "network/latency-factor:13.01",
                                     "network/bandwidth-factor:0.97",
                                     "network/weight-S:20537"};
  for (const char* setting : settings) s4u::Engine::set_config(std::string(setting));
}

void Simulation::run(Task<void> task, std::string name) {
  ensure(root_ == nullptr, "run() inside run()");
  if (engine_->engine->get_netzone_root() == nullptr) {
    set_network_model(NetworkModel::kFluid);
    s4u::create_empty_zone("nothing");
  }
  Root root(*this, std::move(task), std::move(name));
  root_ = &root;
  try {
    root.start();
    engine_->engine->run();
    check_that_all_ended(root);
  } catch (...) {
    root_ = nullptr;
    throw;
  }
  root_ = nullptr;
  ended_.clear();
  if (spawned_error_) std::rethrow_exception(std::exchange(spawned_error_, nullptr));
  root.rethrow();
}

void Simulation::spawn(Task<void> task, std::string name) {
  spawned_.push_back(std::make_unique<Spawned>(*this, std::move(task), std::move(name)));
  Spawned& spawned = *spawned_.back();
  spawned.place = std::prev(spawned_.end());
  spawned.start();
}

double Simulation::next_event_s() {
  engine_->retired.clear();  // SimGrid has reported these for the second time
  agenda_.deliver_due();
  ended_.clear();
  // A cancelled flow keeps its share until SimGrid has reported it: a step of no duration does
  // that.
  if (!engine_->retired.empty()) return 0;
  const double date_s = agenda_.next_date_s();
  return date_s < 0 ? -1 : date_s - now_s();
}

void Simulation::end_of(Spawned& spawned) {
  ended_.splice(ended_.end(), spawned_, spawned.place);
  if (!spawned.error() || spawned_error_) return;
  try {
    std::rethrow_exception(spawned.error());
  } catch (const Cancelled&) {
  } catch (...) {
    spawned_error_ = spawned.error();
    if (root_ != nullptr) root_->cancel();
  }
}

void Simulation::cancel_spawned() {
  for (const auto& spawned : spawned_) spawned->cancel();
}

void Simulation::check_that_all_ended(const Root& root) const {
  const std::string date =
      " at " + std::to_string(now_s()) + " s: nothing can happen any more, but ";
  if (!root.ended()) throw ProgrammerError("the simulation hangs" + date + root.describe());
  if (!spawned_.empty()) {
    throw ProgrammerError("the simulation hangs" + date + spawned_.front()->describe());
  }
}

}  // namespace fedclock::kernel
