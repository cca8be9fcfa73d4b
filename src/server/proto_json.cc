// SPDX-License-Identifier: Apache-2.0
#include "server/proto_json.h"

#include <map>
#include <string>
#include <utility>

#include "base/check.h"

namespace duly {
namespace {

using Json = nlohmann::ordered_json;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// The value of a singular field.
Json SingularJson(const Message& message, const Reflection& reflection,
                  const FieldDescriptor* field) {
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection.GetInt32(message, field);
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection.GetInt64(message, field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return reflection.GetUInt32(message, field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return reflection.GetUInt64(message, field);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection.GetDouble(message, field);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return reflection.GetFloat(message, field);
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetBool(message, field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection.GetEnum(message, field)->name();
    case FieldDescriptor::CPPTYPE_STRING:
      DULY_CHECK(field->type() != FieldDescriptor::TYPE_BYTES);
      return reflection.GetString(message, field);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(reflection.GetMessage(message, field));
  }
  return nullptr;
}

// The value of one element; no repeated field of other types is sent.
Json ElementJson(const Message& message, const Reflection& reflection, const FieldDescriptor* field,
                 int index) {
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection.GetRepeatedInt32(message, field, index);
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection.GetRepeatedInt64(message, field, index);
    case FieldDescriptor::CPPTYPE_STRING:
      DULY_CHECK(field->type() != FieldDescriptor::TYPE_BYTES);
      return reflection.GetRepeatedString(message, field, index);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(reflection.GetRepeatedMessage(message, field, index));
    default:
      DULY_CHECK(false);
  }
  return nullptr;
}

// Sorted by key: protobuf's order of map entries changes from run to run.
Json MapJson(const Message& message, const Reflection& reflection, const FieldDescriptor* field) {
  const FieldDescriptor* const key = field->message_type()->map_key();
  const FieldDescriptor* const value = field->message_type()->map_value();
  std::map<std::string, Json> entries;
  for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(message, field, i);
    const Json name = SingularJson(entry, *entry.GetReflection(), key);
    entries[name.is_string() ? name.get<std::string>() : name.dump()] =
        SingularJson(entry, *entry.GetReflection(), value);
  }
  Json object = Json::object();
  for (auto& [name, member] : entries) object[name] = std::move(member);
  return object;
}

}  // namespace

nlohmann::ordered_json ToJson(const Message& message) {
  const Reflection& reflection = *message.GetReflection();
  Json object = Json::object();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* const field = message.GetDescriptor()->field(i);
    Json& member = object[field->name()];
    if (field->is_map()) {
      member = MapJson(message, reflection, field);
    } else if (field->is_repeated()) {
      member = Json::array();
      for (int j = 0; j < reflection.FieldSize(message, field); ++j) {
        member.push_back(ElementJson(message, reflection, field, j));
      }
    } else if (!field->has_presence() || reflection.HasField(message, field)) {
      member = SingularJson(message, reflection, field);
    } else {
      object.erase(field->name());
    }
  }
  return object;
}

}  // namespace duly
