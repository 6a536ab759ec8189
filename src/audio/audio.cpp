// SPDX-License-Identifier: MIT
#include "audio/audio.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "config/options.h"
#include "sys/output_file.h"
#include "util/bits.h"
#include "util/text.h"

namespace rhea::audio {

namespace {

constexpr std::string_view kOtherDrivers[] = {"alsa", "coreaudio", "dbus", "dsound", "jack", "oss",
                                              "pa",   "pipewire",  "sdl",  "sndio",  "spice"};

class Silence final : public Backend {
 public:
  explicit Silence(std::string id) : id_(std::move(id)) {}
  std::string id() const override { return id_; }
  std::string driver() const override { return "none"; }
  void play(std::span<const s16>, u32, float, float) override {}

 private:
  std::string id_;
};

// RIFF with one "fmt " and one "data" chunk (Microsoft/IBM, Multimedia Programming Interface 1.0). The sizes in the
// header are brought up to date now and then, so that a file of a process that was killed can be played too.
class Wav final : public Backend {
 public:
  Wav(Spec spec, std::unique_ptr<sys::OutputFile> file) : spec_(std::move(spec)), file_(std::move(file)) {
    write_header();
  }
  ~Wav() override {
    flush();
    write_header();
  }
  std::string id() const override { return spec_.id; }
  std::string driver() const override { return "wav"; }
  u64 bytes() const { return size_ + pending_.size(); }

  // Between two samples lies a straight line.
  void play(std::span<const s16> samples, u32 rate, float left, float right) override {
    if (!rate) return;
    const double step = static_cast<double>(rate) / spec_.frequency;
    for (usize i = 0; i + 1 < samples.size(); i += 2) {
      const std::array<float, 2> next = {samples[i] * left, samples[i + 1] * right};
      for (; at_ < 1; at_ += step)
        put(before_[0] + (next[0] - before_[0]) * static_cast<float>(at_),
            before_[1] + (next[1] - before_[1]) * static_cast<float>(at_));
      at_ -= 1;
      before_ = next;
    }
    if (pending_.size() >= kFlush) {
      flush();
      write_header();
    }
  }

 private:
  static constexpr usize kFlush = 65536;
  static constexpr u32 kHeader = 44, kMostData = 0xffff0000;

  static s16 round(float value) { return static_cast<s16>(std::clamp(std::lround(value), -32768L, 32767L)); }
  void put(float left, float right) {
    u8 bytes[4];
    if (spec_.channels == 1) {
      store_le<s16>(bytes, round((left + right) / 2));
      pending_.insert(pending_.end(), bytes, bytes + 2);
    } else {
      store_le<s16>(bytes, round(left));
      store_le<s16>(bytes + 2, round(right));
      pending_.insert(pending_.end(), bytes, bytes + 4);
    }
  }
  void flush() {
    const usize room = kMostData - size_;
    if (pending_.size() > room) pending_.resize(room);  // the format's sizes have 32 bits
    if (file_->write_at(kHeader + u64{size_}, pending_).ok()) size_ += static_cast<u32>(pending_.size());
    pending_.clear();
  }
  void write_header() {
    std::array<u8, kHeader> header{};
    const auto tag = [&](usize at, std::string_view text) {
      std::copy(text.begin(), text.end(), header.begin() + static_cast<std::ptrdiff_t>(at));
    };
    const u16 frame = static_cast<u16>(spec_.channels * 2);
    tag(0, "RIFF");
    store_le<u32>(&header[4], kHeader - 8 + size_);
    tag(8, "WAVEfmt ");
    store_le<u32>(&header[16], 16);
    store_le<u16>(&header[20], 1);  // PCM
    store_le<u16>(&header[22], static_cast<u16>(spec_.channels));
    store_le<u32>(&header[24], spec_.frequency);
    store_le<u32>(&header[28], spec_.frequency * frame);
    store_le<u16>(&header[32], frame);
    store_le<u16>(&header[34], 16);
    tag(36, "data");
    store_le<u32>(&header[40], size_);
    (void)file_->write_at(0, header).ok();
  }

