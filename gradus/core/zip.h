// The files in a zip archive whose files are stored as they are, which is how torch.save and numpy.savez write.
// Format: PKWARE APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12 to 4.3.16, 4.5.3 (zip64). Nothing is unpacked: a compressed
// file is refused.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace gradus {

// Views of the archive's bytes.
struct StoredFile {
  std::string_view name;
  std::span<const std::byte> bytes;
};

// The files in the order of the archive's directory. `origin` names the source in errors. Throws
//   corrupt      no directory at the end, a place outside the archive, two files of one name, more bytes in all files
//                together than the archive has
//   unsupported  compressed or encrypted files, more than one disk
// Checksums are not looked at: torch writes none when told so, and 0 stands in their place.
std::vector<StoredFile> read_zip(std::span<const std::byte> archive, std::string_view origin);

}  // namespace gradus
