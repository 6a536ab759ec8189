// SPDX-License-Identifier: MIT
// Uses an image as a guest would, at random from a seed, and knows at each moment what must be in it.
//
//   exercise random IMAGE FORMAT MODEL SEED COUNT [AIO [CACHE]]
//     COUNT rounds of requests in flight together (writes, zeroes, discards, reads, flushes), of snapshots, of
//     other sizes and of closing and opening. MODEL is a raw file with the disk's content, read at the start and
//     written at the end. Ends with 1 and a line when the image and the model differ.
//   exercise durable IMAGE FORMAT SEED
//     Writes numbered blocks and flushes, again and again, and prints after each flush how many rounds are safe,
//     until it is killed.
//   exercise verify IMAGE FORMAT SEED ROUNDS
//     Whether what the first ROUNDS rounds of `durable` wrote is there (or was overwritten by later ones).
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "block/image.h"
#include "core/loop.h"
#include "sys/file.h"
#include "util/text.h"

using namespace rhea;

namespace {

[[noreturn]] void fail(const std::string& message) {
  std::fprintf(stderr, "exercise: %s\n", message.c_str());
  std::exit(1);
}

template <typename T>
T must(Result<T> result, const char* what) {
  if (!result.ok()) fail(fmt::format("{}: {}", what, result.error().message()));
  return result.take();
}

class Exercise {
 public:
  Exercise(block::ImageSpec spec, std::string model_path, u64 seed)
      : spec_(std::move(spec)), model_path_(std::move(model_path)), random_(seed) {
    model_ = must(sys::read_file(model_path_), "model");
    open();
    model_.resize(image_->size());
  }

  void run(unsigned rounds) {
    for (unsigned i = 0; i < rounds; ++i) {
      round_ = i;
      const u64 choice = random_() % 100;
      if (choice < 80) batch();
      else if (choice < 86) open();
      else if (choice < 92) snapshots();
      else if (choice < 96) resize();
      else compare(0, model_.size());
    }
    compare(0, model_.size());
    image_.reset();
    must(sys::write_file(model_path_, model_), "model");
  }

 private:
  struct Flight {
    block::Request request;
    std::vector<u8> data;
    bool ended = false;
    bool ok = false;
  };

  void open() {
    image_.reset();
    image_ = must(block::open_image(spec_), "open");
    image_->attach(loop_);
  }

  std::pair<u64, u64> random_range() {
    static constexpr u64 kSizes[] = {512, 1024, 4096, 65536, 131072, 1 << 20};
    const u64 sectors = model_.size() / 512;
    u64 offset = random_() % sectors * 512;
    u64 size = kSizes[random_() % std::size(kSizes)];
    if (random_() % 2) size = (random_() % size / 512 + 1) * 512;
    if (random_() % 3 == 0) offset = offset / 65536 * 65536;
    return {offset, std::min<u64>(size, model_.size() - offset)};
  }

  // Requests that do not touch each other, in flight together.
  void batch() {
    std::vector<std::unique_ptr<Flight>> flights;
    std::map<u64, u64> taken;
    const unsigned count = 1 + random_() % 12;
    for (unsigned i = 0; i < count; ++i) {
      const auto [offset, size] = random_range();
      const bool clash = std::any_of(taken.begin(), taken.end(), [&, o = offset, s = size](const auto& other) {
        return o < other.first + other.second && other.first < o + s;
      });
      if (clash || !size) continue;
      taken[offset] = size;
      auto flight = std::make_unique<Flight>();
      static constexpr block::Op kOps[] = {block::Op::write,   block::Op::write, block::Op::write,
                                           block::Op::read,    block::Op::read,  block::Op::write_zeroes,
                                           block::Op::discard, block::Op::flush};
      block::Request& request = flight->request;
      request.op = kOps[random_() % std::size(kOps)];
      request.offset = offset;
      request.size = size;
      request.unmap = random_() % 2;
      request.fua = random_() % 8 == 0;
      if (request.op == block::Op::read || request.op == block::Op::write) fill(*flight);
      flights.push_back(std::move(flight));
    }
    for (auto& flight : flights) start(*flight);
    if (random_() % 2) image_->drain();
    while (std::any_of(flights.begin(), flights.end(), [](const auto& flight) { return !flight->ended; }))
      loop_.run_once();
    for (auto& flight : flights) settle(*flight);
  }

