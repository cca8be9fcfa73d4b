// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>

namespace duly {

// A message as the JSON that the HTTP form of the protocol has for it: names as in the .proto,
// numbers as numbers (protobuf's own printer quotes 64-bit ones), enumerations by name, maps as
// objects. Fields without presence are written even when they are zero; unset messages, unset
// members of a oneof and unset optional fields are left out. Fields of type bytes are not
// supported.
nlohmann::ordered_json ToJson(const google::protobuf::Message& message);

}  // namespace duly
