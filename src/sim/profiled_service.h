// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "device_model/device_model.h"
#include "device_model/service_noise.h"
#include "model/model_spec.h"
#include "profile/profile.h"
#include "sim/simulator.h"

namespace duly::sim {

// What the profile says at the step of the device's clock, and the device's noise.
class ProfiledService final : public ServiceModel {
 public:
  // factor, batch_overhead: of what runs really take. step: of the clock, at the start.
  ProfiledService(const DeviceBehaviour& device, ServiceNoise noise, double factor,
                  Duration batch_overhead, std::size_t step)
      : sets_(device),
        noise_(std::move(noise)),
        factor_(factor),
        batch_overhead_(batch_overhead),
        step_(step) {}

  // The next generation, which runs nowhere yet.
  void AddGeneration(const ModelSpec& model) {
    std::vector<Program>& programs = programs_.emplace_back();
    for (const VariantSpec& variant : model.variants) {
      programs.push_back({{}, sets_.Of(model.name, variant.name)});
    }
  }
  // Of a variant of the last one: mean service times alone, by step of the clock.
  void SetCurves(std::size_t variant, std::vector<LatencyCurve> curves) {
    programs_.back()[variant].curves = std::move(curves);
  }

  // Of batches that start from now on.
  void SetStep(std::size_t step) { step_ = step; }

  Service Next(const StartBatch& start) override {
    const ServiceNoise::Run run = noise_.Next();
    const Program& program = programs_[start.generation][start.variant];
    const auto mean_ns = static_cast<double>(program.curves[step_].Mean(start.rows).count());
    return {Duration(static_cast<std::int64_t>(mean_ns * factor_ * run.factor)) + batch_overhead_,
            run.fails, program.on_chip};
  }

 private:
  struct Program {
    std::vector<LatencyCurve> curves;  // empty where it is not placed
    OnChip on_chip;
  };
  OnChipSets sets_;
  ServiceNoise noise_;
  const double factor_;
  const Duration batch_overhead_;
  std::size_t step_;
  std::vector<std::vector<Program>> programs_;  // [generation][variant]
};

}  // namespace duly::sim
