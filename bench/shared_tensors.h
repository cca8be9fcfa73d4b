// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "server/shared_object_test_util.h"

namespace duly {

// A client's tensors in system shared memory: the one input of all calls, and an output for each
// call in flight behind it.
class SharedTensors {
 public:
  SharedTensors(std::vector<float> input, std::size_t calls)
      : input_(std::move(input)), calls_(calls), object_(size_bytes()) {
    object_.Put<float>(0, input_);
  }

  const std::string& name() const { return object_.name(); }
  std::string key() const { return object_.Key(); }
  std::size_t tensor_bytes() const { return input_.size() * sizeof(float); }
  std::size_t size_bytes() const { return tensor_bytes() * (1 + calls_); }
  std::size_t OutputAt(std::size_t call) const { return tensor_bytes() * (1 + call); }

  // Whether the outputs are what the model "copy" makes of the input. At the end.
  Status Check() const {
    for (std::size_t call = 0; call < calls_; ++call) {
      if (object_.Get<float>(OutputAt(call), input_.size()) == input_) continue;
      return Status(StatusCode::kInternal, "an output in shared memory is not the input's copy");
    }
    return Status();
  }

 private:
  const std::vector<float> input_;
  const std::size_t calls_;
  SharedObject object_;
};

}  // namespace duly
