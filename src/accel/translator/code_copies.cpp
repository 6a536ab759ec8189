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

bool CodeCopies::can_copy(u32 block, u64 pc) const {
  if (origins_.origin(block).form != Origin::movable) return false;
  const u64 from = cache_.block(block).key.pc;
  return from == pc || (is_far_from_ends(from) && is_far_from_ends(pc));
}

bool CodeCopies::can_learn(u32 block, u64 pc) const {
  return origins_.origin(block).form == Origin::unknown && is_far_from_ends(cache_.block(block).key.pc) &&
         is_far_from_ends(pc);
}

CodeCopies::Body CodeCopies::body_of(u32 block) const {
  const Origin& origin = origins_.origin(block);
  return {cache_.block(block), origin.hot_bytes,    origin.cold_entry,
          origin.cold_bytes,   origin.second_check, origins_.faults(block)};
}

CodeCopies::Body CodeCopies::body_of(u32 made, const x64::CompiledBlock& compiled) const {
  return {cache_.block(made),  compiled.hot_bytes,    compiled.cold_entry,
          compiled.cold_bytes, compiled.second_check, compiled.faults};
}

CodeCopies::Place CodeCopies::place_of(const Body& body) {
  return {body.block.key.pc, body.block.entry, body.cold_entry, body.block.first_exit};
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
CodeCopies::Code CodeCopies::pristine(const Body& body, const x64::Compiler& compiler) const {
  const Translation& block = body.block;
  const std::span<const u8> hot = compiler.text(block.entry, body.hot_bytes);
  const std::span<const u8> cold = compiler.text(body.cold_entry, body.cold_bytes);
  Code code = {std::vector<u8>(hot.begin(), hot.end()), std::vector<u8>(cold.begin(), cold.end())};
  const auto blank = [&](u32 at) {
    if (!at) return;
    const bool is_hot = at - block.entry < body.hot_bytes;
    std::memset(code[is_hot ? 0 : 1].data() + (at - (is_hot ? block.entry : body.cold_entry)), 0, 4);
  };
  blank(body.second_check);
  for (u32 id = block.first_exit; id < block.first_exit + block.exits; id++) {
    const x64::ExitSite& site = cache_.exit(id).site;
    blank(site.jump);
    if (site.same_page) continue;
    blank(site.compare);
    blank(site.stub_jump);
  }
  return code;
}

bool CodeCopies::have_same_form(const Body& a, const Body& b) const {
  const Translation &x = a.block, &y = b.block;
  if (a.hot_bytes != b.hot_bytes || a.cold_bytes != b.cold_bytes || a.faults.size() != b.faults.size() ||
      x.exits != y.exits || x.begin != y.begin || x.end != y.end || !a.second_check != !b.second_check) {
    return false;
  }
  const Place from = place_of(a);
  const auto same = [&](u32 at, u32 other) {
    return at ? moved(at, from, a.hot_bytes, y.entry, b.cold_entry) == other : !other;
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
  for (usize i = 0; i < a.faults.size(); i++) {
    if (!same(a.faults[i].at, b.faults[i].at) || !same(a.faults[i].slow, b.faults[i].slow)) return false;
  }
  return same(a.second_check, b.second_check);
}

// False: something is not explained. Nothing: two explanations.
std::optional<bool> CodeCopies::find_fields(const std::vector<u8>& a, const std::vector<u8>& b,
                                            const std::array<u32, kKinds>& by, u8 part) {
  usize done = 0;
  for (usize i = 0; i < a.size(); i++) {
    if (a[i] == b[i]) continue;
    unsigned matches = 0;
    CodeField field{.at = 0, .part = part, .kind = address};
    for (usize at = std::max<usize>(done, i < 3 ? 0 : i - 3); at <= i && at + 4 <= a.size(); at++) {
      const u32 difference = load_raw<u32>(b.data() + at) - load_raw<u32>(a.data() + at);
      for (u8 kind = 0; kind < kKinds; kind++) {
        if (difference != by[kind]) continue;
        matches++;
        field.at = static_cast<u32>(at);
        field.kind = kind;
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

bool CodeCopies::learn(u32 from, u32 made, const x64::CompiledBlock& compiled, const x64::Compiler& compiler) {
  const Body first = body_of(from), second = body_of(made, compiled);
  const Differences by = differences(place_of(first), place_of(second));
  if (!are_distinct(by)) return false;
  std::optional<bool> explained = false;
  if (have_same_form(first, second)) {
    const Code a = pristine(first, compiler), b = pristine(second, compiler);
    found_.clear();
    explained = find_fields(a[0], b[0], by[0], 0);
    if (explained == true) explained = find_fields(a[1], b[1], by[1], 1);
  }
  if (!explained) return false;
  if (*explained) origins_.set_fields(from, found_);
  else origins_.origin(from).form = Origin::fixed;
  return true;
}

void CodeCopies::apply(u32 from, const Differences& by, std::span<u8> hot, std::span<u8> cold) const {
  for (const CodeField& field : origins_.fields(from)) {
    u8* at = (field.part ? cold : hot).data() + field.at;
    store_raw<u32>(at, load_raw<u32>(at) + by[field.part][field.kind]);
  }
}

u32 CodeCopies::moved(u32 at, const Place& from, u32 hot_bytes, u32 entry, u32 cold_entry) {
  return at - from.entry < hot_bytes ? at - from.entry + entry : at - from.cold_entry + cold_entry;
}

void CodeCopies::measure(u32 from, x64::CompiledBlock& out) const {
  out.hot_bytes = origins_.origin(from).hot_bytes;
  out.cold_bytes = origins_.origin(from).cold_bytes;
}

void CodeCopies::copy(u32 from, const ir::Key& to, u32 first_exit, x64::Compiler& compiler,
                      x64::CompiledBlock& out) const {
  const Body source = body_of(from);
  const Place place = place_of(source);
  const auto move = [&](u32 at) { return at ? moved(at, place, source.hot_bytes, out.entry, out.cold_entry) : 0; };
  const std::span<u8> hot = compiler.code(out.entry, out.hot_bytes),
                      cold = compiler.code(out.cold_entry, out.cold_bytes);
  std::ranges::copy(compiler.text(source.block.entry, source.hot_bytes), hot.begin());
  std::ranges::copy(compiler.text(source.cold_entry, source.cold_bytes), cold.begin());
  apply(from, differences(place, {to.pc, out.entry, out.cold_entry, first_exit}), hot, cold);
  out.second_check = move(source.second_check);
  out.faults.clear();
  for (const x64::FaultSite& fault : source.faults) out.faults.push_back({move(fault.at), move(fault.slow)});
  out.sites.clear();
  for (u32 i = 0; i < source.block.exits; i++) {
    x64::ExitSite site = cache_.exit(source.block.first_exit + i).site;
    for (u32* at : {&site.jump, &site.compare, &site.stub, &site.stub_jump}) *at = move(*at);
    out.sites.push_back(site);
    compiler.unlink(site);
  }
}

bool CodeCopies::is_copy(u32 from, u32 made, const x64::CompiledBlock& compiled, const x64::Compiler& compiler) const {
  const Body source = body_of(from), other = body_of(made, compiled);
  if (!have_same_form(source, other)) return false;
  Code copy = pristine(source, compiler);
  apply(from, differences(place_of(source), place_of(other)), copy[0], copy[1]);
  return copy == pristine(other, compiler);
}

}  // namespace rhea::accel
