// SPDX-License-Identifier: MIT
#include "net/filters/shape.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "sys/host_socket.h"
#include "util/text.h"

namespace rhea::net {

namespace {

constexpr double kMostSeconds = 3600;

// A number with a fraction and what stands behind it.
bool read_number(const std::string& text, double& number, std::string& unit) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(number) || number < 0) return false;
  unit = text.substr(static_cast<usize>(end - text.data()));
  return true;
}

Result<s64> read_time(const std::string& name, const std::string& value) {
  double number = 0;
  std::string unit;
  const bool read = read_number(value, number, unit);
  const double scale = unit == "s" ? 1 : unit == "ms" || unit.empty() ? 1e-3 : unit == "us" ? 1e-6 : 0;
  if (!read || scale == 0 || number * scale > kMostSeconds)
    return Error("Property 'filter-shape.{}' takes a time up to an hour, like 20ms, 500us or 1.5s, not '{}'", name,
                 value);
  return static_cast<s64>(number * scale * 1e9);
}

Result<double> read_chance(const std::string& name, const std::string& value) {
  double number = 0;
  std::string unit;
  if (!read_number(value, number, unit) || (!unit.empty() && unit != "%") || number > 100)
    return Error("Property 'filter-shape.{}' takes a percentage from 0 to 100, like 0.5%, not '{}'", name, value);
  return number / 100;
}

// `factor`: 1000 for bits a second, 1024 for bytes.
Result<u64> read_amount(const std::string& name, const std::string& value, double factor, const char* what) {
  double number = 0;
  std::string unit;
  const bool read = read_number(value, number, unit);
  const usize power = unit.empty()       ? 0
                      : unit.size() == 1 ? std::string_view("kMGkmg").find(unit[0])
                                         : std::string::npos;
  if (!read || power == std::string::npos)
    return Error("Property 'filter-shape.{}' takes {}, not '{}'", name, what, value);
  const double amount = number * (unit.empty() ? 1 : std::pow(factor, static_cast<double>(power % 3 + 1)));
  if (amount > 1e12) return Error("Property 'filter-shape.{}' takes {}, not '{}'", name, what, value);
  return static_cast<u64>(amount);
}

bool later(s64 a_due, u64 a_order, s64 b_due, u64 b_order) {
  return a_due != b_due ? a_due > b_due : a_order > b_order;
}

std::string time_text(s64 ns) {
  return ns % kMillisecond ? fmt::format("{}us", ns / 1000) : fmt::format("{}ms", ns / kMillisecond);
}

}  // namespace

const std::vector<std::string>& shape_rule_names() {
  static const std::vector<std::string> names = {"rate",      "delay",   "jitter", "loss",
                                                 "duplicate", "reorder", "limit",  "seed"};
  return names;
}

Result<void> set_shape_rule(ShapeRules& rules, const std::string& name, const std::string& value) {
  if (name == "rate") {
    const u64 rate = RHEA_TRY(read_amount(name, value, 1000, "bits a second up to 1000G, like 10M; 0 for no limit"));
    if (rate && rate < 1000)
      return Error("Property 'filter-shape.rate' is at least 1k (bits a second), or 0 for no limit");
    rules.rate = rate;
  } else if (name == "delay") {
    rules.delay = RHEA_TRY(read_time(name, value));
  } else if (name == "jitter") {
    rules.jitter = RHEA_TRY(read_time(name, value));
  } else if (name == "loss") {
    rules.loss = RHEA_TRY(read_chance(name, value));
  } else if (name == "duplicate") {
    rules.duplicate = RHEA_TRY(read_chance(name, value));
  } else if (name == "reorder") {
    rules.reorder = RHEA_TRY(read_chance(name, value));
  } else if (name == "limit") {
    const u64 limit = RHEA_TRY(read_amount(name, value, 1024, "a number of bytes, like 64k"));
    if (limit < 1514 || limit > u64{1} << 30)
      return Error("Property 'filter-shape.limit' is at least one frame, 1514, and at most 1G, not '{}'", value);
    rules.limit = limit;
  } else if (name == "seed") {
    const auto number = parse_number(value);
    if (!number) return Error("Property 'filter-shape.seed' takes a number, not '{}'", value);
    rules.seed = *number;
  } else {
    return Error("Property 'filter-shape.{}' not found{}", name, did_you_mean(name, shape_rule_names()));
  }
  return {};
}

// --- holding ------------------------------------------------------------------------------------------------------

HoldingFilter::HoldingFilter(FilterPlace place, EventLoop& loop)
    : Filter(std::move(place)), loop_(loop), timer_(loop.real_clock().timer([this] {
        release(true);
        release(false);
        arm();
      })) {}

void HoldingFilter::hold(bool from_guest, s64 due, const Frame& frame) {
  Lane& lane = lanes_[from_guest];
  lane.heap.push_back({due, next_order_++, OwnedFrame::copy(frame)});
  lane.bytes += lane.heap.back().frame.bytes.size();
  std::push_heap(lane.heap.begin(), lane.heap.end(),
                 [](const Held& a, const Held& b) { return later(a.due, a.order, b.due, b.order); });
  arm();
}

void HoldingFilter::release(bool from_guest) {
  Lane& lane = lanes_[from_guest];
  lane.waits = false;
  const s64 time = now();
  const auto order = [](const Held& a, const Held& b) { return later(a.due, a.order, b.due, b.order); };
  while (!lane.heap.empty() && lane.heap.front().due <= time) {
    std::pop_heap(lane.heap.begin(), lane.heap.end(), order);
    // Out of the lane before it is sent: the answer may come back before the call returns.
    Held held = std::move(lane.heap.back());
    lane.heap.pop_back();
    const Piece piece{held.frame.bytes.data(), held.frame.bytes.size()};
    if (forward(from_guest, Frame{{&piece, 1}, held.frame.offload}) == Sent::busy) {
      lane.heap.push_back(std::move(held));
      std::push_heap(lane.heap.begin(), lane.heap.end(), order);
      lane.waits = true;
      return;
    }
    lane.bytes -= piece.size;
  }
}

