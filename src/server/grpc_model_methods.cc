// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_model_methods.h"

#include <inference.pb.h>

#include <string>
#include <string_view>
#include <utility>

#include "server/grpc_control.h"
#include "server/log_service.h"

namespace duly {
namespace {

// Moves the value into the message, or returns the failure.
template <typename Message>
Status Give(Result<Message> result, Message& message) {
  if (!result) return result.error();
  message = std::move(*result);
  return Status();
}

}  // namespace

void AddModelMethods(GrpcShared& shared) {
  using namespace inference;  // NOLINT: the messages of each call
  ModelService& models = shared.models;
  const auto serve = [&](std::string_view name, Scope scope, auto answer,
                         WorkThread* thread = nullptr) {
    AddMessageMethod(shared, std::string("/inference.GRPCInferenceService/").append(name), scope,
                     std::move(answer), thread);
  };
  serve("ServerLive", Scope::kNone, [](const ServerLiveRequest&, ServerLiveResponse& reply) {
    reply.set_live(true);
    return Status();
  });
  serve("ServerReady", Scope::kNone,
        [&models](const ServerReadyRequest&, ServerReadyResponse& reply) {
          reply.set_ready(models.ready());
          return Status();
        });
  serve("ServerMetadata", Scope::kRead,
        [&models](const ServerMetadataRequest&, ServerMetadataResponse& reply) {
          reply = models.ServerMetadata();
          return Status();
        });
  serve("ModelReady", Scope::kRead,
        [&models](const ModelReadyRequest& request, ModelReadyResponse& reply) {
          const auto model = models.FindModel(request.name(), request.version());
          reply.set_ready(model.has_value());
          return model ? Status() : model.error();
        });
  serve("ModelMetadata", Scope::kRead,
        [&models](const ModelMetadataRequest& request, ModelMetadataResponse& reply) {
          return Give(models.ModelMetadata(request.name(), request.version()), reply);
        });
  serve("ModelConfig", Scope::kRead,
        [&models](const ModelConfigRequest& request, ModelConfigResponse& reply) {
          return Give(models.ModelConfig(request.name(), request.version()),
                      *reply.mutable_config());
        });
  serve("ModelStatistics", Scope::kRead,
        [&models](const ModelStatisticsRequest& request, ModelStatisticsResponse& reply) {
          if (request.name().empty()) {
            reply = models.AllStatistics();
            return Status();
          }
          return Give(models.ModelStatistics(request.name(), request.version()), reply);
        });
  serve("RepositoryIndex", Scope::kRead,
        [&models](const RepositoryIndexRequest& request, RepositoryIndexResponse& reply) {
          return Give(models.RepositoryIndex(request), reply);
        });
  serve(
      "RepositoryModelLoad", Scope::kControl,
      [&models](const RepositoryModelLoadRequest& request, RepositoryModelLoadResponse&) {
        return models.LoadModel(request);
      },
      models.control_thread());
  serve(
      "RepositoryModelUnload", Scope::kControl,
      [&models](const RepositoryModelUnloadRequest& request, RepositoryModelUnloadResponse&) {
        return models.UnloadModel(request);
      },
      models.control_thread());
  const SharedMemoryService& shared_memory = models.shared_memory();
  serve("SystemSharedMemoryStatus", Scope::kInfer,
        [&shared_memory](const SystemSharedMemoryStatusRequest& request,
                         SystemSharedMemoryStatusResponse& reply) {
          return Give(shared_memory.SystemStatus(request.name()), reply);
        });
  serve("SystemSharedMemoryRegister", Scope::kInfer,
        [&shared_memory](const SystemSharedMemoryRegisterRequest& request,
                         SystemSharedMemoryRegisterResponse&) {
          return shared_memory.SystemRegister(request);
        });
  serve("SystemSharedMemoryUnregister", Scope::kInfer,
        [&shared_memory](const SystemSharedMemoryUnregisterRequest& request,
                         SystemSharedMemoryUnregisterResponse&) {
          return shared_memory.SystemUnregister(request.name());
        });
  serve("CudaSharedMemoryStatus", Scope::kInfer,
        [&shared_memory](const CudaSharedMemoryStatusRequest& request,
                         CudaSharedMemoryStatusResponse& reply) {
          return Give(shared_memory.CudaStatus(request.name()), reply);
        });
  serve("CudaSharedMemoryRegister", Scope::kInfer,
        [&shared_memory](const CudaSharedMemoryRegisterRequest& request,
                         CudaSharedMemoryRegisterResponse&) {
          return shared_memory.CudaRegister(request.name());
        });
  serve("CudaSharedMemoryUnregister", Scope::kInfer,
        [&shared_memory](const CudaSharedMemoryUnregisterRequest&,
                         CudaSharedMemoryUnregisterResponse&) {
          return shared_memory.CudaUnregister();
        });
  serve("TraceSetting", Scope::kControl,
        [&models](const TraceSettingRequest& request, TraceSettingResponse& reply) {
          return Give(models.TraceSetting(request), reply);
        });
  serve("LogSettings", Scope::kControl,
        [](const LogSettingsRequest& request, LogSettingsResponse& reply) {
          return Give(UpdateLogSettings(request), reply);
        });
}

}  // namespace duly
