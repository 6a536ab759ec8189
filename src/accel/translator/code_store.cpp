// SPDX-License-Identifier: MIT
#include "accel/translator/code_store.h"

#include <algorithm>

#include "sys/build_id.h"
#include "sys/claim.h"
#include "sys/thread.h"

namespace rhea::accel {

CodeStore::~CodeStore() {
  abandoned_ = true;
  if (reader_.joinable()) reader_.join();
}

void CodeStore::open(const std::string& folder, const std::string& fingerprint, x64::Compiler& compiler) {
  const std::string build = sys::build_id();
  if (build.empty()) {
    reason_ = "the program has no build id";
    return;
  }
  compiler_ = &compiler;
  const std::string text = build + ' ' + fingerprint;
  fingerprint_ = code_checksum({reinterpret_cast<const u8*>(text.data()), text.size()});
  folder_ = folder;
  path_ = fmt::format("{}/{}{:016x}", folder, kPrefix, fingerprint_);
  Result<std::unique_ptr<CodeFile>> file = CodeFile::open(path_, fingerprint_);
  if (!file.ok()) {
    reason_ = file.error().message();
    return;
  }
  const CodeFile::Header& header = (*file)->header();
  if (!compiler.reserve(header.hot_bytes, header.cold_bytes)) {
    reason_ = "there is no room for it";
    return;
  }
  file_ = file.take();
  cache_.reserve(header.blocks, header.exits);
  origins_.reserve(header.blocks);
  copying_ = true;
  reader_ = std::thread([this] { read(); });
}

void CodeStore::read() {
  sys::name_current_thread("code file");
  const CodeFile::Header& header = file_->header();
  Result<CodeFile::Tables> tables = file_->read_tables();
  Result<void> read;
  if (!tables.ok()) {
    read = tables.error();
  } else if (!abandoned_) {
    read = file_->read_code(compiler_->code(compiler_->hot_begin(), header.hot_bytes),
                            compiler_->code(compiler_->cold_begin(), header.cold_bytes), abandoned_);
  }
  copying_ = false;
  copying_.notify_all();
  std::lock_guard guard(lock_);
  if (!read.ok()) reason_ = read.error().message();
  if (!read.ok() || abandoned_) return;
  read_ = header.blocks;
  cache_.adopt(std::move(tables->blocks), std::move(tables->exits));
  origins_.adopt(std::move(tables->part), cache_);
}

bool CodeStore::is_sound(u32 block) {
  Origin& origin = origins_.origin(block);
  if (origin.unproven) {
    origin.unproven = false;
    const u32 entry = cache_.block(block).entry;
    if (origin.checksum != code_checksum(compiler_->code(origin.cold_entry, origin.cold_bytes),
                                         code_checksum(compiler_->code(entry, origin.hot_bytes)))) {
      origin.kept = false;
      unsound_++;
    }
  }
  if (block < read_ && !origin.used) {
    origin.used = true;
    used_++;
  }
  return origin.kept;
}

// What needs more than the room beside the file's blocks would empty it again and again.
bool CodeStore::leaves_room(const x64::Compiler& compiler) const {
  const CodeFile::Header& header = file_->header();
  return 2 * header.hot_bytes <= compiler.hot_used() - compiler.hot_begin() &&
         2 * header.cold_bytes <= compiler.cold_used();
}

void CodeStore::clear(x64::Compiler& compiler) {
  abandoned_ = true;
  copying_.wait(true);
  const bool keeps = read_ && is_useful() && leaves_room(compiler);
  compiler.reset();
  if (keeps) {
    cache_.keep_read(compiler);
    origins_.keep_read(cache_);
    compiler.reserve(file_->header().hot_bytes, file_->header().cold_bytes);
    return;
  }
  read_ = learnt_ = 0;
  origins_.clear();
  cache_.clear();
}

// The first `blocks` of those of a file that has been read and those made since, with their numbers as they are.
CodeFile::Tables CodeStore::collect(u32 blocks) {
  CodeFile::Tables tables;
  tables.part = origins_.read();
  const CodeOrigins::Part& made = origins_.made();
  const u32 runs = static_cast<u32>(tables.part.runs.size()), faults = static_cast<u32>(tables.part.faults.size()),
            text = static_cast<u32>(tables.part.text.size()), fields = static_cast<u32>(tables.part.fields.size());
  for (Origin origin : made.origins) {
    if (tables.part.origins.size() >= blocks) break;
    origin.first_run += runs;
    origin.first_fault += faults;
    origin.first_field += fields;
    tables.part.origins.push_back(origin);
  }
  for (CodeRun run : made.runs) {
    run.text += text;
    tables.part.runs.push_back(run);
  }
  tables.part.faults.insert(tables.part.faults.end(), made.faults.begin(), made.faults.end());
  tables.part.fields.insert(tables.part.fields.end(), made.fields.begin(), made.fields.end());
  tables.part.text.insert(tables.part.text.end(), made.text.begin(), made.text.end());
  for (u32 index = 0; index < blocks; index++) {
    Translation translation = cache_.block(index);
    translation.pages = {};
    translation.incoming = 0;
    translation.next = kNoBlock;
    translation.dead = true;
    tables.blocks.push_back(translation);
    Origin& origin = tables.part.origins[index];
    origin.next = 0;
    origin.used = false;
    if (origin.unproven) continue;
    compiler_->set_second_page(origin.second_check, x64::Compiler::kNoPage);
    origin.unproven = true;
    origin.checksum = code_checksum(compiler_->code(origin.cold_entry, origin.cold_bytes),
                                    code_checksum(compiler_->code(translation.entry, origin.hot_bytes)));
  }
  // CPUs make blocks at the same time: the first ones have not always the first exits.
  u32 exits = 1;
  for (const Translation& block : tables.blocks) exits = std::max(exits, block.first_exit + block.exits);
  for (u32 id = 0; id < exits; id++) {
    ExitRecord exit = cache_.exit(id);
    exit.to = kNoBlock;
    exit.next = exit.previous = 0;
    tables.exits.push_back(exit);
  }
  return tables;
}

// How many of the first blocks a file has room for, and how much host code they have.
u32 CodeStore::fitting(usize& hot, usize& cold) {
  const usize hot_room = compiler_->cold_begin() - compiler_->hot_begin(),
              cold_room = compiler_->capacity() - compiler_->cold_begin();
  u32 blocks = 0;
  for (; blocks < cache_.end_block(); blocks++) {
    const Origin& origin = origins_.origin(blocks);
    const usize hot_end = cache_.block(blocks).entry + origin.hot_bytes - compiler_->hot_begin();
    const usize cold_end = origin.cold_entry + origin.cold_bytes - compiler_->cold_begin();
    if (hot_end > hot_room / 4 * kShare || cold_end > cold_room / 4 * kShare) break;
    hot = std::max(hot, hot_end);
    cold = std::max(cold, cold_end);
  }
  return blocks;
}

void CodeStore::save() {
  if (!active()) return;
  abandoned_ = true;
  if (reader_.joinable()) reader_.join();
  std::lock_guard guard(lock_);
  const u64 made = origins_.made().origins.size(), few = std::max<u64>(kFewBlocks, read_ / kSmallPart);
  // What was reserved for a file that has not been read is no code: the file stays as it is.
  if (made + learnt_ < few || cache_.first_block() != 0) return;
  usize hot = 0, cold = 0;
  const u32 blocks = fitting(hot, cold);
  if (blocks <= origins_.read().origins.size() && learnt_ < few) {
    // It is full: new ones have no room. It stays as long as it is of use.
    if (!is_useful()) sys::remove_file(path_);
    return;
  }
  for (u32 id = 1; id < cache_.end_exit(); id++) {
    if (cache_.exit(id).to != kNoBlock) compiler_->unlink(cache_.exit(id).site);
  }
  const Result<void> written =
      CodeFile::write(path_, fingerprint_, collect(blocks), compiler_->code(compiler_->hot_begin(), hot),
                      compiler_->code(compiler_->cold_begin(), cold));
  if (written.ok()) sys::prune_files(folder_, kPrefix, kFilesKept);
}

std::string CodeStore::statistics() const {
  std::string text =
      fmt::format("kept translations   {} read, {} taken, {} of the file of use", read_, revived_, used_);
  if (unsound_) text += fmt::format(", {} damaged", unsound_);
  if (!reason_.empty()) text += fmt::format(" ({})", reason_);
  return text + '\n';
}

}  // namespace rhea::accel
