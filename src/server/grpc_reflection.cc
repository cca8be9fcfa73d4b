// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_reflection.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <reflection.pb.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "server/grpc_connection.h"

namespace duly {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;

constexpr std::array<std::string_view, 3> kServices{"grpc.health.v1.Health",
                                                    "grpc.reflection.v1.ServerReflection",
                                                    "inference.GRPCInferenceService"};

// The file, and what it imports behind it.
void AddFiles(const FileDescriptor* file, grpc::reflection::v1::FileDescriptorResponse& response) {
  std::vector<const FileDescriptor*> files{file};
  std::unordered_set<const FileDescriptor*> known{file};
  for (std::size_t i = 0; i < files.size(); ++i) {
    google::protobuf::FileDescriptorProto text;
    files[i]->CopyTo(&text);
    response.add_file_descriptor_proto(text.SerializeAsString());
    for (int d = 0; d < files[i]->dependency_count(); ++d) {
      if (known.insert(files[i]->dependency(d)).second) files.push_back(files[i]->dependency(d));
    }
  }
}

ServerReflectionResponse AnswerReflection(const ServerReflectionRequest& request) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  const auto fail = [&response](StatusCode code, const std::string& text) {
    response.mutable_error_response()->set_error_code(static_cast<int>(code));
    response.mutable_error_response()->set_error_message(text);
  };
  const auto tell = [&](const FileDescriptor* file, const std::string& what) {
    if (file == nullptr) return fail(StatusCode::kNotFound, fmt::format("no {} here", what));
    AddFiles(file, *response.mutable_file_descriptor_response());
  };
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kFileByFilename:
      tell(pool.FindFileByName(request.file_by_filename()),
           fmt::format("file '{}'", request.file_by_filename()));
      break;
    case ServerReflectionRequest::kFileContainingSymbol:
      tell(pool.FindFileContainingSymbol(request.file_containing_symbol()),
           fmt::format("symbol '{}'", request.file_containing_symbol()));
      break;
    case ServerReflectionRequest::kFileContainingExtension: {
      const auto& asked = request.file_containing_extension();
      const Descriptor* const type = pool.FindMessageTypeByName(asked.containing_type());
      const FieldDescriptor* const extension =
          type == nullptr ? nullptr : pool.FindExtensionByNumber(type, asked.extension_number());
      tell(extension == nullptr ? nullptr : extension->file(),
           fmt::format("extension {} of '{}'", asked.extension_number(), asked.containing_type()));
      break;
    }
    case ServerReflectionRequest::kAllExtensionNumbersOfType: {
      const std::string& name = request.all_extension_numbers_of_type();
      const Descriptor* const type = pool.FindMessageTypeByName(name);
      if (type == nullptr) {
        fail(StatusCode::kNotFound, fmt::format("no type '{}' here", name));
        break;
      }
      auto& numbers = *response.mutable_all_extension_numbers_response();
      numbers.set_base_type_name(name);
      std::vector<const FieldDescriptor*> extensions;
      pool.FindAllExtensions(type, &extensions);
      for (const FieldDescriptor* extension : extensions) {
        numbers.add_extension_number(extension->number());
      }
      break;
    }
    case ServerReflectionRequest::kListServices:
      for (const std::string_view service : kServices) {
        response.mutable_list_services_response()->add_service()->set_name(std::string(service));
      }
      break;
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      fail(StatusCode::kInvalidArgument, "the request asks for nothing that is known here");
      break;
  }
  return response;
}

class ReflectionCall final : public GrpcCall {
 public:
  using GrpcCall::GrpcCall;

 private:
  void OnMessage(GrpcInput message) override {
    ServerReflectionRequest request;
    if (const Status read = ReadMessage(message, shared().options.message_bytes, request);
        !read.ok()) {
      return Finish(read);
    }
    Send(WriteMessage(AnswerReflection(request)));
  }
  void OnLastMessage() override { Finish(Status()); }
  void OnDrain() override {
    Finish(Status(StatusCode::kUnavailable, "the server is shutting down"));
  }
};

}  // namespace

void AddReflectionMethods(GrpcShared& shared) {
  for (const std::string_view version : {"v1", "v1alpha"}) {
    shared.methods[fmt::format("/grpc.reflection.{}.ServerReflection/ServerReflectionInfo",
                               version)] = {.scope = Scope::kRead,
                                            .make = [](std::shared_ptr<GrpcConnection> connection,
                                                       GrpcHead head) -> std::shared_ptr<GrpcCall> {
                                              return std::make_shared<ReflectionCall>(
                                                  std::move(connection), std::move(head));
                                            }};
  }
}

}  // namespace duly