  Spec spec_;
  std::unique_ptr<sys::OutputFile> file_;
  std::vector<u8> pending_;
  u32 size_ = 0;   // bytes of samples in the file
  double at_ = 0;  // where the next output sample lies between `before_` (0) and the next input sample (1)
  std::array<float, 2> before_{};
};

Result<void> check_format(const config::Values& values) {
  const std::string format = values.text("out.format", "s16");
  if (format != "s16")
    return Error("Parameter 'out.format' is '{}': WAV files are written as s16 (16 bits, signed)", format);
  return {};
}

}  // namespace

std::string driver_list() { return "Available audio drivers:\nnone\nwav\n"; }

Result<Spec> parse_spec(std::string_view text) {
  constexpr config::Parameter kTable[] = {
      {"driver", config::Kind::text},         {"id", config::Kind::identifier},
      {"path", config::Kind::text},           {"out.frequency", config::Kind::number},
      {"out.channels", config::Kind::number}, {"out.format", config::Kind::text},
      {"timer-period", config::Kind::number},
  };
  const auto parsed = RHEA_TRY(config::parse_options(text, "driver", config::Style::strict));
  const std::string* driver = parsed.find("driver");
  if (!driver) return Error("Parameter 'driver' is missing");
  if (std::find(std::begin(kOtherDrivers), std::end(kOtherDrivers), *driver) != std::end(kOtherDrivers))
    return Error(
        "audio driver '{}' is known to QEMU, but Rhea plays no sound on this machine: 'wav' writes it to a file, "
        "'none' drops it",
        *driver);
  if (*driver != "none" && *driver != "wav")
    return Error("Parameter 'driver' does not accept value '{}'{}", *driver,
                 did_you_mean(*driver, std::vector<std::string>{"none", "wav"}));
  const config::Values values = RHEA_TRY(config::read_values(parsed, kTable));
  if (!values.has("id")) return Error("Parameter 'id' is missing");
  if (*driver == "none" && values.has("path"))
    return Error("Parameter 'path' is unexpected: driver 'none' writes no file");
  RHEA_TRY(check_format(values));
  Spec spec{.driver = *driver, .id = values.text("id")};
  spec.path = values.text("path", spec.path);
  const u64 frequency = values.number("out.frequency", spec.frequency),
            channels = values.number("out.channels", spec.channels);
  if (frequency < 1000 || frequency > 384'000)
    return Error("Parameter 'out.frequency' is {}: it takes 1000 to 384000 Hz", frequency);
  if (channels < 1 || channels > 2) return Error("Parameter 'out.channels' is {}: it takes 1 or 2", channels);
  spec.frequency = static_cast<u32>(frequency);
  spec.channels = static_cast<u32>(channels);
  return spec;
}

Result<std::unique_ptr<Backend>> open(const Spec& spec) {
  if (spec.driver == "none") return std::unique_ptr<Backend>(std::make_unique<Silence>(spec.id));
  auto file = sys::OutputFile::create(spec.path);
  if (!file.ok()) return Error("audio: cannot write '{}': {}", spec.path, file.error().message());
  return std::unique_ptr<Backend>(std::make_unique<Wav>(spec, file.take()));
}

// A backend, and the captures of what it plays.
class Backends::Tap final : public Backend {
 public:
  struct Capture {
    Spec spec;
    std::unique_ptr<Backend> wav;
  };
  explicit Tap(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}
  std::string id() const override { return inner_->id(); }
  std::string driver() const override { return inner_->driver(); }
  void play(std::span<const s16> samples, u32 rate, float left, float right) override {
    inner_->play(samples, rate, left, right);
    for (const Capture& capture : captures) capture.wav->play(samples, rate, left, right);
  }
  std::vector<Capture> captures;

 private:
  std::unique_ptr<Backend> inner_;
};

Backends::Backends() = default;
Backends::~Backends() = default;
void Backends::add(std::unique_ptr<Backend> backend) { list_.push_back(std::make_unique<Tap>(std::move(backend))); }
Backend* Backends::first() const { return list_.empty() ? nullptr : list_.front().get(); }
void Backends::clear() { list_.clear(); }

Backend* Backends::find(std::string_view id) const {
  for (const auto& backend : list_)
    if (backend->id() == id) return backend.get();
  return nullptr;
}

Result<void> Backends::capture(std::string_view id, const Spec& wav) {
  for (const auto& backend : list_) {
    if (backend->id() != id) continue;
    backend->captures.push_back({wav, RHEA_TRY(open(wav))});
    return {};
  }
  return Error("Audiodev '{}' not found", id);
}

std::vector<Backends::CaptureRow> Backends::captures() const {
  std::vector<CaptureRow> rows;
  for (const auto& backend : list_)
    for (const Tap::Capture& capture : backend->captures)
      rows.push_back({capture.spec.path, capture.spec.frequency, capture.spec.channels,
                      static_cast<const Wav&>(*capture.wav).bytes()});
  return rows;
}

bool Backends::stop_capture(usize number) {
  for (const auto& backend : list_) {
    if (number < backend->captures.size()) {
      backend->captures.erase(backend->captures.begin() + static_cast<std::ptrdiff_t>(number));
      return true;
    }
    number -= backend->captures.size();
  }
  return false;
}

}  // namespace rhea::audio
