// SPDX-License-Identifier: MIT
// convert: copies disks into a new image.
//
// The source's map says what need not be read; what is read is searched for zeros, which a new image has already.
//
// Several threads copy at once (-m): each takes the next piece, reads it, waits until the pieces before it are written
// and writes it; with -W it does not wait.
#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "block/open.h"
#include "config/options.h"
#include "img/pace.h"
#include "img/tool.h"
#include "util/text.h"

namespace rhea::img {

namespace {

constexpr u64 kChunk = u64{2} << 20;

struct Conversion {
  block::Image* target = nullptr;
  bool zero_already = true;  // what is not written reads as zeros
  bool has_backing = false;  // what the source's top layer does not have is not written
  bool compress = false;
  u64 sparse = 4096;       // bytes of zeros that are worth a hole; 0: everything is written
  u64 cluster = 65536;     // of the target
  unsigned requests = 8;   // at once
  bool any_order = false;  // pieces are written as they come
  bool salvage = false;    // what cannot be read becomes zeros
  std::unique_ptr<Pace> pace = std::make_unique<Pace>(0);
};

Result<void> write_zeros(const Conversion& conversion, u64 at, u64 size) {
  if (conversion.sparse && conversion.zero_already && !conversion.has_backing) return {};
  if (conversion.sparse) return conversion.target->write_zeroes(at, size, true);
  std::vector<u8> zeros(std::min(size, kChunk));
  for (u64 done = 0; done < size; done += zeros.size()) {
    zeros.resize(std::min<u64>(zeros.size(), size - done));
    RHEA_TRY(conversion.target->write(at + done, zeros));
  }
  return {};
}

Result<void> write_plain(const Conversion& conversion, u64 at, std::span<const u8> data) {
  conversion.pace->spend(data.size());
  return conversion.target->write(at, data);
}

// Data, with its runs of zeros left out.
Result<void> write_data(const Conversion& conversion, u64 at, std::span<const u8> data) {
  if (!conversion.sparse) return write_plain(conversion, at, data);
  const u64 step = conversion.sparse;
  for (u64 done = 0; done < data.size();) {
    const auto piece = [&](u64 from) {
      return data.subspan(from, std::min<u64>(step - (at + from) % step, data.size() - from));
    };
    const bool zero = is_zero(piece(done));
    u64 end = done + piece(done).size();
    while (end < data.size() && is_zero(piece(end)) == zero) end += piece(end).size();
    RHEA_TRY(zero ? write_zeros(conversion, at + done, end - done)
                  : write_plain(conversion, at + done, data.subspan(done, end - done)));
    done = end;
  }
  return {};
}

Result<void> write_packed(const Conversion& conversion, u64 at, std::span<u8> data) {
  for (u64 done = 0; done < data.size(); done += conversion.cluster) {
    const auto part = data.subspan(done, std::min<u64>(conversion.cluster, data.size() - done));
    if (is_zero(part)) {
      RHEA_TRY(write_zeros(conversion, at + done, part.size()));
      continue;
    }
    const block::Segment all{part.data(), part.size()};
    conversion.pace->spend(part.size());
    RHEA_TRY(conversion.target->node().write_compressed(at + done, {&all, 1}));
  }
  return {};
}

using Sources = std::vector<std::unique_ptr<block::Image>>;

// The copying: pieces of the sources, in order, handed to threads that read, wait for their turn and write.
class Copier {
 public:
  Copier(const Conversion& conversion, const Sources& sources, Tool& tool)
      : conversion_(conversion), sources_(sources), tool_(tool) {}

  Result<void> run() {
    std::vector<std::thread> others;
    for (unsigned i = 1; i < conversion_.requests; ++i) others.emplace_back([this] { work(); });
    work();
    for (std::thread& thread : others) thread.join();
    return std::move(outcome_);
  }

 private:
  struct Piece {
    block::Image* source = nullptr;
    u64 from = 0, to = 0, size = 0;  // offsets in source and target
    bool zero = false;
    u64 number = 0;
  };

  // Under the lock. Nothing: there are no more.
  Result<std::optional<Piece>> next() {
    while (source_ < sources_.size()) {
      block::Image& source = *sources_[source_];
      if (offset_ >= source.size()) {
        base_ += source.size();
        offset_ = 0;
        ++source_;
        continue;
      }
      const block::Mapping mapping = RHEA_TRY(source.map(offset_, source.size() - offset_));
      Piece piece{.source = &source, .from = offset_, .to = base_ + offset_, .zero = mapping.zero};
      const u64 end = piece_end(source, mapping, piece.zero);
      piece.size = end - offset_;
      offset_ = end;
      // The new backing image has it.
      if (conversion_.has_backing && (!mapping.allocated || mapping.depth)) continue;
      piece.number = count_++;
      return std::optional(piece);
    }
    return std::optional<Piece>();
  }

