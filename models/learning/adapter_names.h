// What the tensors of a state are, by their names (functions.h lists them), and its adapters.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "models/nn/architecture.h"
#include "models/nn/matrix.h"
#include "models/nn/tensor_map.h"

namespace fedclock::learning {

// kOther: head, prompt; kPrivate: what a state has besides as an ensemble (ensemble.h).
enum class TensorKind { kA, kB, kRouter, kMerged, kOther, kPrivate };

struct TensorName {
  TensorKind kind = TensorKind::kOther;
  nn::Module module;    // of all but the last two kinds
  int32_t expert = -1;  // whose factor it is; -1: of the adapter that all tokens share
  std::string map;      // "layers.3.q", of an expert's factors "layers.3.q.expert.7"
};

TensorName parse_tensor_name(const std::string& name);

// Of an ensemble's private model: before its tensors' names; and the weight of both.
inline constexpr std::string_view kPrivatePrefix = "private.";
inline constexpr const char* kEnsembleWeight = "ensemble.weight";
// Whether it is an A or a B.
bool is_factor(const std::string& name);

inline std::string name_of_a(const std::string& map) { return map + ".lora_a"; }
inline std::string name_of_b(const std::string& map) { return map + ".lora_b"; }
inline std::string name_of_merged(const std::string& map) { return map + ".merged"; }

// Both factors of a map's adapter.
struct Adapter {
  nn::Matrix a, b;  // [rank, in], [out, rank]
  int64_t rank() const { return a.rows; }
};

// Of a map, or of an expert of one: nullopt where the state has neither factor; ProgrammerError
// where it has one alone.
std::optional<Adapter> adapter_of(const nn::TensorMap& state, const std::string& map);

// Maps, and experts of maps, of which one of the states has a factor.
std::set<std::string> adapted_maps(const std::vector<const nn::TensorMap*>& states);

// sum [out, in] += factor B A.
void add_product(const Adapter& adapter, double factor, std::vector<double>& sum);

}  // namespace fedclock::learning
