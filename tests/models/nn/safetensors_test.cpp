#include "models/nn/safetensors.h"

#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "models/common/error.h"
#include "models/common/random.h"
#include "tests/models/nn/folder.h"

namespace fedclock::nn {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;

void put(const fs::path& path, const std::string& bytes) {
  // Some file systems flush a file that is cut and written again: 4000 of them would take 20 s.
  fs::remove(path);
  std::ofstream(path, std::ios::binary) << bytes;
}

// A file of this header (not padded) and so many bytes of values.
std::string file_of(const std::string& header, size_t data_bytes) {
  std::string bytes(8, '\0');
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header.size() >> (8 * i));
  return bytes + header + std::string(data_bytes, '\0');
}

TensorMap example() {
  TensorMap map;
  map["b"] = at::arange(6, at::kFloat).reshape({2, 3});
  map["a"] = at::arange(3, at::kLong);
  map["empty"] = at::empty({0, 4}, at::kFloat);
  map["scalar"] = at::full({}, 2.5, at::kFloat);
  return map;
}

void check_equal(const TensorMap& one, const TensorMap& other) {
  REQUIRE(one.size() == other.size());
  for (const auto& [name, tensor] : one) {
    INFO(name);
    REQUIRE(other.contains(name));
    CHECK(tensor.scalar_type() == other.at(name).scalar_type());
    CHECK(at::equal(tensor, other.at(name)));
  }
}

TEST_CASE("the header is compact JSON, sorted by name and padded to 8 bytes") {
  TensorMap map;
  map["w"] = at::arange(6, at::kFloat).reshape({2, 3});
  map["b"] = at::arange(2, at::kLong);
  // 'b' comes first: 2 x 8 bytes, then 6 x 4 bytes.
  const std::string header = R"({"b":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},)"
                             R"("w":{"dtype":"F32","shape":[2,3],"data_offsets":[16,40]}})";
  const std::string image = safetensors_image(map);
  const auto length = static_cast<unsigned char>(image[0]);
  CHECK(length == (header.size() + 7) / 8 * 8);
  CHECK(image.substr(1, 7) == std::string(7, '\0'));
  CHECK(image.substr(8, header.size()) == header);
  CHECK(image.substr(8 + header.size(), length - header.size()) ==
        std::string(length - header.size(), ' '));
  CHECK(image.size() == 8u + length + 40u);
  // The last value is 5.0F = 0x40A00000, little-endian.
  CHECK(image.substr(image.size() - 4) == std::string("\x00\x00\xA0\x40", 4));

  const std::string with_metadata = safetensors_image(map, {{"format", "pt"}});
  CHECK_THAT(with_metadata.substr(8),
             Catch::Matchers::StartsWith(R"({"__metadata__":{"format":"pt"},"b":{"dtype")"));
  CHECK_THAT(safetensors_image({}).substr(8), Catch::Matchers::Equals("{}      "));
}

TEST_CASE("what is written is read back, from any strides, with the same bytes each time") {
  Folder folder;
  TensorMap map = example();
  write_safetensors(folder / "one", map, {{"note", "\"quoted\" and \xC3\xA9"}});
  check_equal(read_safetensors(folder / "one"), map);

  map["b"] = map["b"].t().contiguous().t();  // the same values, other strides
  map["b"].requires_grad_();
  write_safetensors(folder / "two", map, {{"note", "\"quoted\" and \xC3\xA9"}});
  CHECK(content_of(folder / "one") == content_of(folder / "two"));

  write_safetensors(folder / "one", {}, {});  // over an existing file
  CHECK(read_safetensors(folder / "one").empty());
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(folder.path())) files += entry.exists();
  CHECK(files == 2);  // no partial file stays behind
}

TEST_CASE("16-bit numbers become F32") {
  Folder folder;
  // F16: 1.5 = 0x3E00, -2 = 0xC000. BF16: 1.5 = 0x3FC0, -2 = 0xC000.
  const std::string header = R"({"half":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},)"
                             R"("brain":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]},)"
                             R"("flag":{"dtype":"BOOL","shape":[2],"data_offsets":[8,10]}})";
  put(folder / "f",
      file_of(header, 0) + std::string("\x00\x3E\x00\xC0\xC0\x3F\x00\xC0\x01\x00", 10));
  const TensorMap map = read_safetensors(folder / "f");
  const at::Tensor expected = at::tensor({1.5F, -2.0F});
  CHECK(map.at("half").scalar_type() == at::kFloat);
  CHECK(at::equal(map.at("half"), expected));
  CHECK(map.at("brain").scalar_type() == at::kFloat);
  CHECK(at::equal(map.at("brain"), expected));
  CHECK(map.at("flag").scalar_type() == at::kByte);
}

