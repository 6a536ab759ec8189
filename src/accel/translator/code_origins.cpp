// SPDX-License-Identifier: MIT
#include "accel/translator/code_origins.h"

#include <algorithm>

namespace rhea::accel {

void CodeOrigins::adopt(Part&& part, const CodeCache& cache) {
  read_ = std::move(part);
  for (u32 block = 0; block < read_.origins.size(); block++) bury(block, cache);
}

void CodeOrigins::add(const Origin& origin, const PageReader& reader, std::span<const x64::FaultSite> faults) {
  Origin added = origin;
  added.first_run = static_cast<u32>(made_.runs.size());
  reader.for_each_run([&](unsigned page, usize begin, std::span<const u8> code) {
    made_.runs.push_back({static_cast<u16>(page), static_cast<u16>(begin), static_cast<u16>(code.size()), 0,
                          static_cast<u32>(made_.text.size())});
    made_.text.insert(made_.text.end(), code.begin(), code.end());
  });
  added.runs = static_cast<u32>(made_.runs.size()) - added.first_run;
  add_with_runs(added, faults);
}

void CodeOrigins::add_like(u32 like, const Origin& origin, std::span<const x64::FaultSite> faults) {
  Origin added = origin;
  added.first_run = this->origin(like).first_run;
  added.runs = this->origin(like).runs;
  added.kept = this->origin(like).kept;
  add_with_runs(added, faults);
}

void CodeOrigins::add_with_runs(Origin added, std::span<const x64::FaultSite> faults) {
  added.first_fault = static_cast<u32>(made_.faults.size());
  added.faults = static_cast<u32>(faults.size());
  made_.faults.insert(made_.faults.end(), faults.begin(), faults.end());
  made_.origins.push_back(added);
}

void CodeOrigins::bury(u32 block, const CodeCache& cache) {
  Origin& dead = origin(block);
  if (!dead.kept) return;
  u32& head = heads_[bucket(cache.block(block).key)];
  dead.next = head;
  head = block + 1;
}

u32 CodeOrigins::exhume(const ir::Key& key, bool windowed, const PageReader& reader, const CodeCache& cache) {
  for (u32* at = &heads_[bucket(key)]; *at; at = &origin(*at - 1).next) {
    const u32 block = *at - 1;
    Origin& dead = origin(block);
    if (!(cache.block(block).key == key) || (dead.windowed != 0) != windowed || !is_made_from(block, reader)) continue;
    *at = dead.next;
    dead.next = 0;
    return block;
  }
  return kNoBlock;
}

bool CodeOrigins::is_made_from(u32 block, const PageReader& reader) {
  const Part& part = this->part(block);
  const Origin& dead = part.origins[index(block)];
  return std::all_of(part.runs.begin() + dead.first_run, part.runs.begin() + dead.first_run + dead.runs,
                     [&](const CodeRun& run) {
                       return reader.has(run.page, run.begin, std::span(part.text).subspan(run.text, run.bytes));
                     });
}

std::span<const x64::FaultSite> CodeOrigins::faults(u32 block) {
  const Origin& origin = this->origin(block);
  return std::span<const x64::FaultSite>(part(block).faults).subspan(origin.first_fault, origin.faults);
}

void CodeOrigins::clear() {
  read_ = {};
  made_ = {};
  reserved_ = 0;
  heads_.reset(kBuckets);
}

}  // namespace rhea::accel
