#include "sim/platform/distribution.h"

#include <cmath>

namespace fedclock::platform {

namespace {

struct Draw {
  Random& random;

  double operator()(const UniformDraw& d) const {
    return d.low + (d.high - d.low) * random.uniform();
  }
  double operator()(const LogUniformDraw& d) const {
    return d.low * std::exp(std::log(d.high / d.low) * random.uniform());
  }
  double operator()(const LogNormalDraw& d) const {
    return d.median * std::exp(d.sigma * random.normal());
  }
  double operator()(const TableDraw& d) const {
    return d.values->at(random.below(d.values->size()));
  }
};

}  // namespace

double draw(const Distribution& distribution, Random& random) {
  return std::visit(Draw{random}, distribution);
}

}  // namespace fedclock::platform
