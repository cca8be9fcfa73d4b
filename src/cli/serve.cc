// SPDX-License-Identifier: Apache-2.0
#include "cli/serve.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <future>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/build.h"
#include "base/log.h"
#include "base/units.h"
#include "cli/cli.h"
#include "cli/flags.h"
#include "cli/node_setup.h"
#include "platform/memory_limit.h"
#include "policy/registry.h"
#include "runtime/caching_node.h"
#include "runtime/node.h"
#include "runtime/steady_clock.h"
#include "server/access.h"
#include "server/application_service.h"
#include "server/grpc_server.h"
#include "server/http_server.h"
#include "server/model_control.h"
#include "server/model_service.h"
#include "server/shared_memory.h"
#include "server/tls.h"
#include "server/trace_service.h"
#include "telemetry/recorder.h"

namespace duly {
namespace {

struct ServeFlags {
  NodeFlags node;
  std::string host = "127.0.0.1";
  std::string token_file;
  bool insecure = false;
  TlsFiles tls;
  std::uint16_t http_port = 8000;
  std::uint16_t grpc_port = 8001;
  std::uint16_t metrics_port = 8002;
  std::uint32_t http_threads = 0;
  std::uint32_t grpc_threads = 0;
  std::optional<std::uint64_t> max_input_size;
  std::optional<std::uint64_t> input_memory;
  std::optional<std::uint32_t> max_connections_per_client;
  std::string record_file;
  std::string ready_file;
  std::optional<Duration> inline_below;
  std::optional<Duration> grace;
  std::uint32_t exit_timeout_secs = 30;
  bool allow_client_shm = false;
  ModelControlMode control_mode = ModelControlMode::kNone;
  std::vector<std::string> load_models;
  std::uint32_t repository_poll_secs = 15;
  LoadOrder load_order = LoadOrder::kLoadFirst;
  bool exit_on_error = true;
  bool strict_readiness = true;
  std::vector<std::string> trace_config;
  std::string cache_config;
  bool check = false;
  bool list_policies = false;
};

// SIGINT and SIGTERM as a file that becomes readable. Blocked before the first thread starts, so
// that no thread is interrupted by them.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    file_ = signalfd(-1, &set_, SFD_CLOEXEC);
  }
  ~Signals() { close(file_); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // Waits for one of them; 0 when none came in time.
  int Wait(std::optional<Duration> at_most) const {
    pollfd poll_set{file_, POLLIN, 0};
    const int ms = at_most ? static_cast<int>(ToMillis(*at_most)) : -1;
    if (poll(&poll_set, 1, ms) <= 0) return 0;
    signalfd_siginfo info{};
    if (read(file_, &info, sizeof(info)) != sizeof(info)) return 0;
    return static_cast<int>(info.ssi_signo);
  }

 private:
  sigset_t set_{};
  int file_ = -1;
};

std::string WallClock() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text.data();
}

std::string HostName() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

// Written beside its place and moved there: who waits for the file never reads half of it.
Status WriteReadyFile(const std::string& file, const std::string& host, const HttpServer& http,
                      const GrpcServer& grpc) {
  const std::string partial = file + ".partial";
  nlohmann::json ready;
  ready["http"] = fmt::format("{}:{}", host, http.port());
  ready["grpc"] = fmt::format("{}:{}", host, grpc.port());
  if (const auto port = http.metrics_port()) ready["metrics"] = fmt::format("{}:{}", host, *port);
  ready["pid"] = getpid();
  {
    std::ofstream stream(partial);
    stream << ready.dump() << '\n';
    if (!stream.flush()) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("--ready-file {}: cannot be written", file));
    }
  }
  if (std::rename(partial.c_str(), file.c_str()) != 0) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("--ready-file {}: cannot be written", file));
  }
  return Status();
}

// Every connection is a file: many systems start with fewer than the server takes, and let the
// process have more.
void RaiseFileLimit() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

