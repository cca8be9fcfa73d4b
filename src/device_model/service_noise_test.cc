// SPDX-License-Identifier: Apache-2.0
#include "device_model/service_noise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace duly {
namespace {

constexpr NoiseSpec kTenth{NoiseSpec::Kind::kLognormal, 0.1};

std::vector<double> Factors(const NoiseSpec& spec, std::uint64_t seed, std::string_view device,
                            int count) {
  DeviceBehaviour behaviour;
  behaviour.noise = spec;
  ServiceNoise noise(behaviour, seed, device);
  std::vector<double> factors;
  for (int i = 0; i < count; ++i) factors.push_back(noise.Next().factor);
  return factors;
}

struct Moments {
  double mean;
  double cv;
};
Moments MomentsOf(const std::vector<double>& values) {
  const auto count = static_cast<double>(values.size());
  double sum = 0;
  double squares = 0;
  for (const double value : values) {
    EXPECT_GT(value, 0);
    sum += value;
    squares += value * value;
  }
  const double mean = sum / count;
  return {mean, std::sqrt(squares / count - mean * mean) / mean};
}

TEST(ServiceNoise, WithoutNoiseEveryRunTakesTheMean) {
  for (const double factor : Factors({}, 1, "a", 10)) EXPECT_EQ(factor, 1);
}

// Four standard errors of the mean; those of the variation are wider in the lognormal's tail.
TEST(ServiceNoise, HasMeanOneAndTheConfiguredVariation) {
  constexpr int kCount = 20000;
  const Moments lognormal = MomentsOf(Factors({NoiseSpec::Kind::kLognormal, 0.2}, 1, "a", kCount));
  EXPECT_NEAR(lognormal.mean, 1, 4 * 0.2 / std::sqrt(kCount));
  EXPECT_NEAR(lognormal.cv, 0.2, 0.01);
  const Moments exponential =
      MomentsOf(Factors({NoiseSpec::Kind::kExponential, 0}, 1, "a", kCount));
  EXPECT_NEAR(exponential.mean, 1, 4 / std::sqrt(kCount));
  EXPECT_NEAR(exponential.cv, 1, 0.04);
}

TEST(ServiceNoise, SeedAndDeviceNameMakeTheSequence) {
  EXPECT_EQ(Factors(kTenth, 7, "a", 5), Factors(kTenth, 7, "a", 5));
  EXPECT_NE(Factors(kTenth, 7, "a", 5), Factors(kTenth, 8, "a", 5));
  EXPECT_NE(Factors(kTenth, 7, "a", 5), Factors(kTenth, 7, "b", 5));
}

TEST(ServiceNoise, FailsTheRunsThatItIsToldTo) {
  DeviceBehaviour behaviour;
  behaviour.fail_every = 3;
  ServiceNoise noise(behaviour, 1, "a");
  std::vector<std::uint64_t> failed;
  for (int i = 0; i < 7; ++i) {
    const ServiceNoise::Run run = noise.Next();
    if (run.fails) failed.push_back(run.number);
  }
  EXPECT_EQ(failed, (std::vector<std::uint64_t>{3, 6}));
}

}  // namespace
}  // namespace duly
