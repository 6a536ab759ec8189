// SPDX-License-Identifier: MIT
// Jobs that take layers out of a drive's chain: stream (upwards, into the active layer) and commit (downwards, of
// layers that are below the active one). Layers below the active one do not change while the drive has a job, so they
// are read without regard to the device; what is written is out of its sight (commit) or a cluster at a time under the
// layer's own lock (stream).
#include <algorithm>

#include "block/copy_job.h"
#include "block/qcow2/qcow2_node.h"
#include "util/bits.h"

namespace rhea::block {

namespace {

constexpr u64 kStep = u64{1} << 20;  // bytes copied at a time

Node* layer_at(Node& top, unsigned depth) {
  Node* node = &top;
  while (node && depth--) node = node->backing();
  return node;
}

std::string layer_format(Node& node) {
  ImageInfo info;
  node.describe(info);
  return info.format;
}

// Hangs what is below `depth` layers under `overlay` right below it; the layers in between are closed. `none`: nothing
// is.
Result<void> relink(Node& overlay, unsigned depth, bool none, const std::string& text) {
  Node* parent = layer_at(overlay, depth - 1);
  Node* base = none ? nullptr : parent->backing();
  const std::string name = base ? base->filename() : "";
  RHEA_TRY(overlay.flush());
  const bool was_read_only = overlay.read_only();
  if (was_read_only) RHEA_TRY(overlay.set_read_only(false));
  Result<void> changed = overlay.change_backing(text.empty() ? name : text, base ? layer_format(*base) : "");
  if (was_read_only) {
    Result<void> closed = overlay.set_read_only(true);
    if (changed.ok() && !closed.ok()) return closed;
  }
  RHEA_TRY(std::move(changed));
  std::unique_ptr<Node> below = none ? nullptr : parent->take_backing();
  std::unique_ptr<Node> between = overlay.take_backing();  // ends with this
  overlay.put_backing(std::move(below), name);
  return {};
}

// --- stream ---------------------------------------------------------------------------------------------------------

class StreamWork final : public CopyWork {
 public:
  // `depth` of the base; or of what is below all layers.
  StreamWork(Drive& drive, unsigned depth, bool has_base, std::string text)
      : drive_(drive), node_(drive.image()->node()), depth_(depth), has_base_(has_base), text_(std::move(text)) {}
  const char* type() const override { return "stream"; }

  Result<void> run(CopyJob& job) override {
    ImageInfo info;
    node_.describe(info);
    const u64 size = node_.size(), cluster = std::max<u64>(info.cluster_size, 512);
    const u64 step = std::max(kStep, cluster);
    for (u64 offset = 0; offset < size && depth_ > 0;) {
      job.count(offset, size - offset);
      if (!job.proceed()) return {};
      const u64 part = std::min(step, size - offset);
      u64 moved = 0;
      if (Result<void> done = pull(offset, part, cluster, moved); !done.ok()) {
        if (!job.should_retry(false, done.error())) return done;
        continue;
      }
      job.pace(moved);
      offset += part;
    }
    job.count(size, 0);
    return {};
  }

  Result<void> conclude(bool) override {
    if (!depth_ || !node_.backing()) return {};
    return relink(node_, depth_, !has_base_, text_);
  }

 private:
  // The clusters of a stretch that do not show the base, or nothing, already.
  Result<void> pull(u64 offset, u64 size, u64 cluster, u64& moved) {
    const u64 end = offset + size;
    u64 begin = offset, wanted_end = offset;  // clusters to take over, all of one kind
    bool zeros = false;
    const auto take = [&]() -> Result<void> {
      if (wanted_end > begin) {
        RHEA_TRY(node_.pull(begin, wanted_end - begin, zeros));
        moved += wanted_end - begin;
      }
      return {};
    };
    for (u64 at = offset; at < end;) {
      const Mapping mapping = RHEA_TRY(node_.map(at, end - at));
      const u64 next = at + mapping.size;
      const bool own = mapping.depth == 0 && mapping.allocated;
      // Without a base, zeros are what unallocated clusters are; with one, what lies behind a layer's end is not.
      const bool needed = !own && mapping.depth < depth_ && (has_base_ || !mapping.zero);
      if (needed) {
        const u64 from = std::max(align_down(at, cluster), wanted_end), to = std::min(align_up(next, cluster), end);
        const bool zero = mapping.zero && from == at && to == next;
        if (from != wanted_end || zero != zeros) {
          RHEA_TRY(take());
          begin = from;
          zeros = zero;
        }
        wanted_end = std::max(to, from);
      }
      at = next;
    }
    return take();
  }

