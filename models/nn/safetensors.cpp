#include "models/nn/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "models/common/error.h"
#include "models/nn/files.h"
#include "models/nn/torch.h"

namespace fedclock::nn {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation
constexpr size_t kMaxDimensions = 8;
constexpr std::string_view kMetadata = "__metadata__";

struct Dtype {
  std::string_view name;
  uint64_t bytes;
  at::ScalarType stored;
  at::ScalarType kept;  // what read_safetensors() gives
};
constexpr Dtype kDtypes[] = {
    {"F32", 4, at::kFloat, at::kFloat},     {"F16", 2, at::kHalf, at::kFloat},
    {"BF16", 2, at::kBFloat16, at::kFloat}, {"I64", 8, at::kLong, at::kLong},
    {"I32", 4, at::kInt, at::kInt},         {"U8", 1, at::kByte, at::kByte},
    {"BOOL", 1, at::kByte, at::kByte},  // Bytes may be anything, a C++ bool may not.
};

struct Entry {
  std::string name;
  const Dtype* dtype = nullptr;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes after the header
};

[[noreturn]] void fail(const fs::path& path, const std::string& what) {
  throw InputError(
      fmt::format("{}: {}: get the file again or write it with safetensors", path.string(), what));
}

// Names come from the file: keep a message readable whatever they are.
std::string quoted(const std::string& name) {
  constexpr size_t kShown = 100;
  const std::string text = nlohmann::json(name).dump(-1, ' ', true);
  return text.size() <= kShown ? text : text.substr(0, kShown) + "...\"";
}

// The number of bytes of a shape; nullopt when it does not fit in 63 bits.
std::optional<uint64_t> byte_size(const std::vector<int64_t>& shape, uint64_t item_bytes) {
  // Extents of 0 count as 1 in the overflow check, because strides are computed that way.
  int64_t bound = static_cast<int64_t>(item_bytes);
  bool empty = false;
  for (int64_t extent : shape) {
    empty = empty || extent == 0;
    if (__builtin_mul_overflow(bound, std::max<int64_t>(extent, 1), &bound)) return std::nullopt;
  }
  return empty ? 0 : static_cast<uint64_t>(bound);
}

// A whole number in [0, 2^63), or nullopt.
std::optional<int64_t> natural(const nlohmann::json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto number = value.get<uint64_t>();
  if (number > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
  return static_cast<int64_t>(number);
}

std::vector<int64_t> parse_naturals(const fs::path& path, const std::string& name,
                                    const nlohmann::json& entry, const char* field) {
  const auto found = entry.find(field);
  if (found == entry.end() || !found->is_array()) {
    fail(path, fmt::format("tensor {} has no list \"{}\"", quoted(name), field));
  }
  if (found->size() > kMaxDimensions) {
    fail(path, fmt::format("tensor {}: \"{}\" has {} numbers, at most {} are read", quoted(name),
                           field, found->size(), kMaxDimensions));
  }
  std::vector<int64_t> numbers;
  for (const auto& item : *found) {
    const auto number = natural(item);
    if (!number) {
      fail(path,
           fmt::format("tensor {}: \"{}\" holds something other than whole numbers of at least 0",
                       quoted(name), field));
    }
    numbers.push_back(*number);
  }
  return numbers;
}

Entry parse_entry(const fs::path& path, const std::string& name, const nlohmann::json& json,
                  uint64_t data_bytes) {
  if (!json.is_object()) fail(path, fmt::format("tensor {} is no JSON object", quoted(name)));
  Entry entry;
  entry.name = name;
  const auto dtype = json.find("dtype");
  if (dtype == json.end() || !dtype->is_string()) {
    fail(path, fmt::format("tensor {} has no \"dtype\"", quoted(name)));
  }
  const auto& wanted = dtype->get_ref<const std::string&>();
  for (const Dtype& known : kDtypes) {
    if (known.name == wanted) entry.dtype = &known;
  }
  if (entry.dtype == nullptr) {
    throw InputError(
        fmt::format("{}: tensor {} has dtype {}: convert it to F32 (F16, BF16, I64, I32, U8 and "
                    "BOOL are read too)",
                    path.string(), quoted(name), quoted(wanted)));
  }
  entry.shape = parse_naturals(path, name, json, "shape");
  const auto offsets = parse_naturals(path, name, json, "data_offsets");
  if (offsets.size() != 2 || offsets[0] > offsets[1] ||
      static_cast<uint64_t>(offsets[1]) > data_bytes) {
    fail(path, fmt::format("tensor {}: \"data_offsets\" [{}] must be [begin, end] within the {} "
                           "bytes of values; the file may be cut off",
                           quoted(name), fmt::join(offsets, ", "), data_bytes));
  }
  entry.begin = static_cast<uint64_t>(offsets[0]);
  entry.end = static_cast<uint64_t>(offsets[1]);
  const auto bytes = byte_size(entry.shape, entry.dtype->bytes);
  if (!bytes || *bytes != entry.end - entry.begin) {
    fail(path,
         fmt::format("tensor {}: shape [{}] of {} does not take the {} bytes of its "
                     "\"data_offsets\"",
                     quoted(name), fmt::join(entry.shape, ", "), wanted, entry.end - entry.begin));
  }
  return entry;
}

nlohmann::json parse_header(const fs::path& path, const std::string& text) {
  // The parser keeps the last of two equal keys: look for them while it runs.
  std::set<std::string> names;
  std::string repeated;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    if (event == nlohmann::json::parse_event_t::key && depth == 1) {
      const auto& name = parsed.get_ref<const std::string&>();
      if (!names.insert(name).second && repeated.empty()) repeated = quoted(name);
    }
    return true;
  };
  nlohmann::json header;
  try {
    header = nlohmann::json::parse(text, watch);
  } catch (const nlohmann::json::parse_error& error) {
    fail(path, fmt::format("the header is not JSON, wrong at byte {}", kLengthBytes + error.byte));
  } catch (const nlohmann::json::exception&) {  // a number out of range
    fail(path, "the header is not JSON of the format");
  }
  if (!header.is_object()) fail(path, "the header is no JSON object");
  if (!repeated.empty()) fail(path, fmt::format("tensor {} is there twice", repeated));
  return header;
}

// The entries in the order of their bytes, which together are exactly the rest of the file.
std::vector<Entry> parse_entries(const fs::path& path, const nlohmann::json& header,
                                 uint64_t data_bytes) {
  std::vector<Entry> entries;
  for (const auto& [name, json] : header.items()) {
    if (name == kMetadata) continue;
    entries.push_back(parse_entry(path, name, json, data_bytes));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t covered = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != covered) {
      fail(path,
           fmt::format("tensor {} begins at byte {} of the values, {}: {} was expected",
                       quoted(entry.name), entry.begin,
                       entry.begin < covered ? "inside another one" : "after a hole", covered));
    }
    covered = entry.end;
  }
  if (covered != data_bytes) {
    fail(path, fmt::format("{} bytes after the last tensor belong to none", data_bytes - covered));
  }
  return entries;
}

