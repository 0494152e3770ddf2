// What travels between a client and the server: a file image in the safetensors format
// (github.com/huggingface/safetensors), header included.
//   8 bytes      length of the header, little endian
//   header       {"name":{"dtype":"F32","shape":[..],"data_offsets":[begin,end]},..}, compact,
//   tensors
//                in the order of their names, padded with spaces to a multiple of 8
//   data         the tensors one after the other
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/nn/architecture.h"

namespace fedclock::cost {

struct TensorInfo {
  std::string name;
  std::vector<int64_t> shape;
};

// Adapters of the last `depth` layers and the trained head, in the order of the layers:
//   layers.N.q.lora_a [rank, in], layers.N.q.lora_b [out, rank], and so for each target;
//   head.weight [classes, width], head.bias [classes] where head_outputs > 0.
// Throws InputError on a depth outside 0 to the layers, a rank below 1, or a target that the
// architecture does not have.
std::vector<TensorInfo> adapter_tensors(const nn::Architecture& architecture, int64_t depth,
                                        int64_t rank, const std::vector<nn::Target>& targets,
                                        int64_t head_outputs);

// Elements of all tensors.
int64_t element_count(const std::vector<TensorInfo>& tensors);

// Exact size of the file with these tensors, of 2 (F16), 4 (F32) or 8 (F64) bytes an element.
int64_t payload_bytes(const std::vector<TensorInfo>& tensors, int64_t bytes_per_element);

}  // namespace fedclock::cost