// As Triton's flag; 0: none.
Result<std::size_t> ReadCacheConfig(std::string_view flag) {
  constexpr std::string_view kLocal = "local,size=";
  if (flag.empty()) return 0;
  if (flag.starts_with(kLocal)) {
    if (const auto bytes = ParseSize(flag.substr(kLocal.size())); bytes && *bytes > 0) {
      return *bytes;
    }
  }
  return Error(StatusCode::kInvalidArgument, "--cache-config {}: expected {}BYTES, such as {}64MiB",
               flag, kLocal, kLocal);
}

int Fail(const Status& status, int code) {
  fmt::print(stderr, "{}\n", status.message());
  return code;
}

void ListPolicies() {
  for (const PolicyEntry& entry : DispatchPolicies()) {
    fmt::print("{:16} {}\n", entry.name, entry.description);
    if (!entry.options.empty()) fmt::print("{:16} options: {}\n", "", entry.options);
  }
}

// Not ready, then a grace period in which balancers notice, then drain: nothing accepted is lost.
int ShutDown(const ServeFlags& flags, const Signals& signals, ModelService& service,
             HttpServer& http, GrpcServer& grpc) {
  const Node& node = service.node();
  service.SetReady(false);
  http.Leave();
  grpc.SetServing(false);
  if (flags.grace.value_or(Duration(0)) > Duration(0)) {
    spdlog::info("not ready; serving on for {}", FormatDuration(*flags.grace));
    signals.Wait(flags.grace);
  }
  const std::size_t accepted = node.LiveRequests();
  if (accepted > 0) spdlog::info("answering the last {} requests", accepted);
  const auto drained = std::make_shared<std::array<std::promise<void>, 2>>();
  http.Drain([drained] { (*drained)[0].set_value(); });
  grpc.Drain([drained] { (*drained)[1].set_value(); });
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(flags.exit_timeout_secs);
  const bool done = std::ranges::all_of(*drained, [&](std::promise<void>& server) {
    return server.get_future().wait_until(end) == std::future_status::ready;
  });
  if (!done) {
    spdlog::error("{} requests are unanswered after {} s: exit without them", node.LiveRequests(),
                  flags.exit_timeout_secs);
    // Threads may still hold them: destroying the node would wait for their runs.
    std::_Exit(kExitFailed);
  }
  return kExitDone;
}

// Loads what the mode asks for at the start.
Status LoadAtStart(const ServeFlags& flags, ModelControl& control) {
  const std::vector<std::string>& names = flags.load_models;
  const bool all = flags.control_mode != ModelControlMode::kExplicit ||
                   std::ranges::find(names, "*") != names.end();
  if (all) return control.LoadAll();
  std::vector<std::string> failures;
  for (const std::string& name : names) {
    const Status status = control.Load(name);
    if (!status.ok()) failures.emplace_back(status.message());
  }
  if (failures.empty()) return Status();
  return Status(StatusCode::kInvalidArgument, fmt::format("{}", fmt::join(failures, "\n")));
}

