// SPDX-License-Identifier: MIT
#include "accel/translator/code_copies.h"

#include <algorithm>
#include <cstring>

#include "util/bits.h"

namespace rhea::accel {

namespace {

constexpr u64 kInPage = memory::kPageSize - 1;
// Pages so near the ends of the address space are not copied from or to: numbers of pages wrap there.
constexpr u64 kMargin = 16;

bool is_far_from_ends(u64 pc) {
  const u64 page = pc >> memory::kPageBits;
  return page >= kMargin && page < (u64{1} << 20) - kMargin;
}

}  // namespace

usize CodeCopies::hash(const ir::Key& key, u32 page) {
  const u64 h = ((key.pc & kInPage) * 0x9e3779b97f4a7c15) ^ (key.mode * 0xc2b2ae3d27d4eb4f) ^ (u64{page} * 0x9e3779b1);
  return (h >> 20 ^ h) & (kPlaces - 1);
}

void CodeCopies::note(u32 block, const x64::CompiledBlock& compiled, bool windowed) {
  if (shapes_.empty()) first_ = block;
  Shape made;
  made.hot_bytes = compiled.hot_bytes;
  made.cold_entry = compiled.cold_entry;
  made.cold_bytes = compiled.cold_bytes;
  made.second_check = compiled.second_check;
  made.first_fault = static_cast<u32>(faults_.size());
  made.faults = static_cast<u32>(compiled.faults.size());
  made.windowed = windowed;
  faults_.insert(faults_.end(), compiled.faults.begin(), compiled.faults.end());
  shapes_.push_back(made);
  const Translation& translation = cache_.block(block);
  u32& latest = latest_[hash(translation.key, translation.pages[0])];
  const bool is_known = latest && shape(latest - 1).fields != kUnknown && !cache_.block(latest - 1).dead &&
                        is_like(cache_.block(latest - 1), translation.key, translation.pages[0]);
  if (!is_known) latest = block + 1;
}

bool CodeCopies::is_like(const Translation& block, const ir::Key& key, u32 page) {
  return block.key.mode == key.mode && block.pages[0] == page && !((block.key.pc ^ key.pc) & kInPage);
}

u32 CodeCopies::find(const ir::Key& key, u32 page, u32 second_page, bool windowed) const {
  const u32 latest = latest_[hash(key, page)];
  if (!latest) return kNoBlock;
  const Translation& block = cache_.block(latest - 1);
  if (block.dead || !is_like(block, key, page) || block.key.pc == key.pc) return kNoBlock;
  if (shape(latest - 1).windowed != windowed || (block.pages[1] && block.pages[1] != second_page)) return kNoBlock;
  return is_far_from_ends(key.pc) && is_far_from_ends(block.key.pc) ? latest - 1 : kNoBlock;
}

CodeCopies::Place CodeCopies::place_of(u32 block) const {
  const Translation& translation = cache_.block(block);
  return {translation.key.pc, translation.entry, shape(block).cold_entry, translation.first_exit};
}

CodeCopies::Differences CodeCopies::differences(const Place& from, const Place& to) {
  const u32 address = static_cast<u32>(to.pc - from.pc), table = (address >> memory::kPageBits) * 4;
  const u32 hot = to.entry - from.entry, cold = to.cold_entry - from.cold_entry;
  // Numbers of pages have 20 bits: a distance backwards is one, too.
  const u32 back = to.pc < from.pc ? table - (u32{1} << 22) : table;
  return {{{address, back, to.first_exit - from.first_exit, -hot, cold - hot},
           {address, back, to.first_exit - from.first_exit, -cold, hot - cold}}};
}

bool CodeCopies::are_distinct(const Differences& differences) {
  for (const auto& part : differences) {
    for (usize i = 0; i < part.size(); i++) {
      if (!part[i] || std::find(part.begin() + static_cast<std::ptrdiff_t>(i) + 1, part.end(), part[i]) != part.end())
        return false;
    }
  }
  return true;
}

// A block's code without what links and mappings put into it.
CodeCopies::Code CodeCopies::pristine(u32 block, const x64::Compiler& compiler) const {
  const Translation& translation = cache_.block(block);
  const Shape& made = shape(block);
  const std::span<const u8> hot = compiler.text(translation.entry, made.hot_bytes);
  const std::span<const u8> cold = compiler.text(made.cold_entry, made.cold_bytes);
  Code code = {std::vector<u8>(hot.begin(), hot.end()), std::vector<u8>(cold.begin(), cold.end())};
  const auto blank = [&](u32 at) {
    if (!at) return;
    const bool is_hot = at - translation.entry < made.hot_bytes;
    std::memset(code[is_hot ? 0 : 1].data() + (at - (is_hot ? translation.entry : made.cold_entry)), 0, 4);
  };
  blank(made.second_check);
  for (u32 id = translation.first_exit; id < translation.first_exit + translation.exits; id++) {
    const x64::ExitSite& site = cache_.exit(id).site;
    blank(site.jump);
    if (site.same_page) continue;
    blank(site.compare);
    blank(site.stub_jump);
  }
  return code;
}

bool CodeCopies::have_same_form(u32 a, u32 b) const {
  const Translation &x = cache_.block(a), &y = cache_.block(b);
  const Shape &p = shape(a), &q = shape(b);
  if (p.hot_bytes != q.hot_bytes || p.cold_bytes != q.cold_bytes || p.faults != q.faults || x.exits != y.exits ||
      x.begin != y.begin || x.end != y.end || !x.pages[1] != !y.pages[1] || !p.second_check != !q.second_check) {
    return false;
  }
  const Place from = place_of(a);
  const auto same = [&](u32 at, u32 other) {
    return at ? moved(at, from, p.hot_bytes, y.entry, q.cold_entry) == other : !other;
  };
  for (u32 i = 0; i < x.exits; i++) {
    const ExitRecord &one = cache_.exit(x.first_exit + i), &two = cache_.exit(y.first_exit + i);
    if (one.site.same_page != two.site.same_page || !same(one.site.jump, two.site.jump) ||
        !same(one.site.compare, two.site.compare) || !same(one.site.stub, two.site.stub) ||
        !same(one.site.stub_jump, two.site.stub_jump) || one.target.mode != two.target.mode ||
        static_cast<u32>(two.target.pc - one.target.pc) != static_cast<u32>(y.key.pc - x.key.pc)) {
      return false;
    }
  }
  for (u32 i = 0; i < p.faults; i++) {
    const x64::FaultSite &one = faults_[p.first_fault + i], &two = faults_[q.first_fault + i];
    if (!same(one.at, two.at) || !same(one.slow, two.slow)) return false;
  }
  return same(p.second_check, q.second_check);
}

// False: something is not explained. Nothing: two explanations.
std::optional<bool> CodeCopies::find_fields(const std::vector<u8>& a, const std::vector<u8>& b,
                                            const std::array<u32, kKinds>& by, u8 part) {
  usize done = 0;
  for (usize i = 0; i < a.size(); i++) {
    if (a[i] == b[i]) continue;
    unsigned matches = 0;
    Field field{.at = 0, .part = part, .kind = address};
    for (usize at = std::max<usize>(done, i < 3 ? 0 : i - 3); at <= i && at + 4 <= a.size(); at++) {
      const u32 difference = load_raw<u32>(b.data() + at) - load_raw<u32>(a.data() + at);
      for (u8 kind = 0; kind < kKinds; kind++) {
        if (difference != by[kind]) continue;
        matches++;
        field.at = static_cast<u32>(at);
        field.kind = static_cast<Kind>(kind);
      }
    }
    if (!matches) return false;
    if (matches > 1) return std::nullopt;
    found_.push_back(field);
    done = field.at + 4;
    i = done - 1;
  }
  return true;
}

void CodeCopies::learn(u32 from, u32 made, const x64::Compiler& compiler) {
  const Differences by = differences(place_of(from), place_of(made));
  if (!are_distinct(by)) return;
  Shape& shape = this->shape(made);
  shape.fields = kNever;
  if (have_same_form(from, made)) {
    const Code a = pristine(from, compiler), b = pristine(made, compiler);
    found_.clear();
    std::optional<bool> explained = find_fields(a[0], b[0], by[0], 0);
    if (explained == true) explained = find_fields(a[1], b[1], by[1], 1);
    if (!explained) shape.fields = kUnknown;
    if (explained == true) {
      shape.fields = static_cast<u32>(fields_.size()) + 1;
      shape.field_count = static_cast<u32>(found_.size());
      fields_.insert(fields_.end(), found_.begin(), found_.end());
    }
  }
  // Whether it can be copied or not: the one that is asked from now on.
  const Translation& translation = cache_.block(made);
  latest_[hash(translation.key, translation.pages[0])] = made + 1;
}

void CodeCopies::apply(const Shape& from, const Differences& by, std::span<u8> hot, std::span<u8> cold) const {
  for (u32 i = 0; i < from.field_count; i++) {
    const Field& field = fields_[from.fields - 1 + i];
    u8* at = (field.part ? cold : hot).data() + field.at;
    store_raw<u32>(at, load_raw<u32>(at) + by[field.part][field.kind]);
  }
}

u32 CodeCopies::moved(u32 at, const Place& from, u32 hot_bytes, u32 entry, u32 cold_entry) {
  return at - from.entry < hot_bytes ? at - from.entry + entry : at - from.cold_entry + cold_entry;
}

void CodeCopies::measure(u32 from, x64::CompiledBlock& out) const {
  out.hot_bytes = shape(from).hot_bytes;
  out.cold_bytes = shape(from).cold_bytes;
}

void CodeCopies::copy(u32 from, const ir::Key& to, u32 first_exit, x64::Compiler& compiler,
                      x64::CompiledBlock& out) const {
  const Shape& source = shape(from);
  const Translation& translation = cache_.block(from);
  const Place place = place_of(from);
  const auto move = [&](u32 at) { return at ? moved(at, place, source.hot_bytes, out.entry, out.cold_entry) : 0; };
  const std::span<u8> hot = compiler.code(out.entry, out.hot_bytes),
                      cold = compiler.code(out.cold_entry, out.cold_bytes);
  std::ranges::copy(compiler.text(translation.entry, source.hot_bytes), hot.begin());
  std::ranges::copy(compiler.text(source.cold_entry, source.cold_bytes), cold.begin());
  apply(source, differences(place, {to.pc, out.entry, out.cold_entry, first_exit}), hot, cold);
  out.second_check = move(source.second_check);
  out.faults.clear();
  for (u32 i = 0; i < source.faults; i++) {
    const x64::FaultSite& fault = faults_[source.first_fault + i];
    out.faults.push_back({move(fault.at), move(fault.slow)});
  }
  out.sites.clear();
  for (u32 i = 0; i < translation.exits; i++) {
    x64::ExitSite site = cache_.exit(translation.first_exit + i).site;
    for (u32* at : {&site.jump, &site.compare, &site.stub, &site.stub_jump}) *at = move(*at);
    out.sites.push_back(site);
    compiler.unlink(site);
  }
}

bool CodeCopies::is_copy(u32 from, u32 made, const x64::Compiler& compiler) const {
  if (!have_same_form(from, made)) return false;
  Code copy = pristine(from, compiler);
  apply(shape(from), differences(place_of(from), place_of(made)), copy[0], copy[1]);
  return copy == pristine(made, compiler);
}

void CodeCopies::clear() {
  shapes_.clear();
  faults_.clear();
  fields_.clear();
  latest_.reset(kPlaces);
}

}  // namespace rhea::accel
