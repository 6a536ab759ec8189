// SPDX-License-Identifier: MIT
// The two worlds that run a batch: the peer as a process, Rhea as a CPU with RAM and nothing else.
#include <elf.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <thread>

#include "accel/accel.h"
#include "core/loop.h"
#include "memory/address_space.h"
#include "random_streams.h"
#include "util/bits.h"
#include "util/log.h"

namespace rhea::streams {

namespace {

constexpr u64 kRamSize = 0x06000000;
constexpr unsigned kPeerSeconds = 60;
constexpr auto kTimeout = std::chrono::seconds(120);

Result<std::vector<u8>> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error("{}: cannot be read", path);
  return std::vector<u8>(std::istreambuf_iterator<char>(file), {});
}

Result<void> load_elf(const std::string& path, memory::AddressSpace& space) {
  const std::vector<u8> data = RHEA_TRY(read_file(path));
  const auto header = load_raw<Elf32_Ehdr>(data.data());
  for (unsigned i = 0; i < header.e_phnum; i++) {
    const auto segment = load_raw<Elf32_Phdr>(data.data() + header.e_phoff + i * sizeof(Elf32_Phdr));
    if (segment.p_type != PT_LOAD || !segment.p_filesz) continue;
    space.write_bytes(segment.p_paddr, std::span(data).subspan(segment.p_offset, segment.p_filesz));
  }
  return {};
}

// The exception's link register as the address of the instruction.
u32 faulting_pc(const Outcome& outcome, bool thumb) {
  if (outcome.marker == 4) return outcome.fault_pc - (thumb ? 2 : 4);
  return outcome.fault_pc - (outcome.marker == 11 ? 4 : 8);
}

}  // namespace

std::vector<u8> make_batch(std::span<const Stream> streams) {
  std::vector<u8> batch(kBatchHeader + streams.size() * sizeof(Test));
  store_le<u32>(batch.data(), static_cast<u32>(streams.size()));
  for (usize i = 0; i < streams.size(); i++)
    std::memcpy(batch.data() + kBatchHeader + i * sizeof(Test), &streams[i].test, sizeof(Test));
  return batch;
}

Result<std::vector<Outcome>> run_peer(const std::string& peer, const std::string& harness, const std::string& model,
                                      std::span<const Stream> streams) {
  const std::vector<u8> batch = make_batch(streams);
  std::FILE* input = std::tmpfile();
  std::FILE* output = std::tmpfile();
  if (!input || !output) return Error("no temporary file");
  std::fwrite(batch.data(), 1, batch.size(), input);
  std::fflush(input);
  std::rewind(input);
  if (const char* file = std::getenv("STREAMS_BATCH"))
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(batch.data()), static_cast<std::streamsize>(batch.size()));
  const pid_t child = fork();
  if (child == 0) {
    dup2(fileno(input), 0);
    dup2(fileno(output), 1);
    alarm(kPeerSeconds);
    execl(peer.c_str(), peer.c_str(), "-cpu", model.c_str(), harness.c_str(), nullptr);
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  std::vector<Outcome> outcomes(streams.size());
  std::rewind(output);
  const usize got = std::fread(outcomes.data(), sizeof(Outcome), outcomes.size(), output);
  std::fclose(input);
  std::fclose(output);
  if (status || got != outcomes.size()) {
    return Error("{} ended with status {:#x} after {} of {} tests", peer, status, got, outcomes.size());
  }
  return outcomes;
}

Result<std::vector<Outcome>> run_rhea(const std::string& harness, const std::string& engine_name,
                                      const std::string& model, u32 log_mask, std::span<const Stream> streams) {
  Log log;
  log.set_mask(log_mask);
  core::LoopThread loop("streams");
  auto ram = RHEA_TRY(memory::RamBlock::create("ram", kRamSize));
  memory::AddressSpace space("system", log);
  space.begin();
  space.add_ram(0, *ram, 0, kRamSize, false, "ram");
  space.commit();
  RHEA_TRY(load_elf(harness, space));
  space.write_bytes(kBatch, make_batch(streams));

  accel::Options options;
  options.engine = engine_name;
  if (engine_name == "tcg-windows") {
    options.engine = "tcg";
    options.eager_windows = true;
  }
  accel::CpuConfig config{.model = model, .reset_pc = kBareStart};
  auto engine = RHEA_TRY(accel::create_engine(options, config, space, loop.loop(), log));
  engine->reset();
  engine->resume();
  const auto deadline = std::chrono::steady_clock::now() + kTimeout;
  volatile u32* done = reinterpret_cast<volatile u32*>(ram->data() + kDone);
  while (!*done && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  engine->pause();
  if (!*done)
    return Error("not finished in time; the CPU is at {:#x}:\n{}", engine->cpu(0).pc(),
                 engine->cpu(0).registers_text());
  std::vector<Outcome> outcomes(streams.size());
  std::memcpy(outcomes.data(), ram->data() + kResults, outcomes.size() * sizeof(Outcome));
  for (usize i = 0; i < outcomes.size(); i++) {
    if (outcomes[i].marker) outcomes[i].fault_pc = faulting_pc(outcomes[i], streams[i].thumb);
  }
  return outcomes;
}

}  // namespace rhea::streams
