// Distributions that figures of a world are drawn from: bandwidths, speeds.
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "models/common/random.h"

namespace fedclock::platform {

struct UniformDraw {
  double low = 0, high = 0;
};
// The logarithm is uniform: as many between 1 and 10 as between 10 and 100.
struct LogUniformDraw {
  double low = 0, high = 0;
};
// The logarithm is normal: median e^mu, and sigma that of the logarithm.
struct LogNormalDraw {
  double median = 0, sigma = 0;
};
// One of these, each as likely.
struct TableDraw {
  std::shared_ptr<const std::vector<double>> values;
};

using Distribution = std::variant<UniformDraw, LogUniformDraw, LogNormalDraw, TableDraw>;

double draw(const Distribution& distribution, Random& random);

}  // namespace fedclock::platform
