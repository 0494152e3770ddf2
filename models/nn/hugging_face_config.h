// config.json of a Hugging Face folder, read and written.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "models/nn/architecture.h"

namespace fedclock::nn {

struct HuggingFaceConfig {
  std::string model_type;
  Architecture architecture;
  // Llama switches the biases of attention and feed-forward separately, Architecture those of q, k,
  // v and of the rest. Maps that have a bias only in Architecture: it is zero, which computes the
  // same.
  std::vector<Target> without_bias;
};

// Throws InputError with file, field, value and remedy.
HuggingFaceConfig read_hugging_face_config(const std::filesystem::path& path);
// `path` only names the object in messages.
HuggingFaceConfig parse_config(const std::filesystem::path& path, const nlohmann::json& json);

// The config.json of a base; throws InputError like model_type_of().
nlohmann::ordered_json config_of(const Architecture& architecture);

}  // namespace fedclock::nn
