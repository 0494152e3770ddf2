// SimGrid's side of a simulation; included by the kernel's sources only.
#pragma once

#include <simgrid/kernel/resource/Model.hpp>
#include <simgrid/s4u.hpp>

#include <memory>
#include <vector>

#include "sim/kernel/simulation.h"

namespace fedclock::kernel {

struct Simulation::Engine {
  // fedclock as one of SimGrid's models: it has no resources, only dates.
  class Model final : public simgrid::kernel::resource::Model {
   public:
    explicit Model(Simulation& simulation)
        : simgrid::kernel::resource::Model("fedclock"), simulation_(simulation) {}

    // SimGrid asks all models before it moves the clock; the answer is a duration, or -1.
    double next_occurring_event(double /*now*/) override { return simulation_.next_event_s(); }
    // SimGrid has moved the clock; reports of activities come right after this.
    void update_actions_state(double now, double /*delta*/) override {
      simulation_.agenda_.set_now_s(now);
    }

   private:
    Simulation& simulation_;
  };

  explicit Engine(Simulation& simulation);

  // Keeps a cancelled activity until SimGrid has reported its end for the second time.
  void retire(simgrid::s4u::ActivityPtr activity) { retired.push_back(std::move(activity)); }

  std::unique_ptr<simgrid::s4u::Engine> engine;
  bool network_chosen = false;
  std::vector<simgrid::s4u::ActivityPtr> retired;
};

}  // namespace fedclock::kernel
