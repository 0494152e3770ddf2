// The learner that computes: jobs are operations of a graph, which computes what is not known.
#pragma once

#include <functional>
#include <memory>

#include "models/data/row.h"
#include "models/learning/base.h"
#include "models/learning/learner.h"
#include "models/learning/store.h"
#include "models/nn/precision.h"

namespace fedclock::learning {

struct LearnerSpec {
  // The base model is loaded, or pretrained, when something is really computed.
  Digest base_name;
  std::function<Base()> base;
  std::string base_origin;        // for people: a folder, or the recipe's name
  nn::Architecture architecture;  // of the base
  nn::AdapterSpec adapter;
  data::Dataset train, test;                       // rows of the clients; rows of the server
  int64_t max_tokens = 64;                         // a row is cut to
  int64_t max_response_tokens = 0;                 // of rows with responses of their own
  int64_t evaluation_rows = 128;                   // rows a forward pass
  std::string numerics;                            // learning_libraries(): other ones, other values
  nn::Precision precision = nn::Precision::kFp32;  // of Device::kCpu
  Device device = Device::kCpu;
  int workers = 1;
  std::shared_ptr<Store> store;  // nullptr: nothing is kept
};

// Starts the workers.
std::unique_ptr<Learner> make_graph_learner(LearnerSpec spec);

}  // namespace fedclock::learning
