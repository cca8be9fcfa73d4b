// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_server.h"

#include <fmt/format.h>
#include <google/protobuf/stubs/logging.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "server/grpc_call.h"
#include "server/grpc_message.h"
#include "server/log_service.h"
#include "server/thread_count.h"

namespace duly {
namespace {

// Calls of a kind that may come in while none of them has been taken from the queue yet.
constexpr int kAwaitedCalls = 16;

// Moves the value into the message, or returns the failure.
template <typename Message>
Status Give(Result<Message> result, Message& message) {
  if (!result) return result.error();
  message = std::move(*result);
  return Status();
}

// An answer as the calls want it, from one in messages.
template <typename Closure, typename Request, typename Response>
ControlCall::Answer OfBytes(Closure answer, Status (Closure::*)(const Request&, Response&) const,
                            std::size_t limit) {
  return [answer = std::move(answer), limit](grpc::ByteBuffer& bytes) -> Result<grpc::ByteBuffer> {
    Request request;
    DULY_RETURN_IF_ERROR(ReadMessage(bytes, limit, request));
    Response response;
    DULY_RETURN_IF_ERROR(answer(request, response));
    return WriteMessage(response);
  };
}

std::shared_ptr<grpc::ServerCredentials> CredentialsOf(const TlsContext* tls) {
  if (tls == nullptr) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options(
      tls->client_ca().empty() ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                               : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = tls->client_ca();
  options.pem_key_cert_pairs.push_back({tls->key(), tls->certificate()});
  return grpc::SslServerCredentials(options);
}

// Reflection is gRPC's own service: its calls are ended before it sees them, as CANCELLED.
class ReflectionGuard final : public grpc::experimental::Interceptor {
 public:
  ReflectionGuard(const Access& access, grpc::ServerContextBase& context)
      : access_(access), context_(context) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using grpc::experimental::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA) &&
        !CheckAccess(access_, Scope::kRead, context_).ok()) {
      context_.TryCancel();
    }
    methods->Proceed();
  }

 private:
  const Access& access_;
  grpc::ServerContextBase& context_;
};

class ReflectionGuards final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit ReflectionGuards(const Access& access) : access_(access) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    if (!std::string_view(info->method()).starts_with("/grpc.reflection.")) return nullptr;
    return new ReflectionGuard(access_, *info->server_context());  // gRPC deletes it
  }

 private:
  const Access& access_;
};

}  // namespace

class GrpcServer::Impl {
 public:
  Impl(ModelService& service, std::size_t message_bytes, Access access)
      : shared_(service, message_bytes, std::move(access)) {}
  ~Impl();

  Status Start(const GrpcOptions& options);
  std::uint16_t port() const { return static_cast<std::uint16_t>(port_); }
  void SetServing(bool serving);
  void Drain(std::function<void()> done);

 private:
  void AwaitCalls(grpc::ServerCompletionQueue& queue);
  static void Run(grpc::ServerCompletionQueue& queue);

  GrpcShared shared_;
  int port_ = 0;
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues_;
  std::unique_ptr<grpc::Server> server_;
  std::vector<std::jthread> threads_;
  std::jthread drain_;
};

Status GrpcServer::Impl::Start(const GrpcOptions& options) {
  static std::once_flag plugins;
  std::call_once(plugins, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    // It writes a line for each text of a message that is not UTF-8, which the answer says.
    google::protobuf::SetLogHandler(nullptr);
  });
  const bool ipv6 = options.host.find(':') != std::string::npos;
  const std::string address =
      fmt::format(fmt::runtime(ipv6 ? "[{}]:{}" : "{}:{}"), options.host, options.port);
  grpc::ServerBuilder builder;
  // Two servers on one port would share its clients by chance.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Clients connect again by themselves. One that never says what it wants is closed sooner.
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
                             static_cast<int>(ToMillis(options.idle_timeout)));
  // See ReadMessage.
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  builder.SetMaxReceiveMessageSize(static_cast<int>(
      std::min<std::size_t>(options.message_bytes, std::numeric_limits<int>::max())));
  // gRPC looks at a message's size when it has all of it.
  builder.SetResourceQuota(grpc::ResourceQuota("duly").Resize(options.memory_bytes));
  builder.AddListeningPort(address, CredentialsOf(options.tls.get()), &port_);
  builder.RegisterService(&shared_.service);
  if (!shared_.access.is_open()) {
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> guards;
    guards.push_back(std::make_unique<ReflectionGuards>(shared_.access));
    builder.experimental().SetInterceptorCreators(std::move(guards));
  }
  const std::uint32_t threads = ThreadCount(options.threads);
  for (std::uint32_t i = 0; i < threads; ++i) queues_.push_back(builder.AddCompletionQueue());
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || port_ == 0) {
    return Status(StatusCode::kUnavailable,
                  fmt::format("gRPC cannot listen on {}: is the port taken?", address));
  }
  SetServing(false);
  for (const auto& queue : queues_) AwaitCalls(*queue);
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    threads_.emplace_back([this, i] {
      pthread_setname_np(pthread_self(), fmt::format("duly-grpc-{}", i).c_str());
      Run(*queues_[i]);
    });
  }
  return Status();
}

