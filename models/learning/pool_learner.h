// The learner that computes: jobs run on a pool of threads as soon as what they depend on is known.
#pragma once

#include <memory>

#include "models/data/row.h"
#include "models/learning/base.h"
#include "models/learning/learner.h"

namespace fedclock::learning {

struct LearnerSpec {
  Base base;
  nn::AdapterSpec adapter;
  data::Dataset train, test;      // rows of the clients; rows of the server
  int64_t max_tokens = 64;        // a row is cut to
  int64_t evaluation_rows = 128;  // rows a forward pass
  int workers = 1;
};

// Encodes the rows and starts the workers.
std::unique_ptr<Learner> make_pool_learner(const LearnerSpec& spec);

}  // namespace fedclock::learning
