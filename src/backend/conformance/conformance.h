// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "backend/interface/backend.h"
#include "model/model_spec.h"
#include "model/tensor.h"

namespace duly::conformance {

// A back end under test.
struct Subject {
  std::string name;
  std::function<std::unique_ptr<Backend>()> make;
  // Completes the spec of one of the suite's models (back end, file), by its name:
  //   "identity_fp32" and so on for each data type: y = x, both [-1,-1]
  //   "pair": p = a (FP32), q = b (INT32), all [-1,-1]
  std::function<void(ModelSpec&)> prepare;
  // False: answers are zeros of the right types and shapes, free dimensions being 1.
  bool computes = true;
  // True: of an INT64 the lower 32 bits are kept, with their sign.
  bool narrows_int64 = false;
};
inline std::ostream& operator<<(std::ostream& out, const Subject& subject) {
  return out << subject.name;
}
inline std::string SubjectName(const testing::TestParamInfo<Subject>& info) {
  return info.param.name;
}

// INSTANTIATE_TEST_SUITE_P(Copy, BackendConformance, testing::Values(Subject{...}), SubjectName);
class BackendConformance : public testing::TestWithParam<Subject> {};
// In addition, for back ends whose Load reads VariantSpec::file.
class BackendFileConformance : public BackendConformance {};

// Helpers for back ends' own tests too.

// A tensor with made-up content that depends on `seed`: any bytes, BOOL only 0 and 1, BYTES strings
// of 0 to 20 bytes, zero bytes among them.
Tensor MakeTensor(std::string name, DataType type, Shape shape, std::uint64_t seed);
template <typename T>
Tensor TensorOf(std::string name, DataType type, Shape shape, const std::vector<T>& values) {
  return {std::move(name), type, std::move(shape),
          Buffer::CopyOf(std::as_bytes(std::span<const T>(values)))};
}
template <typename T>
std::vector<T> ValuesOf(const Tensor& tensor) {
  const auto* const first = reinterpret_cast<const T*>(tensor.data.data().data());
  return std::vector<T>(first, first + tensor.data.size() / sizeof(T));
}
std::vector<std::byte> BytesOf(const Tensor& tensor);

// Runs one item and checks that it succeeds.
std::vector<Tensor> RunAlone(LoadedVariant& variant, const std::vector<Tensor>& inputs,
                             std::uint32_t rows, const std::vector<std::uint32_t>& wanted = {});

}  // namespace duly::conformance
