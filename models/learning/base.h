// A base model with its tokeniser: loaded from a folder in Hugging Face's layout, or pretrained by
// fedclock once and kept in a cache folder under the digest of everything it depends on.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/common/digest.h"
#include "models/data/tokenizer.h"
#include "models/learning/pretrain.h"
#include "models/nn/architecture.h"
#include "models/nn/tensor_map.h"

namespace fedclock::learning {

struct Base {
  nn::Architecture architecture;
  std::shared_ptr<const nn::TensorMap> weights;
  std::shared_ptr<const data::Tokenizer> tokenizer;
  Digest digest;       // of the architecture, the weights and the tokeniser
  std::string origin;  // for people: "pretrained" or the folder
};

// config.json, model.safetensors and tokeniser files. Throws InputError.
Base load_base_folder(const std::filesystem::path& folder);

// What is missing in such a folder, one message each.
std::vector<std::string> missing_base_files(const std::filesystem::path& folder);

struct PretrainedBaseSpec {
  nn::Architecture architecture;
  PretrainSettings settings;
  data::TokenizerTraining tokenizer;  // its vocabulary at most the architecture's
  std::string numerics;               // kernels and libraries: another text is another base
};

// Tells what is going on: "training the tokeniser", or steps of pretraining.
struct BaseReport {
  std::function<void(const std::string&)> stage;
  std::function<void(const PretrainProgress&)> step;
};

// Name of the base: the digest of everything that it depends on.
Digest pretrained_base_name(const PretrainedBaseSpec& spec, const std::vector<std::string>& texts);

// From the cache where it is there and whole, else trained and put there. A damaged entry is
// trained again; one whose training was stopped goes on; where another process is training it, this
// one waits. An empty cache folder: nothing is kept.
Base pretrained_base(const PretrainedBaseSpec& spec, const std::vector<std::string>& texts,
                     const std::filesystem::path& cache, int workers, const BaseReport& report);

}  // namespace fedclock::learning
