#include "sim/federation/schedule/staleness.h"

#include <cmath>

namespace fedclock::federation {

double staleness_factor(const v1::Staleness& staleness, double tau) {
  switch (staleness.kind_case()) {
    case v1::Staleness::kPolynomial: return std::pow(tau + 1, -staleness.polynomial().a());
    case v1::Staleness::kHinge: {
      const double a = staleness.hinge().a(), b = staleness.hinge().b();
      return tau <= b ? 1 : 1 / (a * (tau - b) + 1);
    }
    default: return 1;
  }
}

}  // namespace fedclock::federation