  void fill(Flight& flight) {
    flight.data.resize(flight.request.size);
    if (flight.request.op == block::Op::write && random_() % 8) {
      const u64 word = random_();
      for (usize i = 0; i < flight.data.size(); ++i)
        flight.data[i] = static_cast<u8>(word >> (i / 512 % 8 * 8)) + static_cast<u8>(i / 512);
    }
    for (u64 done = 0; done < flight.data.size();) {  // scattered memory
      const u64 part =
          std::min<u64>(flight.data.size() - done, random_() % 4 ? flight.data.size() : 512 * (1 + random_() % 16));
      flight.request.segments.push_back({flight.data.data() + done, part});
      done += part;
    }
  }

  void start(Flight& flight) {
    block::Request request = flight.request;
    request.done = [&flight](block::IoResult result) {
      flight.ended = true;
      flight.ok = result.ok();
      if (!result.ok()) std::fprintf(stderr, "exercise: %s\n", result.message.c_str());
    };
    auto result = image_->start(std::move(request));
    if (!result) return;
    flight.ended = true;
    flight.ok = result->ok();
    if (!result->ok()) std::fprintf(stderr, "exercise: %s\n", result->message.c_str());
  }

  void settle(Flight& flight) {
    const block::Request& request = flight.request;
    if (!flight.ok)
      fail(fmt::format("round {}: request {} at {} of {} failed", round_, static_cast<int>(request.op), request.offset,
                       request.size));
    u8* model = model_.data() + request.offset;
    switch (request.op) {
      case block::Op::write: std::memcpy(model, flight.data.data(), request.size); break;
      case block::Op::write_zeroes: std::memset(model, 0, request.size); break;
      case block::Op::read:
        if (std::memcmp(model, flight.data.data(), request.size) != 0)
          fail(fmt::format("round {}: wrong data read at {}", round_, request.offset));
        break;
      case block::Op::discard: settle_discard(request.offset, request.size); break;
      case block::Op::flush: break;
    }
  }

  // Each byte is what it was, or zero.
  void settle_discard(u64 offset, u64 size) {
    std::vector<u8> now(size);
    must(image_->read(offset, now), "read");
    for (u64 i = 0; i < size; ++i) {
      if (now[i] && now[i] != model_[offset + i])
        fail(fmt::format("round {}: after a discard byte {} is neither old nor zero", round_, offset + i));
    }
    std::copy(now.begin(), now.end(), model_.begin() + static_cast<std::ptrdiff_t>(offset));
  }

  void snapshots() {
    if (!image_->can_snapshot() || spec_.format != "qcow2") return;
    // A cluster is counted for the disk, for each snapshot, for all compressed ones in it, and once more for a snapshot
    // that is made or applied: narrow counts may not reach so far. Then it is refused, and everything is as it was.
    const bool may_refuse = image_->info().refcount_bits < 16;
    const u64 choice = random_() % 3;
    if (choice == 0 || saved_.empty()) {
      if (saved_.size() >= 3) return;
      const std::string name = fmt::format("at-{}", round_);
      std::vector<u8> state(random_() % 3 ? 0 : 1 + random_() % 300000, static_cast<u8>(round_));
      if (!state.empty()) must(image_->write_vm_state(0, state), "write_vm_state");
      auto made = image_->create_snapshot({.name = name, .vm_state_size = state.size()});
      if (may_refuse && !made.ok()) return;
      must(std::move(made), "create_snapshot");
      saved_[name] = {model_, state};
      return;
    }
    auto at = std::next(saved_.begin(), static_cast<std::ptrdiff_t>(random_() % saved_.size()));
    if (choice == 1) {
      if (at->second.disk.size() != model_.size() && image_->info().compat == "0.10") return;
      auto applied = image_->apply_snapshot(at->first);
      if (may_refuse && !applied.ok()) return compare(0, model_.size());
      must(std::move(applied), "apply_snapshot");
      model_ = at->second.disk;
      if (image_->size() != model_.size()) fail("the snapshot's size did not come back");
      std::vector<u8> state(at->second.state.size());
      if (!state.empty()) must(image_->read_vm_state(0, state), "read_vm_state");
      if (state != at->second.state) fail(fmt::format("round {}: the machine's state of a snapshot is wrong", round_));
    } else {
      must(image_->delete_snapshot(at->first), "delete_snapshot");
      saved_.erase(at);
    }
  }