void HoldingFilter::arm() {
  s64 next = kNever;
  const s64 time = now();
  if (timer_->deadline() <= time) return;  // about to fire
  // What became due while others were sent goes at once.
  for (const Lane& lane : lanes_)
    if (!lane.heap.empty() && !lane.waits) next = std::min(next, std::max(lane.heap.front().due, time));
  if (next == kNever) timer_->cancel();
  else if (next != timer_->deadline()) timer_->arm(next);
}

void HoldingFilter::let_go() {
  for (const bool from_guest : {true, false}) {
    std::vector<Held> all = std::move(lanes_[from_guest].heap);
    lanes_[from_guest] = {};
    std::sort(all.begin(), all.end(),
              [](const Held& a, const Held& b) { return later(b.due, b.order, a.due, a.order); });
    for (Held& held : all) {
      const Piece piece{held.frame.bytes.data(), held.frame.bytes.size()};
      const Frame frame{{&piece, 1}, held.frame.offload};
      if (held_frames(from_guest) || forward(from_guest, frame) == Sent::busy) hold(from_guest, 0, frame);
    }
  }
}

// --- shape --------------------------------------------------------------------------------------------------------

ShapeFilter::ShapeFilter(FilterPlace place, const ShapeRules& rules, EventLoop& loop)
    : HoldingFilter(std::move(place), loop), rules_(rules), dice_(rules.seed ? rules.seed : sys::random_number()) {}

Result<void> ShapeFilter::set(const std::string& name, const std::string& value) {
  ShapeRules rules = rules_;
  RHEA_TRY(set_shape_rule(rules, name, value));
  if (name == "seed") dice_.seed(rules.seed ? rules.seed : sys::random_number());
  rules_ = rules;
  return {};
}

// The line is empty then.
void ShapeFilter::let_go() {
  HoldingFilter::let_go();
  for (const bool from_guest : {true, false}) free_[from_guest] = last_[from_guest] = 0;
}

Caps ShapeFilter::limit(const Caps& beyond) const {
  return {.checksum = beyond.checksum, .max_frame = beyond.max_frame};
}

bool ShapeFilter::happens(double chance) {
  return chance > 0 && std::uniform_real_distribution<double>(0, 1)(dice_) < chance;
}

s64 ShapeFilter::travel_time() {
  if (!rules_.jitter) return rules_.delay;
  const s64 shift = std::uniform_int_distribution<s64>(-rules_.jitter, rules_.jitter)(dice_);
  return std::max<s64>(0, rules_.delay + shift);
}

Sent ShapeFilter::pass(bool from_guest, const Frame& frame) {
  if (!wants(from_guest)) return Filter::pass(from_guest, frame);
  Counts& counts = counts_[from_guest];
  if (happens(rules_.loss)) {
    ++counts.lost;
    return Sent::taken;
  }
  const unsigned copies = happens(rules_.duplicate) ? 2 : 1;
  counts.duplicated += copies - 1;
  for (unsigned i = 0; i < copies; ++i) {
    const usize size = frame.size();
    if (held_bytes(from_guest) + size > rules_.limit) {
      ++counts.over_limit;
      continue;
    }
    s64& free = free_[from_guest];
    const s64 time = now();
    if (rules_.rate)
      free =
          std::max(free, time) + static_cast<s64>(static_cast<double>(size) * 8e9 / static_cast<double>(rules_.rate));
    s64 due = rules_.rate ? free : time;
    if (happens(rules_.reorder)) {
      ++counts.reordered;
    } else {
      due = std::max(due + travel_time(), last_[from_guest]);
      last_[from_guest] = due;
    }
    ++counts.passed;
    // What is not to wait, and has nobody before it, does not.
    if (due <= time && held_frames(from_guest) == 0 && forward(from_guest, frame) != Sent::busy) continue;
    hold(from_guest, due, frame);
  }
  return Sent::taken;
}

Filter::Texts ShapeFilter::own_properties() const {
  const auto percent = [](double chance) { return fmt::format("{:g}%", chance * 100); };
  return {{"rate", std::to_string(rules_.rate)},    {"delay", time_text(rules_.delay)},
          {"jitter", time_text(rules_.jitter)},     {"loss", percent(rules_.loss)},
          {"duplicate", percent(rules_.duplicate)}, {"reorder", percent(rules_.reorder)},
          {"limit", std::to_string(rules_.limit)},  {"seed", std::to_string(rules_.seed)}};
}

// --- buffer -------------------------------------------------------------------------------------------------------

BufferFilter::BufferFilter(FilterPlace place, s64 interval, EventLoop& loop)
    : HoldingFilter(std::move(place), loop), interval_(interval), start_(now()) {}

Sent BufferFilter::pass(bool from_guest, const Frame& frame) {
  if (!wants(from_guest)) return Filter::pass(from_guest, frame);
  if (held_frames(from_guest) == kMostFrames || held_bytes(from_guest) + frame.size() > kMostBytes)
    return Sent::dropped;
  const s64 time = now();
  hold(from_guest, time + interval_ - (time - start_) % interval_, frame);
  return Sent::taken;
}

Filter::Texts BufferFilter::own_properties() const { return {{"interval", std::to_string(interval_ / 1000)}}; }

}  // namespace rhea::net
