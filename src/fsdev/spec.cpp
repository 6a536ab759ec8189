// SPDX-License-Identifier: MIT
#include "config/options.h"
#include "fsdev/share.h"
#include "util/text.h"

namespace rhea::fsdev {

namespace {

constexpr config::Parameter kTable[] = {
    {"fsdriver", config::Kind::text, "the kind: local"},
    {"id", config::Kind::identifier, "its name, for -device virtio-9p-device,fsdev="},
    {"path", config::Kind::text, "the folder of the host"},
    {"security_model", config::Kind::text, "passthrough, mapped-xattr, mapped-file or none"},
    {"readonly", config::Kind::boolean, "the guest may change nothing"},
    {"writeout", config::Kind::text, "immediate: each write reaches the disk before it is answered"},
    {"multidevs", config::Kind::text,
     "remap (the default), warn or forbid: several host file systems below the folder"},
    {"fmode", config::Kind::number, ""},
    {"dmode", config::Kind::number, ""},
    {"mount_tag", config::Kind::text, "the name that the guest mounts"},
};

Error bad_model(const std::string& what) {
  return Error::from_text(what).with_hint(
      "Valid options are: security_model=[passthrough|mapped-xattr|mapped-file|none]");
}

Result<SecurityModel> parse_model(const config::Values& values) {
  if (!values.has("security_model")) return bad_model("security_model property not set");
  const std::string name = values.text("security_model");
  if (name == "passthrough") return SecurityModel::passthrough;
  if (name == "none") return SecurityModel::none;
  if (name == "mapped" || name == "mapped-xattr") return SecurityModel::mapped_xattr;
  if (name == "mapped-file") return SecurityModel::mapped_file;
  return bad_model(fmt::format("invalid security_model property '{}'", name));
}

Result<Spec> read(const config::Values& values) {
  Spec spec{.id = values.text("id")};
  const std::string driver = values.text("fsdriver");
  if (driver == "synth" || driver == "proxy")
    return Error("fsdev: fsdriver {} is known to QEMU, but Rhea has local only", driver);
  if (driver != "local")
    return Error("fsdev: fsdriver {} not found{}", driver, did_you_mean(driver, std::vector<std::string>{"local"}));
  spec.model = RHEA_TRY(parse_model(values));
  spec.path = values.text("path");
  if (spec.path.empty()) return Error("path property not set");
  spec.read_only = values.boolean("readonly", false);
  if (values.has("writeout")) {
    if (values.text("writeout") != "immediate")
      return Error("writeout='{}': it takes 'immediate'", values.text("writeout"));
    spec.writeout = true;
  }
  if (values.has("multidevs") && values.text("multidevs") != "remap")
    return Error("multidevs='{}': Rhea keeps inodes of several file systems apart (remap) always",
                 values.text("multidevs"));
  if (values.has("fmode") || values.has("dmode"))
    return Error("fmode and dmode are known to QEMU, but Rhea makes mapped files with modes 0600 and 0700");
  return spec;
}

}  // namespace

Result<Spec> parse_fsdev(std::string_view text) {
  const auto values = RHEA_TRY(config::read_options(text, "fsdriver", kTable));
  if (!values.has("id")) return Error("fsdev: No id specified");
  if (values.has("mount_tag"))
    return Error("Invalid parameter 'mount_tag': it belongs to -device virtio-9p-device or to -virtfs");
  return read(values);
}

Result<VirtfsSpec> parse_virtfs(std::string_view text) {
  const auto values = RHEA_TRY(config::read_options(text, "fsdriver", kTable));
  if (!values.has("fsdriver") || !values.has("mount_tag")) return Error("Usage: -virtfs fsdriver,mount_tag=tag");
  VirtfsSpec spec{.fsdev = RHEA_TRY(read(values)), .mount_tag = values.text("mount_tag")};
  if (spec.fsdev.id.empty()) spec.fsdev.id = spec.mount_tag;
  return spec;
}

}  // namespace rhea::fsdev
