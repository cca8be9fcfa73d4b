// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "profile/profile.h"

namespace duly {
namespace {

constexpr std::uint32_t kTabulatedRows = 64;

}  // namespace

Result<LatencyCurve> LatencyCurve::Create(std::span<const ProfilePoint> points) {
  LatencyCurve curve;
  curve.knots_.reserve(points.size());
  for (const ProfilePoint& point : points) {
    if (point.rows == 0 || point.mean <= Duration(0)) {
      return Error(StatusCode::kInvalidArgument,
                   "rows {} with mean {} ns: expected rows >= 1 and a mean above zero", point.rows,
                   point.mean.count());
    }
    std::int64_t mean_ns = point.mean.count();
    if (!curve.knots_.empty()) {
      if (point.rows <= curve.knots_.back().rows) {
        return Error(StatusCode::kInvalidArgument, "rows {} after rows {}: expected ascending rows",
                     point.rows, curve.knots_.back().rows);
      }
      mean_ns = std::max(mean_ns, curve.knots_.back().mean_ns);
    }
    curve.knots_.push_back({point.rows, mean_ns});
  }
  for (std::uint32_t rows = 0; !curve.empty() && rows <= kTabulatedRows; ++rows) {
    curve.means_.push_back(curve.Interpolate(rows));
  }
  return curve;
}

Duration LatencyCurve::Mean(std::uint32_t rows) const {
  if (rows < means_.size()) return means_[rows];
  return knots_.empty() ? Duration(0) : Interpolate(rows);
}

Duration LatencyCurve::Interpolate(std::uint32_t rows) const {
  const Knot& first = knots_.front();
  if (rows <= first.rows || knots_.size() == 1) {
    return Duration(first.mean_ns * rows / first.rows);
  }
  auto right = std::lower_bound(knots_.begin(), knots_.end(), rows,
                                [](const Knot& knot, std::uint32_t r) { return knot.rows < r; });
  if (right == knots_.end()) --right;
  const Knot& b = *right;
  const Knot& a = *(right - 1);
  const std::int64_t span = b.rows - a.rows;
  const std::int64_t offset = static_cast<std::int64_t>(rows) - a.rows;
  return Duration(a.mean_ns + (b.mean_ns - a.mean_ns) * offset / span);
}

}  // namespace duly