int Serve(ServeFlags flags) {
  if (flags.list_policies) {
    ListPolicies();
    return kExitDone;
  }
  Faults faults;
  // Else they are loaded one by one, by the same rules as later.
  const bool at_once = flags.control_mode == ModelControlMode::kNone && flags.exit_on_error;
  flags.node.read_models = at_once || flags.check;
  NodeSetup setup = ReadNodeSetup(flags.node, faults);
  if (!flags.load_models.empty() && flags.control_mode != ModelControlMode::kExplicit) {
    faults.Add({"", 0, 0, "--load-model without --model-control-mode explicit", ""});
  }
  Access access;
  if (!flags.token_file.empty()) access = Access::Load(flags.token_file, faults);
  const bool knows_clients = !flags.token_file.empty() || !flags.tls.client_ca.empty();
  if (!IsLoopback(flags.host) && !knows_clients && !flags.insecure) {
    faults.Add({"", 0, 0, fmt::format("--host {} opens the server to other machines", flags.host),
                "--tokens FILE or --tls-client-ca FILE, an address of this machine only "
                "(127.0.0.1), or --insecure"});
  }
  std::shared_ptr<const TlsContext> tls;
  if (flags.tls.certificate.empty() != flags.tls.key.empty() ||
      (flags.tls.certificate.empty() && !flags.tls.client_ca.empty())) {
    faults.Add({"", 0, 0, "TLS with less than a certificate and its key",
                "--tls-cert FILE and --tls-key FILE"});
  } else if (!flags.tls.certificate.empty()) {
    Result<std::shared_ptr<const TlsContext>> loaded = TlsContext::Load(flags.tls);
    if (loaded) {
      tls = std::move(*loaded);
    } else {
      faults.Add({"", 0, 0, loaded.error().message(), ""});
    }
  }
  TracerOptions tracing;
  for (const std::string& flag : flags.trace_config) {
    const Status read = ReadTraceFlag(flag, tracing);
    if (!read.ok()) faults.Add({"", 0, 0, read.message(), ""});
  }
  const Result<std::size_t> cache_bytes = ReadCacheConfig(flags.cache_config);
  if (!cache_bytes) faults.Add({"", 0, 0, cache_bytes.error().message(), ""});
  if (!faults.empty()) return Fail(faults.ToStatus(), kExitUsage);
  if (flags.check) {
    fmt::print("{} models, {} applications, {} devices, policy {}: no fault found\n",
               setup.models.size(), setup.config.applications.size(), setup.config.devices.size(),
               setup.policy_name);
    return kExitDone;
  }

  RaiseFileLimit();
  const Signals signals;
  EventLogHeader header;
  header.policy = setup.policy_name;
  header.policy_options = setup.policy_options;
  header.started = WallClock();
  header.start = SteadyClock().Now();
  header.host = HostName();
  header.build = BuildId();

  HttpOptions http;
  http.host = flags.host;
  http.port = flags.http_port;
  http.metrics_port = flags.metrics_port;
  http.access = access;
  http.tls = tls;
  http.threads = flags.http_threads;
  http.limits.body_bytes = flags.max_input_size.value_or(setup.config.limits.body_bytes);
  const std::uint64_t input_memory = flags.input_memory.value_or(
      std::max<std::uint64_t>(ReadMemoryLimit() / 4, http.limits.body_bytes));
  http.memory = std::make_shared<MemoryBudget>(input_memory);
  if (flags.max_connections_per_client) {
    http.clients = std::make_shared<ClientConnections>(*flags.max_connections_per_client);
  }

  ModelControlOptions control_options;
  control_options.repositories = flags.node.repositories;
  control_options.mode = flags.control_mode;
  control_options.order = flags.load_order;
  control_options.poll_every = std::chrono::seconds(flags.repository_poll_secs);
  control_options.check = [config = setup.config](std::span<const ModelSpec> models,
                                                  Faults& wrong) {
    CheckFloors(config, models, wrong);
  };
  const std::vector<ApplicationSpec> declared = setup.config.applications;
  Result<NodeOptions> options = ToNodeOptions(std::move(setup));
  if (!options) return Fail(options.error(), kExitUsage);
  options->inline_below = flags.inline_below.value_or(std::chrono::microseconds(50));
  std::unique_ptr<Recorder> recorder;
  Status recording;
  if (!flags.record_file.empty()) {
    options->make_observer = [&](const EngineConfig& config) -> EventObserver* {
      header.config = config;
      Result<std::unique_ptr<Recorder>> started = Recorder::Start(flags.record_file, header);
      if (!started) {
        recording = started.error();
        return nullptr;
      }
      recorder = std::move(*started);
      return recorder.get();
    };
  }
  // Outlives all that is traced.
  Result<std::unique_ptr<Tracer>> tracer = Tracer::Start(std::move(tracing));
  if (!tracer) return Fail(tracer.error().WithContext("--trace-config"), kExitUsage);
  Result<std::unique_ptr<Node>> node = Node::Start(std::move(*options));
  if (!node) return Fail(node.error(), kExitUsage);
  if (!recording.ok()) return Fail(recording.WithContext("--record"), kExitUsage);
  if (*cache_bytes > 0) *node = MakeCachingNode(*std::move(node), *cache_bytes);
  std::optional<ModelControl> control(std::in_place, std::move(control_options), **node);
  const Status loaded = at_once ? Status() : LoadAtStart(flags, *control);
  if (!loaded.ok()) {
    if (flags.exit_on_error) return Fail(loaded, kExitUsage);
    spdlog::error("serving without what could not be loaded:\n{}", loaded.message());
  }

  GrpcOptions grpc;
  grpc.host = flags.host;
  grpc.port = flags.grpc_port;
  grpc.threads = flags.grpc_threads;
  grpc.message_bytes = http.limits.body_bytes;
  grpc.memory = http.memory;
  grpc.clients = http.clients;
  grpc.access = access;
  grpc.tls = tls;

  std::unique_ptr<SharedMemoryRegistry> shared_memory;
  if (flags.allow_client_shm) {
    shared_memory = std::make_unique<SharedMemoryRegistry>(input_memory);
  }
  std::optional<ApplicationService> applications(
      std::in_place, **node,
      ApplicationServiceOptions{.declared = declared, .memory_bytes = ReadMemoryLimit()});
  ModelService service(**node, shared_memory.get(), &*control, tracer->get(), &*applications);
  Result<std::unique_ptr<HttpServer>> http_server = HttpServer::Start(http, service);
  if (!http_server) return Fail(http_server.error(), kExitFailed);
  Result<std::unique_ptr<GrpcServer>> grpc_server = GrpcServer::Start(grpc, service);
  if (!grpc_server) return Fail(grpc_server.error(), kExitFailed);
  for (const auto& model : (*node)->Models()) {
    if (!model->spec.response_cache || *cache_bytes > 0) continue;
    spdlog::warn("model '{}' has a response_cache, and the node none: --cache-config gives it one",
                 model->spec.name);
  }
  const bool ready = loaded.ok() || !flags.strict_readiness;
  service.SetReady(ready);
  (*grpc_server)->SetServing(ready);
  if (!IsLoopback(flags.host) && !tls) {
    spdlog::warn("nothing is encrypted, tokens neither: --tls-cert and --tls-key");
  }
  spdlog::info("serving {} models on http{}://{}:{} and grpc://{}:{} under {}{}",
               (*node)->Models().size(), tls ? "s" : "", flags.host, (*http_server)->port(),
               flags.host, (*grpc_server)->port(), header.policy,
               IsLoopback(flags.host) ? " (this machine only; --host opens it to others)" : "");
  if (!flags.ready_file.empty()) {
    if (const Status written =
            WriteReadyFile(flags.ready_file, flags.host, **http_server, **grpc_server);
        !written.ok()) {
      return Fail(written, kExitFailed);
    }
  }

  spdlog::info("signal {}", strsignal(signals.Wait(std::nullopt)));
  const int code = ShutDown(flags, signals, service, **http_server, **grpc_server);
  grpc_server->reset();
  http_server->reset();
  applications.reset();
  control.reset();
  node->reset();
  if (recorder != nullptr) {
    if (const Status closed = recorder->Close(); !closed.ok()) {
      spdlog::error("{}: {}", flags.record_file, closed.message());
      return kExitFailed;
    }
  }
  return code;
}

}  // namespace

