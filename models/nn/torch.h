// The part of libtorch that fedclock uses: operators, autograd and inference guards. Precompiled;
// torch/torch.h would take 16 s a file.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
