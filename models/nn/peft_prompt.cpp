#include <nlohmann/json.hpp>

#include "models/nn/files.h"
#include "models/nn/peft.h"
#include "models/nn/safetensors.h"
#include "models/nn/torch.h"

namespace fedclock::nn {

void write_peft_prompt(const std::filesystem::path& folder, const Architecture& architecture,
                       const at::Tensor& prompt, const PeftSettings& settings) {
  write_safetensors(folder / "adapter_model.safetensors",
                    {{"prompt_embeddings", prompt.detach().contiguous()}}, {{"format", "pt"}});
  nlohmann::ordered_json config;
  config["peft_type"] = "PROMPT_TUNING";
  config["task_type"] =
      settings.task == PeftTask::kSequenceClassification ? "SEQ_CLS" : "CAUSAL_LM";
  config["base_model_name_or_path"] = settings.base_name;
  config["num_virtual_tokens"] = prompt.size(0);
  config["token_dim"] = prompt.size(1);
  config["num_transformer_submodules"] = 1;
  config["num_layers"] = architecture.layers;
  config["num_attention_heads"] = architecture.heads;
  config["prompt_tuning_init"] = "RANDOM";
  config["inference_mode"] = true;
  write_json(folder / "adapter_config.json", config);
}

}  // namespace fedclock::nn