void GrpcServer::Impl::SetServing(bool serving) {
  grpc::HealthCheckServiceInterface& health = *server_->GetHealthCheckService();
  health.SetServingStatus(InferenceService::service_full_name(), serving);
  // The server as a whole.
  health.SetServingStatus("", serving);
}

void GrpcServer::Impl::Run(grpc::ServerCompletionQueue& queue) {
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) static_cast<GrpcEvent*>(tag)->Complete(ok);
}

void GrpcServer::Impl::AwaitCalls(grpc::ServerCompletionQueue& queue) {
  ModelService& models = shared_.models;
  for (int i = 0; i < kAwaitedCalls; ++i) {
    UnaryCall::Await(shared_, queue);
    StreamCall::Await(shared_, queue);
  }
  const auto serve = [&](Scope scope, ControlCall::Request request, auto answer,
                         WorkThread* thread = nullptr) {
    ControlCall::Await(
        shared_, queue, scope, request,
        OfBytes(std::move(answer), &decltype(answer)::operator(), shared_.message_bytes), thread);
  };
  using namespace inference;  // NOLINT: the messages of each call
  serve(Scope::kNone, &GrpcService::RequestServerLive,
        [](const ServerLiveRequest&, ServerLiveResponse& reply) {
          reply.set_live(true);
          return Status();
        });
  serve(Scope::kNone, &GrpcService::RequestServerReady,
        [&models](const ServerReadyRequest&, ServerReadyResponse& reply) {
          reply.set_ready(models.ready());
          return Status();
        });
  serve(Scope::kRead, &GrpcService::RequestServerMetadata,
        [&models](const ServerMetadataRequest&, ServerMetadataResponse& reply) {
          reply = models.ServerMetadata();
          return Status();
        });
  serve(Scope::kRead, &GrpcService::RequestModelReady,
        [&models](const ModelReadyRequest& request, ModelReadyResponse& reply) {
          const auto model = models.FindModel(request.name(), request.version());
          reply.set_ready(model.has_value());
          return model ? Status() : model.error();
        });
  serve(Scope::kRead, &GrpcService::RequestModelMetadata,
        [&models](const ModelMetadataRequest& request, ModelMetadataResponse& reply) {
          return Give(models.ModelMetadata(request.name(), request.version()), reply);
        });
  serve(Scope::kRead, &GrpcService::RequestModelConfig,
        [&models](const ModelConfigRequest& request, ModelConfigResponse& reply) {
          return Give(models.ModelConfig(request.name(), request.version()),
                      *reply.mutable_config());
        });
  serve(Scope::kRead, &GrpcService::RequestModelStatistics,
        [&models](const ModelStatisticsRequest& request, ModelStatisticsResponse& reply) {
          if (request.name().empty()) {
            reply = models.AllStatistics();
            return Status();
          }
          return Give(models.ModelStatistics(request.name(), request.version()), reply);
        });
  serve(Scope::kRead, &GrpcService::RequestRepositoryIndex,
        [&models](const RepositoryIndexRequest& request, RepositoryIndexResponse& reply) {
          return Give(models.RepositoryIndex(request), reply);
        });
  serve(
      Scope::kControl, &GrpcService::RequestRepositoryModelLoad,
      [&models](const RepositoryModelLoadRequest& request, RepositoryModelLoadResponse&) {
        return models.LoadModel(request);
      },
      models.control_thread());
  serve(
      Scope::kControl, &GrpcService::RequestRepositoryModelUnload,
      [&models](const RepositoryModelUnloadRequest& request, RepositoryModelUnloadResponse&) {
        return models.UnloadModel(request);
      },
      models.control_thread());
  const SharedMemoryService& shared_memory = models.shared_memory();
  serve(Scope::kInfer, &GrpcService::RequestSystemSharedMemoryStatus,
        [&shared_memory](const SystemSharedMemoryStatusRequest& request,
                         SystemSharedMemoryStatusResponse& reply) {
          return Give(shared_memory.SystemStatus(request.name()), reply);
        });
  serve(Scope::kInfer, &GrpcService::RequestSystemSharedMemoryRegister,
        [&shared_memory](const SystemSharedMemoryRegisterRequest& request,
                         SystemSharedMemoryRegisterResponse&) {
          return shared_memory.SystemRegister(request);
        });
  serve(Scope::kInfer, &GrpcService::RequestSystemSharedMemoryUnregister,
        [&shared_memory](const SystemSharedMemoryUnregisterRequest& request,
                         SystemSharedMemoryUnregisterResponse&) {
          return shared_memory.SystemUnregister(request.name());
        });
  serve(Scope::kInfer, &GrpcService::RequestCudaSharedMemoryStatus,
        [&shared_memory](const CudaSharedMemoryStatusRequest& request,
                         CudaSharedMemoryStatusResponse& reply) {
          return Give(shared_memory.CudaStatus(request.name()), reply);
        });
  serve(Scope::kInfer, &GrpcService::RequestCudaSharedMemoryRegister,
        [&shared_memory](const CudaSharedMemoryRegisterRequest& request,
                         CudaSharedMemoryRegisterResponse&) {
          return shared_memory.CudaRegister(request.name());
        });
  serve(Scope::kInfer, &GrpcService::RequestCudaSharedMemoryUnregister,
        [&shared_memory](const CudaSharedMemoryUnregisterRequest&,
                         CudaSharedMemoryUnregisterResponse&) {
          return shared_memory.CudaUnregister();
        });
  serve(Scope::kControl, &GrpcService::RequestTraceSetting,
        [&models](const TraceSettingRequest& request, TraceSettingResponse& reply) {
          return Give(models.TraceSetting(request), reply);
        });
  serve(Scope::kControl, &GrpcService::RequestLogSettings,
        [](const LogSettingsRequest& request, LogSettingsResponse& reply) {
          return Give(UpdateLogSettings(request), reply);
        });
}

