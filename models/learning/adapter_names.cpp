#include "models/learning/adapter_names.h"

#include <charconv>

#include "models/common/error.h"
#include "models/nn/map_group.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

TensorKind kind_of(std::string_view ending) {
  if (ending == "lora_a") return TensorKind::kA;
  if (ending == "lora_b") return TensorKind::kB;
  if (ending == "router") return TensorKind::kRouter;
  if (ending == "merged") return TensorKind::kMerged;
  return TensorKind::kOther;
}

// The next part of a dotted name, which loses it.
std::string_view take_part(std::string_view& rest) {
  const size_t end = rest.find('.');
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return part;
}

template <class Number>
Number number_of(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  ensure(error == std::errc() && end == text.data() + text.size(), "a name without its number");
  return number;
}

nn::Target target_of(std::string_view name) {
  for (const nn::Target target : nn::kAllTargets) {
    if (nn::target_name(target) == name) return target;
  }
  throw ProgrammerError("an adapter's tensor of no map: " + std::string(name));
}

}  // namespace

TensorName parse_tensor_name(const std::string& name) {
  const size_t end = name.rfind('.');
  if (end == std::string::npos) return {};
  TensorName parsed;
  if (name == kEnsembleWeight || name.starts_with(kPrivatePrefix)) {
    parsed.kind = TensorKind::kPrivate;
    return parsed;
  }
  parsed.kind = kind_of(std::string_view(name).substr(end + 1));
  if (parsed.kind == TensorKind::kOther) return {};
  parsed.map = name.substr(0, end);
  std::string_view rest = parsed.map;
  ensure(take_part(rest) == "layers", "an adapter's tensor without a layer");
  parsed.module.layer = number_of<int64_t>(take_part(rest));
  parsed.module.target = target_of(take_part(rest));
  if (rest.empty()) return parsed;
  ensure(take_part(rest) == "expert", "an adapter's tensor of an unknown part");
  parsed.expert = number_of<int32_t>(rest);
  return parsed;
}

bool is_factor(const std::string& name) {
  const TensorKind kind = parse_tensor_name(name).kind;
  return kind == TensorKind::kA || kind == TensorKind::kB;
}

std::optional<Adapter> adapter_of(const nn::TensorMap& state, const std::string& map) {
  const auto a = state.find(name_of_a(map)), b = state.find(name_of_b(map));
  if (a == state.end() && b == state.end()) return std::nullopt;
  ensure(a != state.end() && b != state.end(), "a factor of an adapter without the other");
  const Adapter adapter{nn::matrix_of(a->second), nn::matrix_of(b->second)};
  ensure(adapter.b.columns == adapter.rank(), "factors of different ranks");
  return adapter;
}

std::set<std::string> adapted_maps(const std::vector<const nn::TensorMap*>& states) {
  std::set<std::string> maps;
  for (const nn::TensorMap* state : states) {
    for (const auto& [name, tensor] : *state) {
      if (is_factor(name)) maps.insert(parse_tensor_name(name).map);
    }
  }
  return maps;
}

void add_product(const Adapter& adapter, double factor, std::vector<double>& sum) {
  const auto& [a, b] = adapter;
  ensure(std::ssize(sum) == b.rows * a.columns, "products of different shapes are added");
  for (int64_t o = 0; o < b.rows; ++o) {
    double* row = sum.data() + o * a.columns;
    for (int64_t r = 0; r < adapter.rank(); ++r) {
      const double scaled = factor * b.data[o * b.stride + r];
      const float* of = a.data + r * a.stride;
      for (int64_t i = 0; i < a.columns; ++i) row[i] += scaled * of[i];
    }
  }
}

}  // namespace fedclock::learning