std::string header_text(const TensorMap& tensors, const Metadata& metadata) {
  std::string text = "{";
  const auto comma = [&] {
    if (text.size() > 1) text += ',';
  };
  try {
    if (!metadata.empty()) {
      text += fmt::format("\"{}\":{}", kMetadata, nlohmann::json(metadata).dump());
    }
    uint64_t begin = 0;
    for (const auto& [name, tensor] : tensors) {
      ensure(name != kMetadata, "no tensor is called __metadata__");
      ensure(tensor.defined(), "a tensor to write holds something");
      const auto dtype = std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const Dtype& d) {
        return d.stored == d.kept && d.stored == tensor.scalar_type();
      });
      ensure(dtype != std::end(kDtypes), "a tensor to write is F32, I64, I32 or U8");
      const uint64_t end = begin + static_cast<uint64_t>(tensor.numel()) * dtype->bytes;
      comma();
      text += fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                          nlohmann::json(name).dump(), dtype->name, fmt::join(tensor.sizes(), ","),
                          begin, end);
      begin = end;
    }
  } catch (const nlohmann::json::exception&) {
    throw InputError("a tensor's name or metadata is not UTF-8: rename it");
  }
  text += '}';
  text.append((kLengthBytes - text.size() % kLengthBytes) % kLengthBytes, ' ');
  return text;
}

