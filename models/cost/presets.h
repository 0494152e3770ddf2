// Shapes of public base models, so that the clock can time a model larger than the one that learns.
// Source: the published config.json files of bert-base-uncased, roberta-base, roberta-large,
// Llama-3.2-1B, Llama-2-7b-hf, Qwen-1_8B and Qwen-7B; the tests compare the parameter counts with
// the published ones.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/nn/architecture.h"

namespace fedclock::cost {

// "bert-base" (uncased), "roberta-base", "roberta-large", "llama-3.2-1b", "llama-2-7b", "qwen-1.8b"
// or "qwen-7b". Throws InputError, which lists these names, on any other.
nn::Architecture architecture_preset(std::string_view name);

// The names above, in that order.
std::vector<std::string> preset_names();

}  // namespace fedclock::cost