  Drive& drive_;
  Node& node_;
  unsigned depth_;
  bool has_base_;
  std::string text_;
};

// --- commit ---------------------------------------------------------------------------------------------------------

class CommitWork final : public CopyWork {
 public:
  // Of `top`, at `depth` below the active layer, into `base`, `layers` below it.
  CommitWork(Node& active, unsigned depth, unsigned layers, std::string text)
      : overlay_(*layer_at(active, depth - 1)), top_(*layer_at(active, depth)),
        base_(*layer_at(active, depth + layers)), layers_(layers), text_(std::move(text)) {}
  const char* type() const override { return "commit"; }

  // Before the job begins: with nothing in flight.
  Result<void> prepare() {
    RHEA_TRY(base_.set_read_only(false));
    opened_ = true;
    if (base_.size() < top_.size()) return base_.resize(top_.size(), Preallocation::off);
    return {};
  }

  Result<void> run(CopyJob& job) override {
    const u64 size = top_.size();
    std::vector<u8> buffer(kStep);
    for (u64 offset = 0; offset < size;) {
      job.count(offset, size - offset);
      if (!job.proceed()) return {};
      bool reading = true;
      u64 moved = 0;
      const auto copied = copy(offset, size, buffer, reading, moved);
      if (!copied.ok()) {
        if (!job.should_retry(reading, copied.error())) return Error(copied.error());
        continue;
      }
      job.pace(moved);
      offset += *copied;
    }
    job.count(size, 0);
    return base_.flush();
  }

  Result<void> conclude(bool) override {
    RHEA_TRY(relink(overlay_, layers_ + 1, false, text_));
    return close();
  }
  void abandon() override { (void)close(); }

 private:
  Result<u64> copy(u64 offset, u64 size, std::vector<u8>& buffer, bool& reading, u64& moved) {
    const Mapping mapping = RHEA_TRY(top_.map(offset, size - offset));
    const bool behind_end = !mapping.allocated && mapping.zero;
    if (mapping.depth >= layers_ || (!mapping.allocated && !behind_end)) return mapping.size;
    u64 part = mapping.size;
    if (mapping.zero) {
      reading = false;
      RHEA_TRY(base_.write_zeroes(offset, part, true));
      return part;
    }
    part = std::min<u64>(part, buffer.size());
    const Segment piece{buffer.data(), part};
    RHEA_TRY(top_.read(offset, {&piece, 1}));
    reading = false;
    RHEA_TRY(base_.write(offset, {&piece, 1}));
    moved = part;
    return part;
  }
  Result<void> close() {
    if (!std::exchange(opened_, false)) return {};
    return base_.set_read_only(true);
  }

  Node& overlay_;
  Node& top_;
  Node& base_;
  unsigned layers_;
  std::string text_;
  bool opened_ = false;
};

Result<unsigned> depth_of(Drive& drive, const Node* node) {
  unsigned depth = 0;
  for (Node* at = &drive.image()->node(); at; at = at->backing(), ++depth)
    if (at == node) return depth;
  return Error("'{}' is no layer of '{}'", node->filename(), drive.id());
}

}  // namespace

Node* find_layer(Drive& drive, const std::string& filename, unsigned* depth) {
  unsigned at = 0;
  for (Node* node = drive.image() ? &drive.image()->node() : nullptr; node; node = node->backing(), ++at) {
    if (node->filename() != filename && !sys::same_file(node->filename(), filename)) continue;
    if (depth) *depth = at;
    return node;
  }
  return nullptr;
}

Result<std::unique_ptr<CopyJob>> make_stream_job(Drive& drive, JobOptions options, Node* base,
                                                 const std::string& text) {
  Node& node = drive.image()->node();
  if (node.read_only()) return Error("Block node '{}' is read-only", drive.id());
  unsigned depth = 0;
  if (base) {
    depth = RHEA_TRY(depth_of(drive, base));
    if (!depth) return Error("'{}' is the active layer: what is streamed comes from below it", base->filename());
  } else {
    for (Node* at = node.backing(); at; at = at->backing()) ++depth;
    if (depth) ++depth;
  }
  return std::make_unique<CopyJob>(drive, std::move(options),
                                   std::make_unique<StreamWork>(drive, depth, base != nullptr, text));
}

Result<std::unique_ptr<CopyJob>> make_commit_job(Drive& drive, JobOptions options, Node* top, Node* base,
                                                 const std::string& text) {
  const unsigned depth = RHEA_TRY(depth_of(drive, top)), base_depth = RHEA_TRY(depth_of(drive, base));
  if (base_depth <= depth || !depth)
    return Error("'{}' is not in this backing file chain below '{}'", base->filename(), top->filename());
  drive.drain();
  auto work = std::make_unique<CommitWork>(drive.image()->node(), depth, base_depth - depth, text);
  if (Result<void> ready = work->prepare(); !ready.ok()) {
    work->abandon();
    return std::move(ready.error());
  }
  return std::make_unique<CopyJob>(drive, std::move(options), std::move(work));
}

}  // namespace rhea::block
