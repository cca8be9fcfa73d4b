// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/model_spec.h"
#include "policy/interface/view.h"

namespace duly {

// A declared application as the engine starts with it.
inline Application MakeApplication(const ApplicationSpec& spec) {
  Application application;
  application.name = spec.name;
  application.weight = spec.weight;
  application.slo = spec.slo;
  application.timeout = spec.timeout;
  application.on_miss = spec.on_miss;
  application.min_accuracy_pct = spec.min_accuracy_pct.value_or(0);
  application.accuracy_budget = spec.accuracy_budget;
  return application;
}

}  // namespace duly
