// Points of a sweep: the product of what varies, as overrides of a scenario.
#pragma once

#include <string>
#include <vector>

namespace fedclock::scenario {

// One thing that varies: fields that change together, and their values, one list a step.
struct Axis {
  std::vector<std::string> paths;
  std::vector<std::vector<std::string>> steps;  // [step][path]
};

// "PATH=v1,v2", or fields in step: "PATH,PATH=v1:w1,v2:w2". Separators inside of brackets, braces
// and quotes belong to the values. Throws InputError that names `option` and the text.
Axis parse_axis(const std::string& option, const std::string& text);

struct GridPoint {
  std::vector<std::string> values;     // of all paths of all axes, in order
  std::vector<std::string> overrides;  // "path=value"
  // Fit for a folder: "up_mbit_s=5,seed=2", with as much of a path as tells it from the others.
  std::string name;
};

// The last axis varies fastest. Throws InputError where two axes change the same field or a step
// stands in an axis twice.
std::vector<GridPoint> grid(const std::vector<Axis>& axes);

}  // namespace fedclock::scenario
