// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

namespace duly::queueing {

// A small square matrix, for a handful of classes.
class Matrix {
 public:
  explicit Matrix(int size) : size_(size), cells_(static_cast<std::size_t>(size * size)) {}
  static Matrix Identity(int size, double value = 1);

  int size() const { return size_; }
  double& operator()(int row, int column) {
    return cells_[static_cast<std::size_t>(row * size_ + column)];
  }
  double operator()(int row, int column) const {
    return cells_[static_cast<std::size_t>(row * size_ + column)];
  }
  // this += factor * other
  void Add(const Matrix& other, double factor);
  const std::vector<double>& cells() const { return cells_; }

 private:
  int size_;
  std::vector<double> cells_;
};

Matrix Multiply(const Matrix& a, const Matrix& b);
// By Gauss-Jordan with row exchange; the matrix is regular.
Matrix Inverse(Matrix matrix);
// e^(matrix t) and its integral over [0, t]: scaling and squaring, Taylor's series.
struct Flow {
  Matrix at_end;
  Matrix integral;
};
Flow FlowOver(const Matrix& matrix, double t);
// x with x generator = 0 and sum 1, where the chain has one recurrent class (Grassmann, Taksar and
// Heyman, 1985: no subtractions).
std::vector<double> StationaryOf(Matrix generator);
// The largest sum of absolute differences of a row.
double Distance(const Matrix& a, const Matrix& b);

}  // namespace duly::queueing
