// The shape of a transformer: one description for encoders (BERT, RoBERTa) and decoders (GPT-2,
// Llama), used by the model itself, by the checkpoint files and by the cost model.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fedclock::nn {

enum class Kind { kEncoder, kDecoder };              // sees both sides / causal
enum class Positions { kLearned, kRotary };          // added embeddings / Su et al., 2104.09864
enum class Norm { kLayerNorm, kRmsNorm };            // 1607.06450 / 1910.07467
enum class NormPlace { kAfterBlock, kBeforeBlock };  // BERT / GPT-2, Llama
enum class Activation { kGelu, kGeluTanh, kRelu, kSwiGlu };  // SwiGLU adds a `gate` map

// A linear map of a layer that can carry an adapter. The order is the order of Target in
// scenario.proto.
enum class Target { kQ, kK, kV, kO, kUp, kGate, kDown };
inline constexpr Target kAllTargets[] = {Target::kQ,  Target::kK,    Target::kV,   Target::kO,
                                         Target::kUp, Target::kGate, Target::kDown};

// "q", "k", "v", "o", "up", "gate" or "down".
std::string_view target_name(Target target);

struct Architecture {
  Kind kind = Kind::kEncoder;
  Positions positions = Positions::kLearned;
  Norm norm = Norm::kLayerNorm;
  NormPlace norm_place = NormPlace::kAfterBlock;
  Activation activation = Activation::kGelu;
  int64_t vocabulary = 0;  // tokens
  int64_t layers = 0;
  int64_t width = 0;  // of the residual stream
  int64_t heads = 0;
  int64_t kv_heads = 0;    // a divisor of heads
  int64_t head_width = 0;  // usually width / heads
  int64_t ffn_width = 0;
  int64_t max_tokens = 0;       // longest sequence
  int64_t position_offset = 0;  // row of the first position in the table: 2 in RoBERTa
  int64_t token_types = 0;      // 2 in BERT, 1 in RoBERTa, 0: none
  bool biases = true;           // of the linear maps
  bool qkv_biases = true;       // of q, k and v alone
  bool embedding_norm = true;   // a norm after the embeddings: BERT, RoBERTa
  bool tied_head = true;        // the output head is the token embedding
  double norm_epsilon = 1e-12;
  double rope_theta = 10000.0;  // base of the rotary angles
  // Llama 3's rotary scaling; absent in the others.
  struct RopeScaling {
    double factor = 1, low_frequency_factor = 1, high_frequency_factor = 1;
    double original_max_tokens = 0;
    bool operator==(const RopeScaling&) const = default;
  };
  std::optional<RopeScaling> rope_scaling;

  bool operator==(const Architecture&) const = default;
};

struct LinearShape {
  int64_t in = 0, out = 0;
};
// Shape of a layer's map; nullopt for `gate` where the activation has none.
std::optional<LinearShape> linear_shape(const Architecture& architecture, Target target);

// The whole parameter list of a base, by fedclock's own names, in the order of the forward pass:
//   embeddings.token [vocabulary, width], embeddings.position [offset + max_tokens, width],
//   embeddings.type [types, width], embeddings.norm.{weight,bias} [width],
//   layers.N.{attention_norm,ffn_norm}.{weight,bias} [width],
//   layers.N.{q,k,v,o,gate,up,down}.{weight [out, in],bias [out]},
//   final_norm.{weight,bias} [width] (norm before blocks only), lm_head.weight [vocabulary, width]
//   (untied decoders only). RMS norms have no bias.
struct ParameterShape {
  std::string name;
  std::vector<int64_t> shape;
};
std::vector<ParameterShape> parameter_shapes(const Architecture& architecture);
int64_t parameter_count(const Architecture& architecture);

// Name of a layer's tensor: layer_tensor(3, "q.weight") is "layers.3.q.weight".
std::string layer_tensor(int64_t layer, std::string_view rest);

// Throws InputError unless widths, heads and counts fit together.
void check_architecture(const Architecture& architecture);

// A layer's map, as a place for adapters.
struct Module {
  int64_t layer = 0;
  Target target = Target::kQ;
  auto operator<=>(const Module&) const = default;
};
// Numbers of the experts of each map that has some, ascending.
using ModuleExperts = std::map<Module, std::vector<int32_t>>;

// Embeddings of tokens that no text has, tuned before every row (2104.08691).
struct PromptSpec {
  int64_t tokens = 0;  // 0: none
  // Above 0: the prompt is what a network of two hidden layers, so many times as wide as the model,
  // makes of the embeddings, both tuned (P-tuning, 2103.10385).
  double encoder = 0;
  bool operator==(const PromptSpec&) const = default;
};
// Its tensors: prompt.embedding [tokens, width], and prompt.encoder.{0,1,2}.{weight [out, in],
// bias [out]}. Empty where there is none.
std::vector<ParameterShape> prompt_shapes(const PromptSpec& prompt, int64_t width);
int64_t element_count(const std::vector<ParameterShape>& shapes);

// How a mixture scores its experts for a token x.
enum class Router {
  kTokenProjection,  // <A_i x, W_p x> / sqrt(rank), W_p [rank, in] (FedAMoLE, 2411.19128)
  kLinear,           // W x, W [experts, in]
  // W x, W [2 experts - 1, in], of which a token takes as many as there are experts: the first ones
  // are the experts', the others are the first expert's too, so that a token may go to it alone, or
  // to any of the others besides (FedLEASE's adaptive top-M, 2509.15087).
  kAdaptive,
};
// Rows of its matrix.
inline int64_t router_rows(Router router, int64_t rank, int64_t experts) {
  return router == Router::kTokenProjection ? rank
         : router == Router::kLinear        ? experts
                                            : 2 * experts - 1;
}
// What the router says of a token: a score for each expert, or more.
inline int64_t router_scores(Router router, int64_t experts) {
  return router == Router::kAdaptive ? 2 * experts - 1 : experts;
}
// Of the scores, those that a token takes.
inline int64_t taken_scores(Router router, int64_t experts, int64_t top_experts) {
  return router == Router::kAdaptive || top_experts > experts ? experts : top_experts;
}
// Whose a score is.
inline int64_t expert_of_score(int64_t score, int64_t experts) {
  return score < experts ? score : 0;
}

// What is tuned: LoRA hyper-parameters, and a soft prompt where there is one.
struct AdapterSpec {
  int64_t rank = 8;
  double alpha = 16;
  double dropout = 0;
  std::vector<Target> targets = {Target::kQ, Target::kV};
  int64_t top_experts = 2;  // of a mixture, that a token goes to; kAdaptive knows itself
  Router router = Router::kTokenProjection;
  PromptSpec prompt{};
};

// BERT: norms after the blocks, two token types.
Architecture bert_architecture(int64_t layers, int64_t width, int64_t heads, int64_t ffn_width,
                               int64_t max_tokens, int64_t vocabulary);
// Encoder and decoder of fedclock's own bases. The encoder is RoBERTa with its norms before the
// blocks ("roberta-prelayernorm"): with norms after them, short pretraining on little text hardly
// gets past word frequencies. The decoder is Llama's.
Architecture encoder_architecture(int64_t layers, int64_t width, int64_t heads, int64_t ffn_width,
                                  int64_t max_tokens, int64_t vocabulary);
Architecture decoder_architecture(int64_t layers, int64_t width, int64_t heads, int64_t kv_heads,
                                  int64_t ffn_width, int64_t max_tokens, int64_t vocabulary);

}  // namespace fedclock::nn
