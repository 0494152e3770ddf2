#include "models/cost/presets.h"

#include <fmt/format.h>

#include "models/common/error.h"

namespace fedclock::cost {
namespace {

nn::Architecture bert_base() {
  return nn::bert_architecture(/*layers=*/12, /*width=*/768, /*heads=*/12, /*ffn_width=*/3072,
                               /*max_tokens=*/512, /*vocabulary=*/30522);
}

// RoBERTa's table has 514 rows of positions; the first two are never a token's.
nn::Architecture roberta(int64_t layers, int64_t width, int64_t heads, int64_t ffn_width) {
  auto a = nn::bert_architecture(layers, width, heads, ffn_width, /*max_tokens=*/512,
                                 /*vocabulary=*/50265);
  a.position_offset = 2;
  a.token_types = 1;
  a.norm_epsilon = 1e-5;
  return a;
}

nn::Architecture llama_3_2_1b() {
  auto a = nn::decoder_architecture(/*layers=*/16, /*width=*/2048, /*heads=*/32, /*kv_heads=*/8,
                                    /*ffn_width=*/8192, /*max_tokens=*/131072,
                                    /*vocabulary=*/128256);
  a.rope_theta = 500000.0;
  a.rope_scaling = nn::Architecture::RopeScaling{.factor = 32,
                                                 .low_frequency_factor = 1,
                                                 .high_frequency_factor = 4,
                                                 .original_max_tokens = 8192};
  return a;
}

nn::Architecture llama_2_7b() {
  auto a = nn::decoder_architecture(/*layers=*/32, /*width=*/4096, /*heads=*/32, /*kv_heads=*/32,
                                    /*ffn_width=*/11008, /*max_tokens=*/4096,
                                    /*vocabulary=*/32000);
  a.tied_head = false;
  return a;
}

// The first Qwen: q, k and v have biases, the head is not tied.
nn::Architecture qwen(int64_t layers, int64_t width, int64_t heads, int64_t ffn_width) {
  auto a = nn::decoder_architecture(layers, width, heads, /*kv_heads=*/heads, ffn_width,
                                    /*max_tokens=*/8192, /*vocabulary=*/151936);
  a.tied_head = false;
  a.qkv_biases = true;
  return a;
}

}  // namespace

nn::Architecture architecture_preset(std::string_view name) {
  if (name == "bert-base") return bert_base();
  if (name == "roberta-base") return roberta(12, 768, 12, 3072);
  if (name == "roberta-large") return roberta(24, 1024, 16, 4096);
  if (name == "llama-3.2-1b") return llama_3_2_1b();
  if (name == "llama-2-7b") return llama_2_7b();
  if (name == "qwen-1.8b") return qwen(24, 2048, 16, 5504);
  if (name == "qwen-7b") return qwen(32, 4096, 32, 11008);
  throw InputError(fmt::format("unknown architecture \"{}\": known are {}", name,
                               fmt::join(preset_names(), ", ")));
}

std::vector<std::string> preset_names() {
  return {"bert-base",  "roberta-base", "roberta-large", "llama-3.2-1b",
          "llama-2-7b", "qwen-1.8b",    "qwen-7b"};
}

}  // namespace fedclock::cost