  // Data ends at a multiple of the chunk, and of the target's cluster where clusters are written whole.
  u64 piece_end(const block::Image& source, const block::Mapping& mapping, bool& zero) const {
    u64 end = offset_ + mapping.size;
    if (conversion_.compress && end < source.size()) {
      const u64 whole = end / conversion_.cluster * conversion_.cluster;
      zero = zero && whole > offset_;
      end = whole > offset_ ? whole : whole + conversion_.cluster;
    }
    if (!zero) end = std::min(end, (offset_ / kChunk + 1) * kChunk);
    return std::min(end, source.size());
  }

  void work() {
    std::vector<u8> buffer(kChunk);
    std::unique_lock lock(mutex_);
    while (outcome_.ok()) {
      auto taken = next();
      if (!taken.ok()) outcome_ = std::move(taken.error());
      if (!taken.ok() || !*taken) break;
      const Piece piece = **taken;
      const std::span<u8> data(buffer.data(), piece.zero ? 0 : piece.size);
      lock.unlock();
      Result<void> done = piece.zero ? Result<void>() : read(piece, data);
      lock.lock();
      if (!conversion_.any_order) turned_.wait(lock, [&] { return turn_ == piece.number || !outcome_.ok(); });
      if (!outcome_.ok()) break;
      lock.unlock();
      if (done.ok()) done = write(piece, data);
      lock.lock();
      ++turn_;
      done_ += piece.size;
      if (!done.ok() && outcome_.ok()) outcome_ = std::move(done);
      tool_.progress(conversion_.any_order ? done_ : piece.to + piece.size);
      turned_.notify_all();
    }
    turned_.notify_all();
  }

  Result<void> read(const Piece& piece, std::span<u8> data) {
    Result<void> got = piece.source->read(piece.from, data);
    if (got.ok() || !conversion_.salvage) return got;
    constexpr u64 kSector = 512;
    for (u64 at = 0; at < data.size(); at += kSector) {
      const std::span<u8> sector = data.subspan(at, std::min<u64>(kSector, data.size() - at));
      got = piece.source->read(piece.from + at, sector);
      if (got.ok()) continue;
      std::fill(sector.begin(), sector.end(), u8{0});
      std::lock_guard lock(mutex_);
      tool_.warn(
          fmt::format("rhea-img: warning: error while reading offset {}: {}", piece.from + at, got.error().message()));
    }
    return {};
  }

  Result<void> write(const Piece& piece, std::span<u8> data) const {
    if (piece.zero) return write_zeros(conversion_, piece.to, piece.size);
    return conversion_.compress ? write_packed(conversion_, piece.to, data) : write_data(conversion_, piece.to, data);
  }

