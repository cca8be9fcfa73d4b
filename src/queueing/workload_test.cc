// SPDX-License-Identifier: Apache-2.0
#include "queueing/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "queueing/fcfs.h"
#include "queueing/matrix.h"
#include "queueing/simulation_test_util.h"

namespace duly::queueing {
namespace {

using ::testing::HasSubstr;

constexpr double kProbabilities[] = {0.5, 0.9, 0.95, 0.99, 0.999};

// Crommelin (1932), by Erlang's sum: P(W <= t) for M/D/1 with service 1.
double WaitOfConstantService(double rate, double t) {
  long double sum = 0;
  for (int j = 0; j <= t; ++j) {
    const long double x = static_cast<long double>(rate) * (static_cast<long double>(t) - j);
    sum += std::exp(x) * std::pow(-x, static_cast<long double>(j)) / std::tgamma(j + 1.0L);
  }
  return static_cast<double>((1 - static_cast<long double>(rate)) * sum);
}

TEST(WaitDistribution, OfConstantServiceIsCrommelins) {
  for (const double rho : {0.1, 0.3, 0.5, 0.7, 0.8}) {
    const ClassLoad classes[] = {{rho, {1, 0}}};
    const Result<WaitDistribution> wait =
        WaitDistribution::Create(FcfsWorkload(classes).value(), 0.999);
    ASSERT_TRUE(wait);
    for (double t = 0; t < 12; t += 0.173) {
      EXPECT_NEAR(wait->Probability(0, t), std::min(0.99999, WaitOfConstantService(rho, t)), 1e-3)
          << rho << " " << t;
    }
    const ResponsePart response[] = {{.service = {1, 0}}};
    for (const double q : kProbabilities) {
      const double t = wait->Quantile(response, q).value();
      if (q <= 1 - rho) {
        EXPECT_NEAR(t, 1, 1e-6);
        continue;
      }
      // Inverted: the exact quantile by bisection.
      double low = 0;
      double high = 20;
      for (int i = 0; i < 50; ++i) {
        const double middle = (low + high) / 2;
        (WaitOfConstantService(rho, middle) < q ? low : high) = middle;
      }
      EXPECT_NEAR(t, 1 + high, 0.002 * (1 + high)) << rho << " " << q;
    }
  }
}

TEST(WaitDistribution, OfExponentialServiceIsKnown) {
  for (const double rho : {0.2, 0.5, 0.8, 0.9, 0.95}) {
    const ClassLoad classes[] = {{rho * 50, {0.02, 1}}};
    const Result<WaitDistribution> wait =
        WaitDistribution::Create(FcfsWorkload(classes).value(), 0.999);
    ASSERT_TRUE(wait);
    const ResponsePart response[] = {{.service = {0.02, 1}}};
    for (const double q : kProbabilities) {
      const double exact = -0.02 / (1 - rho) * std::log(1 - q);
      EXPECT_NEAR(wait->Quantile(response, q).value() / exact, 1, 0.005) << rho << " " << q;
    }
  }
}

TEST(WaitDistribution, OfTwoExponentialsIsKnown) {
  // H2 service: the wait is a mixture of two exponentials whose rates are the roots x of
  // x - lambda + lambda (p1 mu1 / (mu1 - x) + p2 mu2 / (mu2 - x)) = 0 (Pollaczek-Khinchine at -x).
  const ServiceTime service{1, 4};
  const double rate = 0.7;
  const std::vector<ErlangPart> parts = ErlangParts(service);
  const double mu1 = parts[0].rate_per_s;
  const double mu2 = parts[1].rate_per_s;
  // (1-rho)(mu1-x)(mu2-x) / ((mu1-x)(mu2-x) - lambda (p1 (mu2-x) + p2 (mu1-x))).
  const double b = mu1 + mu2 - rate;
  const double c = mu1 * mu2 - rate * (parts[0].weight * mu2 + parts[1].weight * mu1);
  const double root = std::sqrt(b * b - 4 * c);
  const double x1 = (b - root) / 2;
  const double x2 = (b + root) / 2;
  const auto residue = [&](double x, double other) {
    return (1 - rate) * (mu1 - x) * (mu2 - x) / (x * (other - x));
  };
  const auto above = [&](double t) {
    return residue(x1, x2) * std::exp(-x1 * t) + residue(x2, x1) * std::exp(-x2 * t);
  };
  ASSERT_NEAR(above(0), rate, 1e-9);
  const ClassLoad classes[] = {{rate, service}};
  const Result<WaitDistribution> wait =
      WaitDistribution::Create(FcfsWorkload(classes).value(), 0.99);
  ASSERT_TRUE(wait);
  for (double t = 0; t < 20; t += 0.31) {
    EXPECT_NEAR(wait->Probability(0, t), 1 - above(t), 2e-3) << t;
  }
}

TEST(WaitDistribution, OfSeveralClassesMeetsSimulation) {
  const ClassLoad classes[] = {{4, {0.0951, 0}}, {40, {0.0029, 0}}, {10, {0.02, 0.3}}};
  const double rates[] = {4, 40, 10};
  const Responses responses = SimulateFcfs(
      rates, 400000, 2,
      [&](int, int now, RandomStream& stream) { return Draw(classes[now].service, stream); });
  const Result<WaitDistribution> wait =
      WaitDistribution::Create(FcfsWorkload(classes).value(), 0.99);
  ASSERT_TRUE(wait);
  for (std::size_t i = 0; i < 3; ++i) {
    const ResponsePart response[] = {{.service = classes[i].service}};
    for (const double q : {0.5, 0.9, 0.95, 0.99}) {
      const Measured observed = QuantileOf(responses[i], q);
      const double predicted = wait->Quantile(response, q).value();
      EXPECT_NEAR(observed.value, predicted, observed.half_width + 0.005 * predicted)
          << i << " " << q;
    }
  }
}

TEST(ExponentialWait, IsAsCloseAsItsHeaderSays) {
  double worst_busy = 0;
  double worst = 0;
  for (const double cv2 : {0.0, 0.1, 0.3, 0.6, 1.0}) {
    for (const double rho : {0.2, 0.3, 0.5, 0.7, 0.8, 0.9}) {
      const ClassLoad load{rho, {1, cv2}};
      const WaitDistribution exact =
          WaitDistribution::Create(FcfsWorkload({&load, 1}).value(), 0.99).value();
      const ExponentialWait cheap = ToExponential(FcfsSingleServer({&load, 1}).value());
      const ResponsePart response[] = {{.service = load.service}};
      for (const double q : {0.9, 0.95, 0.99}) {
        const double off = std::abs(
            ResponseQuantile(cheap, load.service, q) / exact.Quantile(response, q).value() - 1);
        worst = std::max(worst, off);
        if (rho >= 0.5) worst_busy = std::max(worst_busy, off);
      }
    }
  }
  EXPECT_LT(worst_busy, 0.14);
  EXPECT_LT(worst, 0.19);
}

TEST(Workload, OfOnePhaseIsPollaczekKhinchine) {
  const ClassLoad classes[] = {{4, {0.0951, 0}}, {40, {0.0029, 0}}, {10, {0.02, 0.3}}};
  EXPECT_NEAR(FcfsWorkload(classes)->mean_s(), FcfsSingleServer(classes)->mean_s, 1e-15);
  EXPECT_EQ(FcfsWorkload(classes)->idle_phase_probabilities()[0], 1);
}

// Service depends on the class before.
constexpr double kPair[2][2] = {{0.063, 0.044}, {0.082, 0.019}};

Result<Workload> TwoClasses(double first, double second, double cv2) {
  std::vector<PhaseArrival> arrivals;
  for (int i = 0; i < 2; ++i) {
    arrivals.push_back({i, 0, first, {kPair[i][0], cv2}});
    arrivals.push_back({i, 1, second, {kPair[i][1], cv2}});
  }
  return Workload::Create(2, arrivals);
}

TEST(Workload, WithServiceThatDependsOnTheClassBeforeMeetsSimulation) {
  for (const double load : {0.5, 1.0, 1.4}) {
    for (const double cv2 : {0.0, 0.3}) {
      const double rates[] = {6 * load, 7 * load};
      const Result<Workload> work = TwoClasses(rates[0], rates[1], cv2);
      ASSERT_TRUE(work);
      const Responses responses =
          SimulateFcfs(rates, 150000, 5, [&](int before, int now, RandomStream& stream) {
            return Draw({kPair[before][now], cv2}, stream);
          });
      const double p = 6.0 / 13;
      for (int j = 0; j < 2; ++j) {
        const Measured mean = MeanOf(responses[static_cast<std::size_t>(j)]);
        const double service = p * kPair[0][j] + (1 - p) * kPair[1][j];
        EXPECT_NEAR(mean.value, work->mean_s() + service, mean.half_width)
            << load << " " << cv2 << " " << j;
      }
      const Result<WaitDistribution> wait = WaitDistribution::Create(*work, 0.99);
      ASSERT_TRUE(wait);
      for (int j = 0; j < 2; ++j) {
        const ResponsePart parts[] = {{.phase = 0, .service = {kPair[0][j], cv2}},
                                      {.phase = 1, .service = {kPair[1][j], cv2}}};
        for (const double q : {0.5, 0.95, 0.99}) {
          const Measured observed = QuantileOf(responses[static_cast<std::size_t>(j)], q);
          const double predicted = wait->Quantile(parts, q).value();
          EXPECT_NEAR(observed.value, predicted, observed.half_width + 0.005 * predicted)
              << load << " " << cv2 << " " << j << " " << q;
        }
      }
    }
  }
}

TEST(Workload, PhasesThatDoNotMatterChangeNothing) {
  const ServiceTime a{0.05, 0};
  const ServiceTime b{0.02, 0.5};
  const ClassLoad classes[] = {{8, a}, {15, b}};
  const Result<Workload> one = FcfsWorkload(classes);
  const Result<Workload> two =
      Workload::Create(2, {{0, 0, 8, a}, {0, 1, 15, b}, {1, 0, 8, a}, {1, 1, 15, b}});
  ASSERT_TRUE(two);
  EXPECT_NEAR(two->mean_s(), one->mean_s(), 1e-9 * one->mean_s());
  const ResponsePart whole[] = {{.service = a}};
  const ResponsePart parts[] = {{.phase = 0, .service = a}, {.phase = 1, .service = a}};
  const double t1 = WaitDistribution::Create(*one, 0.99)->Quantile(whole, 0.99).value();
  const double t2 = WaitDistribution::Create(*two, 0.99)->Quantile(parts, 0.99).value();
  EXPECT_NEAR(t2, t1, 0.002 * t1);
}

TEST(Workload, DistributionReachesThePhases) {
  const Result<Workload> work = TwoClasses(6, 7, 0);
  const WaitDistribution wait = WaitDistribution::Create(*work, 0.9999).value();
  for (int i = 0; i < 2; ++i) {
    const auto at = static_cast<std::size_t>(i);
    EXPECT_NEAR(wait.Probability(i, 10), work->phase_probabilities()[at], 1e-4);
    EXPECT_NEAR(wait.Probability(i, 0),
                (1 - work->utilization()) * work->idle_phase_probabilities()[at], 1e-4);
    EXPECT_EQ(wait.Probability(i, -1e-9), 0);
  }
}

// Q + Lambda I = Int dD(t) e^(Q t), for services that are single values.
TEST(Workload, DescentOfSwapsSolvesItsEquation) {
  for (const bool alike : {false, true}) {
    for (const double load : {0.2, 0.65}) {
      constexpr int kClasses = 8;
      std::vector<PhaseArrival> arrivals;
      for (int i = 0; i < kClasses; ++i) {
        for (int j = 0; j < kClasses; ++j) {
          const double kind = alike ? j % 2 : j;
          arrivals.push_back(
              {i, j, load * (3 + kind), {0.006 + 0.002 * kind + (i == j ? 0 : 0.012), 0}});
        }
      }
      const Result<Workload> work = Workload::Create(kClasses, arrivals);
      ASSERT_TRUE(work);
      Matrix descent(kClasses);
      for (int i = 0; i < kClasses * kClasses; ++i) {
        descent(i / kClasses, i % kClasses) = work->descent()[static_cast<std::size_t>(i)];
      }
      Matrix sum = Matrix::Identity(kClasses, -work->rate_per_s());
      for (const PhaseArrival& arrival : arrivals) {
        const Matrix moved = FlowOver(descent, arrival.service.mean_s).at_end;
        for (int k = 0; k < kClasses; ++k) {
          sum(arrival.from, k) += arrival.rate_per_s * moved(arrival.to, k);
        }
      }
      EXPECT_LT(Distance(sum, descent), 1e-8 * work->rate_per_s()) << alike << " " << load;
    }
  }
}

TEST(Workload, RefusesBadInput) {
  EXPECT_FALSE(Workload::Create(0, {}));
  EXPECT_FALSE(Workload::Create(17, {}));
  EXPECT_THAT(Workload::Create(1, {}).error().message(), HasSubstr("sum of the rates is 0"));
  EXPECT_EQ(TwoClasses(20, 20, 0).error().code(), StatusCode::kResourceExhausted);
  const Workload work = TwoClasses(6, 7, 0).value();
  EXPECT_FALSE(WaitDistribution::Create(work, 1));
  EXPECT_FALSE(WaitDistribution::Create(work, 0));
  const WaitDistribution wait = WaitDistribution::Create(work, 0.9).value();
  const ResponsePart parts[] = {{.phase = 0, .service = {1, 0}}, {.phase = 1, .service = {1, 0}}};
  EXPECT_THAT(wait.Quantile(parts, 0.95).error().message(), HasSubstr("quantile 0.95: expected"));
}

TEST(Workload, CloseToSaturationEndsWithAnAnswerOrAnError) {
  for (const double rho : {0.99, 0.999, 0.999999}) {
    const ClassLoad classes[] = {{rho, {1, 0}}};
    const Result<WaitDistribution> wait =
        WaitDistribution::Create(FcfsWorkload(classes).value(), 0.99);
    if (!wait) {
      EXPECT_EQ(wait.error().code(), StatusCode::kResourceExhausted);
      continue;
    }
    // Heavy traffic: the wait is exponential.
    const ResponsePart response[] = {{.service = {1, 0}}};
    const double mean = rho / (2 * (1 - rho));
    EXPECT_NEAR(wait->Quantile(response, 0.99).value() / (mean * std::log(100)), 1, 0.02) << rho;
  }
}

}  // namespace
}  // namespace duly::queueing
