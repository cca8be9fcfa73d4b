// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/http_fetch.h"
#include "cli/load_server.h"

namespace duly {

// Over HTTP/1.1: binary tensors, kept connections, each of which carries one request at a time.
class HttpLoadServer final : public LoadServer {
 public:
  explicit HttpLoadServer(HttpEndpoint endpoint) : endpoint_(std::move(endpoint)) {}

  Result<ModelTensors> TensorsOf(const std::string& model) const override;
  void Encode(const LoadRequest& request, LoadTarget& target) const override;
  std::unique_ptr<LoadWorker> MakeWorker(LoadShared& shared, std::uint32_t index) const override;

 private:
  const HttpEndpoint endpoint_;
};

// The answer to GET /v2/models/M. kInternal when it is no such document.
Result<ModelTensors> ParseMetadata(std::string_view metadata);

}  // namespace duly
