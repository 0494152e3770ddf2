#include "models/cost/payload.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/common/error.h"
#include "models/cost/plan.h"

namespace fedclock::cost {
namespace {

constexpr int64_t kLengthBytes = 8;
constexpr size_t kAlignment = 8;

int64_t elements_of(const TensorInfo& tensor) {
  int64_t elements = 1;
  for (const int64_t extent : tensor.shape) elements *= extent;
  return elements;
}

const char* type_name(int64_t bytes_per_element) {
  switch (bytes_per_element) {
    case 2: return "F16";
    case 4: return "F32";
    case 8: return "F64";
    default: throw ProgrammerError("an element is 2, 4 or 8 bytes");
  }
}

// The names are fedclock's own and are written without JSON escapes.
void check_name(const std::string& name) {
  const auto plain = [](char c) { return c >= ' ' && c < 127 && c != '"' && c != '\\'; };
  ensure(!name.empty() && std::all_of(name.begin(), name.end(), plain),
         "a tensor's name must be plain ASCII");
}

}  // namespace

std::vector<TensorInfo> adapter_tensors(const nn::Architecture& architecture, int64_t depth,
                                        int64_t rank, const std::vector<nn::Target>& targets,
                                        int64_t head_outputs) {
  TrainingPlan plan;
  plan.depth = depth;
  plan.rank = rank;
  plan.targets = targets;
  plan.batch_rows = plan.sequence_tokens = 1;
  plan.head_outputs = head_outputs;
  check_plan(architecture, plan);
  std::vector<TensorInfo> tensors;
  for (int64_t layer = architecture.layers - depth; layer < architecture.layers; ++layer) {
    for (const nn::Target target : targets) {
      const auto shape = nn::linear_shape(architecture, target);
      const std::string name = nn::layer_tensor(layer, nn::target_name(target));
      tensors.push_back({name + ".lora_a", {rank, shape->in}});
      tensors.push_back({name + ".lora_b", {shape->out, rank}});
    }
  }
  if (head_outputs > 0) {
    tensors.push_back({"head.weight", {head_outputs, architecture.width}});
    tensors.push_back({"head.bias", {head_outputs}});
  }
  return tensors;
}

int64_t element_count(const std::vector<TensorInfo>& tensors) {
  int64_t elements = 0;
  for (const TensorInfo& tensor : tensors) elements += elements_of(tensor);
  return elements;
}

int64_t payload_bytes(const std::vector<TensorInfo>& tensors, int64_t bytes_per_element) {
  std::vector<TensorInfo> sorted = tensors;
  std::sort(sorted.begin(), sorted.end(),
            [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  const char* type = type_name(bytes_per_element);
  std::string header = "{";
  int64_t begin = 0;
  for (const TensorInfo& tensor : sorted) {
    check_name(tensor.name);
    const int64_t end = begin + elements_of(tensor) * bytes_per_element;
    if (header.size() > 1) header += ",";
    header += fmt::format(R"("{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                          tensor.name, type, fmt::join(tensor.shape, ","), begin, end);
    begin = end;
  }
  header += "}";
  const size_t padded = (header.size() + kAlignment - 1) / kAlignment * kAlignment;
  return kLengthBytes + static_cast<int64_t>(padded) + begin;
}

}  // namespace fedclock::cost
