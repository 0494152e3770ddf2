#include "models/learning/base.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

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

Digest spec_digest(const PretrainedBaseSpec& spec, const std::vector<std::string>& texts) {
  DigestBuilder digest;
  digest.add("pretrained base").add(kProcedure);
  add_architecture(digest, spec.architecture);
  const PretrainSettings& s = spec.settings;
  digest.add(s.steps).add(s.batch_rows).add(s.sequence_tokens).add(s.learning_rate);
  digest.add(s.weight_decay).add(s.mask_fraction).add(s.cooccurrence_embeddings).add(s.seed);
  digest.add(static_cast<int>(spec.tokenizer.kind)).add(spec.tokenizer.vocabulary);
  digest.add(spec.tokenizer.lowercase);
  digest.add(spec.numerics);
  for (const std::string& text : texts) digest.add(text);
  return digest.finish();
}

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

}  // namespace

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
  const std::string name = spec_digest(spec, texts).hex();
  const fs::path folder = cache / "bases" / name;
  if (!cache.empty() && fs::exists(folder)) {
    try {
      Base base = load_base_folder(folder);
      base.origin = "pretrained " + name;
      if (base.digest.hex() == recorded_digest(folder)) return base;
      tell(report, "the cached base " + name + " is damaged: pretraining it again");
    } catch (const InputError& error) {
      tell(report, fmt::format("the cached base {} is damaged ({}): pretraining it again", name,
                               error.what()));
    }
  }
  if (spec.tokenizer.vocabulary > spec.architecture.vocabulary) {
    throw InputError(
        fmt::format("model.pretrain.tokenizer.vocabulary {} is more than the model's {}",
                    spec.tokenizer.vocabulary, spec.architecture.vocabulary));
  }
  tell(report, "training the tokeniser");
  std::shared_ptr<const data::Tokenizer> tokenizer = data::train_tokenizer(texts, spec.tokenizer);
  tell(report, fmt::format("pretraining the base, once: {} steps", spec.settings.steps));
  nn::TensorMap weights =
      pretrain(spec.architecture, *tokenizer, texts, spec.settings, workers, report.step);
  Base base = assemble(spec.architecture, std::move(weights), tokenizer, "pretrained " + name);
  if (!cache.empty()) {
    try {
      keep(folder, base);
    } catch (const std::exception& error) {
      // Not kept is not lost: this run goes on with it.
      std::error_code ignored;
      fs::remove_all(unfinished_folder(folder), ignored);
      tell(report, fmt::format("the base cannot be kept: {}", error.what()));
    }
  }
  return base;
}

}  // namespace fedclock::learning
