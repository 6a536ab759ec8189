// SPDX-License-Identifier: MIT
#include "core/device.h"

namespace rhea {

std::string_view bus_name(Bus bus) {
  switch (bus) {
    case Bus::sysbus: return "System";
    case Bus::virtio: return "virtio-bus";
    case Bus::virtio_serial: return "virtio-serial-bus";
    case Bus::sd: return "sd-bus";
    case Bus::pci: return "PCI";
    case Bus::usb: return "usb-bus";
    case Bus::none: break;
  }
  return "none";
}

std::string_view category_name(Category category) {
  switch (category) {
    case Category::controller: return "Controller/Bridge/Hub";
    case Category::network: return "Network";
    case Category::input: return "Input";
    case Category::display: return "Display";
    case Category::sound: return "Sound";
    case Category::storage: return "Storage";
    case Category::cpu: return "CPU";
    case Category::bridge: return "Controller/Bridge/Hub";
    case Category::usb: return "USB";
    case Category::misc: break;
  }
  return "Misc";
}

}  // namespace rhea
