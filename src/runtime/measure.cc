// SPDX-License-Identifier: Apache-2.0
#include "runtime/measure.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace duly {
namespace {

Duration Quantile(const std::vector<Duration>& sorted, double q) {
  const auto rank = static_cast<std::size_t>(q * static_cast<double>(sorted.size()));
  return sorted[std::min(rank, sorted.size() - 1)];
}

}  // namespace

std::vector<Tensor> ZeroInputs(const ModelSpec& model, std::uint32_t rows) {
  std::vector<Tensor> inputs;
  for (const TensorSpec& spec : model.inputs) {
    if (spec.optional) continue;
    Tensor tensor;
    tensor.name = spec.name;
    tensor.type = spec.type;
    tensor.shape = spec.shape;
    for (std::int64_t& dimension : tensor.shape) dimension = dimension < 0 ? 1 : dimension;
    if (model.max_rows > 0 && !tensor.shape.empty()) tensor.shape[0] = rows;
    const auto count = static_cast<std::size_t>(ElementCount(tensor.shape).value_or(0));
    // An empty string is four bytes of length zero.
    const std::size_t size =
        count * (spec.type == DataType::kBytes ? sizeof(std::uint32_t) : ElementSize(spec.type));
    auto [buffer, bytes] = Buffer::Allocate(size);
    if (!bytes.empty()) std::memset(bytes.data(), 0, bytes.size());
    tensor.data = std::move(buffer);
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

Result<std::vector<ProfilePoint>> Measure(LoadedVariant& variant, const ModelSpec& model,
                                          const Clock& clock, const MeasureOptions& options) {
  std::vector<ProfilePoint> points;
  const std::uint32_t cap = std::max(1U, std::min(options.max_rows, model.max_rows));
  std::vector<Duration> times;
  for (std::uint32_t rows = 1; rows <= cap; rows = rows < cap ? std::min(rows * 2, cap) : cap + 1) {
    const std::vector<Tensor> inputs = ZeroInputs(model, rows);
    const auto run = [&]() -> Result<Duration> {
      RunItem item;
      item.inputs = inputs;
      item.rows = rows;
      RunTimes run_times;
      const TimePoint start = clock.Now();
      DULY_RETURN_IF_ERROR(variant.Run(std::span(&item, 1), run_times));
      return clock.Now() - start;
    };
    DULY_ASSIGN_OR_RETURN(const Duration first, run());
    static_cast<void>(first);
    times.clear();
    Duration total{0};
    while (times.size() < options.min_runs || total < options.time_per_point) {
      DULY_ASSIGN_OR_RETURN(const Duration time, run());
      times.push_back(time);
      total += time;
      if (times.size() >= 100000) break;
    }
    std::sort(times.begin(), times.end());
    ProfilePoint point;
    point.rows = rows;
    point.mean = std::max(total / static_cast<std::int64_t>(times.size()), Duration(1));
    point.p95 = Quantile(times, 0.95);
    point.p99 = Quantile(times, 0.99);
    point.runs = static_cast<std::uint32_t>(times.size());
    points.push_back(point);
    if (options.progress) options.progress(point);
  }
  return points;
}

}  // namespace duly