TEST_CASE("each kind of broken file is told with its name, tensor and remedy") {
  struct Case {
    std::string bytes;
    const char* says;
  };
  const auto entry = [](const char* dtype, const char* shape, const char* offsets) {
    return std::string(R"({"t":{"dtype":")") + dtype + R"(","shape":)" + shape +
           R"(,"data_offsets":)" + offsets + "}}";
  };
  const std::vector<Case> cases = {
      {"", "0 bytes are too few"},
      {"1234567", "7 bytes are too few"},
      {std::string(8, '\xFF'), "does not fit in a file of 8"},
      {file_of("{}", 0).substr(0, 9), "does not fit in a file of 9"},
      {file_of("{", 0), "not JSON, wrong at byte"},
      {file_of("[]", 0), "no JSON object"},
      {file_of("\"\xFF\"", 0), "not JSON"},
      {file_of(R"({"t":1e999})", 0), "not JSON"},
      {file_of(R"({"t":1})", 0), "tensor \"t\" is no JSON object"},
      {file_of(R"({"t":{"shape":[1],"data_offsets":[0,4]}})", 4), "has no \"dtype\""},
      {file_of(entry("F8_E4M3", "[4]", "[0,4]"), 4), "convert it to F32"},
      {file_of(R"({"t":{"dtype":"F32","data_offsets":[0,4]}})", 4), "has no list \"shape\""},
      {file_of(R"({"t":{"dtype":"F32","shape":[1]}})", 4), "has no list \"data_offsets\""},
      {file_of(entry("F32", "[-1]", "[0,4]"), 4), "other than whole numbers"},
      {file_of(entry("F32", "[1.0]", "[0,4]"), 4), "other than whole numbers"},
      {file_of(entry("F32", "[18446744073709551615]", "[0,4]"), 4), "other than whole numbers"},
      {file_of(entry("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4), "at most 8"},
      {file_of(entry("F32", "[2]", "[0,4]"), 8), "shape [2] of F32 does not take the 4 bytes"},
      // 2^31 x 2^31 x 4 bytes are 2^64, which would be 0 without the overflow check.
      {file_of(entry("F32", "[2147483648,2147483648]", "[0,0]"), 0), "does not take the 0 bytes"},
      {file_of(entry("F32", "[0,4611686018427387904,8]", "[0,0]"), 0), "does not take the 0"},
      {file_of(entry("F32", "[2]", "[0,8]"), 4), "the file may be cut off"},
      {file_of(entry("F32", "[1]", "[4,0]"), 4), "must be [begin, end]"},
      {file_of(entry("F32", "[1]", "[0,4,8]"), 8), "\"data_offsets\" [0, 4, 8]"},
      {file_of(entry("F32", "[1]", "[4,8]"), 8), "after a hole: 0 was expected"},
      {file_of(entry("F32", "[1]", "[0,4]"), 8), "4 bytes after the last tensor"},
      {file_of(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
               R"("u":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
               12),
       "tensor \"u\" begins at byte 4 of the values, inside another one"},
      {file_of(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
               R"("t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
               4),
       "tensor \"t\" is there twice"},
      {file_of(std::string(100'000, '['), 0), "not JSON"},
  };
  Folder folder;
  for (const Case& broken : cases) {
    INFO(broken.says);
    put(folder / "broken.safetensors", broken.bytes);
    CHECK_THROWS_WITH(read_safetensors(folder / "broken.safetensors"),
                      Contains("broken.safetensors: ") && Contains(broken.says));
    CHECK_THROWS_AS(read_safetensors(folder / "broken.safetensors"), InputError);
  }
  CHECK_THROWS_WITH(read_safetensors(folder / "absent"), Contains("absent: no such file"));
  CHECK_THROWS_AS(read_safetensors(folder.path()), InputError);  // a folder is no file
}

TEST_CASE("files that cannot be written are an input error and leave nothing behind") {
  Folder folder;
  put(folder / "file", "x");
  CHECK_THROWS_AS(write_safetensors(folder / "file/below", example()), InputError);
  fs::create_directory(folder / "busy");
  put(folder / "busy/inside", "x");
  CHECK_THROWS_AS(write_safetensors(folder / "busy", example()), InputError);
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(folder.path())) files += entry.exists();
  CHECK(files == 2);
}

TEST_CASE("no damage makes the reader do anything but refuse or read") {
  Folder folder;
  const std::string intact = safetensors_image(example(), {{"format", "pt"}});
  Random random(1, "fuzz");
  const fs::path path = folder / "f";
  int refused = 0, read = 0;
  for (int i = 0; i < 4000; ++i) {
    std::string bytes = intact;
    // Cut, flip, overwrite by a digit or a bracket (which keeps more of the JSON), or repeat a
    // part.
    const int damages = 1 + static_cast<int>(random.below(3));
    for (int d = 0; d < damages && !bytes.empty(); ++d) {
      const size_t place = random.below(bytes.size());
      const char likely[] = "0123456789[]{},:\"-e.";
      switch (random.below(5)) {
        case 0: bytes.resize(place); break;
        case 1: bytes[place] = static_cast<char>(bytes[place] ^ (1 << random.below(8))); break;
        case 2: bytes[place] = likely[random.below(sizeof(likely) - 1)]; break;
        case 3: bytes.insert(place, bytes.substr(place, random.below(20))); break;
        case 4: bytes.erase(place, random.below(4)); break;
      }
    }
    put(path, bytes);
    try {
      int64_t values = 0;
      for (const auto& [name, tensor] : read_safetensors(path)) values += tensor.numel();
      CHECK(values <= static_cast<int64_t>(bytes.size()));
      ++read;
    } catch (const InputError&) {
      ++refused;
    }
  }
  CHECK(refused > 2000);
  CHECK(read > 100);  // damage to values or metadata goes unseen: the loop reaches that path too
}

}  // namespace
}  // namespace fedclock::nn