  void resize() {
    if (image_->info().compat == "0.10" && !saved_.empty()) return;
    const u64 size =
        std::clamp<u64>(model_.size() + (random_() % 2 ? 1 : -1) * (random_() % 4096) * 512, 512, u64{64} << 20);
    must(image_->resize(size), "resize");
    model_.resize(size);
  }

  void compare(u64 offset, u64 size) {
    std::vector<u8> data(size);
    must(image_->read(offset, data), "read");
    const auto [mine, models] =
        std::mismatch(data.begin(), data.end(), model_.begin() + static_cast<std::ptrdiff_t>(offset));
    if (mine != data.end())
      fail(fmt::format("round {}: byte {} is {:#x} and should be {:#x}", round_,
                       offset + static_cast<u64>(mine - data.begin()), *mine, *models));
  }

  struct Saved {
    std::vector<u8> disk, state;
  };
  block::ImageSpec spec_;
  std::string model_path_;
  std::mt19937_64 random_;
  core::Loop loop_{"exercise"};
  std::unique_ptr<block::Image> image_;
  std::vector<u8> model_;
  std::map<std::string, Saved> saved_;
  unsigned round_ = 0;
};

// --- durable, verify ---------------------------------------------------------------------------------------------

constexpr u64 kBlock = 4096;
constexpr unsigned kPerRound = 8;

// The blocks of a round: the same for writer and verifier.
std::vector<u64> blocks_of(u64 seed, u64 round, u64 blocks) {
  std::mt19937_64 random(seed * 1000003 + round);
  std::vector<u64> list;
  for (unsigned i = 0; i < kPerRound; ++i) list.push_back(random() % blocks);
  return list;
}

void durable(const block::ImageSpec& spec, u64 seed) {
  auto image = must(block::open_image(spec), "open");
  std::vector<u8> data(kBlock);
  for (u64 round = 1;; ++round) {
    for (const u64 number : blocks_of(seed, round, image->size() / kBlock)) {
      for (u64 i = 0; i < kBlock; i += 16) {
        std::memcpy(data.data() + i, &round, 8);
        std::memcpy(data.data() + i + 8, &number, 8);
      }
      must(image->write(number * kBlock, data), "write");
    }
    if (round % 7 == 0) must(image->discard(seed % 16 * 65536, 65536), "discard");
    must(image->flush(), "flush");
    std::printf("%llu\n", static_cast<unsigned long long>(round));
    std::fflush(stdout);
  }
}

void verify(const block::ImageSpec& spec, u64 seed, u64 rounds) {
  auto image = must(block::open_image(spec), "open");
  std::map<u64, u64> last;
  const u64 hole = seed % 16 * 65536 / kBlock;
  for (u64 round = 1; round <= rounds; ++round) {
    for (const u64 number : blocks_of(seed, round, image->size() / kBlock)) last[number] = round;
    if (round % 7 == 0)
      for (u64 i = 0; i < 65536 / kBlock; ++i) last.erase(hole + i);
  }
  std::vector<u8> data(kBlock);
  for (const auto& [number, round] : last) {
    if (number >= hole && number < hole + 65536 / kBlock) continue;  // a later discard may have come through
    must(image->read(number * kBlock, data), "read");
    u64 found = 0;
    std::memcpy(&found, data.data(), 8);
    if (found < round)
      fail(fmt::format("block {} was flushed in round {}, and has what round {} wrote", number, round, found));
  }
  std::printf("%zu blocks of %llu rounds are there\n", last.size(), static_cast<unsigned long long>(rounds));
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 4) fail("usage: exercise random|durable|verify IMAGE FORMAT ...");
  block::ImageSpec spec;
  spec.filename = words[1];
  spec.format = words[2];
  spec.discard = block::DiscardMode::unmap;
  const auto number = [&](usize i) { return i < words.size() ? parse_number(words[i]).value_or(0) : 0; };
  if (words[0] == "random" && words.size() >= 6) {
    if (words.size() > 6) spec.aio = must(block::parse_aio_mode(words[6]), "aio");
    if (words.size() > 7) spec.cache = must(block::parse_cache_mode(words[7]), "cache");
    Exercise(spec, words[3], number(4)).run(static_cast<unsigned>(number(5)));
  } else if (words[0] == "durable") {
    durable(spec, number(3));
  } else if (words[0] == "verify" && words.size() >= 5) {
    verify(spec, number(3), number(4));
  } else {
    fail("usage: exercise random|durable|verify IMAGE FORMAT ...");
  }
  return 0;
}
