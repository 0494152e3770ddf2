// What to say of a command line with words that nothing takes: which word, and what was probably
// meant.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace fedclock::tools {

// "rnu: there is no such command; did you mean run?"
std::string unknown_command(const CLI::App& program, const std::string& word);

// Of a program that has refused `arguments` (without the program's own name): the message for the
// first command, option or argument that it does not know. Empty where all are known.
std::string explain_unknown(const CLI::App& program, const std::vector<std::string>& arguments);

// The path of the scenario's field that an option of this name (without dashes) stands for: "seed",
// "stop.rounds" for "rounds", a whole path as it is. Empty where there is no telling.
std::string scenario_field(std::string name);

}  // namespace fedclock::tools
