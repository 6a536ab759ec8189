// SPDX-License-Identifier: MIT
#include "accel/translator/code_origins.h"

#include <algorithm>

namespace rhea::accel {

Origin origin_of(const x64::CompiledBlock& compiled, bool windowed, bool kept) {
  Origin origin;
  origin.hot_bytes = compiled.hot_bytes;
  origin.cold_entry = compiled.cold_entry;
  origin.cold_bytes = compiled.cold_bytes;
  origin.second_check = compiled.second_check;
  origin.windowed = windowed;
  origin.kept = kept;
  return origin;
}

usize CodeOrigins::bucket(const ir::Key& key, u32 code) const {
  const u64 h =
      ((key.pc & address_) * 0x9e3779b97f4a7c15) ^ (key.mode * 0xc2b2ae3d27d4eb4f) ^ (u64{code} * 0xff51afd7ed558ccd);
  return h >> 40 & (kBuckets - 1);
}

u32 CodeOrigins::first_code(u64 pc, const PageReader& reader) { return reader.word(pc); }

void CodeOrigins::adopt(Part&& part, const CodeCache& cache) {
  read_ = std::move(part);
  list_read(cache);
}

void CodeOrigins::list_read(const CodeCache& cache) {
  for (u32 block = 0; block < read_.origins.size(); block++) list(block, cache);
}

void CodeOrigins::add(const Origin& origin, const PageReader& reader, std::span<const x64::FaultSite> faults,
                      const CodeCache& cache) {
  const u32 block = reserved_ + static_cast<u32>(made_.origins.size());
  Origin added = origin;
  added.first_run = static_cast<u32>(made_.runs.size());
  reader.for_each_run([&](unsigned page, usize begin, std::span<const u8> code) {
    made_.runs.push_back({static_cast<u16>(page), static_cast<u16>(begin), static_cast<u16>(code.size()), 0,
                          static_cast<u32>(made_.text.size())});
    made_.text.insert(made_.text.end(), code.begin(), code.end());
  });
  added.runs = static_cast<u16>(made_.runs.size() - added.first_run);
  added.first_fault = static_cast<u32>(made_.faults.size());
  added.faults = static_cast<u16>(faults.size());
  added.code = first_code(cache.block(block).key.pc, reader);
  made_.faults.insert(made_.faults.end(), faults.begin(), faults.end());
  made_.origins.push_back(added);
  list(block, cache);
}

void CodeOrigins::list(u32 block, const CodeCache& cache) {
  Origin& origin = this->origin(block);
  if (!origin.kept) return;
  u32& head = heads_[bucket(cache.block(block).key, origin.code)];
  origin.next = head;
  head = block + 1;
}

CodeOrigins::Found CodeOrigins::find(const ir::Key& key, bool windowed, const PageReader& reader,
                                     const CodeCache& cache) const {
  Found found;
  const u32 code = first_code(key.pc, reader);
  for (u32 at = heads_[bucket(key, code)]; at; at = origin(at - 1).next) {
    const u32 block = at - 1;
    const Origin& origin = this->origin(block);
    if (origin.code != code || (origin.windowed != 0) != windowed || !origin.kept) continue;
    const Translation& made = cache.block(block);
    if (made.key.mode != key.mode || ((made.key.pc ^ key.pc) & address_)) continue;
    if (!is_made_from(block, reader)) continue;
    if (made.dead && made.key == key) return {block, found.other};
    found.other = block;
  }
  return found;
}

bool CodeOrigins::is_made_from(u32 block, const PageReader& reader) const {
  const Part& part = this->part(block);
  const Origin& dead = part.origins[index(block)];
  return std::all_of(part.runs.begin() + dead.first_run, part.runs.begin() + dead.first_run + dead.runs,
                     [&](const CodeRun& run) {
                       return reader.has(run.page, run.begin, std::span(part.text).subspan(run.text, run.bytes));
                     });
}

std::span<const x64::FaultSite> CodeOrigins::faults(u32 block) const {
  const Origin& origin = this->origin(block);
  return std::span<const x64::FaultSite>(part(block).faults).subspan(origin.first_fault, origin.faults);
}

std::span<const CodeField> CodeOrigins::fields(u32 block) const {
  const Origin& origin = this->origin(block);
  return std::span<const CodeField>(part(block).fields).subspan(origin.first_field, origin.fields);
}

void CodeOrigins::set_fields(u32 block, std::span<const CodeField> fields) {
  Origin& origin = this->origin(block);
  std::vector<CodeField>& all = part(block).fields;
  origin.form = Origin::movable;
  origin.first_field = static_cast<u32>(all.size());
  origin.fields = static_cast<u16>(fields.size());
  all.insert(all.end(), fields.begin(), fields.end());
}

void CodeOrigins::clear() {
  read_ = {};
  made_ = {};
  reserved_ = 0;
  heads_.reset(kBuckets);
}

void CodeOrigins::keep_read(const CodeCache& cache) {
  made_ = {};
  heads_.reset(kBuckets);
  list_read(cache);
}

}  // namespace rhea::accel
