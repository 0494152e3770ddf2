#include "models/nn/hugging_face.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "models/common/error.h"
#include "models/nn/files.h"
#include "models/nn/hugging_face_config.h"
#include "models/nn/hugging_face_names.h"
#include "models/nn/safetensors.h"
#include "models/nn/torch.h"

namespace fedclock::nn {

namespace fs = std::filesystem;

namespace {

std::string shape_text(at::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// What is wrong with a checkpoint, collected so that one run tells all of it.
struct Problems {
  std::set<std::string> missing, unknown, misfit;

  void throw_if_any(const fs::path& path, const std::string& model_type) const {
    if (missing.empty() && unknown.empty() && misfit.empty()) return;
    std::string text =
        fmt::format("{}: does not fit its config.json ({})", path.string(), model_type);
    const auto add = [&](const char* title, const std::set<std::string>& lines) {
      if (lines.empty()) return;
      text += fmt::format("\n  {} {}:", lines.size(), title);
      for (const auto& line : lines) text += "\n    " + line;
    };
    add("missing", missing);
    add("not known in this model type", unknown);
    add("of another shape or type", misfit);
    text += "\nget config.json and model.safetensors of the same model";
    throw InputError(text);
  }
};

// The dimension along which q, k and v lie behind each other in a fused map.
int64_t output_dimension(const StoredName& stored) { return stored.transposed ? 1 : 0; }

std::vector<int64_t> stored_shape(const StoredName& stored, std::vector<int64_t> shape) {
  shape.front() *= stored.parts;
  if (stored.transposed) std::reverse(shape.begin(), shape.end());
  return shape;
}

// A tensor as in the file -> the parameter, [out, in] or [out], in memory of its own; one that
// needs no change stays where it is, since a large base should not be there twice.
at::Tensor take(const at::Tensor& whole, const StoredName& stored) {
  if (stored.parts == 1) return (stored.transposed ? whole.t() : whole).contiguous();
  const int64_t dimension = output_dimension(stored);
  const int64_t extent = whole.size(dimension) / stored.parts;
  const at::Tensor part = whole.narrow(dimension, stored.part * extent, extent);
  return (stored.transposed ? part.t() : part).clone(at::MemoryFormat::Contiguous);
}

std::set<std::string> optional_biases(const HuggingFaceConfig& config) {
  std::set<std::string> names;
  for (int64_t layer = 0; layer < config.architecture.layers; ++layer) {
    for (Target target : config.without_bias) {
      names.insert(layer_tensor(layer, target_name(target)) + ".bias");
    }
  }
  return names;
}

fs::path weights_path(const fs::path& folder) {
  const fs::path path = folder / "model.safetensors";
  std::error_code ignored;
  if (fs::exists(path, ignored)) return path;
  std::string remedy = "put the weights there";
  if (fs::exists(folder / "model.safetensors.index.json", ignored)) {
    remedy = "the weights are split over several files: save them as one";
  } else if (fs::exists(folder / "pytorch_model.bin", ignored)) {
    remedy = "pytorch_model.bin is not read: save the model with safe_serialization=True";
  }
  throw InputError(fmt::format("{}: no such file: {}", path.string(), remedy));
}

}  // namespace

TensorMap load_base(const fs::path& folder, Architecture& architecture) {
  const auto config = read_hugging_face_config(folder / "config.json");
  const fs::path path = weights_path(folder);
  const TensorMap file = read_safetensors(path);
  const ModelNames& names = model_names(config.model_type);
  // Files of the bare model have no prefix, those of a model with a head have one.
  const auto first = file.lower_bound(std::string(names.prefix));
  const std::string_view prefix =
      first != file.end() && first->first.starts_with(names.prefix) ? names.prefix : "";

  const std::set<std::string> zero = optional_biases(config);
  std::set<std::string> used;
  Problems problems;
  TensorMap base;
  for (const auto& [ours, shape] : parameter_shapes(config.architecture)) {
    const StoredName stored = stored_name(names, ours);
    auto found = file.find(with_prefix(prefix, stored.name));
    if (found == file.end() && !stored.old_name.empty()) {
      found = file.find(with_prefix(prefix, stored.old_name));
    }
    if (found == file.end()) {
      if (!zero.contains(ours)) problems.missing.insert(with_prefix(prefix, stored.name));
      continue;
    }
    const auto& [theirs, whole] = *found;
    used.insert(theirs);
    const auto expected = stored_shape(stored, shape);
    if (whole.sizes() != at::IntArrayRef(expected) || whole.scalar_type() != at::kFloat) {
      problems.misfit.insert(fmt::format("{} is {} of {}, expected {} of Float", theirs,
                                         shape_text(whole.sizes()),
                                         c10::toString(whole.scalar_type()), shape_text(expected)));
      continue;
    }
    base.emplace(ours, take(whole, stored));
  }
  for (const auto& [name, tensor] : file) {
    const std::string_view bare =
        std::string_view(name).substr(name.starts_with(prefix) ? prefix.size() : 0);
    if (!used.contains(name) && !is_extra(bare)) problems.unknown.insert(name);
  }
  problems.throw_if_any(path, config.model_type);
  for (const auto& [ours, shape] : parameter_shapes(config.architecture)) {
    if (!base.contains(ours)) base.emplace(ours, at::zeros(shape));  // one of optional_biases()
  }
  architecture = config.architecture;
  return base;
}

void save_base(const fs::path& folder, const Architecture& architecture, const TensorMap& base) {
  const auto config = config_of(architecture);
  const ModelNames& names = model_names(model_type_of(architecture));
  std::map<std::string, std::vector<at::Tensor>> parts;
  std::map<std::string, int64_t> dimensions;
  const auto parameters = parameter_shapes(architecture);
  for (const auto& [ours, shape] : parameters) {
    const auto found = base.find(ours);
    ensure(found != base.end(), "a base holds all its parameters");
    ensure(found->second.sizes() == at::IntArrayRef(shape), "a parameter has its shape");
    const StoredName stored = stored_name(names, ours);
    const std::string theirs = with_prefix(names.prefix, stored.name);
    // parameter_shapes() lists q, k and v in the order of their parts.
    auto& sofar = parts[theirs];
    ensure(sofar.size() == static_cast<size_t>(stored.part), "parts come in order");
    const at::Tensor value = found->second.detach().to(at::kFloat);
    sofar.push_back(stored.transposed ? value.t() : value);
    dimensions[theirs] = output_dimension(stored);
  }
  ensure(base.size() == parameters.size(), "a base holds nothing but its parameters");
  TensorMap file;
  for (const auto& [theirs, tensors] : parts) {
    file.emplace(theirs, tensors.size() == 1 ? tensors[0] : at::cat(tensors, dimensions[theirs]));
  }
  // transformers wants to know which library's row-major order the values have.
  write_safetensors(folder / "model.safetensors", file, {{"format", "pt"}});
  write_json(folder / "config.json", config);
}

}  // namespace fedclock::nn
