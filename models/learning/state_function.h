// A named pure function of states that is no training: what the files of this folder that make one
// (functions.h) implement, and the graph computes.
#pragma once

#include <functional>
#include <vector>

#include "models/common/digest.h"
#include "models/learning/functions.h"
#include "models/learning/learning_task.h"
#include "models/nn/tensor_map.h"

namespace fedclock::learning {

// Tensors (a state), numbers, or both.
struct Outcome {
  nn::TensorMap tensors;
  std::vector<double> numbers;
};

class StateFunction {
 public:
  using Inputs = std::vector<const nn::TensorMap*>;
  // The base and the rows, loaded when first asked for.
  using Task = std::function<const LearningTask&()>;

  virtual ~StateFunction() = default;
  // What it does, for errors and for its name: change it with what the function computes ("weighted
  // mean 2"), and old results are found no more.
  virtual const char* what() const = 0;
  // Its parameters.
  virtual void add_to(DigestBuilder& name) const = 0;
  // Whether its outcome is worth a place in the store: what is computed faster than it is read is
  // not.
  virtual bool is_kept() const { return true; }
  // Whether its numbers are what it is for: computed at once, so that its inputs' tensors need not
  // be kept until somebody asks.
  virtual bool is_measure() const { return false; }
  // Never changes an input, whose tensors an outcome may share.
  virtual Outcome operator()(const Inputs& inputs, const Task& task) const = 0;
};

// A share, in the name of what was done with it.
void add_share(DigestBuilder& name, const Share& share);

}  // namespace fedclock::learning
