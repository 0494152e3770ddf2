// Tools for validate(): one message at its path, its fields by name, and the usual checks.
#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/scenario/location.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::scenario {

// The fields of one message. The range checks look at fields that are set only, since the defaults
// are right, and leave alone what has a problem already and what is no finite number.
class Fields {
 public:
  Fields(const google::protobuf::Message& message, std::string path, Problems& problems)
      : message_(message), path_(std::move(path)), problems_(problems) {}

  Fields child(std::string_view name) const;            // a message field
  Fields item(std::string_view name, int index) const;  // an item of a list of messages
  std::string path(std::string_view name) const { return join_path(path_, name); }

  // True where the field is set (a list: not empty).
  bool has(std::string_view name) const;
  // A number, or its default.
  double number(std::string_view name) const;
  // The field as a message shows it; "not set".
  std::string shown(std::string_view name) const;

  // Adds a problem of the field, with its value, unless it has one.
  void problem(std::string_view name, const std::string& message) const;
  // False, with a problem, where the field is not set. `what` says what to write.
  bool require(std::string_view name, std::string_view what) const;
  // False, with a problem, where the value lies outside. `hint` follows the message.
  bool within(std::string_view name, double low, double high, std::string_view hint = {}) const;
  bool at_least(std::string_view name, double low, std::string_view hint = {}) const;
  // Above `low`, and at most `high`.
  bool above(std::string_view name, double low, double high, std::string_view hint = {}) const;

 private:
  bool unchecked(std::string_view name) const;

  const google::protobuf::Message& message_;
  std::string path_;
  Problems& problems_;
};

// "; did you mean 0.028 s (28 ms)?" for a value that lies too high by a unit's factor and would
// lie in [low, high] with it; nothing otherwise. `wrong` and `right` are units as printed.
std::string unit_hint(double value, double factor, double low, double high, std::string_view wrong,
                      std::string_view right);

// The same for the first unit, of several, in which the value would be plausible.
struct Slip {
  double factor;
  std::string_view unit;
};
std::string slip_hint(double value, double low, double high, const std::vector<Slip>& slips,
                      std::string_view right);

// Plausible bandwidths. A value outside is a slip of units more often than a link.
inline constexpr double kSlowest_mbit_s = 0.001, kFastest_mbit_s = 1e7;

// A bandwidth in Mbit/s. `why` says what is wrong with none.
void check_rate(const Fields& fields, std::string_view name, std::string_view why);

// A required file of the data folder, whose name ends in one of these.
void check_file_name(const Fields& fields, std::string_view name, const std::string& value,
                     const std::vector<std::string>& endings);

// Places of the power modes that the group's devices run in, in the device's list.
std::vector<int> modes_used(const v1::DeviceGroup& group);

// Numbers of clients: devices over all groups.
int64_t client_count(const v1::Scenario& scenario);
// Whether rows are answered in words, and not classified.
bool has_responses(const v1::Task& task);
// Layers of the learning model, where the scenario itself says them.
std::optional<int64_t> learning_layers(const v1::Scenario& scenario);

// Tokens of the soft prompt before each row; 0: there is none.
int64_t prompt_tokens(const v1::Scenario& scenario);

// What the assignment may ask of the model, as far as that is known.
struct ModelSize {
  std::optional<int64_t> layers, width, max_tokens;
};
// Depths, ranks and prompt of the assignment against the model that they are of. The experiment
// asks again when it has read a model's folder.
void check_assignment_against(const v1::Scenario& scenario, const ModelSize& model,
                              Problems& problems);

// Fields whose answers look at numbers of the learning: not without it.
std::vector<std::string> needs_numbers(const v1::Scenario& scenario);

// A rank of adapters: at least 1, and at most the width of the model where the scenario says it.
void check_rank(const v1::Scenario& scenario, const Fields& holder);

// The parts of validate(), one for each part of a scenario.
void check_name(const v1::Scenario& scenario, Problems& problems);
void check_task(const v1::Scenario& scenario, Problems& problems);
void check_model(const v1::Scenario& scenario, Problems& problems);
void check_federation(const v1::Scenario& scenario, Problems& problems);
// Of answers that make no sense together, with the reason.
void check_combination(const v1::Scenario& scenario, Problems& problems);
void check_platform(const v1::Scenario& scenario, Problems& problems);
// A machine: of a group of devices, of a gateway, of the server.
void check_device(const v1::Device& machine, const Fields& device);
// The parts of check_platform() that are about the world around the devices.
void check_world_of_group(const v1::Scenario& scenario, const v1::DeviceGroup& values,
                          const Fields& group);
void check_world(const v1::Scenario& scenario, const Fields& platform);
void check_timing(const v1::Scenario& scenario, Problems& problems);
void check_ends(const v1::Scenario& scenario, Problems& problems);  // evaluation and stop

}  // namespace fedclock::scenario