std::function<int()> AddServeCommand(CLI::App& parser) {
  auto flags = std::make_shared<ServeFlags>();
  parser
      .add_option("--model-repository", flags->node.repositories,
                  "Folder of models, as Triton lays it out (repeatable)")
      ->type_name("DIR")
      ->expected(1)
      ->take_all();
  parser
      .add_option("--model-control-mode", flags->control_mode,
                  "none, poll (follows the folders) or explicit (clients load)")
      ->type_name("MODE")
      ->transform(CLI::CheckedTransformer(std::map<std::string, ModelControlMode>{
                                              {"none", ModelControlMode::kNone},
                                              {"poll", ModelControlMode::kPoll},
                                              {"explicit", ModelControlMode::kExplicit}})
                      .description(""));
  parser
      .add_option("--load-model", flags->load_models,
                  "explicit: load it at the start, * all (repeatable)")
      ->type_name("NAME")
      ->expected(1)
      ->take_all();
  parser
      .add_option("--repository-poll-secs", flags->repository_poll_secs,
                  "poll: how often to look (15)")
      ->type_name("S")
      ->check(CLI::Range(1U, 86'400U).description(""));
  parser
      .add_option("--reload", flags->load_order,
                  "load-first, or unload-first for small memories (load-first)")
      ->type_name("ORDER")
      ->transform(CLI::CheckedTransformer(
                      std::map<std::string, LoadOrder>{{"load-first", LoadOrder::kLoadFirst},
                                                       {"unload-first", LoadOrder::kUnloadFirst}})
                      .description(""));
  parser.add_flag("--exit-on-error", flags->exit_on_error,
                  "=false: start without the models that cannot be loaded");
  parser.add_flag("--strict-readiness", flags->strict_readiness,
                  "=false: be ready without them, too");
  parser.add_option("--config", flags->node.config_file, "Devices, applications, limits")
      ->type_name("FILE");
  parser
      .add_option("--policy", flags->node.policy,
                  "Dispatch policy, NAME or NAME:key=value,... (edf)")
      ->type_name("POLICY");
  parser
      .add_option("--profile", flags->node.profile_file,
                  "Service times from `duly profile` (else measured briefly at start)")
      ->type_name("FILE");
  parser.add_option("--host", flags->host, "Address to listen on (127.0.0.1)")->type_name("IP");
  parser.add_option("--tokens", flags->token_file, "Who may do what (else everybody everything)")
      ->type_name("FILE");
  parser.add_flag("--insecure", flags->insecure, "--host beyond this machine, open to everybody");
  parser.add_option("--tls-cert", flags->tls.certificate, "PEM: TLS on all ports, with --tls-key")
      ->type_name("FILE");
  parser.add_option("--tls-key", flags->tls.key, "PEM: its private key")->type_name("FILE");
  parser
      .add_option("--tls-client-ca", flags->tls.client_ca, "PEM: who signs clients' certificates")
      ->type_name("FILE");
  parser.add_option("--http-port", flags->http_port, "0: any free one (8000)")->type_name("PORT");
  parser.add_option("--grpc-port", flags->grpc_port, "0: any free one (8001)")->type_name("PORT");
  parser.add_option("--metrics-port", flags->metrics_port, "0: any free one (8002)")
      ->type_name("PORT");
  parser.add_option("--http-thread-count", flags->http_threads, "I/O threads (up to 2)")
      ->type_name("N");
  parser.add_option("--grpc-thread-count", flags->grpc_threads, "I/O threads (up to 2)")
      ->type_name("N");
  AddSize(parser, "--http-max-input-size", flags->max_input_size, "Largest body or message (64MiB)")
      ->type_name("B");
  AddSize(parser, "--http-input-memory", flags->input_memory,
          "Of the bodies of all requests together (a quarter of the memory)");
  // Says what it does; words beside it would take a line of their own.
  parser.add_option("--max-connections-per-client", flags->max_connections_per_client, "")
      ->type_name("N")
      ->check(CLI::Range(1U, 1'000'000U).description(""));
  AddDuration(parser, "--inline-below", flags->inline_below,
              "Runs predicted to be shorter stay on the I/O thread (50us)");
  parser.add_option("--record", flags->record_file, "Event log, for `duly replay`")
      ->type_name("FILE");
  parser
      .add_option("--trace-config", flags->trace_config,
                  "Traces of requests: level, rate, count, file, dir, ...=VALUE")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
  parser
      .add_option("--cache-config", flags->cache_config,
                  "local,size=BYTES: answers kept for models with a response_cache")
      ->type_name("CACHE");
  parser.add_option("--ready-file", flags->ready_file, "JSON with the addresses, once ready")
      ->type_name("FILE");
  AddDuration(parser, "--exit-grace", flags->grace,
              "After SIGTERM: not ready, but serving for so long (0)");
  parser
      .add_option("--exit-timeout-secs", flags->exit_timeout_secs,
                  "After that: time for accepted requests (30)")
      ->type_name("S");
  parser.add_flag("--allow-client-shm", flags->allow_client_shm,
                  "Clients may register shared memory of this machine (false)");
  parser.add_flag("--check", flags->check, "Validate everything, start nothing");
  parser.add_flag("--list-policies", flags->list_policies, "Names and options of policies");
  parser.footer("Example: duly serve --model-repository models/repository");
  return [flags] { return Serve(*flags); };
}

}  // namespace duly
