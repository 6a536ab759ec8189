// SPDX-License-Identifier: MIT
// http, https, ftp and ftps URLs, for reading, by libcurl, which is loaded when the first one comes.
//
// The file is read in stretches of 256 KiB (range requests), the last of which are kept: an installer or a format's
// metadata reads in small pieces that lie together. A server that does not do ranges is refused at once, as its
// every answer would be the whole file.
#include <curl/curl.h>

#include <algorithm>
#include <list>
#include <mutex>

#include "block/open.h"
#include "sys/shared_library.h"

namespace rhea::block {

namespace {

constexpr u64 kStretch = u64{256} << 10;
constexpr usize kKept = 64;           // stretches
constexpr long kConnectTimeout = 15;  // seconds
constexpr long kStallTimeout = 30;    // seconds without a byte

// The functions of libcurl.
struct Curl {
  decltype(&curl_easy_init) init = nullptr;
  decltype(&curl_easy_cleanup) cleanup = nullptr;
  decltype(&curl_easy_reset) reset = nullptr;
  decltype(&(curl_easy_setopt)) set = nullptr;
  decltype(&curl_easy_perform) perform = nullptr;
  decltype(&(curl_easy_getinfo)) get = nullptr;
  decltype(&curl_easy_strerror) strerror = nullptr;

  static Result<Curl> load() {
    const sys::SharedLibrary library = RHEA_TRY(sys::SharedLibrary::load("libcurl.so.4"));
    Curl curl;
    RHEA_TRY(library.find("curl_easy_init", curl.init));
    RHEA_TRY(library.find("curl_easy_cleanup", curl.cleanup));
    RHEA_TRY(library.find("curl_easy_reset", curl.reset));
    RHEA_TRY(library.find("curl_easy_setopt", curl.set));
    RHEA_TRY(library.find("curl_easy_perform", curl.perform));
    RHEA_TRY(library.find("curl_easy_getinfo", curl.get));
    RHEA_TRY(library.find("curl_easy_strerror", curl.strerror));
    return curl;
  }
};

struct Session {
  explicit Session(const Curl& curl) : cleanup(curl.cleanup), handle(curl.init()) {}
  ~Session() {
    if (handle) cleanup(handle);
  }
  decltype(Curl::cleanup) cleanup;
  CURL* handle;
};

struct Sink {
  std::vector<u8> data;
  usize limit = 0;
};

size_t take(char* bytes, size_t size, size_t count, void* to) {
  Sink& sink = *static_cast<Sink*>(to);
  const size_t total = size * count;
  if (total > sink.limit - sink.data.size()) return 0;  // more than was asked for: curl ends the transfer
  sink.data.insert(sink.data.end(), bytes, bytes + total);
  return total;
}

size_t note_ranges(char* line, size_t size, size_t count, void* to) {
  std::string text(line, size * count);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (text.starts_with("accept-ranges:") && text.find("bytes") != std::string::npos) *static_cast<bool*>(to) = true;
  return size * count;
}

class UrlNode final : public Node {
 public:
  UrlNode(const Curl& curl, std::string url) : curl_(curl), url_(std::move(url)), session_(curl_) {}

