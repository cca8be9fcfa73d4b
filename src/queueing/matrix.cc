// SPDX-License-Identifier: Apache-2.0
#include "queueing/matrix.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace duly::queueing {

Matrix Matrix::Identity(int size, double value) {
  Matrix identity(size);
  for (int i = 0; i < size; ++i) identity(i, i) = value;
  return identity;
}

void Matrix::Add(const Matrix& other, double factor) {
  for (std::size_t i = 0; i < cells_.size(); ++i) cells_[i] += factor * other.cells_[i];
}

Matrix Multiply(const Matrix& a, const Matrix& b) {
  Matrix product(a.size());
  for (int i = 0; i < a.size(); ++i) {
    for (int k = 0; k < a.size(); ++k) {
      const double factor = a(i, k);
      for (int j = 0; j < a.size(); ++j) product(i, j) += factor * b(k, j);
    }
  }
  return product;
}

Matrix Inverse(Matrix matrix) {
  const int size = matrix.size();
  Matrix inverse = Matrix::Identity(size);
  for (int column = 0; column < size; ++column) {
    int pivot = column;
    for (int row = column + 1; row < size; ++row) {
      if (std::abs(matrix(row, column)) > std::abs(matrix(pivot, column))) pivot = row;
    }
    const double scale = 1 / matrix(pivot, column);
    for (int j = 0; j < size; ++j) {
      std::swap(matrix(pivot, j), matrix(column, j));
      std::swap(inverse(pivot, j), inverse(column, j));
      matrix(column, j) *= scale;
      inverse(column, j) *= scale;
    }
    for (int row = 0; row < size; ++row) {
      if (row == column) continue;
      const double factor = matrix(row, column);
      for (int j = 0; j < size; ++j) {
        matrix(row, j) -= factor * matrix(column, j);
        inverse(row, j) -= factor * inverse(column, j);
      }
    }
  }
  return inverse;
}

Flow FlowOver(const Matrix& matrix, double t) {
  const int size = matrix.size();
  int squarings = 0;
  for (double norm = Distance(matrix, Matrix(size)) * t; norm > 0.5; norm /= 2) ++squarings;
  t = std::ldexp(t, -squarings);
  Flow flow{Matrix::Identity(size), Matrix::Identity(size, t)};
  Matrix term = flow.at_end;
  for (int n = 1; n <= 12; ++n) {
    Matrix next(size);
    next.Add(Multiply(term, matrix), t / n);
    term = std::move(next);
    flow.at_end.Add(term, 1);
    flow.integral.Add(term, t / (n + 1));
  }
  for (int i = 0; i < squarings; ++i) {
    flow.integral.Add(Multiply(flow.at_end, flow.integral), 1);
    flow.at_end = Multiply(flow.at_end, flow.at_end);
  }
  return flow;
}

std::vector<double> StationaryOf(Matrix generator) {
  const int size = generator.size();
  // State n is taken out: what flowed through it flows between the others.
  for (int n = size - 1; n > 0; --n) {
    double out = 0;
    for (int j = 0; j < n; ++j) out += generator(n, j);
    for (int i = 0; i < n; ++i) {
      generator(i, n) /= out;
      for (int j = 0; j < n; ++j) generator(i, j) += generator(i, n) * generator(n, j);
    }
  }
  std::vector<double> x(static_cast<std::size_t>(size));
  x[0] = 1;
  double sum = 1;
  for (int n = 1; n < size; ++n) {
    const auto at = static_cast<std::size_t>(n);
    for (int i = 0; i < n; ++i) x[at] += x[static_cast<std::size_t>(i)] * generator(i, n);
    sum += x[at];
  }
  for (double& value : x) value /= sum;
  return x;
}

double Distance(const Matrix& a, const Matrix& b) {
  double most = 0;
  for (int i = 0; i < a.size(); ++i) {
    double row = 0;
    for (int j = 0; j < a.size(); ++j) row += std::abs(a(i, j) - b(i, j));
    most = std::max(most, row);
  }
  return most;
}

}  // namespace duly::queueing
