// The cost model in one include: how much work, memory and traffic a training plan needs, and how
// long a machine takes for it. Everything here is a pure function; nothing is measured.
#pragma once

#include "models/cost/machine.h"
#include "models/cost/memory.h"
#include "models/cost/payload.h"
#include "models/cost/plan.h"
#include "models/cost/presets.h"
#include "models/cost/work.h"