  Result<void> open() {
    if (!session_.handle) return Error("libcurl does not start");
    bool ranges = false;
    prepare();
    curl_.set(session_.handle, CURLOPT_NOBODY, 1L);
    curl_.set(session_.handle, CURLOPT_HEADERFUNCTION, note_ranges);
    curl_.set(session_.handle, CURLOPT_HEADERDATA, &ranges);
    const CURLcode code = curl_.perform(session_.handle);
    if (code != CURLE_OK) return Error("CURL: Error opening file: {}", reason(code));
    curl_off_t length = -1;
    curl_.get(session_.handle, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (length < 0) return Error("CURL: Error opening file: Server didn't report file size.");
    const bool http = url_.starts_with("http");
    if (http && !ranges) return Error("CURL: Error opening file: Server does not support 'range' (byte ranges).");
    size_ = static_cast<u64>(length);
    return {};
  }

  u64 size() const override { return size_; }
  bool read_only() const override { return true; }

  Result<void> read(u64 offset, Segments segments) override {
    std::lock_guard lock(mutex_);
    for (const Segment& segment : segments) {
      auto* to = static_cast<u8*>(segment.data);
      for (u64 left = segment.size; left;) {
        if (offset >= size_) {
          std::fill_n(to, left, u8{0});
          offset += left;
          break;
        }
        const Stretch* stretch = RHEA_TRY(fetch(offset / kStretch));
        const u64 inside = offset % kStretch;
        const u64 count = std::min<u64>(left, stretch->data.size() - inside);
        std::copy_n(stretch->data.data() + inside, count, to);
        to += count;
        offset += count;
        left -= count;
      }
    }
    return {};
  }

  Result<void> write(u64, Segments) override { return refuse(); }
  Result<void> write_zeroes(u64, u64, bool) override { return refuse(); }
  Result<void> discard(u64, u64) override { return refuse(); }
  Result<void> flush() override { return {}; }
  Result<void> resize(u64, Preallocation) override { return refuse(); }
  Result<Mapping> map(u64 offset, u64 size) override {
    return Mapping{
        .offset = offset, .size = size, .data = true, .allocated = true, .host_offset = offset, .filename = url_};
  }
  void describe(ImageInfo& info) const override {
    info.filename = url_;
    info.file_length = size_;
    info.read_only = true;
  }
  std::string format_name() const override { return "http"; }
  std::string filename() const override { return url_; }

 private:
  struct Stretch {
    u64 number;
    std::vector<u8> data;
  };

  Error refuse() const { return Error("'{}' can only be read", url_); }

  void prepare() {
    CURL* handle = session_.handle;
    curl_.reset(handle);
    curl_.set(handle, CURLOPT_URL, url_.c_str());
    curl_.set(handle, CURLOPT_PROTOCOLS_STR, "http,https,ftp,ftps");
    curl_.set(handle, CURLOPT_REDIR_PROTOCOLS_STR, "http,https,ftp,ftps");
    curl_.set(handle, CURLOPT_FOLLOWLOCATION, 1L);
    curl_.set(handle, CURLOPT_MAXREDIRS, 10L);
    curl_.set(handle, CURLOPT_NOSIGNAL, 1L);
    curl_.set(handle, CURLOPT_FAILONERROR, 1L);
    curl_.set(handle, CURLOPT_CONNECTTIMEOUT, kConnectTimeout);
    curl_.set(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_.set(handle, CURLOPT_LOW_SPEED_TIME, kStallTimeout);
    curl_.set(handle, CURLOPT_ERRORBUFFER, error_);
    error_[0] = 0;
  }
  std::string reason(CURLcode code) const { return error_[0] ? error_ : curl_.strerror(code); }

  Result<const Stretch*> fetch(u64 number) {
    const auto found =
        std::find_if(kept_.begin(), kept_.end(), [&](const Stretch& stretch) { return stretch.number == number; });
    if (found != kept_.end()) {
      kept_.splice(kept_.begin(), kept_, found);
      return const_cast<const Stretch*>(&kept_.front());
    }
    const u64 first = number * kStretch;
    const u64 wanted = std::min(kStretch, size_ - first);
    Sink sink;
    sink.limit = wanted;
    const std::string range = fmt::format("{}-{}", first, first + wanted - 1);
    prepare();
    curl_.set(session_.handle, CURLOPT_RANGE, range.c_str());
    curl_.set(session_.handle, CURLOPT_WRITEFUNCTION, take);
    curl_.set(session_.handle, CURLOPT_WRITEDATA, &sink);
    const CURLcode code = curl_.perform(session_.handle);
    if (code != CURLE_OK) return Error("CURL: Error reading '{}': {}", url_, reason(code));
    if (sink.data.size() != wanted)
      return Error("CURL: '{}' gave {} bytes where {} were asked for", url_, sink.data.size(), wanted);
    kept_.push_front({number, std::move(sink.data)});
    if (kept_.size() > kKept) kept_.pop_back();
    return const_cast<const Stretch*>(&kept_.front());
  }

  const Curl& curl_;
  std::string url_;
  u64 size_ = 0;
  std::mutex mutex_;  // over the session and what is kept
  Session session_;
  char error_[CURL_ERROR_SIZE] = {};
  std::list<Stretch> kept_;
};

}  // namespace

Result<std::unique_ptr<Node>> open_url_node(const std::string& url, const ImageSpec& spec) {
  if (!spec.read_only)
    return Error("curl block device does not support writes: say readonly=on or snapshot=on for '{}'", url);
  static const Result<Curl> curl = Curl::load();
  if (!curl.ok()) return Error("'{}': URLs are read by libcurl, which is not here: {}", url, curl.error().message());
  auto node = std::make_unique<UrlNode>(*curl, url);
  RHEA_TRY(node->open());
  return std::unique_ptr<Node>(std::move(node));
}

}  // namespace rhea::block
