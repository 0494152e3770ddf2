#include "models/nn/peft.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <vector>

#include "models/common/error.h"
#include "models/nn/files.h"
#include "models/nn/hugging_face_names.h"
#include "models/nn/json_fields.h"
#include "models/nn/safetensors.h"
#include "models/nn/torch.h"

namespace fedclock::nn {

namespace fs = std::filesystem;

namespace {

constexpr const char* kConfigFile = "adapter_config.json";
constexpr const char* kTensorFile = "adapter_model.safetensors";
constexpr std::string_view kRoot = "base_model.model.";
constexpr std::string_view kLayers = "layers.";

struct Pair {
  at::Tensor a, b;  // [rank, in], [out, rank]
};
using Pairs = std::map<std::pair<int64_t, Target>, Pair>;  // by layer and target

std::string shape_text(const at::Tensor& tensor) {
  return fmt::format("[{}]", fmt::join(tensor.sizes(), ", "));
}

void check_shape(const std::string& name, const at::Tensor& tensor, std::vector<int64_t> expected) {
  if (tensor.sizes() == at::IntArrayRef(expected) && tensor.scalar_type() == at::kFloat) return;
  throw InputError(fmt::format(
      "adapter tensor {} is {} of {}, expected [{}] of Float: it belongs "
      "to another base or another rank",
      name, shape_text(tensor), c10::toString(tensor.scalar_type()), fmt::join(expected, ", ")));
}

void check_head(const std::string& name, const at::Tensor& tensor, const Architecture& a) {
  const int64_t classes = tensor.dim() > 0 ? tensor.size(0) : 0;
  check_shape(name, tensor,
              name.ends_with("weight") ? std::vector{classes, a.width} : std::vector{classes});
}

std::string lora_name(int64_t layer, Target target, char side) {
  return layer_tensor(layer, target_name(target)) + ".lora_" + side;
}

// The layer and target of "layers.N.<target>.lora_a" or "..._b", else nullopt.
std::optional<std::pair<int64_t, Target>> parse_name(std::string_view name, int64_t layers) {
  if (!name.starts_with(kLayers)) return std::nullopt;
  int64_t layer = 0;
  const char* const number = name.data() + kLayers.size();
  if (std::from_chars(number, name.data() + name.size(), layer).ec != std::errc{} || layer < 0 ||
      layer >= layers) {
    return std::nullopt;
  }
  for (Target target : kAllTargets) {
    if (name == lora_name(layer, target, 'a') || name == lora_name(layer, target, 'b')) {
      return std::pair{layer, target};
    }
  }
  return std::nullopt;
}

Pairs collect_pairs(const Architecture& a, const TensorMap& adapter) {
  Pairs pairs;
  for (const auto& [name, tensor] : adapter) {
    if (name == "head.weight" || name == "head.bias") {
      check_head(name, tensor, a);
      continue;
    }
    const auto place = parse_name(name, a.layers);
    const auto shape = place ? linear_shape(a, place->second) : std::nullopt;
    if (!shape) {
      throw InputError(
          fmt::format("adapter tensor {} has no place in a base of {} layers: names "
                      "are layers.N.<target>.lora_a, .lora_b, head.weight, head.bias",
                      name, a.layers));
    }
    const bool is_a = name.ends_with('a');
    const int64_t rank = tensor.dim() == 2 ? tensor.size(is_a ? 0 : 1) : 1;
    check_shape(name, tensor, is_a ? std::vector{rank, shape->in} : std::vector{shape->out, rank});
    (is_a ? pairs[*place].a : pairs[*place].b) = tensor.detach();
  }
  for (const auto& [place, pair] : pairs) {
    if (pair.a.defined() && pair.b.defined()) {
      check_shape(lora_name(place.first, place.second, 'b'), pair.b,
                  {pair.b.size(0), pair.a.size(0)});
      continue;
    }
    throw InputError(
        fmt::format("adapter tensor {} is missing: lora_a and lora_b go together",
                    lora_name(place.first, place.second, pair.a.defined() ? 'b' : 'a')));
  }
  return pairs;
}

// "layers.3.self_attn.q_proj": the module's path without the model's prefix.
std::string module_path(const ModelNames& names, int64_t layer, const ModuleName& module) {
  return fmt::format("{}{}.{}", names.layers, layer, module.theirs);
}

std::string lora_key(std::string_view root, const std::string& module, char side) {
  return fmt::format("{}{}.lora_{}.weight", root, module, side);
}

// One pair for the map that q, k and v share: A = [Aq; Ak; Av], B = diag(Bq, Bk, Bv).
Pair fuse(const Architecture& arch, const Pairs& pairs, int64_t layer, int64_t rank) {
  std::vector<at::Tensor> all_a, all_b;
  for (Target target : {Target::kQ, Target::kK, Target::kV}) {
    const auto found = pairs.find({layer, target});
    const LinearShape shape = *linear_shape(arch, target);
    all_a.push_back(found != pairs.end() ? found->second.a : at::zeros({rank, shape.in}));
    all_b.push_back(found != pairs.end() ? found->second.b : at::zeros({shape.out, rank}));
  }
  return {at::cat(all_a), at::block_diag(all_b)};
}

// What a module of PEFT's holds.
Pair stored_pair(const Architecture& arch, const Pairs& pairs, const ModuleName& module,
                 std::pair<int64_t, Target> place, int64_t rank) {
  return module.parts == 1 ? pairs.at(place) : fuse(arch, pairs, place.first, rank);
}

// What the tensor file holds.
TensorMap to_file(const Architecture& arch, const ModelNames& names, const TensorMap& adapter,
                  const Pairs& pairs, int64_t rank) {
  TensorMap file;
  const std::string root = std::string(kRoot) + std::string(names.prefix);
  for (const auto& [place, own] : pairs) {
    const auto& [layer, target] = place;
    const ModuleName& module = module_name(names, target);
    const std::string path = module_path(names, layer, module);
    if (file.contains(lora_key(root, path, 'A'))) continue;  // q, k or v of a fused map again
    const Pair stored = stored_pair(arch, pairs, module, place, rank);
    file.emplace(lora_key(root, path, 'A'), stored.a);
    file.emplace(lora_key(root, path, 'B'), stored.b);
  }
  for (const char* leaf : {"weight", "bias"}) {
    const auto found = adapter.find(std::string("head.") + leaf);
    if (found == adapter.end()) continue;
    file.emplace(fmt::format("{}{}.{}", kRoot, names.classifier, leaf), found->second);
  }
  return file;
}

bool ends_path(std::string_view path, std::string_view end) {
  return path == end || path.ends_with("." + std::string(end));
}

// "query" for "attention.self.query"; "mlp.c_proj" stays, because attn.c_proj is there too.
std::string_view short_name(const ModelNames& names, std::string_view module) {
  const std::string_view last = module.substr(module.rfind('.') + 1);
  for (const ModuleName& other : names.inside) {
    if (other.theirs != module && ends_path(other.theirs, last)) return module;
  }
  return last;
}

// PEFT transforms a module when its path ends with "." and an entry of target_modules. Short names
// serve where each layer has the same targets and no name ends another module's path: in BERT
// "output.dense" (down) also ends "attention.output.dense" (o).
bool short_names_serve(const ModelNames& names, const Pairs& pairs, size_t layers,
                       const std::set<Target>& targets) {
  if (pairs.size() != layers * targets.size()) return false;
  std::set<std::string_view> modules;
  for (Target target : targets) modules.insert(module_name(names, target).theirs);
  for (const ModuleName& other : names.inside) {
    for (std::string_view module : modules) {
      if (!modules.contains(other.theirs) && ends_path(other.theirs, module)) return false;
    }
  }
  return true;
}

void add_targets(const Architecture& arch, const ModelNames& names, const Pairs& pairs,
                 nlohmann::ordered_json& config) {
  std::set<int64_t> layers;
  std::set<Target> targets;
  for (const auto& [place, pair] : pairs) {
    layers.insert(place.first);
    targets.insert(place.second);
  }
  const bool brief = short_names_serve(names, pairs, layers.size(), targets);
  std::set<std::string> modules;
  for (const auto& [place, pair] : pairs) {
    const ModuleName& module = module_name(names, place.second);
    modules.insert(brief ? std::string(short_name(names, module.theirs))
                         : module_path(names, place.first, module));
  }
  config["target_modules"] = modules;
  config["layers_to_transform"] = nullptr;
  if (brief && !layers.empty() && static_cast<int64_t>(layers.size()) < arch.layers) {
    config["layers_to_transform"] = layers;
  }
}

// Whole numbers look like PEFT's own: 16, not 16.0.
nlohmann::ordered_json number(double value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  if (value == std::floor(value) && std::fabs(value) < kExact) return static_cast<int64_t>(value);
  return value;
}

nlohmann::ordered_json peft_config(const Architecture& arch, const ModelNames& names,
                                   const TensorMap& adapter, const Pairs& pairs,
                                   const PeftSettings& settings) {
  nlohmann::ordered_json config;
  config["peft_type"] = "LORA";
  config["task_type"] =
      settings.task == PeftTask::kSequenceClassification ? "SEQ_CLS" : "CAUSAL_LM";
  config["base_model_name_or_path"] = settings.base_name;
  config["r"] = settings.rank;
  config["lora_alpha"] = number(settings.alpha);
  config["lora_dropout"] = number(settings.dropout);
  add_targets(arch, names, pairs, config);
  config["modules_to_save"] = nullptr;
  if (adapter.contains("head.weight")) config["modules_to_save"] = {names.classifier};
  // PEFT takes the first key that a module's path ends in: those of one layer stand first.
  nlohmann::ordered_json ranks = nlohmann::ordered_json::object(), alphas = ranks;
  nlohmann::ordered_json general_ranks = ranks, general_alphas = ranks;
  for (const auto& [place, pair] : pairs) {
    const ModuleName& module = module_name(names, place.second);
    const int64_t rank = stored_pair(arch, pairs, module, place, settings.rank).a.size(0);
    if (module.parts == 1 && rank == settings.rank) continue;
    const bool general = rank == module.parts * settings.rank;
    const std::string key =
        general ? std::string(module.theirs) : module_path(names, place.first, module);
    (general ? general_ranks : ranks)[key] = rank;
    // The scale alpha / rank is the same for all.
    (general ? general_alphas : alphas)[key] =
        number(settings.alpha * static_cast<double>(rank) / static_cast<double>(settings.rank));
  }
  ranks.update(general_ranks);
  alphas.update(general_alphas);
  config["rank_pattern"] = ranks;
  config["alpha_pattern"] = alphas;
  config["fan_in_fan_out"] = names.type == "gpt2";  // its Conv1D holds [in, out]
  config["bias"] = "none";
  config["inference_mode"] = true;
  config["init_lora_weights"] = true;
  return config;
}

double not_negative(const JsonFields& fields, const nlohmann::json& json, const char* key) {
  if (!fields.has(key)) return 0;
  const auto& value = json[key];
  if (!value.is_number() || !(value.get<double>() >= 0)) {
    fields.fail(key, "is " + value.dump(), "a number of at least 0 is needed");
  }
  return value.get<double>();
}

PeftSettings parse_settings(const fs::path& path, const nlohmann::json& json) {
  const JsonFields fields(path, json);
  fields.only("peft_type", "LORA");
  fields.only("use_dora", false);
  fields.only("use_rslora", false);
  fields.only("bias", "none");
  PeftSettings settings;
  settings.rank = fields.size("r");
  if (settings.rank < 1) fields.fail("r", "is 0", "at least 1 is needed");
  settings.alpha = not_negative(fields, json, "lora_alpha");
  settings.dropout = not_negative(fields, json, "lora_dropout");
  settings.base_name = fields.text("base_model_name_or_path", "");
  const std::string task = fields.text("task_type", "");
  if (task != "SEQ_CLS" && task != "CAUSAL_LM") {
    fields.fail("task_type", fmt::format("is \"{}\"", task), "use SEQ_CLS or CAUSAL_LM");
  }
  settings.task =
      task == "SEQ_CLS" ? PeftTask::kSequenceClassification : PeftTask::kCausalLanguageModel;
  return settings;
}

// Whether the fused map was written in blocks; any other pattern is refused.
bool in_blocks(const fs::path& path, const nlohmann::json& json, const ModelNames& names,
               const PeftSettings& settings) {
  const JsonFields fields(path, json);
  nlohmann::json ranks = nlohmann::json::object(), alphas = ranks;
  for (const ModuleName& module : names.inside) {
    if (module.parts == 1) continue;
    ranks[std::string(module.theirs)] = module.parts * settings.rank;
    alphas[std::string(module.theirs)] = module.parts * settings.alpha;
  }
  const auto given = [&](const char* key) {
    return fields.has(key) && !json[key].empty() ? json[key] : nlohmann::json();
  };
  if (given("rank_pattern").is_null() && given("alpha_pattern").is_null()) return false;
  for (const auto& [key, computed] :
       {std::pair{"rank_pattern", ranks}, {"alpha_pattern", alphas}}) {
    if (computed.empty() || given(key) != computed) {
      fields.fail(key, "is " + given(key).dump(),
                  "fedclock reads adapters of one rank and one alpha: export such a one");
    }
  }
  return true;
}

// Takes a fused map's pair apart; see the header.
void split(const Architecture& arch, const std::string& key, const Pair& whole, int64_t layer,
           bool blocks, TensorMap& adapter) {
  const auto put = [&](Target target, const at::Tensor& a, const at::Tensor& b) {
    adapter[lora_name(layer, target, 'a')] = a.clone(at::MemoryFormat::Contiguous);
    adapter[lora_name(layer, target, 'b')] = b.clone(at::MemoryFormat::Contiguous);
  };
  constexpr Target kParts[] = {Target::kQ, Target::kK, Target::kV};
  std::vector<at::Tensor> all_b;
  const int64_t out = linear_shape(arch, Target::kQ)->out;
  const int64_t rank = whole.a.size(0) / 3;
  for (int64_t part = 0; part < 3; ++part) {
    const at::Tensor b = whole.b.narrow(0, part * out, out);
    if (!blocks) {
      put(kParts[part], whole.a, b);
      continue;
    }
    const at::Tensor block_a = whole.a.narrow(0, part * rank, rank);
    all_b.push_back(b.narrow(1, part * rank, rank));
    const bool absent = !block_a.any().item<bool>() && !all_b.back().any().item<bool>();
    if (!absent) put(kParts[part], block_a, all_b.back());
  }
  if (blocks && !at::equal(at::block_diag(all_b), whole.b)) {
    throw InputError(
        fmt::format("adapter tensor {} mixes q, k and v, but its rank_pattern says "
                    "that they are apart: export it with one rank",
                    key));
  }
}

void read_pairs(const Architecture& arch, const ModelNames& names, const std::string& root,
                int64_t rank, bool blocks, TensorMap& file, TensorMap& adapter) {
  const auto take = [&](const std::string& key, std::vector<int64_t> shape) {
    const auto found = file.find(key);
    if (found == file.end()) {
      throw InputError(
          fmt::format("adapter tensor {} is missing: lora_A and lora_B go together", key));
    }
    check_shape(key, found->second, std::move(shape));
    const at::Tensor tensor = found->second;
    file.erase(found);
    return tensor;
  };
  for (int64_t layer = 0; layer < arch.layers; ++layer) {
    for (const ModuleName& module : names.inside) {
      if (module.part != 0) continue;
      const std::string path = module_path(names, layer, module);
      const std::string key_a = lora_key(root, path, 'A'), key_b = lora_key(root, path, 'B');
      if (!file.contains(key_a) && !file.contains(key_b)) continue;
      const auto place =
          parse_name(fmt::format("{}{}.{}.lora_a", kLayers, layer, module.ours), arch.layers);
      const auto shape = place ? linear_shape(arch, place->second) : std::nullopt;
      if (!shape) continue;  // a norm: PEFT has no LoRA for it, so it is reported as left over
      const int64_t stored_rank = blocks && module.parts > 1 ? module.parts * rank : rank;
      Pair pair;
      pair.a = take(key_a, {stored_rank, shape->in});
      pair.b = take(key_b, {module.parts * shape->out, stored_rank});
      if (module.parts > 1) {
        split(arch, key_b, pair, layer, blocks, adapter);
      } else {
        adapter.emplace(lora_name(layer, place->second, 'a'), pair.a);
        adapter.emplace(lora_name(layer, place->second, 'b'), pair.b);
      }
    }
  }
}

void read_head(const Architecture& arch, const ModelNames& names, TensorMap& file,
               TensorMap& adapter) {
  for (const char* leaf : {"weight", "bias"}) {
    const auto found = file.find(fmt::format("{}{}.{}", kRoot, names.classifier, leaf));
    if (found == file.end()) continue;
    const std::string ours = std::string("head.") + leaf;
    check_head(ours, found->second, arch);
    adapter.emplace(ours, found->second);
    file.erase(found);
  }
}

}  // namespace

void write_peft_adapter(const fs::path& folder, const Architecture& architecture,
                        std::string_view model_type, const TensorMap& adapter,
                        const PeftSettings& settings) {
  const ModelNames& names = model_names(model_type);
  ensure(settings.rank > 0 && settings.alpha >= 0, "an adapter has a rank and a scale");
  const Pairs pairs = collect_pairs(architecture, adapter);
  write_safetensors(folder / kTensorFile,
                    to_file(architecture, names, adapter, pairs, settings.rank),
                    {{"format", "pt"}});
  write_json(folder / kConfigFile, peft_config(architecture, names, adapter, pairs, settings));
}

PeftSettings read_peft_settings(const fs::path& folder) {
  const fs::path path = folder / kConfigFile;
  return parse_settings(path, read_json_object(path));
}

TensorMap read_peft_adapter(const fs::path& folder, const Architecture& architecture,
                            std::string_view model_type) {
  const ModelNames& names = model_names(model_type);
  const fs::path path = folder / kConfigFile;
  const auto json = read_json_object(path);
  const PeftSettings settings = parse_settings(path, json);
  const bool blocks = in_blocks(path, json, names, settings);
  TensorMap file = read_safetensors(folder / kTensorFile);
  TensorMap adapter;
  try {
    // A bare model (BertModel) has no prefix, one with a head has: take what is there.
    for (const std::string& root :
         {std::string(kRoot) + std::string(names.prefix), std::string(kRoot)}) {
      read_pairs(architecture, names, root, settings.rank, blocks, file, adapter);
    }
    read_head(architecture, names, file, adapter);
  } catch (const InputError& error) {
    throw InputError(fmt::format("{}: {}", (folder / kTensorFile).string(), error.what()));
  }
  if (!file.empty()) {
    std::string text =
        fmt::format("{}: not known in a {} of {} layers:", (folder / kTensorFile).string(),
                    names.type, architecture.layers);
    for (const auto& [name, tensor] : file) text += "\n  " + name;
    throw InputError(text + "\nuse the adapter of this base");
  }
  return adapter;
}

}  // namespace fedclock::nn