// Hands the file's bytes to write(pointer, count), tensor by tensor, so that a large base is never
// in memory twice.
template <typename Write>
void serialize(const TensorMap& tensors, const Metadata& metadata, const Write& write) {
  const std::string header = header_text(tensors, metadata);
  const uint64_t length = header.size();
  char prefix[kLengthBytes];
  for (size_t i = 0; i < kLengthBytes; ++i) prefix[i] = static_cast<char>(length >> (8 * i));
  write(prefix, kLengthBytes);
  write(header.data(), header.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor flat = tensor.detach().to(at::kCPU).contiguous();
    write(static_cast<const char*>(flat.data_ptr()), flat.nbytes());
  }
}

TensorMap read_tensors(std::istream& in, uint64_t file_bytes, const fs::path& path) {
  unsigned char prefix[kLengthBytes] = {};
  if (file_bytes < kLengthBytes || !in.read(reinterpret_cast<char*>(prefix), kLengthBytes)) {
    fail(path, fmt::format("{} bytes are too few for a safetensors file", file_bytes));
  }
  uint64_t header_bytes = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) header_bytes |= uint64_t{prefix[i]} << (8 * i);
  if (header_bytes > kMaxHeaderBytes || header_bytes > file_bytes - kLengthBytes) {
    fail(path, fmt::format("a header of {} bytes does not fit in a file of {}; it is cut off or no "
                           "safetensors file",
                           header_bytes, file_bytes));
  }
  std::string text(header_bytes, '\0');
  if (!in.read(text.data(), static_cast<std::streamsize>(header_bytes))) {
    fail(path, "the header cannot be read");
  }
  const uint64_t data_bytes = file_bytes - kLengthBytes - header_bytes;
  TensorMap tensors;
  for (const Entry& entry : parse_entries(path, parse_header(path, text), data_bytes)) {
    at::Tensor stored = at::empty(entry.shape, entry.dtype->stored);
    const auto bytes = static_cast<std::streamsize>(entry.end - entry.begin);
    // Entries come in the order of their bytes, without holes: one pass through the file.
    if (bytes > 0 && !in.read(static_cast<char*>(stored.data_ptr()), bytes)) {
      fail(path, fmt::format("the values of tensor {} cannot be read", quoted(entry.name)));
    }
    tensors.emplace(entry.name, stored.to(entry.dtype->kept));
  }
  return tensors;
}

}  // namespace

TensorMap read_safetensors(const fs::path& path) {
  std::error_code error;
  std::ifstream in(path, std::ios::binary);
  if (!fs::is_regular_file(path, error) || !in) {
    throw InputError(fmt::format("{}: no such file, or it cannot be read", path.string()));
  }
  return read_tensors(in, fs::file_size(path), path);
}

TensorMap parse_safetensors(std::string image, const std::string& source) {
  const uint64_t bytes = image.size();
  std::istringstream in(std::move(image));
  return read_tensors(in, bytes, source);
}

void write_safetensors(const fs::path& path, const TensorMap& tensors, const Metadata& metadata) {
  AtomicFile file(path);
  serialize(tensors, metadata, [&](const char* bytes, size_t count) { file.write(bytes, count); });
  file.commit();
}

std::string safetensors_image(const TensorMap& tensors, const Metadata& metadata) {
  std::string image;
  serialize(tensors, metadata,
            [&](const char* bytes, size_t count) { image.append(bytes, count); });
  return image;
}

}  // namespace fedclock::nn
