// The manual page and the completion of shells, made of the same commands and options as --help.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "models/common/error.h"
#include "tools/fedclock/commands.h"

namespace fedclock::tools {

namespace {

constexpr std::pair<const char*, const char*> kEnvironment[] = {
    {"FEDCLOCK_DATA", "Folder of the data files, where neither --data nor the scenario names one."},
    {"FEDCLOCK_CACHE", "Folder of pretrained bases and of the store [default: ~/.cache/fedclock]."},
    {"FEDCLOCK_STORE", "File that keeps what was learnt [default: store.sqlite in that folder]."},
    {"NO_COLOR", "Where it is set and not empty, no colours (https://no-color.org)."},
};

// Commands that people are told of.
std::vector<const CLI::App*> commands_of(const CLI::App& program) {
  std::vector<const CLI::App*> all;
  for (const CLI::App* command : program.get_subcommands({})) {
    if (!command->get_name().empty()) all.push_back(command);
  }
  return all;
}

std::vector<const CLI::Option*> options_of(const CLI::App& command) {
  std::vector<const CLI::Option*> all;
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_group().empty()) all.push_back(option);
  }
  return all;
}

// As roff takes it: nothing in it is a request.
std::string roff(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\\') {
      escaped += "\\e";
    } else if (c == '-') {
      escaped += "\\-";
    } else if (c == '\n') {
      escaped += "\n.br\n";
    } else {
      escaped += c;
    }
  }
  if (escaped.starts_with('.') || escaped.starts_with('\'')) escaped = "\\&" + escaped;
  return escaped;
}

// The values that an option may have, "csv,jsonl"; empty where they are not few. CLI11 names its
// type "TEXT:{csv,jsonl}".
std::string choices_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t from = type.find(":{");
  if (from == std::string::npos) return "";
  return type.substr(from + 2, type.find('}', from) - from - 2);
}

std::string with(std::string text, char old, char in_its_place) {
  std::replace(text.begin(), text.end(), old, in_its_place);
  return text;
}

std::string option_entry(const CLI::Option& option) {
  std::string value;
  if (option.get_items_expected_max() > 0) {
    const std::string choices = with(choices_of(option), ',', '|');
    const std::string type = option.get_type_name();  // "INT:INT in [1 - 1024]"
    value = " \\fI" + roff(choices.empty() ? type.substr(0, type.find(':')) : choices) + "\\fR";
  }
  std::string text = option.get_description();
  if (!option.get_default_str().empty() && text.find("[default") == std::string::npos) {
    text += " [default: " + option.get_default_str() + "]";
  }
  return fmt::format(".TP\n\\fB{}\\fR{}\n{}\n", roff(option.get_name(false, true)), value,
                     roff(text));
}

// With the commands that are parts of it: "fedclock store verify".
std::string command_entry(const CLI::App& command, const std::string& name) {
  std::string entry = fmt::format(".SS {}\n{}\n", roff(name), roff(command.get_description()));
  for (const CLI::Option* option : options_of(command)) entry += option_entry(*option);
  for (const CLI::App* part : commands_of(command)) {
    entry += command_entry(*part, name + " " + part->get_name());
  }
  return entry;
}

std::string manual(const CLI::App& program) {
  std::string page = fmt::format(
      ".TH FEDCLOCK 1 \"\" \"fedclock {}\" \"User Commands\"\n.SH NAME\n{} \\- {}\n"
      ".SH SYNOPSIS\n.B fedclock\n\\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n.SH DESCRIPTION\n{}\n"
      ".SH COMMANDS\n",
      FEDCLOCK_VERSION, "fedclock", "federated fine\\-tuning on a simulated clock",
      roff(program.get_description()));
  for (const CLI::App* command : commands_of(program)) {
    page += command_entry(*command, "fedclock " + command->get_name());
  }
  page += ".SH ENVIRONMENT\n";
  for (const auto& [name, text] : kEnvironment) {
    page += fmt::format(".TP\n\\fB{}\\fR\n{}\n", roff(name), roff(text));
  }
  return page + fmt::format(".SH EXIT STATUS\n{}\n", roff(program.get_footer()));
}

// The words that may stand behind a command.
std::string words_of(const CLI::App& command) {
  std::string words;
  if (command.get_name() == "help") words += words_of(*command.get_parent()) + " ";
  for (const CLI::App* part : commands_of(command)) words += part->get_name() + " ";
  for (const CLI::Option* option : options_of(command)) {
    if (option->get_positional()) words += with(choices_of(*option), ',', ' ') + " ";
    for (const std::string& name : option->get_lnames()) words += "--" + name + " ";
    for (const std::string& name : option->get_snames()) words += "-" + name + " ";
  }
  if (!words.empty()) words.pop_back();
  return words;
}

// "    'store prune'*) words=...", after which the line of the command itself would match as well.
std::string word_cases(const CLI::App& command, const std::string& name) {
  std::string cases;
  for (const CLI::App* part : commands_of(command)) {
    cases += word_cases(*part, name + " " + part->get_name());
  }
  return cases + fmt::format("    '{} '*) words=\"{}\" ;;\n", name, words_of(command));
}

// The values of options that have few, a line for each: "    'export --format') values=...".
std::string value_cases(const CLI::App& command) {
  std::string cases;
  for (const CLI::Option* option : options_of(command)) {
    const std::string choices = with(choices_of(*option), ',', ' ');
    if (choices.empty()) continue;
    for (const std::string& name : option->get_lnames()) {
      cases += fmt::format("    '{} --{}') values=\"{}\" ;;\n", command.get_name(), name, choices);
    }
  }
  return cases;
}

// Words that start with - are completed as options, behind an option its values where they are
// few, others as commands or as files.
std::string bash_completion(const CLI::App& program) {
  std::string cases, values;
  for (const CLI::App* command : commands_of(program)) {
    cases += word_cases(*command, command->get_name());
    values += value_cases(*command);
  }
  return fmt::format(R"(# For bash: source <(fedclock completion bash)
_fedclock() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} words values=
  if [[ $COMP_CWORD -eq 1 ]]; then
    mapfile -t COMPREPLY < <(compgen -W "{}" -- "$word")
    return
  fi
  case "${{COMP_WORDS[1]}} ${{COMP_WORDS[COMP_CWORD-1]}}" in
{}  esac
  if [[ -n $values ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word")
    return
  fi
  case "${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}} " in
{}    *) words= ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
  if [[ $word != -* ]]; then
    mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen -f -- "$word")
  fi
}}
complete -o filenames -F _fedclock fedclock
)",
                     words_of(program), values, cases);
}

}  // namespace

void add_manual(CLI::App& program) {
  CLI::App* man =
      program.add_subcommand("manual", "Print the manual page: fedclock manual | man -l -");
  man->callback([&program] { fmt::print("{}", manual(program)); });
  auto shell = std::make_shared<std::string>();
  CLI::App* completion =
      program.add_subcommand("completion", "Print what completes commands and options in a shell");
  completion->add_option("SHELL", *shell, "bash")->required()->check(CLI::IsMember({"bash"}));
  completion->callback([&program, shell] { fmt::print("{}", bash_completion(program)); });
}

}  // namespace fedclock::tools
