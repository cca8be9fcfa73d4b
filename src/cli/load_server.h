// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "model/tensor.h"

namespace duly {

struct LoadShared;
struct LoadTarget;
class LoadWorker;

// What a model's metadata says of it.
struct ModelTensors {
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
};

// What a request says beside its data.
struct LoadRequest {
  struct Input {
    std::string name;
    DataType type = DataType::kFp32;
    Shape shape;
    std::size_t bytes = 0;
  };
  std::string model;
  std::vector<std::pair<std::string, std::variant<bool, std::int64_t, double, std::string>>>
      parameters;
  std::vector<Input> inputs;
};

// A server of the Open Inference Protocol, by one of its two protocols. Threading: any.
class LoadServer {
 public:
  virtual ~LoadServer() = default;

  // kNotFound: it has no such model. kInternal: what it says is no metadata.
  virtual Result<ModelTensors> TensorsOf(const std::string& model) const = 0;
  // Writes what goes before the data of each request: target.head and each input's prefix.
  virtual void Encode(const LoadRequest& request, LoadTarget& target) const = 0;
  // One of the threads of a run. The server must outlive it.
  virtual std::unique_ptr<LoadWorker> MakeWorker(LoadShared& shared, std::uint32_t index) const = 0;
};

// What a server asks of its clients, and they of it.
struct LoadAccess {
  std::string token;   // empty: none is sent
  std::string tls_ca;  // PEM, for grpcs://; empty: those that the system trusts
};

// The server that "http://host[:port][/prefix]" (port 80), "grpc://host[:port]" (8001) or, over
// TLS, "grpcs://host[:port]" names. kInvalidArgument: no such URL. kUnavailable: nobody accepts
// there.
Result<std::unique_ptr<LoadServer>> FindLoadServer(std::string_view url, const LoadAccess& access,
                                                   Duration timeout);

}  // namespace duly
