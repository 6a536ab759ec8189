// SPDX-License-Identifier: MIT
// The translator's memory of translations: dead ones of this run, and those of earlier runs, which a thread reads while
// the guest starts; what is there when the CPUs have ended is written for the next run.
//
// All members but the thread's are called with the translator's lock held; save() when no CPU runs any more.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>

#include "accel/translator/code_file.h"
#include "accel/translator/code_origins.h"
#include "accel/translator/fault_sites.h"

namespace rhea::accel {

class CodeStore {
 public:
  CodeStore(CodeCache& cache, CodeOrigins& origins, std::mutex& lock) : cache_(cache), origins_(origins), lock_(lock) {}
  ~CodeStore();

  // `folder`: where code files are. `fingerprint`: what the translations depend on besides their code. Before any block
  // was made.
  void open(const std::string& folder, const std::string& fingerprint, x64::Compiler& compiler);
  bool active() const { return compiler_ != nullptr; }

  // A dead block comes to life.
  void taken() { revived_++; }
  // Whether a block's host code is as it was made; one of a file is compared the first time. Counts it as used.
  bool is_sound(u32 block);
  // Something about a block is known that the file has not.
  void learnt() { learnt_++; }
  // All blocks are dropped, and the compiler starts anew. What a file had stays, as dead blocks, if it was of use
  // and fills less than half of what is used.
  void clear(x64::Compiler& compiler);
  void save();

  std::string statistics() const;

 private:
  // So few new blocks are not worth writing for: as a number, and as a part of those that were read. (Programs that lie
  // elsewhere each time are translated each time, and would only make the file longer.)
  static constexpr u32 kFewBlocks = 64, kSmallPart = 8;
  static constexpr usize kShare = 3;      // a file fills at most so many quarters of either half of the buffer
  static constexpr u64 kUsefulPart = 4;   // of a full file's blocks as many are to be used, or it makes room
  static constexpr usize kFilesKept = 4;  // of other builds and settings
  static constexpr const char* kPrefix = "translations-";

  void read();
  bool leaves_room(const x64::Compiler& compiler) const;
  bool is_useful() const { return used_ >= read_ / kUsefulPart; }
  u32 fitting(usize& hot, usize& cold);
  CodeFile::Tables collect(u32 blocks);

  CodeCache& cache_;
  CodeOrigins& origins_;
  std::mutex& lock_;
  x64::Compiler* compiler_ = nullptr;
  std::string folder_, path_, reason_;
  u64 fingerprint_ = 0;
  std::unique_ptr<CodeFile> file_;
  std::thread reader_;
  std::atomic<bool> abandoned_{false};
  std::atomic<bool> copying_{false};
  u64 read_ = 0, revived_ = 0, used_ = 0, learnt_ = 0, unsound_ = 0;
};

}  // namespace rhea::accel
