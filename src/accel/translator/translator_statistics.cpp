// SPDX-License-Identifier: MIT
// What `info jit` says.
#include <algorithm>

#include "accel/translator/translator.h"
#include "host/x64/features.h"

namespace rhea::accel {

std::string Translator::statistics() const {
  std::lock_guard lock(mutex_);
  u64 link = 0, dispatch = 0, poll = 0, exception = 0, lookups = 0;
  for (const VirtualCpu* cpu : cpus_) {
    const Data& data = data_of(*cpu);
    link += data.left_link.get();
    dispatch += data.left_dispatch.get();
    poll += data.left_poll.get();
    exception += data.left_exception.get();
    lookups += data.lookups.get();
  }
  const double bytes = static_cast<double>(std::max<u64>(counts_.guest_bytes, 1));
  std::string text = fmt::format(
      "Translation buffer state:\n"
      "blocks translated   {}\n"
      "guest instructions  {} ({} bytes)\n"
      "host code           {} bytes, and {} bytes of slow paths\n"
      "host/guest ratio    {:.2f} (with slow paths {:.2f})\n"
      "translation time    {} ms ({} ns per guest instruction)\n"
      "links made          {}\n"
      "blocks dropped      {}\n"
      "cache emptied       {} times\n",
      counts_.blocks, counts_.guest_insns, counts_.guest_bytes, counts_.hot_bytes, counts_.cold_bytes,
      static_cast<double>(counts_.hot_bytes) / bytes,
      static_cast<double>(counts_.hot_bytes + counts_.cold_bytes) / bytes, counts_.nanoseconds / 1'000'000,
      counts_.nanoseconds / std::max<u64>(counts_.guest_insns, 1), counts_.links, counts_.dropped, counts_.emptied);
  text += fmt::format("left generated code {} to link, {} to look up, {} to poll, {} with an exception; {} lookups\n",
                      link, dispatch, poll, exception, lookups);
  text += fmt::format("copied from elsewhere {} blocks", counts_.copied);
  if (options_.check_copies) text += fmt::format("; {} compared, {} different", counts_.compared, counts_.different);
  text += fmt::format("\ntranslated again     {} blocks for other addresses; {} pieces of the ring emptied\n",
                      counts_.in_ring, counts_.pieces);
  text += fmt::format(
      "regions             {} of {} paths, of {} blocks and {} instructions, {} bytes; {} live, {} dropped; {} ms\n"
      "regions under way   {} waiting; {} paths refused as all requests were in use, {} given up as their code "
      "changed; "
      "{} ms beside the CPUs\n",
      counts_.regions, counts_.paths, counts_.region_blocks, counts_.region_insns, counts_.region_bytes,
      regions_.count(), counts_.regions_dropped, counts_.region_nanoseconds / 1'000'000, requests_.waiting(),
      counts_.regions_refused, counts_.regions_outdated, counts_.thread_nanoseconds / 1'000'000);
  text += fmt::format("through windows     {} blocks; {} made anew without\n", counts_.windowed, counts_.replaced);
  if (!options_.cache_folder.empty()) text += store_.statistics();
  if (compiler_) {
    text += fmt::format("cache used          {} of {} bytes ({} hot)\n", compiler_->hot_used() + compiler_->cold_used(),
                        compiler_->capacity(), compiler_->hot_used());
    text += "host features       " +
            x64::print_features(x64::detect_features() & x64::parse_features(options_.host_features).value()) + "\n";
  }
  return text;
}

}  // namespace rhea::accel