  const Conversion& conversion_;
  const Sources& sources_;
  Tool& tool_;
  std::mutex mutex_;
  std::condition_variable turned_;
  Result<void> outcome_;
  usize source_ = 0;           // where the next piece begins
  u64 base_ = 0, offset_ = 0;  // of that source in the target; in the source
  u64 count_ = 0, turn_ = 0;   // pieces handed out; written
  u64 done_ = 0;               // bytes
};

Result<Sources> open_sources(const Arguments& arguments, const Tool& tool, u64& total) {
  Sources sources;
  for (usize i = 0; i + 1 < arguments.names.size(); ++i) {
    auto spec = RHEA_TRY(image_spec(arguments, arguments.names[i]));
    if (arguments.has("-l")) {
      std::string name = arguments.text("-l");
      for (const char* prefix : {"snapshot.id=", "snapshot.name="}) {
        if (name.starts_with(prefix)) name.erase(0, std::string(prefix).size());
      }
      spec.load_snapshot = name;
    }
    auto image = open_image(tool, spec);
    if (!image) return std::move(image.error());
    total += (*image)->size();
    sources.push_back(image.take());
  }
  if (arguments.has("-l") && sources.size() > 1) return Error("a snapshot (-l) is of one image, not of several");
  return sources;
}

Result<void> make_target(const Arguments& arguments, const Tool& tool, block::CreateSpec& create, u64 total) {
  create.size = (total + 511) / 512 * 512;
  if (!create.backing_file.empty()) {
    if (create.backing_format.empty())
      return Error("{}: Backing file specified without backing format", create.filename);
    block::ImageSpec below;
    below.filename = block::resolve_backing(create.filename, create.backing_file);
    below.format = create.backing_format;
    below.read_only = true;
    auto image = open_image(tool, below);
    if (!image) return std::move(image.error());
  }
  for (usize i = 0; i + 1 < arguments.names.size(); ++i) {
    if (sys::same_file(arguments.names[i], create.filename))
      return Error("'{}' is both source and target", create.filename);
  }
  auto made = block::create_image(create);
  if (!made) return std::move(made.error()).in(create.filename);
  return {};
}

// What the options say that go together or do not.
Result<void> check_options(const Arguments& arguments) {
  if (arguments.has("-C"))
    return Error(
        "convert's option -C is not supported: the data goes through this process, and the result is the same");
  if (arguments.has("-n") && arguments.has("-o")) return Error("-o has no effect when skipping image creation");
  if (arguments.has("--target-is-zero") && !arguments.has("-n"))
    return Error("--target-is-zero requires use of -n flag");
  if (arguments.has("--target-is-zero") && arguments.has("-B"))
    return Error("Cannot use --target-is-zero when the destination image has a backing file");
  return {};
}

Result<unsigned> requests_at_once(const Arguments& arguments) {
  if (!arguments.has("-m")) return 8u;
  const auto number = parse_number(arguments.text("-m"));
  if (!number || *number < 1 || *number > 16)
    return Error("Invalid number of coroutines. Allowed number of coroutines is between 1 and 16");
  return static_cast<unsigned>(*number);
}

Result<Conversion> plan(const Arguments& arguments, block::Image& target, const block::CreateSpec& create) {
  Conversion conversion;
  conversion.target = &target;
  const bool old_file = arguments.has("-n");
  conversion.zero_already = !old_file || arguments.has("--target-is-zero");
  conversion.has_backing = !create.backing_file.empty();
  conversion.compress = arguments.has("-c");
  conversion.requests = RHEA_TRY(requests_at_once(arguments));
  conversion.any_order = arguments.has("-W");
  conversion.salvage = arguments.has("--salvage");
  conversion.pace = std::make_unique<Pace>(RHEA_TRY(parse_rate(arguments)));
  const block::ImageInfo info = target.info();
  if (info.cluster_size) conversion.cluster = info.cluster_size;
  if (conversion.compress && info.format != "qcow2") return Error("Compression not supported for this file format");
  if (arguments.has("-S")) {
    constexpr u64 kMostSparse = u64{16} << 20;
    const auto size = config::parse_size("size", arguments.text("-S"));
    if (!size.ok() || *size % 512 || *size > kMostSparse)
      return Error(
          "Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to {}. Select "
          "0 to disable sparse detection (fully allocates output).",
          kMostSparse);
    conversion.sparse = *size;
  }
  return conversion;
}

}  // namespace

int convert(const Arguments& arguments) {
  Tool tool(arguments);
  if (arguments.names.size() < 2)
    return tool.fail(Error("Must specify image file name").with_hint("Try 'rhea-img --help' for more information"));
  if (auto checked = check_options(arguments); !checked) return tool.fail(checked.error());
  block::CreateSpec create;
  create.filename = arguments.names.back();
  create.format = arguments.text("-O", "raw");
  if (!block::is_known_format(create.format)) return tool.fail(Error("Unknown file format '{}'", create.format));
  create.backing_file = arguments.text("-B");
  create.backing_format = arguments.text("-F");
  bool helped = false;
  if (auto read = read_create_options(arguments, create, helped); !read) return tool.fail(read.error());
  if (helped) return 0;
  if (auto requests = requests_at_once(arguments); !requests) return tool.fail(requests.error());
  if (auto rate = parse_rate(arguments); !rate) return tool.fail(rate.error());
  u64 total = 0;
  auto sources = open_sources(arguments, tool, total);
  if (!sources) return tool.fail(sources.error());
  if (!arguments.has("-n")) {
    if (auto made = make_target(arguments, tool, create, total); !made) return tool.fail(made.error());
  }
  block::ImageSpec spec;
  spec.filename = create.filename;
  spec.format = create.format;
  spec.discard = block::DiscardMode::unmap;
  spec.with_backing = create.backing_file.empty();
  auto cache = block::parse_cache_mode(arguments.text("-t", "unsafe"));
  if (!cache) return tool.fail(Error("Invalid cache option: {}", arguments.text("-t")));
  spec.cache = *cache;
  auto target = open_image(tool, spec);
  if (!target) return tool.fail(target.error());
  if ((*target)->size() < total) return tool.fail(Error("Output file is smaller than input file"));
  auto conversion = plan(arguments, **target, create);
  if (!conversion) return tool.fail(conversion.error());
  tool.begin_progress(total);
  if (auto copied = Copier(*conversion, *sources, tool).run(); !copied)
    return tool.fail(std::move(copied.error()).in("error while converting"));
  if (auto flushed = (*target)->flush(); !flushed) return tool.fail(flushed.error());
  tool.end_progress();
  return 0;
}

}  // namespace rhea::img
