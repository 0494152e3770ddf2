// What must be on for an operation, and when it is.
#include "sim/platform/platform.h"

namespace fedclock::platform {

Platform::Broken Platform::broken(std::size_t host, std::size_t other, double date_s) const {
  Broken answer;
  const auto needs = [&](Presence* presence, const Host& owner, const char* what) {
    if (presence == nullptr) return;
    const Presence::State state = presence->at(date_s);
    if (!state.on && answer.what == nullptr) {
      answer.what = what;
      answer.name = &owner.name;
    }
    answer.state = combined(answer.state, state);
  };
  needs(hosts_[host].presence.get(), hosts_[host], "off");
  if (other == host) return answer;
  // The other end first where it is the gateway: it is on the device's way, too, and is what is off
  // then.
  const Host &end = hosts_[host], &far = hosts_[other];
  const bool gateway = other >= device_count() && other != server();
  if (gateway) needs(far.presence.get(), far, "off");
  needs(end.way.get(), end, "out of reach");
  if (!gateway) needs(far.presence.get(), far, "off");
  needs(far.way.get(), far, "out of reach");
  return answer;
}

bool Platform::is_reachable(std::size_t device) {
  Host& host = hosts_[device];
  const double now_s = simulation_.now_s();
  if (now_s >= host.reach.until_s) host.reach = broken(device, server(), now_s).state;
  return host.reach.on;
}

double Platform::next_reachable_s(std::size_t device) { return next_reachable_s(device, Place{}); }

double Platform::next_reachable_s(std::size_t device, Place from) {
  return next_reachable_between_s(device, other_end(device, from));
}

double Platform::next_gateway_reachable_s(std::size_t gateway) {
  return next_reachable_between_s(gateway_host(gateway), server());
}

double Platform::next_reachable_between_s(std::size_t host, std::size_t other) const {
  return platform::next_on_s(simulation_.now_s(), [this, host, other](double date_s) {
    return broken(host, other, date_s).state;
  });
}

double Platform::next_on_s(std::size_t device) {
  return platform::next_on_s(hosts_[device].presence.get(), simulation_.now_s());
}

double Platform::next_on_s(Place place) { return next_on_s(host_of(place)); }

double Platform::next_server_on_s() { return next_on_s(server()); }

}  // namespace fedclock::platform
