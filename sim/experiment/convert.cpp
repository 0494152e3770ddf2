#include "sim/experiment/convert.h"

#include <algorithm>

#include "models/common/error.h"

namespace fedclock::experiment {

namespace {

constexpr double kGiga = 1e9;
constexpr double kTera = 1e12;

nn::Target target(v1::Target from) {
  ensure(from >= v1::Q && from <= v1::DOWN, "an unspecified target");
  return nn::kAllTargets[static_cast<size_t>(from) - v1::Q];
}

}  // namespace

nn::AdapterSpec adapter_spec(const v1::Scenario& scenario) {
  const v1::Adapter& adapter = scenario.model().adapter();
  const v1::Assignment& assignment = scenario.federation().assignment();
  const v1::UniformAssignment& uniform = assignment.uniform();
  nn::AdapterSpec spec;
  if (assignment.has_prompt()) {  // in the place of adapters, of which nothing counts
    spec.prompt = {assignment.prompt().tokens(), assignment.prompt().encoder()};
    return spec;
  }
  spec.rank = uniform.has_rank() ? uniform.rank() : adapter.rank();
  spec.alpha = adapter.alpha();
  spec.dropout = adapter.dropout();
  if (adapter.targets_size() > 0) spec.targets.clear();
  for (const int from : adapter.targets()) {
    spec.targets.push_back(target(static_cast<v1::Target>(from)));
  }
  if (assignment.has_experts()) spec.top_experts = assignment.experts().top_k();
  if (scenario.federation().local().has_rest_of_world()) {
    spec.top_experts = 2;  // both
    spec.router = nn::Router::kLinear;
  }
  if (scenario.federation().local().has_clustered_experts()) spec.router = nn::Router::kAdaptive;
  return spec;
}

nn::Architecture architecture(const v1::Pretraining& pretraining) {
  const v1::Architecture& a = pretraining.architecture();
  const int64_t vocabulary =
      a.has_vocabulary() ? a.vocabulary() : pretraining.tokenizer().vocabulary();
  const int64_t ffn_width = a.has_ffn_width() ? a.ffn_width() : 4 * a.width();
  if (a.kind() == v1::Architecture::DECODER) {
    return nn::decoder_architecture(a.layers(), a.width(), a.heads(),
                                    a.has_kv_heads() ? a.kv_heads() : a.heads(), ffn_width,
                                    a.max_tokens(), vocabulary);
  }
  if (a.norms() == v1::Architecture::AFTER_BLOCKS) {
    return nn::bert_architecture(a.layers(), a.width(), a.heads(), ffn_width, a.max_tokens(),
                                 vocabulary);
  }
  return nn::encoder_architecture(a.layers(), a.width(), a.heads(), ffn_width, a.max_tokens(),
                                  vocabulary);
}

data::TokenizerTraining tokenizer_training(const v1::Tokenizer& tokenizer) {
  data::TokenizerTraining training;
  if (tokenizer.kind() == v1::Tokenizer::WORDS) training.kind = data::TokenizerKind::kWords;
  training.vocabulary = tokenizer.vocabulary();
  training.lowercase = tokenizer.lowercase();
  return training;
}

learning::PretrainSettings pretrain_settings(const v1::Pretraining& pretraining) {
  learning::PretrainSettings settings;
  settings.steps = pretraining.steps();
  settings.batch_rows = pretraining.batch_size();
  settings.sequence_tokens =
      pretraining.has_sequence_tokens()
          ? pretraining.sequence_tokens()
          : std::min(pretraining.sequence_tokens(), pretraining.architecture().max_tokens());
  settings.learning_rate = pretraining.learning_rate();
  settings.weight_decay = pretraining.weight_decay();
  settings.mask_fraction = pretraining.mask_fraction();
  settings.cooccurrence_embeddings = pretraining.cooccurrence_embeddings();
  settings.seed = pretraining.seed();
  return settings;
}

data::SyntheticSpec synthetic_spec(const v1::SyntheticTask& task) {
  data::SyntheticSpec spec;
  spec.form = task.form() == v1::SyntheticTask::INSTRUCTION ? data::SyntheticForm::kInstruction
                                                            : data::SyntheticForm::kClassification;
  spec.domains = task.domains();
  spec.classes = task.classes();
  spec.seed = task.seed();
  return spec;
}

data::PartitionSpec partition_spec(const v1::Scenario& scenario) {
  const v1::Partition& from = scenario.task().partition();
  data::PartitionSpec spec;
  switch (from.kind_case()) {
    case v1::Partition::kDirichlet:
      spec.kind = data::PartitionSpec::kDirichlet;
      spec.alpha = from.dirichlet().alpha();
      break;
    case v1::Partition::kPathological:
      spec.kind = data::PartitionSpec::kPathological;
      spec.classes_per_client = from.pathological().classes_per_client();
      break;
    case v1::Partition::kDomain: spec.kind = data::PartitionSpec::kDomain; break;
    case v1::Partition::kIid:
    case v1::Partition::KIND_NOT_SET: spec.kind = data::PartitionSpec::kIid; break;
  }
  spec.min_rows = from.min_rows();
  spec.seed = from.has_seed() ? from.seed() : scenario.seed();
  return spec;
}

nn::Precision learning_precision(const v1::Scenario& scenario) {
  return scenario.precision() == v1::BF16 ? nn::Precision::kBf16 : nn::Precision::kFp32;
}

int64_t max_response_tokens(const v1::Task& task) {
  const v1::Instruction& instruction = task.files().instruction();
  return instruction.has_max_response_tokens() ? instruction.max_response_tokens()
                                               : task.max_tokens() / 2;
}

int64_t bytes_per_element(v1::Precision precision) { return precision == v1::FP16 ? 2 : 4; }

int64_t optimizer_moments(const v1::Local& local) {
  if (local.optimizer() != v1::SGD) return 2;
  return local.momentum() > 0 ? 1 : 0;
}

cost::Machine machine(const v1::Device& device, const std::string& mode, v1::Precision precision) {
  const v1::PowerMode* chosen = nullptr;
  for (const v1::PowerMode& candidate : device.modes()) {
    if (mode.empty() || candidate.name() == mode) {
      chosen = &candidate;
      break;
    }
  }
  ensure(chosen != nullptr, "a power mode that validation should have refused");
  cost::Machine result;
  result.name = device.name();
  const double tflops = precision == v1::FP16 ? chosen->fp16_tflops() : chosen->fp32_tflops();
  result.peak_flops = tflops * kTera;
  const bool half = precision == v1::FP16 && device.has_fp16_efficiency();
  result.efficiency = half ? device.fp16_efficiency() : device.efficiency();
  result.memory_efficiency = device.memory_efficiency();
  result.memory_factor = device.memory_factor();
  result.memory_overhead_bytes = device.memory_overhead_gb() * kGiga;
  result.memory_bandwidth_bytes_s = device.memory_bandwidth_gb_s() * kGiga;
  result.memory_bytes = device.memory_gb() * kGiga;
  result.step_overhead_s = device.step_overhead_s();
  return result;
}

}  // namespace fedclock::experiment
