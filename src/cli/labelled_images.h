// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fault.h"
#include "base/result.h"

namespace duly {

// Grey pictures of one size, and what each of them shows.
struct LabelledImages {
  std::uint32_t count = 0;
  std::uint32_t rows = 0;            // pixels
  std::uint32_t columns = 0;         // pixels
  std::vector<std::uint8_t> pixels;  // count * rows * columns, row-major, 0 to 255
  std::vector<std::uint8_t> labels;  // count
};

// The first `limit` pictures (nothing: all) of a folder with one file *-images-idx3-ubyte and one
// *-labels-idx1-ubyte, either of them also with .gz: the format of MNIST
// (http://yann.lecun.com/exdb/mnist, "the IDX file format"). Adds every fault that it finds.
LabelledImages ReadLabelledImages(const std::string& folder, std::optional<std::uint32_t> limit,
                                  Faults& faults);

}  // namespace duly
