// SPDX-License-Identifier: MIT
// Where a sound device's samples go ("-audiodev"): nowhere, or into a WAV file. Calls are under the machine loop's
// lock.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "util/result.h"
#include "util/types.h"

namespace rhea::audio {

// Stereo samples of 16 bits, interleaved.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string id() const = 0;
  virtual std::string driver() const = 0;
  // Frames at a rate in Hz, with volumes from 0 to 1 of the two channels.
  virtual void play(std::span<const s16> samples, u32 rate, float left, float right) = 0;
};

struct Spec {
  std::string driver;  // "none", "wav"
  std::string id;
  std::string path = "qemu.wav";
  u32 frequency = 44100;
  u32 channels = 2;  // 1 or 2
};

// "wav,id=a,path=out.wav". Errors say which drivers there are.
Result<Spec> parse_spec(std::string_view text);
Result<std::unique_ptr<Backend>> open(const Spec& spec);
// The lines of `-audiodev help`.
std::string driver_list();

class Backends {
 public:
  Backends();
  ~Backends();
  Backends(const Backends&) = delete;
  void add(std::unique_ptr<Backend> backend);
  Backend* find(std::string_view id) const;
  // What a device without `audiodev` uses: the first. nullptr: silence.
  Backend* first() const;
  void clear();

  // What a backend plays is written to a WAV file besides, until it is stopped. Errors: "Audiodev 'x' not found"; the
  // file cannot be made.
  Result<void> capture(std::string_view id, const Spec& wav);
  struct CaptureRow {
    std::string path;
    u32 frequency, channels;
    u64 bytes;  // of samples so far
  };
  std::vector<CaptureRow> captures() const;
  bool stop_capture(usize number);  // false: there is none of that number

 private:
  class Tap;
  std::vector<std::unique_ptr<Tap>> list_;
};

}  // namespace rhea::audio
