// SimGrid's hosts, links and zones for a platform.
//
// Without gateways there is one star zone: a route is the sender's way out and the receiver's way
// in. With gateways, each is a zone of its own under the star, a star or a WiFi zone, and so are
// the server and the devices that have none: SimGrid's routing breaks where hosts and zones share
// a parent.
#pragma once

#include <string>
#include <vector>

#include "sim/platform/spec.h"

namespace simgrid::s4u {
class Host;
class Link;
}  // namespace simgrid::s4u

namespace fedclock::platform {

struct Built {
  struct Host {
    simgrid::s4u::Host* host = nullptr;  // nullptr where SimGrid is not needed
    simgrid::s4u::Link* up = nullptr;    // its own links; nullptr: none
    simgrid::s4u::Link* down = nullptr;
    // Of the way to the server and back, where fedclock waits for it rather than SimGrid.
    double up_latency_s = 0, down_latency_s = 0;
  };
  std::vector<Host> devices;
  Host server;
};

// Sets the simulation's network model, too. InputError as check() says, and for a platform file
// that cannot be read or that lacks a host.
Built build(kernel::Simulation& simulation, const PlatformSpec& spec);

}  // namespace fedclock::platform
