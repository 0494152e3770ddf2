#include "models/learning/base.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

#include "models/common/claims.h"
#include "models/common/error.h"
#include "models/nn/hugging_face.h"
#include "models/nn/safetensors.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

namespace fs = std::filesystem;

// Version of the pretraining procedure: a change of it must not find old bases.
constexpr int kProcedure = 2;

void add_architecture(DigestBuilder& digest, const nn::Architecture& a) {
  digest.add(static_cast<int>(a.kind)).add(static_cast<int>(a.positions));
  digest.add(static_cast<int>(a.norm)).add(static_cast<int>(a.norm_place));
  digest.add(static_cast<int>(a.activation)).add(a.vocabulary).add(a.layers).add(a.width);
  digest.add(a.heads).add(a.kv_heads).add(a.head_width).add(a.ffn_width).add(a.max_tokens);
  digest.add(a.position_offset).add(a.token_types).add(a.biases).add(a.qkv_biases);
  digest.add(a.embedding_norm).add(a.tied_head).add(a.norm_epsilon).add(a.rope_theta);
  digest.add(a.rope_scaling.has_value());
  if (!a.rope_scaling) return;
  digest.add(a.rope_scaling->factor).add(a.rope_scaling->low_frequency_factor);
  digest.add(a.rope_scaling->high_frequency_factor).add(a.rope_scaling->original_max_tokens);
}

Digest content_digest(const nn::Architecture& architecture, const nn::TensorMap& weights,
                      const data::Tokenizer& tokenizer) {
  DigestBuilder digest;
  add_architecture(digest, architecture);
  return digest.add(nn::safetensors_image(weights)).add(tokenizer.digest()).finish();
}

}  // namespace

Digest pretrained_base_name(const PretrainedBaseSpec& spec, const std::vector<std::string>& texts) {
  DigestBuilder digest;
  digest.add("pretrained base").add(kProcedure);
  add_architecture(digest, spec.architecture);
  const PretrainSettings& s = spec.settings;
  digest.add(s.steps).add(s.batch_rows).add(s.sequence_tokens).add(s.learning_rate);
  // 2: since the decomposition no longer depends on the sizes of the processor's caches.
  digest.add(s.weight_decay).add(s.mask_fraction).add(s.cooccurrence_embeddings ? 2 : 0);
  digest.add(s.seed);
  digest.add(static_cast<int>(spec.tokenizer.kind)).add(spec.tokenizer.vocabulary);
  digest.add(spec.tokenizer.lowercase);
  digest.add(spec.numerics);
  for (const std::string& text : texts) digest.add(text);
  return digest.finish();
}

namespace {

Base assemble(const nn::Architecture& architecture, nn::TensorMap weights,
              std::shared_ptr<const data::Tokenizer> tokenizer, std::string origin) {
  Base base;
  base.architecture = architecture;
  base.digest = content_digest(architecture, weights, *tokenizer);
  base.weights = std::make_shared<const nn::TensorMap>(std::move(weights));
  base.tokenizer = std::move(tokenizer);
  base.origin = std::move(origin);
  return base;
}

// The digest that was written beside a cached base, or nothing.
std::string recorded_digest(const fs::path& folder) {
  std::ifstream in(folder / "digest.txt");
  std::string text;
  in >> text;
  return text;
}

fs::path unfinished_folder(const fs::path& folder) {
  return folder.string() + fmt::format(".{}.part", getpid());
}

void tell(const BaseReport& report, const std::string& text) {
  if (report.stage) report.stage(text);
}

// Written beside the final place and renamed, so that a base is there whole or not at all.
void keep(const fs::path& folder, const Base& base) {
  const fs::path unfinished = unfinished_folder(folder);
  fs::create_directories(unfinished);
  nn::save_base(unfinished, base.architecture, *base.weights);
  base.tokenizer->save(unfinished);
  std::ofstream digest(unfinished / "digest.txt");
  digest << base.digest.hex() << "\n";
  digest.close();
  if (!digest) throw InputError(folder.string() + ": cannot be written: is the disk full?");
  fs::remove_all(folder);
  fs::rename(unfinished, folder);
}

// The base in the cache, if it is there and whole.
std::optional<Base> cached_base(const fs::path& folder, const BaseReport& report) {
  std::error_code error;
  if (!fs::exists(folder, error)) return std::nullopt;
  const std::string name = folder.filename().string();
  try {
    Base base = load_base_folder(folder);
    base.origin = "pretrained " + name;
    if (base.digest.hex() == recorded_digest(folder)) return base;
    tell(report, "the cached base " + name + " is damaged: pretraining it again");
  } catch (const InputError& error) {
    tell(report, fmt::format("the cached base {} is damaged ({}): pretraining it again", name,
                             error.what()));
  }
  return std::nullopt;
}

Claims::Claim wait_for_turn(const fs::path& folder, const Digest& name, const BaseReport& report) {
  std::error_code ignored;  // where nothing can be kept, nobody is waited for
  fs::create_directories(folder, ignored);
  Claims claims(folder.parent_path() / "base-claims");
  std::optional<Claims::Claim> claim = claims.try_claim(name);
  if (!claim) tell(report, "another process is pretraining the same base: waiting for it");
  while (!claim) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    claim = claims.try_claim(name);
  }
  return *std::move(claim);
}

