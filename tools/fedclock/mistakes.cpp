#include "tools/fedclock/mistakes.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/scenario/scenario.pb.h"
#include "sim/scenario/suggest.h"

namespace fedclock::tools {

namespace {

// Fields deep in the scenario whose names people try as options.
constexpr std::pair<const char*, const char*> kUsualFields[] = {
    {"rounds", "stop.rounds"},
    {"accuracy", "stop.accuracy"},
    {"steps", "federation.local.steps"},
    {"epochs", "federation.local.epochs"},
    {"batch_size", "federation.local.batch_size"},
    {"optimizer", "federation.local.optimizer"},
    {"learning_rate", "federation.local.learning_rate"},
    {"lr", "federation.local.learning_rate"},
    {"depth", "federation.assignment.uniform.depth"},
    {"rank", "model.adapter.rank"},
    {"alpha", "model.adapter.alpha"},
    {"dropout", "model.adapter.dropout"},
    {"max_tokens", "task.max_tokens"},
    {"network_model", "platform.network_model"},
};

// What the user gave this option: behind its '=', or as the next word.
std::string given_value(const std::string& option, const std::vector<std::string>& arguments) {
  const size_t equals = option.find('=');
  if (equals != std::string::npos) return option.substr(equals + 1);
  const auto at = std::find(arguments.begin(), arguments.end(), option);
  if (at == arguments.end() || at + 1 == arguments.end() || (at + 1)->starts_with('-')) {
    return "VALUE";
  }
  return *(at + 1);
}

std::string unknown_option(const CLI::App& command, const std::string& word,
                           const std::vector<std::string>& arguments) {
  const std::string option = word.substr(0, word.find('='));
  const std::string name = option.substr(std::min(option.find_first_not_of('-'), option.size()));
  std::string text = fmt::format("{}: {} has no such option; ", option, command.get_name());
  const bool takes_fields = command.get_option_no_throw("--set") != nullptr;
  const std::string field = takes_fields ? scenario_field(name) : "";
  if (!field.empty()) {
    return text + fmt::format("a field of the scenario is set so: --set {}={}", field,
                              given_value(word, arguments));
  }
  std::vector<std::string> known;
  for (const CLI::Option* one : command.get_options()) {
    known.insert(known.end(), one->get_lnames().begin(), one->get_lnames().end());
  }
  if (const auto near = scenario::closest(name, known)) {
    return text + fmt::format("did you mean --{}?", *near);
  }
  const std::string of = command.get_parent() == nullptr ? "" : " " + command.get_name();
  return text + fmt::format("`fedclock help{}` lists what there is", of);
}

}  // namespace

std::string unknown_command(const CLI::App& program, const std::string& word) {
  std::vector<std::string> known;
  for (const CLI::App* command : program.get_subcommands({})) known.push_back(command->get_name());
  const auto near = scenario::closest(word, known);
  return fmt::format("{}: there is no such command; {}", word,
                     near ? "did you mean " + *near + "?" : "known: " + scenario::list_of(known));
}

std::string scenario_field(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  for (const auto& [usual, path] : kUsualFields) {
    if (name == usual) return path;
  }
  const size_t end = name.find_first_of(".[");
  const auto* field = v1::Scenario::descriptor()->FindFieldByName(name.substr(0, end));
  if (field == nullptr || field->name() == "extends") return {};
  // A message's name alone is no field that takes a value; a path into it is.
  const bool whole_message = field->message_type() != nullptr && end == std::string::npos;
  return whole_message ? "" : name;
}

std::string explain_unknown(const CLI::App& program, const std::vector<std::string>& arguments) {
  const auto is_option = [](const std::string& word) { return word.starts_with('-'); };
  const std::vector<std::string> before = program.remaining();
  if (!before.empty()) {
    return is_option(before[0]) ? unknown_option(program, before[0], arguments)
                                : unknown_command(program, before[0]);
  }
  for (const CLI::App* command : program.get_subcommands()) {
    const std::vector<std::string> left = command->remaining();
    if (left.empty()) continue;
    // An option's value may have taken an argument's place: the option is the cause.
    const auto option = std::find_if(left.begin(), left.end(), is_option);
    if (option != left.end()) return unknown_option(*command, *option, arguments);
    const bool takes_fields = command->get_option_no_throw("--set") != nullptr;
    return fmt::format(
        "{}: is one argument too many for {}{}", left[0], command->get_name(),
        takes_fields ? "; a value with spaces needs quotes: --set 'PATH=VALUE'" : "");
  }
  return {};
}

}  // namespace fedclock::tools
