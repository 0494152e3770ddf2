#include "models/learning/adapter_names.h"

#include <charconv>

#include "models/common/error.h"
#include "models/nn/map_group.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

TensorName parse_tensor_name(const std::string& name) {
  const size_t end = name.rfind('.');
  if (end == std::string::npos) return {};
  TensorName parsed;
  parsed.map = name.substr(0, end);
  if (name == name_of_a(parsed.map)) parsed.kind = TensorKind::kA;
  if (name == name_of_b(parsed.map)) parsed.kind = TensorKind::kB;
  if (name == name_of_merged(parsed.map)) parsed.kind = TensorKind::kMerged;
  if (parsed.kind == TensorKind::kOther) return {};
  const std::string layers = "layers.";
  const char* first = name.data() + layers.size();
  ensure(name.starts_with(layers) &&
             std::from_chars(first, name.data() + end, parsed.layer).ec == std::errc(),
         "an adapter's tensor without a layer");
  return parsed;
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
      const TensorName parsed = parse_tensor_name(name);
      if (parsed.kind == TensorKind::kA || parsed.kind == TensorKind::kB) maps.insert(parsed.map);
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
