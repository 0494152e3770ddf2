// safetensors: the tensor file of the Hugging Face libraries
// (https://github.com/huggingface/safetensors, "Format"):
//
//   8 bytes     n, the length of the header, little-endian
//   n bytes     JSON {"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},...}, padded with
//               spaces; "__metadata__" may map strings to strings
//   the rest    the values, row-major, little-endian; offsets count from the end of the header and
//               leave neither holes nor overlaps
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "models/nn/tensor_map.h"

namespace fedclock::nn {

using Metadata = std::map<std::string, std::string>;

// Reads all tensors. F16 and BF16 become F32; F32, I64, I32 and U8 stay; BOOL becomes U8. Throws
// InputError that names file, tensor and remedy for every file that breaks the format; memory use
// is bounded by the size of the file.
TensorMap read_safetensors(const std::filesystem::path& path);

// The same from the bytes of such a file; `source` stands for its name in errors.
TensorMap parse_safetensors(std::string image, const std::string& source);

// Writes F32, I64, I32 or U8 tensors of any strides, sorted by name. The header is compact JSON as
// shown above, with "__metadata__" first and only when `metadata` is not empty, padded to a
// multiple of 8 bytes. The same input gives the same bytes; the file appears only when complete.
void write_safetensors(const std::filesystem::path& path, const TensorMap& tensors,
                       const Metadata& metadata = {});

// The bytes of that file.
std::string safetensors_image(const TensorMap& tensors, const Metadata& metadata = {});

}  // namespace fedclock::nn