fs::path checkpoint_file(const fs::path& folder) {
  return folder.string() + ".unfinished.safetensors";
}

at::Tensor checksum(const nn::TensorMap& tensors) {
  const Digest digest = DigestBuilder().add(nn::safetensors_image(tensors)).finish();
  return at::tensor({static_cast<int64_t>(digest.high), static_cast<int64_t>(digest.low)},
                    at::kLong);
}

// A checkpoint that is damaged is as good as none; one that cannot be written costs time only.
PretrainCheckpoints checkpoints_beside(const fs::path& folder, const BaseReport& report) {
  const fs::path file = checkpoint_file(folder);
  PretrainCheckpoints checkpoints;
  checkpoints.load = [file, report]() -> std::optional<nn::TensorMap> {
    std::error_code error;
    if (!fs::exists(file, error)) return std::nullopt;
    try {
      nn::TensorMap tensors = nn::read_safetensors(file);
      const at::Tensor expected = tensors.at("checksum");
      tensors.erase("checksum");
      if (!at::equal(expected, checksum(tensors))) return std::nullopt;
      tell(report, fmt::format("going on from step {}", tensors.at("step").item<int64_t>()));
      return tensors;
    } catch (const std::exception&) {
      return std::nullopt;
    }
  };
  checkpoints.save = [file](const nn::TensorMap& tensors) {
    nn::TensorMap all = tensors;
    all["checksum"] = checksum(tensors);
    try {
      nn::write_safetensors(file, all);
    } catch (const InputError&) {
    }
  };
  return checkpoints;
}

// `folder`: where it will be kept, if at all.
Base train_base(const PretrainedBaseSpec& spec, const std::vector<std::string>& texts,
                const fs::path& folder, int workers, const BaseReport& report) {
  tell(report, "training the tokeniser");
  std::shared_ptr<const data::Tokenizer> tokenizer = data::train_tokenizer(texts, spec.tokenizer);
  tell(report, fmt::format("pretraining the base, once: {} steps", spec.settings.steps));
  nn::TensorMap weights =
      pretrain(spec.architecture, *tokenizer, texts, spec.settings, workers, report.step,
               folder.empty() ? PretrainCheckpoints{} : checkpoints_beside(folder, report));
  return assemble(spec.architecture, std::move(weights), tokenizer,
                  "pretrained " + pretrained_base_name(spec, texts).hex());
}

}  // namespace

std::vector<std::string> missing_base_files(const fs::path& folder) {
  const auto is_there = [&](const char* name) { return fs::exists(folder / name); };
  std::vector<std::string> missing;
  if (!is_there("model.safetensors") && !is_there("model.safetensors.index.json")) {
    missing.push_back("has no weights: put the checkpoint's model.safetensors there");
  }
  if (!is_there("vocab.txt") && !(is_there("vocab.json") && is_there("merges.txt"))) {
    missing.push_back("has no tokeniser: put vocab.json and merges.txt, or vocab.txt, there");
  }
  return missing;
}

Base load_base_folder(const fs::path& folder) {
  nn::Architecture architecture;
  nn::TensorMap weights = nn::load_base(folder, architecture);
  std::shared_ptr<const data::Tokenizer> tokenizer = data::load_tokenizer(folder);
  if (tokenizer->size() > architecture.vocabulary) {
    throw InputError(
        fmt::format("{}: the tokeniser has {} tokens, the model only {}: they do not "
                    "belong together",
                    folder.string(), tokenizer->size(), architecture.vocabulary));
  }
  return assemble(architecture, std::move(weights), std::move(tokenizer), folder.string());
}

Base pretrained_base(const PretrainedBaseSpec& spec, const std::vector<std::string>& texts,
                     const fs::path& cache, int workers, const BaseReport& report) {
  if (spec.tokenizer.vocabulary > spec.architecture.vocabulary) {
    throw InputError(
        fmt::format("model.pretrain.tokenizer.vocabulary {} is more than the model's {}",
                    spec.tokenizer.vocabulary, spec.architecture.vocabulary));
  }
  const Digest name = pretrained_base_name(spec, texts);
  if (cache.empty()) return train_base(spec, texts, {}, workers, report);
  const fs::path folder = cache / "bases" / name.hex();
  if (std::optional<Base> base = cached_base(folder, report)) return *std::move(base);
  const Claims::Claim claim = wait_for_turn(cache / "bases", name, report);
  if (std::optional<Base> base = cached_base(folder, report)) return *std::move(base);
  Base base = train_base(spec, texts, folder, workers, report);
  try {
    keep(folder, base);
  } catch (const std::exception& error) {
    // Not kept is not lost: this run goes on with it.
    std::error_code ignored;
    fs::remove_all(unfinished_folder(folder), ignored);
    tell(report, fmt::format("the base cannot be kept: {}", error.what()));
  }
  std::error_code ignored;
  fs::remove(checkpoint_file(folder), ignored);
  return base;
}

}  // namespace fedclock::learning
