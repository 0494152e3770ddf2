// Scenario messages as the plain structures that models/ and sim/platform work with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/cost/machine.h"
#include "models/data/partition.h"
#include "models/data/synthetic.h"
#include "models/learning/base.h"
#include "models/nn/architecture.h"
#include "models/nn/precision.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::experiment {

inline constexpr double kBytesPerMbit = 1e6 / 8;

// The assignment may give another rank than the adapter.
nn::AdapterSpec adapter_spec(const v1::Scenario& scenario);

// The base that fedclock pretrains; its vocabulary is the one given, else the tokeniser's.
nn::Architecture architecture(const v1::Pretraining& pretraining);
data::TokenizerTraining tokenizer_training(const v1::Tokenizer& tokenizer);
learning::PretrainSettings pretrain_settings(const v1::Pretraining& pretraining);

data::SyntheticSpec synthetic_spec(const v1::SyntheticTask& task);
data::PartitionSpec partition_spec(const v1::Scenario& scenario);

// The device in a power mode (empty: its first), with the peak of the precision.
cost::Machine machine(const v1::Device& device, const std::string& mode, v1::Precision precision);
nn::Precision learning_precision(const v1::Scenario& scenario);
// Of rows with responses of their own.
int64_t max_response_tokens(const v1::Task& task);
int64_t bytes_per_element(v1::Precision precision);
int64_t optimizer_moments(const v1::Local& local);

}  // namespace fedclock::experiment