void GrpcServer::Impl::Drain(std::function<void()> done) {
  std::vector<std::shared_ptr<StreamCall>> streams;
  {
    const MutexLock lock(shared_.mutex);
    shared_.draining = true;
    streams.assign(shared_.streams.begin(), shared_.streams.end());
  }
  for (const auto& stream : streams) stream->Drain();
  drain_ = std::jthread([this, done = std::move(done)] {
    server_->Shutdown();
    done();
  });
}

GrpcServer::Impl::~Impl() {
  if (server_ == nullptr) {
    for (const auto& queue : queues_) queue->Shutdown();
  } else {
    server_->Shutdown(std::chrono::system_clock::now());
    if (drain_.joinable()) drain_.join();
    shared_.open.AwaitNone();
    for (const auto& queue : queues_) queue->Shutdown();
  }
  // Threads end when their queues are empty; without threads they must be emptied here.
  if (threads_.empty()) {
    for (const auto& queue : queues_) Run(*queue);
  }
}

Result<std::unique_ptr<GrpcServer>> GrpcServer::Start(GrpcOptions options, ModelService& service) {
  auto impl = std::make_unique<Impl>(service, options.message_bytes, options.access);
  DULY_RETURN_IF_ERROR(impl->Start(options));
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(impl)));
}

GrpcServer::GrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GrpcServer::~GrpcServer() = default;

std::uint16_t GrpcServer::port() const { return impl_->port(); }
void GrpcServer::SetServing(bool serving) { impl_->SetServing(serving); }
void GrpcServer::Drain(std::function<void()> done) { impl_->Drain(std::move(done)); }

}  // namespace duly
