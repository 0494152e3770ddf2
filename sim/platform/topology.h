// SimGrid's hosts, links and zones for a platform.
//
// Without gateways there is one star zone: a route is the sender's way out and the receiver's way
// in. With gateways, each is a zone of its own under the star, a star or a WiFi zone, and so are
// the server and the devices that have none: SimGrid's routing breaks where hosts and zones share
// a parent.
//
// Where gateways exchange data with their devices, each has a host too, without links of its own.
// In a star it is beside the devices. A WiFi zone gives each of its hosts the air, so there the
// gateway's zone is a star of two zones, the cell and one of the host, and the way out of both is
// the cell's access point.
#pragma once

#include <functional>
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
    // Latencies that fedclock waits for rather than SimGrid: of the way to the server and back, and
    // of the host's own link alone.
    double up_latency_s = 0, down_latency_s = 0;
    double own_latency_s = 0;
  };
  std::vector<Host> devices;
  std::vector<Host> gateways;
  Host server;
  // On the network of a file, the latency of the way from one device to another. InputError where
  // there is none. Elsewhere nullptr: it follows from the hosts' own.
  std::function<double(std::size_t from, std::size_t to)> device_latency_s;
};

// Sets the simulation's network model, too. InputError as check() says, and for a platform file
// that cannot be read or that lacks a host.
Built build(kernel::Simulation& simulation, const PlatformSpec& spec);

}  // namespace fedclock::platform
