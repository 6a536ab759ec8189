// SPDX-License-Identifier: MIT
// Snapshots in the machine's own disks: each writable disk keeps its contents by the snapshot's name, and the first
// that can keeps the machine's state beside them.
#pragma once

#include "block/drive.h"
#include "machine/snapshots.h"

namespace rhea::machine {

std::unique_ptr<SnapshotStore> make_disk_store(block::DriveTable& drives);

}  // namespace rhea::machine
