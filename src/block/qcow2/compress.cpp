// SPDX-License-Identifier: MIT
// Compressed clusters: raw deflate with a window of 4 KiB (what every reader of the format can take), or zstd.
#include <zlib.h>
#include <zstd.h>

#include "block/qcow2/layout.h"

namespace rhea::block::qcow2 {

namespace {

constexpr int kWindowBits = -12;  // raw deflate

std::vector<u8> deflate_cluster(std::span<const u8> cluster) {
  std::vector<u8> out(cluster.size());
  z_stream stream{};
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kWindowBits, 9, Z_DEFAULT_STRATEGY) != Z_OK) return {};
  stream.next_in = const_cast<u8*>(cluster.data());
  stream.avail_in = static_cast<uInt>(cluster.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size() - 1);
  const int status = deflate(&stream, Z_FINISH);
  out.resize(status == Z_STREAM_END ? out.size() - 1 - stream.avail_out : 0);
  deflateEnd(&stream);
  return out;
}

Result<void> inflate_cluster(std::span<const u8> data, std::span<u8> cluster) {
  z_stream stream{};
  if (inflateInit2(&stream, kWindowBits) != Z_OK) return Error("zlib does not start");
  stream.next_in = const_cast<u8*>(data.data());
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = cluster.data();
  stream.avail_out = static_cast<uInt>(cluster.size());
  const int status = inflate(&stream, Z_FINISH);
  // What follows the data up to the sector's end is not ours; a stream that would give more than a cluster
  // stops with Z_BUF_ERROR at its end.
  const bool whole = stream.avail_out == 0 && (status == Z_STREAM_END || status == Z_BUF_ERROR);
  inflateEnd(&stream);
  if (!whole) return Error("a compressed cluster cannot be decompressed (zlib: {})", status);
  return {};
}

Result<void> unzstd_cluster(std::span<const u8> data, std::span<u8> cluster) {
  // A stream: the frame is shorter than `data`, which goes on to the end of its last sector.
  ZSTD_DStream* stream = ZSTD_createDStream();
  if (!stream) return Error("zstd does not start");
  ZSTD_inBuffer in{data.data(), data.size(), 0};
  ZSTD_outBuffer out{cluster.data(), cluster.size(), 0};
  usize status = 0;
  while (out.pos < out.size) {
    const usize in_before = in.pos, out_before = out.pos;
    status = ZSTD_decompressStream(stream, &out, &in);
    if (ZSTD_isError(status) || (in.pos == in_before && out.pos == out_before)) break;
    if (status == 0 && in.pos == in.size) break;
  }
  const bool whole = !ZSTD_isError(status) && out.pos == out.size;
  ZSTD_freeDStream(stream);
  if (!whole) return Error("a compressed cluster cannot be decompressed (zstd)");
  return {};
}

}  // namespace

std::vector<u8> compress_cluster(std::span<const u8> cluster, u8 method) {
  if (method == kZlib) return deflate_cluster(cluster);
  std::vector<u8> out(cluster.size() - 1);
  const usize size = ZSTD_compress(out.data(), out.size(), cluster.data(), cluster.size(), 3);
  out.resize(ZSTD_isError(size) ? 0 : size);
  return out;
}

Result<void> decompress_cluster(std::span<const u8> data, std::span<u8> cluster, u8 method) {
  return method == kZlib ? inflate_cluster(data, cluster) : unzstd_cluster(data, cluster);
}

}  // namespace rhea::block::qcow2
