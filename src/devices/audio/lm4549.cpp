// SPDX-License-Identifier: MIT
#include "devices/audio/lm4549.h"

#include <algorithm>
#include <cmath>

namespace rhea::devices {

namespace {

enum Register : u32 {
  kReset = 0x00,
  kMasterVolume = 0x02,
  kLineLevel = 0x04,
  kMonoVolume = 0x06,
  kBeep = 0x0a,
  kPhone = 0x0c,
  kMic = 0x0e,
  kLineIn = 0x10,
  kCd = 0x12,
  kVideo = 0x14,
  kAux = 0x16,
  kPcmOut = 0x18,
  kRecordSelect = 0x1a,
  kRecordGain = 0x1c,
  kGeneral = 0x20,
  k3d = 0x22,
  kPowerDown = 0x26,
  kExtendedId = 0x28,
  kExtendedControl = 0x2a,
  kDacRate = 0x2c,
  kAdcRate = 0x32,
  kVendor1 = 0x7c,
  kVendor2 = 0x7e
};
constexpr u16 kMute = 0x8000, kReady = 0x000f;
constexpr u32 kFixedRate = 48000, kLeastRate = 4000;
constexpr u16 kZeroDecibel = 8;  // of the PCM volume, whose 0 is 12 dB

}  // namespace

void Lm4549::reset() {
  registers_.fill(0);
  const auto set = [this](u32 reg, u16 value) { registers_[reg / 2] = value; };
  set(kReset, 0x0d50);
  for (const u32 reg : {kMasterVolume, kLineLevel, kMonoVolume, kRecordGain}) set(reg, kMute);
  for (const u32 reg : {kPhone, kMic}) set(reg, 0x8008);
  for (const u32 reg : {kLineIn, kCd, kVideo, kAux, kPcmOut}) set(reg, 0x8808);
  set(k3d, 0x0101);
  set(kPowerDown, kReady);
  set(kExtendedId, 0x0001);
  set(kDacRate, kFixedRate);
  set(kAdcRate, kFixedRate);
  set(kVendor1, 0x4e53);
  set(kVendor2, 0x4331);
}

void Lm4549::write(u32 reg, u16 value) {
  u16& stored = registers_[reg / 2 % registers_.size()];
  switch (reg) {
    case kReset: reset(); break;
    case kMasterVolume:
    case kLineLevel: stored = value & 0x9f1f; break;
    case kMonoVolume: stored = value & 0x801f; break;
    case kBeep: stored = value & 0x801e; break;
    case kPhone: stored = value & 0x801f; break;
    case kMic: stored = value & 0x805f; break;
    case kLineIn:
    case kCd:
    case kVideo:
    case kAux:
    case kPcmOut: stored = value & 0x9f1f; break;
    case kRecordSelect: stored = value & 0x0707; break;
    case kRecordGain: stored = value & 0x8f0f; break;
    case kGeneral: stored = value & 0xa380; break;
    // What is powered down is not ready: ADC, DAC, mixer, mixer with its reference.
    case kPowerDown: {
      u16 ready = kReady;
      if (value & 0x0100) ready &= ~1u;
      if (value & 0x0200) ready &= ~2u;
      if (value & 0x0400) ready &= ~4u;
      if (value & 0x0800) ready &= ~0xcu;
      stored = static_cast<u16>((value & 0xbf00) | ready);
      break;
    }
    case kExtendedControl:
      stored = value & 1;
      if (!stored) registers_[kDacRate / 2] = registers_[kAdcRate / 2] = kFixedRate;
      break;
    case kDacRate:
    case kAdcRate:
      if (registers_[kExtendedControl / 2] & 1)
        stored = static_cast<u16>(std::clamp<u32>(value, kLeastRate, kFixedRate));
      break;
    default: break;  // read only, or not there
  }
}

void Lm4549::fields(Visitor& visitor) { visitor.field("codec", registers_); }

u32 Lm4549::dac_rate() const { return std::clamp<u32>(registers_[kDacRate / 2], kLeastRate, kFixedRate); }

// 1.5 dB a step. Powered down (bit PR1) the DAC is silent.
float Lm4549::volume(unsigned shift) const {
  const u16 master = read(kMasterVolume), pcm = read(kPcmOut);
  if ((master & kMute) || (pcm & kMute) || (read(kPowerDown) & 0x0200)) return 0;
  const int steps = (master >> shift & 0x1f) + (pcm >> shift & 0x1f) - kZeroDecibel;
  return std::pow(10.0f, -1.5f * static_cast<float>(steps) / 20);
}

}  // namespace rhea::devices
